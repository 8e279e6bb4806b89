"""Pseudo-terminals of a container's devpts. Source: pts(4), ioctl_tty(2), CVE-2025-52565."""

from __future__ import annotations

import posix

from ..errors import Failure
from . import _linux

C = _linux.constants


def open_ptmx(root: int) -> int:
    """Open the multiplexer of the devpts on /dev/pts below root; return the master side of a new pseudo-terminal.

    The directory must be a devpts itself, where `ptmx` can only be the real one.
    """
    resolve = C["RESOLVE_IN_ROOT"] | C["RESOLVE_NO_MAGICLINKS"]
    directory = _linux.openat2(root, "dev/pts", C["O_PATH"] | C["O_DIRECTORY"], 0, resolve)
    try:
        if _linux.fstatfs_type(directory) != C["DEVPTS_SUPER_MAGIC"]:
            raise Failure("/dev/pts of the container is not a devpts; a terminal can't be made")
        beneath = C["RESOLVE_BENEATH"] | C["RESOLVE_NO_SYMLINKS"] | C["RESOLVE_NO_XDEV"]
        return _linux.openat2(directory, "ptmx", C["O_RDWR"] | C["O_NOCTTY"], 0, beneath)
    finally:
        posix.close(directory)


def open_pty_peer(master: int) -> int:
    """Return the other side of the pseudo-terminal, unlocked, without using its path."""
    _linux.unlock_pty(master)
    return _linux.pty_peer(master)


def pty_name(master: int) -> str:
    """Return the path of the other side as the container sees it."""
    return f"/dev/pts/{_linux.pty_number(master)}"
