"""Docker with systemd as its cgroup driver: a real daemon, units as systemd sees them."""

import json

import pytest
from support import session, systemd
from support.cgroup import cgroup_of, number_in
from support.docker import SERVE, Docker
from support.runtime import wait_for

pytestmark = pytest.mark.systemd

MIB = 1 << 20
LIMITS = ("--memory=128m", "--cpus=0.5", "--pids-limit", "20", "--cpuset-cpus", "0")
FILES = {"memory.max": str(128 * MIB), "cpu.max": "50000 100000", "pids.max": "20", "cpuset.cpus": "0"}
PROPERTIES = {"MemoryMax": str(128 * MIB), "CPUQuotaPerSecUSec": "500ms", "TasksMax": "20", "AllowedCPUs": "0"}


def test_limits(systemd_docker: Docker) -> None:
    docker = systemd_docker
    id = docker.background(*LIMITS, "--", "sh", "-c", SERVE)
    group, unit = cgroup_of(docker.pid(docker.ready(id))), f"docker-{id}.scope"
    assert group == session.CGROUP_ROOT / f"{session.TOKEN}.slice" / unit
    assert systemd.show(unit, "Slice", *PROPERTIES) == {"Slice": f"{session.TOKEN}.slice", **PROPERTIES}
    assert {name: (group / name).read_text().strip() for name in FILES} == FILES
    systemd.systemctl("daemon-reload")
    assert {name: (group / name).read_text().strip() for name in FILES} == FILES
    inside = docker.ok("exec", id, "cat", *(f"/sys/fs/cgroup/{name}" for name in FILES))
    assert inside.splitlines() == list(FILES.values())
    docker.ok("rm", "-f", id)
    assert not group.exists()
    assert systemd.units(id) == []


def test_run_to_the_end(systemd_docker: Docker) -> None:
    assert systemd_docker.once(*LIMITS, "--", "echo", "hello") == "hello"
    assert systemd_docker.run(*systemd_docker.run_command("--", "sh", "-c", "exit 3")).status == 3
    assert systemd_docker.once("--memory", "6m", "--", "echo", "least") == "least"
    wait_for(lambda: not systemd.scopes("docker-"), "no scope is left")


def test_stop(systemd_docker: Docker) -> None:
    docker = systemd_docker
    id = docker.ready(docker.background("--", "sh", "-c", SERVE))
    docker.ok("stop", id)
    assert "got term" in docker.ok("logs", id)
    docker.ok("start", id)
    assert systemd.show(f"docker-{id}.scope", "ActiveState") == {"ActiveState": "active"}
    docker.ok("rm", "-f", id)
    assert systemd.units(id) == []


def test_stats_and_pause(systemd_docker: Docker) -> None:
    docker = systemd_docker
    id = docker.ready(docker.background(*LIMITS, "--", "sh", "-c", SERVE))
    told = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", id))
    assert told["MemUsage"].endswith("/ 128MiB")
    assert int(told["PIDs"]) >= 1
    group = cgroup_of(docker.pid(id))
    docker.ok("pause", id)
    assert number_in(group / "cgroup.events", "frozen") == 1
    docker.ok("unpause", id)
    assert docker.ok("exec", id, "echo", "alive") == "alive"
    docker.ok("rm", "-f", id)


def test_fork_bomb(systemd_docker: Docker) -> None:
    docker = systemd_docker
    bomb = "bomb() { bomb | bomb & }; echo ready; bomb; while :; do sleep 1; done"
    id = docker.background(*LIMITS, "--", "sh", "-c", bomb)
    group = cgroup_of(docker.pid(docker.ready(id)))
    wait_for(lambda: number_in(group / "pids.events", "max") > 0, "the bomb hits the limit", 30)
    docker.ok("rm", "-f", id)
    assert systemd.units(id) == []


def test_out_of_memory(systemd_docker: Docker) -> None:
    docker = systemd_docker
    id = docker.background(
        "--memory", "24m", "--memory-swap", "24m", "--", "sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=64M"
    )
    assert docker.ok("wait", id) == "137"
    docker.ok("rm", id)
    assert systemd.units(id) == []


def test_parent(systemd_docker: Docker) -> None:
    """A slice of one's own, nested."""
    docker = systemd_docker
    id = docker.background("--cgroup-parent", systemd.slice_of("a", "b"), "--", "sleep", "1000")
    group = cgroup_of(docker.pid(id))
    token = session.TOKEN
    assert group.relative_to(session.CGROUP_ROOT).parts == (
        f"{token}.slice", f"{token}-a.slice", f"{token}-a-b.slice", f"docker-{id}.scope",
    )  # fmt: skip
    docker.ok("rm", "-f", id)
    assert systemd.units(id) == []
