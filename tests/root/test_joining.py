"""What joins a container's pid namespace can be seen by what runs there, and perhaps traced: it must have nothing more.

CVE-2016-9962's kind. The attacker is tests/attacks/ptracer.c, which seizes every process that appears.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import attacks, paths
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, call, host_status, namespace, new_id, wait_for
from support.terminal import console_socket

from pyruntime.plan import capabilities

ROUNDS = 30
MOST_ROUNDS = 10 * ROUNDS
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SYS_PTRACE = "CAP_SYS_PTRACE"


class Caught(NamedTuple):
    """What the attacker saw of a process that it could trace."""

    root: bool
    own_mounts: bool
    capabilities: int
    filters: int
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
        pattern = r"met \d+ caught root=(\d) mnt=(\d) caps=(\w+) filters=(\S+) comm=(.*) fds=(.*)"
        return [
            Caught(root == "1", mnt == "1", int(caps, 16), int(filters), name, [fd for fd in fds.split(",") if fd])
            for root, mnt, caps, filters, name, fds in re.findall(pattern, self.box.output)
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


def anybody(_: Caught) -> bool:
    return True


def rounds(
    attacker: Attacker, what: Callable[[Caught], bool] | None = None, enough: int = ROUNDS // 2
) -> Iterator[int]:
    """Count rounds, and check at their end that the attacker has met enough processes, or caught enough of a kind.

    Without that there would be nothing to look at. A machine that is busy with something else lets the attacker miss
    more of them, so there are more rounds then.
    """
    for number in range(MOST_ROUNDS):
        if number >= ROUNDS and (attacker.met if what is None else sum(map(what, attacker.caught()))) >= enough:
            return
        yield number
    raise AssertionError(f"the attacker has not met {enough}: {attacker.box.output}")


def create_and_delete(
    runtime: Runtime, victim: Bundle, attacker: Attacker, what: Callable[[Caught], bool] | None = None
) -> None:
    path = victim.save()
    for _ in rounds(attacker, what):
        name = new_id()
        result = runtime.run("create", "--bundle", path, name)
        assert result.status == 0, result
        runtime.ok("delete", "--force", name)


REBOOT_FAILS = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}
DOCKERS = json.loads((paths.REPO / "tests/data/configs/docker-plain.json").read_text())["linux"]["seccomp"]


def mask_of(bundle: Bundle) -> int:
    """Return the capabilities of a bundle's program as a bit mask."""
    return sum(1 << capabilities.NUMBER[name] for name in bundle.process["capabilities"]["permitted"])


def has_no_more_than(caught: list[Caught], mask: int) -> None:
    """Fail when a process was caught without the container's filter, or with a capability that it has not."""
    for each in caught:
        assert each.filters == 1, each
        assert each.capabilities & ~mask == 0, f"{each.capabilities & ~mask:#x} more: {each}"


OWN = ("socket:", "pipe:", "/dev/null")
"""What a process may have open that was caught: its channels to the runtime, which closes them, and stdin."""


def has_nothing_of_the_host(caught: list[Caught]) -> None:
    """Fail when a process was caught through which files of the host can be reached."""
    for each in caught:
        assert not each.root, each
        others = [target for target in each.descriptors if not target.startswith(OWN)]
        # Standard output and error are files that the test has removed.
        assert [target for target in others if not target.endswith(" (deleted)")] == [], each


