"""`ps`: the pids, a table of our own from /proc, and the lines of ps(1) that are the container's."""

from __future__ import annotations

import os
import posix
import time
from pathlib import Path
from typing import Any

import pytest
from support.containers import options_of

from pyruntime.commands import ps
from pyruntime.container import cgroup
from pyruntime.errors import Failure, UsageFailure

TITLE = "UID          PID    PPID  C STIME TTY          TIME CMD\n"


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes of container c."""
    found: list[int] = []

    def processes(root: str, container_id: str) -> list[int]:
        assert (root, container_id) == ("/r", "c")
        return found

    monkeypatch.setattr(ps, "processes", processes)
    return found


def printed(capsys: Any, *words: str) -> str:
    assert ps.ps(options_of("ps", *words)) == 0
    return str(capsys.readouterr().out)


FILES = {
    "/proc/7/cmdline": b"sh\0-c\0a\nb\0",
    # state, ppid, …, tty_nr (5th from the state), utime and stime (12th, 13th), start time (20th)
    "/proc/7/stat": b"7 (a) b) S 5 7 7 34817 7 0 0 0 0 0 360000 6500 0 0 20 0 1 0 100000 0 0\n",
    "/proc/uptime": b"9000.0 1.0\n",
}


class TestOwnTable:
    @pytest.fixture
    def proc(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
        files = dict(FILES)

        def read(path: str) -> bytes:
            if path not in files:
                raise FileNotFoundError(2, "gone")
            return files[path]

        monkeypatch.setattr(cgroup, "read_file", read)
        monkeypatch.setattr(posix, "stat", lambda path: os.stat_result([0, 0, 0, 0, 0 if path == "/proc/7" else 1] * 2))
        monkeypatch.setattr(posix, "sysconf", {"SC_CLK_TCK": 100}.__getitem__)
        monkeypatch.setattr(ps, "began", lambda moment: f"@{time.time() - moment:.0f}")
        return files

    def test_line(self, proc: dict[str, bytes], pids: list[int], capsys: Any) -> None:
        """It began at second 1000 of 9000, and has used 3665 of the 8000 since."""
        pids += [7]
        assert printed(capsys, "c") == (
            TITLE + "root           7       5 45 @8000 pts/1    01:01:05 sh -c a\\nb\n"
        )  # fmt: skip

    def test_without_a_command_line(self, proc: dict[str, bytes]) -> None:
        proc["/proc/7/cmdline"] = b""
        cells = ps.describe(7)
        assert cells is not None and cells[-1] == "[a) b]"

    def test_use_of_several_cpus(self, proc: dict[str, bytes]) -> None:
        proc["/proc/uptime"] = b"1000.0 0"
        cells = ps.describe(7)
        assert cells is not None and cells[3:5] == ("99", "@1"), "no division by nothing"

    def test_gone(self, proc: dict[str, bytes], pids: list[int], capsys: Any) -> None:
        del proc["/proc/7/cmdline"]
        pids += [7]
        assert printed(capsys, "-f", "table", "c") == TITLE


@pytest.mark.parametrize(
    ("device", "name"),
    [(0, "?"), (34816, "pts/0"), (34816 + 256 + 3, "pts/259"), (1025, "tty1"), (1281, "console"), (1282, "?")],
)
def test_terminals(device: int, name: str) -> None:
    assert ps.terminal_name(device) == name


def test_began(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = time.mktime((2026, 6, 15, 12, 0, 0, 0, 0, -1))
    now = time.localtime(noon)
    real = time.localtime
    monkeypatch.setattr(time, "localtime", lambda moment=None: now if moment is None else real(moment))
    assert [ps.began(noon - age) for age in (3600, 86400, 86400 * 300)] == ["11:00", "Jun14", "2025"]


def test_json(pids: list[int], capsys: Any) -> None:
    pids += [5, 7]
    assert printed(capsys, "--format=json", "c") == "[5,7]\n"


def test_another_format() -> None:
    with pytest.raises(UsageFailure, match=r"^invalid format option: 'xml' is neither table nor json$"):
        ps.ps(options_of("ps", "-f", "xml", "c"))


class TestSelected:
    def test_lines(self) -> None:
        text = "USER PID CMD\nroot 5 a b\nroot 55 c\nroot x 5\nshort\nroot 7 5 5\n"
        assert ps.selected(text, {5, 7}) == "USER PID CMD\nroot 5 a b\nroot 7 5 5\n"

    def test_the_last_column(self) -> None:
        assert ps.selected("PID\n5\n6\n", {6}) == "PID\n6\n"

    def test_no_column(self) -> None:
        with pytest.raises(Failure, match=r"^ps printed no PID column; its options must keep one$"):
            ps.selected("USER CMD\n", {1})


class TestProgram:
    @pytest.fixture
    def program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A ps of our own, in the only directory that is searched."""
        monkeypatch.setattr(ps, "SEARCHED", str(tmp_path))
        monkeypatch.setenv("PATH", "/no-such")
        return tmp_path / "ps"

    def write(self, program: Path, script: str) -> None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def test_its_lines(self, program: Path, pids: list[int], capsys: Any) -> None:
        pids += [5]
        self.write(program, r'printf "PID $PATH $#$1$2\n5 \377\n6 x\n"')
        assert printed(capsys, "c", "-o", "pid") == f"PID {program.parent} 2-opid\n5 \\xff\n"

    @pytest.mark.parametrize(("said", "words"), [("echo bad; echo more", "bad"), (":", "no message")])
    def test_its_failure(self, program: Path, said: str, words: str) -> None:
        self.write(program, f"{{ {said}; }} >&2; exit 3")
        with pytest.raises(Failure) as raised:
            ps.listing(["-z", "y"])
        assert str(raised.value) == f"ps -z y: exit status 3: {words}"

    def test_none(self, program: Path) -> None:
        with pytest.raises(Failure) as raised:
            ps.listing(["-e"])
        assert str(raised.value).startswith("execute ps: ps: no such file or directory (ENOENT)")
        assert str(raised.value).endswith("; without options, and with --format json, ps is not needed")
