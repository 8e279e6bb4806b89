"""The part of command line and environment that create, run, exec and explain share."""

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
    """Return the parameters of create from a command line. Raises Failure for descriptors that were not passed."""
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
    """Return how many sockets the caller passes, from descriptor 3 up, by the protocol of sd_listen_fds(3).

    As with crun, LISTEN_FDS counts without LISTEN_PID too, but only if the descriptors, and those of --preserve-fds
    after them, are open: a stray variable in the environment, not meant for this process, must not make a container
    fail. Raises Failure if they are not open although LISTEN_PID says that it was meant.
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
    """Return how many descriptors, from 3 up, the program keeps: the sockets, then those of --preserve-fds.

    Raises Failure when the caller did not pass that many.
    """
    count = sockets + (options.preserve_fds or 0)
    if count > options.given_fds:
        raise Failure(f"--preserve-fds: descriptor {3 + options.given_fds} is not open")
    return count
