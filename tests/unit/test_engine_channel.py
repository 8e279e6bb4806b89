"""What the host takes from the other side of the channel, which may be a process that somebody has taken over."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pyruntime.engine import channel
from pyruntime.errors import Failure
from pyruntime.kernel import send_message
from pyruntime.step import INIT, Plan, Step

Pair = tuple[int, int]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends[0].fileno(), ends[1].fileno()
    for end in ends:
        end.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_come_into_the_slots_that_the_plan_names(pair: Pair) -> None:
    slots: dict[str, Any] = {}
    send_message(pair[0], b"Gpty,tty", [0, 1])
    channel.receive_go(pair[1], slots, ["pty", "absent", "tty"])
    assert sorted(slots) == ["pty", "tty"]
    for fd in slots.values():
        os.close(fd)


@pytest.mark.parametrize(
    ("message", "count"),
    [(b"Gcgroup", 1), (b"Gpty,cgroup", 2), (b"Gpty", 0), (b"G", 1), (b"Gpty,pty", 2), (b"X", 0), (b"C12", 1)],
)
def test_what_the_plan_does_not_name_is_refused(pair: Pair, message: bytes, count: int) -> None:
    """A slot of the host's own, such as the cgroup, must keep what it has."""
    slots: dict[str, Any] = {"cgroup": 99}
    before = open_descriptors()
    send_message(pair[0], message, [0] * count)
    with pytest.raises(Failure, match="unexpected message"):
        channel.receive_go(pair[1], slots, ["pty"])
    assert slots == {"cgroup": 99}
    assert open_descriptors() == before


@pytest.mark.parametrize("message", [b"G", b"C", b"Cx", b"C-1", b"C1 2"])
def test_the_process_that_takes_a_place_has_a_pid(pair: Pair, message: bytes) -> None:
    send_message(pair[0], message, [])
    with pytest.raises(Failure, match="unexpected message from the process in between"):
        channel.receive_child(pair[1])


def test_a_process_in_between_that_dies(pair: Pair) -> None:
    socket.socket(fileno=os.dup(pair[0])).shutdown(socket.SHUT_RDWR)
    with pytest.raises(channel.PeerDied):
        channel.receive_child(pair[1])


def test_only_shared_slots_are_named() -> None:
    steps = [Step(INIT, "", "open", into="own"), Step(INIT, "", "open", into="shared", share=True)]
    assert channel.shared_names(Plan(steps), 0, 2) == ["shared"]
