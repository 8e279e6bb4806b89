"""Device nodes of the host that stand in a container: they can be read and written, but never changed.

The nodes of these tests are their own, bound over the machine's: whoever runs them without the defence damages nothing.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle
from support.fixtures import Inside
from support.mountinfo import parse

NODES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
CHANGES = (
    "chmod 000 $node; chown 1234:1234 $node; touch -d 2001-01-01 $node; "
    "setfattr -n user.a -v b $node 2>&1 | grep -v 'not found'; mv $node $node.moved; rm $node"
)


@pytest.fixture
def nodes(workdir: Path) -> Iterator[dict[str, Path]]:
    """The host's device nodes, for as long as the test lasts."""
    made = {}
    for name, minor in NODES.items():
        made[name] = workdir / name
        os.mknod(made[name], stat.S_IFCHR, os.makedev(1, minor))
        made[name].chmod(0o666)
        session.mount(str(made[name]), f"/dev/{name}", "", session.MS_BIND)
    yield made
    for name in made:
        session.umount(f"/dev/{name}", session.MNT_DETACH)


def state_of(nodes: dict[str, Path]) -> dict[str, tuple[int, ...]]:
    found = {name: path.stat() for name, path in nodes.items()}
    return {name: (s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns, s.st_nlink) for name, s in found.items()}


@pytest.fixture(params=["host-ids", "same-ids-in-userns"])
def ids(request: pytest.FixtureRequest, bundle: Bundle) -> str:
    """With both, the container's root has the uid that owns the host's nodes."""
    if request.param.startswith("same"):
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    return str(request.param)


@pytest.mark.usefixtures("ids")
class TestMaskedFile:
    def test_its_node_can_not_be_changed(self, inside: Inside, nodes: dict[str, Path]) -> None:
        before = state_of(nodes)
        errors = inside(f"node=/proc/keys; ({CHANGES}) 2>&1; true").splitlines()
        assert sum("Read-only file system" in line for line in errors) >= 3, errors
        assert state_of(nodes) == before

    def test_it_can_be_read_and_written(self, inside: Inside) -> None:
        assert inside("cat /proc/keys && echo text > /proc/keys && cat /proc/keys && echo done") == "done"

    def test_attributes(self, inside: Inside) -> None:
        """With nodev it could not be opened."""
        (mount,) = [mount for mount in parse(inside("cat /proc/self/mountinfo")) if mount.point == "/proc/keys"]
        assert mount.options >= {"ro", "nosuid", "noexec"}


@pytest.mark.parametrize("path", ["/proc/acpi", "/sys/firmware"])
def test_a_masked_directory_takes_nothing(inside: Inside, path: str) -> None:
    mounts = [mount for mount in parse(inside("cat /proc/self/mountinfo")) if mount.point == path]
    assert all(mount.options >= {"ro", "nosuid", "nodev", "noexec"} for mount in mounts)
    assert mounts or not Path(path).exists()


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize("name", NODES)
def test_devices(inside: Inside, nodes: dict[str, Path], name: str) -> None:
    """In a user namespace the host's nodes are bound; otherwise the container has its own, and may do as it likes."""
    before = state_of(nodes)
    inside(f"node=/dev/{name}; ({CHANGES}) 2>&1; true")
    assert state_of(nodes) == before


@pytest.mark.usefixtures("ids", "nodes")
def test_devices_work(inside: Inside) -> None:
    shown = inside(
        "head -c 4 /dev/zero | od -An -tx1; head -c 4 /dev/urandom | wc -c; echo a > /dev/null && cat /dev/null; "
        "(echo a > /dev/full) 2>/dev/null || echo full; echo a >> /dev/zero && echo written; "
        ": < /dev/random && echo random"
    )
    assert shown.split() == ["00", "00", "00", "00", "4", "full", "written", "random"]
