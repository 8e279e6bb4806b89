"""Work on mounts that takes more than one call: masking, and the mounts around the root."""

from __future__ import annotations

import posix

from ..errors import Failure
from ..text import decode
from . import _linux

C = _linux.constants
ATTACH = C["MOVE_MOUNT_F_EMPTY_PATH"] | C["MOVE_MOUNT_T_EMPTY_PATH"]
COVER = C["MOUNT_ATTR_RDONLY"] | C["MOUNT_ATTR_NOSUID"] | C["MOUNT_ATTR_NOEXEC"]


def mask(target: int, devnull: int) -> None:
    """Hide what the descriptor refers to: a directory below an empty read-only tmpfs, anything else below /dev/null.

    devnull was opened on the host and is checked to be the device 1:3; the container's own /dev/null might be a link
    (CVE-2025-31133). The cover is the host's node itself, so it is read-only: the device is read and written as before,
    but its mode and owner stay. (With nodev it could not be opened.)
    """
    if posix.fstat(target).st_mode & C["S_IFMT"] == C["S_IFDIR"]:
        context = _linux.fsopen("tmpfs", 0)
        try:
            for key, value in (("source", "tmpfs"), ("size", "0"), ("nr_inodes", "1"), ("mode", "0555")):
                _linux.fsconfig(context, C["FSCONFIG_SET_STRING"], key, value, 0)
            _linux.fsconfig(context, C["FSCONFIG_CMD_CREATE"], None, None, 0)
            cover = _linux.fsmount(context, 0, COVER | C["MOUNT_ATTR_NODEV"])
        finally:
            posix.close(context)
    else:
        status = posix.fstat(devnull)
        if status.st_mode & C["S_IFMT"] != C["S_IFCHR"] or status.st_rdev != posix.makedev(1, 3):
            raise Failure("the host's /dev/null is not the device 1:3; paths can't be masked with it")
        cover = _linux.open_tree(devnull, "", C["OPEN_TREE_CLONE"] | C["AT_EMPTY_PATH"])
    try:
        _linux.mount_setattr(cover, "", C["AT_EMPTY_PATH"], COVER, 0, 0)
        _linux.move_mount(cover, "", target, "", ATTACH)
    finally:
        posix.close(cover)


def set_mode_of(context: int, directory: int) -> None:
    """Give a file system that is about to be made the mode of a directory, as its option `mode`."""
    mode = posix.fstat(directory).st_mode & 0o7777
    _linux.fsconfig(context, C["FSCONFIG_SET_STRING"], "mode", f"{mode:o}", 0)


def make_parent_private(path: str) -> None:
    """Make the mount that path lies on private: pivot_root(2) refuses a new root below a shared mount."""
    fd = _linux.open(path, C["O_PATH"] | C["O_DIRECTORY"])
    try:
        while not _linux.statx_mount(fd)[1]:
            parent = posix.open("..", C["O_PATH"] | C["O_DIRECTORY"] | C["O_CLOEXEC"], dir_fd=fd)
            posix.close(fd)
            fd = parent
        _linux.mount_setattr(fd, "", C["AT_EMPTY_PATH"], 0, 0, C["MS_PRIVATE"])
    finally:
        posix.close(fd)


def detach_host_procfs(rootfs: str) -> None:
    """Unmount the host's procfs and sysfs instances of this mount namespace, or cover those that can't be.

    With --no-pivot they would stay reachable below the container's root, unmasked.
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
