"""Opening and making paths inside a container's root, so that no symbolic link of the image leads out of it.

Everything is resolved by openat2(RESOLVE_IN_ROOT) beneath the root's descriptor: absolute links and `..` stay inside.
Source: openat2(2); CVE-2021-30465, CVE-2024-45310, CVE-2019-18837, CVE-2025-52565.
"""

from __future__ import annotations

import errno
import posix

from ..errors import Failure
from . import _linux
from .procfs import PROCFS, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

C = _linux.constants
IN_ROOT = C["RESOLVE_IN_ROOT"] | C["RESOLVE_NO_MAGICLINKS"]
PATH_ONLY = C["O_PATH"]
DIRECTORY = C["O_PATH"] | C["O_DIRECTORY"]
NO_FOLLOW = C["O_PATH"] | C["O_NOFOLLOW"]
KINDS = {"c": C["S_IFCHR"], "u": C["S_IFCHR"], "b": C["S_IFBLK"], "p": C["S_IFIFO"]}
MAX_LINKS = 40
"""Symbolic links that are followed while directories are made, as the kernel limits them."""
ATTEMPTS = 16
"""To make a path that others make, exchange or remove at the same time."""


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open an existing path beneath root."""
    return _linux.openat2(root, path, flags, 0, IN_ROOT)


def open_below_root(root: int, path: str, flags: int) -> int:
    """Open an existing path beneath root that is not root itself; links of the image may lead there. Raises Failure."""
    return below_root(root, open_in_root(root, path, flags), path)


def mkdir_in_root(root: int, path: str, mode: int) -> int:
    """Make the directory and its parents where they are missing; return a descriptor (O_PATH) on it.

    A link that leads to nothing has its target made, beneath root.
    """
    return made_in_root(root, path, DIRECTORY, mode, lambda parent, name: _linux.mkdirat(parent, name, mode))


def made_in_root(root: int, path: str, flags: int, mode: int, make: Callable[[int, str], None]) -> int:
    """Return a descriptor on a path beneath root; what is missing on the way is made, and the last name by `make`.

    Others may make the same at the same time (containers on one root file system), or take it away: whatever the path
    leads to in the end is looked up once more as a whole.
    """
    for _ in range(ATTEMPTS):
        try:
            return _linux.openat2(root, path, flags, 0, IN_ROOT)
        except FileNotFoundError:
            try:
                make_missing(root, path, mode, make)
            except (FileExistsError, FileNotFoundError, NotADirectoryError):
                continue
    return _linux.openat2(root, path, flags, 0, IN_ROOT)


def make_missing(root: int, path: str, mode: int, make: Callable[[int, str], None]) -> None:
    """Walk along a path beneath root, name by name, and make what is missing: directories, and the last name by `make`.

    Links are followed by what they say, one that leads to nothing too: absolute ones begin at root again, and `..` of
    root is root. Every name is made in a directory that was opened beneath root.
    """
    names, way, links = path.split("/")[::-1], "", MAX_LINKS
    directory = posix.dup(root)
    try:
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            target = None if name == ".." else link_target(directory, name)
            if target is not None:
                if links == 0:
                    raise named(OSError(errno.ELOOP, posix.strerror(errno.ELOOP)), f'mkdir("{path}")')
                links -= 1
                names += target.split("/")[::-1]
                if not target.startswith("/"):
                    continue
                way = ""
            else:
                if name != "..":
                    if not any(names):
                        make(directory, name)
                        return
                    make_directory(directory, name, mode)
                way = f"{way}/{name}"
            following = _linux.openat2(root, way or "/", DIRECTORY, 0, IN_ROOT)
            posix.close(directory)
            directory = following
    finally:
        posix.close(directory)


def make_directory(parent: int, name: str, mode: int) -> None:
    """Make a directory, if it is not there."""
    try:
        _linux.mkdirat(parent, name, mode)
    except FileExistsError:
        pass


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


def make_mountpoint(
    root: int, path: str, source: int | None, proc_file: str | None = None, *, directory: bool = True
) -> int:
    """Return a descriptor on the place to mount on, made when missing: a directory, or a file for a source that is
    no directory.

    proc_file: the file of procfs, by its path below /proc, that may be mounted over; no other place on a procfs may.
    directory: what is mounted when there is no source to look at.
    """
    if source is not None:
        directory = posix.fstat(source).st_mode & C["S_IFMT"] == C["S_IFDIR"]
    if directory:
        target = below_root(root, mkdir_in_root(root, path, 0o755), path)
    else:
        target = file_to_mount_on(root, path)
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


def file_to_mount_on(root: int, path: str) -> int:
    """Return a descriptor on what is at the path, a new file when nothing is; raise OSError ENOTDIR for a directory."""
    target = make_file(root, path)
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
    """Return a descriptor (O_PATH) on a file, which is made empty where it is missing; see made_in_root()."""
    return made_in_root(root, path, PATH_ONLY, 0o755, make_empty)


def make_empty(parent: int, name: str) -> None:
    """Make an empty file that is not there yet, neither as a link."""
    flags = C["O_CREAT"] | C["O_EXCL"] | C["O_NOFOLLOW"] | C["O_RDONLY"]
    posix.close(_linux.openat2(parent, name, flags, 0o644, IN_ROOT))


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
            make_empty(directory, "console")
        except FileExistsError:
            pass
        fd = _linux.openat2(directory, "console", NO_FOLLOW, 0, IN_ROOT)
    finally:
        posix.close(directory)
    if posix.fstat(fd).st_mode & C["S_IFMT"] == C["S_IFLNK"]:
        posix.close(fd)
        raise named(OSError(errno.ELOOP, posix.strerror(errno.ELOOP)), 'open("/dev/console", O_NOFOLLOW)')
    return fd


def make_device(root: int, path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int) -> None:
    """Make a device node (c, u, b) or a fifo (p) with exactly this mode and owner.

    A node that is already there must be the same device, whatever else it is is an error (config-linux.md "Devices"):
    OSError EBUSY where something is mounted there, EEXIST for the image's own.
    """
    parent_path, name = split(path)
    parent = mkdir_in_root(root, parent_path, 0o755)
    before = posix.umask(0)
    try:
        _linux.mknodat(parent, name, KINDS[kind] | mode, major, minor)
        if uid or gid:
            _linux.fchownat(parent, name, uid, gid, C["AT_SYMLINK_NOFOLLOW"])
    except FileExistsError:
        there = _linux.openat2(parent, name, NO_FOLLOW, 0, IN_ROOT)
        try:
            if not is_device(posix.fstat(there), kind, major, minor):
                check_not_mounted(there, path)
                raise
        finally:
            posix.close(there)
    finally:
        posix.umask(before)
        posix.close(parent)


def is_device(status: posix.stat_result, kind: str, major: int, minor: int) -> bool:
    if status.st_mode & C["S_IFMT"] != KINDS[kind]:
        return False
    return kind == "p" or (posix.major(status.st_rdev), posix.minor(status.st_rdev)) == (major, minor)


def check_not_mounted(fd: int, path: str) -> None:
    """Raise OSError EBUSY when what is there is the root of a mount: the config has mounted it."""
    if _linux.statx_mount(fd)[1]:
        raise named(OSError(errno.EBUSY, posix.strerror(errno.EBUSY)), f'something else is mounted on "{path}"')


def make_device_place(root: int, path: str, kind: str, major: int, minor: int) -> int:
    """Return a descriptor on the place to bind a device on, made as an empty file when it is missing.

    Raises OSError EBUSY when something else than this device is mounted there.
    """
    try:
        there = _linux.openat2(root, path, PATH_ONLY, 0, IN_ROOT)
    except FileNotFoundError:
        pass
    else:
        try:
            if not is_device(posix.fstat(there), kind, major, minor):
                check_not_mounted(there, path)
        finally:
            posix.close(there)
    return make_mountpoint(root, path, None, directory=False)


def open_device(_place: int, path: str, kind: str, major: int, minor: int) -> int:
    """Return a detached mount of the host's device node, for containers that may not make one themselves.

    The place is where it is to be bound; where that is nowhere (open_own_dev, make_device_place), nothing is opened.
    """
    fd = _linux.open_tree(C["AT_FDCWD"], path, C["OPEN_TREE_CLONE"])
    if not is_device(posix.fstat(fd), kind, major, minor):
        posix.close(fd)
        raise named(
            OSError(errno.ENODEV, posix.strerror(errno.ENODEV)),
            f'the host has another device at "{path}" than {kind} {major}:{minor}',
        )
    return fd


def leads_to_mount(root: int, path: str) -> bool:
    """Whether a path beneath root leads to what is mounted there, and not to a file or directory in it."""
    try:
        fd = _linux.openat2(root, path, PATH_ONLY, 0, IN_ROOT)
    except OSError:
        return False
    try:
        return bool(_linux.statx_mount(fd)[1])
    finally:
        posix.close(fd)


def make_symlink(root: int, target: str, path: str) -> None:
    """Make a symbolic link; one that is there and says something else is replaced.

    What is there and is no link stays: it is the image's, or somebody's file. So does a link to what the config has
    mounted by this name.
    """
    parent_path, name = split(path)
    parent = mkdir_in_root(root, parent_path, 0o755)
    try:
        for _ in range(ATTEMPTS):
            try:
                _linux.symlinkat(target, parent, name)
                return
            except FileExistsError:
                if link_target(parent, name) in (target, None):
                    return
                if leads_to_mount(root, path):
                    return
            try:
                posix.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                continue
    finally:
        posix.close(parent)
