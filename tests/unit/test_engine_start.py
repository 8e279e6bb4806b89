"""start, told by an init that is gone at the worst moment."""

import os
import select
import signal
import socket
import time
from pathlib import Path

import pytest

from pyruntime.engine import channel, start
from pyruntime.errors import Failure


def test_init_dies_between_connect_and_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error, not a death by SIGPIPE: the launcher's Python doesn't set the signal's action."""
    ours, theirs = socket.socketpair()
    theirs.close()
    monkeypatch.setattr(start.kernel, "unix_connect", lambda *_: ours.detach())
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
    monkeypatch.setattr(start.kernel, "unix_connect", lambda *_: ours.detach())
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
