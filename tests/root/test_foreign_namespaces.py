"""Namespaces that belong to another user namespace than the container has: what host's root may join, its container may
be in (`--network container:…`, BuildKit under Docker's userns-remap). setns(2), user_namespaces(7).
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, namespace, new_id, says, wait_for

LINKS = {"network": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup", "time": "time"}
ADMIN = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]
EARLY = ("network", "uts", "ipc", "time")
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@pytest.fixture
def holder() -> Iterator[int]:
    """The pid of a process that has all of these namespaces, which belong to the host's user namespace."""
    options = [f"--{link}" for link in LINKS.values()]
    options += ["--mount", "--propagation", "private", "--fork"]
    with subprocess.Popen(["unshare", *options, "sleep", "1000"]) as process:
        wait_for(lambda: len(session.children(process.pid)) == 1, "it has a child, which is in the time namespace")
        child = session.children(process.pid)[0]
        wait_for(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n", "it runs")
        yield child
        os.kill(child, 9)


def no_own_file_systems(bundle: Bundle) -> None:
    """Leave out what is mounted with rights over the network or ipc namespace: the container has none."""
    bundle.config["mounts"] = [each for each in bundle.mounts if each["type"] not in ("sysfs", "mqueue", "cgroup")]
    bundle.config.pop("hostname", None)


@pytest.fixture(params=["new", "joined", "joined with its pid namespace"])
def users(request: pytest.FixtureRequest, container: Make, bundle: Bundle) -> Iterator[Callable[[], Container]]:
    """A function that makes the container, in a user namespace that is new or another container's."""
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPS
    bundle.config["root"]["readonly"] = False
    bundle.namespaces(user="")
    first = container() if request.param != "new" else None
    if first is not None:
        bundle.namespaces(user=f"/proc/{first.pid}/ns/user")
        if "pid" in request.param:
            bundle.namespaces(pid=f"/proc/{first.pid}/ns/pid")

    def make() -> Container:
        box = container()
        assert namespace(box.pid, "user") != namespace("self", "user")
        assert first is None or namespace(box.pid, "user") == namespace(first.pid, "user")
        return box

    yield make


@pytest.mark.parametrize("kind", EARLY)
def test_one(users: Callable[[], Container], bundle: Bundle, holder: int, kind: str) -> None:
    no_own_file_systems(bundle)
    bundle.namespaces(**{kind: f"/proc/{holder}/ns/{LINKS[kind]}"})
    box = users()
    expected = namespace(holder, LINKS[kind])
    assert namespace(box.pid, LINKS[kind]) == expected
    assert box.sh(f"readlink /proc/self/ns/{LINKS[kind]}") == expected, "exec joins them as well"
    assert box.sh("cat /proc/self/uid_map").split() == ["0", "100000", "65536"]


def test_all(users: Callable[[], Container], bundle: Bundle, holder: int) -> None:
    """And none of them is the container's to change."""
    no_own_file_systems(bundle)
    bundle.namespaces(**{kind: f"/proc/{holder}/ns/{LINKS[kind]}" for kind in EARLY})
    bundle.capabilities(bounding=ADMIN, effective=ADMIN, permitted=ADMIN)
    box = users()
    for kind in EARLY:
        assert namespace(box.pid, LINKS[kind]) == namespace(holder, LINKS[kind])
    for command in ("hostname changed", "ip link set lo up"):
        result = box.exec("--", "sh", "-c", command)
        assert result.status != 0 and "Operation not permitted" in result.stderr, result


def test_those_of_the_user_namespace_are_joined_as_before(container: Make, bundle: Bundle) -> None:
    """Kubernetes' pods with user namespaces: everything is the first container's."""
    bundle.capabilities(bounding=ADMIN, effective=ADMIN, permitted=ADMIN)
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPS
    bundle.namespaces(user="")
    first = container()
    kinds = {"user": "user", "network": "net", "ipc": "ipc", "uts": "uts"}
    bundle.namespaces(**{kind: f"/proc/{first.pid}/ns/{link}" for kind, link in kinds.items()})
    box = container()
    for link in kinds.values():
        assert namespace(box.pid, link) == namespace(first.pid, link)
    assert box.sh("hostname changed-by-its-owner; hostname") == "changed-by-its-owner"


def test_a_cgroup_namespace_must_belong_to_the_user_namespace(runtime: Runtime, bundle: Bundle, holder: int) -> None:
    """Init is born in its cgroup, which its parent must be able to see; so this one is joined later."""
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPS
    no_own_file_systems(bundle)
    bundle.namespaces(user="", cgroup=f"/proc/{holder}/ns/cgroup")
    error = runtime.fails("create", "--bundle", bundle.save(), new_id())
    says(error, "setns(<ns_cgroup>, CLONE_NEWCGROUP): operation not permitted (EPERM)", "/linux/namespaces/5/path",
         "must lead to a namespace of type cgroup that belongs to the container's user namespace")  # fmt: skip
