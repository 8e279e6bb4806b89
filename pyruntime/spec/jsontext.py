"""JSON text by the interpreter's own accelerators (`_json`), without importing the `json` package on the hot path.

Stricter than `json` where RFC 8259 or the kernel's strings ask for it: no NaN or Infinity, no lone surrogates.
"""

from __future__ import annotations

from ..errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

WHITESPACE = " \t\n\r"
INFINITY = float("inf")


class _NotJsonError(ValueError):
    """A word or number that Python's scanner takes and JSON has not."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotJsonError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (INFINITY, -INFINITY):
        raise _NotJsonError(digits)
    return number


class _Context:
    """What the scanner asks of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


def _unknown(value: Any) -> NoReturn:
    raise TypeError(f"{type(value).__name__} has no JSON form")


class _Accelerators:
    """What is used of `_json`: loaded at the first use, so that this module can be imported where it is not found."""

    def __init__(self) -> None:
        from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

        self.scan: Any = make_scanner(_Context())
        self.encode: Any = make_encoder(None, _unknown, encode_basestring_ascii, None, ":", ",", False, False, False)
        self.quote: Callable[[str], str] = encode_basestring


_loaded: list[_Accelerators] = []


def _accelerators() -> _Accelerators:
    if not _loaded:
        _loaded.append(_Accelerators())
    return _loaded[0]


def loads(data: bytes, what: str) -> Any:
    """Return the value of a JSON document in UTF-8; a byte order mark is passed over, the last of equal keys counts.

    what: the document's name, for errors. Raises InvalidConfig with line and column for text that is not JSON.
    """
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as error:
        position = len(str(data[: error.start], "utf-8"))
        reason = f"invalid UTF-8 byte 0x{data[error.start]:02x}"
        raise _broken(what, str(data, "utf-8", "replace"), position, reason) from None
    text = text.removeprefix("\ufeff")
    start = len(text) - len(text.lstrip(WHITESPACE))
    if start == len(text):
        raise InvalidConfig(f"{what} is not valid JSON: it is empty")
    try:
        value, end = _accelerators().scan(text, start)
    except StopIteration as stop:
        raise _broken(what, text, stop.value, "a value is expected") from None
    except RecursionError:
        raise InvalidConfig(f"{what} is not valid JSON: it is nested too deeply") from None
    except _NotJsonError as error:
        word = error.args[0]
        raise _broken(what, text, _find_outside_strings(text, word), f"{word} is not a JSON number") from None
    except (ValueError, SystemError):
        raise _told_by_json(what, text, start) from None
    rest = text[end:].lstrip(WHITESPACE)
    if rest:
        raise _broken(what, text, len(text) - len(rest), "more text after the end of the document")
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value, what)
    return value


def dumps(value: Any) -> str:
    """Return the JSON text of a value: ASCII only, without spaces; works after the import seal.

    Raises ValueError for NaN and Infinity, TypeError for what JSON has no form for.
    """
    return "".join(_accelerators().encode(value, 0))


def quote(text: str) -> str:
    """Return a string as a JSON string, for messages."""
    return _accelerators().quote(text)


def _told_by_json(what: str, text: str, start: int) -> InvalidConfig:
    """Scan a broken text once more, now with the `json` package loaded, which gives the scanner its error class.

    Without it Python 3.11's scanner fails with no exception at all (SystemError), later ones load it themselves.
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


def _broken(what: str, text: str, position: int, reason: str) -> InvalidConfig:
    position = min(position, len(text))
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    if position == len(text):
        reason += ", the text ends here"
    return InvalidConfig(f"{what} is not valid JSON: line {line}, column {column}: {reason}")


def _find_outside_strings(text: str, word: str) -> int:
    """Return the first place of a word that is not within a string."""
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


def _refuse_lone_surrogates(value: Any, what: str) -> None:
    """Raise InvalidConfig for half of a surrogate pair: it has no UTF-8 form, so no path or argument can hold it."""
    for text in _strings(value):
        if not text.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            raise InvalidConfig(f"{what} is not valid JSON: the string {quote(text)} has half of a surrogate pair")


def _strings(value: Any) -> Iterator[str]:
    """Yield all strings of a value; without recursion, which ends sooner in Python than in the scanner."""
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
