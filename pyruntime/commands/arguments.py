"""What the command lines and environments of create, run, exec and explain have in common."""

from __future__ import annotations

import posix

from ..caller import absolute, notify_socket, working_directory
from ..errors import Failure
from ..text import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..lifecycle.create import Creation
    from ..options import Options


def creation(options: Options, *, foreground: bool = False) -> Creation:
    """Return what a command line asks of create. Raises Failure for descriptors that the caller has not given."""
    from ..lifecycle.create import Creation

    warnings: list[str] = []
    sockets = activated(options, warnings)
    return Creation(
        options.bundle or working_directory(),
        config_file=options.config,
        systemd_cgroup=options.systemd_cgroup,
        console_socket=absolute(options.console_socket),
        pidfd_socket=absolute(options.pidfd_socket),
        pid_file=absolute(options.pid_file),
        preserve_fds=preserved(options, sockets),
        listen_fds=sockets,
        notify_socket=notify_socket(),
        no_pivot=options.no_pivot,
        no_new_keyring=options.no_new_keyring,
        foreground=foreground,
        warnings=warnings,
    )


def activated(options: Options, warnings: list[str]) -> int:
    """Return how many sockets the caller passes from 3 on, by the protocol of sd_listen_fds(3).

    As crun does, LISTEN_FDS is taken without LISTEN_PID too, but only where the descriptors are open, and those of
    --preserve-fds behind them: it may have been left in the environment by anybody, and what was not meant for this
    process must not fail a container. Raises Failure where LISTEN_PID says that it was.
    """
    count, meant = posix.environ.get(b"LISTEN_FDS", b""), posix.environ.get(b"LISTEN_PID")
    own = b"%d" % posix.getpid()
    if not count or meant not in (None, b"", own):
        return 0
    if not (count.isdigit() and len(count) < 10):
        warnings.append(f"LISTEN_FDS={show(count)} is ignored: it is not a number of descriptors")
        return 0
    why = f"descriptor {3 + options.given_fds} is not open"
    if meant == own:
        if int(count) > options.given_fds:
            raise Failure(f"LISTEN_FDS={show(count)} with LISTEN_PID={show(own)}: {why}")
    elif int(count) + (options.preserve_fds or 0) > options.given_fds:
        warnings.append(f"LISTEN_FDS={show(count)} is ignored, without LISTEN_PID: {why}")
        return 0
    return int(count)


def preserved(options: Options, sockets: int = 0) -> int:
    """Return how many descriptors from 3 on the program keeps: --preserve-fds many behind the sockets.

    Raises Failure when the caller did not give so many.
    """
    count = sockets + (options.preserve_fds or 0)
    if count > options.given_fds:
        raise Failure(f"--preserve-fds: descriptor {3 + options.given_fds} is not open")
    return count
