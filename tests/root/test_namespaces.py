"""Namespaces: new, kept, joined by path; user mappings; host and domain name; sysctl. config-linux.md "Namespaces"."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import host_status, namespace, wait_for

KINDS = {"mnt": "mount", "net": "network", "uts": "uts", "ipc": "ipc", "pid": "pid", "cgroup": "cgroup"}


@pytest.mark.parametrize("link, kind", KINDS.items(), ids=KINDS.values())
def test_new_namespace(container: Make, link: str, kind: str) -> None:
    box = container()
    assert namespace(box.pid, link) != namespace("self", link)


@pytest.mark.parametrize("link, kind", [pair for pair in KINDS.items() if pair[1] != "mount"], ids=lambda pair: pair)
def test_namespace_that_is_not_listed_is_the_callers(container: Make, bundle: Bundle, link: str, kind: str) -> None:
    bundle.namespaces(**{kind: None})
    del bundle.config["hostname"]
    bundle.args("sleep", "100")
    box = container()
    assert namespace(box.pid, link) == namespace("self", link)
    assert namespace(box.pid, "mnt") != namespace("self", "mnt")


def test_hostname_and_domainname(inside: Inside, bundle: Bundle) -> None:
    before = (os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text())
    bundle.config["hostname"] = "name.of-the.container"
    bundle.config["domainname"] = "domain.of.it"
    found = inside("hostname; cat /proc/sys/kernel/domainname").split()
    assert found == ["name.of-the.container", "domain.of.it"]
    assert (os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()) == before


def test_network_has_only_a_loopback_that_is_up(inside: Inside) -> None:
    assert inside(
        "ls /sys/class/net; ip addr show lo | grep -c 'inet 127.0.0.1'; ping -c 1 127.0.0.1 | grep -c '1 packets rec'"
    ) == ("lo\n1\n1")


def test_sysctl(inside: Inside, bundle: Bundle) -> None:
    names = ["net/ipv4/ip_default_ttl", "kernel/msgmax"]
    before = [Path("/proc/sys", name).read_text() for name in names]
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "7777"}
    assert inside("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax").split() == ["77", "7777"]
    assert [Path("/proc/sys", name).read_text() for name in names] == before, "the host's values"


def test_sysctl_with_slashes(inside: Inside, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {"net/ipv4/conf/lo/forwarding": "1"}
    assert inside("cat /proc/sys/net/ipv4/conf/lo/forwarding") == "1"


Hold = Callable[..., int]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """A function that starts a process with new namespaces, given as options of unshare(1), and returns its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> int:
        own = namespace("self", "mnt")
        process = subprocess.Popen(["unshare", *options, "--mount", "--propagation", "private", "sleep", "1000"])
        started.append(process)
        wait_for(lambda: namespace(process.pid, "mnt") != own, "the namespaces are made")
        wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() in ("sleep\n", "unshare\n"), "it runs")
        return process.pid

    yield start
    for process in started:
        for child in session.children(process.pid):
            os.kill(child, 9)
        process.kill()
        process.wait()


class TestJoin:
    @pytest.mark.parametrize(
        "option, link, kind",
        [
            ("--net", "net", "network"),
            ("--uts", "uts", "uts"),
            ("--ipc", "ipc", "ipc"),
            ("--cgroup", "cgroup", "cgroup"),
        ],
        ids=["network", "uts", "ipc", "cgroup"],
    )
    def test_by_path(self, container: Make, bundle: Bundle, hold: Hold, option: str, link: str, kind: str) -> None:
        holder = hold(option)
        bundle.namespaces(**{kind: f"/proc/{holder}/ns/{link}"})
        box = container()
        assert namespace(box.pid, link) == namespace(holder, link)

    def test_pid(self, container: Make, bundle: Bundle) -> None:
        bundle.args("sleep", "1000")
        first = container()
        bundle.namespaces(pid=f"/proc/{first.pid}/ns/pid")
        bundle.sh("ps | grep -c 'sleep 1000'; echo pid $$; exec sleep 1000")
        second = container()
        wait_for(lambda: "pid" in second.output, "the program runs")
        assert namespace(first.pid, "pid") == namespace(second.pid, "pid")
        count, pid = second.output.splitlines()
        assert int(count) >= 1, "the first container's process is seen"
        assert pid != "pid 1"
        first.kill()
        second.wait_stopped()

    def test_mount(self, container: Make, bundle: Bundle, hold: Hold) -> None:
        holder = hold()
        bundle.namespaces(mount=f"/proc/{holder}/ns/mnt")
        box = container()
        assert namespace(box.pid, "mnt") == namespace(holder, "mnt")
        assert box.sh("ls /etc/made-from") == "/etc/made-from"

    def test_two_of_one_container(self, container: Make, bundle: Bundle) -> None:
        first = container()
        bundle.namespaces(
            network=f"/proc/{first.pid}/ns/net", ipc=f"/proc/{first.pid}/ns/ipc", uts=f"/proc/{first.pid}/ns/uts"
        )
        del bundle.config["hostname"]
        second = container()
        assert second.sh("hostname") == "busybox"
        for link in ("net", "ipc", "uts"):
            assert namespace(second.pid, link) == namespace(first.pid, link)
        assert namespace(second.pid, "pid") != namespace(first.pid, "pid")

    def test_user(self, container: Make, bundle: Bundle, hold: Hold) -> None:
        holder = hold("--user", "--map-root-user", "--net")
        bundle.namespaces(user=f"/proc/{holder}/ns/user", network=f"/proc/{holder}/ns/net")
        bundle.config["mounts"] = [mount for mount in bundle.mounts if mount["destination"] not in ("/dev/pts",)]
        box = container()
        assert namespace(box.pid, "user") == namespace(holder, "user")
        assert box.sh("cat /proc/self/uid_map").split() == ["0", "0", "1"]


