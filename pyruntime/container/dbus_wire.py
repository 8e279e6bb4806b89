"""The D-Bus wire format: encode and decode values and whole messages.

A value is written by its signature: `y` byte, `b` boolean, `n q i u x t` integers, `d` double, `s o g` strings, `a…`
array, `(…)` struct, `{..}` entry of a dictionary, `v` variant. In Python an array is a list (of bytes: `bytes`), a
struct and a variant are tuples; a variant is (signature, value), a dictionary a list of pairs.
Source: the D-Bus specification, "Marshaling (Wire Format)" and "Message Format".
"""

from __future__ import annotations

from ..text import encode, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Order = Literal["little", "big"]

INTEGERS = {
    "y": (1, False),
    "n": (2, True),
    "q": (2, False),
    "i": (4, True),
    "u": (4, False),
    "x": (8, True),
    "t": (8, False),
    "b": (4, False),
    "h": (4, False),
}
"""Size in bytes, and whether there is a sign."""
ALIGNMENT = {code: size for code, (size, _) in INTEGERS.items()} | {
    "d": 8, "s": 4, "o": 4, "g": 1, "a": 4, "(": 8, "{": 8, "v": 1,
}  # fmt: skip
MAX_MESSAGE = 1 << 27
MAX_DEPTH = 64
"""Limit on how deeply containers may be nested."""
HEADER = "yyyyuua(yv)"
FIXED_HEADER = 16
"""Bytes needed to find the length of a message: the header up to the length of its fields."""
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
"""Codes of header fields."""


class Malformed(Exception):
    """The bytes are not a D-Bus message, or a signature is invalid."""


def end_of_type(signature: str, start: int, depth: int = 0) -> int:
    """Return the end of the complete type that begins at start. Raises Malformed."""
    code = signature[start : start + 1]
    if code not in ALIGNMENT or not code or depth > MAX_DEPTH:
        raise Malformed(f"bad signature {signature!r}")
    if code == "a":
        return end_of_type(signature, start + 1, depth + 1)
    if code not in "({":
        return start + 1
    close, position = {"(": ")", "{": "}"}[code], start + 1
    while signature[position : position + 1] != close:
        position = end_of_type(signature, position, depth + 1)
    if position == start + 1:
        raise Malformed(f"an empty struct in signature {signature!r}")
    return position + 1


def types_of(signature: str) -> list[str]:
    """Return the complete types that a signature consists of. Raises Malformed."""
    types, position = [], 0
    while position < len(signature):
        end = end_of_type(signature, position)
        types.append(signature[position:end])
        position = end
    return types


def pad(out: bytearray, alignment: int) -> None:
    out.extend(bytes(-len(out) % alignment))


def pack(out: bytearray, kind: str, value: Any) -> None:
    """Append a value of one complete type, little-endian. Alignment is relative to the beginning of out.

    Raises OverflowError for an integer out of its type's range, and ValueError for a string with a NUL.
    """
    code = kind[0]
    pad(out, ALIGNMENT[code])
    if code in INTEGERS:
        size, signed = INTEGERS[code]
        out += int(value).to_bytes(size, "little", signed=signed)
    elif code == "d":
        from _struct import pack as pack_struct

        out += pack_struct("<d", value)
    elif code in "sog":
        text = encode(value)
        if b"\0" in text:
            raise ValueError(f"NUL in {value!r}")
        out += len(text).to_bytes(1 if code == "g" else 4, "little") + text + b"\0"
    elif code == "a":
        pack_array(out, kind[1:], value)
    elif code == "v":
        pack(out, "g", value[0])
        pack(out, value[0], value[1])
    else:
        for member, each in zip(types_of(kind[1:-1]), value, strict=True):
            pack(out, member, each)


def pack_array(out: bytearray, element: str, values: Any) -> None:
    """Append an array; its length does not count the padding before the first element."""
    at = len(out)
    out += bytes(4)
    pad(out, ALIGNMENT[element[0]])
    start = len(out)
    if element == "y":
        out += bytes(values)
    else:
        for each in values:
            pack(out, element, each)
    out[at : at + 4] = (len(out) - start).to_bytes(4, "little")


