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
"""The most symbolic links to follow while making directories; the kernel has the same limit."""
ATTEMPTS = 16
"""How often to try making a path that other processes make, replace or remove at the same time."""


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open an existing path beneath root."""
    return _linux.openat2(root, path, flags, 0, IN_ROOT)


def open_below_root(root: int, path: str, flags: int) -> int:
    """Open an existing path beneath root; raise Failure when links of the image lead it to root itself."""
    return below_root(root, open_in_root(root, path, flags), path)


def mkdir_in_root(root: int, path: str, mode: int) -> int:
    """Make the directory and its parents where they are missing; return a descriptor (O_PATH) on it.

    For a dangling link, make its target, beneath root.
    """
    return made_in_root(root, path, DIRECTORY, mode, lambda parent, name: _linux.mkdirat(parent, name, mode))


def made_in_root(root: int, path: str, flags: int, mode: int, make: Callable[[int, str], None]) -> int:
    """Return a descriptor on a path beneath root; make missing parents, and call `make` for a missing last name.

    Containers that share a root file system may make or remove the same path at the same time. So the whole path is
    looked up once more in the end.
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
    """Walk a path beneath root name by name; make missing directories, and call `make` for a missing last name.

    Links are followed by their targets, even dangling ones: absolute targets start at root again, and `..` of root is
    root. Every name is made in a directory that was opened beneath root.
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
    """Make a directory if it does not exist."""
    try:
        _linux.mkdirat(parent, name, mode)
    except FileExistsError:
        pass


def split(path: str) -> tuple[str, str]:
    """Return the parent's path and the last name of a path below the root."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name


def link_target(dirfd: int, name: str) -> str | None:
    """Return the target of a symbolic link, None when the name is not a link."""
    try:
        return posix.readlink(name, dir_fd=dirfd)
    except OSError:
        return None


def make_mountpoint(
    root: int, path: str, source: int | None, proc_file: str | None = None, *, directory: bool = True
) -> int:
    """Return a descriptor on the mountpoint, which is made when missing: a directory, or a file for a source that is
    not a directory.

    proc_file: the one file of procfs, by its path below /proc, that may be mounted over. directory: whether the source
    is a directory when there is none to look at.
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
    """Raise Failure unless a mountpoint on a procfs is harmless: its root, for another procfs, or the file proc_file
    (CVE-2019-16884, CVE-2025-52881).

    The file system and inode of the target decide, because names and links of the image can lead anywhere.
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
    """Raise Failure when anything but procfs is mounted on /proc, whichever path it was mounted through."""
    try:
        proc = _linux.openat2(root, "proc", NO_FOLLOW, 0, IN_ROOT)
    except FileNotFoundError:
        return
    try:
        if _linux.fstatfs_type(proc) != PROCFS and _linux.statx_mount(proc)[0] != _linux.statx_mount(root)[0]:
            raise Failure("only procfs can be mounted on /proc, through any path")
    finally:
        posix.close(proc)


def same_file(one: int, other: int) -> bool:
    """Return whether two descriptors refer to the same file, by device and inode."""
    here, there = posix.fstat(one), posix.fstat(other)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def mount_id(mount_fd: int) -> int:
    """Return the id of a mount, which identifies it after it is attached."""
    return int(_linux.statx_mount(mount_fd)[0])


def open_own_dev(root: int, *own: int) -> int:
    """Return a duplicate of root if its /dev is the container's own, so that devices and links may be made there.

    /dev is made when missing. It is the container's own when it is on the root's mount, or on a mount in `own`, the ids
    of new file systems. Raises OSError EXDEV for anything else, such as the host's /dev or a volume that links of the
    image lead to.
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
    """Return a descriptor on the file at path, made when missing; raise OSError ENOTDIR for a directory."""
    target = make_file(root, path)
    if posix.fstat(target).st_mode & C["S_IFMT"] == C["S_IFDIR"]:
        # move_mount(2) would only fail with EINVAL.
        posix.close(target)
        raise named(OSError(errno.ENOTDIR, posix.strerror(errno.ENOTDIR)), f'mount(a file, "{path}", a directory)')
    return target


def below_root(root: int, fd: int, path: str) -> int:
    """Return fd; raise Failure when it is the root itself.

    A mount on top of the root would have no effect: processes keep the root below it as theirs.
    """
    if same_file(fd, root) and _linux.statx_mount(fd)[0] == _linux.statx_mount(root)[0]:
        posix.close(fd)
        raise Failure(f'"{path}" is the root itself: nothing can be mounted over it')
    return fd


def make_file(root: int, path: str) -> int:
    """Return a descriptor (O_PATH) on a file; make an empty one when it is missing. See made_in_root()."""
    return made_in_root(root, path, PATH_ONLY, 0o755, make_empty)


def make_empty(parent: int, name: str) -> None:
    """Make an empty file; raise OSError EEXIST when anything has that name, even a dangling link."""
    flags = C["O_CREAT"] | C["O_EXCL"] | C["O_NOFOLLOW"] | C["O_RDONLY"]
    posix.close(_linux.openat2(parent, name, flags, 0o644, IN_ROOT))


def make_real_directory(root: int, path: str) -> int:
    """Return a descriptor on a directory whose path has no symbolic link; make it when missing.

    proc and sysfs are mounted only on such directories: LSM labels and sysctls must reach the real ones
    (CVE-2019-19921).
    """
    real = IN_ROOT | C["RESOLVE_NO_SYMLINKS"]
    try:
        fd = _linux.openat2(root, path, DIRECTORY, 0, real)
    except FileNotFoundError:
        posix.close(mkdir_in_root(root, path, 0o755))
        fd = _linux.openat2(root, path, DIRECTORY, 0, real)
    return below_root(root, fd, path)


def make_console(root: int) -> int:
    """Return a descriptor on the mountpoint /dev/console, made when missing, never through a link (CVE-2025-52565)."""
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

    An existing node of the same device is left as it is (config-linux.md "Devices"). Anything else raises OSError:
    EBUSY when something is mounted there, EEXIST for a file of the image.
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
    """Raise OSError EBUSY when fd is the root of a mount, which the config has mounted there."""
    if _linux.statx_mount(fd)[1]:
        raise named(OSError(errno.EBUSY, posix.strerror(errno.EBUSY)), f'something else is mounted on "{path}"')


def make_device_place(root: int, path: str, kind: str, major: int, minor: int) -> int:
    """Return a descriptor on the mountpoint for a device, made as an empty file when missing.

    Raises OSError EBUSY when anything but this device is mounted there.
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
    """Return a detached mount of the host's device node, for containers that may not make nodes themselves.

    _place: the result of open_own_dev or make_device_place, which must succeed before anything is opened.
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
    """Return whether a path beneath root leads to the root of a mount, not to a file or directory in it."""
    try:
        fd = _linux.openat2(root, path, PATH_ONLY, 0, IN_ROOT)
    except OSError:
        return False
    try:
        return bool(_linux.statx_mount(fd)[1])
    finally:
        posix.close(fd)


def make_symlink(root: int, target: str, path: str) -> None:
    """Make a symbolic link; replace an existing link that has another target.

    Anything that is not a link is left alone: it belongs to the image or to someone else. So is a link that leads to
    something the config has mounted through this name.
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
