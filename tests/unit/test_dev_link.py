"""scripts/dev-link, in a copy of the sources with a venv of its own: what it links, what it prints for wrong C."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import sources


def dev_link(tree: Path) -> subprocess.CompletedProcess[str]:
    environment = sources.environment(PYTHONPATH=sysconfig.get_path("purelib"))
    return subprocess.run([tree / "scripts/dev-link"], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources; its venv imports setuptools from the one that runs the tests."""
    tree = sources.copy(tmp_path / "tree")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tree / ".venv"], check=True)
    return tree


def insert(file: Path, line: str) -> None:
    file.write_text(f"{file.read_text()}\n{line}\n")


def test_the_command_runs_from_the_tree_and_warnings_are_shown(tree: Path) -> None:
    insert(tree / "pyruntime/kernel/src/binary.c", "static int nobody_calls_this(void) { return 0; }")
    done = dev_link(tree)
    assert done.returncode == 0, done.stderr
    assert "pyruntime/kernel/src/binary.c" in done.stderr and "[-Wunused-function]" in done.stderr
    version = tree / "pyruntime/__init__.py"
    version.write_text(version.read_text().replace('__version__ = "', '__version__ = "edited-'))
    shown = subprocess.run([tree / ".venv/bin/pyruntime", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("pyruntime version edited-")


@pytest.mark.parametrize("file", ["pyruntime/kernel/src/mounts.c", "pyruntime/launcher/commandline.c"])
def test_an_error_of_the_compiler_is_shown_and_nothing_is_linked(tree: Path, file: str) -> None:
    insert(tree / file, "this is no C;")
    done = dev_link(tree)
    assert done.returncode != 0
    assert f"{file}:" in done.stderr and "error: unknown type name" in done.stderr
    assert "can't be built" in done.stderr.splitlines()[-1]
    assert not (tree / ".venv/bin/pyruntime").exists()
