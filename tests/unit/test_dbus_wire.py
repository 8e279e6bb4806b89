"""D-Bus on the wire, to the byte. The expected bytes are written by hand from the D-Bus specification."""

from typing import Any

import pytest

from pyruntime.container import dbus_wire as wire


def packed(kind: str, value: Any, at: int = 0) -> str:
    out = bytearray(at)
    wire.pack(out, kind, value)
    return out[at:].hex(" ")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("y", 255, "ff"),
        ("b", True, "01 00 00 00"),
        ("n", -2, "fe ff"),
        ("q", 0x1234, "34 12"),
        ("i", -1, "ff ff ff ff"),
        ("u", 1, "01 00 00 00"),
        ("x", -(1 << 63), "00 00 00 00 00 00 00 80"),
        ("t", (1 << 64) - 1, "ff ff ff ff ff ff ff ff"),
        ("d", 1.0, "00 00 00 00 00 00 f0 3f"),
        ("s", "foo", "03 00 00 00 66 6f 6f 00"),
        ("s", "", "00 00 00 00 00"),
        ("s", "ä", "02 00 00 00 c3 a4 00"),
        ("o", "/", "01 00 00 00 2f 00"),
        ("g", "a(sv)", "05 61 28 73 76 29 00"),
        ("ay", b"\x01\x02", "02 00 00 00 01 02"),
        ("au", [5], "04 00 00 00 05 00 00 00"),
        ("au", [], "00 00 00 00"),
        ("as", ["a", "bc"], "0f 00 00 00 01 00 00 00 61 00 00 00 02 00 00 00 62 63 00"),
        ("v", ("u", 7), "01 75 00 00 07 00 00 00"),
        ("v", ("t", 7), "01 74 00 00 00 00 00 00 07 00 00 00 00 00 00 00"),
        ("v", ("v", ("y", 9)), "01 76 00 01 79 00 09"),
        ("(yu)", (1, 2), "01 00 00 00 02 00 00 00"),
        ("(sb)", ("x", True), "01 00 00 00 78 00 00 00 01 00 00 00"),
        ("{sy}", ("k", 3), "01 00 00 00 6b 00 03"),
        ("a{yy}", [(1, 2), (3, 4)], "0a 00 00 00 00 00 00 00 01 02 00 00 00 00 00 00 03 04"),
    ],
)
def test_values(kind: str, value: Any, expected: str) -> None:
    assert packed(kind, value) == expected
    reader = wire.Reader(bytes.fromhex(expected.replace(" ", "")), "little")
    assert reader.read(kind) == value
    assert reader.position == len(reader.data)


def test_padding_before_the_first_element_does_not_count() -> None:
    """At offset 0 the length ends at 4, the first element of 8 bytes begins at 8: the length is 8 all the same."""
    assert packed("at", [1]) == "08 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00"
    assert packed("at", []) == "00 00 00 00 00 00 00 00"
    assert packed("at", [1], at=4) == "08 00 00 00 01 00 00 00 00 00 00 00"
    assert packed("a(ss)", [("a", "b")]) == "0e 00 00 00 00 00 00 00 01 00 00 00 61 00 00 00 01 00 00 00 62 00"


def test_alignment_is_that_of_the_message_not_of_the_value() -> None:
    assert packed("u", 1, at=1) == "00 00 00 01 00 00 00"
    assert packed("(y)", (1,), at=3) == "00 00 00 00 00 01"
    assert packed("v", ("t", 1), at=3) == "01 74 00 00 00 01 00 00 00 00 00 00 00"


@pytest.mark.parametrize(("kind", "value"), [("y", 256), ("u", -1), ("t", 1 << 64), ("n", 1 << 15)])
def test_a_number_out_of_range(kind: str, value: int) -> None:
    with pytest.raises(OverflowError):
        packed(kind, value)


def test_a_text_with_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        packed("s", "a\0b")


def test_types_of() -> None:
    assert wire.types_of("ssa(sv)a(sa(sv))") == ["s", "s", "a(sv)", "a(sa(sv))"]
    assert wire.types_of("aau(y(s))v") == ["aau", "(y(s))", "v"]
    assert wire.types_of("") == []


