"""`update`: change the limits of a container that is created, running or paused."""

from __future__ import annotations

from .. import spec
from ..errors import Failure, UsageFailure
from ..lifecycle import update as lifecycle
from ..text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..options import Options

    Resources = dict[str, Any]

SUFFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
LARGEST = (1 << 63) - 1


def update(options: Options) -> int:
    """`update ID`: make all of the changes, or none."""
    given, places = read_request(options)
    try:
        lifecycle.update(options.root, options.args[0], given)
    except Failure as failure:
        raise located(failure, places) from None
    return 0


def read_request(options: Options) -> tuple[Resources, dict[str, str]]:
    """Return the resources document of the command line, and the source of each value by JSON pointer."""
    used = [name for name in OPTIONS if getattr(options, name.replace("-", "_"))]
    for name, why in REFUSED.items():
        if getattr(options, name.replace("-", "_")):
            raise UsageFailure(f"--{name}: {why}")
    if options.resources:
        if used:
            raise UsageFailure(f"--{used[0]} can't be combined with --resources")
        what = "standard input" if options.resources == "-" else options.resources
        return spec.load_resources(options.resources), {"": what}
    if not used:
        raise UsageFailure("update needs --resources or a limit; pyruntime update --help lists them")
    given: Resources = {}
    places = {}
    for name in used:
        pointer, read = OPTIONS[name]
        _, group, key = pointer.split("/")
        given.setdefault(group, {})[key] = read(name, getattr(options, name.replace("-", "_")))
        places[pointer] = f"--{name}"
    return given, places


def located(failure: Failure, places: dict[str, str]) -> Failure:
    """Return the failure with its pointer replaced by the source in the request, which is not config.json."""
    if failure.pointer is None:
        return failure
    pointer = failure.pointer.removeprefix("/linux/resources")
    failure.pointer = None
    if pointer in places:
        failure.what += f" [{places[pointer]}]"
    elif "" in places:
        failure.what += f" [{places['']}#{pointer}]"
    return failure


def size(name: str, text: str) -> int:
    """Return bytes for "134217728", "128m", "1.5GiB", or -1, as clients of engines write sizes."""
    if text == "-1":
        return -1
    word = text.strip().lower()
    digits = word.rstrip("kmgtpib ")
    unit = word[len(digits) :].strip().removesuffix("b").removesuffix("i")
    whole, _, part = digits.partition(".")
    if not (whole + part).isdecimal() or not digits.isascii() or len(digits) > 40 or unit not in SUFFIXES:
        raise UsageFailure(f"--{name}: {quoted(text)} is not a size; examples: 134217728, 128m, 1.5g, -1")
    factor = 1024 ** SUFFIXES[unit]
    value: int = int(whole or "0") * factor + int(part or "0") * factor // 10 ** len(part)
    if value > LARGEST:
        raise UsageFailure(f"--{name}: {quoted(text)} is too large")
    return value


def integer(least: int, most: int = LARGEST) -> Callable[[str, str], int]:
    """Return a reader of decimal numbers in a range."""

    def read(name: str, text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and least <= int(text) <= most):
            raise UsageFailure(f"--{name}: {quoted(text)} is not a whole number from {least} to {most}")
        return int(text)

    return read


def words(_name: str, text: str) -> str:
    return text


OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "memory": ("/memory/limit", size),
    "memory-reservation": ("/memory/reservation", size),
    "memory-swap": ("/memory/swap", size),
    "cpu-quota": ("/cpu/quota", integer(-1)),
    "cpu-period": ("/cpu/period", integer(0)),
    "cpu-burst": ("/cpu/burst", integer(0)),
    "cpu-share": ("/cpu/shares", integer(0)),
    "cpu-idle": ("/cpu/idle", integer(0, 1)),
    "cpuset-cpus": ("/cpu/cpus", words),
    "cpuset-mems": ("/cpu/mems", words),
    "pids-limit": ("/pids/limit", integer(-1)),
    "blkio-weight": ("/blockIO/weight", integer(10, 1000)),
    "cpu-rt-period": ("/cpu/realtimePeriod", integer(0)),
    "cpu-rt-runtime": ("/cpu/realtimeRuntime", integer(-1)),
    "kernel-memory": ("/memory/kernel", size),
    "kernel-memory-tcp": ("/memory/kernelTCP", size),
}
"""Option -> place of its value in the resources document, and its parser; an empty value counts as not given."""
REFUSED = {"l3-cache-schema": "Intel RDT is not supported", "mem-bw-schema": "Intel RDT is not supported"}
