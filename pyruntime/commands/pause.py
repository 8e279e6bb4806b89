"""`pause` and `resume`: the cgroup's freezer."""

from __future__ import annotations

from ..lifecycle import pause as lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def pause(options: Options) -> int:
    """`pause ID`: freeze all processes of a created or running container."""
    lifecycle.pause(options.root, options.args[0])
    return 0


def resume(options: Options) -> int:
    """`resume ID`: let the processes of a paused container continue."""
    lifecycle.resume(options.root, options.args[0])
    return 0
