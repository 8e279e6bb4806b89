r"""Bytes and text: the only conversions that the runtime makes, none of which looks up a codec.

Names of files and processes, the output of hooks, the environment and external documents can contain any bytes. They
are converted to two kinds of text: one for internal use (`decode`), which `encode` turns back into the same bytes, and
one for people (`show`), with `\xff` for bytes that are not valid UTF-8.

CPython 3.11 to 3.13 decodes UTF-8 by itself with the error handlers ignore, replace and surrogateescape, and encodes it
with these and with backslashreplace (unicode_decode_utf8 in Objects/unicodeobject.c, utf8_encoder in
Objects/stringlib/codecs.h). For any other handler, including strict, it consults the codec registry at the first
invalid byte, and that imports `encodings`: in the launcher's interpreter, which has only its core, and in a container,
where the file would come from the image. So nothing else in pyruntime may call decode() or encode(), or pass str() an
encoding (tests/unit/test_text.py). launcher/handlers.c makes sure that even then nothing is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST, LAST = 0xDC80, 0xDCFF
"""The surrogates that represent the bytes 0x80 to 0xff in a decoded text (PEP 383)."""


def decode(data: bytes) -> str:
    """Decode bytes as UTF-8, with lone surrogates for the invalid ones (surrogateescape)."""
    return str(data, "utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Return the bytes that decode() was given. Raises UnicodeEncodeError for surrogates that it does not produce."""
    return text.encode("utf-8", "surrogateescape")


def is_raw(text: str) -> bool:
    """Return whether a decoded text contains bytes that were not valid UTF-8."""
    return not text.isascii() and len(text) != len(str(text.encode("utf-8", "ignore"), "utf-8", "ignore"))


def raw_byte(character: str) -> int | None:
    """Return the byte that a surrogate represents, None for any other character."""
    return ord(character) - 0xDC00 if FIRST <= ord(character) <= LAST else None


def shown(text: str) -> str:
    r"""Return a decoded text as people see it, with `\xff` for bytes that were not valid UTF-8."""
    if not is_raw(text):
        return text
    return "".join(c if (byte := raw_byte(c)) is None else f"\\x{byte:02x}" for c in text)


def show(data: bytes) -> str:
    r"""Return bytes as people see them: as UTF-8, with `\xff` for invalid bytes."""
    return shown(decode(data))


def encode_shown(text: str) -> bytes:
    """Return the UTF-8 of a text as people see it. Never fails."""
    return shown(text).encode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """Return text with line breaks, other control characters and raw bytes made visible: an error stays one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown(text))


def quoted(value: Any) -> str:
    r"""Return repr(value), with `\xff` for bytes that were not valid UTF-8, where repr has `\udcff`."""
    said = repr(value)
    if "\\udc" not in said:
        return said
    parts, at = [], 0
    while at < len(said):
        is_escape = said[at] == "\\"
        if is_escape and said.startswith("udc", at + 1) and said[at + 4] in "89abcdef":
            parts.append(f"\\x{said[at + 4 : at + 6]}")
            at += 6
        else:
            size = 2 if is_escape else 1
            parts.append(said[at : at + size])
            at += size
    return "".join(parts)
