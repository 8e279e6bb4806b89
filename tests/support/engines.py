"""Fixtures of the tests that drive real engines; imported only where the engines are installed."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containerd import Containerd
from support.docker import Docker
from support.podman import Podman


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """A Docker daemon of the module's own, with the busybox image."""
    folder = Path(tempfile.mkdtemp(prefix="docker"))
    folder.chmod(0o755)
    engine = Docker(folder)
    try:
        engine.start()
        engine.import_image()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Podman with a store of the module's own and the busybox image."""
    folder = Path(tempfile.mkdtemp(prefix="podman"))
    engine = Podman(folder)
    try:
        engine.import_image()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def containerd() -> Iterator[Containerd]:
    """A containerd of the module's own, with the busybox image."""
    folder = Path(tempfile.mkdtemp(prefix="containerd"))
    engine = Containerd(folder)
    try:
        engine.start()
        engine.import_image()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(folder)


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder of the host to mount into containers."""
    folder = Path(tempfile.mkdtemp(prefix="data"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
