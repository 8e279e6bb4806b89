"""Opening and making paths inside a container's root, so that no symbolic link of the image leads out of it.

Everything is resolved by openat2(RESOLVE_IN_ROOT) beneath the root's descriptor: absolute links and `..` stay inside.
Source: openat2(2); CVE-2021-30465, CVE-2024-45310, CVE-2019-18837, CVE-2025-52565.
"""

from __future__ import annotations

import errno
import posix

from ..errors import Failure
from . import _linux
from .files import PROCFS, named

C = _linux.constants
IN_ROOT = C["RESOLVE_IN_ROOT"] | C["RESOLVE_NO_MAGICLINKS"]
PATH_ONLY = C["O_PATH"]
DIRECTORY = C["O_PATH"] | C["O_DIRECTORY"]
NO_FOLLOW = C["O_PATH"] | C["O_NOFOLLOW"]
KINDS = {"c": C["S_IFCHR"], "u": C["S_IFCHR"], "b": C["S_IFBLK"], "p": C["S_IFIFO"]}
MAX_LINKS = 40
"""Symbolic links that are followed while directories are made, as the kernel limits them."""


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open an existing path beneath root."""
    return _linux.openat2(root, path, flags, 0, IN_ROOT)


def mkdir_in_root(root: int, path: str, mode: int, links: int = MAX_LINKS) -> int:
    """Make the directory and its parents where they are missing; return a descriptor (O_PATH) on it.

    A link that leads to nothing has its target made, beneath root.
    """
    try:
        return _linux.openat2(root, path, DIRECTORY, 0, IN_ROOT)
    except FileNotFoundError:
        pass
    parent_path, name = split(path)
    parent = mkdir_in_root(root, parent_path, mode, links)
    try:
        if name == "..":
            return _linux.openat2(root, path, DIRECTORY, 0, IN_ROOT)
        try:
            _linux.mkdirat(parent, name, mode)
        except FileExistsError:
            target = link_target(parent, name)
            if target is not None:
                if links == 0:
                    raise named(OSError(errno.ELOOP, posix.strerror(errno.ELOOP)), f'mkdir("{path}")') from None
                base = target if target.startswith("/") else f"{parent_path}/{target}"
                return mkdir_in_root(root, base, mode, links - 1)
        return _linux.openat2(root, path, DIRECTORY, 0, IN_ROOT)
    finally:
        posix.close(parent)


def split(path: str) -> tuple[str, str]:
    """Return the parent's path and the last name of a path below the root."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name


def link_target(dirfd: int, name: str) -> str | None:
    """Return what a symbolic link says, None when the name is none."""
    try:
        return posix.readlink(name, dir_fd=dirfd)
    except OSError:
        return None


def make_mountpoint(root: int, path: str, source: int | None, proc_file: str | None = None) -> int:
    """Return a descriptor on the place to mount on, made when missing: a directory, or a file for a source that is
    no directory.

    proc_file: the file of procfs, by its path below /proc, that may be mounted over; no other place on a procfs may.
    """
    target = _mountpoint(root, path, source)
    try:
        if _linux.fstatfs_type(target) == PROCFS:
            check_on_procfs(root, path, target, source, proc_file)
    except BaseException:
        posix.close(target)
        raise
    return target


def check_on_procfs(root: int, path: str, target: int, source: int | None, proc_file: str | None) -> None:
    """Raise Failure unless what is about to be covered on a procfs is harmless: its root, by another procfs, or the
    one file that is named (CVE-2019-16884, CVE-2025-52881).

    The target tells, by its file system and inode: names and links of the image can lead anywhere.
    """
    if source is not None and _linux.fstatfs_type(source) == PROCFS and _linux.statx_mount(target)[1]:
        return
    if proc_file is not None:
        proc = _linux.openat2(root, "proc", DIRECTORY, 0, IN_ROOT)
        try:
            if _linux.fstatfs_type(proc) == PROCFS:
                named_file = _linux.openat2(
                    proc, proc_file, PATH_ONLY, 0, C["RESOLVE_BENEATH"] | C["RESOLVE_NO_MAGICLINKS"]
                )
                try:
                    if same_file(named_file, target):
                        return
                finally:
                    posix.close(named_file)
        finally:
            posix.close(proc)
    raise Failure(f'nothing can be mounted on "{path}": it leads to a place on procfs')


def check_proc(root: int) -> None:
    """Raise Failure when something is mounted on /proc that is no procfs, whatever name it was mounted by."""
    try:
        proc = _linux.openat2(root, "proc", NO_FOLLOW, 0, IN_ROOT)
    except FileNotFoundError:
        return
    try:
        if _linux.fstatfs_type(proc) != PROCFS and _linux.statx_mount(proc)[0] != _linux.statx_mount(root)[0]:
            raise Failure("only procfs can be mounted on /proc, by whatever name")
    finally:
        posix.close(proc)


def same_file(one: int, other: int) -> bool:
    """Whether two descriptors are of one file, by device and inode."""
    here, there = posix.fstat(one), posix.fstat(other)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def mount_id(mount_fd: int) -> int:
    """Return the id of a mount, by which it is known again once it is attached."""
    return int(_linux.statx_mount(mount_fd)[0])


def open_own_dev(root: int, *own: int) -> int:
    """Return the root once more, when its /dev is the container's own and devices and links may be made there.

    It is its own on the root's own mount, made when missing, or on a mount of `own`: the ids of new file systems. On
    anything else, such as the host's /dev or a volume that the image's links lead to, nothing is made: raises OSError
    EXDEV.
    """
    directory = mkdir_in_root(root, "/dev", 0o755)
    try:
        here = mount_id(directory)
    finally:
        posix.close(directory)
    if here != mount_id(root) and here not in own:
        raise named(
            OSError(errno.EXDEV, posix.strerror(errno.EXDEV)), 'the mount of "/dev" is not the container\'s own'
        )
    return posix.dup(root)