class TestCreate:
    """A container that joins another's pid namespace."""

    def test_both_in_one_user_namespace(self, attack: Attack, runtime: Runtime, victim: Bundle) -> None:
        """The attacker has CAP_SYS_PTRACE in the user namespace that is joined; Docker's userns-remap makes such."""
        attacker = attack(SYS_PTRACE, userns=True)
        pid = attacker.box.pid
        victim.namespaces(user=f"/proc/{pid}/ns/user", pid=f"/proc/{pid}/ns/pid")
        bind_proc(victim, pid)
        create_and_delete(runtime, victim, attacker)
        assert attacker.caught() == []

    def test_a_new_user_namespace(self, attack: Attack, runtime: Runtime, victim: Bundle) -> None:
        """Root of the user namespace above may trace what is in one that root has made, with no capability at all."""
        attacker = attack()
        victim.namespaces(user="", pid=f"/proc/{attacker.box.pid}/ns/pid")
        victim.linux["uidMappings"] = victim.linux["gidMappings"] = MAPS
        bind_proc(victim, attacker.box.pid)
        create_and_delete(runtime, victim, attacker)
        assert attacker.caught() == []

    def test_no_user_namespace(self, attack: Attack, runtime: Runtime, victim: Bundle) -> None:
        """CAP_SYS_PTRACE may trace what is there, so that must be the container's only."""
        attacker = attack(SYS_PTRACE)
        victim.namespaces(pid=f"/proc/{attacker.box.pid}/ns/pid")
        create_and_delete(runtime, victim, attacker, anybody)
        caught = attacker.caught()
        has_nothing_of_the_host(caught)
        assert {each.own_mounts for each in caught} == {False}

    @pytest.mark.parametrize("profile", [REBOOT_FAILS, DOCKERS], ids=["one-rule", "dockers"])
    @pytest.mark.parametrize("no_new_privs", [False, True])
    def test_with_a_filter(
        self, attack: Attack, runtime: Runtime, victim: Bundle, profile: object, no_new_privs: bool
    ) -> None:
        """Without no_new_privs a filter takes CAP_SYS_ADMIN to load, which must not be seen either."""
        attacker = attack(SYS_PTRACE)
        victim.namespaces(pid=f"/proc/{attacker.box.pid}/ns/pid")
        victim.linux["seccomp"] = profile
        victim.process["noNewPrivileges"] = no_new_privs
        victim.capabilities(bounding=[], effective=[], permitted=[])
        create_and_delete(runtime, victim, attacker, anybody)
        caught = attacker.caught()
        has_no_more_than(caught, 0)

    @pytest.mark.parametrize("without_option", [False, True], ids=["kernel", "helper"])
    def test_its_procfs_is_of_the_joined_namespace(
        self, attack: Attack, runtime: Runtime, victim: Bundle, workdir: Path, without_option: bool
    ) -> None:
        """Init mounts it from outside. Where the kernel has no option for that, a helper opens it from inside."""
        attacker = attack(SYS_PTRACE)
        before = attacker.met
        victim.namespaces(pid=f"/proc/{attacker.box.pid}/ns/pid")
        victim.sh("cat /proc/1/comm; readlink /proc/self/ns/pid; cd /proc; echo [0-9]*")
        name = new_id()
        command = runtime.command("run", "--bundle", victim.save(), name)
        if without_option:
            refuser = attacks.place("refuser", workdir / "refuser")
            command = [str(refuser), *command]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            status = call(command, subprocess.DEVNULL, out, err)
            out.seek(0)
            err.seek(0)
            said = err.read()
            assert status == 0 and said == b"", said
            comm, namespace_id, pids = out.read().decode().splitlines()
        assert comm == "ptracer"
        assert namespace_id == namespace(attacker.box.pid, "pid")
        assert len(pids.split()) == 2, "the attacker and the shell"
        wait_for(lambda: attacker.met > before, "the attacker meets the shell")

    def test_the_helper_is_poor(self, attack: Attack, runtime: Runtime, victim: Bundle, workdir: Path) -> None:
        """On kernels where somebody has to open the procfs from inside, it can do that and nothing else."""
        attacker = attack(SYS_PTRACE)
        victim.namespaces(pid=f"/proc/{attacker.box.pid}/ns/pid")
        path, refuser = victim.save(), attacks.place("refuser", workdir / "refuser")
        only = 1 << capabilities.NUMBER["CAP_SYS_ADMIN"]
        for _ in rounds(attacker, lambda each: bool(each.capabilities & only), ROUNDS // 4):
            name = new_id()
            command = [str(refuser), *runtime.command("create", "--bundle", path, name)]
            assert call(command, subprocess.DEVNULL, subprocess.DEVNULL, subprocess.DEVNULL) == 0
            runtime.ok("delete", "--force", name)
        helpers = [each for each in attacker.caught() if each.capabilities & only]
        for each in helpers:
            # One filter is the refuser's.
            assert (each.root, each.own_mounts, each.capabilities, each.filters) == (False, False, only, 2), each
            assert [fd for fd in each.descriptors if not fd.startswith(("socket:", "anon_inode:[fscontext]"))] == []

    def test_a_limit_of_one_task(self, runtime: Runtime, container: Make, victim: Bundle) -> None:
        """The process in between is gone before the limit is there."""
        first = container()
        victim.namespaces(pid=f"/proc/{first.pid}/ns/pid")
        victim.linux.setdefault("resources", {})["pids"] = {"limit": 1}
        if not (Path("/sys/fs/cgroup/cgroup.controllers")).read_text().count("pids"):
            del victim.linux["resources"]["pids"]
        victim.args("true")
        runtime.ok("run", "--bundle", victim.save(), new_id())

    def test_a_terminal(self, runtime: Runtime, container: Make, victim: Bundle, workdir: Path) -> None:
        """The process that goes on leads the session and has the terminal."""
        first = container()
        victim.namespaces(pid=f"/proc/{first.pid}/ns/pid")
        victim.process["terminal"] = True
        victim.sh('test "$(cut -d" " -f1,6,8 /proc/self/stat)" && tty && ps -o pid,tty | head -3; cat')
        with console_socket(workdir) as console:
            box = Container(runtime, victim.save(), new_id())
            box.create("--console-socket", console.path)
            terminal = console.receive()
            box.start()
            terminal.read_until("/dev/pts/0")
            terminal.type("\x03")
            box.wait_stopped()
            box.close()
            box.delete()

    def test_without_a_process(self, runtime: Runtime, container: Make, victim: Bundle) -> None:
        """Init of a config without a program has no rights at all, and is in the joined namespace."""
        first = container()
        victim.namespaces(pid=f"/proc/{first.pid}/ns/pid")
        del victim.config["process"]
        box = Container(runtime, victim.save(), new_id())
        box.create()
        assert namespace(box.pid, "pid") == namespace(first.pid, "pid")
        assert host_status(box.pid)["CapPrm"] == "0" * 16
        box.close()
        box.delete("--force")

    def test_what_a_fork_would_lose(self, runtime: Runtime, container: Make, victim: Bundle) -> None:
        first = container()
        victim.namespaces(pid=f"/proc/{first.pid}/ns/pid")
        victim.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
        victim.process["rlimits"] = [{"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}]
        victim.process["user"] = {"uid": 4321, "gid": 4321}
        victim.args("sleep", "100")
        box = Container(runtime, victim.save(), new_id())
        box.create()
        box.start()
        assert os.sched_getscheduler(box.pid) == os.SCHED_BATCH | os.SCHED_RESET_ON_FORK
        assert "Max processes             1                    1 " in Path(f"/proc/{box.pid}/limits").read_text()
        box.close()
        box.delete("--force")


class TestExec:
    """A process that is added to a container."""

    def test_caught_by_a_container_that_may_trace(self, attack: Attack, runtime: Runtime, bundle: Bundle) -> None:
        attacker = attack(SYS_PTRACE)
        for _ in rounds(attacker, anybody):
            assert attacker.box.exec("--", "true").status == 0
        caught = attacker.caught()
        has_nothing_of_the_host(caught)
        assert {each.own_mounts for each in caught} == {True}

    @pytest.mark.parametrize("no_new_privs", [False, True])
    def test_with_a_filter(self, attack: Attack, bundle: Bundle, no_new_privs: bool) -> None:
        bundle.linux["seccomp"] = REBOOT_FAILS
        bundle.process["noNewPrivileges"] = no_new_privs
        attacker = attack(SYS_PTRACE)
        for _ in rounds(attacker, anybody):
            assert attacker.box.exec("--", "true").status == 0
        caught = attacker.caught()
        has_no_more_than(caught, mask_of(bundle))

    def test_not_caught_without_that_capability(self, attack: Attack) -> None:
        attacker = attack()
        for _ in rounds(attacker):
            assert attacker.box.exec("--", "true").status == 0
        assert [each for each in attacker.caught() if each.name.startswith("pyruntime")] == []


class TestHost:
    """The command that the caller has started."""

    def test_not_dumpable_before_anything_is_made(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """Its children are visible from their first moment, before any step of their own."""
        trace = workdir / "trace"
        bundle.args("true")
        command = [
            "/usr/bin/strace",
            "-f",
            "-qq",
            "-o",
            str(trace),
            "-e",
            "trace=prctl,clone,clone3,fork,vfork,unshare,setns",
        ]
        command += runtime.command("run", "--bundle", bundle.save(), new_id())
        assert call(command, subprocess.DEVNULL, subprocess.DEVNULL, subprocess.DEVNULL) == 0
        calls = [line.split(maxsplit=1)[1] for line in trace.read_text().splitlines()]
        first = next(
            i for i, each in enumerate(calls) if each.startswith(("clone", "fork", "vfork", "unshare", "setns"))
        )
        assert any("PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in each for each in calls[:first]), calls[: first + 1]


class TestOutside:
    """exec's process does most of its work outside of the container's pid namespace; nobody may notice."""

    def test_proc_self_is_the_program_s(self, container: Make) -> None:
        box = container()
        assert box.sh("readlink /proc/self/cwd; pwd -P", "--cwd", "/proc/self/task").startswith("/proc/")
        assert box.exec("--", "/proc/self/root/bin/busybox", "echo", "found").stdout == "found\n"
        refused = box.exec("--cwd", "/proc/self/nothing", "--", "true")
        assert refused.status == 255 and 'chdir("/proc/self/nothing"): no such file' in refused.stderr, refused

    def test_it_leads_its_session(self, container: Make) -> None:
        pid, group, session = container().sh("cut -d' ' -f1,5,6 /proc/self/stat; true").split()
        assert group == session != "0" and int(pid) > 0

    def test_its_parent_is_outside(self, container: Make) -> None:
        assert container().sh("cut -d' ' -f4 /proc/$$/stat") == "0"

    def test_what_a_fork_would_lose(self, container: Make, bundle: Bundle, workdir: Path) -> None:
        box = container()
        program = dict(bundle.process, args=["sleep", "100"], user={"uid": 4322, "gid": 1})
        program["scheduler"] = {"policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
        program["rlimits"] = [{"type": "RLIMIT_NPROC", "soft": 2, "hard": 2}]
        (workdir / "process.json").write_text(json.dumps(program))
        done = box.exec("--detach", "--process", workdir / "process.json", "--pid-file", workdir / "pid", "--")
        assert done.status == 0, done
        pid = int((workdir / "pid").read_text())
        assert os.sched_getscheduler(pid) == os.SCHED_BATCH | os.SCHED_RESET_ON_FORK
        assert "Max processes             2                    2 " in Path(f"/proc/{pid}/limits").read_text()

    def test_no_other_process_is_left(self, container: Make) -> None:
        box = container()
        before = len(json.loads(box.runtime.ok("ps", "--format", "json", box.id)))
        box.exec("--detach", "--", "sleep", "100")
        assert len(json.loads(box.runtime.ok("ps", "--format", "json", box.id))) == before + 1


def bind_proc(victim: Bundle, _pid: int) -> None:
    """Without rights over the pid namespace no procfs of it can be made: the container does without one."""
    victim.config["mounts"] = [m for m in victim.mounts if m["destination"] != "/proc"]
    victim.linux["maskedPaths"] = []
    victim.linux["readonlyPaths"] = []
