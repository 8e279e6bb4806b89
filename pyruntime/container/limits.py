"""When something failed: whether a limit of the container's cgroup was the reason, so that the error can say so."""

from __future__ import annotations

import errno

from ..errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cgroup import Cgroup

MEMORY, PIDS = "/linux/resources/memory/limit", "/linux/resources/pids/limit"

SECOND_CLONE = "clone_into_pid_namespace"
"""The step by which a process that was made in the cgroup makes the one that stays: for a moment there are two."""


def explain(error: BaseException, group: Cgroup, kills: int) -> None:
    """Add to a failure that memory, or the number of tasks, ran out in the cgroup, if it did.

    kills: the cgroup's oom_kills() when things were well. To be called while the cgroup is still there.
    """
    if not isinstance(error, Failure):
        return
    memory = (group.read("memory.max") or "max").strip()
    killed = group.oom_kills() > kills
    # An allocation may also just fail, and nothing is killed.
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
    """Whether there was no room for so many tasks more; what had been made of them is gone again."""
    limit, used = (group.read("pids.max") or "").strip(), (group.read("pids.current") or "").strip()
    return limit.isdecimal() and used.isdecimal() and int(used) + needed > int(limit)
