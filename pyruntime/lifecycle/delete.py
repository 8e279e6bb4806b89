"""Delete: remove everything that create made."""

from __future__ import annotations

import errno
import posix

from .. import kernel, log, observer
from ..container import cgroup
from ..container.ownership import note_on
from ..container.record import boot_id
from ..container.status import open_init, parent_of, status_of
from ..container.store import Store
from ..errors import Failure, NotFound, os_error_text
from .kill import kill_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..container.record import Record
    from ..container.store import Container
    from ..step import Slots, Step

POLLIN = 1
SIGKILL = 9
KILL_WAIT_MS = 10000
"""How long a killed init may take to exit; file systems that it has open can hold it up."""
LOCK_SECONDS = 10.0
"""How long --force waits for a command on the same container that has just lost its init."""


def delete(root: str, container_id: str, *, force: bool = False) -> None:
    """Delete a container. One that is not stopped is deleted only with force (runtime.md "Delete")."""
    delete_one(Store(root), container_id, force=force)


def delete_matching(root: str, pattern: str, *, force: bool = False) -> None:
    """Delete all containers whose ids match a regular expression."""
    store = Store(root)
    store.each_matching(pattern, lambda each: delete_one(store, each, force=force))


def delete_one(store: Store, container_id: str, *, force: bool) -> None:
    """Delete a container; with force also one that is running, damaged or incomplete, or does not exist at all."""
    try:
        if force:
            container = open_by_force(store, container_id)
        else:
            container = store.open(container_id)
    except NotFound:
        if force:
            store.sweep(container_id)
            return
        raise
    with container:
        if not force:
            check_stopped(container)
        destroy(container)


def open_by_force(store: Store, container_id: str) -> Container:
    """Open and lock the container; when another command is working on it, kill the container's processes first.

    A create or start that waits for its init, or for a hook inside the container, then fails and releases the lock.
    """
    container = store.open(container_id, lock=False)
    try:
        if not container.lock(wait=False):
            kill_all(container)
            if not container.lock_within(LOCK_SECONDS):
                raise Failure(f'cannot delete container "{container_id}": another command is working on it')
        store.check(container)
    except BaseException:
        container.close()
        raise
    return container


def check_stopped(container: Container) -> None:
    now = status_of(container)
    now.close()
    if now.status != "stopped":
        raise Failure(
            f"cannot delete container {container.id} that is not stopped: {now.status}",
            hint="kill it first, or use --force",
        )


@observer.phase
def destroy(container: Container) -> None:
    """End all processes and remove what create made, however far it got: mounts, cgroup and state.

    The poststop hooks run when everything but the state is gone; one that fails is a warning, and the next still
    runs (runtime.md "Lifecycle"). The state directory goes last, so that a failed delete can be repeated.
    The container must be locked. A container that another command has deleted meanwhile is left alone, because its id
    may be in use again.
    """
    if container.gone():
        container.close()
        return
    if container.damage is not None:
        container.record = record_from_config(container)
    record = container.record
    end_processes(container)
    if record.get("boot_id") == boot_id():
        for path, before in reversed(record["mounts"]):
            if path == record["rootfs"]:
                unmount(path, before)
    if "cgroup" in record:
        remove_cgroup(record)
    run_poststop(container)
    container.remove()
    container.close()


def remove_cgroup(record: Record) -> None:
    """Remove the cgroups that create made; with the systemd driver the cgroup is a scope, which systemd removes."""
    if "systemd_unit" in record:
        from ..container import systemd

        systemd.remove_scope(record)
    else:
        cgroup.remove_made(record)


def clean_up(container: Container, error: BaseException) -> None:
    """Destroy a container after an error; add a failure of the clean-up to that error."""
    try:
        destroy(container)
    except (OSError, Failure) as second:
        if isinstance(error, Failure):
            words = os_error_text(second) if isinstance(second, OSError) else str(second)
            error.what += f" (and the clean-up failed: {words})"