@pytest.mark.parametrize(
    "signature", ["a", "(", "(s", ")", "()", "a()", "z", "a" * 80 + "y", "(" * 80 + "y" + ")" * 80]
)
def test_bad_signature(signature: str) -> None:
    with pytest.raises(wire.Malformed, match="an empty struct in" if "()" in signature else "bad signature") as caught:
        wire.types_of(signature)
    assert repr(signature) in str(caught.value)


def test_a_whole_call() -> None:
    fields = {wire.PATH: ("o", "/o"), wire.INTERFACE: ("s", "i.f"), wire.MEMBER: ("s", "M")}
    data = wire.method_call(1, fields, "su", ("x", 9))
    assert data.hex(" ") == (
        "6c 01 00 01 0c 00 00 00 01 00 00 00 38 00 00 00 "  # little-endian, a call; body 12, serial 1, fields 56
        "01 01 6f 00 02 00 00 00 2f 6f 00 00 00 00 00 00 "
        "02 01 73 00 03 00 00 00 69 2e 66 00 00 00 00 00 "
        "03 01 73 00 01 00 00 00 4d 00 00 00 00 00 00 00 "
        "08 01 67 00 02 73 75 00 "
        "01 00 00 00 78 00 00 00 09 00 00 00"
    )
    assert wire.length_of(data[:16]) == len(data)
    message = wire.parse(data)
    assert (message.type, message.serial, message.body) == (wire.CALL, 1, ["x", 9])
    assert message.fields == {1: "/o", 2: "i.f", 3: "M", 8: "su"}


def test_a_call_without_arguments_has_no_signature() -> None:
    data = wire.method_call(2, {wire.PATH: ("o", "/"), wire.MEMBER: ("s", "Hello")}, "", ())
    assert data.hex(" ") == (
        "6c 01 00 01 00 00 00 00 02 00 00 00 1e 00 00 00 "
        "01 01 6f 00 01 00 00 00 2f 00 00 00 00 00 00 00 "
        "03 01 73 00 05 00 00 00 48 65 6c 6c 6f 00 00 00"
    )


BIG_RETURN = bytes.fromhex(
    "42 02 00 01 00 00 00 07 00 00 00 05 00 00 00 0f"  # big-endian, return, body 7, serial 5, fields 15
    "05 01 75 00 00 00 00 03 08 01 67 00 01 6f 00 00"  # reply to serial 3, signature o
    "00 00 00 02 2f 6a 00".replace(" ", "")
)


def test_a_big_endian_peer() -> None:
    assert wire.length_of(BIG_RETURN[:16]) == len(BIG_RETURN)
    message = wire.parse(BIG_RETURN)
    assert (message.type, message.serial, message.body) == (wire.RETURN, 5, ["/j"])
    assert message.fields[wire.REPLY_SERIAL] == 3


def test_every_cut_of_a_message_is_refused() -> None:
    for end in range(len(BIG_RETURN)):
        with pytest.raises(wire.Malformed, match="reaches beyond the end" if end else "a message begins with b''"):
            wire.parse(BIG_RETURN[:end])


@pytest.mark.parametrize(
    ("at", "byte", "words"),
    [(0, 0x78, "a message begins with b'x'"), (3, 2, "protocol version 2"), (34, 9, "beyond the end of its message")],
    ids=["byte order", "version", "text longer than the message"],
)
def test_a_changed_byte_is_refused(at: int, byte: int, words: str) -> None:
    data = bytearray(BIG_RETURN)
    data[at] = byte
    with pytest.raises(wire.Malformed, match=words):
        wire.parse(bytes(data))


def test_a_huge_message_is_refused_before_it_is_read() -> None:
    with pytest.raises(wire.Malformed, match="bytes"):
        wire.length_of(b"l\x02\x00\x01" + b"\xff" * 4 + b"\x01\x00\x00\x00" + b"\0" * 4)


def test_an_array_that_ends_inside_of_an_element() -> None:
    with pytest.raises(wire.Malformed, match="an array's last element reaches beyond it"):
        wire.Reader(bytes.fromhex("0300000001000000"), "little").read("au")


def test_variants_in_variants_have_an_end() -> None:
    with pytest.raises(wire.Malformed, match="deep"):
        wire.Reader(b"\x01v\x00" * 200, "little").read("v")


def test_a_text_that_is_not_utf8_is_shown() -> None:
    """The peer must not send one; an error that names it is still one line."""
    assert wire.Reader(b"\x03\0\0\0a\xff\xc3\0", "little").read("s") == r"a\xff\xc3"
