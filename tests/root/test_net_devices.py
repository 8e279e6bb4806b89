"""Network devices that are moved into the container: config-linux.md "Network Devices"."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute, NetlinkError
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import Runtime, namespace, new_id, says, wait_for


class Host:
    """The session's own network namespace, with a pair of devices: `outer`, which stays, and `mine`, which is moved."""

    def __init__(self) -> None:
        with IPRoute() as ip:
            ip.link("add", ifname="outer", kind="veth", peer="mine")
            ip.link("set", index=self.index("mine"), mtu=1400, address="02:00:00:00:00:01", state="up")
            ip.link("set", index=self.index("outer"), state="up")

    def names(self) -> set[str]:
        with IPRoute() as ip:
            return {link.get_attr("IFLA_IFNAME") for link in ip.get_links()}

    def index(self, name: str) -> int:
        with IPRoute() as ip:
            return int(next(iter(ip.link_lookup(ifname=name))))

    def give(self, *addresses: str, **more: Any) -> None:
        """Add addresses, such as 10.0.0.1/24, to the device that is moved."""
        with IPRoute() as ip:
            for text in addresses:
                address, _, length = text.partition("/")
                ip.addr("add", index=self.index("mine"), address=address, prefixlen=int(length), **more)

    def addresses(self) -> set[str]:
        """Return the device's addresses of global scope."""
        with IPRoute() as ip:
            found = ip.get_addr(index=self.index("mine"), scope=0)
            return {f"{entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}" for entry in found}

    def is_up(self) -> bool:
        with IPRoute() as ip:
            (link,) = ip.get_links(self.index("mine"))
            return bool(link["flags"] & 1)

    def remove(self) -> None:
        """Take the pair away; it may be about to go by itself, with the namespace of a container that has ended."""
        for name in ("mine", "outer"):
            with IPRoute() as ip:
                for index in ip.link_lookup(ifname=name):
                    try:
                        ip.link("del", index=index)
                    except NetlinkError as error:
                        if error.code != errno.ENODEV:
                            raise


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.remove()


def move(bundle: Bundle, **devices: str | None) -> None:
    """Ask for devices, each with its new name or None."""
    bundle.linux["netDevices"] = {name: {"name": new} if new else {} for name, new in devices.items()}


def words_of(text: str) -> list[str]:
    """Return the words that follow inet and inet6 in what ip(8) prints, but for link-local ones."""
    lines = [line.split() for line in text.splitlines() if "scope global" in line]
    return sorted(line[1] for line in lines)


class TestMoved:
    def test_keeps_what_it_is(self, inside: Inside, bundle: Bundle, host: Host) -> None:
        host.give("10.11.0.2/24", "10.11.1.2/32", "fd00:11::2/64")
        move(bundle, mine=None)
        text = inside("ip addr show mine")
        assert words_of(text) == ["10.11.0.2/24", "10.11.1.2/32", "fd00:11::2/64"]
        assert "02:00:00:00:00:01" in text and "mtu 1400" in text
        assert "UP" in text.partition(">")[0]

    def test_renamed(self, inside: Inside, bundle: Bundle, host: Host) -> None:
        host.give("10.11.0.2/24")
        move(bundle, mine="eth7")
        assert inside("ls /sys/class/net").split() == ["eth7", "lo"]
        assert words_of(inside_of(host, inside, bundle, "eth7")) == ["10.11.0.2/24"]

    def test_template(self, inside: Inside, bundle: Bundle, host: Host) -> None:
        move(bundle, mine="net%d")
        assert inside("ls /sys/class/net").split() == ["lo", "net0"]

    def test_a_peer_address(self, inside: Inside, bundle: Bundle, host: Host) -> None:
        with IPRoute() as ip:
            ip.addr("add", index=host.index("mine"), local="10.9.0.1", address="10.9.0.2", prefixlen=32)
        move(bundle, mine=None)
        assert "inet 10.9.0.1 peer 10.9.0.2/32" in inside("ip addr show mine")

    def test_only_what_is_permanent_and_global(self, inside: Inside, bundle: Bundle, host: Host) -> None:
        host.give("10.11.0.2/24")
        host.give("10.11.2.2/24", scope=253)
        host.give("fd00:22::2/64", IFA_CACHEINFO={"ifa_prefered": 1000, "ifa_valid": 1000})
        move(bundle, mine=None)
        assert words_of(inside("ip addr show mine")) == ["10.11.0.2/24"]

    def test_carries_packets(self, container: Make, bundle: Bundle, host: Host) -> None:
        with IPRoute() as ip:
            ip.addr("add", index=host.index("outer"), address="10.11.0.1", prefixlen=24)
        host.give("10.11.0.2/24")
        move(bundle, mine="eth7")
        box = container()
        assert "mine" not in host.names(), "it is gone from the host"
        assert "1 packets received" in box.sh("ping -c 1 -w 5 10.11.0.1")

    def test_one_that_was_down_is_up(self, inside: Inside, bundle: Bundle, host: Host) -> None:
        with IPRoute() as ip:
            ip.link("set", index=host.index("mine"), state="down")
        move(bundle, mine=None)
        assert "UP" in inside("ip link show mine").partition(">")[0]

    def test_into_a_namespace_that_is_joined(self, container: Make, bundle: Bundle, host: Host) -> None:
        holder = container()
        bundle.namespaces(network=f"/proc/{holder.pid}/ns/net")
        move(bundle, mine="eth7")
        box = container()
        assert namespace(box.pid, "net") == namespace(holder.pid, "net")
        assert holder.sh("ls /sys/class/net").split() == ["eth7", "lo"]
        box.kill("KILL")
        wait_for(lambda: box.status == "stopped", "it has ended")
        box.delete()
        assert holder.sh("ls /sys/class/net").split() == ["eth7", "lo"], "the runtime never moves it back"

    def test_with_a_user_namespace(self, inside: Inside, bundle: Bundle, host: Host) -> None:
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        move(bundle, mine="eth7")
        assert inside("ls /sys/class/net").split() == ["eth7", "lo"]


