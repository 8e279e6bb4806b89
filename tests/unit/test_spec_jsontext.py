"""JSON without the json package: the same values, stricter texts, and errors with line and column."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import InvalidConfig
from pyruntime.spec.jsontext import dumps, loads, quote

DATA = Path(__file__).parents[1] / "data"

VALUES = [
    *(b"null", b" true\r\n", b"-0", b"18446744073709551616", b"1.5e-3", b'""', b"[]", b"{}", b"[1, [2, {}]]"),
    *(b'"\\ud83d\\ude00 \\u00e9 \\/ \\n"', '"\u00e9\U0001f600"'.encode(), b'"\\u0000"', b'{"a": {"a": null}}'),
    *(b'"\\\\ud800"', b'"\\\\\\ud83d\\ude00"'),  # an escaped backslash is no escape of a surrogate
]


@pytest.mark.parametrize("text", VALUES)
def test_values(text: bytes) -> None:
    assert loads(text, "x") == json.loads(text)
    assert type(loads(text, "x")) is type(json.loads(text))


@pytest.mark.parametrize("path", sorted(DATA.glob("*/*.json")), ids=lambda path: path.name)
def test_whole_documents(path: Path) -> None:
    value = loads(path.read_bytes(), "x")
    assert value == json.loads(path.read_text())
    assert json.loads(dumps(value)) == value


BAD = [
    (b"", "it is empty"),
    (b" \n\t", "it is empty"),
    (b'{\n "a": 1,\n "b": }\n', "line 3, column 7: a value is expected"),
    (b"{", "line 1, column 2: expecting property name enclosed in double quotes, the text ends here"),
    (b'{"a" 1}', "line 1, column 6: expecting ':' delimiter"),
    (b"[1 2]", "line 1, column 4: expecting ',' delimiter"),
    (b"[1,\n2,\n", "line 3, column 1: a value is expected, the text ends here"),
    (b"{'a': 1}", "line 1, column 2: expecting property name enclosed in double quotes"),
    (b"nul", "line 1, column 1: a value is expected"),
    (b"\x00", "line 1, column 1: a value is expected"),
    (b'["a\tb"]', "line 1, column 4: invalid control character"),
    (b'["abc', "line 1, column 2: unterminated string"),
    (b'"\\x41"', "line 1, column 2: invalid \\escape"),
    (b'{} {"a": 1}', "line 1, column 4: more text after the end of the document"),
    (b"{}\n\n  garbage", "line 3, column 3: more text after the end of the document"),
    (b"01", "line 1, column 2: more text after the end of the document"),
    (b"[NaN]", "line 1, column 2: NaN is not a JSON number"),
    (b'{"NaN \\" NaN":\n -Infinity}', "line 2, column 2: -Infinity is not a JSON number"),
    (b"[Infinity]", "line 1, column 2: Infinity is not a JSON number"),
    (b"[1, 1e999]", "line 1, column 5: 1e999 is not a JSON number"),
    (b"1" * 5000, "a number is too long"),
    (b"[" * 200000, "it is nested too deeply"),
    (b'{"a":' * 200000, "it is nested too deeply"),
    (b'{"a":\n"\xff"}', "column 2: it is not UTF-8: byte 0xff; it looks like ISO 8859-1 (Latin-1); save it as UTF-8"),
    (b'"\xed\xa0\x80"', "column 2: it is not UTF-8: byte 0xed; it looks like ISO 8859-1 (Latin-1); save it as UTF-8"),
    (b"\xff\xfe{\x00}\x00", "line 1, column 1: it is not UTF-8: byte 0xff; it looks like UTF-16; save it as UTF-8"),
    ("[1, 2]".encode("utf-16-le"), "column 2: it is not UTF-8: byte 0x00; it looks like UTF-16; save it as UTF-8"),
    ("[1]".encode("utf-16-be"), "column 1: it is not UTF-8: byte 0x00; it looks like UTF-16; save it as UTF-8"),
    ("[1]".encode("utf-32-be"), "column 1: it is not UTF-8: byte 0x00; it looks like UTF-32; save it as UTF-8"),
    ('["€"]'.encode("cp1252"), "column 3: it is not UTF-8: byte 0x80; it looks like windows-1252; save it as UTF-8"),
    (b"[\0\xff", "line 1, column 3: it is not UTF-8: byte 0xff; it is not text"),
    (b'"\\ud800"', r'the string "\ud800" has half of a surrogate pair'),
    (b'{"\\uDC80": 1}', r'the string "\udc80" has half of a surrogate pair'),
    (b'[["a", "\\udc00\\ud800"]]', r'the string "\udc00\ud800" has half of a surrogate pair'),
]


@pytest.mark.parametrize("text, reason", BAD, ids=[repr(text[:20]) for text, _ in BAD])
def test_broken(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        loads(text, "/b/config.json")
    line = str(caught.value)
    assert line.startswith("/b/config.json is not valid JSON: ") and "\n" not in line
    assert line.endswith(reason)


def test_what_stands_for_bytes_is_taken_where_it_may_be_there() -> None:
    """In a record: the path of a bundle is any bytes."""
    path = b"/b/\xff\xc3".decode("utf-8", "surrogateescape")
    assert loads(dumps({"bundle": path}).encode(), "x", raw_bytes=True) == {"bundle": path}
    for text in (b'"\\ud800"', b'"\\udbff"', b'"\\udc7f"', b'"\\udd00"'):
        with pytest.raises(InvalidConfig, match="half of a surrogate pair"):
            loads(text, "x", raw_bytes=True)


def test_byte_order_mark_is_passed_over() -> None:
    assert loads(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}


def test_the_last_of_equal_keys_counts() -> None:
    assert loads(b'{"a": 1, "b": 2, "a": 3}', "x") == {"a": 3, "b": 2}


def test_big_integers_are_exact() -> None:
    assert loads(b"[18446744073709551615, -9223372036854775808]", "x") == [2**64 - 1, -(2**63)]


def test_dumps_is_compact_ascii() -> None:
    assert dumps({"a": [1, None, True, "\u00e9\n"], "b": {}}) == '{"a":[1,null,true,"\\u00e9\\n"],"b":{}}'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_dumps_refuses_what_is_no_json_number(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps([value])


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_dumps_refuses_what_has_no_form(value: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(value).__name__} has no JSON form"):
        dumps([value])


def test_quote() -> None:
    assert quote('a"\u00e9\n') == '"a\\"\u00e9\\n"'
