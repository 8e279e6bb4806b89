"""What a cgroup (version 2) has used, in the layout of runc's `events`, which engines read.

The layout is that of version 1: times in nanoseconds, swap counted together with memory, block I/O by operation. Values
that version 2 does not count, or whose controller is not enabled, are 0 or left out. Source: the kernel's
cgroup-v2.rst and accounting/psi.rst; runc's types/events.go.
"""

from __future__ import annotations

import errno
import posix

from .cgroup import GONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .cgroup import Cgroup

    Document = dict[str, Any]

NO_LIMIT = (1 << 64) - 1
"""The value that represents `max`."""
CPUSET_FIELDS = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"),
    *("memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)
"""Fields that only version 1 has."""
OPERATIONS = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}
"""Word of io.stat -> list of the document, operation."""


def statistics(group: Cgroup) -> Document:
    """Return the statistics of a cgroup; a missing controller yields empty parts, never an error."""
    return {
        "cpu": cpu(group),
        "cpuset": dict.fromkeys(CPUSET_FIELDS, 0),
        "memory": memory(group),
        "pids": pids(group),
        "blkio": block_io(group),
        "hugetlb": hugetlb(group),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def cpu(group: Cgroup) -> Document:
    """Return times in nanoseconds; cpu.stat exists without the controller too."""
    stat = keyed(read(group, "cpu.stat"))

    def nanoseconds(key: str) -> int:
        return stat.get(key, 0) * 1000

    return {
        "usage": {
            **given(total=nanoseconds("usage_usec")),
            "kernel": nanoseconds("system_usec"),
            "user": nanoseconds("user_usec"),
        },
        "throttling": given(
            periods=stat.get("nr_periods", 0),
            throttledPeriods=stat.get("nr_throttled", 0),
            throttledTime=nanoseconds("throttled_usec"),
        ),
        **pressure(group, "cpu.pressure"),
    }


def memory(group: Cgroup) -> Document:
    """Return bytes. `swap` is memory and swap together, as in version 1; failcnt: how often the limit was reached."""
    stat = keyed(read(group, "memory.stat"))
    main, swap = usage(group, "memory"), usage(group, "memory.swap")
    nothing = {"limit": 0, "failcnt": 0}
    main, together = main or nothing, nothing
    if swap is not None:
        limit = swap["limit"] if swap["limit"] == NO_LIMIT else swap["limit"] + main["limit"]
        together = {
            "limit": min(limit, NO_LIMIT),
            **given(usage=swap.get("usage", 0) + main.get("usage", 0)),
            "failcnt": swap["failcnt"],
        }
    return {
        **given(cache=stat.get("file", 0)),
        "usage": main,
        "swap": together,
        "kernel": nothing,
        "kernelTCP": nothing,
        **({"raw": stat} if stat else {}),
        **pressure(group, "memory.pressure"),
    }


def usage(group: Cgroup, kind: str) -> dict[str, int] | None:
    """Return usage and limit of a kind of memory, or None where it is not counted."""
    current = read(group, f"{kind}.current")
    if not current:
        return None
    return {
        "limit": number(read(group, f"{kind}.max")),
        **given(usage=number(current), max=number(read(group, f"{kind}.peak"))),
        "failcnt": keyed(read(group, f"{kind}.events")).get("max", 0),
    }


def pids(group: Cgroup) -> Document:
    """Return the number of tasks, and the limit if there is one; without the controller, count the own processes."""
    current = read(group, "pids.current")
    if not current:
        listed = read(group, "cgroup.procs") or read(group, "cgroup.threads")
        return given(current=listed.count("\n"))
    limit = number(read(group, "pids.max"))
    return given(current=number(current), limit=0 if limit == NO_LIMIT else limit)


def block_io(group: Cgroup) -> Document:
    """Return bytes and operations, read and written, of each block device."""
    found: Document = {}
    for line in read(group, "io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        if not (major.isdecimal() and minor.isdecimal()):
            continue
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in OPERATIONS:
                name, operation = OPERATIONS[key]
                numbers = given(major=int(major), minor=int(minor))
                found.setdefault(name, []).append({**numbers, "op": operation, **given(value=number(value))})
    return {**found, **pressure(group, "io.pressure")}


def hugetlb(group: Cgroup) -> Document:
    """Return bytes of huge pages in use, or reserved where the kernel counts that, by page size."""
    found = {}
    for size in page_sizes(group):
        name = f"hugetlb.{size}"
        current = read(group, f"{name}.rsvd.current") or read(group, f"{name}.current")
        found[size] = {**given(usage=number(current)), "failcnt": keyed(read(group, f"{name}.events")).get("max", 0)}
    return found


def page_sizes(group: Cgroup) -> list[str]:
    try:
        names = posix.listdir(group.path)
    except OSError as error:
        if error.errno in GONE:
            return []
        raise
    ends = ("hugetlb.", ".current")
    sizes = [
        name[len(ends[0]) : -len(ends[1])] for name in names if name.startswith(ends[0]) and name.endswith(ends[1])
    ]
    return sorted(size for size in sizes if "." not in size)


def pressure(group: Cgroup, name: str) -> Document:
    """Return {"psi": …} with shares in percent and totals in microseconds; {} where pressure is not measured."""
    found: Document = {}
    for line in read(group, name).splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        found[kind] = {key: int(value) if key == "total" else float(value) for key, value in values.items()}
    return {"psi": found} if found else {}


def read(group: Cgroup, name: str) -> str:
    """Return a file's text, "" when there is none, or when it can't be read: pressure that was switched off at boot."""
    try:
        return group.read(name) or ""
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return ""


def keyed(text: str) -> dict[str, int]:
    """Parse a flat keyed file, such as memory.stat, into numbers."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: number(pair[1]) for pair in pairs if len(pair) == 2}


def number(text: str) -> int:
    """Parse a value of a cgroup file: "max" is NO_LIMIT; a missing value, or one below 0 by a kernel bug, is 0."""
    text = text.strip()
    if text == "max":
        return NO_LIMIT
    return int(text) if text.isdecimal() else 0


def given(**values: int) -> dict[str, int]:
    """Return the values that are not 0; runc leaves the others out too."""
    return {key: value for key, value in values.items() if value}
