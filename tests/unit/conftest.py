"""What all unit tests have."""

import faulthandler
import os
from collections.abc import Iterator

import pytest
from _pytest.capture import CaptureManager

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


@pytest.fixture(autouse=True)
def _the_engine_does_not_hang(request: pytest.FixtureRequest, _standard_error: int) -> Iterator[None]:
    """End pytest, with the place where it stands, when a test waits for ever; no signal would reach all of them."""
    if not request.path.name.startswith("test_engine_"):
        yield
        return
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=_standard_error)
    yield
    faulthandler.cancel_dump_traceback_later()
