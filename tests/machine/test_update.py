"""`update` on a kernel with every controller: files, effects, and what a failure leaves as it was."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from support import paths, session
from support.bundle import Bundle, dict_of
from support.cgroup import Group, cgroup_of
from support.docker import SERVE, Docker
from support.fixtures import Make
from support.runtime import Container, Runtime, new_id, says, wait_for

MIB = 1 << 20
BEGIN: dict[str, Any] = {
    "memory": {"limit": 128 * MIB, "swap": 192 * MIB},
    "cpu": {"shares": 1024, "quota": 20000, "period": 50000},
    "pids": {"limit": 100},
}
"""The limits that every container here begins with."""
FLAGS: dict[str, tuple[list[str], dict[str, str]]] = {
    "memory": (["--memory", "160m"], {"memory.max": str(160 * MIB), "memory.swap.max": str(32 * MIB)}),
    "no limit of memory": (["--memory=-1"], {"memory.max": "max", "memory.swap.max": "max"}),
    "memory and swap raised": (
        ["--memory", "256m", "--memory-swap", "512m"],
        {"memory.max": str(256 * MIB), "memory.swap.max": str(256 * MIB)},
    ),
    "memory and swap lowered": (
        ["--memory", "67108864", "--memory-swap", "67108864"],
        {"memory.max": str(64 * MIB), "memory.swap.max": "0"},
    ),
    "unlimited swap": (["--memory-swap", "-1"], {"memory.swap.max": "max"}),
    "reservation": (["--memory-reservation", "32m"], {"memory.low": str(32 * MIB)}),
    "quota": (["--cpu-quota", "30000"], {"cpu.max": "30000 50000"}),
    "no quota": (["--cpu-quota=-1"], {"cpu.max": "max 50000"}),
    "period": (["--cpu-period", "80000"], {"cpu.max": "20000 80000"}),
    "quota, period and burst": (
        ["--cpu-quota", "50000", "--cpu-period", "100000", "--cpu-burst", "40000"],
        {"cpu.max": "50000 100000", "cpu.max.burst": "40000"},
    ),
    "share": (["--cpu-share", "262144"], {"cpu.weight": "10000"}),
    "idle": (["--cpu-idle", "1"], {"cpu.idle": "1"}),
    "cpus and mems": (["--cpuset-cpus", "1", "--cpuset-mems", "0"], {"cpuset.cpus": "1", "cpuset.mems": "0"}),
    "pids": (["--pids-limit", "20"], {"pids.max": "20"}),
    "no limit of pids": (["--pids-limit=-1"], {"pids.max": "max"}),
    "block weight": (["--blkio-weight", "500"], {"io.weight": "default 4950"}),
}
FOLLOWS = {"cpu.idle": {"cpu.weight", "cpu.weight.nice"}, "cpu.weight": {"cpu.weight.nice"}}
"""Files whose content depends on another's."""
OTHERWISE_IN_RUNC = {"memory": {"memory.swap.max"}}
"""runc 1.1.5 leaves swap alone; since 1.2 the limit of memory plus swap stays what it was, as here."""
UNKNOWN_TO_RUNC = {"--cpu-burst", "--cpu-idle"}
"""Options that runc 1.1.5 lacks."""


def settings(group: Group) -> dict[str, str]:
    """Return the files of the cgroup that hold settings."""
    files = [file for file in group.path.iterdir() if file.is_file() and file.stat().st_mode & 0o600 == 0o600]
    left_out = (".pressure", "cgroup.procs", "cgroup.threads", "memory.reclaim")
    return {file.name: group.read(file.name) for file in files if not file.name.endswith(left_out)}


def update(box: Container, *options: str, stdin: object = None) -> None:
    box.runtime.ok("update", *options, box.id, stdin=None if stdin is None else json.dumps(stdin))


def refused(box: Container, document: object) -> str:
    return box.runtime.fails("update", "--resources", "-", box.id, stdin=json.dumps(document))


@pytest.fixture
def limited(container: Make, bundle: Bundle) -> Container:
    """A running container with the limits that tests begin with."""
    resources = dict_of(bundle.linux, "resources")
    resources.pop("pids", None)
    resources.update(BEGIN)
    bundle.args("sleep", "1000")
    return container()


