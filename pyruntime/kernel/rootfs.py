"""Mount operations that take more than one call: masking paths, and the mounts around the root."""

from __future__ import annotations

import errno
import posix

from ..errors import Failure
from ..text import decode
from . import _linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

C = _linux.constants
ATTACH = C["MOVE_MOUNT_F_EMPTY_PATH"] | C["MOVE_MOUNT_T_EMPTY_PATH"]
COVER = C["MOUNT_ATTR_RDONLY"] | C["MOUNT_ATTR_NOSUID"] | C["MOUNT_ATTR_NOEXEC"]


class Covers:
    """The covers for the masked paths of one container.

    devnull: a descriptor on the host's /dev/null; None where the host has none. directory, file: the mounts made for
    the first path of their kind, and cloned for the others: each path gets its own mount, but not its own file system.
    """

    __slots__ = ("devnull", "directory", "file")

    def __init__(self) -> None:
        self.devnull: int | None = None
        self.directory: int | None = None
        self.file: int | None = None


def open_covers() -> Covers:
    """Return the covers to mask with; called while the host's files are still visible."""
    covers = Covers()
    try:
        covers.devnull = _linux.open("/dev/null", C["O_PATH"])
    except (FileNotFoundError, NotADirectoryError):
        pass
    return covers


def close_covers(covers: Covers) -> None:
    for fd in (covers.devnull, covers.directory, covers.file):
        if fd is not None:
            posix.close(fd)


def mask(target: int, covers: Covers) -> None:
    """Hide what the descriptor refers to: a directory under an empty read-only tmpfs, anything else under /dev/null.

    The host's /dev/null is used, after checking that it is the device 1:3; the container's own might be a link
    (CVE-2025-31133). Because the cover is the host's own node, it is mounted read-only: the device can still be read
    and written, but its mode and owner can't be changed. (With nodev it could not be opened.) Where the host has no
    /dev/null, the cover is an empty file that can't be written.
    """
    if posix.fstat(target).st_mode & C["S_IFMT"] == C["S_IFDIR"]:
        before, covers.directory = covers.directory, _cover(target, covers.directory, empty_directory)
    elif covers.devnull is None:
        before, covers.file = covers.file, _cover(target, covers.file, empty_file)
    else:
        status = posix.fstat(covers.devnull)
        if status.st_mode & C["S_IFMT"] != C["S_IFCHR"] or status.st_rdev != posix.makedev(1, 3):
            raise Failure("the host's /dev/null is not the device 1:3; paths can't be masked with it")
        before = _cover(target, covers.devnull, empty_file)
    if before is not None:
        posix.close(before)


def _cover(target: int, like: int | None, make: Callable[[], int]) -> int:
    """Attach a cover and return its descriptor: a clone of `like` if possible, else a new one.

    Some mounts can't be cloned, such as unbindable ones.
    """
    cover = None
    if like is not None:
        try:
            cover = _linux.open_tree(like, "", C["OPEN_TREE_CLONE"] | C["AT_EMPTY_PATH"])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    cover = make() if cover is None else cover
    try:
        _linux.mount_setattr(cover, "", C["AT_EMPTY_PATH"], COVER, 0, C["MS_PRIVATE"])
        _linux.move_mount(cover, "", target, "", ATTACH)
    except BaseException:
        posix.close(cover)
        raise
    return cover


def empty_directory() -> int:
    """Return a detached mount of an empty tmpfs in which nothing can be created."""
    return _tmpfs(("nr_inodes", "1"), ("mode", "0555"), attributes=COVER | C["MOUNT_ATTR_NODEV"])


def empty_file() -> int:
    """Return a detached mount of an empty file that can't be written, the only file of its file system.

    Raises Failure where the kernel can't clone a detached mount: before Linux 6.15.
    """
    directory = _tmpfs(("nr_inodes", "2"), ("mode", "0700"), attributes=C["MOUNT_ATTR_NODEV"])
    try:
        posix.close(posix.open("empty", posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o444, dir_fd=directory))
        return _linux.open_tree(directory, "empty", C["OPEN_TREE_CLONE"])
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Failure("the host has no /dev/null, which files are masked with on this kernel") from None
    finally:
        posix.close(directory)


