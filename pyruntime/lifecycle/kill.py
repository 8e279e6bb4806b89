"""Kill: send a signal to a container."""

from __future__ import annotations

from ..container import cgroup
from ..container.status import Status, status_of
from ..container.store import Store
from ..errors import Failure
from ..kernel import pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..container.store import Container

SIGKILL = 9
ALIVE = ("created", "running", "paused")


def kill(root: str, container_id: str, signal: int, *, everything: bool = False) -> None:
    """Signal init, or with everything every process of the container.

    If the container is neither created nor running, raise Failure and do nothing (runtime.md "Kill"). But with
    everything a stopped one is accepted, and processes that outlived its init are signalled; SIGKILL reaches them
    without it too, if there are any. No lock is taken, so that a start or a delete that hangs can't prevent a kill.
    """
    kill_one(Store(root), container_id, signal, everything=everything)


def kill_matching(root: str, pattern: str, signal: int, *, everything: bool = False) -> None:
    """Signal all containers whose ids match a regular expression; skip those that are not running."""
    store = Store(root)
    store.each_matching(pattern, lambda each: kill_one(store, each, signal, everything=everything, only_alive=True))


def kill_one(store: Store, container_id: str, number: int, *, everything: bool, only_alive: bool = False) -> None:
    """Signal a container, or with everything all its processes. only_alive: ignore one that is not running."""
    with store.open(container_id, lock=False) as container:
        now = status_of(container)
        try:
            if now.status in ALIVE:
                if everything:
                    send_to_all(container, number)
                else:
                    send(container, now, number)
            elif now.status == "stopped" and (everything or (number == SIGKILL and outlived(container))):
                send_to_all(container, number)
            elif not only_alive:
                raise Failure(f'cannot kill container "{container.id}": container not running (it is {now.status})')
        finally:
            now.close()


def send(container: Container, now: Status, number: int) -> None:
    """Signal init. If it has no pid namespace of its own, SIGKILL goes to all processes, which would outlive it."""
    if number == SIGKILL and shares_pids(container):
        kill_all(container)
    try:
        pidfd_send_signal(now.pidfd, number)
    except ProcessLookupError:
        if number != SIGKILL:
            raise Failure(f'cannot kill container "{container.id}": container not running: no such process') from None


def shares_pids(container: Container) -> bool:
    """Whether the container's processes can outlive its init, because its pid namespace is another's."""
    return not container.record.get("own_pid_namespace")


def outlived(container: Container) -> bool:
    """Whether processes of the container have outlived its init."""
    group = cgroup.owned(container.record) if shares_pids(container) else None
    return group is not None and group.populated()


def send_to_all(container: Container, number: int) -> None:
    """Signal every process in the container's cgroup, by pidfd."""
    if number == SIGKILL:
        kill_all(container)
        return
    group = cgroup.owned(container.record)
    for pid in group.processes() if group is not None else ():
        cgroup.signal_process(pid, number)


def kill_all(container: Container) -> None:
    """Kill every process of the container, even if its pid namespace is another's."""
    group = cgroup.owned(container.record)
    if group is not None:
        group.kill()
