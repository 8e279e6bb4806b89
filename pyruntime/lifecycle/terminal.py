"""The terminal of a container's process, when this process relays it."""

from __future__ import annotations

import posix

from .. import kernel
from ..engine import foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..step import Slots


def take_terminal(ours: int, slots: Slots) -> foreground.Terminal:
    """Receive the terminal that the new process opened."""
    posix.close(slots["console"])
    _, fds = kernel.recv_message(ours, 4096, 1)
    posix.close(ours)
    return foreground.Terminal(fds[0])
