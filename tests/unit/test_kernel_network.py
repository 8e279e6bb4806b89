"""Network devices that move: a model of two namespaces answers what pyroute2 would ask the kernel."""

import errno
import os
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError
from support.recording import Recorder

from pyruntime.kernel import _linux, network

HOST, CONTAINER = 10, 20
"""Descriptors of network namespaces."""


class Message(dict[str, Any]):
    """A netlink message with its attributes, as pyroute2 returns them."""

    def get_attr(self, name: str, default: Any = None) -> Any:
        return dict(self["attrs"]).get(name, default)


class World:
    """Links by namespace and name; `where` is the namespace that this process is in."""

    def __init__(self) -> None:
        self.where = HOST
        self.links: dict[int, dict[str, dict[str, Any]]] = {
            HOST: {"lo": {"index": 1, "up": True}, "eth0": {"index": 7, "up": True}},
            CONTAINER: {"lo": {"index": 1, "up": False}},
        }
        self.addresses = [
            self.address(
                "10.0.0.1", IFA_LOCAL="10.0.0.1", IFA_BROADCAST="10.0.0.255", IFA_LABEL="eth0", IFA_FLAGS=0x280
            ),
            self.address("fe80::1", scope=253, IFA_FLAGS=0x80),
            self.address("2001::1", IFA_FLAGS=0x100),
            self.address("10.0.0.2"),
        ]
        self.added: list[tuple[int, dict[str, Any]]] = []
        self.fails: dict[str, NetlinkError] = {}
        self.opened = 0

    def address(self, text: str, scope: int = 0, **attributes: Any) -> Message:
        attrs = [("IFA_ADDRESS", text), *attributes.items()]
        return Message(index=7, family=2, prefixlen=24, scope=scope, flags=0x80, attrs=attrs)

    def setns(self, namespace: int, kind: int) -> None:
        assert kind == network.NEWNET
        self.where = namespace if namespace in self.links else HOST

    def socket(self, *, ext_ack: bool) -> "Socket":
        assert ext_ack
        return Socket(self, self.where)


class Socket:
    """What IPRoute does here, in the namespace in which it was made."""

    def __init__(self, world: World, where: int) -> None:
        self.world, self.where = world, where

    def __enter__(self) -> "Socket":
        self.world.opened += 1
        return self

    def __exit__(self, *_: Any) -> None:
        self.world.opened -= 1

    @property
    def here(self) -> dict[str, dict[str, Any]]:
        return self.world.links[self.where]

    def get_links(self) -> list[Message]:
        return [
            Message(index=link["index"], flags=0x1002 | int(link["up"]), attrs=[("IFLA_IFNAME", name)])
            for name, link in self.here.items()
        ]

    def get_addr(self, index: int) -> list[Message]:
        assert index == 7
        return self.world.addresses

    def link(self, command: str, index: int, **what: Any) -> None:
        assert command == "set"
        name = next(name for name, link in self.here.items() if link["index"] == index)
        if "net_ns_fd" in what:
            target = self.world.links[what["net_ns_fd"] if what["net_ns_fd"] in self.world.links else HOST]
            if "move" in self.world.fails:
                raise self.world.fails["move"]
            moved = {"index": 5, "up": False}
            del self.here[name]
            if "rename" in self.world.fails:
                target[name] = moved
                raise self.world.fails.pop("rename")
            target[what["ifname"].replace("%d", "0")] = moved
        else:
            if "up" in self.world.fails:
                raise self.world.fails.pop("up")
            assert what == {"state": "up"}
            self.here[name]["up"] = True

    def addr(self, command: str, **what: Any) -> None:
        assert command == "add"
        if "addr" in self.world.fails:
            raise self.world.fails.pop("addr")
        self.world.added.append((self.where, what))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr("pyroute2.IPRoute", made.socket)
    linux = Recorder(_linux, setns=made.setns, open=lambda *_: os.open("/", os.O_PATH))
    monkeypatch.setattr(network, "_linux", linux)
    return made


def at_home(world: World) -> None:
    """The device is where it was, as it was, and so is this process."""
    assert world.links[HOST]["eth0"]["up"] is True
    assert set(world.links[CONTAINER]) == {"lo"}
    assert (world.where, world.opened) == (HOST, 0)


