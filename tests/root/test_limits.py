"""Limits: of a process, also those that leave the runtime itself nothing; of tasks by the version of the spec."""

import json
import os
import re
from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import Runtime, host_status, new_id, says, wait_for

MIB = 1 << 20
CASES = [
    *[("NOFILE", "open files", soft, hard) for soft, hard in ((0, 0), (1, 1), (3, 3), (4, 4), (5, 5), (0, 100))],
    ("DATA", "data size", MIB, MIB),
    ("AS", "address space", 20 * MIB, 20 * MIB),
    ("AS", "address space", 4 * MIB, 20 * MIB),
    ("STACK", "stack size", 256 * 1024, MIB),
    ("FSIZE", "file size", 0, 0),
    ("NPROC", "processes", 0, 0),
    ("MEMLOCK", "locked memory", 0, 0),
    ("SIGPENDING", "pending signals", 0, 0),
    ("MSGQUEUE", "msgqueue size", 0, 0),
    ("CORE", "core file size", 0, 0),
    ("CPU", "cpu time", 1, 2),
]
"""Type, its name in /proc/PID/limits, soft and hard limit."""
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
ALL_BUT_PRLIMIT = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["prlimit64", "setrlimit"], "action": "SCMP_ACT_ERRNO"}],
}


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    """Return soft and hard limit by name; proc_pid_limits(5)."""
    wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "the program runs")
    found = re.findall(r"^Max (.*?)  +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    return {name: (soft, hard) for name, soft, hard in found}


@pytest.mark.parametrize(("kind", "name", "soft", "hard"), CASES)
def test_of_a_process(
    container: Make, bundle: Bundle, workdir: Path, kind: str, name: str, soft: int, hard: int
) -> None:
    """The program has them, and nothing of the runtime runs into them; in exec as well."""
    bundle.process["rlimits"] = [{"type": f"RLIMIT_{kind}", "soft": soft, "hard": hard}]
    bundle.args("sleep", "100")
    box = container()
    assert limits_of(box.pid)[name] == (str(soft), str(hard))
    (workdir / "process.json").write_text(json.dumps(bundle.process))
    done = box.exec("--detach", "--process", workdir / "process.json", "--pid-file", workdir / "pid", "--")
    assert done.status == 0, done
    assert limits_of(int((workdir / "pid").read_text()))[name] == (str(soft), str(hard))


CAP_SYS_RESOURCE = 1 << 24
SMALL = [
    {"type": "RLIMIT_NOFILE", "soft": 0, "hard": 0},
    {"type": "RLIMIT_DATA", "soft": MIB, "hard": MIB},
    {"type": "RLIMIT_AS", "soft": 20 * MIB, "hard": 20 * MIB},
    {"type": "RLIMIT_NPROC", "soft": 0, "hard": 0},
]
SEEN = {
    "open files": ("0", "0"),
    "data size": (str(MIB),) * 2,
    "address space": (str(20 * MIB),) * 2,
    "processes": ("0", "0"),
}


@pytest.mark.parametrize("user", [0, 4321])
@pytest.mark.parametrize("surroundings", ["plain", "userns", "pid", "userns-pid", "seccomp", "seccomp-pid"])
def test_all_of_them(container: Make, bundle: Bundle, surroundings: str, user: int) -> None:
    """Whoever sets them: init, or the host for it; and below a filter that lets no limit be set."""
    first = container(start=False) if "pid" in surroundings else None
    if first is not None:
        bundle.namespaces(pid=f"/proc/{first.pid}/ns/pid")
    if "userns" in surroundings:
        bundle.namespaces(user="")
        bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPS
        bundle.config["mounts"] = [each for each in bundle.mounts if each["destination"] != "/proc"]
        bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    if "seccomp" in surroundings:
        bundle.linux["seccomp"] = ALL_BUT_PRLIMIT
    if surroundings == "seccomp-pid" and not int(host_status(os.getpid())["CapEff"], 16) & CAP_SYS_RESOURCE:
        user = 0  # the host sets limits there, which takes this for another user's process
    bundle.process["user"] = {"uid": user, "gid": user}
    # And init has still to open what it is started by.
    bundle.process["rlimits"] = SMALL if surroundings != "seccomp-pid" else SMALL[1:2]
    bundle.args("sleep", "100")
    box = container()
    seen = limits_of(box.pid)
    expected = SEEN if surroundings != "seccomp-pid" else {"data size": SEEN["data size"]}
    assert {name: seen[name] for name in expected} == expected


def test_of_start_container_hooks(container: Make, bundle: Bundle) -> None:
    """They are programs of the image."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 78}]
    bundle.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "ulimit -Sn; ulimit -Hn; exit 1"]}]
    }
    box = container(start=False)
    says(box.runtime.fails("start", box.id), "77 / 78")


def test_what_fails_nevertheless_is_named(container: Make, bundle: Bundle, runtime: Runtime) -> None:
    """A program whose arguments do not fit on a stack of that size."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_STACK", "soft": 4096, "hard": 4096}]
    bundle.args("true", "x" * 100_000, "x" * 100_000)
    result = runtime.run("run", "--bundle", bundle.save(), new_id())
    assert result.status != 0
    says(result.stderr, "execve(", "argument list too long (E2BIG)", "/process/args")


@pytest.mark.parametrize("version", ["1.0.2-dev", "1.2.1"])
def test_no_tasks_means_unlimited_before_1_3(container: Make, bundle: Bundle, version: str) -> None:
    """What Podman 4.3 sends for Docker's clients; a shell can fork."""
    bundle.config["ociVersion"] = version
    dict_of(bundle.linux, "resources")["pids"] = {"limit": 0}
    bundle.sh("true | echo forked; sleep 100")
    box = container()
    box.runtime.ok("update", "--pids-limit", "0", box.id)
    assert box.sh("true | echo forked") == "forked"


def test_no_tasks_is_a_limit_since_1_3(runtime: Runtime, bundle: Bundle) -> None:
    """Which asks for the controller, where there is none."""
    bundle.config["ociVersion"] = "1.3.0"
    dict_of(bundle.linux, "resources")["pids"] = {"limit": 0}
    bundle.sh("true | echo forked")
    result = runtime.run("run", "--bundle", bundle.save(), new_id())
    assert result.status != 0 and "forked" not in result.stdout
    if "pids" not in (session.CGROUP_ROOT / "cgroup.controllers").read_text().split():
        says(result.stderr, "controller pids is not available", "/linux/resources/pids/limit")
