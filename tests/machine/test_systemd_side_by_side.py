"""Debian's runc and crun beside pyruntime, all with systemd as driver: the same config, the same unit and cgroup.

Where they differ, the difference is in DIFFERENT with its reason (told in docs/status.md too); a difference that is
listed and not there fails as well.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import paths, session, systemd
from support.bundle import Bundle, dict_of
from support.cgroup import cgroup_of
from support.runtime import Container, Runtime, new_id

pytestmark = pytest.mark.systemd

MIB = 1 << 20
FILES = (
    "memory.max", "memory.low", "memory.high", "memory.min", "memory.swap.max", "memory.oom.group", "cpu.max",
    "cpu.weight", "cpu.idle", "cpuset.cpus", "cpuset.mems", "pids.max", "io.weight", "hugetlb.2MB.max",
    "cgroup.controllers", "cgroup.subtree_control",
)  # fmt: skip
LIMITS = (
    "MemoryMax", "MemoryLow", "MemoryHigh", "MemoryMin", "MemorySwapMax", "CPUWeight", "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec", "AllowedCPUs", "AllowedMemoryNodes", "TasksMax", "IOWeight", "IOAccounting", "DevicePolicy",
)  # fmt: skip
PROPERTIES = (
    "Slice", "Delegate", "DefaultDependencies", "CPUAccounting", "MemoryAccounting", "TasksAccounting", "CollectMode",
    "KillMode", "TimeoutStopUSec", "ControlGroup", *LIMITS,
)  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "memory": {"memory": {"limit": 64 * MIB}},
    "memory, reservation and swap": {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB}},
    "memory without swap": {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
    "unlimited memory and swap": {"memory": {"limit": -1, "swap": -1}},
    "shares": {"cpu": {"shares": 262144}},
    "quota": {"cpu": {"quota": 50000}},
    "quota and period": {"cpu": {"quota": 25000, "period": 50000}},
    "quota of broken percents": {"cpu": {"quota": 12345, "period": 100000}},
    "unlimited quota": {"cpu": {"quota": -1, "period": 100000}},
    "cpus and mems": {"cpu": {"cpus": "0-1", "mems": "0"}},
    "pids": {"pids": {"limit": 20}},
    "unlimited pids": {"pids": {"limit": -1}},
    "block weight": {"blockIO": {"weight": 500}},
    "huge pages": {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
    "unified": {"unified": {"memory.high": str(48 * MIB), "pids.max": "30", "cpu.weight": "50", "cpuset.cpus": "0"}},
    "what Docker sends": {
        "memory": {"limit": 128 * MIB, "swap": 256 * MIB, "disableOOMKiller": False},
        "cpu": {"quota": 50000, "period": 100000, "cpus": "0"}, "pids": {"limit": 20}, "blockIO": {"weight": 0},
    },
}  # fmt: skip

NOT_ASKED = {"runc": (), "crun": (*LIMITS, "pids.max", "cgroup.controllers")}
"""crun 1.8.1 tells systemd no limits: it sets them in a cgroup of its own below the scope, which does not have all
controllers, nor systemd's own default of tasks."""
ROUNDED = "systemd keeps whole percents and will write those at its next reload; runc does it at once since 2025"
COLLECTED = "its failed scopes stay until somebody resets them; ours go"
DIFFERENT: dict[str, dict[str, tuple[set[str], str]]] = {
    "runc": {
        "": ({"CollectMode"}, COLLECTED),
        "memory without swap": ({"MemorySwapMax"}, "takes 0 for not set, and leaves swap to the next daemon-reload"),
        "quota": ({"CPUQuotaPeriodUSec"}, "does not say the period when it is the kernel's own"),
        "quota of broken percents": ({"cpu.max"}, ROUNDED),
        "block weight": ({"IOWeight"}, "only writes the file"),
    },
    "crun": {"": ({"CollectMode"}, COLLECTED), "quota of broken percents": ({"cpu.max"}, ROUNDED)},
}
"""Peer -> case ("" for every one) -> what differs, and why."""


@pytest.fixture
def seen_by(workdir: Path, bundle: Bundle) -> Iterator[Callable[[str], dict[str, str]]]:
    """A function that creates a container with a runtime, and returns what its unit and its cgroup say."""
    made: list[tuple[Runtime, Container]] = []

    def create(binary: str) -> dict[str, str]:
        runtime = Runtime(workdir / f"root-{len(made)}", binary, ("--systemd-cgroup",))
        bundle.config["ociVersion"] = "1.0.2"
        bundle.linux["cgroupsPath"] = f"{systemd.slice_of('side')}:same:{session.TOKEN}"
        box = Container(runtime, bundle.save(), new_id("side"))
        made.append((runtime, box))
        box.create()
        found = systemd.show(f"same-{session.TOKEN}.scope", *PROPERTIES)
        group = cgroup_of(box.pid)
        found |= {name: (group / name).read_text().strip() for name in FILES if (group / name).exists()}
        box.delete("--force")
        systemd.wait_no_scopes()
        return found

    yield create
    for runtime, box in made:
        runtime.run("delete", "--force", box.id)
        box.close()
    systemd.stop_slices()


@pytest.mark.parametrize("case", CASES)
def test_the_same_unit(case: str, bundle: Bundle, seen_by: Callable[[str], dict[str, str]]) -> None:
    resources = dict_of(bundle.linux, "resources")
    resources.pop("pids", None)
    resources.update(CASES[case])
    ours = seen_by(paths.RUNTIME_BIN)
    differ = {}
    for peer in ("runc", "crun"):
        theirs = seen_by(systemd.peer(peer))
        names = {name for name in ours | theirs if ours.get(name) != theirs.get(name)} - set(NOT_ASKED[peer])
        table = DIFFERENT.get(peer, {})
        explained = table.get("", (set(), ""))[0] | table.get(case, (set(), ""))[0]
        if names != explained:
            differ[peer] = {name: (ours.get(name), theirs.get(name)) for name in sorted(names ^ explained)}
    assert differ == {}, f"(ours, theirs): {differ}"
