"""Messages between the runtime's processes: whole, or an error; recvmsg(2), CVE-2021-43784."""

import errno
import os
import socket

import pytest

from pyruntime import kernel


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("length", [11, 12, 100_000])
def test_a_message_that_is_longer_than_its_receiver_takes(length: int) -> None:
    """What is cut off is lost: a shorter message could mean something else."""
    ours, theirs = pair()
    with ours, theirs:
        ours.send(b"x" * length)
        with pytest.raises(OSError, match=r"longer than 10 bytes|Message too long") as raised:
            kernel.recv_message(theirs.fileno(), 10, 4)
        assert raised.value.errno == errno.EMSGSIZE
        ours.send(b"x" * 10)
        assert kernel.recv_message(theirs.fileno(), 10, 4) == (b"x" * 10, [])


@pytest.mark.parametrize(("sent", "taken"), [(2, 1), (4, 2), (3, 0)])
def test_more_descriptors_than_the_receiver_takes(sent: int, taken: int) -> None:
    """None of them stays open."""
    ours, theirs = pair()
    with ours, theirs:
        before = descriptors()
        socket.send_fds(ours, [b"text"], [ours.fileno()] * sent)
        with pytest.raises(OSError) as raised:
            kernel.recv_message(theirs.fileno(), 10, taken)
        assert raised.value.errno == errno.EMSGSIZE
        assert descriptors() == before


def test_descriptors_are_close_on_exec() -> None:
    ours, theirs = pair()
    with ours, theirs:
        socket.send_fds(ours, [b"text"], [ours.fileno()])
        _, (fd,) = kernel.recv_message(theirs.fileno(), 10, 1)
        try:
            assert not os.get_inheritable(fd)
        finally:
            os.close(fd)