def record_from_config(container: Container) -> Record:
    """Reconstruct the cgroup's part of a damaged record from the config, as create read it.

    The cgroup must bear the container's note: a path alone may be that of somebody else's cgroup, or of the parent of
    all containers.
    """
    from .place import place

    # The config does not name the driver. But a path is valid for only one of them, and only one cgroup has the note.
    for systemd in (False, True):
        euid = posix.geteuid()
        try:
            config = {"linux": {"cgroupsPath": (readable_config(container).get("linux") or {}).get("cgroupsPath")}}
            found = place(config, container.id, euid, systemd=systemd)
        except (AttributeError, TypeError, Failure):
            continue
        if found.mount is not None and note_on(found.directory) == container.note():
            unit: Record = {"systemd_unit": found.unit, "systemd_user": euid != 0} if systemd else {}
            names: Record = {"cgroup": found.path, "cgroup_mount": found.mount}
            return {**names, "cgroup_id": cgroup.identity(found.directory), "note": container.note(), **unit}
    return {}


@observer.phase
def end_processes(container: Container) -> None:
    """Kill init and every process in the cgroup, and wait until init has exited."""
    record = container.record
    kill_all(container)
    pid, pidfd, _ = open_init(record)
    if pidfd < 0:
        return
    if pid in ancestors():
        posix.close(pidfd)
        raise Failure(f'container "{container.id}": its record names process {pid}, an ancestor of this command')
    try:
        kernel.pidfd_send_signal(pidfd, SIGKILL)
        gone = kernel.poll([(pidfd, POLLIN)], KILL_WAIT_MS)
    except ProcessLookupError:
        return
    finally:
        posix.close(pidfd)
    if not gone:
        raise Failure(f'container "{container.id}": init {pid} was killed but does not exit')


def ancestors() -> set[int]:
    """Return the pids of this process and its ancestors, none of which can be the container's init."""
    found, pid = set(), posix.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        pid = parent_of(pid)
    return found


def mount_id(path: str) -> int:
    """Return the id of the topmost mount at a path, which create records before it mounts anything there."""
    fd = kernel.open(path, kernel.flags("O_PATH|O_CLOEXEC"))
    try:
        return int(kernel.statx_mount(fd)[0])
    finally:
        posix.close(fd)


def unmount(path: str, before: int) -> None:
    """Unmount what a container without its own mount namespace left in the runtime's, but nothing older."""
    try:
        if mount_id(path) != before:
            # Unmounting below a shared mount also unmounts below its peers, such as the volume that it was bound from.
            recursive = kernel.flags("AT_RECURSIVE|AT_SYMLINK_NOFOLLOW")
            kernel.mount_setattr(kernel.flags("AT_FDCWD"), path, recursive, 0, 0, kernel.flags("MS_PRIVATE"))
            kernel.umount2(path, kernel.flags("MNT_DETACH|UMOUNT_NOFOLLOW"))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise Failure(f"unmount {path}", error) from None


def run_poststop(container: Container) -> None:
    """Run the poststop hooks; no error in them keeps the container from being deleted."""
    if "poststop" not in container.record.get("later_hooks", ("poststop",)):
        return
    try:
        steps = poststop_steps(container)
    except Exception as error:
        why = error if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        log.warning(f"the poststop hooks are not run: {why}")
        return
    slots: Slots = {"init_pid": 0}
    for step in steps:
        from ..engine import calls
        from ..engine.channel import failure_of

        try:
            step.apply(calls, slots)
        except Exception as error:
            log.warning(str(failure_of(step, error)))
            if step.into:
                slots[step.into] = -1  # no output file: the output is kept for an error instead
    for name, fd in slots.items():
        if name != "init_pid" and fd >= 0:
            posix.close(fd)


def poststop_steps(container: Container) -> list[Step]:
    """Return a step for each poststop hook. Raises any exception if the config is not as create wrote it."""
    config = container.config()
    if not (config.get("hooks") or {}).get("poststop"):
        return []
    from ..plan import hooks
    from ..plan.wishes import Wishes

    wishes = Wishes(container.id, container.record.get("bundle") or "/")
    return hooks.later_steps(config, wishes, "poststop")


def readable_config(container: Container) -> dict[str, Any]:
    try:
        return container.config()
    except Failure:
        return {}
