"""The status of a container, derived from the kernel: the record only names the process to look at.

Source: runtime-spec runtime.md "State"; pidfd_open(2), proc_pid_stat(5).
"""

from __future__ import annotations

import errno
import posix

from .. import files, kernel, observer
from ..errors import Failure
from ..state_files import START_SOCKET
from ..text import decode, show
from . import cgroup
from .record import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .record import Record
    from .store import Container

DEAD = ("Z", "X", "x")
HELD = ("T", "t")
GONE = (0, -1, "X")
LOCK_SHARED_NONBLOCKING = 1 | 4


class Status:
    """status: creating, created, running, paused or stopped. pid: init's, 0 when stopped. pidfd: of init, or -1."""

    __slots__ = ("pid", "pidfd", "status")

    def __init__(self, status: str, pid: int = 0, pidfd: int = -1) -> None:
        self.status = status
        self.pid = pid
        self.pidfd = pidfd

    def close(self) -> None:
        if self.pidfd >= 0:
            posix.close(self.pidfd)
            self.pidfd = -1


@observer.phase
def status_of(container: Container) -> Status:
    """Return the container's current status. Raises Failure when its record is damaged.

    A container whose creator died before init was ready is stopped. A frozen one is paused, started or not.
    """
    record = container.sound().record
    if "pid" not in record:
        if being_created(container):
            return Status("creating")
        # Or create has just finished, after the record was read.
        container.load()
        record = container.sound().record
    pid, pidfd, letter = open_init(record)
    if pidfd < 0:
        return Status("stopped")
    try:
        if cgroup.of(record).frozen():
            status = "paused"
        else:
            status = "created" if waits_for_start(container, held=letter in HELD) else "running"
    except BaseException:
        posix.close(pidfd)
        raise
    return Status(status, pid, pidfd)


def open_init(record: Record) -> tuple[int, int, str]:
    """Return init's pid, a pidfd of it and its state letter, or (0, -1, "X") when it is gone.

    The pidfd is opened first and the identity compared afterwards, so the process can't be replaced in between.
    """
    pid = record.get("pid")
    if type(pid) is not int or not 1 < pid < 1 << 31 or record.get("boot_id") != boot_id():
        return GONE
    try:
        pidfd = kernel.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return GONE
        raise
    try:
        letter, started = stat_of(pid)
    except BaseException:
        posix.close(pidfd)
        raise
    if letter in DEAD or started != record.get("start_time"):
        posix.close(pidfd)
        return GONE
    return pid, pidfd, letter


def stat_of(pid: int) -> tuple[str, int]:
    """Return a process's state letter and start time (field 22, clock ticks since boot); ("X", -1) when it is gone."""
    fields = stat_fields(pid)
    return (decode(fields[0]), int(fields[19])) if fields else ("X", -1)


def parent_of(pid: int) -> int:
    """Return the pid of a process's parent; 0 when it has none in this pid namespace, or is gone."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else 0


def stat_fields(pid: int) -> list[bytes]:
    """Return the fields of a process's stat file, beginning with the state letter, or [] when it is gone.

    Raises Failure when the file can't be read: a process that could not be examined, for lack of a descriptor, may run.
    """
    path = f"/proc/{pid}/stat"
    try:
        text = files.read_head(path, 4096)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return []
        raise Failure(f"read {path}", error) from None
    # The name in parentheses may contain anything; the fields after it begin with the state.
    return text[text.rindex(b")") + 2 :].split()


def start_time(pid: int) -> int:
    """Return the start time, which distinguishes the process from a later one with the same pid."""
    return stat_of(pid)[1]


def being_created(container: Container) -> bool:
    """Whether a `create` is working on it. Only create holds the lock before there is a pid."""
    if container.locked:
        return False
    fd = posix.open(".", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=container.dirfd)
    try:
        kernel.flock(fd, LOCK_SHARED_NONBLOCKING)
    except BlockingIOError:
        return True
    finally:
        posix.close(fd)
    return False


def waits_for_start(container: Container, *, held: bool = False) -> bool:
    """Whether init still listens for `start`: its socket closes when it executes the program.

    Init recognises a connection that closes without a byte as this probe. held: init is stopped by a signal; then the
    socket is assumed to be in use, because unanswered connections would pile up until one blocks.
    """
    try:
        if held:
            posix.stat(START_SOCKET, dir_fd=container.dirfd)
            return True
        fd = kernel.unix_connect(container.dirfd, START_SOCKET)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return False
        raise
    posix.close(fd)
    return True


def state_document(container: Container, now: Status) -> dict[str, Any]:
    """Return the document that `state` and `list` print (runtime.md "State", and what runc adds to it)."""
    record = container.record
    owner = owner_name(record.get("owner_uid"))
    return {
        "ociVersion": record["ociVersion"],
        "id": container.id,
        "pid": now.pid,
        "status": now.status,
        "bundle": record["bundle"],
        "rootfs": record["rootfs"],
        "created": record["created"],
        "annotations": record.get("annotations") or {},
        "owner": f"#{owner}" if owner.isdecimal() else owner,
    }


def owner_name(uid: int | None) -> str:
    """Return the user's name from /etc/passwd, or the number if it has none; no name service is consulted."""
    if uid == 0:
        return "root"
    try:
        text = show(files.read_head("/etc/passwd", 1 << 20))
    except OSError:
        text = ""
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0]
    return str(uid)
