"""The engine's own operations: start's handshake, exec, documents of hooks and agents, what is passed on."""

import dataclasses
import errno
import json
import os
import posix
import resource
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from support.recording import Recorder

from pyruntime import kernel
from pyruntime.engine import calls, hooks
from pyruntime.plan.hooks import Hook
from pyruntime.step import HOST, Flags, Slot, Step

PAIR = (socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_every_operation_is_named() -> None:
    """This module's own, and those that it takes from the program's; the kernel's come by themselves."""
    helpers = {"encode", "dumps"}
    found = {name for name, value in vars(calls).items() if isinstance(value, FunctionType) and name[0] != "_"}
    assert set(calls.__all__) == found - helpers
    assert calls.chdir is kernel.chdir and calls.pty_name is kernel.pty_name
    with pytest.raises(AttributeError, match="no_such"):
        _ = calls.no_such


@dataclasses.dataclass
class State:
    """A document, as those of plan.hooks and plan.seccomp."""

    fields: dict[str, Any]


HOOK = Hook({"path": "/hook"})


@pytest.fixture
def state() -> State:
    return State({"ociVersion": "1.3.0", "id": "c\udcff", "status": "creating", "pid": 1})


class TestHooks:
    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        monkeypatch.setattr(hooks, "run", lambda *args: found.append(args))
        return found

    def test_the_state_has_the_pid(self, run: list[tuple[Any, ...]], state: State) -> None:
        calls.run_hook(HOOK, state, 4711, "/bundle")
        ((hook, document, *rest),) = run
        assert (hook, rest) == (HOOK, ["/bundle", None, None, 0, (-1, -1)])
        assert json.loads(document.decode(errors="replace")) == {
            "ociVersion": "1.3.0", "id": "c\udcff", "status": "creating", "pid": 4711,
        }  # fmt: skip
        assert state.fields["pid"] == 1, "the plan's own document stays as it is"

    def test_in_init_it_is_its_own(self, run: list[tuple[Any, ...]], state: State) -> None:
        calls.run_hook(HOOK, state, None, 5, ["A=1"], b"filter", 2, 8, 9)
        ((_, document, *rest),) = run
        assert json.loads(document.decode(errors="replace"))["pid"] == os.getpid()
        assert rest == [5, ["A=1"], b"filter", 2, (8, 9)]


@pytest.mark.parametrize(("known", "told"), [(0, 7), (5, 5)])
def test_what_a_seccomp_agent_is_sent(known: int, told: int) -> None:
    """The container's own pid stays what it is, where there is one: exec's filter is for another process."""
    state = State({"fds": ["x"], "pid": 0, "state": {"id": "c", "pid": known}})
    assert json.loads(calls.listener_state(state, 7)) == {"fds": ["x"], "pid": 7, "state": {"id": "c", "pid": told}}
    assert state.fields == {"fds": ["x"], "pid": 0, "state": {"id": "c", "pid": known}}


class TestAwaitStart:
    @pytest.fixture
    def recorder(self, monkeypatch: pytest.MonkeyPatch) -> Recorder:
        recorder = Recorder(kernel, exit_on_signals=None)
        monkeypatch.setattr(calls, "kernel", recorder)
        return recorder

    @pytest.fixture
    def listener(self, tmp_path: Path, recorder: Recorder) -> Iterator[socket.socket]:
        listening = socket.socket(*PAIR)
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        yield listening
        listening.close()

    def ask(self, tmp_path: Path, *messages: bytes, close: bool = False) -> socket.socket:
        asking = socket.socket(*PAIR)
        asking.connect(str(tmp_path / "s"))
        for message in messages:
            asking.send(message)
        if close:
            asking.close()
        return asking

    def test_it_returns_the_one_that_asked(self, listener: socket.socket, recorder: Recorder, tmp_path: Path) -> None:
        """Those before it that only look, or say something else, are closed; so are listener and channel."""
        self.ask(tmp_path, close=True)
        other = self.ask(tmp_path, b"x")
        asking = self.ask(tmp_path, b"s")
        (host, channel), listening = kernel.socketpair(), os.dup(listener.fileno())
        connection = calls.await_start(listening, channel)
        os.write(connection, b"to the one that asked")
        assert asking.recv(99) == b"to the one that asked"
        assert other.recv(99) == b""
        assert recorder.calls == [("exit_on_signals",)]
        assert kernel.recv_message(host, 9, 0) == (b"", [])
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(listening)
        os.close(host)
        os.close(connection)
        for each in (other, asking):
            each.close()

    def test_one_that_breaks_off(
        self, listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads = [ConnectionResetError(errno.ECONNRESET, "reset"), b"s"]
        recorder = Recorder(posix, read=reads)
        monkeypatch.setattr(calls, "posix", recorder)
        first, second = self.ask(tmp_path), self.ask(tmp_path)
        connection = calls.await_start(os.dup(listener.fileno()), os.open("/", os.O_PATH))
        os.write(connection, b"hello")
        assert (first.recv(9), second.recv(9)) == (b"", b"hello")
        assert recorder.named("read")[1] == (connection, 1)
        os.close(connection)
        for each in (first, second):
            each.close()


def test_descriptors_that_the_caller_gave_are_passed_on() -> None:
    source = os.open("/", os.O_PATH)
    given = [os.dup2(source, 200 + number, inheritable=False) for number in range(4)]
    calls.pass_on(201, 2)
    assert [os.get_inheritable(fd) for fd in given] == [False, True, True, False]
    calls.pass_on(200, 0)
    assert not os.get_inheritable(200)
    for fd in (source, *given):
        os.close(fd)


class TestContainer:
    """What goes to the container's own object, with the arguments in their order."""

    def test_systemd(self) -> None:
        container: Any = Recorder(start_scope=None, set_unit_properties=None)
        calls.systemd_start_scope(container, "u.scope", [("A", 1)], 7)
        calls.systemd_set_properties(container, "u.scope", [("B", 2)])
        assert container.calls == [("start_scope", "u.scope", [("A", 1)], 7), ("set_unit_properties", [("B", 2)])]

    def test_what_is_saved(self) -> None:
        container: Any = Recorder(save_cgroup=None, save_created=None)
        calls.save_cgroup(container, 5)
        calls.save_record(container, 7)
        assert container.calls == [("save_cgroup", 5), ("save_created", 7)]


class TestPidFile:
    def test_it_has_the_pid_and_nothing_else(self, tmp_path: Path) -> None:
        file = tmp_path / "pid"
        file.write_text("what was there before is replaced")
        before = os.umask(0)
        try:
            calls.write_pid_file(str(file), 4711)
        finally:
            os.umask(before)
        assert file.read_bytes() == b"4711"
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert list(tmp_path.iterdir()) == [file]

    def test_how_it_is_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = Recorder(kernel, open=kernel.open)
        monkeypatch.setattr(calls, "kernel", recorder)
        calls.write_pid_file(f"{tmp_path}/pid", 1)
        flags = kernel.flags("O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC")
        ((path, *rest),) = recorder.named("open")
        assert rest == [flags, 0o644]
        assert len(path) == len(f"{tmp_path}/pid..tmp") + 16

    def test_one_that_can_not_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            calls.write_pid_file(f"{tmp_path}/none/pid", 1)
        (tmp_path / "pid/x").mkdir(parents=True)
        with pytest.raises(IsADirectoryError):
            calls.write_pid_file(f"{tmp_path}/pid", 1)
        assert [each.name for each in tmp_path.iterdir()] == ["pid"], "the temporary file is gone"

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        full = Recorder(posix, write=OSError(errno.ENOSPC, "No space left on device"))
        monkeypatch.setattr(calls, "posix", full)
        with pytest.raises(OSError, match="No space"):
            calls.write_pid_file(f"{tmp_path}/pid", 1)
        assert list(tmp_path.iterdir()) == []

    def test_whoever_guesses_its_name_gets_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a directory of somebody else: a link or file of that name, made before, is an error."""
        monkeypatch.setattr(posix, "urandom", lambda count: b"\xab" * count)
        guessed = tmp_path / f"pid.{'ab' * 8}.tmp"
        guessed.symlink_to(tmp_path / "target")
        with pytest.raises(FileExistsError):
            calls.write_pid_file(f"{tmp_path}/pid", 1)
        assert not (tmp_path / "target").exists()


class TestSend:
    def test_a_descriptor_with_its_name(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(tmp_path / "s"))
            listening.listen()
            (tmp_path / "file").write_text("content")
            fd = os.open(tmp_path / "file", os.O_RDONLY)
            calls.send_descriptor(f"{tmp_path}/s", fd, "n\udcff")
            os.close(fd)
            connection, _ = listening.accept()
            with connection:
                message, (got,), _, _ = socket.recv_fds(connection, 99, 9)
                assert (message, os.read(got, 99)) == (b"n\xff", b"content")
                assert connection.recv(9) == b"", "it is closed after the one message"
                os.close(got)

    def test_nobody_is_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            calls.send_descriptor(f"{tmp_path}/none", 0, "x")

    def test_a_terminal_is_named_as_in_the_container(self) -> None:
        master, slave = os.openpty()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            calls.send_terminal(theirs.fileno(), master)
            message, (got,), _, _ = socket.recv_fds(ours, 99, 9)
            assert message.decode() == os.ttyname(slave)
            assert os.get_terminal_size(got)
            os.close(got)
        os.close(master)
        os.close(slave)


class TestExec:
    def test_the_program_has_what_was_asked_for(self, tmp_path: Path) -> None:
        """Arguments, environment and limits; the report says that it is about to begin, and closes with it."""
        ours, theirs = kernel.socketpair()
        code = "import os, resource, sys; print(sys.argv, os.environ.get('A'), resource.getrlimit(7), file=open(sys.argv[1], 'w'))"  # noqa: E501
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        argv = ["python", "-SEc", code, f"{tmp_path}/seen"]
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            step = Step(
                HOST, "", "exec_program", os.path.realpath(sys.executable), argv, ["A=1"], None, Flags(""), -1, None,
                Slot("report"), [("RLIMIT_NOFILE", 77, hard)],
            )  # fmt: skip
            step.apply(calls, {"report": theirs})
            os._exit(1)
        os.close(theirs)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert (tmp_path / "seen").read_text() == f"['-c', '{tmp_path}/seen'] 1 (77, {hard})\n"
        assert kernel.recv_message(ours, 99, 0)[0] == b"x"
        os.close(ours)

    def test_limits_are_numbers_for_the_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = Recorder(kernel, exec_program=None)
        monkeypatch.setattr(calls, "kernel", fake)
        calls.exec_program("/p", ["p"], ["A=1"], b"f", 2, 5, b"state", 6, [("RLIMIT_CORE", 1, 3)])
        numbers = [(kernel.flags("RLIMIT_CORE"), 1, 3)]
        assert fake.calls == [("exec_program", "/p", ["p"], ["A=1"], b"f", 2, 5, b"state", 6, numbers)]
