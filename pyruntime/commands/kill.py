"""`kill`: send a signal to a container."""

from __future__ import annotations

from ..errors import UsageFailure
from ..kernel import signal_number
from ..lifecycle import kill as lifecycle
from ..text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options

LAST = 64
"""The highest signal number of Linux, SIGRTMAX."""
DEFAULT = "TERM"


def kill(options: Options) -> int:
    """`kill [--all] ID [SIGNAL]`: signal init, or with --all every process of the container."""
    number = read_signal("".join(options.args[1:]) or DEFAULT)
    send = lifecycle.kill_matching if options.regex else lifecycle.kill
    send(options.root, options.args[0], number, everything=options.all)
    return 0


def read_signal(text: str) -> int:
    """Return the number for "TERM", "SIGTERM", "15", "RTMIN+3"; raise UsageFailure for anything else."""
    name = text.upper().removeprefix("SIG")
    number: int | None = None
    if text.isascii() and text.isdecimal():
        number = int(text) if len(text) < 4 else None
    elif name[:5] in ("RTMIN", "RTMAX") and name[6:].isdecimal() and name[5] == ("+" if name[:5] == "RTMIN" else "-"):
        first, last = signal_number("RTMIN") or 0, signal_number("RTMAX") or 0
        number = (first if name[:5] == "RTMIN" else last) + int(name[5:])
        number = number if first <= number <= last else None
    elif name.isalnum() and name.isascii():
        number = signal_number(name)
    if number is None or not 0 <= number <= LAST:
        raise UsageFailure(f"unknown signal {quoted(text)}")
    return number
