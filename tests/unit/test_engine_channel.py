"""What the host takes from the other side of the channel, which may be a process that somebody has taken over."""

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pyruntime.engine import channel
from pyruntime.errors import Failure
from pyruntime.kernel import send_message
from pyruntime.step import HOST, INIT, JOIN, Plan, Step

Pair = tuple[int, int]
PLAN = Plan([Step(JOIN, "", "setns", 3), Step(HOST, "", "clone3"), Step(INIT, "/hostname", "sethostname", "x")])


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
    channel.receive_go(pair[1], slots, ["pty", "absent", "tty"], PLAN, INIT)
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
        channel.receive_go(pair[1], slots, ["pty"], PLAN, INIT)
    assert slots == {"cgroup": 99}
    assert open_descriptors() == before


def test_the_process_that_takes_a_place(pair: Pair) -> None:
    send_message(pair[0], b"C999999999", [0])
    pid, pidfd = channel.receive_child(pair[1], PLAN, INIT)
    assert pid == 999999999
    os.close(pidfd)


@pytest.mark.parametrize(
    ("message", "count"),
    [
        *[(message, 1) for message in (b"G", b"C", b"Cx", b"C-1", b"C1 2", b"C0", b"G12", b"C" + b"9" * 5000)],
        *[(message, 1) for message in (b"C1234567890", "C\u0661".encode(), "C\u00b2".encode())],
        (b"C12", 0),
        (b"C12", 2),
    ],
)
def test_the_process_that_takes_a_place_has_a_pid_and_a_pidfd(pair: Pair, message: bytes, count: int) -> None:
    before = open_descriptors()
    send_message(pair[0], message, [0] * count)
    with pytest.raises(Failure, match="unexpected message from the intermediate process"):
        channel.receive_child(pair[1], PLAN, INIT)
    assert open_descriptors() == before


def test_a_process_in_between_that_dies(pair: Pair) -> None:
    socket.socket(fileno=os.dup(pair[0])).shutdown(socket.SHUT_RDWR)
    with pytest.raises(channel.PeerDied):
        channel.receive_child(pair[1], PLAN, INIT)


def closed_before_it_read() -> int:
    """Return our end of a socket whose other end was closed with a message of ours in it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b"G")
    theirs.close()
    return ours.detach()


def test_a_process_that_dies_with_a_message_unread() -> None:
    """For which the kernel has another answer: ECONNRESET."""
    for receive in (
        lambda fd: channel.receive_go(fd, {}, [], PLAN, INIT),
        lambda fd: channel.receive_child(fd, PLAN, INIT),
    ):
        fd = closed_before_it_read()
        with pytest.raises(channel.PeerDied):
            receive(fd)
        os.close(fd)


def test_what_it_said_before_it_died_with_a_message_unread() -> None:
    """The kernel reports the unread message first, once, although the error was sent before."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b"G")
    channel.send_error(theirs.fileno(), 2, PLAN.steps[2], Failure("it is so"))
    theirs.close()
    with pytest.raises(Failure, match=r"^it is so"):
        channel.receive_go(ours.fileno(), {}, [], PLAN, INIT)
    ours.close()


def test_to_a_process_that_died(pair: Pair) -> None:
    socket.socket(fileno=os.dup(pair[1])).shutdown(socket.SHUT_RDWR)
    with pytest.raises(channel.PeerDied):
        channel.send_go(pair[0], [], {})


@pytest.mark.parametrize("what", ["bytes", "descriptors"])
def test_a_message_that_is_too_long(pair: Pair, what: str) -> None:
    before = open_descriptors()
    if what == "bytes":
        send_message(pair[0], b"G" + b"x" * channel.MAX_MESSAGE, [])
    else:
        send_message(pair[0], b"G", [0] * 65)
    with pytest.raises(Failure, match=r"^unexpected message from the other process: recvmsg.* \(EMSGSIZE\)$"):
        channel.receive_go(pair[1], {}, [], PLAN, INIT)
    assert open_descriptors() == before


def test_the_longest_message_that_fits(pair: Pair) -> None:
    send_message(pair[0], b"X" * channel.MAX_MESSAGE, [])
    with pytest.raises(Failure, match="unexpected message from the other process: b'XXX"):
        channel.receive_go(pair[1], {}, [], PLAN, INIT)


def test_other_errors_of_the_socket_are_no_message() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        channel.receive_go(1 << 20, {}, [], PLAN, INIT)
    assert caught.value.errno == errno.EBADF


def test_only_slots_that_are_there_are_handed_over(pair: Pair) -> None:
    channel.send_go(pair[0], ["pty", "absent", "tty"], {"tty": 0, "pty": 1, "other": 2})
    slots: dict[str, Any] = {}
    channel.receive_go(pair[1], slots, ["pty", "absent", "tty"], PLAN, HOST)
    assert os.path.sameopenfile(slots["pty"], 1) and os.path.sameopenfile(slots["tty"], 0)
    assert sorted(slots) == ["pty", "tty"]
    for fd in slots.values():
        os.close(fd)


def test_only_shared_slots_are_named() -> None:
    steps = [
        Step(INIT, "", "open", into="own"),
        Step(INIT, "", "open", into="shared", share=True),
        Step(INIT, "", "close", share=True),
        Step(INIT, "", "open", into="later", share=True),
    ]
    assert channel.shared_names(Plan(steps), 0, 3) == ["shared"]
    assert channel.shared_names(Plan(steps), 2, 4) == ["later"]


@pytest.mark.parametrize(("own", "shown"), [(None, "the step's"), ("its own", "its own")])
def test_a_failure_gets_the_hint_and_the_pointer_of_its_step_on_both_sides(
    pair: Pair, own: str | None, shown: str
) -> None:
    plan = Plan([Step(INIT, "/hostname", "sethostname", "x", hint="the step's")])
    failure = channel.failure_of(plan.steps[0], Failure("no", hint=own))
    channel.send_error(pair[0], 0, plan.steps[0], Failure("no", hint=own))
    with pytest.raises(Failure) as received:
        channel.receive(pair[1], plan, INIT)
    assert str(failure) == str(received.value) == f"no [config.json#/hostname]; {shown}"