def _mountpoint(root: int, path: str, source: int | None) -> int:
    if source is None or posix.fstat(source).st_mode & C["S_IFMT"] == C["S_IFDIR"]:
        return below_root(root, mkdir_in_root(root, path, 0o755), path)
    try:
        target = _linux.openat2(root, path, PATH_ONLY, 0, IN_ROOT)
    except FileNotFoundError:
        return make_file(root, path)
    if posix.fstat(target).st_mode & C["S_IFMT"] == C["S_IFDIR"]:
        # move_mount(2) would only say EINVAL.
        posix.close(target)
        raise named(OSError(errno.ENOTDIR, posix.strerror(errno.ENOTDIR)), f'mount(a file, "{path}", a directory)')
    return target


def below_root(root: int, fd: int, path: str) -> int:
    """Return fd; raise Failure when it is the root itself.

    A mount on top of the root would be passed over: processes have the root below it as theirs.
    """
    if same_file(fd, root) and _linux.statx_mount(fd)[0] == _linux.statx_mount(root)[0]:
        posix.close(fd)
        raise Failure(f'"{path}" is the root itself: nothing can be mounted over it')
    return fd


def make_file(root: int, path: str) -> int:
    """Make an empty file that does not exist yet; return a descriptor (O_PATH) on it."""
    parent_path, name = split(path)
    parent = mkdir_in_root(root, parent_path, 0o755)
    try:
        flags = C["O_CREAT"] | C["O_EXCL"] | C["O_NOFOLLOW"] | C["O_RDONLY"]
        posix.close(_linux.openat2(parent, name, flags, 0o644, IN_ROOT))
        return _linux.openat2(parent, name, NO_FOLLOW, 0, IN_ROOT)
    finally:
        posix.close(parent)


def make_real_directory(root: int, path: str) -> int:
    """Return a descriptor on a directory that is reached without any symbolic link, made when missing.

    proc and sysfs are mounted only on such: LSM labels and sysctls must reach the real ones (CVE-2019-19921).
    """
    real = IN_ROOT | C["RESOLVE_NO_SYMLINKS"]
    try:
        fd = _linux.openat2(root, path, DIRECTORY, 0, real)
    except FileNotFoundError:
        posix.close(mkdir_in_root(root, path, 0o755))
        fd = _linux.openat2(root, path, DIRECTORY, 0, real)
    return below_root(root, fd, path)


def make_console(root: int) -> int:
    """Return a descriptor on /dev/console to mount on, made when missing, never through a link (CVE-2025-52565)."""
    directory = mkdir_in_root(root, "/dev", 0o755)
    try:
        try:
            fd = _linux.openat2(directory, "console", NO_FOLLOW, 0, IN_ROOT)
        except FileNotFoundError:
            return make_file(directory, "/console")
    finally:
        posix.close(directory)
    if posix.fstat(fd).st_mode & C["S_IFMT"] == C["S_IFLNK"]:
        posix.close(fd)
        raise named(OSError(errno.ELOOP, posix.strerror(errno.ELOOP)), 'open("/dev/console", O_NOFOLLOW)')
    return fd


def make_device(root: int, path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int) -> None:
    """Make a device node (c, u, b) or a fifo (p) with exactly this mode and owner.

    A node that is already there must be the same device, whatever else it is is an error (config-linux.md "Devices").
    """
    parent_path, name = split(path)
    parent = mkdir_in_root(root, parent_path, 0o755)
    before = posix.umask(0)
    try:
        _linux.mknodat(parent, name, KINDS[kind] | mode, major, minor)
        if uid or gid:
            _linux.fchownat(parent, name, uid, gid, C["AT_SYMLINK_NOFOLLOW"])
    except FileExistsError:
        status = posix.stat(name, dir_fd=parent, follow_symlinks=False)
        if not is_device(status, kind, major, minor):
            raise
    finally:
        posix.umask(before)
        posix.close(parent)


def is_device(status: posix.stat_result, kind: str, major: int, minor: int) -> bool:
    if status.st_mode & C["S_IFMT"] != KINDS[kind]:
        return False
    return kind == "p" or (posix.major(status.st_rdev), posix.minor(status.st_rdev)) == (major, minor)


def open_device(_root: int, path: str, kind: str, major: int, minor: int) -> int:
    """Return a detached mount of the host's device node, for containers that may not make one themselves.

    The root is where it is to be bound; where that is nowhere (open_own_dev), nothing is opened.
    """
    fd = _linux.open_tree(C["AT_FDCWD"], path, C["OPEN_TREE_CLONE"])
    if not is_device(posix.fstat(fd), kind, major, minor):
        posix.close(fd)
        raise named(
            OSError(errno.ENODEV, posix.strerror(errno.ENODEV)),
            f'the host has another device at "{path}" than {kind} {major}:{minor}',
        )
    return fd


def make_symlink(root: int, target: str, path: str) -> None:
    """Make a symbolic link; one that is there and says something else is replaced.

    What is there and is no link stays: it is the image's, or somebody's file.
    """
    parent_path, name = split(path)
    parent = mkdir_in_root(root, parent_path, 0o755)
    try:
        try:
            _linux.symlinkat(target, parent, name)
        except FileExistsError:
            if link_target(parent, name) in (target, None):
                return
            posix.unlink(name, dir_fd=parent)
            _linux.symlinkat(target, parent, name)
    finally:
        posix.close(parent)
