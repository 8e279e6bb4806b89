"""Whose a cgroup is: each bears a note of its container, because the record that names it may be wrong.

Source: xattr(7); the kernel's cgroup file system takes the attributes of the class "trusted".
"""

from __future__ import annotations

import errno
import posix

from .. import kernel
from ..errors import Failure
from ..text import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .record import Record

NOTE = b"trusted.pyruntime"
"""The extended attribute by which a cgroup says which container's it is; only the host's root can set it."""
UNNOTED = (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM)
"""There is no note, the kernel takes none, or the caller is not the host's root."""
GONE = (errno.ENOENT, errno.ENODEV)
DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW


def write_note(cgroup: int, note: str) -> None:
    """Note on the cgroup itself whose it is; where the kernel takes no note, the record's word has to do."""
    try:
        posix.setxattr(cgroup, NOTE, encode(note))
    except OSError as error:
        if error.errno not in UNNOTED:
            raise Failure("note on the cgroup whose it is", error) from None


def note_on(path: str | int) -> str | None:
    """Return the note that a container has made on a cgroup, None when there is none.

    Raises Failure when that can't be told: it may be somebody else's.
    """
    try:
        return decode(posix.getxattr(path, NOTE))
    except OSError as error:
        if error.errno in UNNOTED or error.errno in GONE:
            return None
        raise Failure("read on the cgroup whose it is", error) from None


def is_of(fd: int, record: Record) -> bool:
    """Whether an open directory is the container's own cgroup: below the mount's root, the one noted, nobody else's.

    One without any note is believed if no container is below it: the kernel may take no notes, or an older version of
    the runtime made it.
    """
    if not is_cgroup2(fd) or kernel.statx_mount(fd)[1] or posix.fstat(fd).st_ino != record["cgroup_id"]:
        return False
    note = note_on(fd)
    if note is not None:
        return note == record.get("note")
    return not any(has_note(fd, name) for name in posix.listdir(fd))


def is_cgroup2(fd: int) -> bool:
    return kernel.fstatfs_type(fd) == kernel.flags("CGROUP2_SUPER_MAGIC")


def has_note(parent: int, name: str) -> bool:
    """Whether there is a cgroup of that name below, and it is a container's."""
    try:
        fd = posix.open(name, DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno in (*GONE, errno.ENOTDIR, errno.ELOOP):
            return False
        raise Failure("look at the cgroups below", error) from None
    try:
        return note_on(fd) is not None
    finally:
        posix.close(fd)


def removable(record: Record, mount: int) -> Iterator[str]:
    """Yield the cgroups that may go with a container, bottom up: itself and those above it, nothing else.

    That is what its create made, as the record says, and what the create of any container has made on the way to its
    own, as a note on the cgroup says: the last of several containers takes away what they share, whoever was the first.
    """
    own = record["cgroup"]
    made = record.get("cgroup_made") or ()
    if own in made:
        yield own
    above = own.rpartition("/")[0]
    while above and (above in made or is_shared(above, mount)):
        yield above
        above = above.rpartition("/")[0]


def is_shared(path: str, mount: int) -> bool:
    """Whether a create made the cgroup on the way to a container's, and so it is no container's and nobody else's.

    No descriptor is opened: a create that fails for want of one has none to spare for this.
    """
    from ..kernel.cgroups import PARENT_NOTE

    try:
        posix.getxattr(f"/proc/self/fd/{mount}{path}", PARENT_NOTE, follow_symlinks=False)
    except OSError as error:
        if error.errno in (*GONE, errno.ENOTDIR, errno.ELOOP):
            return True  # nothing is left to be removed, but above it may be
        if error.errno not in UNNOTED:
            raise
        return False
    return True
