"""JSON text by the interpreter's own accelerators, without importing the `json` package on the hot path."""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

from ..errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHITESPACE = " \t\n\r"


class _Context:
    """What the scanner asks of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012

    @staticmethod
    def parse_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")


def _unknown(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} has no JSON form")


_scan = make_scanner(_Context())
_encode = make_encoder(None, _unknown, encode_basestring_ascii, None, ":", ",", False, False, False)


def loads(data: bytes, what: str) -> Any:
    """Return the value of a JSON document. what: its name, for errors.

    Raises InvalidConfig, with line and column, for text that is not JSON.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _broken(what, data[: error.start].decode(), f"invalid UTF-8 byte 0x{data[error.start]:02x}") from None
    text = text.removeprefix("\ufeff")
    start = len(text) - len(text.lstrip(WHITESPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        where = min(int(stop.value), len(text))
        reason = "unexpected end of the document" if where >= len(text) else f"unexpected {text[where]!r}"
        raise _broken(what, text[:where], reason) from None
    except RecursionError:
        raise InvalidConfig(f"{what} is nested too deeply") from None
    except ValueError as error:
        position = getattr(error, "pos", None)
        reason = getattr(error, "msg", str(error))
        raise _broken(what, text if position is None else text[:position], reason) from None
    rest = text[end:].lstrip(WHITESPACE)
    if rest:
        raise _broken(what, text[: len(text) - len(rest)], f"unexpected {rest[0]!r} after the document")
    return value


def _broken(what: str, before: str, reason: str) -> InvalidConfig:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return InvalidConfig(f"{what} is not valid JSON: {reason} at line {line}, column {column}")


def dumps(value: Any) -> str:
    """Return the JSON text of a value, without spaces; works after the import seal."""
    return "".join(_encode(value, 0))
