"""The entries of tests/defences are sound, and their runner takes only a test's own assertion for a proof."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import paths
from support.defences import data, mutant, outcome, runner
from support.defences.data import Defence, Edit, Unsound

ENTRY = """
[[defence]]
name = "a-name"
defends = "hazard 3: start hangs"
tests = ["tests/unit/test_defences.py::test_every_entry_is_sound"]
[[defence.edit]]
file = "pyruntime/x.py"
old = '''
    b()
'''
new = ''''''
"""


def test_every_entry_is_sound() -> None:
    """Names are unique, each edit applies exactly once, what it leaves compiles, and its tests exist."""
    problems = []
    for defence in data.load():
        try:
            data.check_tests(defence)
            for file, text in data.edited(defence, paths.REPO).items():
                if file.endswith(".py"):
                    compile(text, file, "exec")
        except (Unsound, SyntaxError) as error:
            problems.append(f"{defence}: {error}")
    assert problems == []


def test_every_known_attack_and_hazard_has_an_entry_or_a_reason() -> None:
    defences = data.load()
    open_rows = [row.name for row in data.rows() if not row.why_not and not any(map(row.covered_by, defences))]
    assert open_rows == []
    names = [row.name for row in data.rows()]
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("hazard ")] == [f"hazard {number}" for number in range(1, 24)]


def defence(old: str = "    b()", new: str = "", file: str = "pyruntime/x.py", **more: Any) -> Defence:
    return Defence("f.toml", "a-name", "something", ("tests/x.py::test_x",), (Edit(file, old, new),), **more)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree/pyruntime").mkdir(parents=True)
    (tmp_path / "tree/pyruntime/x.py").write_text("def f():\n    a()\n    b()\n    a()\n")
    return tmp_path / "tree"


class TestEntries:
    def test_blank_lines_around_a_block_do_not_count(self) -> None:
        (read,) = data.read("f.toml", ENTRY)
        assert read.edits == (Edit("pyruntime/x.py", "    b()", ""),)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (("a-name", "A name"), "kebab-case"),
            (("defends", "defend"), "'defends' is missing"),
            (('old = ', 'odd = '), "an edit has file, old and new"),
            (('name = ', 'hangs = 1\nname = '), "'hangs'"),
            (('name = ', 'hang = true\nname = '), "'hang'"),
            (("[[defence]]", "[[defense]]\n[[defence]]"), "nothing but"),
        ],
    )  # fmt: skip
    def test_mistakes_name_file_and_entry(self, change: tuple[str, str], words: str) -> None:
        with pytest.raises(Unsound, match=r"^f\.toml: ") as raised:
            data.read("f.toml", ENTRY.replace(*change, 1))
        assert words in str(raised.value)

    def test_a_name_is_given_once(self, tmp_path: Path) -> None:
        for name in ("a.toml", "b.toml"):
            (tmp_path / name).write_text(ENTRY)
        with pytest.raises(Unsound, match=r"b\.toml: a-name: a\.toml has that name too"):
            data.load(tmp_path)

    @pytest.mark.parametrize("test", ["tests/unit/test_nosuch.py::test_x", "tests/unit/test_defences.py::test_x"])
    def test_a_test_that_does_not_exist(self, test: str) -> None:
        with pytest.raises(Unsound, match=r"f\.toml: a-name: there is no test"):
            data.check_tests(Defence("f.toml", "a-name", "x", (test,), ()))


class TestEdits:
    def test_a_line_that_goes_leaves_none(self, tree: Path) -> None:
        assert data.edited(defence(), tree) == {"pyruntime/x.py": "def f():\n    a()\n    a()\n"}

    @pytest.mark.parametrize(("old", "times"), [("    c()", 0), ("    a()", 2)])
    def test_the_old_text_stands_there_once(self, tree: Path, old: str, times: int) -> None:
        with pytest.raises(Unsound, match=rf"f\.toml: a-name: edit 1: `old` stands {times} times in pyruntime/x\.py"):
            data.edited(defence(old), tree)

    @pytest.mark.parametrize("file", ["pyruntime/y.py", "tests/x.py"])
    def test_only_sources_are_edited(self, tree: Path, file: str) -> None:
        with pytest.raises(Unsound, match="there is no source file"):
            data.edited(defence(file=file), tree)

    def test_what_is_no_python_any_more_is_no_mutant(self, tree: Path) -> None:
        with pytest.raises(SyntaxError):
            mutant.make_mutant(mutant.Prefix(tree.parent), tree.parent / "mutant", defence(new="    b("))


SMOKE = outcome.Ran(passed=True)
TEST = "tests/x.py::test_x"


def judged(ran: outcome.Ran | None, *, ended: bool = True, smoke: outcome.Ran = SMOKE, **more: Any) -> str:
    """Return why a defence is not proven, "" when it is."""
    report = outcome.Report(tests={runner.SMOKE: smoke} if ran is None else {runner.SMOKE: smoke, TEST: ran})
    try:
        runner.judge(defence(**more), report, ended=ended)
    except runner.NotProven as problem:
        return str(problem)
    return ""


FAILED = outcome.Ran(stopped={"call": (True, "AssertionError: 1 == 2")})


class TestJudgement:
    def test_an_assertion(self) -> None:
        assert judged(FAILED) == ""
        assert judged(FAILED, says="1 == 2") == ""

    @pytest.mark.parametrize(
        ("ran", "why"),
        [
            (None, "did not run"),
            (outcome.Ran(), "not run to its end"),
            (outcome.Ran(passed=True), "passes without the defence"),
            (outcome.Ran(skipped=True), "skipped"),
            (outcome.Ran(stopped={"setup": (True, "AssertionError")}), "stopped before it began"),
            (outcome.Ran(stopped={"call": (False, "OSError: x")}), "another exception"),
            (outcome.Ran(True, stopped={"teardown": (True, "AssertionError: left")}), "only leaves something behind"),
            (outcome.Ran(stopped={"call": (True, "internal error: NameError")}), "the program is broken"),
            (outcome.Ran(stopped={"call": (True, "no end after 30 s")}), "a command does not end"),
        ],
    )
    def test_what_proves_nothing(self, ran: outcome.Ran | None, why: str) -> None:
        assert why in judged(ran)

    def test_other_words_than_it_says(self) -> None:
        assert "'EPERM' is not in" in judged(FAILED, says="EPERM")

    def test_nothing_works_any_more(self) -> None:
        assert "without the defence nothing works" in judged(FAILED, smoke=FAILED)

    def test_what_an_entry_allows(self) -> None:
        left = outcome.Ran(True, stopped={"teardown": (True, "AssertionError: left")})
        assert judged(left, leak=True) == ""
        assert judged(outcome.Ran(stopped={"call": (True, "no end after 30 s")}), hangs=True) == ""

    def test_the_limit_of_time(self) -> None:
        assert "did not end" in judged(FAILED, ended=False)
        assert judged(outcome.Ran(), ended=False, hangs=True) == ""
        assert "passes without" in judged(outcome.Ran(passed=True), ended=False, hangs=True)

    def test_one_variant_is_enough_unless_it_is_named(self) -> None:
        report = outcome.Report(
            tests={runner.SMOKE: SMOKE, f"{TEST}[a]": outcome.Ran(passed=True), f"{TEST}[b]": FAILED}
        )
        runner.judge(defence(), report, ended=True)
        named = Defence("f.toml", "a-name", "x", (f"{TEST}[a]",), ())
        with pytest.raises(runner.NotProven, match="passes without the defence"):
            runner.judge(named, report, ended=True)


TESTS = """
import pytest

