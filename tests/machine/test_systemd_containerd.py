"""containerd's own client with systemd as the runtime's cgroup driver: `ctr run --runc-systemd-cgroup`."""

import pytest
from support import paths, session, systemd
from support.cgroup import cgroup_of
from support.containerd import IMAGE, Containerd
from support.runtime import wait_for

pytestmark = pytest.mark.systemd

NAME = "scoped"
LIMITS = ("--memory-limit", str(64 << 20), "--cpus", "0.5")


def test_run(containerd: Containerd) -> None:
    slice_name = systemd.slice_of()
    containerd.ok(
        "run", "-d", "--runc-binary", paths.RUNTIME_BIN, "--runc-systemd-cgroup",
        "--cgroup", f"{slice_name}:ctr:{NAME}", *LIMITS, IMAGE, NAME, "sleep", "1000",
    )  # fmt: skip
    group, unit = cgroup_of(containerd.pid(NAME)), f"ctr-{NAME}.scope"
    assert group == session.CGROUP_ROOT / slice_name / unit
    assert systemd.show(unit, "MemoryMax", "CPUQuotaPerSecUSec") == {
        "MemoryMax": str(64 << 20),
        "CPUQuotaPerSecUSec": "500ms",
    }
    assert (group / "cpu.max").read_text() == "50000 100000\n"
    assert containerd.ok("tasks", "exec", "--exec-id", "e", NAME, "echo", "inside") == "inside"
    containerd.ok("tasks", "kill", "-s", "KILL", NAME)
    wait_for(lambda: "STOPPED" in containerd.ok("tasks", "list"), "the task stops", 20)
    containerd.ok("tasks", "delete", NAME)
    containerd.ok("containers", "delete", NAME)
    assert not group.exists()
    assert systemd.units(unit) == []
    systemd.stop_slices()