@pytest.mark.parametrize("case", FLAGS)
def test_each_flag(case: str, limited: Container) -> None:
    """The files asked for say it, the others what they said before."""
    options, wanted = FLAGS[case]
    group = Group(limited)
    before = settings(group)
    update(limited, *options)
    after = settings(group)
    assert {name: after[name] for name in wanted} == wanted
    follow = {name for file in wanted for name in FOLLOWS.get(file, ())}
    assert {name for name in after if after[name] != before[name]} <= {*wanted, *follow}


@pytest.mark.parametrize("case", [case for case in FLAGS if not UNKNOWN_TO_RUNC & set(FLAGS[case][0])])
def test_as_runc_does(case: str, limited: Container, workdir: Path, bundle: Bundle) -> None:
    """The same flags leave the same files behind Debian's runc."""
    options, _ = FLAGS[case]
    bundle.config["ociVersion"] = "1.0.2"
    bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-runc"
    peer = Container(Runtime(workdir / "runc", paths.system_command("runc") or "runc"), bundle.save(), new_id("runc"))
    try:
        peer.create()
        theirs = Group(peer)
        update(limited, *options)
        update(peer, *options)
        ours, their = settings(Group(limited)), settings(theirs)
        # runc 1.1.5 has the old formula for shares.
        differ = {name for name in ours if ours[name] != their.get(name)} - {"cpu.weight", "cpu.weight.nice"}
        assert differ == OTHERWISE_IN_RUNC.get(case, set()), {name: (ours[name], their.get(name)) for name in differ}
    finally:
        peer.runtime.run("delete", "--force", peer.id)
        peer.close()


class TestDocuments:
    def test_many_at_once(self, limited: Container) -> None:
        device = os.stat("/dev/vdc").st_rdev
        numbers = {"major": os.major(device), "minor": os.minor(device)}
        disk = f"{numbers['major']}:{numbers['minor']}"
        document = {
            "memory": {"limit": 64 * MIB, "swap": 64 * MIB},
            "cpu": {"quota": 10000, "period": 20000, "cpus": "0"},
            "blockIO": {"throttleWriteBpsDevice": [{**numbers, "rate": MIB}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}],
            "unified": {"memory.high": str(48 * MIB)},
        }
        update(limited, "--resources=-", stdin=document)
        group = Group(limited)
        wanted = {
            "memory.max": str(64 * MIB), "memory.swap.max": "0", "memory.high": str(48 * MIB), "cpu.max": "10000 20000",
            "cpuset.cpus": "0", "io.max": f"{disk} rbps=max wbps={MIB} riops=max wiops=max",
            "hugetlb.2MB.max": str(2 * MIB), "pids.max": "100",
        }  # fmt: skip
        assert {name: group.read(name) for name in wanted} == wanted
        # The next one knows of it: memory plus swap is 64 MiB now.
        update(limited, "--memory", "32m")
        assert group.read("memory.swap.max") == str(32 * MIB)
        update(limited, "-r", "-", stdin={"blockIO": {"throttleWriteBpsDevice": [{**numbers, "rate": 0}]}})
        assert group.read("io.max") == ""

    def test_idle_and_back(self, limited: Container) -> None:
        group = Group(limited)
        update(limited, "--cpu-idle", "1")
        assert (group.read("cpu.idle"), group.read("cpu.weight")) == ("1", "0")
        error = limited.runtime.fails("update", "--cpu-share", "512", limited.id)
        says(error, "cpu.weight", "EINVAL", "[--cpu-share]", "idle")
        update(limited, "--cpu-idle", "0")
        assert (group.read("cpu.idle"), group.read("cpu.weight")) == ("0", "100")

    def test_burst_up_and_down_with_the_quota(self, limited: Container) -> None:
        group = Group(limited)
        update(limited, "--cpu-quota", "50000", "--cpu-burst", "40000")
        update(limited, "--cpu-quota", "10000", "--cpu-burst", "5000")
        assert (group.read("cpu.max"), group.read("cpu.max.burst")) == ("10000 50000", "5000")
        says(limited.runtime.fails("update", "--cpu-quota", "4000", limited.id), "burst, 5000", "[--cpu-quota]")
        assert group.read("cpu.max") == "10000 50000"
        update(limited, "--cpu-burst", "0")
        assert group.read("cpu.max.burst") == "0"

    def test_a_container_made_without_controllers(self, container: Make, bundle: Bundle) -> None:
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-bare/box"
        bundle.linux["resources"].pop("pids", None)
        bundle.args("sleep", "1000")
        box = container()
        group = Group(box)
        (group.path.parent / "cgroup.subtree_control").write_text("-memory -pids -cpu -io")
        assert not (group.path / "memory.max").exists()
        update(box, "--memory", "64m", "--pids-limit", "9")
        assert (group.read("memory.max"), group.read("pids.max")) == (str(64 * MIB), "9")


