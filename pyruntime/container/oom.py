"""When something failed: whether the kernel killed for lack of memory meanwhile, so that the error can say so."""

from __future__ import annotations

import errno

from ..errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cgroup import Cgroup

POINTER = "/linux/resources/memory/limit"


def explain(error: BaseException, group: Cgroup, before: int) -> None:
    """Add to a failure that memory ran out in the cgroup, if it did. before: its oom_kills() when things were well.

    It must be called while the cgroup is still there. An allocation may also just fail (ENOMEM), and nothing is killed.
    """
    if not isinstance(error, Failure):
        return
    killed = group.oom_kills() > before
    limit = (group.read("memory.max") or "max").strip()
    if limit != "max" and (killed or error.errno == errno.ENOMEM or "(ENOMEM)" in error.what):
        error.what += f": out of memory: memory.max is {limit} bytes"
        error.pointer, error.hint = POINTER, "raise the limit"
    elif killed:
        error.what += ": out of memory, by a limit above the container's cgroup or of the whole machine"
        error.hint = None
