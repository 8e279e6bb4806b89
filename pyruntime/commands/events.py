"""`events`: statistics of a container, once or at intervals, and a line each time that it runs out of memory."""

from __future__ import annotations

import sys

from ..errors import UsageFailure
from ..lifecycle import events as lifecycle
from ..spec.jsontext import dumps
from ..text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..options import Options

INTERVAL = "5s"
UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "μs": 10**3, "ns": 1}
"""Units of Go's durations in nanoseconds; µ has two code points."""
LONGEST = (1 << 63) - 1
STDOUT = 1


def events(options: Options) -> int:
    """`events [--stats] [--interval D] ID`: one line of JSON for each event, until the container stops."""
    interval = duration(options.interval or INTERVAL)
    container_id = options.args[0]

    def emit(kind: str, data: dict[str, Any] | None) -> None:
        event = {"type": kind, "id": container_id}
        sys.stdout.write(dumps(event if data is None else {**event, "data": data}) + "\n")
        sys.stdout.flush()

    if options.stats:
        emit("stats", lifecycle.stats(options.root, container_id))
    else:
        lifecycle.watch(options.root, container_id, interval, emit, STDOUT)
    return 0


def duration(text: str) -> int:
    """Return nanoseconds for a duration as Go writes it: "5s", "500ms", "1m30s", "1.5h". Raises UsageFailure."""
    total, rest = 0, text
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = rest[: len(rest) - len(rest.lstrip("hmsunµμ"))]
        rest = rest[len(unit) :]
        whole, _, part = digits.partition(".")
        if unit not in UNITS or not (whole + part).isdecimal() or len(digits) > 40:
            raise UsageFailure(f"--interval {quoted(text)} is not a duration; examples: 500ms, 5s, 1m30s")
        total += int(whole or "0") * UNITS[unit] + int(part or "0") * UNITS[unit] // 10 ** len(part)
    if not 0 < total <= LONGEST:
        raise UsageFailure(f"--interval {quoted(text)} must be more than 0, and no longer than 292 years")
    return total
