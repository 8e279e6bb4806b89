"""Moves network devices between network namespaces, over rtnetlink, with pyroute2.

Importing pyroute2 takes a tenth of a second, so it is imported only for a config that needs it. Source: runtime-spec
config-linux.md "Network Devices"; rtnetlink(7), netdevice(7).
"""

from __future__ import annotations

import errno
import posix

from . import _linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NEWNET = _linux.constants["CLONE_NEWNET"]
UP = 1
"""IFF_UP of netdevice(7)."""
UNIVERSE = 0
"""RT_SCOPE_UNIVERSE of rtnetlink(7): addresses that are valid outside the host."""
PERMANENT = 0x80
"""IFA_F_PERMANENT: configured by an administrator, not set by the kernel with a lifetime."""
KEPT = 0x02 | 0x100 | 0x200
"""IFA_F_NODAD, IFA_F_MANAGETEMPADDR, IFA_F_NOPREFIXROUTE: flags that were set together with the address."""
ADDRESS = ("IFA_LOCAL", "IFA_ADDRESS", "IFA_BROADCAST", "IFA_RT_PRIORITY")


class NetDevice:
    """A device that was moved. name: on the host. index: where the device is now. up: whether it was up on the host."""

    __slots__ = ("addresses", "index", "name", "up")

    def __init__(self, name: str, index: int, up: bool, addresses: list[Any]) -> None:
        self.name = name
        self.index = index
        self.up = up
        self.addresses = addresses


def move_net_device(name: str, wanted: str, namespace: int) -> NetDevice:
    """Move a device of the caller's network namespace into another one and set it up there, under the name `wanted`.

    The kernel fills in a `%d` in that name. The device keeps its permanent addresses of global scope. Raises OSError;
    the device is then back in the caller's namespace, unchanged.
    """
    before = _in_namespace(namespace, _links)
    if wanted in before:
        raise _os_error(errno.EEXIST, f'the container has a network device "{wanted}"', "")
    device = _look_up(name)
    try:
        with _socket() as here:
            _send(here, device, namespace, wanted)
        device.index = _in_namespace(namespace, lambda: _newcomer(before))
        _in_namespace(namespace, lambda: _settle(device, wanted, up=True))
    except OSError:
        # The kernel moves the device before it renames it, so a request that failed may have moved it.
        if name not in _links():
            device.index = _in_namespace(namespace, lambda: _newcomer(before))
            give_back(device, namespace)
        raise
    return device


def give_back(device: NetDevice, namespace: int) -> None:
    """Undo a move, so that a create that fails leaves the host's devices as they were."""
    own = _linux.open("/proc/self/ns/net", posix.O_RDONLY)

    def send() -> None:
        with _socket() as there:
            _send(there, device, own, device.name)

    try:
        _in_namespace(namespace, send)
    finally:
        posix.close(own)
    device.index = _links()[device.name]
    _settle(device, device.name, up=device.up)


def _look_up(name: str) -> NetDevice:
    """Return the device of that name in the caller's namespace, with the addresses to keep."""
    with _socket() as here:
        for link in here.get_links():
            if link.get_attr("IFLA_IFNAME") == name:
                kept = [address for address in here.get_addr(index=link["index"]) if _is_kept(address)]
                return NetDevice(name, link["index"], bool(link["flags"] & UP), kept)
    raise _os_error(errno.ENODEV, f'network device "{name}" of the host', "")


def _links() -> dict[str, int]:
    """Return the names and indexes of the devices in the caller's namespace."""
    with _socket() as here:
        return {link.get_attr("IFLA_IFNAME"): link["index"] for link in here.get_links()}


def _newcomer(before: dict[str, int]) -> int:
    """Return the index of the device that was added; it changes when another device there already has its old one."""
    return next(index for name, index in _links().items() if name not in before)


def _socket() -> Any:
    from pyroute2 import IPRoute

    return IPRoute(ext_ack=True)


def _is_kept(address: Any) -> bool:
    return bool(address["scope"] == UNIVERSE and address.get_attr("IFA_FLAGS", address["flags"]) & PERMANENT)


def _send(socket: Any, device: NetDevice, namespace: int, wanted: str) -> None:
    _call(
        f'RTM_SETLINK "{device.name}" {{IFLA_NET_NS_FD, IFLA_IFNAME="{wanted}"}}',
        lambda: socket.link("set", index=device.index, net_ns_fd=namespace, ifname=wanted),
    )


def _settle(device: NetDevice, wanted: str, *, up: bool) -> None:
    """Give the device, now in the caller's namespace, its addresses, and set it up."""
    with _socket() as here:
        for address in device.addresses:
            _add_address(here, device, wanted, address)
        if up:
            _call(f'RTM_SETLINK "{wanted}" {{IFF_UP}}', lambda: here.link("set", index=device.index, state="up"))


def _add_address(socket: Any, device: NetDevice, wanted: str, address: Any) -> None:
    attributes = {key: value for key, value in address["attrs"] if key in ADDRESS}
    attributes["IFA_FLAGS"] = address.get_attr("IFA_FLAGS", address["flags"]) & KEPT
    where = {"index": device.index, "family": address["family"], "prefixlen": address["prefixlen"]}
    shown = attributes.get("IFA_LOCAL") or attributes.get("IFA_ADDRESS")
    _call(f'RTM_NEWADDR "{wanted}" {shown}', lambda: socket.addr("add", **where, **attributes))


def _in_namespace(namespace: int, work: Callable[[], Any]) -> Any:
    """Run work in another network namespace and return its result; a netlink socket belongs to where it was opened."""
    own = _linux.open("/proc/self/ns/net", posix.O_RDONLY)
    try:
        _linux.setns(namespace, NEWNET)
        try:
            return work()
        finally:
            _linux.setns(own, NEWNET)
    finally:
        posix.close(own)


def _call(call: str, work: Callable[[], Any]) -> Any:
    """Run one netlink request; raise OSError with its description and the kernel's message."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        return work()
    except NetlinkError as error:
        raise _os_error(error.code, call, str(error.args[1]) if len(error.args) > 1 else "") from None


def _os_error(number: int, call: str, words: str) -> OSError:
    error = OSError(number, posix.strerror(number))
    error.call = call  # type: ignore[attr-defined]
    if words and words != posix.strerror(number):
        error.kernel_message = words  # type: ignore[attr-defined]
    return error
