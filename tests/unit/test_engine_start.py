"""start, told by an init that is gone at the worst moment."""

import os
import signal
import socket
from pathlib import Path

import pytest

from pyruntime.engine import start
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
            start.start(directory)
    finally:
        signal.signal(signal.SIGPIPE, before)
        os.close(directory)
    assert died == []
