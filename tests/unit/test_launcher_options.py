"""The launcher protects its binary for every command line by which the command line's own reader enters a container."""

import importlib.util
import random
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from pyruntime import cli, options
from pyruntime.errors import UsageFailure
from pyruntime.options import Options

REPO = Path(__file__).resolve().parents[2]

HARNESS = r"""
#include "launcher.h"
#include <stdio.h>
#include <string.h>

/* Each line of standard input is a command line, its words set apart by tabs. */
int main(void)
{
	static char line[1 << 16];
	while (fgets(line, sizeof line, stdin) != NULL) {
		char *words[64] = {"pyruntime"};
		int count = 1;
		line[strcspn(line, "\n")] = 0;
		for (char *rest = line, *word; count < 63 && (word = strsep(&rest, "\t")) != NULL;)
			words[count++] = word;
		puts(enters_a_container(count, words) ? "yes" : "no");
	}
	return 0;
}
"""


@pytest.fixture(scope="module")
def launcher_options() -> ModuleType:
    spec = importlib.util.spec_from_file_location("options_header", REPO / "building/options.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(folder: Path, header: str) -> Path:
    """Compile the launcher's reader of command lines with these tables."""
    (folder / "options.h").write_text(header)
    (folder / "harness.c").write_text(f"#define _GNU_SOURCE\n{HARNESS}")
    program = folder / "harness"
    sources = [str(REPO / "pyruntime/launcher/commandline.c"), str(folder / "harness.c")]
    includes = [f"-I{folder}", f"-I{REPO / 'pyruntime/launcher'}"]
    subprocess.run(["cc", "-Wall", "-Werror", *includes, *sources, "-o", str(program)], check=True)
    return program


@pytest.fixture(scope="module")
def reader(launcher_options: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("reader"), launcher_options.header())


def enters(reader: Path, lines: list[list[str]]) -> list[bool]:
    text = "".join("\t".join(line) + "\n" for line in lines)
    done = subprocess.run([reader], input=text, capture_output=True, text=True, check=True)
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines) and set(answers) <= {"yes", "no"}
    return [answer == "yes" for answer in answers]


def command_of(line: list[str]) -> str | None:
    """Return the command that the runtime itself would run; None where it refuses or only shows a text."""
    found = Options()
    cli.clear(found, options.GLOBAL)
    try:
        rest = cli.parse(line, options.GLOBAL, found, stop=True)
    except UsageFailure:
        return None
    return rest[0] if rest and not found.help and not found.version else None


def spellings(name: str, kind: str, short: str, value: str) -> list[list[str]]:
    words = [f"--{name}", f"-{name}", *([f"-{short}"] if short else [])]
    if kind in (options.FLAG, options.SWITCH):
        return [[word] for word in words] + [[f"{word}=false"] for word in words]
    return [[word, value] for word in words] + [[f"{word}={value}"] for word in words]


@pytest.mark.parametrize("command", options.COMMANDS)
def test_each_global_option_before_each_command(reader: Path, command: str) -> None:
    lines = [[command, "x"], ["--", command, "x"]]
    for name, (kind, short, _) in options.GLOBAL.items():
        for value in ("create", "state", "v"):
            lines += [[*words, command, "x"] for words in spellings(name, kind, short, value)]
    wanted = options.COMMANDS[command].enters
    assert enters(reader, lines) == [wanted] * len(lines)


def test_what_enters() -> None:
    assert [name for name, command in options.COMMANDS.items() if command.enters] == [
        "create",
        "run",
        "exec",
        "mounts",
        "restore",
    ]


def test_random_command_lines(reader: Path) -> None:
    """No line that enters is taken for one that does not. (The other way round it costs time, and is harmless.)"""
    rng = random.Random(20)
    words = [
        "create",
        "run",
        "exec",
        "state",
        "kill",
        "x",
        "",
        "-",
        "--",
        "---",
        "-=",
        "--=",
        "-hv",
        "-td",
        "--unknown",
    ]
    for name, (kind, short, _) in options.GLOBAL.items():
        words += [
            word for value in ("state", "create", "") for each in spellings(name, kind, short, value) for word in each
        ]
    lines = [[rng.choice(words) for _ in range(rng.randint(1, 6))] for _ in range(20_000)]
    lines = [line for line in lines if line != [""]]
    entering = 0
    for line, answer in zip(lines, enters(reader, lines), strict=True):
        command = options.COMMANDS.get(command_of(line) or "")
        if command is not None and command.enters:
            entering += 1
            assert answer, line
    assert entering > 1000


@pytest.mark.parametrize("kind", ["VALUE", "NUMBER", "MANY"])
def test_an_option_that_is_added_is_known(launcher_options: ModuleType, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "options.py"
    text = (REPO / "pyruntime/options.py").read_text()
    added = text.replace("GLOBAL = {\n", f'GLOBAL = {{\n    "new-option": ({kind}, "n", ""),\n', 1)
    assert added != text
    source.write_text(added)
    reader = build(tmp_path, launcher_options.header(source))
    lines = [
        ["--new-option", "state", "create", "x"],
        ["-n", "x", "run", "x"],
        ["--new-option", "create", "state", "x"],
    ]
    assert enters(reader, lines) == [True, True, False]


def test_what_is_not_known_is_protected(reader: Path) -> None:
    """So it is with a launcher that is older than the tables: scripts/dev-link runs the modules of the source tree."""
    lines = [["--new-option", "state", "x"], ["--new-option", "x", "create"], ["new-command", "x"], ["-hv", "state"]]
    assert enters(reader, lines) == [True] * len(lines)
