"""The budget of the hot commands: which modules they import, and how many system calls they make up to execve.

A command that needs more than tests/data/budget.json says has become slower, on every machine. When that is meant, or
when it has become faster, write the new numbers: PYRUNTIME_WRITE_BUDGET=1 .venv/bin/pytest tests/root/test_budget.py
"""

import json
import os
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import budget, paths
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, new_id

FILE = paths.REPO / "tests/data/budget.json"
COMMANDS = ("create", "start", "state", "exec", "kill", "delete", "run")
WRITE = bool(os.environ.get("PYRUNTIME_WRITE_BUDGET"))


@pytest.fixture(autouse=True)
def _installed_as_users_have_it() -> None:
    if paths.PEER is not None:
        pytest.skip("the budget is pyruntime's")
    if (Path(sysconfig.get_path("purelib")) / "pyruntime").is_symlink():
        pytest.skip("scripts/dev-link has linked the source tree: nothing is frozen into the launcher")


@pytest.fixture
def arguments(container: Make, bundle: Bundle, workdir: Path, command: str) -> list[str | Path]:
    """The command line of a hot command, and a container that it fits."""
    if command in ("create", "run"):
        bundle.args("true")
        return [command, "--bundle", bundle.save(), "--pid-file", workdir / "pid", new_id()]
    box = container(start=command in ("state", "exec", "kill"))
    if command == "delete":
        box.kill()
        box.wait_stopped()
    return [command, box.id, *{"exec": ["true"], "kill": ["KILL"]}.get(command, [])]


def budget_of(kind: str, command: str, found: Any) -> Any:
    """Return what was agreed on; with WRITE, write what was found first."""
    document = json.loads(FILE.read_text()) if FILE.exists() else {}
    if WRITE:
        document.setdefault(kind, {})[command] = found
        FILE.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return document[kind][command]


@pytest.mark.parametrize("command", COMMANDS)
def test_modules(runtime: Runtime, workdir: Path, arguments: list[str | Path], command: str) -> None:
    found = budget.modules(runtime, workdir / "trace.json", *arguments)
    agreed = budget_of("modules", command, found)
    more, less = sorted(set(found) - set(agreed)), sorted(set(agreed) - set(found))
    assert not more and not less, f"{command} also imports {more}, and no longer {less}"


@pytest.mark.parametrize("command", COMMANDS)
def test_system_calls(runtime: Runtime, workdir: Path, arguments: list[str | Path], command: str) -> None:
    found = budget.system_calls(runtime, workdir / "strace.txt", *arguments)
    agreed = budget_of("system calls", command, dict(sorted(found.items())))
    before, now = sum(agreed.values()), sum(found.values())
    assert abs(now - before) <= max(before * budget.MARGIN, budget.LEAST), (
        f"{command} makes {now} system calls, the budget is {before}:\n{budget.difference(found, agreed)}"
    )


def test_the_count_ends_where_the_program_begins() -> None:
    lines = [
        '10 execve("pyruntime", ["pyruntime"], 0x7ffd) = 0',
        "10 clone3({flags=CLONE_PIDFD}, 88) = 11",
        "11 read(3,  <unfinished ...>",
        '10 write(4, "G", 1) = 1',
        '11 <... read resumed>"G", 1) = 1',
        '11 execve("/bin/true", ["true"], 0x7ffe) = 0',
        "11 brk(NULL) = 0x5500",
        "11 +++ exited with 0 +++",
        "--- SIGCHLD {si_signo=SIGCHLD} ---",
        "10 exit_group(0) = ?",
    ]
    expected = {"execve": 2, "clone3": 1, "read": 1, "write": 1, "exit_group": 1}
    assert budget.count(lines) == Counter(expected)
