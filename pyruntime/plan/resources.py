"""`linux.resources` for cgroup v2: which file gets which text, and which controllers that needs.

A resource that is asked for and can't be set is an error that names it. Zero values that engines send for "not set"
ask for nothing. Source: runtime-spec config-linux.md "Control groups"; the kernel's cgroup-v2.rst.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..step import HOST, Slot, Step
from .facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Write = tuple[str, str, str]
    """JSON pointer, file of the cgroup, text."""

BASE = "/linux/resources"
PERIOD = 100000
"""The kernel's default cpu.max period, microseconds."""


def resource_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Return the steps that enable the controllers and write the limits into the cgroup of slot "cgroup"."""
    resources = (config.get("linux") or {}).get("resources") or {}
    writes = resource_writes(resources)
    if not writes:
        return []
    return [
        *controller_steps(writes, facts),
        *(
            Step(
                HOST,
                pointer,
                "write_at",
                Slot("cgroup"),
                name,
                text,
                hint=f"cgroup {facts.cgroup_path}",
            )
            for pointer, name, text in writes
        ),
    ]


def controller_steps(writes: list[Write], facts: Facts) -> list[Step]:
    """Enable what the writes need, from the root of the mount down to the container's parent."""
    needed: dict[str, str] = {}
    for pointer, name, _ in writes:
        controller = name.partition(".")[0]
        if controller != "cgroup":
            needed.setdefault(controller, pointer)
    for controller, pointer in needed.items():
        if controller not in facts.cgroup_controllers:
            has = ", ".join(facts.cgroup_controllers) or "none"
            raise InvalidConfig(
                f"the cgroup controller {controller} is not available in {facts.cgroup_mount} (there: {has})",
                pointer=pointer,
            )
    steps = []
    parent = str(facts.cgroup_mount)
    for part in facts.cgroup_path.split("/")[1:]:
        steps += [
            Step(
                HOST,
                pointer,
                "write_file",
                f"{parent}/cgroup.subtree_control",
                f"+{controller}",
            )
            for controller, pointer in needed.items()
        ]
        parent += f"/{part}"
    return steps


def resource_writes(resources: dict[str, Any]) -> list[Write]:
    """Return what to write for a resources object; raise InvalidConfig for what version 2 can't do."""
    return [
        *memory(resources.get("memory") or {}),
        *cpu(resources.get("cpu") or {}),
        *pids(resources.get("pids") or {}),
        *block_io(resources.get("blockIO") or {}),
        *hugetlb(resources.get("hugepageLimits") or ()),
        *rdma(resources.get("rdma") or {}),
        *network(resources.get("network") or {}),
        *unified(resources.get("unified") or {}),
    ]