def _tmpfs(*options: tuple[str, str], attributes: int) -> int:
    context = _linux.fsopen("tmpfs", 0)
    try:
        for key, value in (("source", "tmpfs"), ("size", "0"), *options):
            _linux.fsconfig(context, C["FSCONFIG_SET_STRING"], key, value, 0)
        _linux.fsconfig(context, C["FSCONFIG_CMD_CREATE"], None, None, 0)
        return _linux.fsmount(context, 0, attributes)
    finally:
        posix.close(context)


def copy_mode(mount: int, directory: int) -> None:
    """Give the root directory of a new mount the mode of another directory."""
    posix.chmod(".", posix.fstat(directory).st_mode & 0o7777, dir_fd=mount)


def set_mode_of(context: int, directory: int) -> None:
    """Set the option `mode` of a file system that is about to be created to the mode of a directory."""
    mode = posix.fstat(directory).st_mode & 0o7777
    _linux.fsconfig(context, C["FSCONFIG_SET_STRING"], "mode", f"{mode:o}", 0)


def make_parent_private(path: str) -> None:
    """Make the mount that contains path private: pivot_root(2) refuses a new root below a shared mount."""
    fd = _linux.open(path, C["O_PATH"] | C["O_DIRECTORY"])
    try:
        while not _linux.statx_mount(fd)[1]:
            parent = posix.open("..", C["O_PATH"] | C["O_DIRECTORY"] | C["O_CLOEXEC"], dir_fd=fd)
            posix.close(fd)
            fd = parent
        _linux.mount_setattr(fd, "", C["AT_EMPTY_PATH"], 0, 0, C["MS_PRIVATE"])
    finally:
        posix.close(fd)


def enter_namespace_root(may_differ: bool) -> None:
    """Change the root of this process to the root of its mount namespace, which a process that joins later gets.

    Below a chroot(2) the two differ, and pivot_root(2) would change the root of this process alone: exec would end up
    in the machine's root file system. setns(2) to the process's own mount namespace resets root and working directory.
    may_differ: whether the two roots may differ. Raises Failure when they do and may not.
    """
    before = None if may_differ else root_identity()
    own = _linux.pidfd_open(posix.getpid())
    try:
        _linux.setns(own, C["CLONE_NEWNS"])
    finally:
        posix.close(own)
    if before is not None and root_identity() != before:
        raise Failure("--no-pivot can't be used below a chroot(2)", hint="leave it out")


def root_identity() -> tuple[int, int, int]:
    """Return the mount id, device and inode of this process's root."""
    fd = _linux.open("/", C["O_PATH"])
    try:
        status = posix.fstat(fd)
        return int(_linux.statx_mount(fd)[0]), status.st_dev, status.st_ino
    finally:
        posix.close(fd)


def detach_host_procfs(rootfs: str) -> None:
    """Unmount the host's procfs and sysfs instances in this mount namespace; cover those that can't be unmounted.

    With --no-pivot they would otherwise stay reachable, unmasked, below the container's root.
    """
    fd = _linux.open("/proc/self/mountinfo", C["O_RDONLY"])
    text = b""
    try:
        while part := posix.read(fd, 65536):
            text += part
    finally:
        posix.close(fd)
    for line in reversed(decode(text).removesuffix("\n").split("\n")):
        fields, _, rest = line.partition(" - ")
        place = unescape(fields.split(" ")[4])
        if rest.split(" ")[0] not in ("proc", "sysfs") or place == rootfs or place.startswith(rootfs + "/"):
            continue
        try:
            _linux.umount2(place, C["MNT_DETACH"])
        except FileNotFoundError:
            continue
        except OSError:
            _linux.mount("tmpfs", place, "tmpfs", C["MS_RDONLY"], None)


def unescape(place: str) -> str:
    """Return a path of mountinfo with its octal escapes (space, tab, newline, backslash) undone; proc(5)."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        place = place.replace(code, character)
    return place
