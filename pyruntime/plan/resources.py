"""`linux.resources` for cgroup v2: which text to write to which file, and the controllers that this needs.

A requested resource that can't be set is an error that names it. Zero values, which engines send for "not set", are
ignored. Source: runtime-spec config-linux.md "Control groups"; the kernel's cgroup-v2.rst.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..spec.linux import escaped
from ..step import HOST, Slot, Step
from .cgroup import controller_steps, owner_steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host, Place

BASE = "/linux/resources"
PERIOD = 100000
"""The kernel's default period in cpu.max, in microseconds."""


class Write:
    """A text to write to a file of the cgroup.

    pointer: the part of the config that asks for it. optional: a kernel without the file already behaves as the text
    asks. instead: a file and its text, to write instead if that file exists.
    """

    __slots__ = ("instead", "name", "optional", "pointer", "text")

    def __init__(
        self, pointer: str, name: str, text: str, *, optional: bool = False, instead: tuple[str, str] | None = None
    ) -> None:
        self.pointer = pointer
        self.name = name
        self.text = text
        self.optional = optional
        self.instead = instead

    def step(self, cgroup_path: str) -> Step:
        """Return the step that writes it to the cgroup of slot "cgroup"."""
        hint = f"cgroup {cgroup_path}"
        group = Slot("cgroup")
        if self.instead is not None:
            return Step(HOST, self.pointer, "write_first_at", group, *self.instead, self.name, self.text, hint=hint)
        ignore = ("ENOENT",) if self.optional else ()
        return Step(HOST, self.pointer, "write_at", group, self.name, self.text, ignore=ignore, hint=hint)