class TestFailure:
    def test_the_cgroup_is_as_before(self, limited: Container) -> None:
        group = Group(limited)
        before = settings(group)
        error = refused(
            limited,
            {
                "memory": {"limit": 64 * MIB, "swap": 64 * MIB, "reservation": MIB},
                "cpu": {"shares": 2, "quota": 10000, "burst": 5000, "idle": 1, "cpus": "0", "mems": "0"},
                "pids": {"limit": 5},
                "blockIO": {"weight": 10},
                "unified": {"memory.high": "lots"},
            },
        )
        says(error, 'write_at(<cgroup>, "memory.high", "lots")', "EINVAL", "[standard input#/unified/memory.high]")
        assert "stays" not in error
        # A cpuset with processes can't be emptied again: it says what it had inherited.
        same = {"cpuset.cpus": "0-1", "cpuset.mems": "0"}
        assert settings(group) == {**before, **same}
        assert os.sched_getaffinity(limited.pid) == {0, 1}

    def test_devices_and_lines_of_files(self, limited: Container) -> None:
        """io.max has a line for each device: one that was not there is gone again, one that was is as it was."""
        device = os.stat("/dev/vdc").st_rdev
        scratch = {"major": os.major(device), "minor": os.minor(device)}
        other = os.stat("/dev/vdb").st_rdev
        second = {"major": os.major(other), "minor": os.minor(other), "rate": 5 * MIB}
        update(limited, "-r", "-", stdin={"blockIO": {"throttleReadBpsDevice": [{**scratch, "rate": MIB}]}})
        group = Group(limited)
        before = settings(group)
        throttles = {"throttleReadBpsDevice": [{**scratch, "rate": 9 * MIB}, second]}
        error = refused(limited, {"blockIO": throttles, "unified": {"memory.high": "much"}})
        says(error, "memory.high", "much", "EINVAL", "[standard input#/unified/memory.high]")
        assert settings(group) == before

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--cpu-quota", "10"), ("cpu.max", "10 50000", "EINVAL", "[--cpu-quota]")),
            (("--cpuset-cpus", "64"), ("cpuset.cpus", "64", "[--cpuset-cpus]")),
            (("--cpuset-mems", "one"), ("cpuset.mems", "one", "EINVAL", "[--cpuset-mems]")),
            (("--memory", "256m"), ("memory plus swap", "[--memory]")),
            (("--memory-swap", "64m"), ("below the limit", "[--memory-swap]")),
            (("--pids-limit", "5", "--cpuset-cpus", "64"), ("cpuset.cpus", "[--cpuset-cpus]")),
        ],
    )
    def test_what_is_wrong_is_told(self, limited: Container, options: tuple[str, ...], words: tuple[str, ...]) -> None:
        group = Group(limited)
        before = settings(group)
        says(limited.runtime.fails("update", *options, limited.id), *words)
        assert settings(group) == before


