"""The D-Bus connection, against a peer of the test's own at the other end of a socket."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.container import dbus
from pyruntime.container import dbus_wire as wire
from pyruntime.errors import Failure

HELLO = b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\nBEGIN\r\n"
OK = b"OK 0123456789abcdef0123456789abcdef\r\n"


class Peer:
    """Runs a function with the socket in a thread; what it raises fails the test."""

    def __init__(self, act: Callable[[socket.socket], object]) -> None:
        self.ours, theirs = socket.socketpair()
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(act, theirs))
        self._thread.start()

    def _run(self, act: Callable[[socket.socket], object], theirs: socket.socket) -> None:
        with theirs:
            theirs.settimeout(5)
            try:
                act(theirs)
            except BaseException as problem:
                self.problem = problem

    def connect(self, seconds: float = 5.0) -> dbus.Connection:
        return dbus.Connection(self.ours.detach(), "the peer", seconds)

    def end(self) -> None:
        self._thread.join(5)
        self.ours.close()
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(act: Callable[[socket.socket], object]) -> Peer:
        made.append(Peer(act))
        return made[-1]

    yield make
    for each in made:
        each.end()


def exactly(peer: socket.socket, data: bytes) -> None:
    got = b""
    while len(got) < len(data):
        part = peer.recv(len(data) - len(got))
        assert part, f"closed after {got!r}"
        got += part
    assert got == data


def authenticate(peer: socket.socket) -> None:
    exactly(peer, HELLO)
    peer.sendall(OK)


def receive(peer: socket.socket) -> wire.Message:
    data = b""
    while len(data) < 16 or len(data) < wire.length_of(data):
        part = peer.recv(1 if len(data) < 16 else wire.length_of(data) - len(data))
        assert part
        data += part
    return wire.parse(data)


def message(kind: int, fields: dict[int, Any], signature: str = "", *args: Any) -> bytes:
    data = bytearray(wire.method_call(9, fields, signature, args))
    data[1] = kind
    return bytes(data)


def answer(call: wire.Message, signature: str = "", *args: Any) -> bytes:
    return message(wire.RETURN, {wire.REPLY_SERIAL: ("u", call.serial)}, signature, *args)


def signal(member: str, *args: Any) -> bytes:
    return message(wire.SIGNAL, {wire.PATH: ("o", "/p"), wire.MEMBER: ("s", member)}, "s" * len(args), *args)


def ask(connection: dbus.Connection, signature: str = "", *args: Any) -> list[Any]:
    return connection.call("org.example", "/p", "org.example.I", "Ask", signature, *args)


def test_call_and_answer(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        authenticate(peer)
        call = receive(peer)
        assert call.type == wire.CALL
        assert call.fields == {1: "/p", 2: "org.example.I", 3: "Ask", 6: "org.example", 8: "sa(sv)"}
        assert call.body == ["x", [("k", ("t", 5))]]
        peer.sendall(answer(call, "ob", "/job", True))
        second = receive(peer)
        assert second.serial == call.serial + 1
        peer.sendall(answer(second))

    with peers(act).connect() as connection:
        assert ask(connection, "sa(sv)", "x", [("k", ("t", 5))]) == ["/job", True]
        assert ask(connection) == []


def test_an_answer_may_come_byte_by_byte(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        exactly(peer, HELLO)
        for byte in OK:
            peer.sendall(bytes((byte,)))
        for byte in answer(receive(peer), "s", "slow"):
            peer.sendall(bytes((byte,)))

    with peers(act).connect() as connection:
        assert ask(connection) == ["slow"]


def test_signals_are_kept_whether_they_come_before_the_answer_or_after(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        authenticate(peer)
        call = receive(peer)
        other = message(wire.RETURN, {wire.REPLY_SERIAL: ("u", 77)}, "s", "somebody else's")
        peer.sendall(signal("Other", "a") + signal("Done", "b") + other + answer(call, "s", "c") + signal("Done", "d"))

    with peers(act).connect() as connection:
        assert ask(connection) == ["c"]
        assert connection.next_signal("Done", time.monotonic() + 5) == ["b"]
        assert connection.next_signal("Done", time.monotonic() + 5) == ["d"]


def test_an_error_is_told_by_its_name_and_text(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        authenticate(peer)
        for text in ("no such\nunit", None):
            fields = {wire.REPLY_SERIAL: ("u", receive(peer).serial), wire.ERROR_NAME: ("s", "org.example.No")}
            peer.sendall(message(wire.ERROR, fields, *(("s", text) if text is not None else ("",))))

    with peers(act).connect() as connection:
        with pytest.raises(dbus.CallFailed) as raised:
            ask(connection)
        assert (raised.value.name, raised.value.text) == ("org.example.No", "no such\\nunit")
        with pytest.raises(dbus.CallFailed, match="no reason given"):
            ask(connection)


def test_no_call_is_sent_before_the_server_has_taken_begin(peers: Any) -> None:
    """systemd's server forgets to look at what it has read together with BEGIN."""

    def act(peer: socket.socket) -> None:
        exactly(peer, HELLO)
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        peer.settimeout(5)
        peer.sendall(OK)
        peer.sendall(answer(receive(peer)))

    with peers(act).connect() as connection:
        assert ask(connection) == []


