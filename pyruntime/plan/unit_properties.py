"""Limits as properties of a systemd unit: translates what is written to the cgroup's files into systemd's terms.

There is one table, from files of cgroup v2 to properties, which `resources`, `unified` and `update` all use. A file
without a property is only written; so is a text that can't be parsed here (from `unified`), which the kernel rejects
with a better error. Source: systemd.resource-control(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

from . import device_filter, resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .resources import Write

INFINITY = (1 << 64) - 1
SECOND = 1000000
"""Microseconds."""
PERCENT = SECOND // 100
SUFFIXES = {"k": 10, "m": 20, "g": 30, "t": 40}
"""The powers of two for the suffixes that the kernel accepts after a number of bytes."""
MAX_BIT = 1 << 16
"""No machine has more processors or nodes: a larger number is a mistake, which the kernel rejects."""


class Property:
    """A property of a unit. signature: the D-Bus type of its value. pointer: the part of the config that asked for it.

    derived: the limit is written to the cgroup as well, so it does not matter if systemd is too old to know it.
    """

    __slots__ = ("derived", "name", "pointer", "signature", "value")

    def __init__(self, name: str, signature: str, value: Any, pointer: str = "", *, derived: bool = False) -> None:
        self.name = name
        self.signature = signature
        self.value = value
        self.pointer = pointer
        self.derived = derived

    def __repr__(self) -> str:
        if self.value == INFINITY:
            return f"{self.name}=infinity"
        if isinstance(self.value, bytes):
            return f"{self.name}=0x{self.value[::-1].hex()}"
        if isinstance(self.value, bool):
            return f"{self.name}={'yes' if self.value else 'no'}"
        return f"{self.name}={self.value}"


class Properties:
    """Properties of one unit, in order. The repr shows all of them."""

    __slots__ = ("members",)

    def __init__(self, members: list[Property]) -> None:
        self.members = members

    def __iter__(self) -> Iterator[Property]:
        return iter(self.members)

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self.members))}}}"


def of_resources(config: dict[str, Any], writes: Iterable[Write]) -> list[Property]:
    """Return the properties for a container's limits and devices."""
    rules = ((config.get("linux") or {}).get("resources") or {}).get("devices") or ()
    return [*of_writes(writes), *of_devices(rules)]


def of_writes(writes: Iterable[Write]) -> list[Property]:
    """Return the properties equivalent to the writes; of two for the same one the later wins, as in the files."""
    found: dict[str, Property] = {}
    for write in writes:
        convert = FILES.get(write.name)
        try:
            made = convert(write.text.strip()) if convert is not None else []
        except ValueError:
            continue
        for name, signature, value in made:
            if name in found and write.name == "cpu.idle" and value == INFINITY:
                continue
            if signature == "a(st)" and name in found:
                value = found[name].value + value
            found.pop(name, None)
            found[name] = Property(name, signature, value, write.pointer, derived=True)
    return list(found.values())


def before_update(new: Iterable[Property], current: Iterable[Write]) -> list[Property]:
    """Return the properties that undo an update. current: the writes of all limits that were in force."""
    old = {each.name: each for each in of_writes(current)}
    return [
        old.get(each.name) or Property(each.name, each.signature, DEFAULTS.get(each.name, INFINITY), derived=True)
        for each in new
        if each.derived
    ]


def rounded(writes: list[Write]) -> list[Write]:
    """Return the writes with cpu.max as systemd will write it: quotas in whole percent, no period without a quota."""
    return [
        resources.Write(write.pointer, write.name, whole_percents(write.text)) if write.name == "cpu.max" else write
        for write in writes
    ]


def whole_percents(text: str) -> str:
    try:
        quota, period = quota_of(text)
    except ValueError:
        return text
    if quota is None:
        return f"max {resources.PERIOD}"
    return f"{per_second(quota, period) * period // SECOND} {period}"


def quota_of(text: str) -> tuple[int | None, int]:
    """Return the quota and period of a cpu.max in microseconds; None for no quota. Raises ValueError."""
    words = text.split()
    if len(words) not in (1, 2):
        raise ValueError(text)
    period = number(words[1]) if len(words) == 2 else resources.PERIOD
    if period == 0:
        raise ValueError(text)
    return (None if words[0] == "max" else number(words[0])), period


