"""Debian's runc and crun beside pyruntime in the same boot: the same config gives the same files in the cgroup.

Where it does not, the difference is in DIFFERENT with its reason (told in docs/status.md too); a difference that is
listed and not there fails as well.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import leaks, paths, session
from support.bundle import Bundle, dict_of
from support.cgroup import cgroup_of
from support.runtime import Container, Runtime, new_id

MIB = 1 << 20
PEERS = ("runc", "crun")
LEFT_OUT = ("cgroup.procs", "cgroup.threads", "cgroup.kill", "memory.reclaim")
"""Files that can be written and hold no setting."""

CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "memory": {"memory": {"limit": 64 * MIB}},
    "memory, odd number": {"memory": {"limit": 64 * MIB + 4097}},
    "memory and swap": {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
    "memory without swap": {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
    "memory, unlimited swap": {"memory": {"limit": 64 * MIB, "swap": -1}},
    "unlimited memory": {"memory": {"limit": -1}},
    "unlimited memory and swap": {"memory": {"limit": -1, "swap": -1}},
    "reservation": {"memory": {"reservation": 32 * MIB}},
    "memory, reservation and swap": {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB}},
    "shares 2": {"cpu": {"shares": 2}},
    "shares 512": {"cpu": {"shares": 512}},
    "shares 1024": {"cpu": {"shares": 1024}},
    "shares 262144": {"cpu": {"shares": 262144}},
    "quota": {"cpu": {"quota": 50000}},
    "quota and period": {"cpu": {"quota": 25000, "period": 50000}},
    "period": {"cpu": {"period": 50000}},
    "unlimited quota": {"cpu": {"quota": -1, "period": 100000}},
    "burst": {"cpu": {"quota": 50000, "period": 100000, "burst": 10000}},
    "idle": {"cpu": {"idle": 1}},
    "cpus": {"cpu": {"cpus": "0"}},
    "cpus and mems": {"cpu": {"cpus": "0-1", "mems": "0"}},
    "pids": {"pids": {"limit": 20}},
    "unlimited pids": {"pids": {"limit": -1}},
    "no pids": {"pids": {"limit": 0}},
    "block weight": {"blockIO": {"weight": 500}},
    "least block weight": {"blockIO": {"weight": 10}},
    "throttles": {"blockIO": {"throttleReadBpsDevice": [MIB], "throttleWriteIOPSDevice": [200]}},
    "huge pages": {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
    "unified": {"unified": {"memory.high": str(48 * MIB), "pids.max": "30", "cpu.weight": "50"}},
    "what Docker sends": {
        "memory": {"limit": 128 * MIB, "swap": 256 * MIB, "disableOOMKiller": False},
        "cpu": {"quota": 50000, "period": 100000, "cpus": "0"}, "pids": {"limit": 20}, "blockIO": {"weight": 0},
    },
    "what Kubernetes sends": {
        "memory": {"limit": 128 * MIB}, "cpu": {"shares": 256, "quota": 50000, "period": 100000},
        "unified": {"memory.oom.group": "1"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
    },
}  # fmt: skip

WEIGHT = ("cpu.weight", "cpu.weight.nice")
RESERVED = "hugetlb.2MB.rsvd.max"
FORMULA = "shares to weight: the line of 2020 in place of the curve that runc 1.3.2 and crun 1.23 have come to"
UNKNOWN = "the field is newer than this version"
DIFFERENT: dict[str, dict[str, tuple[set[str], str]]] = {
    "runc": {
        "shares 512": ({*WEIGHT}, FORMULA),
        "shares 1024": ({*WEIGHT}, FORMULA),
        "what Kubernetes sends": ({*WEIGHT, RESERVED}, f"{FORMULA}; {UNKNOWN}"),
        "burst": ({"cpu.max.burst"}, UNKNOWN),
        "idle": ({"cpu.idle", *WEIGHT}, UNKNOWN),
        "huge pages": ({RESERVED}, UNKNOWN),
    },
    "crun": {
        "shares 512": ({*WEIGHT}, FORMULA),
        "shares 1024": ({*WEIGHT}, FORMULA),
        "what Kubernetes sends": ({*WEIGHT, RESERVED}, f"{FORMULA}; {UNKNOWN}"),
        "burst": ({"cpu.max.burst"}, UNKNOWN),
        "huge pages": ({RESERVED}, UNKNOWN),
    },
}
"""Peer -> case -> the files that differ, and why."""


def settings(group: Path) -> dict[str, str]:
    """Return the files of a cgroup that hold settings."""
    found = {}
    for file in group.iterdir():
        is_setting = file.is_file() and file.stat().st_mode & 0o600 == 0o600 and not file.name.endswith(".pressure")
        if is_setting and file.name not in LEFT_OUT:
            found[file.name] = file.read_text()
    return found | {"cgroup.controllers": (group / "cgroup.controllers").read_text()}


def with_numbers(resources: dict[str, Any]) -> dict[str, Any]:
    """Return the resources with the scratch disk's numbers where a throttle stands."""
    device = Path("/dev/vdc").stat().st_rdev
    numbers = {"major": device >> 8 & 0xFFF, "minor": device & 0xFF}
    throttles = {
        name: [{**numbers, "rate": rate} for rate in value] if isinstance(value, list) else value
        for name, value in resources.get("blockIO", {}).items()
    }
    return {**resources, "blockIO": throttles} if throttles else resources


@pytest.fixture
def settings_by(workdir: Path, bundle: Bundle) -> Iterator[Callable[[str, str], dict[str, str]]]:
    """A function that creates a container with a runtime and returns its cgroup's settings."""
    made: list[tuple[Runtime, Container]] = []

    def create(binary: str, config_version: str) -> dict[str, str]:
        runtime = Runtime(workdir / f"root-{len(made)}", binary)
        bundle.config["ociVersion"] = config_version
        name = new_id("side")
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-side/{name}"
        box = Container(runtime, bundle.save(), name)
        made.append((runtime, box))
        box.create()
        found = settings(cgroup_of(box.pid))
        box.delete("--force")
        return found

    yield create
    for runtime, box in made:
        runtime.run("delete", "--force", box.id)
        box.close()
    leaks.remove_cgroup(session.CGROUP_ROOT / f"{session.TOKEN}-side")


@pytest.mark.parametrize("case", CASES)
def test_the_same_files(case: str, bundle: Bundle, settings_by: Callable[[str, str], dict[str, str]]) -> None:
    resources = dict_of(bundle.linux, "resources")
    resources.pop("pids", None)
    resources.update(with_numbers(CASES[case]))
    ours = settings_by(paths.RUNTIME_BIN, "1.0.2")
    differ = {}
    for peer in PEERS:
        theirs = settings_by(paths.system_command(peer) or peer, "1.0.2")
        files = {name for name in ours | theirs if ours.get(name) != theirs.get(name)}
        explained = DIFFERENT.get(peer, {}).get(case, (set(), ""))[0]
        if files != explained:
            differ[peer] = {name: (ours.get(name), theirs.get(name)) for name in sorted(files ^ explained)}
    assert differ == {}, "file: (ours, theirs)"
