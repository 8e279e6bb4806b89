"""Values that are put where others stand: other types, boundaries, bytes, long and strange strings."""

from collections.abc import Sequence
from random import Random
from typing import Any

from support.fuzz.edits import raw

NUMBERS: tuple[Any, ...] = (
    *(
        0,
        1,
        -1,
        2,
        3,
        7,
        63,
        64,
        65,
        127,
        128,
        255,
        256,
        999,
        1000,
        1024,
        4095,
        4096,
        32767,
        32768,
        65534,
        65535,
        65536,
    ),
    *(100000, 2147483, 2147484, 0o777, 0o1777, 0o7777, 0o10000, 2**20, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32),
    *(2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -2, -1000, -1001, -(2**31), -(2**31) - 1, -(2**63), -(2**63) - 1),
    *(10**30, 10**400, 0.5, 1.0, -0.0, 1e300),
)
LONG = ("A" * 255, "b" * 256, "c/" * 600, "d" * 4096, "e" * 70000)
BYTES = (
    *(
        "\0",
        "a\0b",
        "\n",
        "a\nb",
        "\r\n",
        "\t",
        "\x01",
        "\x1b[31mred",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202egnp.exe",
        "e\u0301",
    ),
    *("\U0001f600", "\ufeff", "\udcff", "a\udcc3b", "\udced\udca0\udc80", "\u3000", "\ud7ff", "\uffff"),
)
WORDS = (
    *(
        "",
        " ",
        "x",
        ".",
        "..",
        "/",
        "//",
        "-",
        "--",
        "-1",
        "0",
        "1",
        "true",
        "null",
        "%s%n%x",
        "$PATH",
        "${HOME}",
        "`id`",
    ),
    *(
        "*",
        "~",
        "'",
        '"',
        "\\",
        "a=b",
        "=",
        "a b",
        "a,b",
        ",",
        ":",
        "#",
        "@",
        "unlimited",
        "max",
        "root",
        "none",
        "all",
    ),
)
PATHS = (
    *("/", "/..", "/../..", "/.", "//x//y", "/x/../y", "/./x", "x/y", "../x", "/x/", "/nowhere/at/all", "/etc/passwd"),
    *(
        "/link-dir",
        "/link-dir/x",
        "/link-file",
        "/dangling",
        "/loop",
        "/loop/x",
        "/up",
        "/up/x",
        "/absolute/x",
        "/file",
    ),
    *("/file/x", "/proc", "/proc/self", "/proc/self/root", "/proc/1/root/x", "/proc/sys", "/sys", "/dev", "/dev/null"),
    *("/dev/pts/0", "/dev/shm", "/dev/stdout", "/dev/fd/3", "/sys/fs/cgroup", "/tmp", "/run", "/var/run", "/etc"),
    *("/with space", "/with\nline", "/\u00fc", "/" + "long" * 60, "/a" * 1000, "/" + "n" * 256),
)
RAWS = tuple(map(raw, ("NaN", "Infinity", "1e999", "-0", "1E2", "9" * 5000, "01", '"\\ud800"', "{}", "tru")))
"""JSON text that Python does not write by itself, or that is no JSON."""
SHAPES: tuple[Any, ...] = (
    *(None, True, False, [], {}, [None], [[]], [{}], {"": None}, {"x": {}}, [1, "a", None], ["x"] * 1000),
    {str(number): number for number in range(300)},
)


DEEP = (raw("[" * 50 + "]" * 50), raw("[" * 5000 + "]" * 5000), raw('{"a":' * 3000 + "1" + "}" * 3000))


def skewed(chance: Random, pool: Sequence[Any]) -> Any:
    """Return one of a pool, those at its beginning more often: there stand values that a container can live with."""
    return pool[int(len(pool) * chance.random() ** 2)]


def any_value(chance: Random) -> Any:
    """Return a value of any type."""
    pool = chance.choice((NUMBERS, NUMBERS, WORDS, PATHS, BYTES, SHAPES, SHAPES, LONG, RAWS))
    return chance.choice(DEEP if pool is SHAPES and chance.random() < 0.03 else pool)


def text(chance: Random) -> str:
    """Return a string of any kind."""
    return str(chance.choice(chance.choice((WORDS, PATHS, BYTES, LONG))))


def number(chance: Random) -> Any:
    return chance.choice(NUMBERS)


def bent(chance: Random, word: str) -> str:
    """Return a string with a change: something before, after or within it, another case, doubled, cut."""
    extra = chance.choice(chance.choice((WORDS, BYTES, BYTES)))
    at = chance.randint(0, len(word))
    return chance.choice(
        (
            lambda: extra + word,
            lambda: word + extra,
            lambda: word[:at] + extra + word[at:],
            lambda: word + word,
            lambda: word[:at],
            lambda: word[at:],
            word.upper,
            word.title,
            lambda: f"{word},{word}",
            lambda: f" {word} ",
            lambda: f"/{word}",
            lambda: f"{word}/..",
            lambda: f"{word}/../{word}",
            lambda: word.replace("/", "//"),
            lambda: "",
        )
    )()
