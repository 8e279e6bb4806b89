"""The D-Bus client at its edges: descriptor 0, limits to the byte, depths, alignments, and what is no text."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pyruntime.container import dbus
from pyruntime.container import dbus_wire as wire
from pyruntime.container.dbus import CallFailed
from pyruntime.errors import Failure


def bare_connection(fd: int) -> dbus.Connection:
    """A connection that has not authenticated itself yet."""
    made = object.__new__(dbus.Connection)
    made.fd, made.peer, made.seconds, made.signals = fd, "the peer", 1.5, []
    made._serial, made._input = 0, b""
    return made


class TestSockets:
    def test_one_is_closed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[int] = []
        monkeypatch.setattr("posix.close", closed.append)
        made = bare_connection(0)
        made.close()
        made.close()
        assert closed == [0] and made.fd == -1

    def test_an_abstract_socket_that_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done: list[Any] = []

        class Socket:
            def __init__(self, *given: int) -> None:
                done.append(given)

            def connect(self, address: bytes) -> None:
                done.append(address)
                raise ConnectionRefusedError(errno.ECONNREFUSED, "no")

            def close(self) -> None:
                done.append("closed")

        monkeypatch.setattr("_socket.socket", Socket)
        with pytest.raises(ConnectionRefusedError) as caught:
            dbus.connect_abstract("x")
        assert done == [(1, 1), b"\0x", "closed"] and caught.value.call == 'connect("@x")'  # type: ignore[attr-defined]


class TestAuthentication:
    def answer(self, monkeypatch: pytest.MonkeyPatch, *parts: bytes) -> str:
        """The error when the peer sends these parts."""
        made = bare_connection(-1)
        left = list(parts)

        def receive(deadline: float) -> None:
            made._input += left.pop(0)

        monkeypatch.setattr(dbus.Connection, "_send", lambda self, data: None)
        monkeypatch.setattr(dbus.Connection, "_receive", lambda self, deadline: receive(deadline))
        with pytest.raises(Failure) as caught:
            made._authenticate()
        return str(caught.value)

    def test_the_longest_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refused = self.answer(monkeypatch, b"x" * 16384, b"\r\n")
        assert refused == f"the peer refused this user ({os.geteuid()}): {'x' * 200}"
        assert self.answer(monkeypatch, b"x" * 16385, b"\r\n").startswith("the peer does not speak D-Bus: ")

    @pytest.mark.parametrize("text", ["%X0", "%0X", "a%aX"])
    def test_digits_of_an_escape(self, text: str) -> None:
        with pytest.raises(Failure, match=r"^D-Bus address with a bad escape: "):
            dbus.unescape(text)

    def test_the_first_problem_counts(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(FileNotFoundError):
            dbus.open_address(f"unix:path=/no/such;unix:path={tmp_path}/file")


class TestCalls:
    def call(self, monkeypatch: pytest.MonkeyPatch, *messages: bytes) -> dbus.Connection:
        """A connection that has received these messages and gets no more."""
        monkeypatch.setattr(dbus.Connection, "_send", lambda self, data: None)
        monkeypatch.setattr(dbus.Connection, "_receive", lambda self, deadline: pytest.fail("all is there"))
        made = bare_connection(-1)
        made._input = b"".join(messages)
        return made

    def message(self, kind: int, fields: dict[int, Any], signature: str = "", *args: Any) -> bytes:
        data = bytearray(wire.method_call(9, fields, signature, args))
        data[1] = kind
        return bytes(data)

    def test_a_reason_that_is_no_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fields = {wire.REPLY_SERIAL: ("u", 1), wire.ERROR_NAME: ("s", "a.b")}
        for signature, args in (("u", [5]), ("", [])):
            made = self.call(monkeypatch, self.message(3, fields, signature, *args))
            with pytest.raises(CallFailed) as caught:
                made.call("d", "/p", "i.f", "M")
            assert (caught.value.name, caught.value.text) == ("a.b", "no reason given")

    def test_the_smallest_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.call(monkeypatch, self.message(4, {}))
        assert len(made._input) == 16
        assert made._next(0).type == wire.SIGNAL == 4

    def test_the_first_serial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[bytes] = []
        monkeypatch.setattr(dbus.Connection, "_authenticate", lambda self: None)
        monkeypatch.setattr(dbus.Connection, "_send", lambda self, data: sent.append(data))
        reply = wire.Message(wire.RETURN, 5, {wire.REPLY_SERIAL: 1}, ["x"])
        monkeypatch.setattr(dbus.Connection, "_next", lambda self, deadline: reply)
        assert dbus.Connection(-1, "the peer", 1).call("d", "/p", "i.f", "M") == ["x"]
        assert wire.parse(sent[0]).serial == 1

    def test_a_signature_that_is_a_number(self) -> None:
        with pytest.raises(wire.Malformed, match=r"^a signature that is not a string$"):
            wire.parse(self.message(2, {wire.SIGNATURE: ("u", 5)}))

    def test_values_that_do_not_fit_the_signature(self) -> None:
        for args in ((), ("a", "b")):
            with pytest.raises(ValueError, match=r"zip\(\)"):
                wire.method_call(1, {}, "s", args)
            with pytest.raises(ValueError, match=r"zip\(\)"):
                wire.pack(bytearray(), "(s)", args)


class TestWire:
    @pytest.mark.parametrize(
        ("kind", "value", "padding"),
        [
            *((kind, 1, size - 1) for kind, size in zip("yqnuibhxt", (1, 2, 2, 4, 4, 4, 4, 8, 8), strict=True)),
            *(("d", 1.0, 7), ("s", "a", 3), ("o", "/", 3), ("g", "s", 0), ("ay", b"a", 3), ("v", ("y", 1), 0)),
            *(("(y)", (1,), 7), ("{yy}", (1, 2), 7)),
        ],
    )
    def test_alignment(self, kind: str, value: Any, padding: int) -> None:
        whole, plain = bytearray(1), bytearray()
        wire.pack(whole, kind, value)
        wire.pack(plain, kind, value)
        assert whole == bytes(1 + padding) + plain
        reader = wire.Reader(bytes(whole), "little")
        reader.position = 1
        assert reader.read(kind) == value and reader.position == len(whole)

    @pytest.mark.parametrize(("kind", "size"), [("y", 1), ("q", 2), ("u", 4), ("h", 4), ("b", 4), ("t", 8)])
    def test_numbers_without_a_sign(self, kind: str, size: int) -> None:
        out = bytearray()
        wire.pack(out, kind, (1 << 8 * size) - 1)
        assert out == b"\xff" * size
        value = wire.Reader(bytes(out), "little").read(kind)
        assert value is True if kind == "b" else value == (1 << 8 * size) - 1

    def nested(self, kind: str, depth: int) -> tuple[str, bytes]:
        """A signature and the value of it, a byte in so many variants, arrays or structs."""
        if kind == "v":
            return "v", b"\x01v\x00" * (depth - 1) + b"\x01y\x00\x05"
        signature, value = ("a" * depth + "u", 5) if kind == "a" else ("(" * depth + "y" + ")" * depth, 5)
        wrapped: Any = value
        for _ in range(depth):
            wrapped = [wrapped] if kind == "a" else (wrapped,)
        out = bytearray()
        wire.pack(out, signature, wrapped)
        return signature, bytes(out)

    @pytest.mark.parametrize("kind", ["v", "a", "("])
    def test_depth(self, kind: str) -> None:
        signature, data = self.nested(kind, 64)
        reader = wire.Reader(data, "little")
        reader.read(signature)
        assert reader.position == len(data)
        signature, data = self.nested(kind, 65)
        with pytest.raises(wire.Malformed, match=r"^containers are nested too deeply$"):
            wire.Reader(data, "little").read(signature)

    def test_depth_of_a_signature(self) -> None:
        good, bad = ("(" * depth + "y" + ")" * depth for depth in (64, 65))
        assert wire.types_of(good) == [good]
        with pytest.raises(wire.Malformed, match=r"^bad signature "):
            wire.types_of(bad)

    def test_kinds_of_messages(self) -> None:
        assert (wire.CALL, wire.RETURN, wire.ERROR, wire.SIGNAL) == (1, 2, 3, 4)
