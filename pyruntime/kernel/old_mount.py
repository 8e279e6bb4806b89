"""mount(2) used to make a detached mount, as fsmount(2) does."""

from __future__ import annotations

import errno
import posix

from . import _linux
from .procfs import named

C = _linux.constants
PRIVATE = C["CLONE_NEWNS"] | C["CLONE_FILES"]
NUMBER = 8
"""The most characters of the child's answer."""


def mount_by_data(source: str, kind: str, flags: int, data: str) -> int:
    """Return a detached mount of a new file system, described in the form that mount(2) takes.

    mount(2) always attaches. So a child that shares our descriptors calls it in a mount namespace of its own, which
    exists only for this call and from which nothing propagates. Raises OSError with the errno of mount(2).
    """
    answer, child_end = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
    try:
        pid, pidfd = _linux.clone3(PRIVATE)
        if pid == 0:
            _answer(child_end, source, kind, flags, data)
        posix.close(pidfd)
        posix.waitpid(pid, 0)
        try:
            number = int(posix.read(answer, NUMBER))
        except BlockingIOError:
            number = -errno.EIO
    finally:
        posix.close(child_end)
        posix.close(answer)
    if number < 0:
        raise named(OSError(-number, posix.strerror(-number)), f'mount("{source}", "{kind}", {data[:64]}...)')
    return number


def _answer(pipe: int, source: str, kind: str, flags: int, data: str) -> None:
    """In the child: write the number of the descriptor, or a negative errno, and exit."""
    number = -errno.EIO
    try:
        root, recursive = C["AT_FDCWD"], C["AT_RECURSIVE"]
        _linux.mount_setattr(root, "/", recursive, 0, 0, C["MS_PRIVATE"])
        # Paths in the data are looked up before the mount covers the root; "/.." leads to the mount on top.
        _linux.mount(source, "/", kind, flags, data or None)
        number = _linux.open_tree(root, "/..", C["OPEN_TREE_CLONE"])
    except OSError as error:
        number = -(error.errno or errno.EIO)
    finally:
        posix.write(pipe, b"%d" % number)
        posix._exit(0)