@pytest.fixture
def broken():
    assert False, "fixture"

@pytest.fixture
def leaky():
    yield
    assert False, "left behind"

def test_passes(): pass
def test_asserts(): assert 1 == 2, "words"
def test_raises_nothing():
    with pytest.raises(OSError): pass
def test_stumbles(): open("/nosuch/file")
def test_setup(broken): pass
def test_leaves(leaky): pass
def test_skips(): pytest.skip("no")
"""


def test_the_plugin_tells_an_assertion_from_everything_else(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    environment = {**os.environ, outcome.FILE: str(tmp_path / "report"), "PYTHONPATH": f"{paths.REPO / 'tests'}"}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path)]
    command += ["-p", "no:cacheprovider", "-p", outcome.__name__, f"{tmp_path}/test_it.py"]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    report = outcome.read(tmp_path / "report")
    found = {}
    for name in report.tests:
        found[name.partition("::test_")[2]] = (outcome.why_not_failed(defence(), report, name) or "").partition(": ")[2]
    assert found.pop("asserts") == "" and found.pop("raises_nothing") == ""
    assert {name: why.partition(":")[0] for name, why in found.items()} == {
        "passes": "passes without the defence",
        "stumbles": "stopped by another exception than an assertion",
        "setup": "stopped before it began",
        "leaves": "passes, and only leaves something behind",
        "skips": "skipped",
    }
    assert "words" in report.of("test_it.py::test_asserts")[0].stopped["call"][1]
    assert report.package.endswith("pyruntime/__init__.py")