class TestTime:
    def test_offset(self, inside: Inside, bundle: Bundle) -> None:
        bundle.namespaces(time="")
        bundle.linux["timeOffsets"] = {"boottime": {"secs": 5_000_000}, "monotonic": {"secs": 7_000_000, "nanosecs": 5}}
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        inside_uptime = float(inside("cut -d ' ' -f 1 /proc/uptime"))
        assert now + 5_000_000 <= inside_uptime < now + 5_000_060
        assert inside("cat /proc/self/timens_offsets").split() == [
            "monotonic",
            "7000000",
            "5",
            "boottime",
            "5000000",
            "0",
        ]

    def test_own_namespace(self, container: Make, bundle: Bundle) -> None:
        bundle.namespaces(time="")
        box = container()
        assert namespace(box.pid, "time") != namespace("self", "time")
        assert namespace(box.pid, "time") == namespace(box.pid, "time_for_children")


class TestUserNamespace:
    """Root inside is an ordinary user outside."""

    @pytest.fixture
    def mapped(self, bundle: Bundle) -> Bundle:
        bundle.namespaces(user="")
        bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
        for path in [bundle.rootfs, *bundle.rootfs.rglob("*")]:
            os.chown(path, 100000, 200000, follow_symlinks=False)
        return bundle

    def test_mappings(self, container: Make, mapped: Bundle) -> None:
        mapped.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
        box = container()
        status = host_status(box.pid)
        assert status["Uid"].split() == ["100005"] * 4
        assert status["Gid"].split() == ["200006"] * 4
        assert status["Groups"] == "200007"
        assert Path(f"/proc/{box.pid}/uid_map").read_text().split() == ["0", "100000", "65536"]
        assert Path(f"/proc/{box.pid}/gid_map").read_text().split() == ["0", "200000", "65536"]
        assert namespace(box.pid, "user") != namespace("self", "user")

    def test_root_inside(self, inside: Inside, mapped: Bundle) -> None:
        mapped.config["root"]["readonly"] = False
        found = inside("id -u; id -g; touch /file; stat -c '%u %g' /file /dev/null; echo x > /dev/null && hostname")
        assert found.splitlines()[:3] == ["0", "0", "0 0"]
        assert found.splitlines()[-1] == "busybox"
        assert ((mapped.rootfs / "file").stat().st_uid, (mapped.rootfs / "file").stat().st_gid) == (100000, 200000)

    def test_several_ranges(self, inside: Inside, mapped: Bundle) -> None:
        mapped.linux["uidMappings"] = [
            {"containerID": 0, "hostID": 100000, "size": 10},
            {"containerID": 1000, "hostID": 110000, "size": 5},
        ]
        found = [line.split() for line in inside("cat /proc/self/uid_map").splitlines()]
        assert found == [["0", "100000", "10"], ["1000", "110000", "5"]]

    def test_exec(self, container: Make, mapped: Bundle) -> None:
        box = container()
        assert box.sh("id -u; readlink /proc/self/ns/user").split() == ["0", namespace(box.pid, "user")]

    @pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
    def test_sysctls_of_it(self, container: Make, mapped: Bundle, joined: bool) -> None:
        """user.* are limits of the user namespace of who writes them, and the host's stay as they are."""
        names = ["user/max_inotify_watches", "user/max_net_namespaces"]
        before = [Path("/proc/sys", name).read_text() for name in names]
        if joined:
            mapped.namespaces(user=f"/proc/{container().pid}/ns/user")
        mapped.capabilities(bounding=["CAP_SYS_ADMIN"], effective=["CAP_SYS_ADMIN"], permitted=["CAP_SYS_ADMIN"])
        mapped.linux["sysctl"] = {"user.max_inotify_watches": "77", names[1]: "0"}
        mapped.sh("cat /proc/sys/user/max_inotify_watches /proc/sys/user/max_net_namespaces; unshare -n true")
        box = container()
        box.wait_stopped()
        assert box.output.split() == ["77", "0"]
        assert "unshare(0x40000000): No space left on device" in box.errors, "the limit is one"
        assert [Path("/proc/sys", name).read_text() for name in names] == before, "the host's values"