class TestMemoryBelowTheUse:
    @pytest.fixture
    def holder(self, container: Make, bundle: Bundle) -> Container:
        """A container whose program holds 30 MiB."""
        resources = dict_of(bundle.linux, "resources")
        resources.update({"memory": {"limit": 160 * MIB, "swap": 160 * MIB}})
        bundle.mount("/held", "tmpfs", "tmpfs", "size=64m")
        bundle.sh("head -c 30m /dev/zero > /held/file; echo holds; exec sleep 1000")
        box = container()
        wait_for(lambda: "holds" in box.output, "it holds memory", 30)
        assert int(Group(box).read("memory.current")) > 30 * MIB
        return box

    def test_with_check_before_update(self, holder: Container) -> None:
        group = Group(holder)
        before = settings(group)
        wanted = {"memory": {"limit": 8 * MIB, "swap": 8 * MIB, "checkBeforeUpdate": True}, "pids": {"limit": 9}}
        error = refused(holder, wanted)
        says(error, f"memory.max {8 * MIB}", "current use", "bytes", "[standard input#/memory/limit]")
        used = int(error.partition("current use, ")[2].split()[0])
        assert used == pytest.approx(int(group.read("memory.current")), rel=0.1)
        assert settings(group) == before
        assert holder.status == "running"

    def test_without_it_the_kernel_kills(self, holder: Container, workdir: Path) -> None:
        """cgroup-v2.rst: memory.max below the use reclaims, and kills when that is not enough. The log tells."""
        group = Group(holder)
        holder.runtime.options += ["--log", str(workdir / "log")]
        update(holder, "--memory", "8m", "--memory-swap", "8m")
        wait_for(lambda: holder.status == "stopped", "it is killed", 30)
        assert group.number("memory.events", "oom_kill") >= 1
        assert "the kernel killed processes in it" in (workdir / "log").read_text()


class TestEffect:
    def test_memory(self, limited: Container) -> None:
        allocate = ("--", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=48M count=1 2>/dev/null")
        assert limited.exec(*allocate).status == 0
        update(limited, "--memory", "24m", "--memory-swap", "24m")
        assert limited.exec(*allocate).status == 137
        update(limited, "--memory", "96m", "--memory-swap", "96m")
        assert limited.exec(*allocate).status == 0

    def test_pids(self, limited: Container) -> None:
        many = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all"
        update(limited, "--pids-limit", "4")
        result = limited.exec("--", "sh", "-c", many)
        assert "can't fork" in result.stderr, result
        while Group(limited).read("pids.current") != "3":
            assert limited.exec("--detach", "--", "sleep", "1000").status == 0
        # exec makes two processes, of which one stays.
        for limit in ("4", "3"):
            update(limited, "--pids-limit", limit)
            result = limited.exec("--", "true")
            assert result.status == 255
            says(result.stderr, "too many tasks", f"pids.max is {limit}", "[config.json#/linux/resources/pids/limit]")
        update(limited, "--pids-limit", "30")
        assert limited.sh(many) == "all"

    def test_cpus(self, limited: Container) -> None:
        assert os.sched_getaffinity(limited.pid) == {0, 1}
        update(limited, "--cpuset-cpus", "1")
        assert os.sched_getaffinity(limited.pid) == {1}

    def test_cpu_quota(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("while :; do :; done")
        box = container()
        group = Group(box)
        update(box, "--cpu-quota", "20000", "--cpu-period", "100000")
        time.sleep(1)
        before, began = group.number("cpu.stat", "usage_usec"), time.monotonic()
        time.sleep(5)
        share = (group.number("cpu.stat", "usage_usec") - before) / 1e6 / (time.monotonic() - began)
        assert 0.2 * 0.85 < share < 0.2 * 1.15

    def test_a_paused_container(self, limited: Container) -> None:
        limited.runtime.ok("pause", limited.id)
        update(limited, "--pids-limit", "7")
        assert Group(limited).read("pids.max") == "7"
        assert limited.status == "paused"
        limited.runtime.ok("resume", limited.id)


def test_docker_update(docker: Docker) -> None:
    id = docker.background("--memory=128m", "--cpus=0.5", "--pids-limit", "20", "--", "sh", "-c", SERVE)
    group = cgroup_of(docker.pid(docker.ready(id)))
    docker.ok("update", "--memory=64m", "--memory-swap=64m", "--cpus=0.25", "--pids-limit=10", id)
    docker.ok("update", "--cpuset-cpus=1", "--cpu-shares=1024", id)
    wanted = {
        "memory.max": str(64 * MIB), "memory.swap.max": "0", "cpu.max": "25000 100000", "pids.max": "10",
        "cpuset.cpus": "1", "cpu.weight": "100",
    }  # fmt: skip
    assert {name: (group / name).read_text().removesuffix("\n") for name in wanted} == wanted
    result = docker.run("update", "--cpuset-cpus=77", id)
    assert (result.status != 0 and "cpuset.cpus" in result.stderr) or "not available" in result.stderr, result
    docker.ok("rm", "-f", id)
