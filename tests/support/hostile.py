"""Names that a caller or a container may give, and that are no plain words."""

import pytest

RAW = "a\udcff\udcc3b"
CONTROL = "a\nb\r\x1b[31m\x07\x7f"
HALF = "\udced\udca0\udc80"
"""Half of a surrogate pair, as UTF-8 would have it if it had one."""
BREAKS = "a\u2028b\x85c\x0bd\u3000e"
"""Characters at which Python breaks lines and words, and the kernel doesn't."""
LONG = "n" * 4096
DIGITS = "9" * 5000
"""A number of more digits than Python takes for one."""
NAMES = {"raw": RAW, "control": CONTROL, "half": HALF, "breaks": BREAKS, "long": LONG, "digits": DIGITS}


def names() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


FILES = {**NAMES, "long": "n" * 255, "digits": "9" * 255}
"""The same, as long as the name of a file may be."""


def file_names() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", FILES.values(), ids=FILES)
