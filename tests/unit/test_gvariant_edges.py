"""GVariant's text format: the range of each type, escapes, depth, and what errors say."""

import pytest

from pyruntime.plan import gvariant


def test_gvariant() -> None:
    assert gvariant.parse("[@ay [], [1]]") == ("aay", [b"", b"\x01"])
    assert gvariant.parse(r"'\n\t\r\b\f\v\a\q\u0041\U0001F600'") == ("s", "\n\t\r\b\f\v\aqA\U0001f600")
    assert gvariant.parse("((1, 2), 'x')") == ("((ii)s)", ((1, 2), "x"))
    assert gvariant.parse("signature 'as'") == ("g", "as")
    assert [gvariant.parse(text)[1] for text in ("+5", "-010", "-0x10", "0", ".5", "-1E2")] == [
        5,
        -8,
        -16,
        0,
        0.5,
        -100,
    ]
    for depth, fine in ((16, True), (17, False)):
        text = "[" * depth + "1" + "]" * depth
        if fine:
            assert gvariant.parse(text)[0] == "a" * depth + "i"
        else:
            with pytest.raises(ValueError, match="nested too deeply"):
                gvariant.parse(text)


# GLib's "GVariant Text Format" and the D-Bus specification: type, smallest and largest number.
RANGES = [
    ("byte", 0, 255), ("int16", -(2**15), 2**15 - 1), ("uint16", 0, 2**16 - 1), ("int32", -(2**31), 2**31 - 1),
    ("uint32", 0, 2**32 - 1), ("int64", -(2**63), 2**63 - 1), ("uint64", 0, 2**64 - 1),
]  # fmt: skip
SIGNATURES = {"byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t"}


@pytest.mark.parametrize("kind, low, high", RANGES)
def test_ranges_of_gvariant(kind: str, low: int, high: int) -> None:
    assert [gvariant.parse(f"{kind} {value}") for value in (low, high)] == [
        (SIGNATURES[kind], low), (SIGNATURES[kind], high),
    ]  # fmt: skip
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match="is out of the range of its type"):
            gvariant.parse(f"{kind} {value}")


SAID = [
    ("", "a value is missing at ''"), ("5 6", "unexpected '6' after the value"), ("'a", "without its closing quote"),
    ("@", "@ without a type"), ("@s 5", "'5' where the type is 's'"), ("@i 1.5", "'1.5' where the type is 'i'"),
    ("many", "'many' is not a value"), ("08", "'08' is not a value"), ("uint64 uint32 5", "contradict each other"),
    ("@s true", "a value of another type where 's' is needed"), ("@as 5", "'5' where the type is 'as'"),
    ("@s [1]", "an array where the type is 's'"), ("[]", "an empty array needs its type"),
    ("[1 2]", "']' or a comma is missing at '2]'"), ("@(s) ('a', 'b')", "more members than the type '\\(s\\)' has"),
    ("()", "a tuple has too few members"), ("@(ss) ('a',)", "a tuple has too few members"),
    ("@s (1)", "a tuple where the type is 's'"), ("@(a) (1)", "bad type '\\(a\\)'"), ("@(s)) ('a')", "bad type"),
    ("'\\0'", None), ("'\\u0000'", "a text can't hold NUL"), ("'\\uxyz1'", "xyz1 is not a character"),
    ("'\\U00110000'", "is not a character"),
]  # fmt: skip


@pytest.mark.parametrize("text, said", SAID)
def test_what_is_wrong_with_gvariant(text: str, said: str | None) -> None:
    if said is None:
        assert gvariant.parse(text) == ("s", "0")
        return
    with pytest.raises(ValueError, match=said):
        gvariant.parse(text)


def test_the_longest_time() -> None:
    assert gvariant.microseconds("t", (2**64 - 1) // 1000000) == (2**64 - 1) // 1000000 * 1000000
    for signature, value in (("t", (2**64 - 1) // 1000000 + 1), ("i", -1), ("b", True), ("d", float("inf"))):
        with pytest.raises(ValueError, match="a number of seconds is needed"):
            gvariant.microseconds(signature, value)