class Reader:
    """Decodes values from untrusted bytes, and checks everything."""

    def __init__(self, data: bytes, order: Order) -> None:
        self.data = data
        self.order: Order = order
        self.position = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise Malformed("a value reaches beyond the end of its message")
        part = self.data[self.position : end]
        self.position = end
        return part

    def align(self, alignment: int) -> None:
        self.take(-self.position % alignment)

    def read(self, kind: str, depth: int = 0) -> Any:
        """Return the next value, of one complete type. Raises Malformed."""
        if depth > MAX_DEPTH:
            raise Malformed("containers are nested too deeply")
        code = kind[0]
        self.align(ALIGNMENT[code])
        if code in INTEGERS:
            size, signed = INTEGERS[code]
            number = int.from_bytes(self.take(size), self.order, signed=signed)
            return bool(number) if code == "b" else number
        if code == "d":
            from _struct import unpack

            return unpack("<d" if self.order == "little" else ">d", self.take(8))[0]
        if code in "sog":
            return self.text(1 if code == "g" else 4)
        if code == "a":
            return self.array(kind[1:], depth)
        if code == "v":
            inner = self.text(1)
            if len(types_of(inner)) != 1:
                raise Malformed(f"a variant of signature {inner!r}")
            return inner, self.read(inner, depth + 1)
        return tuple(self.read(member, depth + 1) for member in types_of(kind[1:-1]))

    def text(self, length_size: int) -> str:
        length = int.from_bytes(self.take(length_size), self.order)
        text = self.take(length)
        if self.take(1) != b"\0":
            raise Malformed("a string without its NUL")
        return show(text)

    def array(self, element: str, depth: int) -> Any:
        length = int.from_bytes(self.take(4), self.order)
        self.align(ALIGNMENT[element[0]])
        if element == "y":
            return self.take(length)
        end = self.position + length
        if end > len(self.data):
            raise Malformed("an array reaches beyond the end of its message")
        values = []
        while self.position < end:
            values.append(self.read(element, depth + 1))
        if self.position != end:
            raise Malformed("an array's last element reaches beyond it")
        return values


class Message:
    """A message: its type, its serial, its header fields by code, and the values of its body."""

    __slots__ = ("body", "fields", "serial", "type")

    def __init__(self, kind: int, serial: int, fields: dict[int, Any], body: list[Any]) -> None:
        self.type = kind
        self.serial = serial
        self.fields = fields
        self.body = body


def method_call(serial: int, fields: dict[int, tuple[str, str]], signature: str, args: tuple[Any, ...]) -> bytes:
    """Return the bytes of a call; fields: its header fields other than the signature, as variants by code."""
    body = bytearray()
    for kind, value in zip(types_of(signature), args, strict=True):
        pack(body, kind, value)
    if signature:
        fields = {**fields, SIGNATURE: ("g", signature)}
    out = bytearray()
    values = (ord("l"), CALL, 0, 1, len(body), serial, list(fields.items()))
    for kind, value in zip(types_of(HEADER), values, strict=True):
        pack(out, kind, value)
    pad(out, 8)
    return bytes(out + body)


def order_of(data: bytes) -> Order:
    """Return the byte order that a message's first byte indicates. Raises Malformed."""
    if data[:1] == b"l":
        return "little"
    if data[:1] == b"B":
        return "big"
    raise Malformed(f"a message begins with {data[:1]!r}")


def length_of(start: bytes) -> int:
    """Return the length of a message, given its first FIXED_HEADER bytes. Raises Malformed."""
    order = order_of(start)
    body, fields = (int.from_bytes(start[at : at + 4], order) for at in (4, 12))
    length = FIXED_HEADER + (fields + 7) // 8 * 8 + body
    if length > MAX_MESSAGE:
        raise Malformed(f"a message of {length} bytes")
    return length


def parse(data: bytes) -> Message:
    """Decode a message of either byte order. Raises Malformed."""
    order = order_of(data)
    reader = Reader(data, order)
    _, kind, _, version, _, serial, pairs = (reader.read(each) for each in types_of(HEADER))
    if version != 1:
        raise Malformed(f"protocol version {version}")
    reader.align(8)
    fields = {code: value for code, (_, value) in pairs}
    signature = fields.get(SIGNATURE, "")
    if not isinstance(signature, str):
        raise Malformed("a signature that is not a string")
    body = Reader(data[reader.position :], order)
    return Message(kind, serial, fields, [body.read(each) for each in types_of(signature)])