def per_second(quota: int, period: int) -> int:
    """Return the microseconds of CPU time per second, rounded up to a whole percent."""
    return -(-quota * SECOND // (period * PERCENT)) * PERCENT


def number(text: str) -> int:
    """Parse an unsigned number. Raises ValueError."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    value = int(text)
    if value >= INFINITY:
        raise ValueError(text)
    return value


def limit(text: str) -> int:
    """Parse a limit: bytes with the kernel's suffixes, a count, or infinity for `max`. Raises ValueError."""
    if text == "max":
        return INFINITY
    shift = SUFFIXES.get(text[-1:].lower(), 0)
    value = number(text[:-1] if shift else text) << shift
    if value >= INFINITY:
        raise ValueError(text)
    return value


def bits(text: str) -> bytes:
    """Convert a list of processors or nodes (`0-3,8`) to a bit mask, lowest byte first. Raises ValueError."""
    mask = 0
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first and not dash:
            continue
        low, high = number(first), number(last if dash else first)
        if low > high or high >= MAX_BIT:
            raise ValueError(text)
        mask |= ((1 << (high - low + 1)) - 1) << low
    if not mask:
        raise ValueError(text)
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def one(name: str) -> Any:
    """Return the conversion for a file with a single limit."""
    return lambda text: [(name, "t", limit(text))]


def cpu_max(text: str) -> list[Any]:
    quota, period = quota_of(text)
    share = INFINITY if quota is None else per_second(quota, period)
    return [("CPUQuotaPeriodUSec", "t", period), ("CPUQuotaPerSecUSec", "t", share)]


def tasks_max(text: str) -> list[Any]:
    """systemd has no limit of 0; with init inside, 1 is equally strict."""
    return [("TasksMax", "t", max(limit(text), 1))]


def cpu_idle(text: str) -> list[Any]:
    """systemd represents idle by the weight 0; otherwise another file sets the weight, if any."""
    return [("CPUWeight", "t", 0 if number(text) else INFINITY)]


def oom_group(text: str) -> list[Any]:
    return [("OOMPolicy", "s", "kill" if number(text) else "continue")]


def block_device(numbers: str) -> str:
    major, _, minor = numbers.partition(":")
    return f"/dev/block/{number(major)}:{number(minor)}"


def io_weight(text: str) -> list[Any]:
    """`default N` or `N` for all devices, `MAJOR:MINOR N` for one."""
    words = text.split()
    if len(words) == 2 and words[0] != "default":
        return [("IODeviceWeight", "a(st)", [(block_device(words[0]), number(words[1]))])]
    return [("IOWeight", "t", number(words[-1] if words else ""))]


IO_MAX = {
    "rbps": "IOReadBandwidthMax",
    "wbps": "IOWriteBandwidthMax",
    "riops": "IOReadIOPSMax",
    "wiops": "IOWriteIOPSMax",
}


def io_max(text: str) -> list[Any]:
    device, *settings = text.split()
    found = []
    for setting in settings:
        key, _, value = setting.partition("=")
        if key in IO_MAX:
            found.append((IO_MAX[key], "a(st)", [(block_device(device), limit(value))]))
    return found


FILES: dict[str, Any] = {
    "memory.max": one("MemoryMax"),
    "memory.high": one("MemoryHigh"),
    "memory.low": one("MemoryLow"),
    "memory.min": one("MemoryMin"),
    "memory.swap.max": one("MemorySwapMax"),
    "memory.oom.group": oom_group,
    "cpu.weight": lambda text: [("CPUWeight", "t", number(text))],
    "cpu.idle": cpu_idle,
    "cpu.max": cpu_max,
    "cpuset.cpus": lambda text: [("AllowedCPUs", "ay", bits(text))],
    "cpuset.mems": lambda text: [("AllowedMemoryNodes", "ay", bits(text))],
    "pids.max": tasks_max,
    "io.weight": io_weight,
    "io.max": io_max,
}
"""File of the cgroup -> function from its text to (property, signature, value)."""

DEFAULTS: dict[str, Any] = {
    "MemoryLow": 0, "MemoryMin": 0, "AllowedCPUs": b"", "AllowedMemoryNodes": b"", "IODeviceWeight": [],
    **{name: [] for name in IO_MAX.values()}, "OOMPolicy": "continue",
}  # fmt: skip
"""The defaults of properties; those not listed are infinite or, like weights, not set."""

CLASS = {"c": "char", "b": "block"}


def of_devices(rules: Any) -> list[Property]:
    """Return DevicePolicy and DeviceAllow for the config's rules.

    systemd has its own filter besides ours, and both must allow an access. Its filter is a list of allowed devices,
    which contains everything that ours allows; where it can't express the rules (all devices but some, any major number
    with one minor number) it allows more, and ours, which a daemon-reload does not touch, decides.
    """
    pointer = f"{resources.BASE}/devices"
    allowed = device_filter.allowed(rules)
    if allowed is None:
        policy, entries = "auto", []
    else:
        policy, merged = "strict", dict[str, int]()
        for (kind, major, minor), access in allowed.items():
            node = device_node(kind, major, minor)
            merged[node] = merged.get(node, 0) | access
        entries = [(node, access_text(access)) for node, access in merged.items()]
    reset = [Property("DeviceAllow", "a(ss)", [], pointer)]
    listed = [Property("DeviceAllow", "a(ss)", entries, pointer)] if entries else []
    return [*reset, Property("DevicePolicy", "s", policy, pointer), *listed]


def device_node(kind: str, major: int | None, minor: int | None) -> str:
    if major is None:
        return f"{CLASS[kind]}-*"
    if minor is None:
        return f"{CLASS[kind]}-{major}"
    return f"/dev/{CLASS[kind]}/{major}:{minor}"


def access_text(access: int) -> str:
    return "".join(letter for letter in "rwm" if access & device_filter.ACCESS[letter])
