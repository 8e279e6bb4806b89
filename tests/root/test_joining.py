"""What joins a container's pid namespace can be seen by what runs there, and perhaps traced: it must have nothing more.

CVE-2016-9962's kind. The attacker is tests/attacks/ptracer.c, which seizes every process that appears.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import attacks
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, new_id, wait_for

ROUNDS = 30
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SYS_PTRACE = "CAP_SYS_PTRACE"


class Caught(NamedTuple):
    """What the attacker saw of a process that it could trace."""

    root: bool
    own_mounts: bool
    capabilities: int
    seccomp: int
    name: str
    descriptors: list[str]


class Attacker:
    """A container in which the ptracer runs. canary: a file of the host that it tries to open."""

    def __init__(self, box: Container) -> None:
        self.box = box
        wait_for(lambda: "ready" in box.output, "the attacker is ready")

    @property
    def met(self) -> int:
        """How many processes it has met, traced or not."""
        return self.box.output.count("met ")

    def caught(self) -> list[Caught]:
        pattern = r"met \d+ caught root=(\d) mnt=(\d) caps=(\w+) seccomp=(\S+) comm=(.*) fds=(.*)"
        return [
            Caught(root == "1", mnt == "1", int(caps, 16), int(seccomp), name, [fd for fd in fds.split(",") if fd])
            for root, mnt, caps, seccomp, name, fds in re.findall(pattern, self.box.output)
        ]


@pytest.fixture
def canary(workdir: Path) -> Path:
    """A file of the host that only its root may read."""
    path = workdir / "canary"
    path.write_text("secret")
    path.chmod(0o600)
    return path


Attack = Callable[..., Attacker]


@pytest.fixture
def attack(container: Make, bundle: Bundle, canary: Path) -> Iterator[Attack]:
    """A function that starts the attacker's container: attack(capability, ..., userns=False)."""

    def start(*capabilities: str, userns: bool = False) -> Attacker:
        attacks.place("ptracer", bundle.rootfs / "bin/ptracer")
        have = [*bundle.process["capabilities"]["bounding"], *capabilities]
        bundle.capabilities(bounding=have, effective=have, permitted=have)
        bundle.args("/bin/ptracer", str(canary))
        bundle.config["root"]["readonly"] = False
        if userns:
            bundle.namespaces(user="")
            bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPS
        return Attacker(container())

    yield start


@pytest.fixture
def victim(workdir: Path) -> Bundle:
    """The bundle of the container that joins the attacker's."""
    return Bundle(workdir / "victim")


def create_and_delete(runtime: Runtime, victim: Bundle) -> None:
    path = victim.save()
    for _ in range(ROUNDS):
        name = new_id()
        result = runtime.run("create", "--bundle", path, name)
        assert result.status == 0, result
        runtime.ok("delete", "--force", name)


def has_nothing_of_the_host(caught: list[Caught], runtime: Runtime) -> None:
    """Fail when a process was caught through which files of the host can be reached."""
    for each in caught:
        assert not each.root, each
        for target in each.descriptors:
            assert not target.startswith((str(runtime.root.parent), "/sys/fs/cgroup", "/run/")), each


class TestCreate:
    """A container that joins another's pid namespace."""

    def test_both_in_one_user_namespace(self, attack: Attack, runtime: Runtime, victim: Bundle) -> None:
        """The attacker has CAP_SYS_PTRACE in the user namespace that is joined; Docker's userns-remap makes such."""
        attacker = attack(SYS_PTRACE, userns=True)
        pid = attacker.box.pid
        victim.namespaces(user=f"/proc/{pid}/ns/user", pid=f"/proc/{pid}/ns/pid")
        bind_proc(victim, pid)
        create_and_delete(runtime, victim)
        assert attacker.met >= ROUNDS // 2
        assert attacker.caught() == []

    def test_a_new_user_namespace(self, attack: Attack, runtime: Runtime, victim: Bundle) -> None:
        """Root of the user namespace above may trace what is in one that root has made, with no capability at all."""
        attacker = attack()
        victim.namespaces(user="", pid=f"/proc/{attacker.box.pid}/ns/pid")
        victim.linux["uidMappings"] = victim.linux["gidMappings"] = MAPS
        bind_proc(victim, attacker.box.pid)
        create_and_delete(runtime, victim)
        assert attacker.met >= ROUNDS // 2
        assert attacker.caught() == []

    def test_no_user_namespace(self, attack: Attack, runtime: Runtime, victim: Bundle) -> None:
        """CAP_SYS_PTRACE may trace what is there, so that must be the container's only."""
        attacker = attack(SYS_PTRACE)
        victim.namespaces(pid=f"/proc/{attacker.box.pid}/ns/pid")
        create_and_delete(runtime, victim)
        caught = attacker.caught()
        assert len(caught) >= ROUNDS // 2
        has_nothing_of_the_host(caught, runtime)
        assert {each.own_mounts for each in caught} == {False}


class TestExec:
    """A process that is added to a container."""

    def test_caught_by_a_container_that_may_trace(self, attack: Attack, runtime: Runtime, bundle: Bundle) -> None:
        attacker = attack(SYS_PTRACE)
        for _ in range(ROUNDS):
            assert attacker.box.exec("--", "true").status == 0
        caught = attacker.caught()
        assert len(caught) >= ROUNDS // 2
        has_nothing_of_the_host(caught, runtime)
        assert {each.own_mounts for each in caught} == {True}

    def test_not_caught_without_that_capability(self, attack: Attack) -> None:
        attacker = attack()
        for _ in range(ROUNDS):
            assert attacker.box.exec("--", "true").status == 0
        assert attacker.met >= ROUNDS // 2
        assert [each for each in attacker.caught() if each.name.startswith("pyruntime")] == []


def bind_proc(victim: Bundle, _pid: int) -> None:
    """Without rights over the pid namespace no procfs of it can be made: the container does without one."""
    victim.config["mounts"] = [m for m in victim.mounts if m["destination"] != "/proc"]
    victim.linux["maskedPaths"] = []
    victim.linux["readonlyPaths"] = []
