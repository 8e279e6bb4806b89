"""Start: run the user's program in a created container."""

from __future__ import annotations

import posix

from .. import kernel
from ..container import cgroup
from ..container.store import Store
from ..errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..container.store import Container
    from ..step import Slots
    from .notify import Notify

REFUSED = {"running": "an already running container", "stopped": "a container that has stopped"}
"""Containers that can't be started, in runc's words."""


def start(root: str, container_id: str, notify_socket: str | None = None) -> None:
    """Make the waiting init execute the program, then run the poststart hooks.

    notify_socket: address of the service manager's socket to notify when the program is ready; start waits for that.
    Raises Failure when the container is not `created`; it is then unchanged.
    """
    container = Store(root).open(container_id)
    try:
        notify = listen(container, notify_socket)
        start_container(container)
        wait_ready(container, notify)
    finally:
        container.close()


def listen(container: Container, notify_socket: str | None) -> Notify | None:
    """Open the socket on which the program reports that it is ready, if a service manager asks for that."""
    if notify_socket is None:
        return None
    from . import notify

    return notify.listen(container, notify_socket)


def wait_ready(container: Container, notify: Notify | None) -> None:
    """Wait until the program is ready or has ended, without the container's lock, and notify the service manager."""
    if notify is not None:
        container.unlock()
        notify.wait(container)


def start_container(container: Container) -> None:
    """Start a locked container. Raises Failure when it is not `created`; it is then unchanged.

    When a hook fails, destroy the container and run its poststop hooks (runtime.md "Lifecycle", 7 and 9).
    """
    from ..container.status import status_of

    now = status_of(container)
    try:
        if now.status != "created":
            raise refusal(container, now.status)
        start_created(container, now.pid, now.pidfd)
    except Failure as failure:
        if (failure.pointer or "").startswith("/hooks/"):
            from .delete import clean_up

            now.close()
            clean_up(container, failure)
        raise
    finally:
        now.close()


def refusal(container: Container, status: str) -> Failure:
    """Return the failure of a start of a container that is not `created`."""
    kills = cgroup.of(container.record).oom_kills()
    hint = f"memory.events counts {kills} killed for lack of memory" if status == "stopped" and kills else None
    what = REFUSED.get(status, f"a container in the {status} state")
    return Failure(f'cannot start {what}: "{container.id}"', hint=hint)


def start_created(container: Container, pid: int, pidfd: int) -> None:
    """Start a locked container known to be `created`. Raises Failure; after that of a hook the caller destroys it."""
    from ..engine import start as engine_start

    if not container.record["has_process"]:
        refuse_to_start(container)
        return
    try:
        engine_start.start(container.dirfd, pidfd)
    except Failure as failure:
        from ..container import limits

        limits.explain(failure, cgroup.of(container.record), container.record.get("oom_kills", 0))
        raise
    if "poststart" in container.record["later_hooks"]:
        run_poststart(container, container.config(), pid)


def refuse_to_start(container: Container) -> None:
    """Report that a container without `process` can't be started, and end its init.

    The spec demands an error but not how it is returned; its validation suite demands exit status 0 and a container
    that ends (docs/status.md). So the error goes to stderr and the log, and the container stops.
    """
    import posix
    import sys

    from .. import log
    from ..state_files import START_SOCKET
    from .delete import end_processes

    text = f'cannot start container "{container.id}": config.json has no process [config.json#/process]'
    log.error(text)
    sys.stderr.write(f"pyruntime: {text}\n")
    end_processes(container)
    posix.unlink(START_SOCKET, dir_fd=container.dirfd)


def run_poststart(container: Container, config: dict[str, object], pid: int) -> None:
    """Run the poststart hooks. Raises the Failure of the first that fails."""
    from ..engine import calls
    from ..engine.channel import failure_of
    from ..plan import hooks
    from ..plan.wishes import Wishes

    wishes = Wishes(container.id, container.record["bundle"])
    # The failure may be that no descriptor is left; this one is kept for destroying the container.
    spare = kernel.open("/", kernel.flags("O_PATH|O_CLOEXEC"))
    slots: Slots = {"init_pid": pid}
    try:
        for step in hooks.later_steps(config, wishes, "poststart"):
            try:
                step.apply(calls, slots)
            except (Failure, OSError) as error:
                raise failure_of(step, error) from error
    finally:
        for fd in (spare, *(slots[name] for name in slots if name != "init_pid")):
            posix.close(fd)
