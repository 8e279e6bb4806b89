"""`exec`: run another process in a running container."""

from __future__ import annotations

from ..caller import absolute
from ..errors import Failure, UsageFailure
from ..lifecycle import exec as lifecycle
from ..text import quoted
from .arguments import preserved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def exec_(options: Options) -> int:
    """`exec ID [CMD…]`: return the process's exit status, 0 when detached. Failures have status 255."""
    try:
        asked = execution(options)
    except Failure as failure:
        raise lifecycle.about_exec(failure) from None
    return lifecycle.exec_(options.root, options.args[0], asked)


def execution(options: Options) -> lifecycle.Execution:
    """Return the parameters of exec from a command line. Raises Failure."""
    uid, gid = read_user(options.user)
    return lifecycle.Execution(
        options.args[1:],
        process_file=options.process,
        terminal=options.tty,
        cwd=options.cwd,
        env=options.env,
        uid=uid,
        gid=gid,
        additional_gids=[number(gid, "--additional-gids") for gid in options.additional_gids],
        capabilities=options.cap,
        no_new_privileges=options.no_new_privs,
        apparmor=options.apparmor,
        process_label=options.process_label,
        cgroups=options.cgroup,
        ignore_paused=options.ignore_paused,
        foreground=not options.detach,
        console_socket=absolute(options.console_socket),
        pidfd_socket=options.pidfd_socket,
        pid_file=options.pid_file,
        preserve_fds=preserved(options),
    )


def read_user(text: str | None) -> tuple[int | None, int | None]:
    """Return the ids of UID[:GID], which must be numbers (CVE-2026-30892)."""
    if text is None:
        return None, None
    uid, colon, gid = text.partition(":")
    return number(uid, "--user"), number(gid, "--user") if colon else None


def number(text: str, option: str) -> int:
    """Return a user or group id; raise UsageFailure for anything but a decimal number below 2^32-1."""
    wrong = UsageFailure(f"{option}: {quoted(text)} is not a numeric id between 0 and 4294967294")
    if len(text) > len("4294967294"):  # int() refuses very many digits
        raise wrong
    if not (text.isascii() and text.isdecimal()) or int(text) >= 0xFFFFFFFF:
        raise wrong
    return int(text)
