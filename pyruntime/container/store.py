"""The state directory: one directory per container below the root, with an atomic record and a lock.

`<root>/<id>/` holds state.json (the record), config.json (the config as create read it: later changes have no effect),
start.sock while init waits, and resources.json once `update` has changed linux.resources. The lock is
flock(2) on the directory itself. The record of a container is written as `creating`, with its cgroup, before its first
process exists, so that `delete --force` can always clean up.

A directory appears under its id complete and locked, and disappears from there atomically: it is filled and emptied
under a name that is not an id (`~ID.PID.TIME`). So nobody ever sees half a container, and `list` never fails.
"""

from __future__ import annotations

import errno
import posix

from .. import kernel
from ..errors import Failure, NotFound
from ..spec.jsontext import dumps, load_document
from ..state_files import CONFIG, RECORD, RESOURCES
from ..text import encode, quoted
from .cgroup import attempts, identity
from .ownership import write_note
from .record import boot_id, read_file, read_record, rfc3339, write_file
from .root import trusted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .record import Record
    from .systemd import Property

DAMAGE = (None, errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EIO, errno.EUCLEAN)
"""Reasons why a record will not become readable later either; None: it could be read but is not a record."""
LOCK_EXCLUSIVE, LOCK_NONBLOCKING, LOCK_UNLOCK = 2, 4, 8
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")
MAX_ID = 255
"""Bytes of a file name (NAME_MAX)."""
ASIDE = "~"
"""First character of a directory's name before and after it is a container; no id contains it."""
DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW


def is_id(text: str) -> bool:
    """Whether the text is a valid container id: a plain file name of letters, digits and `_ + . -`."""
    return bool(text) and text not in (".", "..") and len(text) <= MAX_ID and ID_CHARACTERS.issuperset(text)


def check_id(container_id: str) -> str:
    """Return the id; raise Failure for one that could leave the root directory or confuse callers."""
    if is_id(container_id):
        return container_id
    if len(container_id) > MAX_ID:
        raise Failure(f"invalid container ID format: {len(container_id)} characters, at most {MAX_ID} are allowed")
    if not container_id:
        raise Failure("container id cannot be empty")
    raise Failure(f"invalid container ID format: {quoted(container_id)}", hint="use letters, digits and _ + . -")


