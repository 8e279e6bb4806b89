"""Limits hold: looked at from inside the container and from the host."""

import os
import time

from support.bundle import Bundle, dict_of
from support.cgroup import Group
from support.fixtures import Make
from support.runtime import Runtime, new_id, wait_for

MIB = 1 << 20


def limit(bundle: Bundle, **resources: object) -> None:
    dict_of(bundle.linux, "resources").update(resources)


def test_memory_above_the_limit_is_killed(container: Make, bundle: Bundle) -> None:
    limit(bundle, memory={"limit": 24 * MIB, "swap": 24 * MIB})
    bundle.sh("dd if=/dev/zero of=/dev/null bs=64M count=1; echo ended $?; sleep 1000")
    box = container()
    group = Group(box)
    wait_for(lambda: "ended" in box.output, "the allocation ends", 30)
    assert box.output.strip() == "ended 137"
    assert group.number("memory.events", "oom_kill") == 1


def test_memory_below_the_limit_is_not(container: Make, bundle: Bundle) -> None:
    limit(bundle, memory={"limit": 96 * MIB, "swap": 96 * MIB})
    bundle.sh("dd if=/dev/zero of=/dev/null bs=64M count=1; echo ended $?; sleep 1000")
    box = container()
    wait_for(lambda: "ended" in box.output, "the allocation ends", 30)
    assert box.output.strip() == "ended 0"


def test_dockers_least_memory_is_enough_to_start(runtime: Runtime, bundle: Bundle) -> None:
    """6 MiB: the runtime's own pages don't fill the container's cgroup."""
    limit(bundle, memory={"limit": 6 * MIB, "swap": 6 * MIB})
    bundle.args("echo", "fine")
    assert runtime.ok("run", "--bundle", bundle.save(), new_id()) == "fine\n"


def test_exec_within_dockers_least_memory(container: Make, bundle: Bundle) -> None:
    limit(bundle, memory={"limit": 6 * MIB, "swap": 6 * MIB})
    bundle.args("sleep", "1000")
    box = container()
    assert [box.sh("echo fine") for _ in range(5)] == ["fine"] * 5
    assert Group(box).number("memory.events", "oom_kill") == 0


def test_cpu_quota_holds(container: Make, bundle: Bundle) -> None:
    """A quarter of one CPU, within 15 %."""
    limit(bundle, cpu={"quota": 25000, "period": 100000})
    bundle.sh("while :; do :; done")
    group = Group(container())
    time.sleep(2)
    before, began = group.number("cpu.stat", "usage_usec"), time.monotonic()
    time.sleep(8)
    share = (group.number("cpu.stat", "usage_usec") - before) / 1e6 / (time.monotonic() - began)
    assert 0.25 * 0.85 < share < 0.25 * 1.15
    assert group.number("cpu.stat", "nr_throttled") > 0


def test_cpu_mask_holds(container: Make, bundle: Bundle) -> None:
    limit(bundle, cpu={"cpus": "1"})
    box = container()
    assert "Cpus_allowed_list:\t1" in box.sh("cat /proc/1/status").splitlines()
    assert os.sched_getaffinity(box.pid) == {1}
    assert box.sh("taskset -p 1 1 2>&1 || echo refused").endswith("refused")


def test_fork_fails_at_the_limit(container: Make, bundle: Bundle) -> None:
    limit(bundle, pids={"limit": 10})
    bundle.sh("(for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done) 2>&1; exec sleep 1000")
    box = container()
    group = Group(box)
    wait_for(lambda: "can't fork" in box.output, "fork is refused", 30)
    assert int(group.read("pids.current")) <= 10
    assert group.number("pids.events", "max") >= 1


def test_the_fork_bomb_of_the_article(container: Make, bundle: Bundle) -> None:
    limit(bundle, pids={"limit": 20})
    bundle.args("sleep", "1000")
    box = container()
    group = Group(box)
    box.exec("--detach", "--", "sh", "-c", "bomb() { bomb | bomb & }; bomb")
    wait_for(lambda: group.number("pids.events", "max") > 0, "the bomb hits the limit", 30)
    assert int(group.read("pids.current")) <= 20
    box.delete("--force")
    assert not group.path.exists()


def test_a_throttled_write_is_slow(container: Make, bundle: Bundle) -> None:
    device = os.stat("/dev/vdc").st_rdev
    numbers = {"major": os.major(device), "minor": os.minor(device)}
    limit(
        bundle,
        blockIO={"throttleWriteBpsDevice": [{**numbers, "rate": MIB}]},
        devices=[{"allow": True, "type": "b", "access": "rwm", **numbers}],
    )
    bundle.linux["devices"] = [{"path": "/dev/scratch", "type": "b", **numbers}]
    bundle.args("sleep", "1000")
    box = container()
    began = time.monotonic()
    box.sh("dd if=/dev/zero of=/dev/scratch bs=1M count=4 oflag=direct")
    assert time.monotonic() - began > 3


def test_huge_pages(container: Make, bundle: Bundle) -> None:
    limit(bundle, hugepageLimits=[{"pageSize": "2MB", "limit": 2 * MIB}])
    bundle.mount("/huge", "hugetlbfs", "hugetlbfs", "pagesize=2M")
    bundle.args("sleep", "1000")
    box = container()
    group = Group(box)
    box.exec("--", "sh", "-c", "fallocate -l 6M /huge/file")
    assert int(group.read("hugetlb.2MB.current")) <= 2 * MIB
    assert group.number("hugetlb.2MB.events", "max") >= 1


def test_devices(container: Make, bundle: Bundle) -> None:
    """open gives EPERM where no rule allows it."""
    limit(bundle, devices=[{"allow": False, "access": "rwm"}])
    bundle.linux["devices"] = [{"path": "/dev/kernel-log", "type": "c", "major": 1, "minor": 11}]
    box = container()
    assert "Operation not permitted" in box.sh("cat /dev/kernel-log 2>&1 || true")
    assert box.sh("head -c 1 /dev/zero | wc -c") == "1"
