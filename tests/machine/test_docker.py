"""Docker's limits hold: a real daemon on a kernel with every controller."""

import json
from pathlib import Path

from support.cgroup import cgroup_of, number_in
from support.docker import SERVE, Docker
from support.runtime import wait_for

MIB = 1 << 20
LIMITS = ("--memory=128m", "--cpus=0.5", "--pids-limit", "20", "--cpuset-cpus", "0")


def files_of(group: Path, *names: str) -> dict[str, str]:
    return {name: (group / name).read_text().removesuffix("\n") for name in names}


def test_limits_are_in_the_files(docker: Docker) -> None:
    id = docker.background(*LIMITS, "--", "sh", "-c", SERVE)
    wanted = {"memory.max": str(128 * MIB), "cpu.max": "50000 100000", "pids.max": "20", "cpuset.cpus": "0"}
    group = cgroup_of(docker.pid(docker.ready(id)))
    assert group.name == id
    assert files_of(group, *wanted) == wanted
    inside = docker.ok("exec", id, "cat", *(f"/sys/fs/cgroup/{name}" for name in wanted))
    assert inside.splitlines() == list(wanted.values())
    docker.ok("rm", "-f", id)
    assert not group.exists()


def test_more_limits(docker: Docker) -> None:
    id = docker.background(
        "--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "32m", "--cpu-shares", "1024",
        "--blkio-weight", "500", "--device-write-bps", "/dev/vdc:2mb", "--", "sleep", "1000",
    )  # fmt: skip
    group = cgroup_of(docker.pid(id))
    assert files_of(group, "memory.max", "memory.swap.max", "memory.low", "cpu.weight", "io.weight") == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(32 * MIB),
        "memory.low": str(32 * MIB),
        "cpu.weight": "100",
        "io.weight": "default 4950",
    }
    assert f"wbps={2 * MIB}" in (group / "io.max").read_text()
    docker.ok("rm", "-f", id)


def test_fork_bomb(docker: Docker) -> None:
    """It stops at pids.max, the container can be looked at, and it goes away."""
    bomb = "bomb() { bomb | bomb & }; echo ready; bomb; while :; do sleep 1; done"
    id = docker.background(*LIMITS, "--", "sh", "-c", bomb)
    group = cgroup_of(docker.pid(docker.ready(id)))
    wait_for(lambda: number_in(group / "pids.events", "max") > 0, "the bomb hits the limit", 30)
    assert int((group / "pids.current").read_text()) <= 20
    assert docker.inspect(id)["State"]["Running"] is True
    docker.ok("rm", "-f", id)
    assert not group.exists()


def test_out_of_memory_is_told(docker: Docker) -> None:
    """Docker learns it from the cgroup's events, and says so with the exit.

    Its shim may miss the event of a container that ends at once. No later look at that one finds it then, so another
    container is what may still show it.
    """
    told: list[bool] = []
    while not any(told) and len(told) < 10:
        id = docker.background(
            "--memory", "24m", "--memory-swap", "24m", "--", "sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=64M"
        )
        assert docker.ok("wait", id) == "137"
        told.append(docker.inspect(id)["State"]["OOMKilled"])
        docker.ok("rm", id)
    assert any(told), f"Docker has not said OOMKilled of any of {len(told)} containers"


def test_stats(docker: Docker) -> None:
    limited = docker.background(*LIMITS, "--", "sh", "-c", SERVE)
    free = docker.background("--", "sh", "-c", SERVE)
    for id, limit in ((limited, "128MiB"), (free, "GiB")):
        told = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", docker.ready(id)))
        used, _, of = told["MemUsage"].partition(" / ")
        assert of.endswith(limit), told
        assert used not in ("0B", "--"), told
        assert int(told["PIDs"]) >= 1, told
    docker.ok("rm", "-f", limited, free)


def test_pause(docker: Docker) -> None:
    id = docker.background(*LIMITS, "--", "sh", "-c", SERVE)
    group = cgroup_of(docker.pid(docker.ready(id)))
    docker.ok("pause", id)
    assert number_in(group / "cgroup.events", "frozen") == 1
    docker.ok("unpause", id)
    assert number_in(group / "cgroup.events", "frozen") == 0
    assert docker.ok("exec", id, "echo", "alive") == "alive"
    docker.ok("rm", "-f", id)


def test_least_memory(docker: Docker) -> None:
    """6 MiB is what Docker lets one ask for."""
    assert docker.once("--memory", "6m", "--", "echo", "hello") == "hello"


def test_a_limit_that_can_not_be_set_is_told(docker: Docker) -> None:
    """The runtime's own line reaches the user: here the cgroup that is to be the parent has processes of its own."""
    parent = f"/{docker.own_cgroup.name}"
    result = docker.run(*docker.run_command("--cgroup-parent", parent, "--memory", "64m", "--", "true"))
    assert result.status != 0
    for words in ("+memory", "processes of its own", "EBUSY", "[config.json#/linux/resources/memory/limit]"):
        assert words in result.stderr, result
    assert [path.name for path in docker.own_cgroup.iterdir() if path.is_dir()] == []


def test_apparmor(docker: Docker) -> None:
    """Docker's profile is on the program, and on what exec adds."""
    id = docker.background("--", "sleep", "1000")
    assert Path(f"/proc/{docker.pid(id)}/attr/current").read_text() == "docker-default (enforce)\n"
    assert docker.ok("exec", id, "cat", "/proc/self/attr/current") == "docker-default (enforce)"
    docker.ok("rm", "-f", id)