class Container:
    """One container's open directory. record: the state record as a dictionary, empty when it can't be read.

    damage: why the record can't be read, or None if it is valid. locked: whether this object holds the lock.
    """

    __slots__ = ("damage", "dirfd", "id", "locked", "record", "root")

    def __init__(self, root: str, container_id: str, dirfd: int) -> None:
        self.root = root
        self.id = container_id
        self.dirfd = dirfd
        self.locked = False
        self.record: Record = {}
        self.damage: Failure | None = None

    @property
    def path(self) -> str:
        return f"{self.root}/{self.id}"

    def lock(self, *, wait: bool = True) -> bool:
        """Take the container's lock. Without wait, return False when another command holds it."""
        try:
            kernel.flock(self.dirfd, LOCK_EXCLUSIVE | (0 if wait else LOCK_NONBLOCKING))
        except BlockingIOError:
            return False
        self.locked = True
        return True

    def lock_within(self, seconds: float) -> bool:
        """Take the container's lock; return False when another command still holds it after that time."""
        return any(self.lock(wait=False) for _ in attempts(seconds, 0.05))

    def unlock(self) -> None:
        """Release the lock, even if a child has a copy of the descriptor."""
        kernel.flock(self.dirfd, LOCK_UNLOCK)
        self.locked = False

    def close(self) -> None:
        """Close the directory and release the lock; a second call does nothing."""
        if self.dirfd < 0:
            return
        if self.locked:
            self.unlock()
        posix.close(self.dirfd)
        self.dirfd = -1

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def gone(self) -> bool:
        """Whether the container has been deleted since its directory was opened."""
        here = posix.fstat(self.dirfd)
        if here.st_nlink == 0:
            return True
        try:
            there = posix.stat(self.path, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return True
            raise Failure(f"look at state directory {self.path}", error) from None
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def load(self) -> None:
        """Read the record. Damage is noted, and raised by sound() when the record is needed.

        Raises Failure when it can't be read at the moment (no descriptor is left): if that counted as damage, a delete
        would leave behind what only the record names.
        """
        try:
            self.record, self.damage = read_record(self.dirfd, RECORD, f"{self.path}/{RECORD}", self.id), None
            self.record["note"] = self.note()
        except Failure as failure:
            if failure.errno not in DAMAGE:
                raise
            failure.hint = "delete --force removes the container"
            self.damage = failure

    def note(self) -> str:
        """Return the note for the container's cgroup: the identity of this directory, which a record can't fake."""
        status = posix.fstat(self.dirfd)
        return f"{status.st_dev:x}:{status.st_ino:x}"

    def sound(self) -> Container:
        """Return the container; raise Failure when its record is damaged."""
        if self.damage is not None:
            raise self.damage
        return self

    def save(self) -> None:
        """Write the record atomically: to a temporary file, which is synced and renamed."""
        write_file(self.dirfd, RECORD, encode(dumps(self.record)))

    def start_scope(self, unit: str, properties: Iterable[Property], pid: int) -> None:
        """Have systemd create the container's cgroup, as a scope with the process in it. Raises Failure."""
        from .systemd import start_scope

        start_scope(self.record, unit, properties, pid)

    def set_unit_properties(self, properties: Iterable[Property]) -> None:
        """Change the limits of the container's scope in systemd. Raises Failure; then none has changed."""
        from .systemd import set_unit_properties

        set_unit_properties(self.record, properties)

    def save_cgroup(self, cgroup: int) -> None:
        """Record that the cgroup of this descriptor is the container's: from now on delete kills what runs in it."""
        write_note(cgroup, self.note())
        self.record["cgroup_id"] = identity(cgroup)
        self.save()

    def save_created(self, pid: int) -> None:
        """Write the record of a container whose init is ready."""
        from .status import start_time

        self.record["pid"] = pid
        self.record["start_time"] = start_time(pid)
        self.record["status"] = "created"
        self.save()

    def config(self) -> dict[str, Any]:
        """Return the config that create used; raise Failure when it can't be read."""
        return self._read_object(CONFIG)

    def resources(self) -> dict[str, Any]:
        """Return the current linux.resources: those of the last update, else the config's. Raises Failure."""
        try:
            posix.stat(RESOURCES, dir_fd=self.dirfd, follow_symlinks=False)
        except FileNotFoundError:
            resources: dict[str, Any] = (self.config().get("linux") or {}).get("resources") or {}
            return resources
        return self._read_object(RESOURCES)

    def save_resources(self, resources: dict[str, Any]) -> None:
        """Save linux.resources as an update has left them. Raises OSError; the file is then unchanged."""
        write_file(self.dirfd, RESOURCES, encode(dumps(resources)))

    def _read_object(self, name: str) -> dict[str, Any]:
        path = f"{self.path}/{name}"
        try:
            data = read_file(self.dirfd, name)
        except OSError as error:
            raise Failure(f"read {path}", error) from None
        value = load_document(data, path)
        if not isinstance(value, dict):
            raise Failure(f"{path} is not an object")
        return value

    def remove(self) -> None:
        """Remove the directory, whose id is free at once; ignore a container that is gone. Raises Failure."""
        aside = aside_path(self.root, self.id)
        try:
            posix.rename(self.path, aside)
            empty(self.dirfd)
            posix.rmdir(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Failure(f"remove state directory {self.path}", error) from None


class Store:
    """The containers below a root directory that nobody else can write to (root.trusted)."""

    __slots__ = ("exists", "root")

    def __init__(self, root: str) -> None:
        self.root, self.exists = trusted(root)

    def create(self, container_id: str, record: Record, config: bytes) -> Container:
        """Make the container's directory, locked, with its `creating` record. Exactly one of several callers succeeds.

        Raises Failure when the id is taken or the directory can't be written; nothing is left then.
        """
        check_id(container_id)
        aside = aside_path(self.root, container_id)
        container: Container | None = None
        try:
            if not self.exists:
                make_directories(self.root)
                if trusted(self.root)[0] != self.root:
                    raise Failure(f"the state root {self.root} was replaced while its directories were made")
            posix.mkdir(aside, 0o700)
            try:
                container = Container(self.root, container_id, posix.open(aside, DIRECTORY))
                container.lock()
                container.record = {
                    **record,
                    "status": "creating",
                    "created": rfc3339(),
                    "boot_id": boot_id(),
                    "owner_uid": posix.getuid(),
                    "note": container.note(),
                }
                write_file(container.dirfd, CONFIG, config, sync=False)
                container.save()
                # Onto a directory with a record in it, rename(2) fails: the id is taken.
                posix.rename(aside, container.path)
            except BaseException:
                if container is not None:
                    discard(container)
                posix.rmdir(aside)
                raise
        except OSError as error:
            if container is not None and error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise Failure(f'container with given ID already exists: "{container_id}"') from None
            raise Failure(f"make state directory {self.root}/{container_id}", error) from None
        return container

    def open(self, container_id: str, *, lock: bool = True) -> Container:
        """Open a container, locked; raise NotFound when there is none. Its record may be damaged: see sound()."""
        check_id(container_id)
        try:
            container = Container(self.root, container_id, posix.open(f"{self.root}/{container_id}", DIRECTORY))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise not_found(container_id) from None
            raise Failure(f"open state directory {self.root}/{container_id}", error) from None
        try:
            if lock:
                container.lock()
            self.check(container)
        except BaseException:
            container.close()
            raise
        return container

    def check(self, container: Container) -> None:
        """Read the record, with or without the lock; raise NotFound when the container has been deleted meanwhile."""
        container.load()
        if container.gone():
            raise not_found(container.id)

    def ids(self) -> list[str]:
        """Return the ids of all containers, sorted; a directory without a record is not a container."""
        return sorted(name for name in self._names() if is_id(name) and self._has_record(name))

    def each_matching(self, pattern: str, act: Callable[[str], object]) -> None:
        """Call a function for every id that fully matches a regular expression.

        Skip containers that are gone by then. A failure does not stop the others; all failures are raised as one.
        Raises Failure for an invalid expression too.
        """
        import re

        try:
            found = list(filter(re.compile(pattern).fullmatch, self.ids()))
        except re.error as error:
            raise Failure(f"--regex {quoted(pattern)}: {error}") from None
        failures = []
        for container_id in found:
            try:
                act(container_id)
            except NotFound:
                continue
            except Failure as failure:
                failures.append(str(failure))
        if failures:
            raise Failure("; ".join(failures))

    def sweep(self, container_id: str) -> None:
        """Remove the unfinished directories that killed commands on this id have left."""
        prefix = f"{ASIDE}{container_id[:200]}."
        for name in self._names():
            pid, _, moment = name.removeprefix(prefix).partition(".")
            if not (name.startswith(prefix) and pid.isdecimal() and moment.isdecimal()):
                continue
            path = f"{self.root}/{name}"
            try:
                left = Container(self.root, name, posix.open(path, DIRECTORY))
                with left:
                    if left.lock(wait=False):
                        empty(left.dirfd)
                        posix.rmdir(path)
            except OSError:
                continue

    def _names(self) -> list[str]:
        try:
            return posix.listdir(self.root or "/")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Failure(f"list state directory {self.root}", error) from None

    def _has_record(self, name: str) -> bool:
        try:
            posix.stat(f"{self.root}/{name}/{RECORD}", follow_symlinks=False)
        except OSError:
            return False
        return True


def not_found(container_id: str) -> NotFound:
    return NotFound(f'container does not exist: "{container_id}"')


def aside_path(root: str, container_id: str) -> str:
    """Return a new path for a directory that is not yet, or no longer, a container."""
    import time

    return f"{root}/{ASIDE}{container_id[:200]}.{posix.getpid()}.{time.monotonic_ns()}"


def discard(container: Container) -> None:
    """Remove the files that create makes, by name: listing them needs a descriptor, and there may be none left."""
    for name in (CONFIG, RECORD):
        try:
            posix.unlink(name, dir_fd=container.dirfd)
        except FileNotFoundError:
            pass
    container.close()


def empty(dirfd: int) -> None:
    """Remove the content of a state directory."""
    for name in posix.listdir(dirfd):
        try:
            posix.unlink(name, dir_fd=dirfd)
        except IsADirectoryError:
            below = posix.open(name, DIRECTORY, dir_fd=dirfd)
            try:
                empty(below)
            finally:
                posix.close(below)
            posix.rmdir(name, dir_fd=dirfd)


def make_directories(path: str) -> None:
    """Make a directory and its parents (0711: users can reach their own containers by name, but not list them)."""
    try:
        posix.mkdir(path, 0o711)
    except FileExistsError:
        return
    except FileNotFoundError:
        parent = path.rpartition("/")[0]
        if not parent or posix.access(parent, posix.F_OK):
            raise
        make_directories(parent)
        make_directories(path)
