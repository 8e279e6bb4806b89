"""Statistics from recorded files of a cgroup, in the layout of runc's types/events.go."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from pyruntime.commands import events
from pyruntime.container import stats
from pyruntime.container.cgroup import Cgroup
from pyruntime.errors import UsageFailure
from pyruntime.spec.jsontext import dumps

NO_LIMIT = 18446744073709551615
FILES = {
    "cpu.stat": "usage_usec 2500\nuser_usec 1500\nsystem_usec 1000\nnice_usec 0\ncore_sched.force_idle_usec 0\n"
    "nr_periods 7\nnr_throttled 3\nthrottled_usec 90\nnr_bursts 0\nburst_usec 0\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    "memory.stat": "anon 4096\nfile 8192\nkernel 100\nworkingset_refault_anon 0\n",
    "memory.current": "20480\n",
    "memory.max": "67108864\n",
    "memory.peak": "30720\n",
    "memory.events": "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 0\n",
    "memory.swap.current": "512\n",
    "memory.swap.max": "1024\n",
    "memory.swap.events": "high 0\nmax 2\nfail 0\n",
    "pids.current": "3\n",
    "pids.max": "20\n",
    "io.stat": "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n254:16 rbytes=1 wbytes=2 rios=3 wios=4\n",
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.rsvd.current": "4194304\n",
    "hugetlb.2MB.events": "max 6\n",
    "hugetlb.1GB.current": "0\n",
    "hugetlb.1GB.events": "max 0\n",
}


def group(tmp_path: Path, files: dict[str, str]) -> Cgroup:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return Cgroup(str(tmp_path))


def test_all(tmp_path: Path) -> None:
    found: dict[str, Any] = stats.statistics(group(tmp_path, FILES))
    psi = {
        "some": {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 1234},
        "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 5},
    }
    assert found["cpu"] == {
        "usage": {"total": 2500000, "kernel": 1000000, "user": 1500000},
        "throttling": {"periods": 7, "throttledPeriods": 3, "throttledTime": 90000},
        "psi": psi,
    }
    nothing = {"limit": 0, "failcnt": 0}
    assert found["memory"] == {
        "cache": 8192,
        "usage": {"limit": 67108864, "usage": 20480, "max": 30720, "failcnt": 4},
        "swap": {"limit": 67108864 + 1024, "usage": 20480 + 512, "failcnt": 2},
        "kernel": nothing,
        "kernelTCP": nothing,
        "raw": {"anon": 4096, "file": 8192, "kernel": 100, "workingset_refault_anon": 0},
    }
    assert found["pids"] == {"current": 3, "limit": 20}
    assert found["blkio"] == {
        "ioServiceBytesRecursive": [
            {"major": 8, "op": "Read", "value": 4096},
            {"major": 8, "op": "Write"},
            {"major": 254, "minor": 16, "op": "Read", "value": 1},
            {"major": 254, "minor": 16, "op": "Write", "value": 2},
        ],
        "ioServicedRecursive": [
            {"major": 8, "op": "Read", "value": 1},
            {"major": 8, "op": "Write"},
            {"major": 254, "minor": 16, "op": "Read", "value": 3},
            {"major": 254, "minor": 16, "op": "Write", "value": 4},
        ],
    }
    assert found["hugetlb"] == {"1GB": {"failcnt": 0}, "2MB": {"usage": 4194304, "failcnt": 6}}
    assert found["intel_rdt"] == {} and found["network_interfaces"] is None
    assert json.loads(dumps(found)) == found


def test_no_controller(tmp_path: Path) -> None:
    """What every cgroup has, and nothing else."""
    files = {"cpu.stat": "usage_usec 5\nuser_usec 5\nsystem_usec 0\n", "cgroup.procs": "7\n8\n"}
    found = stats.statistics(group(tmp_path, files))
    assert found["cpu"] == {"usage": {"total": 5000, "kernel": 0, "user": 5000}, "throttling": {}}
    assert found["memory"]["usage"] == found["memory"]["swap"] == {"limit": 0, "failcnt": 0}
    assert found["pids"] == {"current": 2}
    assert found["blkio"] == found["hugetlb"] == {}


def test_no_limits(tmp_path: Path) -> None:
    files = {**FILES, "memory.max": "max\n", "memory.swap.max": "max\n", "pids.max": "max\n"}
    found = stats.statistics(group(tmp_path, files))
    assert found["memory"]["usage"]["limit"] == found["memory"]["swap"]["limit"] == NO_LIMIT
    assert found["pids"] == {"current": 3}


def test_unlimited_memory_with_limited_swap_does_not_overflow(tmp_path: Path) -> None:
    """A Go program reads 64 bits."""
    found = stats.statistics(group(tmp_path, {**FILES, "memory.max": "max\n"}))
    assert found["memory"]["swap"]["limit"] == NO_LIMIT


def test_gone(tmp_path: Path) -> None:
    found = stats.statistics(Cgroup(str(tmp_path / "none")))
    assert found["pids"] == found["hugetlb"] == {}
    assert found["cpu"]["usage"] == {"kernel": 0, "user": 0}


def test_pressure_that_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = group(tmp_path, FILES)
    whole = Cgroup.read

    def read(self: Cgroup, name: str) -> str | None:
        if name.endswith(".pressure"):
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return whole(self, name)

    monkeypatch.setattr(Cgroup, "read", read)
    assert "psi" not in stats.statistics(here)["cpu"]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("5s", 5 * 10**9),
        ("500ms", 5 * 10**8),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("1h2m3.25s4ms5us6ns", 3723254005006),
        ("2µs", 2000),
        (".5s", 5 * 10**8),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert events.duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["5", "", "s", "-5s", "0s", "5 s", "5x", "1.2.3s", "5sm", "9999999h", "\u0663s", "1" * 50 + "s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageFailure, match="--interval"):
        events.duration(text)
