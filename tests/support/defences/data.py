"""The defences as data: one TOML file per subject in tests/defences, one table [[defence]] for each."""

import ast
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from support import paths

FOLDER = paths.REPO / "tests" / "defences"
ROWS = "rows.toml"
"""The file of the folder that is no list of defences: what has to be defended against."""
TIERS = ("tests/unit/", "tests/root/")
"""Where the tests of a defence may stand: the other tiers have daemons and machines of their own."""
KEYS = {"name": str, "defends": str, "tests": list, "edit": list}
OPTIONAL = {"leak": bool, "hangs": bool, "snapshot": bool, "says": str}
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Unsound(Exception):
    """An entry that can't be used as it is; the text names its file and its name."""


@dataclass(frozen=True)
class Edit:
    """One place of a source file: the text `old`, which stands there once, becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Defence:
    """One defence: where it stands, what it is against, how it is taken out and which tests notice.

    leak: what the fixtures find left behind counts as the test's own failure. hangs: so does a command, or a test, that
    does not end. snapshot: the tests need a launcher as the installation makes it. says: words of the failure.
    """

    where: str
    name: str
    defends: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]
    leak: bool = False
    hangs: bool = False
    snapshot: bool = False
    says: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.name}"


def load(folder: Path = FOLDER) -> list[Defence]:
    """Return the defences of all files, in the order of the files' names. Raises Unsound."""
    found: list[Defence] = []
    for path in sorted(folder.glob("*.toml")):
        if path.name != ROWS:
            found += read(path.name, path.read_text())
    seen: dict[str, Defence] = {}
    for each in found:
        if each.name in seen:
            raise Unsound(f"{each}: {seen[each.name].where} has that name too")
        seen[each.name] = each
    return found


def read(where: str, text: str) -> list[Defence]:
    """Return the defences of one file. Raises Unsound."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unsound(f"{where}: {error}") from None
    if set(document) - {"defence"}:
        raise Unsound(f"{where}: nothing but [[defence]] is known, not {sorted(document)}")
    return [_defence(where, table) for table in document.get("defence", [])]


def _defence(where: str, table: dict[str, Any]) -> Defence:
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Unsound(f"{where}: a defence needs a name in kebab-case, not {name!r}")
    for key, kind in KEYS.items():
        if not isinstance(table.get(key), kind) or not table[key]:
            raise Unsound(f"{where}: {name}: {key!r} is missing")
    for key, value in table.items():
        if not isinstance(value, {**KEYS, **OPTIONAL}.get(key, ())):
            raise Unsound(f"{where}: {name}: {key!r} is not known, or of another type")
    edits = []
    for edit in table["edit"]:
        if set(edit) != {"file", "old", "new"}:
            raise Unsound(f"{where}: {name}: an edit has file, old and new")
        edits.append(Edit(edit["file"], edit["old"].strip("\n"), edit["new"].strip("\n")))
    options = {key: table[key] for key in OPTIONAL if key in table}
    return Defence(where, name, table["defends"], tuple(table["tests"]), tuple(edits), **options)


def edited(defence: Defence, root: Path) -> dict[str, str]:
    """Return the files that the defence is taken out of: path below root -> new text. Raises Unsound."""
    texts: dict[str, str] = {}
    for number, edit in enumerate(defence.edits, 1):
        source = root / edit.file
        if not edit.file.startswith("pyruntime/") or not source.is_file():
            raise Unsound(f"{defence}: edit {number}: there is no source file {edit.file}")
        text = texts.get(edit.file) or source.read_text()
        count = text.count(edit.old) if edit.old else 0
        if count != 1:
            raise Unsound(f"{defence}: edit {number}: `old` stands {count} times in {edit.file}, not once")
        texts[edit.file] = _replaced(text, edit)
    return texts


def _replaced(text: str, edit: Edit) -> str:
    """Whole lines that go leave no empty line behind."""
    if not edit.new and f"{edit.old}\n" in text and (text.startswith(edit.old) or f"\n{edit.old}\n" in text):
        return text.replace(f"{edit.old}\n", "")
    return text.replace(edit.old, edit.new)


def check_tests(defence: Defence) -> None:
    """Raise Unsound when a named test does not exist, by a look at the source."""
    for test in defence.tests:
        file, *names = test.partition("[")[0].split("::")
        if not file.startswith(TIERS):
            raise Unsound(f"{defence}: {test} is neither in {' nor in '.join(TIERS)}")
        if "::".join(names) not in tests_of(paths.REPO / file):
            raise Unsound(f"{defence}: there is no test {test}")


@cache
def tests_of(file: Path) -> frozenset[str]:
    """Return the tests of a file: "test_x", "TestClass::test_y"."""
    if not file.is_file():
        return frozenset()
    found = set()
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test"))


@dataclass(frozen=True)
class Row:
    """One attack or hazard that is known: an entry covers it whose `defends` has one of the words.

    why_not: why no entry does.
    """

    name: str
    words: tuple[str, ...]
    why_not: str = ""

    def covered_by(self, defence: Defence) -> bool:
        return any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", defence.defends) for word in self.words)


def rows(folder: Path = FOLDER) -> list[Row]:
    """Return what has to be defended against."""
    document = tomllib.loads((folder / ROWS).read_text())
    return [Row(row["name"], tuple(row["words"]), row.get("why_not", "")) for row in document["row"]]
