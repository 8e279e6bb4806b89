"""Find out whether a failure was caused by a limit of the container's cgroup, so that the error can say so."""

from __future__ import annotations

import errno

from ..errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cgroup import Cgroup

MEMORY, PIDS = "/linux/resources/memory/limit", "/linux/resources/pids/limit"

SECOND_CLONE = "clone_into_pid_namespace"
"""The step in which a process created in the cgroup creates the one that stays: for a moment there are two."""


def explain(error: BaseException, group: Cgroup, kills: int) -> None:
    """If the cgroup ran out of memory or tasks, add that to the failure.

    kills: the cgroup's oom_kills() before the attempt. Call this while the cgroup still exists.
    """
    if not isinstance(error, Failure):
        return
    memory = (group.read("memory.max") or "max").strip()
    killed = group.oom_kills() > kills
    # An allocation may also fail without anything being killed.
    if memory != "max" and (killed or error.errno == errno.ENOMEM):
        blame(error, f"out of memory: memory.max is {memory} bytes", MEMORY)
    elif killed:
        error.what += ": out of memory, by a limit above the container's cgroup or of the whole machine"
        error.hint = None
    elif error.errno == errno.EAGAIN and tasks_are_used_up(group, 1 + (error.call == SECOND_CLONE)):
        blame(error, f"too many tasks: pids.max is {(group.read('pids.max') or '').strip()}", PIDS)


def blame(error: Failure, why: str, pointer: str) -> None:
    error.what += f": {why}"
    error.pointer, error.hint = pointer, "raise the limit"


def tasks_are_used_up(group: Cgroup, needed: int) -> bool:
    """Whether the limit left no room for that many more tasks; those already created have gone by now."""
    limit, used = (group.read("pids.max") or "").strip(), (group.read("pids.current") or "").strip()
    return limit.isdecimal() and used.isdecimal() and int(used) + needed > int(limit)
