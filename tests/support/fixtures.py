"""Fixtures of the tiers that start containers."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import leaks, session
from support.bundle import Bundle
from support.runtime import Container, Runtime, new_id


@pytest.fixture
def workdir() -> Iterator[Path]:
    """A short temporary directory that everybody may enter; removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="t"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def runtime(workdir: Path, request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """The runtime under test with a root directory of its own; whatever a test leaves in it is deleted by force."""
    tested = Runtime(workdir / "root")
    yield tested
    results = {name: tested.run("delete", "--force", name) for name in tested.ids()}
    problems = [f"delete --force {name}: {result}" for name, result in results.items() if result.status != 0]
    problems += [f"state of {name}" for name in tested.ids()]
    # os.walk passes over cgroups that other sessions on this machine remove meanwhile.
    made = [Path(folder) for folder, _, _ in os.walk(session.CGROUP_ROOT) if session.TOKEN in Path(folder).name]
    for path in made:
        problems.append(f"cgroup {path}")
        leaks.remove_cgroup(path)  # so that the next test does not fail for this one
    if request.node.get_closest_marker("xfail") is None:  # a peer that fails the test may leave things behind as well
        assert not problems, f"left behind by the test: {problems}"


@pytest.fixture
def bundle(workdir: Path) -> Bundle:
    """A copy of the busybox bundle."""
    return Bundle(workdir / "bundle")


Make = Callable[..., Container]


@pytest.fixture
def container(runtime: Runtime, bundle: Bundle) -> Iterator[Make]:
    """A function that creates and starts a container of the bundle: container() or container(start=False)."""
    made: list[Container] = []

    def make(*options: str, start: bool = True, create: bool = True) -> Container:
        new = Container(runtime, bundle.save(), new_id())
        made.append(new)
        if create:
            new.create(*options)
            if start:
                new.start()
        return new

    yield make
    for each in made:
        each.close()


def lifecycle(container: Make) -> None:
    """Run a container through its whole life."""
    box = container()
    box.kill()
    box.wait_stopped()
    box.delete()


@pytest.fixture
def shared(workdir: Path, bundle: Bundle) -> Path:
    """A folder under the same path on the host and in the container."""
    path = workdir / "shared"
    path.mkdir()
    bundle.mount(str(path), "bind", str(path), "bind", "rw")
    return path


Inside = Callable[..., str]


@pytest.fixture
def inside(runtime: Runtime, bundle: Bundle) -> Inside:
    """A function that runs a shell command in a new container of the bundle and returns what it printed."""

    def run(command: str, *options: str) -> str:
        bundle.sh(command)
        return runtime.ok("run", "--bundle", bundle.save(), *options, new_id()).removesuffix("\n")

    return run
