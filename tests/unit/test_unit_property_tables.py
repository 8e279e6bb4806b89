"""systemd properties for the files of a cgroup, and their defaults, as its man pages have them."""

from typing import Any

import pytest

from pyruntime.plan import resources, systemd, unit_properties


def test_properties_that_annotations_may_set() -> None:
    """systemd.unit(5), systemd.kill(5), systemd.scope(5): descriptions, and how the unit is stopped."""
    assert {*systemd.ANNOTATED} == {
        "After", "Before", "CollectMode", "DefaultDependencies", "Description", "Documentation", "FinalKillSignal",
        "KillSignal", "OOMPolicy", "SendSIGHUP", "SendSIGKILL", "RuntimeMaxUSec", "RuntimeRandomizedExtraUSec",
        "TimeoutStopUSec",
    }  # fmt: skip


# systemd.resource-control(5) and org.freedesktop.systemd1(5): file, text -> property, type and value.
NO_LIMIT = 2**64 - 1
PROPERTIES: list[tuple[str, str, Any]] = [
    ("memory.max", "4096", [("MemoryMax", "t", 4096)]),
    ("memory.max", "max", [("MemoryMax", "t", NO_LIMIT)]),
    ("memory.max", "1k", [("MemoryMax", "t", 1024)]),
    ("memory.max", "2M", [("MemoryMax", "t", 2 << 20)]),
    ("memory.max", "3g", [("MemoryMax", "t", 3 << 30)]),
    ("memory.max", "1T", [("MemoryMax", "t", 1 << 40)]),
    ("memory.max", str(2**64 - 2), [("MemoryMax", "t", 2**64 - 2)]),
    ("memory.high", "1", [("MemoryHigh", "t", 1)]),
    ("memory.low", "1", [("MemoryLow", "t", 1)]),
    ("memory.min", "1", [("MemoryMin", "t", 1)]),
    ("memory.swap.max", "1", [("MemorySwapMax", "t", 1)]),
    ("memory.oom.group", "1", [("OOMPolicy", "s", "kill")]),
    ("memory.oom.group", "0", [("OOMPolicy", "s", "continue")]),
    ("cpu.weight", "7", [("CPUWeight", "t", 7)]),
    ("cpu.idle", "1", [("CPUWeight", "t", 0)]),
    ("cpu.idle", "0", [("CPUWeight", "t", NO_LIMIT)]),
    ("cpu.max", "50000 100000", [("CPUQuotaPeriodUSec", "t", 100000), ("CPUQuotaPerSecUSec", "t", 500000)]),
    ("cpu.max", "50000", [("CPUQuotaPeriodUSec", "t", 100000), ("CPUQuotaPerSecUSec", "t", 500000)]),
    ("cpu.max", "max 50000", [("CPUQuotaPeriodUSec", "t", 50000), ("CPUQuotaPerSecUSec", "t", NO_LIMIT)]),
    ("cpu.max", "50001 100000", [("CPUQuotaPeriodUSec", "t", 100000), ("CPUQuotaPerSecUSec", "t", 510000)]),
    ("cpuset.cpus", "0-2,9", [("AllowedCPUs", "ay", b"\x07\x02")]),
    ("cpuset.cpus", "7", [("AllowedCPUs", "ay", b"\x80")]),
    ("cpuset.cpus", "8,,", [("AllowedCPUs", "ay", b"\x00\x01")]),
    ("cpuset.mems", "1", [("AllowedMemoryNodes", "ay", b"\x02")]),
    ("pids.max", "5", [("TasksMax", "t", 5)]),
    ("pids.max", "0", [("TasksMax", "t", 1)]),
    ("io.weight", "default 100", [("IOWeight", "t", 100)]),
    ("io.weight", "100", [("IOWeight", "t", 100)]),
    ("io.weight", "8:16 100", [("IODeviceWeight", "a(st)", [("/dev/block/8:16", 100)])]),
    ("io.max", "8:0 rbps=1 wbps=2 riops=3 wiops=max", [
        ("IOReadBandwidthMax", "a(st)", [("/dev/block/8:0", 1)]),
        ("IOWriteBandwidthMax", "a(st)", [("/dev/block/8:0", 2)]),
        ("IOReadIOPSMax", "a(st)", [("/dev/block/8:0", 3)]),
        ("IOWriteIOPSMax", "a(st)", [("/dev/block/8:0", NO_LIMIT)]),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("name, text, expected", PROPERTIES, ids=str)
def test_properties_of_units(name: str, text: str, expected: Any) -> None:
    found = unit_properties.of_writes([resources.Write("/p", name, f" {text}\n")])
    assert [(each.name, each.signature, each.value) for each in found] == expected
    assert all(each.derived and each.pointer == "/p" for each in found)


@pytest.mark.parametrize(
    "name, text",
    [
        ("memory.max", str(2**64 - 1)), ("memory.max", str(2**54) + "k"), ("memory.max", "1x"), ("memory.max", ""),
        ("memory.max", "-1"), ("memory.max", "\u0661"), ("cpu.max", "1 0"), ("cpu.max", "1 2 3"), ("cpu.max", ""),
        ("cpuset.cpus", "3-1"), ("cpuset.cpus", "65536"), ("cpuset.cpus", ""), ("cpuset.cpus", "1-"),
        ("io.weight", ""), ("io.weight", "8 100"), ("misc.max", "1"),
    ],
)  # fmt: skip
def test_texts_that_are_no_property(name: str, text: str) -> None:
    assert unit_properties.of_writes([resources.Write("/p", name, text)]) == []


# org.freedesktop.systemd1(5): what a property is that nobody has set.
DEFAULTS: dict[str, Any] = {
    "MemoryMax": NO_LIMIT, "MemoryHigh": NO_LIMIT, "MemoryLow": 0, "MemoryMin": 0, "MemorySwapMax": NO_LIMIT,
    "CPUWeight": NO_LIMIT, "CPUQuotaPeriodUSec": NO_LIMIT, "CPUQuotaPerSecUSec": NO_LIMIT, "AllowedCPUs": b"",
    "AllowedMemoryNodes": b"", "TasksMax": NO_LIMIT, "IOWeight": NO_LIMIT, "IODeviceWeight": [],
    "IOReadBandwidthMax": [], "IOWriteBandwidthMax": [], "IOReadIOPSMax": [], "IOWriteIOPSMax": [],
    "OOMPolicy": "continue",
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_of_properties(name: str) -> None:
    prop = unit_properties.Property(name, "x", 1, derived=True)
    (undo,) = unit_properties.before_update([prop, unit_properties.Property("Slice", "s", "x")], [])
    assert (undo.name, undo.signature, undo.value, undo.derived) == (name, "x", DEFAULTS[name], True)


REPRS = [(NO_LIMIT, "N=infinity"), (b"\x01\x02", "N=0x0201"), (True, "N=yes"), (False, "N=no"), (5, "N=5")]


@pytest.mark.parametrize("value, text", REPRS, ids=str)
def test_properties_as_text(value: Any, text: str) -> None:
    one = unit_properties.Property("N", "t", value)
    assert repr(one) == text
    assert repr(unit_properties.Properties([one, one])) == f"{{{text}, {text}}}"
    assert (one.pointer, one.derived) == ("", False)
