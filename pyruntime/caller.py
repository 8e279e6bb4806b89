"""What a command learns from its caller: working directory, user, environment, descriptors."""

from __future__ import annotations

import posix

from .errors import Failure, UsageFailure
from .text import decode


def working_directory() -> str:
    """Return the caller's working directory; raise Failure when it has been removed."""
    try:
        return posix.getcwd()
    except OSError as error:
        raise Failure("working directory", error) from None


def absolute(path: str | None) -> str | None:
    """Make a path of the command line absolute; return None if there is none."""
    if path and not path.startswith("/"):
        return f"{working_directory()}/{path}"
    return path or None


def notify_socket() -> str | None:
    """Return the address of the service manager's socket, or None if there is none (sd_notify(3))."""
    return decode(posix.environ.get(b"NOTIFY_SOCKET", b"")) or None


def given_fds() -> int:
    """Return how many descriptors, from 3 up, came from the caller: those that this process opens are close-on-exec.

    The log may be open by now; it must not reach a container whose caller announced a descriptor but passed none.
    """
    count = 0
    try:
        while posix.get_inheritable(3 + count):
            count += 1
    except OSError:
        pass
    return count


def default_root() -> str:
    """Return the state root of this user. Raises UsageFailure when it belongs to somebody else."""
    uid = posix.geteuid()
    if uid == 0:
        return "/run/pyruntime"
    run_time = decode(posix.environ.get(b"XDG_RUNTIME_DIR", b""))
    if run_time:
        return f"{run_time}/pyruntime"
    path = f"/tmp/pyruntime-{uid}"
    try:
        status = posix.lstat(path)
    except FileNotFoundError:
        return path
    if status.st_uid != uid or status.st_mode & 0o170000 != 0o040000:
        raise UsageFailure(f"{path} is not a directory of this user's; set XDG_RUNTIME_DIR, or give --root")
    return path
