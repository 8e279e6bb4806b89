"""`kill`: send a signal to a container."""

from __future__ import annotations

from ..container import cgroup
from ..container.status import Status, status_of
from ..container.store import Store
from ..errors import Failure, UsageFailure
from ..kernel import pidfd_send_signal, signal_number
from ..text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli import Options
    from ..container.store import Container

SIGKILL = 9
LAST = 64
"""The highest signal number of Linux, SIGRTMAX."""
DEFAULT = "TERM"
ALIVE = ("created", "running", "paused")


def kill(options: Options) -> int:
    """`kill [--all] ID [SIGNAL]`: signal init, or with --all every process of the container.

    A container that is neither created nor running is an error, and nothing happens (runtime.md "Kill"); but --all on a
    stopped one is fine, and reaches what has outlived its init. So does SIGKILL alone where an init does not take all
    with it, as long as there is anybody to end. No lock is taken: a start or a delete that hangs must not keep anybody
    from killing.
    """
    number = read_signal("".join(options.args[1:]) or DEFAULT)
    store = Store(options.root)
    if options.regex:
        # What is not running is passed over.
        store.each_matching(
            options.args[0], lambda each: kill_one(store, each, number, everything=options.all, only_alive=True)
        )
    else:
        kill_one(store, options.args[0], number, everything=options.all)
    return 0


def kill_one(store: Store, container_id: str, number: int, *, everything: bool, only_alive: bool = False) -> None:
    """Signal a container, or with everything all its processes; only_alive: one that is not running is left alone."""
    with store.open(container_id, lock=False) as container:
        now = status_of(container)
        if now.status in ALIVE:
            if everything:
                send_to_all(container, number)
            else:
                send(container, now, number)
            now.close()
        elif now.status == "stopped" and (everything or (number == SIGKILL and outlived(container))):
            send_to_all(container, number)
        elif not only_alive:
            raise Failure(f'cannot kill container "{container.id}": container not running (it is {now.status})')


def send(container: Container, now: Status, number: int) -> None:
    """Signal init. Without a pid namespace of its own, SIGKILL goes to all: nothing else would end the others."""
    if number == SIGKILL and shares_pids(container):
        kill_all(container)
    try:
        pidfd_send_signal(now.pidfd, number)
    except ProcessLookupError:
        if number != SIGKILL:
            raise Failure(f'cannot kill container "{container.id}": container not running: no such process') from None


def shares_pids(container: Container) -> bool:
    """Whether the container's processes live on without its init: its pid namespace is another's."""
    return not container.record.get("own_pid_namespace")


def outlived(container: Container) -> bool:
    """Whether processes of the container live on although its init has ended."""
    group = cgroup.owned(container.record) if shares_pids(container) else None
    return group is not None and group.populated()


def send_to_all(container: Container, number: int) -> None:
    """Signal every process of the container's cgroup, by pidfd."""
    if number == SIGKILL:
        kill_all(container)
        return
    group = cgroup.owned(container.record)
    for pid in group.processes() if group is not None else ():
        cgroup.signal_process(pid, number)


def kill_all(container: Container) -> None:
    """End every process of the container, also of one whose pid namespace is another's."""
    group = cgroup.owned(container.record)
    if group is not None:
        group.kill()


def read_signal(text: str) -> int:
    """Return the number for "TERM", "SIGTERM", "15", "RTMIN+3"; raise UsageFailure for anything else."""
    name = text.upper().removeprefix("SIG")
    number: int | None = None
    if text.isascii() and text.isdecimal():
        number = int(text) if len(text) < 4 else None
    elif name[:5] in ("RTMIN", "RTMAX") and name[6:].isdecimal() and name[5] == ("+" if name[:5] == "RTMIN" else "-"):
        first, last = signal_number("RTMIN") or 0, signal_number("RTMAX") or 0
        number = (first if name[:5] == "RTMIN" else last) + int(name[5:])
        number = number if first <= number <= last else None
    elif name.isalnum() and name.isascii():
        number = signal_number(name)
    if number is None or not 0 <= number <= LAST:
        raise UsageFailure(f"unknown signal {quoted(text)}")
    return number
