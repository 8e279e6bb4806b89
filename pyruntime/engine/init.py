"""The container's side of the walk: seal the interpreter, run init's steps in turn with the host's."""

from __future__ import annotations

import gc
import posix
import sys

from .. import kernel
from ..step import HOST, INIT
from . import calls, channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..step import Plan, Slots


def seal() -> None:
    """Make every further import fail.

    From here on paths lead into the container's file system, and an import would run its code with the runtime's
    rights (as docker-cp did, CVE-2019-14271).
    """
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


def run(plan: Plan, first: int, slots: Slots, channel_fd: int) -> NoReturn:
    """Run init's steps from position first on; never returns. A failure is reported to the host, or to `start`."""
    position = first
    try:
        seal()
        gc.disable()
        steps = plan.steps
        run_start = first
        for position in range(first, len(steps)):
            step = steps[position]
            if position > first and steps[position - 1].side != step.side:
                if step.side == HOST:
                    channel.send_go(
                        channel_fd,
                        channel.shared_names(plan, run_start, position),
                        slots,
                    )
                else:
                    channel.receive_go(channel_fd, slots)
                run_start = position
            if step.side == INIT:
                step.apply(calls, slots)
        # A config without `process`: start refuses, and there is nothing to become.
        while True:
            kernel.poll([], -1)
    except channel.PeerDied:
        posix._exit(1)
    except BaseException as error:
        # Once `start` has asked, it is the one who waits for an answer.
        channel.send_error(slots.get("starter", channel_fd), position, plan.steps[position], error)
    finally:
        posix._exit(1)
