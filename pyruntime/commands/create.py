"""`create` and `run`: make a container from a bundle."""

from __future__ import annotations

from ..lifecycle import create as lifecycle
from .arguments import creation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def create(options: Options) -> int:
    """`create ID`: set up the container, whose program waits for `start`."""
    lifecycle.create(options.root, options.args[0], creation(options))
    return 0


def run(options: Options) -> int:
    """`run ID`: create and start; unless detached, wait, delete and return the program's exit status."""
    from ..lifecycle.run import run

    return run(options.root, options.args[0], creation(options, foreground=not options.detach), keep=options.keep)
