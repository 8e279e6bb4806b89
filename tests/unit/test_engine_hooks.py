"""Hooks as real child processes: what they are given, their time limit, their output in the error."""

import dataclasses
import os
import posix
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.recording import Recorder

from pyruntime import kernel, log
from pyruntime.engine import hooks
from pyruntime.errors import Failure


@dataclasses.dataclass
class Hook:
    """As much of plan.hooks.Hook as running it takes."""

    path: str
    args: list[str]
    env: list[str] | None
    timeout: int | None


def shell(code: str, *args: str, env: list[str] | None = None, timeout: int | None = None) -> Hook:
    return Hook(path="/bin/sh", args=["sh", "-c", code, *args], env=env, timeout=timeout)


def failure_of(hook: Hook, **named: Any) -> str:
    with pytest.raises(Failure) as caught:
        hooks.run(hook, b"", None, **named)
    return str(caught.value)


def test_it_reads_the_state_to_its_end(tmp_path: Path) -> None:
    """One of a megabyte, which no pipe would take at once."""
    state = b'{"id": "\xff"}' * 100_000
    hooks.run(shell('cat > "$0"', str(tmp_path / "seen")), state, None)
    assert (tmp_path / "seen").read_bytes() == state


def test_one_that_reads_nothing_blocks_nobody() -> None:
    hooks.run(shell("exit 0"), b"x" * 1_000_000, None)


def test_it_runs_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "by-path").mkdir()
    (tmp_path / "by-descriptor").mkdir()
    write = shell("pwd > there")
    hooks.run(write, b"", str(tmp_path / "by-path"))
    fd = os.open(tmp_path / "by-descriptor", os.O_PATH)
    hooks.run(write, b"", fd)
    os.close(fd)
    hooks.run(shell('pwd > "$0"', str(tmp_path / "here")), b"", None)
    assert (tmp_path / "by-path/there").read_text() == f"{tmp_path}/by-path\n"
    assert (tmp_path / "by-descriptor/there").read_text() == f"{tmp_path}/by-descriptor\n"
    assert (tmp_path / "here").read_text() == f"{os.getcwd()}\n"


def test_a_bundle_that_is_gone_keeps_it_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(log, "warning", warnings.append)
    hooks.run(shell('pwd > "$0"', str(tmp_path / "seen")), b"", str(tmp_path / "gone"))
    assert (tmp_path / "seen").read_text() == "/\n"
    assert warnings == [
        f'hook "/bin/sh" runs in /, and not in the bundle: chdir("{tmp_path}/gone"): no such file or directory (ENOENT)'
    ]


@pytest.mark.parametrize(
    ("own", "given", "seen"),
    [
        (["A=own"], ["A=given"], "own"),
        ([], ["A=given"], ""),
        (None, ["A=given"], "given"),
        (None, [], ""),
        (None, None, "inherited"),
    ],
)
def test_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Any, given: Any, seen: str) -> None:
    """Its own, even an empty one; else what the caller gives; else the runtime's."""
    monkeypatch.setitem(posix.environ, b"A", b"inherited")
    hooks.run(shell('printf %s "$A" > "$0"', str(tmp_path / "seen"), env=own), b"", None, given)
    assert (tmp_path / "seen").read_text() == seen


def test_its_arguments_are_as_given(tmp_path: Path) -> None:
    hooks.run(Hook(path="/bin/sh", args=["-sh", "-c", 'echo "$0 $1" > "$2"', "a", "b c", f"{tmp_path}/x"],
                   env=None, timeout=None), b"", None)  # fmt: skip
    assert (tmp_path / "x").read_text() == "a b c\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("exit 3", "exit status 3, no output"),
        ("exit 1", "exit status 1, no output"),
        ("echo; echo ' one '; echo two >&2; exit 4", "exit status 4, output: one / two"),
        ("kill -9 $$", "killed by signal 9, no output"),
        ("printf '\\377'; exit 5", "exit status 5, output: \\xff"),
    ],
)
def test_one_that_fails(code: str, words: str) -> None:
    assert failure_of(shell(code)) == f'error running hook "/bin/sh": {words}'


def test_only_the_end_of_much_output_is_told() -> None:
    code = "head -c 5000 /dev/zero | tr '\\0' a; printf %01000d 0; exit 1"
    line = failure_of(shell(code))
    assert line.endswith("output: " + "a" * 24 + "0" * 1000)


