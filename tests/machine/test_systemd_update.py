"""`update` of a container whose cgroup is systemd's: the unit and the files change together, and stay so."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from support import systemd
from support.bundle import Bundle, dict_of
from support.cgroup import Group, cgroup_of
from support.docker import SERVE, Docker
from support.fixtures import Make
from support.runtime import Runtime, says

pytestmark = pytest.mark.systemd

MIB = 1 << 20
BEGIN: dict[str, Any] = {
    "memory": {"limit": 128 * MIB, "swap": 192 * MIB},
    "cpu": {"shares": 1024, "quota": 20000, "period": 50000},
    "pids": {"limit": 100},
}
UPDATES: dict[str, tuple[list[str], dict[str, str], dict[str, str]]] = {
    "memory": (
        ["--memory", "160m", "--memory-swap", "160m", "--memory-reservation", "32m"],
        {"MemoryMax": str(160 * MIB), "MemorySwapMax": "0", "MemoryLow": str(32 * MIB)},
        {"memory.max": str(160 * MIB), "memory.swap.max": "0", "memory.low": str(32 * MIB)},
    ),
    "no limit of memory": (["--memory=-1"], {"MemoryMax": "infinity"}, {"memory.max": "max"}),
    "quota of broken percents": (["--cpu-quota", "12345"], {"CPUQuotaPerSecUSec": "250ms"}, {"cpu.max": "12500 50000"}),
    "no quota": (["--cpu-quota=-1"], {"CPUQuotaPerSecUSec": "infinity"}, {"cpu.max": "max 100000"}),
    "idle": (["--cpu-idle", "1"], {"CPUWeight": "idle"}, {"cpu.idle": "1"}),
    "cpus": (["--cpuset-cpus", "1"], {"AllowedCPUs": "1"}, {"cpuset.cpus": "1"}),
    "pids": (["--pids-limit", "20"], {"TasksMax": "20"}, {"pids.max": "20"}),
}


@pytest.fixture
def runtime(runtime: Runtime) -> Iterator[Runtime]:
    """The runtime with the systemd driver; no unit may be left by a test."""
    yield from systemd.as_driver(runtime)


def begin(bundle: Bundle) -> None:
    dict_of(bundle.linux, "resources").update(json.loads(json.dumps(BEGIN)))


@pytest.mark.parametrize("name", UPDATES)
def test_unit_and_files(name: str, container: Make, runtime: Runtime, bundle: Bundle) -> None:
    options, properties, files = UPDATES[name]
    begin(bundle)
    box = container(start=False)
    group, unit = Group(box), f"pyruntime-{box.id}.scope"
    # An engine need not say again which driver it was.
    runtime.options.clear()
    runtime.ok("update", *options, box.id)
    for when in ("after the update", "after a daemon-reload"):
        assert systemd.show(unit, *properties) == properties, when
        assert {file: group.read(file) for file in files} == files, when
        systemd.systemctl("daemon-reload")


def test_devices(container: Make, runtime: Runtime, bundle: Bundle) -> None:
    begin(bundle)
    device = os.stat("/dev/vdc").st_rdev
    numbers = {"type": "b", "major": os.major(device), "minor": os.minor(device)}
    bundle.linux["devices"] = [{"path": "/dev/vdc", **numbers, "fileMode": 0o666}]
    box = container()
    look = "(: </dev/vdc) 2>/dev/null && echo disk; echo x >/dev/null && echo null"
    assert box.sh(look) == "null"
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, **numbers, "access": "rw"}]
    runtime.ok("update", "--resources", "-", box.id, stdin=json.dumps({"devices": rules}))
    found = systemd.systemctl("show", f"pyruntime-{box.id}.scope", "--property=DeviceAllow").splitlines()
    assert f"DeviceAllow=/dev/block/{numbers['major']}:{numbers['minor']} rw" in found
    for _ in range(2):
        assert box.sh(look) == "disk\nnull"
        systemd.systemctl("daemon-reload")
    runtime.ok("update", "--resources", "-", box.id, stdin=json.dumps({"devices": rules[:1]}))
    assert box.sh(look) == "null"


def test_a_failure_leaves_unit_and_files_as_they_were(container: Make, runtime: Runtime, bundle: Bundle) -> None:
    begin(bundle)
    box = container(start=False)
    group, unit = Group(box), f"pyruntime-{box.id}.scope"
    names = ("MemoryMax", "TasksMax", "CPUWeight", "AllowedCPUs")
    files = ("memory.max", "pids.max", "cpu.weight", "cpuset.cpus")
    before = systemd.show(unit, *names), [group.read(file) for file in files]
    for document, word in (
        ({"pids": {"limit": 30}, "unified": {"cpu.weight": "20000"}}, "CPUWeight"),  # systemd refuses it
        ({"pids": {"limit": 30}, "unified": {"memory.max": "much"}}, "much"),  # the kernel does
        ({"pids": {"limit": 30}, "cpu": {"cpus": "64"}}, "64"),
    ):
        says(runtime.fails("update", "--resources", "-", box.id, stdin=json.dumps(document)), word)
        assert (systemd.show(unit, *names), [group.read(file) for file in files]) == before, document
    systemd.systemctl("daemon-reload")
    assert (systemd.show(unit, *names), [group.read(file) for file in files]) == before


def test_docker_update(systemd_docker: Docker) -> None:
    docker = systemd_docker
    id = docker.ready(docker.background("--memory=128m", "--cpus=0.5", "--", "sh", "-c", SERVE))
    group, unit = cgroup_of(docker.pid(id)), f"docker-{id}.scope"
    docker.ok("update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "1.5", "--pids-limit", "50", id)
    files = {"memory.max": str(96 * MIB), "memory.swap.max": "0", "cpu.max": "150000 100000", "pids.max": "50"}
    properties = {"MemoryMax": str(96 * MIB), "MemorySwapMax": "0", "CPUQuotaPerSecUSec": "1.500000s", "TasksMax": "50"}
    for when in ("after the update", "after a daemon-reload"):
        assert systemd.show(unit, *properties) == properties, when
        assert {name: (group / name).read_text().strip() for name in files} == files, when
        systemd.systemctl("daemon-reload")
    docker.ok("rm", "-f", id)
    assert systemd.units(id) == []
