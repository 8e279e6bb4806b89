"""Ownership of cgroups: each bears a note of its container, because the record that names it may be wrong.

Source: xattr(7); the kernel's cgroup file system supports extended attributes of the class "trusted".
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
"""The extended attribute that names the container a cgroup belongs to; only the host's root can set it."""
UNNOTED = (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM)
"""There is no note, the kernel does not support notes, or the caller is not the host's root."""
GONE = (errno.ENOENT, errno.ENODEV)
DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW


def write_note(cgroup: int, note: str) -> None:
    """Note the owner on the cgroup itself. Where the kernel does not support that, the record has to suffice."""
    try:
        posix.setxattr(cgroup, NOTE, encode(note))
    except OSError as error:
        if error.errno not in UNNOTED:
            raise Failure("write the owner's note on the cgroup", error) from None


def note_on(path: str | int) -> str | None:
    """Return a container's note on a cgroup, or None when there is none.

    Raises Failure when the note can't be read: the cgroup may be somebody else's.
    """
    try:
        return decode(posix.getxattr(path, NOTE))
    except OSError as error:
        if error.errno in UNNOTED or error.errno in GONE:
            return None
        raise Failure("read the owner's note on the cgroup", error) from None


def is_of(fd: int, record: Record) -> bool:
    """Whether an open directory is the container's own cgroup: below the mount's root, the recorded one, nobody else's.

    A cgroup without a note is accepted if there is no container below it: the kernel may not support notes, or an older
    version of the runtime made the cgroup.
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
    """Whether there is a child cgroup of that name that belongs to a container."""
    try:
        fd = posix.open(name, DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno in (*GONE, errno.ENOTDIR, errno.ELOOP):
            return False
        raise Failure("inspect the cgroups below", error) from None
    try:
        return note_on(fd) is not None
    finally:
        posix.close(fd)


def removable(record: Record, mount: int) -> Iterator[str]:
    """Yield the cgroups that may be removed with a container, bottom up: its own and those above it.

    These are the cgroups that its own create made, by its record, and parents that the create of any container made, by
    the note on the cgroup: the last container removes what they share, no matter which of them made it.
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
    """Whether a `create` made this cgroup as a parent, so that it belongs to no container and to nobody else.

    This opens no descriptor: a create that failed for lack of descriptors has none to spare.
    """
    from ..kernel.cgroups import PARENT_NOTE

    try:
        posix.getxattr(f"/proc/self/fd/{mount}{path}", PARENT_NOTE, follow_symlinks=False)
    except OSError as error:
        if error.errno in (*GONE, errno.ENOTDIR, errno.ELOOP):
            return True  # already removed, but there may be parents to remove
        if error.errno not in UNNOTED:
            raise
        return False
    return True
