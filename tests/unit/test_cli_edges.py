"""What the command line makes of failures outside a command's own words, and of --trace."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pyruntime import cli, kernel
from pyruntime.options import COMMANDS, FLAG, GLOBAL, MANY, NUMBER, SWITCH, VALUE, Options


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `pyruntime WORDS`, whose command `state` raises the error, or returns 7; no descriptor is touched."""
    monkeypatch.setattr(kernel, "close_range", lambda *_: None)

    def run(error: BaseException | None, *words: str) -> int:
        def command(_: Options) -> int:
            if error is not None:
                raise error
            return 7

        monkeypatch.setattr(cli, "__import__", lambda *_, **__: SimpleNamespace(state=command), raising=False)
        return cli.main(list(words or ("state", "x")))

    return run


def test_a_reader_that_is_gone(state: Callable[..., int], capsys: Any) -> None:
    """There is nobody to report it to, unless it is a socket of the kernel layer that lost its reader."""
    assert state(BrokenPipeError(errno.EPIPE, "Broken pipe")) == 1
    assert capsys.readouterr().err == ""
    error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    error.call = "sendmsg(3)"  # type: ignore[attr-defined]
    assert state(error) == 1
    assert capsys.readouterr().err == "pyruntime: sendmsg(3): broken pipe (EPIPE)\n"


def test_an_incomplete_installation(state: Callable[..., int], capsys: Any) -> None:
    assert state(ImportError("No module named 'x'")) == 1
    assert capsys.readouterr().err == "pyruntime: load a module of the runtime: No module named 'x'\n"


def test_nobody_reads_stderr(state: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=write, flush=lambda: None))
    assert state(KeyError("x")) == 1


def test_trace(state: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[tuple[str, str]] = []

    def run(path: str, name: str, command: Callable[[], int]) -> int:
        traced.append((path, name))
        return command() + 1

    monkeypatch.setattr("pyruntime.trace.run", run)
    assert state(None, "state", "--trace=/t", "x") == 8
    assert traced == [("/t", "state")]
    assert state(None) == 7 and len(traced) == 1


def test_every_option_has_the_type_that_its_kind_gives_it() -> None:
    kinds = {FLAG: "bool", SWITCH: "bool | None", VALUE: "str | None", NUMBER: "int | None", MANY: "list[str]"}
    asked: dict[str, set[str]] = {}
    for table in (GLOBAL, *(command.options for command in COMMANDS.values())):
        for name, (kind, _, _) in table.items():
            asked.setdefault(name.replace("-", "_"), set()).update(kinds[kind].split(" | "))
    asked["root"] = {"str"}  # settle() fills it in
    found = {name: set(text.split(" | ")) for name, text in Options.__annotations__.items()}
    assert {name: found.pop(name) for name in ("command", "args", "given_fds")} == {
        "command": {"str"}, "args": {"list[str]"}, "given_fds": {"int"},
    }  # fmt: skip
    assert found == asked
