"""Parses GVariant's text format, in which annotations set unit properties: `uint64 5`, `'text'`, `[('a', true)]`.

Supports what properties need: scalars, texts, arrays and tuples, with type keywords (`uint64 5`) and annotations
(`@as []`). Source: GLib's "GVariant Text Format"; the types are D-Bus's (see container.dbus_wire).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEYWORDS = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t",
    "double": "d", "string": "s", "objectpath": "o", "signature": "g",
}  # fmt: skip
RANGES = {
    "y": (0, 1 << 8), "n": (-(1 << 15), 1 << 15), "q": (0, 1 << 16), "i": (-(1 << 31), 1 << 31),
    "u": (0, 1 << 32), "x": (-(1 << 63), 1 << 63), "t": (0, 1 << 64),
}  # fmt: skip
"""Integer types: the smallest value, and the first one that is too large."""
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a"}
CODES = {"u": 4, "U": 8}
"""The number of hexadecimal digits in an escape for a character."""
WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._")
TYPE = frozenset("bynqiuxtdsoga()")
MAX_DEPTH = 16


def parse(text: str) -> tuple[str, Any]:
    """Return the signature and the value. Raises ValueError with a description of what is wrong."""
    parser = Parser(text)
    signature, value = parser.value(None, 0)
    if parser.peek():
        raise ValueError(f"unexpected {text[parser.position :]!r} after the value")
    return signature, value


def microseconds(signature: str, value: Any) -> int:
    """Convert seconds to microseconds. Raises ValueError for a value that is not a number."""
    if signature not in (*RANGES, "d") or value < 0 or not value * 1000000 < 1 << 64:
        raise ValueError("a number of seconds is needed")
    return int(value * 1000000)


class Parser:
    """A parser with its position in the text. wanted: the signature that the value must have, None for any."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> str:
        """Skip white space and return the next character, "" at the end."""
        while self.text[self.position : self.position + 1].isspace():
            self.position += 1
        return self.text[self.position : self.position + 1]

    def word(self, letters: frozenset[str]) -> str:
        start = self.position
        while self.text[self.position : self.position + 1] and self.text[self.position] in letters:
            self.position += 1
        return self.text[start : self.position]

    def value(self, wanted: str | None, depth: int) -> tuple[str, Any]:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        first = self.peek()
        if first == "@":
            self.position += 1
            return self.value(agreed(self.word(TYPE), wanted), depth + 1)
        if first in ("'", '"'):
            return agreed_of(wanted, "s", "sog"), self.string(first)
        if first == "[":
            return self.array(wanted, depth)
        if first == "(":
            return self.tuple(wanted, depth)
        word = self.word(WORD)
        if word in KEYWORDS:
            return self.value(agreed(KEYWORDS[word], wanted), depth + 1)
        if word in ("true", "false"):
            return agreed_of(wanted, "b", "b"), word == "true"
        if not word:
            raise ValueError(f"a value is missing at {self.text[self.position :][:20]!r}")
        return number(word, wanted)

    def string(self, quote: str) -> str:
        self.position += 1
        out = ""
        while True:
            c = self.text[self.position : self.position + 1]
            self.position += 1
            if c == quote:
                return out
            if c == "\\":
                c = self.escape()
            elif not c:
                raise ValueError("a text without its closing quote")
            if c == "\0":
                raise ValueError("a text can't hold NUL")
            out += c

    def escape(self) -> str:
        c = self.text[self.position : self.position + 1]
        self.position += 1
        if c not in CODES:
            return ESCAPES.get(c, c)
        digits = self.text[self.position : self.position + CODES[c]]
        self.position += CODES[c]
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise ValueError(f"\\{c}{digits} is not a character") from None

    def members(self, close: str) -> Any:
        """Yield before each member of a list, up to its closing bracket."""
        self.position += 1
        while self.peek() != close:
            yield
            if self.peek() == ",":
                self.position += 1
            elif self.peek() != close:
                raise ValueError(f"{close!r} or a comma is missing at {self.text[self.position :][:20]!r}")
        self.position += 1

    def array(self, wanted: str | None, depth: int) -> tuple[str, Any]:
        if wanted is not None and wanted[:1] != "a":
            raise ValueError(f"an array where the type is {wanted!r}")
        element = wanted[1:] if wanted else None
        values = []
        for _ in self.members("]"):
            element, value = self.value(element, depth + 1)
            values.append(value)
        if element is None:
            raise ValueError("an empty array needs its type, as in @as []")
        return f"a{element}", bytes(values) if element == "y" else values

    def tuple(self, wanted: str | None, depth: int) -> tuple[str, Any]:
        types = None if wanted is None else members_of(wanted)
        signature = ""
        values: list[Any] = []
        for _ in self.members(")"):
            if types is not None and len(types) <= len(values):
                raise ValueError(f"more members than the type {wanted!r} has")
            kind, value = self.value(None if types is None else types[len(values)], depth + 1)
            signature += kind
            values.append(value)
        if not values or (types is not None and len(types) != len(values)):
            raise ValueError("a tuple has too few members")
        return f"({signature})", tuple(values)


def number(word: str, wanted: str | None) -> tuple[str, Any]:
    """Return a number, by default as int32 or double. Raises ValueError."""
    digits = word.lstrip("+-").lower()
    real = not digits.startswith("0x") and any(c in digits for c in ".e")
    kind = wanted or ("d" if real else "i")
    if kind == "d":
        return kind, float(word)
    if kind not in RANGES or real:
        raise ValueError(f"{word!r} where the type is {kind!r}" if wanted else f"{word!r} is not a value")
    octal = len(digits) > 1 and digits.isdecimal() and digits[0] == "0"
    try:
        value = int(word, 8) if octal else int(word, 0)
    except ValueError:
        raise ValueError(f"{word!r} is not a value") from None
    low, high = RANGES[kind]
    if not low <= value < high:
        raise ValueError(f"{word} is out of the range of its type")
    return kind, value


def agreed(given: str, wanted: str | None) -> str:
    if not given:
        raise ValueError("@ without a type")
    if wanted not in (None, given):
        raise ValueError(f"the types {given!r} and {wanted!r} contradict each other")
    return given


def agreed_of(wanted: str | None, default: str, possible: str) -> str:
    if wanted is None:
        return default
    if len(wanted) != 1 or wanted not in possible:
        raise ValueError(f"a value of another type where {wanted!r} is needed")
    return wanted


def members_of(signature: str) -> list[str]:
    """Return the types of a tuple's members. Raises ValueError."""
    if not (signature.startswith("(") and signature.endswith(")")):
        raise ValueError(f"a tuple where the type is {signature!r}")
    types, kind, depth = [], "", 0
    for c in signature[1:-1]:
        kind += c
        depth += (c == "(") - (c == ")")
        if depth == 0 and c != "a":
            types.append(kind)
            kind = ""
    if kind or depth:
        raise ValueError(f"bad type {signature!r}")
    return types
