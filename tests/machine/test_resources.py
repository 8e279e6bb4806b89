"""linux.resources on a kernel with every controller: what the cgroup's files say. config-linux.md "Control groups"."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import session
from support.bundle import Bundle, dict_of
from support.cgroup import Group
from support.fixtures import Make
from support.runtime import Runtime, new_id, says

MIB = 1 << 20


def scratch() -> dict[str, int]:
    """Return the numbers of the machine's empty disk."""
    device = os.stat("/dev/vdc").st_rdev
    return {"major": os.major(device), "minor": os.minor(device)}


def disk() -> str:
    return "{major}:{minor}".format(**scratch())


CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "memory limit": ({"memory": {"limit": 64 * MIB}}, {"memory.max": str(64 * MIB), "memory.swap.max": "max"}),
    "memory unlimited": ({"memory": {"limit": -1, "swap": -1}}, {"memory.max": "max", "memory.swap.max": "max"}),
    "memory reservation": ({"memory": {"reservation": 32 * MIB}}, {"memory.low": str(32 * MIB)}),
    "swap is more than memory": (
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
        {"memory.max": str(64 * MIB), "memory.swap.max": str(32 * MIB)},
    ),
    "no swap": ({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}, {"memory.swap.max": "0"}),
    "swap unlimited": ({"memory": {"limit": 64 * MIB, "swap": -1}}, {"memory.swap.max": "max"}),
    "cpu shares 1024": ({"cpu": {"shares": 1024}}, {"cpu.weight": "100"}),
    "cpu shares 2": ({"cpu": {"shares": 2}}, {"cpu.weight": "1"}),
    "cpu shares 262144": ({"cpu": {"shares": 262144}}, {"cpu.weight": "10000"}),
    "cpu quota": ({"cpu": {"quota": 50000}}, {"cpu.max": "50000 100000"}),
    "cpu quota and period": ({"cpu": {"quota": 20000, "period": 50000}}, {"cpu.max": "20000 50000"}),
    "cpu period": ({"cpu": {"period": 50000}}, {"cpu.max": "max 50000"}),
    "cpu quota unlimited": ({"cpu": {"quota": -1}}, {"cpu.max": "max 100000"}),
    "cpu burst": (
        {"cpu": {"quota": 50000, "period": 100000, "burst": 10000}},
        {"cpu.max": "50000 100000", "cpu.max.burst": "10000"},
    ),
    "cpu idle": ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
    "cpuset": ({"cpu": {"cpus": "1", "mems": "0"}}, {"cpuset.cpus": "1", "cpuset.mems": "0"}),
    "pids": ({"pids": {"limit": 20}}, {"pids.max": "20"}),
    "pids unlimited": ({"pids": {"limit": -1}}, {"pids.max": "max"}),
    "no pids": ({"pids": {"limit": 0}}, {"pids.max": "0"}),
    "io weight": ({"blockIO": {"weight": 500}}, {"io.weight": "default 4950"}),
    "huge pages": (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        {"hugetlb.2MB.max": str(4 * MIB), "hugetlb.2MB.rsvd.max": str(4 * MIB)},
    ),
    "unified": (
        {"unified": {"memory.high": str(48 * MIB), "pids.max": "30"}},
        {"memory.high": str(48 * MIB), "pids.max": "30"},
    ),
    "unified goes last": ({"pids": {"limit": 20}, "unified": {"pids.max": "30"}}, {"pids.max": "30"}),
    "all at once": (
        {
            "memory": {"limit": 64 * MIB, "reservation": 32 * MIB},
            "cpu": {"shares": 512, "quota": 50000, "cpus": "0-1"},
            "pids": {"limit": 20}, "blockIO": {"weight": 100},
        },
        {
            "memory.max": str(64 * MIB), "cpu.weight": "59", "cpuset.cpus": "0-1", "pids.max": "20",
            "io.weight": "default 910",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_files_say_it(name: str, container: Make, bundle: Bundle) -> None:
    resources, files = CASES[name]
    dict_of(bundle.linux, "resources").update(resources)
    group = Group(container(start=False))
    assert {file: group.read(file) for file in files} == files


@pytest.mark.parametrize(("version", "limit"), [("1.0.2-dev", "max"), ("1.2.1", "max"), ("1.3.0", "0")])
def test_no_tasks_by_version(container: Make, bundle: Bundle, version: str, limit: str) -> None:
    """Before 1.3 a limit of 0 was none, in an update too."""
    bundle.config["ociVersion"] = version
    bundle.linux["resources"]["pids"] = {"limit": 0}
    box = container(start=False)
    assert Group(box).read("pids.max") == limit
    box.runtime.ok("update", "--pids-limit", "5", box.id)
    assert Group(box).read("pids.max") == "5"
    box.runtime.ok("update", "--pids-limit", "0", box.id)
    assert Group(box).read("pids.max") == limit


def test_throttles(container: Make, bundle: Bundle) -> None:
    bundle.linux["resources"]["blockIO"] = {
        "throttleReadBpsDevice": [{**scratch(), "rate": 1 * MIB}],
        "throttleWriteBpsDevice": [{**scratch(), "rate": 2 * MIB}],
        "throttleReadIOPSDevice": [{**scratch(), "rate": 100}],
        "throttleWriteIOPSDevice": [{**scratch(), "rate": 200}],
    }
    group = Group(container(start=False))
    assert group.read("io.max") == f"{disk()} rbps={1 * MIB} wbps={2 * MIB} riops=100 wiops=200"


@pytest.fixture
def io_cost() -> Iterator[None]:
    """The model that weighs the disk's users, which is off for a new disk."""
    file = session.CGROUP_ROOT / "io.cost.qos"
    file.write_text(f"{disk()} enable=1")
    yield
    file.write_text(f"{disk()} enable=0")


@pytest.mark.usefixtures("io_cost")
def test_weight_of_a_device(container: Make, bundle: Bundle) -> None:
    bundle.linux["resources"]["blockIO"] = {"weight": 100, "weightDevice": [{**scratch(), "weight": 300}]}
    group = Group(container(start=False))
    assert group.read("io.weight").splitlines() == ["default 910", f"{disk()} 2930"]


@pytest.fixture
def bfq() -> Iterator[None]:
    """The scheduler whose weights stand in files of its own."""
    subprocess.run(["modprobe", "bfq"], check=True)
    yield
    subprocess.run(["modprobe", "--remove", "bfq"], check=True)


@pytest.mark.usefixtures("bfq")
def test_weight_with_bfq(container: Make, bundle: Bundle) -> None:
    bundle.linux["resources"]["blockIO"] = {"weight": 500}
    group = Group(container(start=False))
    assert (group.read("io.bfq.weight"), group.read("io.weight")) == ("default 500", "default 100")


@pytest.fixture
def rdma_device() -> Iterator[str]:
    """An RDMA device made of software, on a network device that leads nowhere."""
    name = "tested"
    subprocess.run(["modprobe", "--all", "dummy", "rdma_rxe"], check=True)
    subprocess.run(["ip", "link", "add", "dummy-rdma", "type", "dummy"], check=True)
    subprocess.run(["rdma", "link", "add", name, "type", "rxe", "netdev", "dummy-rdma"], check=True)
    yield name
    subprocess.run(["rdma", "link", "delete", name], check=True)
    subprocess.run(["ip", "link", "delete", "dummy-rdma"], check=True)


def test_rdma(container: Make, bundle: Bundle, rdma_device: str) -> None:
    bundle.linux["resources"]["rdma"] = {rdma_device: {"hcaHandles": 3, "hcaObjects": 1000}}
    group = Group(container(start=False))
    assert group.read("rdma.max").strip() == f"{rdma_device} hca_handle=3 hca_object=1000"


def test_what_docker_sends_for_not_set(container: Make, bundle: Bundle) -> None:
    dict_of(bundle.linux, "resources").update(
        {"memory": {"disableOOMKiller": False}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}}
    )
    group = Group(container(start=False))
    files = ("memory.max", "cpu.weight", "cpu.max", "io.weight", "pids.max")
    assert [group.read(name) for name in files] == ["max", "100", "max 100000", "default 100", "max"]


def test_controllers_are_enabled_down_the_path(container: Make, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-deep/a/b/box"
    bundle.linux["resources"]["pids"] = {"limit": 7}
    group = Group(container(start=False))
    assert group.read("pids.max") == "7"
    above = group.path.parent
    while above != session.CGROUP_ROOT:
        assert "pids" in (above / "cgroup.subtree_control").read_text().split()
        assert (above / "pids.max").read_text() == "max\n"
        above = above.parent


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "quota below the kernel's least": (
        {"cpu": {"quota": 10}}, ("/linux/resources/cpu/quota", "cpu.max", "10 100000", "EINVAL"),
    ),
    "burst above the quota": (
        {"cpu": {"quota": 10000, "burst": 20000}}, ("/linux/resources/cpu/burst", "20000", "10000"),
    ),
    "no such cpu": ({"cpu": {"cpus": "64"}}, ("/linux/resources/cpu/cpus", "cpuset.cpus", "64")),
    "not a list of cpus": ({"cpu": {"cpus": "one"}}, ("/linux/resources/cpu/cpus", "one")),
    "no such device": (
        {"blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 99, "rate": 1}]}},
        ("/linux/resources/blockIO/throttleReadBpsDevice/0", "io.max", "ENODEV"),
    ),
    "no such page size": (
        {"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]},
        ("/linux/resources/hugepageLimits/0", "3MB"),
    ),
    "swap without a limit": ({"memory": {"swap": 5 * MIB}}, ("/linux/resources/memory/swap",)),
    "realtime": ({"cpu": {"realtimeRuntime": 1000}}, ("/linux/resources/cpu/realtimeRuntime", "v2")),
    "unknown unified file": ({"unified": {"memory.nosuch": "1"}}, ("/linux/resources/unified/memory.nosuch",)),
    "no such rdma device": ({"rdma": {"mlx9": {"hcaHandles": 1}}}, ("/linux/resources/rdma/mlx9", "rdma.max", "mlx9")),
    "block weight below the least": ({"blockIO": {"weight": 9}}, ("/linux/resources/blockIO/weight",)),
    "leaf weight": ({"blockIO": {"leafWeight": 100}}, ("/linux/resources/blockIO/leafWeight", "v2")),
    "swap below the limit": (
        {"memory": {"limit": 5 * MIB, "swap": 4 * MIB}}, ("/linux/resources/memory/swap", str(5 * MIB)),
    ),
    "network": ({"network": {"classID": 7}}, ("/linux/resources/network/classID", "v1")),
    "controller of nobody": ({"unified": {"nosuch.max": "1"}}, ("/linux/resources/unified/nosuch.max", "nosuch")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused_and_nothing_left(name: str, runtime: Runtime, bundle: Bundle) -> None:
    resources, words = BAD[name]
    bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-bad"
    dict_of(bundle.linux, "resources").update(resources)
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), *words)
    assert runtime.ids() == []
    assert not Path(f"{session.CGROUP_ROOT}/{session.TOKEN}-bad").exists()
