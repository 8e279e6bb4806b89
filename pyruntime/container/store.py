"""The state directory: one directory per container below the root, with an atomic record and a lock.

`<root>/<id>/` holds state.json (the record), config.json (the config as create read it: later changes have no effect)
and start.sock while init waits. The lock is flock(2) on the directory itself. The record of a container is written
as `creating`, with its cgroup, before its first process exists, so that `delete --force` can always clean up.
"""

from __future__ import annotations

import errno
import posix
import time

from .. import kernel
from ..errors import Failure, NotFound, os_error_text
from ..spec.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RECORD = "state.json"
CONFIG = "config.json"
FILES = (RECORD, CONFIG, "start.sock", f"{RECORD}.tmp", f"{CONFIG}.tmp")
LOCK_EXCLUSIVE, LOCK_UNLOCK, LOCK_NONBLOCKING = 2, 8, 4
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")
MAX_ID = 255
"""Bytes of a file name (NAME_MAX)."""
DELETED = ".deleted-"


def check_id(container_id: str) -> str:
    """Return the id; raise Failure for one that could leave the root directory or confuse callers."""
    if not container_id or container_id in (".", "..") or not ID_CHARACTERS.issuperset(container_id):
        raise Failure(f"invalid container id {container_id!r}", hint="use letters, digits and _ + . -")
    if len(container_id) > MAX_ID:
        raise Failure(f"invalid container id: {len(container_id)} characters, at most {MAX_ID} are possible")
    return container_id


class Container:
    """One container's directory, open. record: the state record as a dictionary, empty when it can't be read.

    damage: why the record can't be read, None for a sound one.
    """

    __slots__ = ("damage", "dirfd", "id", "record", "root")

    def __init__(self, root: str, container_id: str, dirfd: int) -> None:
        self.root = root
        self.id = container_id
        self.dirfd = dirfd
        self.record: dict[str, Any] = {}
        self.damage: Failure | None = None

    def lock(self, *, wait: bool = True) -> bool:
        """Take the container's lock; False when another command holds it and wait is off."""
        try:
            kernel.flock(self.dirfd, LOCK_EXCLUSIVE | (0 if wait else LOCK_NONBLOCKING))
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        kernel.flock(self.dirfd, LOCK_UNLOCK)

    def close(self) -> None:
        """Let go of the directory, and of the lock with it."""
        if self.dirfd >= 0:
            posix.close(self.dirfd)
            self.dirfd = -1

    def gone(self) -> bool:
        """Whether the container was deleted since its directory was opened."""
        return posix.fstat(self.dirfd).st_nlink == 0 or not self._is_named()

    def _is_named(self) -> bool:
        try:
            there = posix.stat(f"{self.root}/{self.id}")
        except OSError:
            return False
        here = posix.fstat(self.dirfd)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def load(self) -> None:
        """Read the record; a damaged one is remembered, and told by whoever needs the record."""
        what = f"{self.root}/{self.id}/{RECORD}"
        try:
            record = loads(read_file(self.dirfd, RECORD), what)
            if not isinstance(record, dict) or not isinstance(record.get("id"), str):
                raise Failure(f"{what} is not a state record")
            self.record, self.damage = record, None
        except OSError as error:
            self.damage = Failure(f'container "{self.id}" has no state record: {os_error_text(error)}')
        except Failure as failure:
            self.damage = failure

    def sound(self) -> Container:
        """Return the container; raise Failure when its record is damaged."""
        if self.damage is not None:
            self.damage.hint = "delete --force removes the container"
            raise self.damage
        return self

    def save(self) -> None:
        """Write the record: complete, to a temporary file, synced, renamed."""
        write_file(self.dirfd, RECORD, dumps(self.record).encode(), sync=True)

    def save_created(self, pid: int) -> None:
        """Write the record of a container whose init is ready."""
        from .status import start_time

        self.record["pid"] = pid
        self.record["start_time"] = start_time(pid)
        self.record["status"] = "created"
        self.save()

    def config(self) -> dict[str, Any]:
        """Return the config that create used."""
        config: dict[str, Any] = loads(read_file(self.dirfd, CONFIG), f"{self.root}/{self.id}/{CONFIG}")
        return config

    def remove(self) -> None:
        """Remove the directory. It is renamed first, so that nobody finds a half-removed container."""
        aside = f"{self.root}/{DELETED}{self.id[:200]}.{posix.getpid()}.{time.monotonic_ns()}"
        posix.rename(f"{self.root}/{self.id}", aside)
        for name in posix.listdir(self.dirfd):
            posix.unlink(name, dir_fd=self.dirfd)
        posix.rmdir(aside)


