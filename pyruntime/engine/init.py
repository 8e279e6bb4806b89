"""The container's side of the walk: seal the interpreter, then run init's steps, alternating with the host."""

from __future__ import annotations

import gc
import posix
import sys

from .. import kernel
from ..step import HOST, INIT, Slot
from . import calls, channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..step import Plan, Slots


def seal() -> None:
    """Make every further import fail.

    From here on paths lead into the container's file system, and an import would run the container's code with the
    runtime's privileges (as docker cp did, CVE-2019-14271).
    """
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


NUMBERS = ("umask", "host_pid", "clone_into_pid_namespace")
"""Calls whose result is a number, not a descriptor."""


def close_the_rest(plan: Plan, first: int, slots: Slots, channel_fd: int) -> None:
    """Close the descriptors that no step of init uses: state directory, cgroup, log file and all others of the host.

    A container that may ptrace could reach the host's files through them before init executes the program
    (CVE-2016-9962, CVE-2024-21626). The caller's own descriptors, below the start of the plan's close_range, stay open.
    """
    start = next((step.args[0] for step in plan if step.call == "close_range"), 3)
    used = {arg.name for step in plan.steps[first:] if step.side == INIT for arg in step.args if type(arg) is Slot}
    used -= {step.into for step in plan if step.call in NUMBERS}
    kept = sorted({fd for name in used if type(fd := slots.get(name)) is int and fd >= start} | {channel_fd})
    for fd in kept:
        if fd > start:
            kernel.close_range(start, fd - 1, 0)
        start = max(start, fd + 1)
    kernel.close_range(start, kernel.flags("UINT_MAX"), 0)


def run(plan: Plan, first: int, slots: Slots, channel_fd: int) -> NoReturn:
    """Run init's steps from position first on; never return. Report a failure to the host, or to `start`."""
    # The step to report: clone3 until init's first own step; never a step of the host.
    current = first - 1
    try:
        seal()
        gc.disable()
        close_the_rest(plan, first, slots, channel_fd)
        steps = plan.steps
        run_start = first
        for position in range(first, len(steps)):
            step = steps[position]
            if step.side == INIT:
                current = position
            if position > first and steps[position - 1].side != step.side:
                if step.side == HOST:
                    channel.send_go(channel_fd, channel.shared_names(plan, run_start, position), slots)
                else:
                    channel.receive_go(channel_fd, slots, channel.shared_names(plan, run_start, position), plan, HOST)
                run_start = position
            if step.call == "clone_into_pid_namespace":
                close_the_rest(plan, position, slots, channel_fd)
            if step.side == INIT:
                step.apply(calls, slots)
        # The config has no `process`: start refuses, and there is no program to execute.
        while True:
            kernel.poll([], -1)
    except channel.PeerDied:
        posix._exit(1)
    except BaseException as error:
        # Once `start` has connected, it waits for the result, not the host.
        channel.send_error(slots.get("starter", channel_fd), current, plan.steps[current], error)
    finally:
        posix._exit(1)
