"""containerd's own client runs containers with the runtime: `ctr run --runc-binary`."""

from support import paths
from support.cgroup import cgroup_of, number_in
from support.containerd import IMAGE, Containerd
from support.runtime import wait_for

OURS = ("--runc-binary", paths.RUNTIME_BIN)


def test_run(containerd: Containerd) -> None:
    assert containerd.ok("run", "--rm", *OURS, IMAGE, "one", "echo", "hello") == "hello"


def test_exit_status(containerd: Containerd) -> None:
    assert containerd.run("run", "--rm", *OURS, IMAGE, "status", "sh", "-c", "exit 3").status == 3


def test_limits(containerd: Containerd) -> None:
    limits = ("--memory-limit", str(64 << 20), "--cpus", "0.5")
    containerd.ok("run", "-d", *OURS, *limits, IMAGE, "two", "sleep", "1000")
    group = cgroup_of(containerd.pid("two"))
    assert (group / "memory.max").read_text() == f"{64 << 20}\n"
    assert (group / "cpu.max").read_text() == "50000 100000\n"
    assert containerd.ok("tasks", "exec", "--exec-id", "e", "two", "echo", "inside") == "inside"
    containerd.ok("tasks", "pause", "two")
    assert number_in(group / "cgroup.events", "frozen") == 1
    containerd.ok("tasks", "resume", "two")
    containerd.ok("tasks", "kill", "-s", "KILL", "two")
    wait_for(lambda: "STOPPED" in containerd.ok("tasks", "list"), "the task stops", 20)
    containerd.ok("tasks", "delete", "two")
    containerd.ok("containers", "delete", "two")
    assert not group.exists()
