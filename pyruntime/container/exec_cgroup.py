"""The cgroup in which the process of exec starts. Source: clone(2) CLONE_INTO_CGROUP; cgroups(7)."""

from __future__ import annotations

from ..errors import Failure, UsageFailure, os_error_text
from ..text import decode, quoted
from .cgroup import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .record import Record


def exec_cgroup(pid: int, record: Record, given: list[str]) -> str:
    """Return the directory of the cgroup in which exec's process starts: init's own, unless --cgroup names another.

    given: the values of --cgroup, each below the container's own cgroup; "/" is that cgroup itself. Raises Failure.
    """
    if not given:
        return own_cgroup(pid, record["cgroup_mount"])
    if len(given) > 1:
        raise UsageFailure("--cgroup is given more than once; a container is in one hierarchy only")
    part = given[0]
    name = part.rpartition(":")[2].rstrip("/")
    if not part or ".." in name.split("/"):
        raise UsageFailure(f"--cgroup {quoted(part)} is not a cgroup below the container's")
    top = f"{record['cgroup_mount']}{record['cgroup'].rstrip('/')}"
    return f"{top}/{name.lstrip('/')}".rstrip("/")


def own_cgroup(pid: int, mount: str) -> str:
    """Return the directory of the cgroup that a process is actually in.

    A container that nests cgroups may have moved its init; the kernel then refuses to put a process into the top one
    (the rule of no internal processes).
    Raises Failure when the process is gone, or outside this cgroup namespace.
    """
    try:
        lines = decode(read_file(f"/proc/{pid}/cgroup")).split("\n")
    except OSError as error:
        raise Failure(f"container not running: its init {pid} is gone ({os_error_text(error)})") from None
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    if not path.startswith("/") or path.startswith("/..") or path.endswith(" (deleted)"):
        raise Failure(f"the cgroup of process {pid}, {quoted(path)}, can't be reached from here")
    return f"{mount}{path}"
