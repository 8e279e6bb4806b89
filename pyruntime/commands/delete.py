"""`delete`: remove everything that create made."""

from __future__ import annotations

import errno
import posix

from .. import kernel, log
from ..container import cgroup
from ..container.status import open_init, status_of
from ..container.store import Store
from ..errors import Failure, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cli import Options
    from ..container.store import Container

POLLIN = 1
SIGKILL = 9
KILL_WAIT_MS = 10000
"""How long a killed init may take to go; it can be held up by the file systems it has open."""


def delete(options: Options) -> int:
    """`delete [--force] ID`: a container that is not stopped is deleted only with --force (runtime.md "Delete")."""
    if options.regex:
        return delete_matching(options)
    delete_one(options, options.args[0])
    return 0


def delete_matching(options: Options) -> int:
    """`delete --regex PATTERN`: every container whose whole id matches."""
    import re

    try:
        pattern = re.compile(options.args[0])
    except re.error as error:
        raise Failure(f"--regex {options.args[0]!r}: {error}") from None
    for container_id in Store(options.root).ids():
        if pattern.fullmatch(container_id):
            delete_one(options, container_id)
    return 0


def delete_one(options: Options, container_id: str) -> None:
    try:
        container = Store(options.root).open(container_id)
    except NotFound:
        if options.force:
            return
        raise
    if not options.force:
        now = status_of(container)
        if now.status != "stopped":
            raise Failure(
                f'cannot delete container "{container_id}" that is not stopped: {now.status}',
                hint="kill it first, or use --force",
            )
    destroy(container)


def destroy(container: Container) -> None:
    """End what runs and remove what create made, at whatever stage it stopped: processes, mounts, cgroup, state.

    The poststop hooks run when everything is gone but the state; one that fails is a warning, and the next still
    runs (runtime.md "Lifecycle"). The state directory goes last, so that a delete that failed can be repeated.
    """
    record = container.record
    end_processes(container)
    for path in reversed(record.get("mounts") or ()):
        unmount(path)
    if "cgroup_mount" in record:
        cgroup.remove_made(record)
    run_poststop(container)
    container.remove()
    container.close()


def end_processes(container: Container) -> None:
    """Kill init and everything in the cgroup, and wait until init is gone."""
    record = container.record
    if "cgroup_mount" in record:
        cgroup.of(record).kill()
    _, pidfd = open_init(record)
    if pidfd < 0:
        return
    try:
        kernel.pidfd_send_signal(pidfd, SIGKILL)
    except ProcessLookupError:
        pass
    gone = kernel.poll([(pidfd, POLLIN)], KILL_WAIT_MS)
    posix.close(pidfd)
    if not gone:
        raise Failure(f'container "{container.id}": init {record["pid"]} was killed but does not end')


def unmount(path: str) -> None:
    """Unmount what a container without a mount namespace left in the runtime's."""
    try:
        kernel.umount2(path, kernel.flags("MNT_DETACH|UMOUNT_NOFOLLOW"))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise Failure(f"unmount {path}", error) from None


def run_poststop(container: Container) -> None:
    """Run the poststop hooks of a container whose config can be read."""
    config = readable_config(container)
    if not (config.get("hooks") or {}).get("poststop"):
        return
    from ..engine import calls
    from ..plan import hooks
    from ..plan.facts import Facts

    facts = Facts()
    facts.id, facts.bundle = container.id, container.record.get("bundle", "")
    for step in hooks.hook_steps(config, facts, "poststop"):
        try:
            step.apply(calls, {"init_pid": 0})
        except Failure as failure:
            failure.pointer = failure.pointer or step.pointer
            log.warning(str(failure))


def readable_config(container: Container) -> dict[str, Any]:
    try:
        return container.config()
    except (OSError, Failure):
        return {}
