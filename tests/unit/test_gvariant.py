"""Values in GVariant's text format, as in GLib's documentation of it."""

from typing import Any

import pytest

from pyruntime.plan import gvariant


@pytest.mark.parametrize(
    ("text", "signature", "value"),
    [
        ("true", "b", True),
        ("boolean false", "b", False),
        ("5", "i", 5),
        (" -7 ", "i", -7),
        ("0x1f", "i", 31),
        ("017", "i", 15),
        ("uint64 18446744073709551615", "t", (1 << 64) - 1),
        ("uint32 5", "u", 5),
        ("byte 255", "y", 255),
        ("int16 -32768", "n", -32768),
        ("1.5", "d", 1.5),
        ("1e3", "d", 1000.0),
        ("double 2", "d", 2.0),
        ("'inactive-or-failed'", "s", "inactive-or-failed"),
        ('"it\'s"', "s", "it's"),
        (r"'a\'b\\\n\u00e4'", "s", "a'b\\\nä"),
        ("objectpath '/a'", "o", "/a"),
        ("['a', 'b']", "as", ["a", "b"]),
        ("['a',]", "as", ["a"]),
        ("@as []", "as", []),
        ("@a(ss) [('/dev/null', 'rw')]", "a(ss)", [("/dev/null", "rw")]),
        ("[(uint64 1, 'x'), (2, 'y')]", "a(ts)", [(1, "x"), (2, "y")]),
        ("[uint64 1, 2]", "at", [1, 2]),
        ("@ay [0x01, 0x02]", "ay", b"\x01\x02"),
        ("(true, ['x'])", "(bas)", (True, ["x"])),
        ("@(ta(sb)) (1, [('x', true)])", "(ta(sb))", (1, [("x", True)])),
    ],
)
def test_values(text: str, signature: str, value: Any) -> None:
    assert gvariant.parse(text) == (signature, value)


@pytest.mark.parametrize(
    "text",
    [
        "", "many", "5 6", "'open", "[1, 'x']", "[", "[1", "(1", "()", "[]", "uint64", "uint64 -1", "byte 256",
        "int32 2147483648", "uint32 'x'", "@s 5", "@ 5", "@a 5", "@z 5", "uint64 true", "true 1", "08", "1.5.2",
        "uint32 1.5",
        "@(s) ('a', 'b')", "@(ss) ('a',)", "@as 'x'", "@s ['x']", r"'\u00'", r"'\u0000'", "<5>", "{'a': 1}", "[1 2]",
        "uint64 uint32 5", "(" * 50 + "1" + ")" * 50,
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        gvariant.parse(text)
    assert str(raised.value), "it says what is wrong"


@pytest.mark.parametrize(("signature", "value", "microseconds"), [("i", 3, 3000000), ("d", 1.5, 1500000), ("t", 0, 0)])
def test_seconds(signature: str, value: Any, microseconds: int) -> None:
    assert gvariant.microseconds(signature, value) == microseconds


@pytest.mark.parametrize(("signature", "value"), [("s", "3"), ("i", -1), ("t", (1 << 64) - 1), ("d", float("nan"))])
def test_not_seconds(signature: str, value: Any) -> None:
    with pytest.raises(ValueError, match="seconds"):
        gvariant.microseconds(signature, value)
