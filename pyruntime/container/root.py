"""The state root, and whether it can be trusted: a record decides which processes and cgroups are ended.

Whoever can write to it, or rename a directory above it, controls the records. So every directory of its path must
belong to root or the caller and be writable by nobody else, as sshd(8) (StrictModes) and sudo(8) demand too.
"""

from __future__ import annotations

import errno
import posix

from .. import files
from ..errors import Failure
from ..text import decode

PATH_ONLY = 0o10000000 | posix.O_CLOEXEC  # O_PATH has no name in `posix`; its value is the ABI's
KIND, DIRECTORY = 0o170000, 0o040000
OTHERS_WRITE = 0o022
STICKY = 0o1000
UNUSABLE = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EINVAL)
"""Errors of a path that nobody else can use either."""
WHOLE_MAP = ["0", "0", "4294967295"]
"""The uid_map of the first user namespace (user_namespaces(7))."""


def trusted(path: str) -> tuple[str, bool]:
    """Return the real path of a state root, without symbolic links, and whether it exists.

    Raises Failure when somebody else can write there, or when it can't be checked. If the root does not exist
    yet, the existing part of its path is checked. A path that is itself unusable is reported when it is used.
    """
    there, missing = path.rstrip("/") or "/", ""
    while True:
        try:
            fd = posix.open(there, PATH_ONLY)
            break
        except FileNotFoundError:
            there, _, name = there.rpartition("/")
            there, missing = there or "/", f"/{name}{missing}"
        except OSError as error:
            if error.errno in UNUSABLE:
                return path, False
            raise Failure("open the state root", error) from None
    try:
        real = posix.readlink(f"/proc/self/fd/{fd}").rstrip("/")
    finally:
        posix.close(fd)
    # From the top down: each parent is known to be safe by then, so its entries can't be replaced.
    parts = real.split("/")
    euid = posix.geteuid()
    for count in range(1, len(parts) + 1):
        place = "/".join(parts[:count]) or "/"
        leaf = not missing and count == len(parts)
        problem = why_not(posix.lstat(place), euid, sticky=not leaf)
        if problem is not None:
            raise Failure(
                f"the state root {path} can't be trusted: {place} {problem}",
                hint="give a --root that nobody else can write to",
            )
    return f"{real}{missing}", not missing


def why_not(status: posix.stat_result, euid: int, *, sticky: bool) -> str | None:
    """Return why others could change the content of a directory; None when they can't, or it is not a directory.

    sticky: the sticky bit is enough, because the entry below belongs to root or the caller and so can't be renamed.
    """
    if status.st_mode & KIND != DIRECTORY:
        return None
    if status.st_uid not in (0, euid) and not is_unmapped(status.st_uid):
        return f"belongs to user {status.st_uid}"
    if status.st_mode & OTHERS_WRITE and not (sticky and status.st_mode & STICKY):
        return f"can be written by others (mode {status.st_mode & 0o7777:04o})"
    return None


def is_unmapped(uid: int) -> bool:
    """Whether the id is the one that a user namespace shows for owners outside of it: usually its creator's root."""
    try:
        if uid != int(files.read_head("/proc/sys/kernel/overflowuid")):
            return False
        return decode(files.read_head("/proc/self/uid_map")).split() != WHOLE_MAP
    except (OSError, ValueError):
        return False
