"""`kill`: send a signal to a container."""

from __future__ import annotations

import _signal

from ..container import cgroup
from ..container.status import Status, status_of
from ..container.store import Store
from ..errors import Failure, UsageFailure
from ..kernel import pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli import Options
    from ..container.store import Container

SIGKILL = 9
DEFAULT = "TERM"


def kill(options: Options) -> int:
    """`kill [--all] ID [SIGNAL]`: signal init, or with --all every process of the container.

    A container that is neither created nor running is an error, and nothing happens (runtime.md "Kill").
    """
    number = signal_number(options.args[1] if len(options.args) > 1 else DEFAULT)
    container = Store(options.root).open(options.args[0])
    now = status_of(container)
    if now.status not in ("created", "running", "paused"):
        if options.all:
            send_to_all(container, number)
            return 0
        raise Failure(f'cannot kill container "{container.id}": container not running (it is {now.status})')
    if options.all:
        send_to_all(container, number)
    else:
        send(container, now, number)
    return 0


def send(container: Container, now: Status, number: int) -> None:
    """Signal init. Without a pid namespace of its own, SIGKILL goes to all: nothing else would end the others."""
    if number == SIGKILL and not container.record.get("own_pid_namespace"):
        kill_all(container)
    try:
        pidfd_send_signal(now.pidfd, number)
    except ProcessLookupError:
        if number != SIGKILL:
            raise Failure(f'cannot kill container "{container.id}": no such process') from None


def send_to_all(container: Container, number: int) -> None:
    """Signal every process of the container's cgroup, by pidfd."""
    if number == SIGKILL:
        kill_all(container)
        return
    group = cgroup.of(container.record)
    for pid in group.processes():
        signal_process(pid, number)


def signal_process(pid: int, number: int) -> None:
    """Signal a process that may be gone by now."""
    import posix

    try:
        pidfd = posix.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
    finally:
        posix.close(pidfd)


def kill_all(container: Container) -> None:
    """End every process of the container, also of one whose pid namespace is another's."""
    if "cgroup_mount" in container.record:
        cgroup.of(container.record).kill()


def signal_number(text: str) -> int:
    """Return the number for "TERM", "SIGTERM", "15", "RTMIN+3"; raise UsageFailure for anything else."""
    if text.isdecimal():
        if 0 <= int(text) <= _signal.NSIG - 1:
            return int(text)
        raise UsageFailure(f"unknown signal {text!r}")
    name = text.upper().removeprefix("SIG")
    for base, sign in (("RTMIN", "+"), ("RTMAX", "-")):
        if name.startswith(base + sign) and name[6:].isdecimal():
            number = getattr(_signal, f"SIG{base}") + int(f"{sign}{name[6:]}")
            if _signal.SIGRTMIN <= number <= _signal.SIGRTMAX:
                return int(number)
    number = getattr(_signal, f"SIG{name}", None)
    if not isinstance(number, int) or name.startswith("_"):
        raise UsageFailure(f"unknown signal {text!r}")
    return int(number)
