"""The machine is what the other tests here take it for."""

from pathlib import Path

import pytest
from support import session

CONTROLLERS = {"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}


def controllers() -> set[str]:
    return set((session.CGROUP_ROOT / "cgroup.controllers").read_text().split())


def test_plain() -> None:
    assert controllers() >= CONTROLLERS
    assert Path("/proc/1/comm").read_text() == "machine-init\n"
    assert int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16) >> 24 & 1, "SYS_RESOURCE"
    assert "apparmor" in Path("/sys/kernel/security/lsm").read_text()


@pytest.mark.systemd
def test_systemd() -> None:
    assert controllers() >= CONTROLLERS
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert Path("/run/systemd/private").is_socket()
    assert Path("/run/dbus/system_bus_socket").is_socket()
