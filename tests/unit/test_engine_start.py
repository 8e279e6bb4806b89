"""start, told by an init that is gone at the worst moment."""

import errno
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recording import Recorder

from pyruntime import kernel
from pyruntime.engine import channel, start
from pyruntime.errors import Failure


def test_init_dies_between_connect_and_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error, not a death by SIGPIPE: the launcher's Python doesn't set the signal's action."""
    ours, theirs = socket.socketpair()
    theirs.close()
    monkeypatch.setattr(kernel, "unix_connect", lambda *_: ours.detach())
    monkeypatch.setattr(kernel, "poll", lambda *_: pytest.fail("there is nothing to wait for"))
    directory = os.open(tmp_path, os.O_RDONLY)
    died: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, _: died.append(number))
    try:
        with pytest.raises(Failure, match="init died before it could execute"):
            start.start(directory, -1)
    finally:
        signal.signal(signal.SIGPIPE, before)
        os.close(directory)
    assert died == []


def test_init_has_ended_when_its_failure_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for the container's state after a start that failed finds it stopped, however slowly init ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(kernel, "unix_connect", lambda *_: ours.detach())
    init = os.fork()
    if init == 0:
        ours.close()
        theirs.recv(16)
        theirs.send(channel.ERROR + b"7 execve(/bin/sh)")
        theirs.close()
        time.sleep(0.2)
        os._exit(1)
    theirs.close()
    pidfd, directory = os.pidfd_open(init), os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Failure, match=r"execve\(/bin/sh\): .*E2BIG"):
            start.start(directory, pidfd)
        assert select.select([pidfd], [], [], 0)[0] == [pidfd]
    finally:
        os.waitpid(init, 0)
        os.close(pidfd)
        os.close(directory)


class TestAgainstAnInit:
    """start across a real socket in a state directory; init is a thread of the test."""

    @pytest.fixture
    def listener(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(tmp_path / "start.sock"))
            listening.listen()
            listening.settimeout(10)
            yield listening

    @pytest.fixture
    def state_dir(self, tmp_path: Path) -> Iterator[int]:
        fd = os.open(tmp_path, os.O_RDONLY)
        yield fd
        os.close(fd)

    def answer(self, listener: socket.socket, message: bytes, asked: list[bytes]) -> threading.Thread:
        def work() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(16))
                if message:
                    connection.send(message)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def test_the_program_runs(self, listener: socket.socket, state_dir: int, tmp_path: Path) -> None:
        asked: list[bytes] = []
        thread = self.answer(listener, b"x", asked)
        start.start(state_dir, -1)
        thread.join()
        assert asked == [b"s"]
        assert not (tmp_path / "start.sock").exists(), "it can be started once"

    def test_it_does_not(self, listener: socket.socket, state_dir: int, tmp_path: Path) -> None:
        thread = self.answer(listener, b"E2 execve(/bin/sh)", [])
        receive, send = os.pipe()
        os.close(send)
        with pytest.raises(Failure, match=r"^execve\(/bin/sh\): no such file or directory \(ENOENT\)"):
            start.start(state_dir, receive)
        thread.join()
        os.close(receive)
        assert (tmp_path / "start.sock").exists()

    def test_it_waits_for_the_end_for_a_second_at_most(
        self, listener: socket.socket, state_dir: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorder = Recorder(kernel, poll=[[]])
        monkeypatch.setattr(start, "kernel", recorder)
        thread = self.answer(listener, b"", [])
        with pytest.raises(Failure, match="init died before it could execute"):
            start.start(state_dir, 77)
        thread.join()
        assert recorder.calls == [("poll", [(77, select.POLLIN)], 1000)]

    def test_nobody_listens(self, state_dir: int, tmp_path: Path) -> None:
        with pytest.raises(Failure, match=r"^the container's init is gone; the container can't be started$"):
            start.start(state_dir, -1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
            gone.bind(str(tmp_path / "start.sock"))
        with pytest.raises(Failure, match=r"^the container's init is gone; the container can't be started$"):
            start.start(state_dir, -1)

    def test_another_error(self, state_dir: int, tmp_path: Path) -> None:
        """A link in the way, or too many descriptors, is what it is."""
        (tmp_path / "start.sock").symlink_to("start.sock")
        with pytest.raises(OSError) as caught:
            start.start(state_dir, -1)
        assert caught.value.errno == errno.ELOOP