def refuse(group: dict[str, Any], where: str, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if group.get(name):
            raise InvalidConfig(f"{name} {group[name]!r}: {why}", pointer=f"{BASE}/{where}/{name}")


def limit_text(value: int) -> str:
    return "max" if value < 0 else str(value)


def memory(group: dict[str, Any]) -> list[Write]:
    """limit, reservation and swap in bytes; config's swap is memory plus swap, as in version 1."""
    refuse(
        group,
        "memory",
        ("kernel", "kernelTCP", "swappiness", "disableOOMKiller"),
        "cgroup v2 has no such control",
    )
    writes = []
    limit, swap = group.get("limit") or 0, group.get("swap") or 0
    if limit:
        writes.append((f"{BASE}/memory/limit", "memory.max", limit_text(limit)))
    if group.get("reservation"):
        writes.append(
            (
                f"{BASE}/memory/reservation",
                "memory.low",
                limit_text(group["reservation"]),
            )
        )
    if swap:
        pointer = f"{BASE}/memory/swap"
        if swap > 0 and limit <= 0:
            raise InvalidConfig(
                f"swap {swap} is memory plus swap and needs a memory limit",
                pointer=pointer,
            )
        if 0 < swap < limit:
            raise InvalidConfig(
                f"swap {swap} is memory plus swap and below the limit {limit}",
                pointer=pointer,
            )
        writes.append((pointer, "memory.swap.max", "max" if swap < 0 else str(swap - limit)))
    return writes


def weight_of_shares(shares: int) -> int:
    """Return cpu.weight (1..10000) for cpu.shares (2..262144), so that 1024 becomes 100 and both ends meet.

    The curve is quadratic in log2: the formula that runc and crun agreed on in 2025 in place of the linear one.
    """
    from math import ceil, log2

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    level = log2(shares)
    return ceil(10 ** ((level * level + 125 * level) / 612.0 - 7.0 / 34.0))


def cpu(group: dict[str, Any]) -> list[Write]:
    """shares, quota, period and burst (microseconds), idle, cpus, mems."""
    refuse(
        group,
        "cpu",
        ("realtimeRuntime", "realtimePeriod"),
        "cgroup v2 has no realtime control",
    )
    writes = []
    if group.get("shares"):
        writes.append((f"{BASE}/cpu/shares", "cpu.weight", str(weight_of_shares(group["shares"]))))
    quota, period = group.get("quota") or 0, group.get("period") or 0
    if quota or period:
        text = "max" if quota <= 0 else str(quota)
        name = "quota" if quota else "period"
        writes.append((f"{BASE}/cpu/{name}", "cpu.max", f"{text} {period or PERIOD}"))
    if group.get("burst"):
        writes.append((f"{BASE}/cpu/burst", "cpu.max.burst", str(group["burst"])))
    if group.get("idle"):
        writes.append((f"{BASE}/cpu/idle", "cpu.idle", str(group["idle"])))
    writes += [(f"{BASE}/cpu/{name}", f"cpuset.{name}", group[name]) for name in ("cpus", "mems") if group.get(name)]
    return writes


def pids(group: dict[str, Any]) -> list[Write]:
    """The limit of tasks; 0 is a limit, -1 is none (config-linux.md since 1.3)."""
    if group.get("limit") is None:
        return []
    return [(f"{BASE}/pids/limit", "pids.max", limit_text(group["limit"]))]


THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def io_weight(weight: int) -> int:
    """Return io.weight (1..10000) for the weight of version 1 (10..1000)."""
    return 1 + (weight - 10) * 9999 // 990


def block_io(group: dict[str, Any]) -> list[Write]:
    """weight, weightDevice and the throttles (bytes or operations per second)."""
    refuse(group, "blockIO", ("leafWeight",), "cgroup v2 has no leaf weights")
    writes = []
    if group.get("weight"):
        writes.append(
            (
                f"{BASE}/blockIO/weight",
                "io.weight",
                f"default {io_weight(group['weight'])}",
            )
        )
    for index, device in enumerate(group.get("weightDevice") or ()):
        pointer = f"{BASE}/blockIO/weightDevice/{index}"
        refuse(
            device,
            f"blockIO/weightDevice/{index}",
            ("leafWeight",),
            "cgroup v2 has no leaf weights",
        )
        if device.get("weight"):
            text = f"{device['major']}:{device['minor']} {io_weight(device['weight'])}"
            writes.append((f"{pointer}/weight", "io.weight", text))
    for name, key in THROTTLES:
        for index, device in enumerate(group.get(name) or ()):
            text = f"{device['major']}:{device['minor']} {key}={device.get('rate') or 'max'}"
            writes.append((f"{BASE}/blockIO/{name}/{index}", "io.max", text))
    return writes


def hugetlb(limits: Any) -> list[Write]:
    """Bytes of huge pages of each size, for use and for reservation."""
    return [
        (f"{BASE}/hugepageLimits/{index}", f"hugetlb.{entry['pageSize']}.{kind}", str(entry["limit"]))
        for index, entry in enumerate(limits)
        for kind in ("max", "rsvd.max")
    ]


def rdma(devices: dict[str, Any]) -> list[Write]:
    writes = []
    for name, limits in devices.items():
        words = [name]
        words += [
            f"{word}={limits[key]}"
            for key, word in (
                ("hcaHandles", "hca_handle"),
                ("hcaObjects", "hca_object"),
            )
            if limits.get(key) is not None
        ]
        writes.append((f"{BASE}/rdma/{name}", "rdma.max", " ".join(words)))
    return writes


def network(group: dict[str, Any]) -> list[Write]:
    """classID and priorities exist only in version 1."""
    refuse(
        group,
        "network",
        ("classID", "priorities"),
        "net_cls and net_prio exist only in cgroup v1",
    )
    return []


def unified(files: dict[str, str]) -> list[Write]:
    """Any file of the cgroup by name."""
    writes = []
    for name, text in files.items():
        if "/" in name or "." not in name:
            raise InvalidConfig(f"{name!r} is not the name of a cgroup file", pointer=f"{BASE}/unified")
        writes.append((f"{BASE}/unified/{name}", name, text))
    return writes
