"""The host's side of `start`: ask the waiting init to execute its program, and find out whether it did."""

from __future__ import annotations

import errno
import posix

from .. import kernel
from ..errors import Failure
from ..state_files import START_SOCKET
from . import channel

END_LIMIT = 1000
"""Milliseconds that init may take to exit after it has reported a failure."""
POLLIN = 1


def start(state_dir: int, pidfd: int) -> None:
    """Let init, which pidfd refers to, execute the program; return once it has.

    This never hangs on a dead init, because the socket closes with the process. A program that starts and dies at once
    counts as started. Raises Failure when init is gone, a startContainer hook fails, or the program can't be executed;
    the container is `stopped` by then.
    """
    try:
        connection = kernel.unix_connect(state_dir, START_SOCKET)
    except OSError as error:
        if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
            raise Failure("the container's init is gone; the container can't be started") from None
        raise
    try:
        try:
            kernel.send_message(connection, channel.START)
        except BrokenPipeError:
            raise Failure("the container's init died before it could execute the program") from None
        try:
            channel.wait_for_exec(connection)
        except Failure:
            # Init exits right after its report: wait for that, so that the caller finds the container `stopped`.
            kernel.poll([(pidfd, POLLIN)], END_LIMIT)
            raise
    finally:
        posix.close(connection)
    posix.unlink(START_SOCKET, dir_fd=state_dir)
