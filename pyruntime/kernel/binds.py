"""Bind mounts: which attributes a mount keeps from its source, and sources and destinations that are symbolic links.

Source: mount_setattr(2); mount_namespaces(7) "Restrictions on mount namespaces"; crun(1) "copy-symlink",
"src-nofollow", "dest-nofollow".
"""

from __future__ import annotations

import errno
import posix

from ..errors import Failure
from . import _linux
from .paths import IN_ROOT, NO_FOLLOW, below_root, link_target, mkdir_in_root, split
from .procfs import PROCFS, named

C = _linux.constants
EMPTY = C["AT_EMPTY_PATH"]
LOCKABLE = (
    (posix.ST_RDONLY, "MOUNT_ATTR_RDONLY", "ro"),
    (posix.ST_NOSUID, "MOUNT_ATTR_NOSUID", "nosuid"),
    (posix.ST_NODEV, "MOUNT_ATTR_NODEV", "nodev"),
    (posix.ST_NOEXEC, "MOUNT_ATTR_NOEXEC", "noexec"),
)
ATIMES = posix.ST_NOATIME | posix.ST_NODIRATIME | posix.ST_RELATIME


def set_bind_attributes(mount: int, flags: int, to_set: int, to_clear: int, inherited: int, userns: bool) -> None:
    """Set and clear attributes of a detached bind mount, and clear the `inherited` ones where the kernel permits that.

    When a mount enters a less privileged user namespace, the kernel locks nosuid, nodev, noexec, ro and the access-time
    mode; these are kept. userns: the container has such a namespace; the mount may have been cloned outside, where
    nothing is locked yet. Raises Failure when `to_clear` has a locked attribute, or the access-time mode would change.
    """
    before = posix.fstatvfs(mount).f_flag if userns else 0
    try:
        _linux.mount_setattr(mount, "", flags, to_set, to_clear | inherited, 0)
    except PermissionError:
        _check_locked(posix.fstatvfs(mount).f_flag, 0, to_clear)
        _linux.mount_setattr(mount, "", flags, to_set, to_clear, 0)
        return
    if userns:
        after = posix.fstatvfs(mount).f_flag
        lost = before & ~after
        _check_locked(lost, (before ^ after) & ATIMES, to_clear)
        again = sum(C[name] for bit, name, _ in LOCKABLE if lost & bit)
        if again:
            _linux.mount_setattr(mount, "", EMPTY, again, 0, 0)


def _check_locked(locked: int, atimes: int, to_clear: int) -> None:
    """Raise Failure for locked attributes that are to be cleared, and for a changed access-time mode."""
    words = [word for bit, name, word in LOCKABLE if locked & bit and to_clear & C[name]]
    if atimes:
        words.append("with another access-time mode")
    if words:
        raise Failure(
            f"the source is mounted {', '.join(words)}, which must stay so in a user namespace",
            hint="change how the source is mounted on the host, or drop the option",
        )


def read_link(path: str) -> str:
    """Return the target of a symbolic link on the host; raise OSError EINVAL for anything but a link."""
    return posix.readlink(path)


def clone_unless_link(path: str, flags: int) -> int:
    """Return a detached mount of the file or directory at path; raise OSError ELOOP for a symbolic link."""
    fd = _linux.open(path, NO_FOLLOW)
    try:
        if posix.fstat(fd).st_mode & C["S_IFMT"] == C["S_IFLNK"]:
            raise named(OSError(errno.ELOOP, posix.strerror(errno.ELOOP)), f'open_tree("{path}")')
        return _linux.open_tree(fd, "", flags | EMPTY)
    finally:
        posix.close(fd)


def open_link_mountpoint(root: int, path: str, source: int) -> int:
    """Return a descriptor on an existing mountpoint: on a symbolic link itself, not on its target.

    source: what is to be mounted there; without it there is nothing to open. Raises Failure on procfs, sysfs and
    devpts, which no other rule would protect here.
    """
    target = _linux.openat2(root, path, NO_FOLLOW, 0, IN_ROOT)
    try:
        if _linux.fstatfs_type(target) in (PROCFS, C["SYSFS_MAGIC"], C["DEVPTS_SUPER_MAGIC"]):
            raise Failure(f'nothing can be mounted on "{path}" with dest-nofollow: it is on procfs, sysfs or devpts')
    except BaseException:
        posix.close(target)
        raise
    return below_root(root, target, path)


def make_same_symlink(root: int, target: str, path: str) -> None:
    """Make a symbolic link; raise OSError EEXIST when anything but the same link exists there."""
    parent_path, name = split(path)
    parent = mkdir_in_root(root, parent_path, 0o755)
    try:
        _linux.symlinkat(target, parent, name)
    except FileExistsError:
        if link_target(parent, name) != target:
            raise
    finally:
        posix.close(parent)
