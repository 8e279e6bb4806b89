"""Small files of procfs and of other directories, written in one call or not at all."""

from __future__ import annotations

import errno
import posix

from ..errors import Failure
from ..text import encode
from . import _linux

C = _linux.constants
PROCFS = C["PROC_SUPER_MAGIC"]
SAFE = C["RESOLVE_BENEATH"] | C["RESOLVE_NO_SYMLINKS"] | C["RESOLVE_NO_XDEV"] | C["RESOLVE_NO_MAGICLINKS"]


def named(error: OSError, call: str) -> OSError:
    """Return the error with the attribute `call`, the call that failed."""
    error.call = call  # type: ignore[attr-defined]
    return error


def write_all(fd: int, text: str, what: str) -> None:
    """Write text with one write(2), as files of the kernel require, and close fd."""
    try:
        posix.write(fd, encode(text))
    except OSError as error:
        raise named(error, f'write({what}, "{text.strip()[:64]}")') from None
    finally:
        posix.close(fd)


def write_file(path: str, text: str) -> None:
    """Write text to an existing file."""
    write_all(_linux.open(path, C["O_WRONLY"]), text, path)


def write_at(dirfd: int, name: str, text: str) -> None:
    """Write text to an existing file in a directory, such as a cgroup."""
    try:
        fd = posix.open(name, posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=dirfd)
    except OSError as error:
        raise named(error, f'openat("{name}", O_WRONLY)') from None
    write_all(fd, text, name)


def host_pid() -> int:
    """Return this process's pid according to the procfs on /proc; init calls this while that is still the host's."""
    return int(posix.readlink("/proc/self"))


def open_proc_pid(pid: int, name: str) -> int:
    """Return a descriptor on what /proc/<pid>/<name> is or refers to; pid must not have been reaped."""
    return _linux.open(f"/proc/{pid}/{name}", C["O_RDONLY"])


def open_namespace(path: str, name: str) -> int:
    """Return a descriptor of the namespace at path; name: its type, as in /proc/PID/ns (namespaces(7)).

    Raises Failure when it is the namespace of the caller or of process 1, where the container's changes would affect
    the host. The opened namespace itself is compared, so a path that has changed meanwhile is detected.
    """
    fd = _linux.open(path, C["O_RDONLY"] | C["O_NONBLOCK"])
    here = posix.fstat(fd)
    for process in ("self", "1"):
        try:
            there = posix.stat(f"/proc/{process}/ns/{name}")
        except OSError:
            continue
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            posix.close(fd)
            raise Failure(f"{path} has become the host's own {name} namespace while the container was created")
    return fd


def write_proc_pid(pid: int, name: str, text: str) -> None:
    """Write to /proc/<pid>/<name>, after checking that it is on procfs; pid must not have been reaped."""
    path = f"/proc/{pid}/{name}"
    fd = _linux.open(path, C["O_WRONLY"])
    if _linux.fstatfs_type(fd) != PROCFS:
        posix.close(fd)
        raise Failure(f"{path} is not a file of procfs")
    write_all(fd, text, path)


def open_procfs() -> int:
    """Return a descriptor on a procfs that a container can't cover with mounts (CVE-2025-52881).

    It is a new detached instance where the kernel allows one, else a detached clone of /proc without the mounts on it,
    else /proc itself.
    """
    try:
        context = _linux.fsopen("proc", 0)
        try:
            _linux.fsconfig(context, C["FSCONFIG_CMD_CREATE"], None, None, 0)
            return _linux.fsmount(context, 0, 0)
        finally:
            posix.close(context)
    except OSError:
        pass
    try:
        return _linux.open_tree(C["AT_FDCWD"], "/proc", C["OPEN_TREE_CLONE"])
    except OSError:
        return _linux.open("/proc", C["O_PATH"] | C["O_DIRECTORY"])


def fsopen_proc(pid_namespace: int) -> int:
    """Return a context for a procfs of another pid namespace, given by a descriptor; proc(5) "pidns", since Linux 6.18.

    Where the kernel lacks that option, a helper with minimal privileges opens the context from inside. A process that
    may trace in that namespace could make it send something else, so what is mounted must be checked (check_procfs).
    """
    context = _linux.fsopen("proc", 0)
    try:
        _linux.fsconfig(context, C["FSCONFIG_SET_FD"], "pidns", None, pid_namespace)
        return context
    except OSError as error:
        posix.close(context)
        if error.errno != errno.EINVAL:
            raise
    return _linux.fsopen_proc_by_helper(pid_namespace)


def write_procfs(procfs: int, path: str, text: str) -> None:
    """Write to a file of the procfs from open_procfs; `self` is this process, and no link or mount is followed."""
    if path.startswith("self/"):
        path = posix.readlink("self", dir_fd=procfs) + path[4:]
    fd = _linux.openat2(procfs, path, C["O_WRONLY"], 0, SAFE)
    if _linux.fstatfs_type(fd) != PROCFS:
        posix.close(fd)
        raise Failure(f"/proc/{path} is not a file of procfs")
    write_all(fd, text, f"/proc/{path}")


def check_procfs(fd: int) -> None:
    """Raise Failure when the mount is anything but procfs: nothing else may be mounted at /proc (CVE-2019-16884)."""
    if _linux.fstatfs_type(fd) != PROCFS:
        raise Failure("only procfs may be mounted on /proc")
