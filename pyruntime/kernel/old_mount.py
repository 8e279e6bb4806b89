"""mount(2) for a mount that is not attached anywhere yet, as fsmount(2) makes them."""

from __future__ import annotations

import errno
import posix

from . import _linux
from .procfs import named

C = _linux.constants
PRIVATE = C["CLONE_NEWNS"] | C["CLONE_FILES"]
NUMBER = 8
"""The most characters that the child answers."""


def mount_by_data(source: str, kind: str, flags: int, data: str) -> int:
    """Return a detached mount of a new file system that is described as mount(2) wants it.

    mount(2) can only attach. It does so in a mount namespace that exists for this call, where nobody sees it and from
    which nothing propagates: that of a child which shares our descriptors. Raises OSError with mount(2)'s errno.
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
    """The child: write the number of the descriptor, or a negative errno, and end."""
    number = -errno.EIO
    try:
        root, recursive = C["AT_FDCWD"], C["AT_RECURSIVE"]
        _linux.mount_setattr(root, "/", recursive, 0, 0, C["MS_PRIVATE"])
        # Paths among the data are looked up before the root is covered; ".." of the root is what covers it.
        _linux.mount(source, "/", kind, flags, data or None)
        number = _linux.open_tree(root, "/..", C["OPEN_TREE_CLONE"])
    except OSError as error:
        number = -(error.errno or errno.EIO)
    finally:
        posix.write(pipe, b"%d" % number)
        posix._exit(0)
