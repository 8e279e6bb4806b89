"""Scheduling, I/O priority, execution domain and memory policy: what the kernel says inside."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import Runtime, new_id, says

NICE_PRIORITY_POLICY = ["cut", "-d", " ", "-f", "19,40,41", "/proc/self/stat"]
"""proc_pid_stat(5). As the program itself: a deadline process may not fork."""


class TestScheduler:
    @pytest.mark.parametrize(
        "scheduler, seen",
        [
            ({"policy": "SCHED_OTHER", "nice": 7}, "7 0 0"),
            ({"policy": "SCHED_BATCH", "nice": 5}, "5 0 3"),
            ({"policy": "SCHED_IDLE"}, "0 0 5"),
            ({"policy": "SCHED_FIFO", "priority": 10}, "0 10 1"),
            ({"policy": "SCHED_RR", "priority": 1}, "0 1 2"),
            ({"policy": "SCHED_DEADLINE", "runtime": 10**7, "deadline": 2 * 10**7, "period": 3 * 10**7}, "0 0 6"),
        ],
        ids=lambda value: value["policy"] if isinstance(value, dict) else None,
    )
    def test_policy(self, runtime: Runtime, bundle: Bundle, scheduler: dict[str, Any], seen: str) -> None:
        bundle.process["scheduler"] = scheduler
        bundle.args(*NICE_PRIORITY_POLICY)
        assert runtime.ok("run", "--bundle", bundle.save(), new_id()).strip() == seen

    def test_reset_on_fork(self, inside: Inside, bundle: Bundle) -> None:
        flags = ["SCHED_FLAG_RESET_ON_FORK"]
        bundle.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 10, "flags": flags}
        look = "cut -d ' ' -f 19,40,41 /proc"
        assert inside(f"{look}/1/stat; {look}/self/stat; :").splitlines() == ["0 10 1", "0 0 0"]

    def test_of_exec(self, container: Make, bundle: Bundle, workdir: Path) -> None:
        bundle.args("sleep", "1000")
        box = container()
        process = {
            "args": NICE_PRIORITY_POLICY,
            "cwd": "/",
            "env": ["PATH=/bin:/usr/bin"],
            "user": {"uid": 0, "gid": 0},
        }
        file = workdir / "process.json"
        file.write_text(json.dumps({**process, "scheduler": {"policy": "SCHED_RR", "priority": 3}}))
        assert box.exec("--process", str(file), "--").stdout.strip() == "0 3 2"


@pytest.mark.parametrize(
    "wanted, seen",
    [
        ({"class": "IOPRIO_CLASS_RT", "priority": 1}, "realtime: prio 1"),
        ({"class": "IOPRIO_CLASS_BE", "priority": 3}, "best-effort: prio 3"),
        ({"class": "IOPRIO_CLASS_IDLE", "priority": 0}, "idle"),
    ],
    ids=["RT", "BE", "IDLE"],
)
def test_io_priority(inside: Inside, bundle: Bundle, wanted: dict[str, Any], seen: str) -> None:
    bundle.process["ioPriority"] = wanted
    assert inside("ionice -p $$") == seen


@pytest.mark.parametrize("domain, machine", [("LINUX32", "i686"), ("LINUX", "x86_64")])
def test_personality(container: Make, bundle: Bundle, domain: str, machine: str) -> None:
    bundle.linux["personality"] = {"domain": domain}
    bundle.sh("uname -m; exec sleep 1000")
    box = container()
    assert box.sh("uname -m") == machine, "what exec adds has it as well"
    assert box.output.strip() == machine


class TestMemoryPolicy:
    @pytest.mark.parametrize(
        "policy, seen",
        [
            ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
            ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
            ({"mode": "MPOL_BIND", "nodes": "0-63"}, "bind:0"),
            ({"mode": "MPOL_LOCAL"}, "local"),
            ({"mode": "MPOL_INTERLEAVE", "nodes": "0-0", "flags": ["MPOL_F_STATIC_NODES"]}, "interleave=static:0"),
        ],
        ids=lambda value: value["mode"] if isinstance(value, dict) else None,
    )
    def test_mode(self, inside: Inside, bundle: Bundle, policy: dict[str, Any], seen: str) -> None:
        bundle.linux["memoryPolicy"] = policy
        assert {line.split()[1] for line in inside("cat /proc/self/numa_maps").splitlines()} == {seen}

    @pytest.mark.parametrize("nodes", ["1000", "1024", "0-32766", "65535"])
    def test_a_node_that_is_not_there(self, runtime: Runtime, bundle: Bundle, nodes: str) -> None:
        """The kernel is asked, whatever the number."""
        bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": nodes}
        says(runtime.fails("create", "--bundle", bundle.save(), new_id()), "/linux/memoryPolicy", "MPOL_BIND", "EINVAL")
