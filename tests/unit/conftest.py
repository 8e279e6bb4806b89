"""What all unit tests have."""

import faulthandler
import os
import posix
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager
from support.containers import World

from pyruntime import log
from pyruntime.container.store import Store
from pyruntime.engine import calls

LONGEST = 30.0
"""Seconds after which a test of the engine hangs: its processes wait for one another. The longest takes one second."""


@pytest.fixture(scope="session")
def _standard_error(pytestconfig: pytest.Config) -> Iterator[int]:
    """Standard error itself, and not what pytest has in its place."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert isinstance(capture, CaptureManager)
    with capture.global_and_fixture_disabled():
        fd = os.dup(2)
    yield fd
    os.close(fd)


@pytest.fixture
def steps_on_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that a test's plan may have, and no real one has: read, write and fstat of any descriptor."""
    for name in ("fstat", "read", "write"):
        monkeypatch.setattr(calls, name, getattr(posix, name), raising=False)


@pytest.fixture(autouse=True)
def _the_engine_does_not_hang(request: pytest.FixtureRequest, _standard_error: int) -> Iterator[None]:
    """End pytest, with the place where it stands, when a test waits for ever; no signal would reach all of them."""
    if not request.path.name.startswith("test_engine_"):
        yield
        return
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=_standard_error)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"{tmp_path}/root")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)
    monkeypatch.setattr("posix.fsync", lambda _: None)
    yield made
    made.close()


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that are logged as warnings."""
    lines: list[str] = []
    monkeypatch.setattr(log, "warning", lines.append)
    return lines


@pytest.fixture
def stdio() -> Iterator[Callable[[int, int, int], None]]:
    """A function that puts descriptors in the place of stdin, stdout and stderr, until the test ends."""
    saved = [os.dup(fd) for fd in (0, 1, 2)]

    def replace(*fds: int) -> None:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)

    yield replace
    for number, fd in enumerate(saved):
        os.dup2(fd, number)
        os.close(fd)
