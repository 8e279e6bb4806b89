"""A minimal D-Bus client: one connection, one call at a time, and signals kept until they are asked for.

    client                                    server
    ──────                                    ──────
    NUL, AUTH EXTERNAL <uid, hexadecimal>,
    BEGIN ──────────────────────────────────▶            the kernel identifies us to the server
                        ◀── OK <server's id>
    call ───────────────────────────────────▶
                        ◀── signals …, return or error

BEGIN is sent before the answer has arrived, as systemd's own client does, but not together with the first call: systemd
processes data that it has read along with BEGIN only when more arrives, so a short call would wait for ever.

Every wait has a limit. Only built-in modules are imported, because this is on the path of `create --systemd-cgroup`.
Source: the D-Bus specification, "Authentication Protocol" and "Message Protocol".
"""

from __future__ import annotations

import errno
import posix
import time

from .. import kernel
from ..errors import Failure, one_line, os_error_text
from ..text import decode, encode, quoted, show
from . import dbus_wire as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POLLIN = 1
CHUNK = 65536
MAX_LINE = 16384
"""Longest line of the authentication, in bytes."""
HEX = frozenset("0123456789abcdefABCDEF")


class CallFailed(Exception):
    """The peer answered with an error. name: for example org.freedesktop.systemd1.NoSuchUnit. text: for people."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = one_line(text)


def open_address(address: str) -> int:
    """Return a stream socket, connected to the first transport of a D-Bus address that works.

    `unix:path=/run/dbus/system_bus_socket`, or `unix:abstract=…`. Raises OSError, with `call`, or Failure.
    """
    problem: OSError | None = None
    for transport in address.split(";"):
        method, _, text = transport.partition(":")
        keys: dict[str, str] = {}
        for part in text.split(","):
            key, _, value = part.partition("=")
            keys[key] = value
        try:
            if method == "unix" and "path" in keys:
                return int(kernel.unix_connect(kernel.flags("AT_FDCWD"), unescape(keys["path"])))
            if method == "unix" and "abstract" in keys:
                return connect_abstract(unescape(keys["abstract"]))
        except OSError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    raise Failure(f"D-Bus address {quoted(address)} names no Unix socket")


def unescape(text: str) -> str:
    """Return a value of an address with its %XX escapes decoded. Raises Failure."""
    first, *parts = text.split("%")
    for part in parts:
        if len(part) < 2 or not HEX.issuperset(part[:2]):
            raise Failure(f"D-Bus address with a bad escape: {quoted(text)}")
    plain = encode(first) + b"".join(bytes((int(part[:2], 16),)) + encode(part[2:]) for part in parts)
    return decode(plain)


def connect_abstract(name: str) -> int:
    """Connect to a socket in the abstract namespace, which only old session buses use."""
    from _socket import AF_UNIX, SOCK_STREAM, socket

    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.connect(b"\0" + encode(name))
    except OSError as error:
        connection.close()
        error.call = f'connect("@{name}")'  # type: ignore[attr-defined]
        raise
    return connection.detach()


class Connection:
    """A connection, which authenticates itself at once. peer: its name in errors. seconds: the limit of each wait."""

    def __init__(self, fd: int, peer: str, seconds: float) -> None:
        self.fd = fd
        self.peer = peer
        self.seconds = seconds
        self.signals: list[wire.Message] = []
        self._serial = 0
        self._input = b""
        try:
            self._authenticate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.fd >= 0:
            posix.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _authenticate(self) -> None:
        """Authenticate as this user, whom the kernel confirms to the server. Raises Failure when it refuses."""
        deadline = time.monotonic() + self.seconds
        self._send(b"\0AUTH EXTERNAL " + encode(encode(str(posix.geteuid())).hex()) + b"\r\nBEGIN\r\n")
        while b"\r\n" not in self._input:
            if len(self._input) > MAX_LINE:
                raise Failure(f"{self.peer} does not speak D-Bus: {quoted(self._input[:40])}")
            self._receive(deadline)
        line, _, self._input = self._input.partition(b"\r\n")
        if not line.startswith(b"OK"):
            answer = show(line[:200])
            raise Failure(f"{self.peer} refused this user ({posix.geteuid()}): {answer}")

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *args: Any
    ) -> list[Any]:
        """Call a method and return the values of its answer; keep signals that arrive meanwhile.

        Raises CallFailed when the peer answers with an error, and Failure when there is no answer in time.
        """
        deadline = time.monotonic() + self.seconds
        self._serial += 1
        fields = {
            wire.PATH: ("o", path),
            wire.INTERFACE: ("s", interface),
            wire.MEMBER: ("s", member),
            wire.DESTINATION: ("s", destination),
        }
        self._send(wire.method_call(self._serial, fields, signature, args))
        while True:
            message = self._next(deadline)
            if message.type == wire.SIGNAL:
                self.signals.append(message)
            elif message.fields.get(wire.REPLY_SERIAL) != self._serial:
                continue
            elif message.type == wire.RETURN:
                return message.body
            elif message.type == wire.ERROR:
                text = message.body[0] if message.body and isinstance(message.body[0], str) else "no reason given"
                raise CallFailed(str(message.fields.get(wire.ERROR_NAME)), text)

    def next_signal(self, member: str, deadline: float) -> list[Any]:
        """Return the values of the next signal of that name. deadline: by the monotonic clock. Raises Failure."""
        while True:
            message = self.signals.pop(0) if self.signals else self._next(deadline)
            if message.type == wire.SIGNAL and message.fields.get(wire.MEMBER) == member:
                return message.body

    def _next(self, deadline: float) -> wire.Message:
        try:
            while len(self._input) < wire.FIXED_HEADER:
                self._receive(deadline)
            length = wire.length_of(self._input)
            while len(self._input) < length:
                self._receive(deadline)
            data, self._input = self._input[:length], self._input[length:]
            return wire.parse(data)
        except wire.Malformed as error:
            raise Failure(f"{self.peer} sent {error}") from None

    def _send(self, data: bytes) -> None:
        try:
            kernel.send_message(self.fd, data)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise Failure(f"{self.peer} closed the connection") from None
            raise Failure(f"{self.peer}: {os_error_text(error)}") from None

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not kernel.poll([(self.fd, POLLIN)], int(left * 1000) + 1):
            raise Failure(f"{self.peer} did not answer within {self.seconds:g} s")
        try:
            data = posix.read(self.fd, CHUNK)
        except ConnectionResetError:
            data = b""
        except OSError as error:
            raise Failure(f"{self.peer}: {os_error_text(error)}") from None
        if not data:
            raise Failure(f"{self.peer} closed the connection")
        self._input += data