def test_it_moves_with_name_and_addresses(world: World) -> None:
    device = network.move_net_device("eth0", "net0", CONTAINER)
    assert world.links[CONTAINER]["net0"] == {"index": 5, "up": True}
    assert "eth0" not in world.links[HOST]
    assert (device.name, device.index, device.up) == ("eth0", 5, True)
    assert (world.where, world.opened) == (HOST, 0)
    common = {"index": 5, "family": 2, "prefixlen": 24}
    assert world.added == [
        (CONTAINER, {**common, "IFA_ADDRESS": "10.0.0.1", "IFA_LOCAL": "10.0.0.1", "IFA_BROADCAST": "10.0.0.255",
                     "IFA_FLAGS": 0x200}),
        (CONTAINER, {**common, "IFA_ADDRESS": "10.0.0.2", "IFA_FLAGS": 0}),
    ]  # fmt: skip


def test_the_kernel_may_choose_the_name(world: World) -> None:
    network.move_net_device("eth0", "eth%d", CONTAINER)
    assert world.links[CONTAINER]["eth0"]["up"] is True


def test_a_name_that_the_container_has(world: World) -> None:
    with pytest.raises(FileExistsError) as caught:
        network.move_net_device("eth0", "lo", CONTAINER)
    assert caught.value.call == 'the container has a network device "lo"'  # type: ignore[attr-defined]
    at_home(world)


def test_a_device_that_is_not_there(world: World) -> None:
    with pytest.raises(OSError) as caught:
        network.move_net_device("eth9", "eth9", CONTAINER)
    assert (caught.value.errno, caught.value.call) == (errno.ENODEV, 'network device "eth9" of the host')  # type: ignore[attr-defined]
    at_home(world)


def test_a_move_that_is_refused(world: World) -> None:
    world.fails["move"] = NetlinkError(errno.EINVAL, "The interface netns is immutable")
    with pytest.raises(OSError) as caught:
        network.move_net_device("eth0", "net0", CONTAINER)
    assert caught.value.errno == errno.EINVAL
    assert caught.value.call == 'RTM_SETLINK "eth0" {IFLA_NET_NS_FD, IFLA_IFNAME="net0"}'  # type: ignore[attr-defined]
    assert caught.value.kernel_message == "The interface netns is immutable"  # type: ignore[attr-defined]
    at_home(world)
    assert world.added == []


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("rename", 'RTM_SETLINK "eth0" {IFLA_NET_NS_FD, IFLA_IFNAME="net0"}'),
        ("addr", 'RTM_NEWADDR "net0" 10.0.0.1'),
        ("up", 'RTM_SETLINK "net0" {IFF_UP}'),
    ],
)
def test_a_failure_after_the_move_brings_it_back(world: World, what: str, call: str) -> None:
    world.fails[what] = NetlinkError(errno.EPERM, os.strerror(errno.EPERM))
    with pytest.raises(PermissionError) as caught:
        network.move_net_device("eth0", "net0", CONTAINER)
    assert caught.value.call == call  # type: ignore[attr-defined]
    assert not hasattr(caught.value, "kernel_message"), "it says what the errno says"
    at_home(world)
    back = [what["IFA_ADDRESS"] for where, what in world.added if where == HOST]
    assert back == ["10.0.0.1", "10.0.0.2"]


def test_one_that_was_down_comes_back_down(world: World) -> None:
    world.links[HOST]["eth0"]["up"] = False
    device = network.move_net_device("eth0", "net0", CONTAINER)
    assert world.links[CONTAINER]["net0"]["up"] is True
    network.give_back(device, CONTAINER)
    assert world.links[HOST]["eth0"] == {"index": 5, "up": False}
    assert device.index == 5


def test_an_error_without_words(world: World) -> None:
    error = NetlinkError(errno.EPERM)
    error.args = (errno.EPERM,)
    world.fails["move"] = error
    with pytest.raises(PermissionError) as caught:
        network.move_net_device("eth0", "net0", CONTAINER)
    assert not hasattr(caught.value, "kernel_message")