def test_streams_of_the_callers() -> None:
    """What goes there is not kept for the error."""
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    line = failure_of(shell("echo out; echo err >&2; exit 1"), streams=(out_end, -1))
    assert line.endswith("output: err")
    line = failure_of(shell("echo out; echo err >&2; exit 1"), streams=(-1, err_end))
    assert line.endswith("output: out")
    assert (os.read(out, 99), os.read(err, 99)) == (b"out\n", b"err\n")
    for fd in (out, out_end, err, err_end):
        os.close(fd)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "it can't be executed: no such file or directory (ENOENT)"),
        (lambda path: path.touch(0o644), "it can't be executed: permission denied (EACCES)"),
        (lambda path: path.mkdir(), "it can't be executed: permission denied (EACCES)"),
    ],
)
def test_one_that_can_not_be_executed(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "hook"
    make(path)
    line = failure_of(Hook(path=str(path), args=["hook"], env=[], timeout=None))
    assert line == f'error running hook "{path}": {words}'


@pytest.mark.parametrize(
    ("call", "directory", "words"),
    [
        ("clone3()", "/bundle", 'error running hook "/hook": clone3(): resource temporarily unavailable (EAGAIN)'),
        ('chdir("/")', "/", 'error running hook "/hook": chdir("/"): resource temporarily unavailable (EAGAIN)'),
        ("fchdir(3)", 3, 'error running hook "/hook": fchdir(3): resource temporarily unavailable (EAGAIN)'),
        ('chdir("x")', None, 'error running hook "/hook": chdir("x"): resource temporarily unavailable (EAGAIN)'),
    ],
)
def test_what_else_can_go_wrong(monkeypatch: pytest.MonkeyPatch, call: str, directory: Any, words: str) -> None:
    error = BlockingIOError(11, "Resource temporarily unavailable")
    error.call = call  # type: ignore[attr-defined]
    recorder = Recorder(kernel, spawn=error)
    monkeypatch.setattr(hooks, "kernel", recorder)
    with pytest.raises(Failure) as caught:
        hooks.run(Hook(path="/hook", args=["hook"], env=[], timeout=None), b"", directory)
    assert str(caught.value) == words
    assert len(recorder.calls) == 1, "it was tried once"


def test_what_it_is_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(kernel, spawn=7)
    monkeypatch.setattr(hooks, "kernel", recorder)
    hook = Hook(path="/hook", args=["hook", "x"], env=None, timeout=None)
    assert hooks.spawn(hook, (3, 4, 5), "/dir", ["A=1"], b"filter", 2) == 7
    assert hooks.spawn(hook, (3, 4, 5), 6, ["A=1"], None, 0) == 7
    assert recorder.calls == [
        ("spawn", "/hook", ["hook", "x"], ["A=1"], -1, "/dir", 3, 4, 5, b"filter", 2),
        ("spawn", "/hook", ["hook", "x"], ["A=1"], 6, None, 3, 4, 5, None, 0),
    ]


class TestTimeout:
    def test_one_in_time(self) -> None:
        began = time.monotonic()
        hooks.run(shell("exit 0", timeout=100), b"", None)
        assert time.monotonic() - began < 50
        assert "exit status 2" in failure_of(shell("exit 2", timeout=100))

    def test_one_that_takes_longer_ends_with_all_that_it_has_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its group is killed: the pipe closes only when the last process that has it is gone."""
        told, held = os.pipe()
        limits: list[int] = []

        def ends_within(_pid: int, milliseconds: int) -> bool:
            limits.append(milliseconds)
            assert os.read(told, 9) == b"up\n"
            return False

        monkeypatch.setattr(hooks, "ends_within", ends_within)
        line = failure_of(shell("trap '' USR1; (echo up; sleep 1000) & sleep 1000", timeout=7), streams=(held, -1))
        os.close(held)
        assert line == 'error running hook "/bin/sh": it took longer than its timeout of 7 s and was killed'
        assert limits == [7000]
        assert select.select([told], [], [], 10)[0] and os.read(told, 1) == b""
        os.close(told)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_how_long(self) -> None:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        began = time.monotonic()
        assert hooks.ends_within(pid, 50) is False
        assert 0.05 <= time.monotonic() - began < 5
        os.kill(pid, signal.SIGKILL)
        assert hooks.ends_within(pid, 50_000) is True
        assert hooks.wait(pid, None) == -9

    def test_no_poll_is_longer_than_the_kernel_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = Recorder(kernel, poll=lambda *_: [])
        monkeypatch.setattr(hooks, "kernel", recorder)
        assert hooks.ends_within(os.getpid(), 2 * hooks.LONGEST_POLL) is False
        assert [milliseconds for _, milliseconds in recorder.named("poll")] == [0x7FFFFFFF, 0x7FFFFFFF]

    def test_none_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """0 is no time limit, as without one."""
        monkeypatch.setattr(hooks, "ends_within", lambda *_: pytest.fail("there is a limit"))
        hooks.run(shell("exit 0", timeout=0), b"", None)
        hooks.run(shell("exit 0"), b"", None)


def test_nothing_stays_open_when_there_is_no_memory_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixture of all tests looks at the descriptors; the first of two memory files is there, the second isn't."""
    real, made = os.memfd_create, []

    def memfd_create(name: str, flags: int) -> int:
        made.append(name)
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        return real(name, flags)

    monkeypatch.setattr(posix, "memfd_create", memfd_create)
    with pytest.raises(OSError, match="Too many open files"):
        hooks.run(shell("exit 0"), b"", None)
    assert made == ["hook-state", "hook-output"]


def test_both_are_closed_whatever_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 too, where the caller has closed its stdin."""
    files = [5, 0]
    recorder = Recorder(posix, close=None)
    monkeypatch.setattr(hooks, "posix", recorder)
    monkeypatch.setattr(hooks, "memory_file", lambda *_: files.pop(0))
    monkeypatch.setattr(hooks, "spawn", Recorder(x=Failure("it can't be started")).x)
    with pytest.raises(Failure, match="it can't be started"):
        hooks.run(shell("exit 0"), b"", None)
    assert recorder.calls == [("close", 5), ("close", 0)]


def test_a_memory_file_is_read_from_its_beginning() -> None:
    fd = hooks.memory_file("name", b"content")
    assert os.read(fd, 99) == b"content"
    assert os.readlink(f"/proc/self/fd/{fd}") == "/memfd:name (deleted)"
    assert not os.get_inheritable(fd)
    os.close(fd)