def inside_of(host: Host, inside: Inside, bundle: Bundle, name: str) -> str:
    """Return what ip(8) says in one more container: the pair went with the first one."""
    wait_for(lambda: "outer" not in host.names(), "the first container's namespace is gone")
    again = Host()
    again.give("10.11.0.2/24")
    return inside(f"ip addr show {name}")


class TestRefused:
    """One line; and the host's device is where it was, as it was."""

    @pytest.fixture(autouse=True)
    def with_address(self, host: Host) -> None:
        host.give("10.11.0.2/24", "fd00:11::2/64")

    def refused(self, runtime: Runtime, bundle: Bundle, host: Host, *words: str, command: str = "create") -> None:
        says(runtime.fails(command, "--bundle", bundle.save(), new_id()), *words)
        assert runtime.ids() == []
        assert {"mine", "outer"} <= host.names()
        assert host.is_up()
        assert host.addresses() == {"10.11.0.2/24", "fd00:11::2/64"}

    def test_no_such_device(self, runtime: Runtime, bundle: Bundle, host: Host) -> None:
        move(bundle, mine="eth7", nosuch=None)
        self.refused(runtime, bundle, host, "/linux/netDevices/nosuch", "ENODEV")

    def test_the_name_is_taken(self, runtime: Runtime, bundle: Bundle, host: Host) -> None:
        move(bundle, mine="lo")
        self.refused(runtime, bundle, host, "/linux/netDevices/mine", '"lo"', "EEXIST")

    def test_two_of_one_name(self, runtime: Runtime, bundle: Bundle, host: Host) -> None:
        move(bundle, mine="eth7", outer="eth7")
        self.refused(runtime, bundle, host, "/linux/netDevices/outer", '"eth7"', "EEXIST")

    def test_loopback_can_not_be_moved(self, runtime: Runtime, bundle: Bundle, host: Host) -> None:
        move(bundle, lo="lo7")
        self.refused(runtime, bundle, host, "/linux/netDevices/lo", "EINVAL")

    def test_a_name_that_the_kernel_refuses(self, runtime: Runtime, bundle: Bundle, host: Host) -> None:
        """It has moved the device by then."""
        move(bundle, mine="a%db%d")
        self.refused(runtime, bundle, host, "/linux/netDevices/mine", "EINVAL")

    @pytest.mark.parametrize("command", ["create", "run"])
    def test_a_later_step_that_fails(self, runtime: Runtime, bundle: Bundle, host: Host, command: str) -> None:
        move(bundle, mine="eth7")
        bundle.args("nosuch")
        self.refused(runtime, bundle, host, "executable file not found", command=command)

    def test_a_pid_file_that_can_not_be_written(self, runtime: Runtime, bundle: Bundle, host: Host) -> None:
        move(bundle, mine="eth7")
        error = runtime.fails("create", "--pid-file", "/nowhere/pid", "--bundle", bundle.save(), new_id())
        says(error, "write_pid_file", "/nowhere/pid", "ENOENT")
        assert "mine" in host.names() and host.is_up()

    def test_without_a_network_namespace(self, runtime: Runtime, bundle: Bundle, host: Host) -> None:
        bundle.namespaces(network=None)
        move(bundle, mine="eth7")
        self.refused(runtime, bundle, host, "/linux/netDevices", "network namespace")


def test_explain_tells_it(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    move(bundle, eth0="eth7")
    text = runtime.ok("explain", "--bundle", bundle.save())
    assert 'move_net_device("eth0", "eth7", <net_namespace>)' in text
