"""`start`: run the user's program in a created container."""

from __future__ import annotations

from ..caller import notify_socket
from ..lifecycle import start as lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def start(options: Options) -> int:
    """`start ID`: make the waiting init execute the program, then run the poststart hooks."""
    lifecycle.start(options.root, options.args[0], notify_socket())
    return 0
