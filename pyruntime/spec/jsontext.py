"""JSON text, by the interpreter's own accelerators (`_json`), without importing the `json` package on the hot path.

Stricter than `json` where RFC 8259 or the kernel's strings require it: no NaN or Infinity, no lone surrogates.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..text import decode, is_raw, raw_byte

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

WHITESPACE = " \t\n\r"
INFINITY = float("inf")
MAPS = frozenset(("annotations", "sysctl", "timeOffsets", "netDevices", "unified", "rdma"))
"""Properties of the runtime specification whose values are maps."""


class _NotJsonError(ValueError):
    """A word or number that Python's scanner accepts but JSON does not have."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotJsonError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (INFINITY, -INFINITY):
        raise _NotJsonError(digits)
    return number


class _Context:
    """The attributes of a decoder that the scanner uses."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


def _unknown(value: Any) -> NoReturn:
    raise TypeError(f"{type(value).__name__} has no JSON form")


class _Accelerators:
    """The parts of `_json` in use, loaded on first use, so that this module can be imported without `_json`."""

    def __init__(self) -> None:
        from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

        self.scan: Any = make_scanner(_Context())
        self.make: Any = make_encoder(None, _unknown, encode_basestring_ascii, None, ":", ",", False, False, False)
        self.quote: Callable[[str], str] = encode_basestring


_loaded: list[_Accelerators] = []


def _accelerators() -> _Accelerators:
    if not _loaded:
        _loaded.append(_Accelerators())
    return _loaded[0]


def loads(data: bytes, what: str, *, raw_bytes: bool = False) -> Any:
    """Parse a JSON document in UTF-8. A byte order mark is skipped; of duplicate keys, the last one counts.

    what: the document's name, for errors. raw_bytes: allow the surrogates in strings that represent bytes that are not
    UTF-8 (text.decode), as dumps() writes them for a path. Raises InvalidConfig with line and column for invalid JSON.
    """
    text = decode(data)
    if is_raw(text):
        raise _not_utf8(data, text, what)
    text = text.removeprefix("\ufeff")
    start = len(text) - len(text.lstrip(WHITESPACE))
    if start == len(text):
        raise InvalidConfig(f"{what} is not valid JSON: it is empty")
    try:
        value, end = _accelerators().scan(text, start)
    except StopIteration as stop:
        if _wide_encoding(data):
            raise _not_utf8(data, text, what) from None
        raise _broken(what, text, stop.value, "a value is expected") from None
    except RecursionError:
        raise InvalidConfig(f"{what} is not valid JSON: it is nested too deeply") from None
    except _NotJsonError as error:
        word = error.args[0]
        raise _broken(what, text, _find_outside_strings(text, word), f"{word} is not a JSON number") from None
    except (ValueError, SystemError):
        if _wide_encoding(data):
            raise _not_utf8(data, text, what) from None
        raise _located_by_json(what, text, start) from None
    rest = text[end:].lstrip(WHITESPACE)
    if rest:
        raise _broken(what, text, len(text) - len(rest), "more text after the end of the document")
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value, what, raw_bytes=raw_bytes)
    return value


def load_document(data: bytes, what: str) -> Any:
    """Parse a document of the runtime specification, like loads(), and remove properties that are null.

    Go programs write them, and Go's decoder treats them as absent. In a list, and in a map with arbitrary keys, null
    stays, and is rejected later.
    """
    value = loads(data, what)
    if b"null" in data:
        _drop_nulls(value)
    return value


def _drop_nulls(value: Any) -> None:
    todo = [(value, False)]
    while todo:
        one, is_map = todo.pop()
        if isinstance(one, dict):
            if not is_map:
                for key in [key for key, member in one.items() if member is None]:
                    del one[key]
            todo += [(member, key in MAPS) for key, member in one.items()]
        elif isinstance(one, list):
            todo += [(member, False) for member in one]


def dumps(value: Any) -> str:
    """Return the JSON text of a value: ASCII only, without spaces. Works after the import system is sealed.

    Raises ValueError for NaN and Infinity, TypeError for types that JSON can't represent.
    """
    return "".join(_accelerators().make(value, 0))


def quote(text: str) -> str:
    """Return a text as a JSON string, for messages."""
    return _accelerators().quote(text)


def _located_by_json(what: str, text: str, start: int) -> InvalidConfig:
    """Scan invalid text again, now with the `json` package loaded, whose error class says where it is wrong.

    Without the package, Python 3.11's scanner fails without setting an exception (SystemError); later ones import it.
    """
    from json import JSONDecodeError

    try:
        _accelerators().scan(text, start)
    except JSONDecodeError as error:
        reason = error.msg.rstrip(": ").removesuffix(" at").removesuffix(" starting")
        return _broken(what, text, error.pos, reason[:1].lower() + reason[1:])
    except ValueError:
        pass  # int() on thousands of digits
    return InvalidConfig(f"{what} is not valid JSON: a number is too long")


def _not_utf8(data: bytes, text: str, what: str) -> InvalidConfig:
    """Return the failure for a document in another encoding: its first invalid byte, and which encoding it may be.

    text: the document as returned by decode().
    """
    found = ((at, byte) for at, each in enumerate(text) if (byte := raw_byte(each)) is not None)
    position, byte = next(found, (text.find("\0"), 0))
    encoding = _wide_encoding(data)
    if not encoding and b"\0" not in data:
        encoding = "windows-1252" if 0x80 <= byte < 0xA0 else "ISO 8859-1 (Latin-1)"
    looks = f"it looks like {encoding}; save it as UTF-8" if encoding else "it is not text"
    return _broken(what, text, position, f"it is not UTF-8: byte 0x{byte:02x}; {looks}")


def _wide_encoding(data: bytes) -> str:
    """Return the UTF-16 or UTF-32 encoding that a document seems to have, "" for neither.

    Source: RFC 4627 section 3, which detects them by the positions of NULs: JSON begins with ASCII characters.
    """
    nulls = [not each for each in data[:4]]
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") or sum(nulls) == 3:
        return "UTF-32"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or nulls in ([True, False] * 2, [False, True] * 2):
        return "UTF-16"
    return ""


def _broken(what: str, text: str, position: int, reason: str) -> InvalidConfig:
    position = min(position, len(text))
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    if position == len(text):
        reason += ", the text ends here"
    return InvalidConfig(f"{what} is not valid JSON: line {line}, column {column}: {reason}")


def _find_outside_strings(text: str, word: str) -> int:
    """Return the position of the first occurrence of a word outside of strings."""
    position, inside = 0, False
    while position < len(text):
        if text[position] == '"':
            inside = not inside
        elif inside and text[position] == "\\":
            position += 1
        elif not inside and text.startswith(word, position):
            break
        position += 1
    return position


def _refuse_lone_surrogates(value: Any, what: str, *, raw_bytes: bool) -> None:
    """Raise InvalidConfig for half of a surrogate pair: it has no UTF-8 form, so no path or argument can contain it.

    raw_bytes: accept those that represent a byte.
    """
    for text in _strings(value):
        halves = [each for each in text if 0xD800 <= ord(each) <= 0xDFFF] if not text.isascii() else []
        if any(not raw_bytes or raw_byte(each) is None for each in halves):
            raise InvalidConfig(f"{what} is not valid JSON: the string {dumps(text)} has half of a surrogate pair")


def _strings(value: Any) -> Iterator[str]:
    """Yield all strings of a value. Without recursion, whose limit is lower in Python than in the scanner."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            todo += one.values()
            yield from one
        elif isinstance(one, list):
            todo += one