def resource_steps(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """Return the steps that enable the controllers and write the limits to the cgroup of slot "cgroup"."""
    writes = config_writes(config)
    return [
        *controller_steps(needed_controllers(writes), place),
        *owner_steps(config, host),
        *(write.step(place.path) for write in writes if not keeps_out_init(write, host)),
    ]


def late_resource_steps(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """Host, after clone3: set the limits that would have kept init from being created in the cgroup."""
    return [write.step(place.path) for write in config_writes(config) if keeps_out_init(write, host)]


def config_writes(config: dict[str, Any]) -> list[Write]:
    given = (config.get("linux") or {}).get("resources") or {}
    return resource_writes(by_version(given, config.get("ociVersion", "")))


def by_version(resources: dict[str, Any], version: str) -> dict[str, Any]:
    """Translate resources from their version of the spec to 1.3.

    Before 1.3 a limit of 0 tasks meant no limit: Go callers could not omit the number, and Podman 4's Docker-compatible
    API sends it.
    """
    limit = (resources.get("pids") or {}).get("limit")
    parts = version.split(".")
    if limit != 0 or not (len(parts) > 1 and parts[0].isdecimal() and parts[1].isdecimal()):
        return resources
    return resources if (int(parts[0]), int(parts[1])) >= (1, 3) else {**resources, "pids": {"limit": -1}}


def keeps_out_init(write: Write, host: Host) -> bool:
    """Return whether a write is the limit of 0 tasks: a valid one, which forbids every further fork.

    If init creates another process to take its place, a limit of 1 task would keep that out too.
    """
    return write.name == "pids.max" and write.text in (("0", "1") if "pid" in host.namespaces.joined else ("0",))


def needed_controllers(writes: list[Write]) -> dict[str, str]:
    """Return the controllers whose files are written, each with the first JSON pointer that asks for it."""
    needed: dict[str, str] = {}
    for write in writes:
        controller = write.name.partition(".")[0]
        if controller != "cgroup" and not write.optional:
            needed.setdefault(controller, write.pointer)
    return needed


def resource_writes(resources: dict[str, Any]) -> list[Write]:
    """Return the writes for a resources object; raise InvalidConfig for what cgroup v2 does not support."""
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
    """limit, reservation and swap in bytes; the config's swap is memory plus swap, as in cgroup v1."""
    refuse(group, "memory", ("kernel", "kernelTCP", "swappiness", "disableOOMKiller"), "cgroup v2 has no such control")
    at = f"{BASE}/memory"
    writes = []
    limit = group.get("limit") or 0
    if limit:
        writes.append(Write(f"{at}/limit", "memory.max", limit_text(limit)))
    if group.get("reservation"):
        writes.append(Write(f"{at}/reservation", "memory.low", limit_text(group["reservation"])))
    swap = swap_text(group.get("swap") or 0, limit, f"{at}/swap")
    if swap:
        # Without swap accounting there is no swapping beyond a limit, so there is nothing to forbid.
        writes.append(Write(f"{at}/swap", "memory.swap.max", swap, optional=swap in ("0", "max")))
    return writes


def swap_text(swap: int, limit: int, pointer: str) -> str:
    """Convert a swap value of cgroup v1, which is memory plus swap, to memory.swap.max, swap alone; "" for not set.

    Unlimited memory has unlimited swap by default; a swap limit is then used as it is.
    """
    if swap < 0 or (swap == 0 and limit < 0):
        return "max"
    if swap == 0:
        return ""
    if limit < 0:
        return str(swap)
    if limit == 0:
        raise InvalidConfig(f"swap {swap} is memory plus swap and needs a memory limit", pointer=pointer)
    if swap < limit:
        raise InvalidConfig(f"swap {swap} is memory plus swap and below the limit {limit}", pointer=pointer)
    return str(swap - limit)


def weight_of_shares(shares: int) -> int:
    """Return cpu.weight (1..10000) for cpu.shares (2..262144), so that 1024 becomes 100 and the extremes match.

    The curve is quadratic in log2: the formula with which runc and crun replaced the linear one in 2025.
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
    refuse(group, "cpu", ("realtimeRuntime", "realtimePeriod"), "cgroup v2 has no realtime control")
    at = f"{BASE}/cpu"
    writes = []
    if group.get("shares"):
        writes.append(Write(f"{at}/shares", "cpu.weight", str(weight_of_shares(group["shares"]))))
    quota, period = group.get("quota") or 0, group.get("period") or 0
    if quota or period:
        text = "max" if quota <= 0 else str(quota)
        writes.append(Write(f"{at}/{'quota' if quota else 'period'}", "cpu.max", f"{text} {period or PERIOD}"))
    # After the quota, which a burst must not exceed, and after the weight, which an idle cgroup does not accept.
    for key, name in (("burst", "cpu.max.burst"), ("idle", "cpu.idle")):
        if group.get(key) is not None:
            writes.append(Write(f"{at}/{key}", name, str(group[key])))
    return writes + [Write(f"{at}/{key}", f"cpuset.{key}", group[key]) for key in ("cpus", "mems") if group.get(key)]


def pids(group: dict[str, Any]) -> list[Write]:
    """The limit of tasks; 0 is a limit, -1 means none (config-linux.md since 1.3; before: by_version)."""
    if group.get("limit") is None:
        return []
    text = limit_text(group["limit"])
    return [Write(f"{BASE}/pids/limit", "pids.max", text, optional=text == "max")]


THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def io_weight(weight: int) -> int:
    """Return io.weight (1..10000) for the weight of cgroup v1 (10..1000)."""
    return 1 + (weight - 10) * 9999 // 990


def weight_write(pointer: str, of: str, weight: int) -> Write:
    """Return the write of a weight: unchanged to BFQ if available, else converted to the io controller."""
    return Write(pointer, "io.weight", f"{of} {io_weight(weight)}", instead=("io.bfq.weight", f"{of} {weight}"))


def block_io(group: dict[str, Any]) -> list[Write]:
    """weight, weightDevice and the throttles (bytes or operations per second)."""
    leaf = "cgroup v2 has no leaf weights"
    refuse(group, "blockIO", ("leafWeight",), leaf)
    at = f"{BASE}/blockIO"
    writes = []
    if group.get("weight"):
        writes.append(weight_write(f"{at}/weight", "default", group["weight"]))
    for index, device in enumerate(group.get("weightDevice") or ()):
        refuse(device, f"blockIO/weightDevice/{index}", ("leafWeight",), leaf)
        if device.get("weight"):
            of = f"{device['major']}:{device['minor']}"
            writes.append(weight_write(f"{at}/weightDevice/{index}/weight", of, device["weight"]))
    for name, key in THROTTLES:
        for index, device in enumerate(group.get(name) or ()):
            text = f"{device['major']}:{device['minor']} {key}={device.get('rate') or 'max'}"
            writes.append(Write(f"{at}/{name}/{index}", "io.max", text))
    return writes


def hugetlb(limits: Any) -> list[Write]:
    """Bytes of huge pages of each size, for usage and (since Linux 5.7) for reservation."""
    return [
        Write(
            f"{BASE}/hugepageLimits/{index}",
            f"hugetlb.{entry['pageSize']}.{kind}",
            str(entry["limit"]),
            optional=kind == "rsvd.max",
        )
        for index, entry in enumerate(limits)
        for kind in ("max", "rsvd.max")
    ]


def rdma(devices: dict[str, Any]) -> list[Write]:
    """Handles and objects of each RDMA device."""
    writes = []
    for name, limits in devices.items():
        words = [name]
        words += [
            f"{word}={limits[key]}"
            for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if limits.get(key) is not None
        ]
        writes.append(Write(f"{BASE}/rdma/{escaped(name)}", "rdma.max", " ".join(words)))
    return writes


def network(group: dict[str, Any]) -> list[Write]:
    """classID and priorities exist only in cgroup v1."""
    refuse(group, "network", ("classID", "priorities"), "net_cls and net_prio exist only in cgroup v1")
    return []


def unified(files: dict[str, str]) -> list[Write]:
    """Any controller's file in the cgroup, by name; spec.linux.check_resources and the write itself reject others."""
    writes = []
    for name, text in files.items():
        if "/" in name or "." not in name or name.startswith("cgroup."):
            raise InvalidConfig(f"{name!r} is not the name of a cgroup file", pointer=f"{BASE}/unified")
        writes.append(Write(f"{BASE}/unified/{escaped(name)}", name, text))
    return writes
