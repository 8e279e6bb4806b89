"""Fixtures of the tests that drive real engines: each module has an engine of its own, with the busybox image."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from support import systemd
from support.containerd import Containerd
from support.docker import Docker
from support.podman import Podman


class Engine(Protocol):
    """What all engines have in common."""

    def start(self) -> None: ...

    def import_image(self) -> None: ...

    def stop(self) -> None: ...


E = TypeVar("E", bound=Engine)


@contextlib.contextmanager
def running(kind: Callable[[Path], E]) -> Iterator[E]:
    """An engine in a folder of its own, started, with the image; stopped and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="engine"))
    folder.chmod(0o755)
    engine = kind(folder)
    try:
        engine.start()
        engine.import_image()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with running(Docker) as engine:
        yield engine


@pytest.fixture(scope="module")
def systemd_docker() -> Iterator[Docker]:
    """A Docker daemon that lets systemd manage cgroups."""
    with running(lambda folder: Docker(folder, "systemd")) as engine:
        yield engine
    systemd.stop_slices()


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with running(Podman) as engine:
        yield engine


@pytest.fixture(scope="module")
def containerd() -> Iterator[Containerd]:
    with running(Containerd) as engine:
        yield engine


@pytest.fixture
def data(workdir: Path) -> Path:
    """A folder of the host to mount into containers."""
    return workdir