def test_refused(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        exactly(peer, HELLO)
        peer.sendall(b"REJECTED ANONYMOUS\r\n")

    with pytest.raises(Failure, match=rf"the peer refused this user \({os.geteuid()}\): REJECTED ANONYMOUS"):
        peers(act).connect()


def test_not_dbus(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        peer.sendall(b"x" * 20000)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(4096):
            pass

    with pytest.raises(Failure, match="does not speak D-Bus"):
        peers(act).connect()


@pytest.mark.parametrize("sent", [0, 5, 16, 30])
def test_a_peer_that_hangs_up(peers: Any, sent: int) -> None:
    def act(peer: socket.socket) -> None:
        authenticate(peer)
        peer.sendall(answer(receive(peer), "s", "some text")[:sent])

    with peers(act).connect() as connection, pytest.raises(Failure, match="the peer closed the connection"):
        ask(connection)


def test_a_peer_that_hangs_up_at_once(peers: Any) -> None:
    with pytest.raises(Failure, match="the peer closed the connection"):
        peers(lambda peer: None).connect()


def test_silence_has_a_limit(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        authenticate(peer)
        receive(peer)
        peer.sendall(signal("Other", "x"))
        peer.recv(1)

    with peers(act).connect(0.2) as connection:
        with pytest.raises(Failure, match=r"the peer did not answer within 0\.2 s"):
            ask(connection)
        with pytest.raises(Failure, match="did not answer"):
            connection.next_signal("Done", time.monotonic() + 0.05)


def test_nonsense_after_the_authentication(peers: Any) -> None:
    def act(peer: socket.socket) -> None:
        authenticate(peer)
        receive(peer)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with peers(act).connect() as connection, pytest.raises(Failure, match="the peer sent a message begins with"):
        ask(connection)


def peer_of(fd: int) -> str | bytes:
    """Return the address that a connected socket is connected to, and close it."""
    with socket.socket(fileno=fd) as connection:
        address: str | bytes = connection.getpeername()
        return address


class TestAddress:
    @pytest.fixture
    def listening(self, tmp_path: Path) -> Iterator[str]:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "a b"))
            server.listen(1)
            yield str(tmp_path / "a b")

    @pytest.mark.parametrize(
        "address",
        ["unix:path={}", "unix:path={},guid=00", "unix:path=/no/such;unix:path={}", "tcp:host=x;unix:path={}"],
    )
    def test_the_first_that_works(self, listening: str, address: str) -> None:
        assert peer_of(dbus.open_address(address.format(listening.replace(" ", "%20")))) == listening

    def test_abstract(self) -> None:
        name = f"pyruntime-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("\0" + name)
            server.listen(1)
            assert peer_of(dbus.open_address(f"unix:abstract={name}")) == b"\0" + name.encode()

    def test_none_works(self) -> None:
        with pytest.raises(FileNotFoundError):
            dbus.open_address("unix:path=/no/such")
        with pytest.raises(ConnectionRefusedError):
            dbus.open_address("unix:abstract=no-such-socket-of-pyruntime")

    @pytest.mark.parametrize("address", ["", "tcp:host=x", "unix:tmpdir=/tmp", "autolaunch:"])
    def test_no_unix_socket(self, address: str) -> None:
        with pytest.raises(Failure, match="names no Unix socket"):
            dbus.open_address(address)

    @pytest.mark.parametrize("text", ["%", "%2", "%zz", "a%-1"])
    def test_bad_escape(self, text: str) -> None:
        with pytest.raises(Failure, match="escape"):
            dbus.unescape(text)