class Store:
    """The containers below a root directory."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or "/"

    def create(self, container_id: str, record: dict[str, Any], config: bytes) -> Container:
        """Make the container's directory with its `creating` record, locked. Exactly one of several callers succeeds.

        Raises Failure when the id is taken or the directory can't be written; nothing is left then.
        """
        check_id(container_id)
        try:
            make_directories(self.root)
            posix.mkdir(f"{self.root}/{container_id}", 0o700)
        except FileExistsError:
            raise Failure(f'container "{container_id}" already exists') from None
        except OSError as error:
            raise Failure(f"make state directory {self.root}/{container_id}", error) from None
        container: Container | None = None
        try:
            container = self._open_directory(container_id)
            container.lock()
            container.record = record
            container.record["status"] = "creating"
            container.record["created"] = rfc3339()
            container.record["boot_id"] = boot_id()
            container.record["owner_uid"] = posix.getuid()
            write_file(container.dirfd, CONFIG, config, sync=False)
            container.save()
        except OSError as error:
            if container is None:
                posix.rmdir(f"{self.root}/{container_id}")
            else:
                container.remove()
            raise Failure(f"write state directory {self.root}/{container_id}", error) from None
        return container

    def open(self, container_id: str, *, lock: bool = True) -> Container:
        """Open a container, locked; raise NotFound when there is none. Its record may be damaged: see sound()."""
        check_id(container_id)
        container = self._open_directory(container_id)
        if lock:
            container.lock()
        if container.gone():
            container.close()
            raise NotFound(f'container "{container_id}" does not exist')
        container.load()
        return container

    def _open_directory(self, container_id: str) -> Container:
        flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW
        try:
            dirfd = posix.open(f"{self.root}/{container_id}", flags)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f'container "{container_id}" does not exist') from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotFound(f'container "{container_id}" does not exist') from None
            raise
        return Container(self.root, container_id, dirfd)

    def ids(self) -> list[str]:
        """Return the ids of all containers, sorted."""
        try:
            names = posix.listdir(self.root)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Failure(f"list state directory {self.root}", error) from None
        return sorted(name for name in names if not name.startswith(DELETED) and self._is_directory(name))

    def _is_directory(self, name: str) -> bool:
        try:
            return posix.stat(f"{self.root}/{name}", follow_symlinks=False).st_mode & 0o170000 == 0o040000
        except OSError:
            return False


def make_directories(path: str) -> None:
    """Make a directory and its parents (0711: users find their own containers by name, but can't list)."""
    try:
        posix.mkdir(path, 0o711)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directories(path.rpartition("/")[0])
        make_directories(path)


def read_file(dirfd: int, name: str) -> bytes:
    """Return a whole file of the directory."""
    fd = posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW, dir_fd=dirfd)
    try:
        data = posix.read(fd, posix.fstat(fd).st_size + 1)
        while part := posix.read(fd, 1 << 20):
            data += part
        return data
    finally:
        posix.close(fd)


def write_file(dirfd: int, name: str, data: bytes, *, sync: bool) -> None:
    """Replace a file of the directory at once: readers see the old content or the new one."""
    temporary = f"{name}.tmp"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC
    fd = posix.open(temporary, flags, 0o600, dir_fd=dirfd)
    try:
        view = memoryview(data)
        while view:
            view = view[posix.write(fd, view) :]
        if sync:
            posix.fsync(fd)
    finally:
        posix.close(fd)
    posix.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)


def rfc3339() -> str:
    """Return the current time in RFC 3339 with nanoseconds, UTC."""
    ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09}Z"


def boot_id() -> str:
    """Return what identifies this boot of the machine: pids of an earlier one mean nothing."""
    fd = posix.open("/proc/sys/kernel/random/boot_id", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(fd, 64).decode().strip()
    finally:
        posix.close(fd)
