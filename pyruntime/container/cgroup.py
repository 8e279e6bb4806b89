"""Control of a container's cgroup (version 2): its processes, killing, freezing, removal.

Source: the kernel's cgroup-v2.rst. ENOENT and ENODEV mean that the cgroup is gone. ENOTDIR means that one of the
kernel's own files has its name, so it never existed. None of them is an error here.
"""

from __future__ import annotations

import errno
import posix

from .. import files, kernel, observer
from ..errors import Failure
from ..kernel.procfs import write_file
from ..text import decode
from .ownership import is_cgroup2, is_of, removable
from .record import is_cgroup_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .record import Record

GONE = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)
BUSY = (errno.EBUSY, errno.ENOTEMPTY)
SIGKILL = 9
FREEZE_SECONDS = 5.0
REMOVE_SECONDS = 5.0
KILL_ROUNDS = 100
"""Limit of rounds in which the processes of a cgroup that can't be frozen are listed and killed."""
FILE = posix.O_RDONLY | posix.O_CLOEXEC
DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW


def attempts(seconds: float, longest: float) -> Iterator[None]:
    """Yield at once, then after growing pauses of at most `longest` seconds, until `seconds` have passed."""
    yield
    import time

    deadline = time.monotonic() + seconds
    pause = 0.0005
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 2, longest)
        yield


class Cgroup:
    """A cgroup, identified by its directory."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, name: str) -> str | None:
        """Return the text of a file, or None when the cgroup or the file is gone."""
        try:
            return decode(read_file(f"{self.path}/{name}"))
        except OSError as error:
            if error.errno in GONE:
                return None
            raise

    def write(self, name: str, text: str) -> bool:
        """Write a file; return False when the cgroup or the file does not exist."""
        try:
            write_file(f"{self.path}/{name}", text)
        except OSError as error:
            if error.errno in GONE:
                return False
            raise
        return True

    def events(self) -> dict[str, str]:
        """Return cgroup.events as a dictionary, which is empty when the cgroup is gone."""
        text = self.read("cgroup.events") or ""
        return dict(line.split(" ", 1) for line in text.splitlines())

    def frozen(self) -> bool:
        return self.events().get("frozen") == "1"

    def populated(self) -> bool:
        return self.events().get("populated") == "1"

    def oom_kills(self) -> int:
        """Return how many of its processes the kernel has killed for lack of memory, 0 if the kernel does not count."""
        for line in (self.read("memory.events") or "").splitlines():
            if line.startswith("oom_kill "):
                return int(line[9:])
        return 0

    def processes(self) -> list[int]:
        """Return the pids in the cgroup and its descendants, each once even if its threads are in several of them."""
        pids: dict[int, None] = {}
        self.walk(enter=lambda fd: pids.update(dict.fromkeys(processes_of(fd))))
        return list(pids)

    def walk(
        self, enter: Callable[[int], object] | None = None, leave: Callable[[int, str], object] | None = None
    ) -> None:
        """Visit the tree: call enter(fd) for each cgroup before its children, and leave(parent fd, name) after them.

        Only one descriptor is open at a time, and there is no recursion: the container may nest cgroups to any depth.
        """
        try:
            fd = posix.open(self.path, DIRECTORY)
        except OSError as error:
            if error.errno in GONE:
                return
            raise
        names: list[str] = []
        try:
            if enter is not None:
                enter(fd)
            pending = [children_of(fd)]
            while True:
                if pending[-1]:
                    name = pending[-1].pop()
                    below = open_child(fd, name)
                    if below < 0:
                        continue
                    posix.close(fd)
                    fd = below
                    names.append(name)
                    if enter is not None:
                        enter(fd)
                    pending.append(children_of(fd))
                elif names:
                    above = posix.open("..", DIRECTORY, dir_fd=fd)
                    posix.close(fd)
                    fd = above
                    pending.pop()
                    name = names.pop()
                    if leave is not None:
                        leave(fd, name)
                else:
                    return
        finally:
            posix.close(fd)

    def kill(self) -> None:
        """Send SIGKILL to every process in the tree, including those forked meanwhile."""
        try:
            if self.write("cgroup.kill", "1") or not self.events():
                return
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        # Before Linux 5.14, and in a threaded cgroup: freeze the processes, kill them one by one, and always thaw them,
        # or the signals are never delivered.
        try:
            self.freeze()
        except Failure:
            pass
        try:
            for _ in range(KILL_ROUNDS):
                pids = self.processes()
                for pid in pids:
                    signal_process(pid, SIGKILL)
                if not pids or self.frozen():
                    break
        finally:
            self.thaw()

    def freeze(self, seconds: float = FREEZE_SECONDS) -> None:
        """Freeze all processes. Raise Failure, and thaw them, if they do not all stop in time."""
        try:
            self.write("cgroup.freeze", "1")
            if self._wait_frozen("1", seconds):
                return
        except BaseException:
            self.thaw(0)
            raise
        self.thaw()
        raise Failure(f"cgroup {self.path} could not be frozen within {seconds:g} s; its processes run on")

    def thaw(self, seconds: float = FREEZE_SECONDS) -> None:
        """Let all processes continue."""
        if self.write("cgroup.freeze", "0"):
            self._wait_frozen("0", seconds)

    def _wait_frozen(self, wanted: str, seconds: float) -> bool:
        for _ in attempts(seconds, 0.05):
            events = self.events()
            if not events or events.get("frozen") == wanted:
                return True
        return False

    def wait_until_empty(self, seconds: float = REMOVE_SECONDS) -> None:
        """After a kill, wait until the tree has no processes. Raises Failure naming those that do not exit."""
        for _ in attempts(seconds, 0.05):
            if not self.populated():
                return
        pids = ", ".join(map(str, self.processes()[:8]))
        raise Failure(f"cgroup {self.path}: process {pids} was killed but does not exit")

    def remove(self, seconds: float = REMOVE_SECONDS) -> None:
        """Remove the tree, children first. Retry on EBUSY for a while, because dying processes still count.

        Raises Failure naming the processes that remain.
        """
        for _ in attempts(seconds, 0.25):
            if self._try_remove():
                return
        pids = self.processes()
        why = f"process {', '.join(map(str, pids[:8]))} is still in it" if pids else "it is busy but has no processes"
        raise Failure(f"cgroup {self.path} can't be removed: {why} after {seconds:g} s")

    def _try_remove(self) -> bool:
        try:
            if remove_directory(self.path):
                return True
            self.walk(leave=lambda parent, name: remove_directory(name, parent))
            return remove_directory(self.path)
        except OSError as error:
            raise Failure(f"remove cgroup {self.path}", error) from None


def read_file(path: str, dir_fd: int | None = None) -> bytes:
    """Return the whole content of a file."""
    return files.read_whole(path, dir_fd=dir_fd)


def processes_of(fd: int) -> list[int]:
    """Return the pids in one cgroup. A threaded cgroup lists only threads: return the processes that they belong to."""
    try:
        return [int(line) for line in read_file("cgroup.procs", fd).split()]
    except OSError as error:
        if error.errno in GONE:
            return []
        if error.errno != errno.EOPNOTSUPP:
            raise
    try:
        threads = [int(line) for line in read_file("cgroup.threads", fd).split()]
    except OSError as error:
        if error.errno in GONE:
            return []
        raise
    return sorted({pid for thread in threads if (pid := leader_of(thread)) > 0})


def leader_of(thread: int) -> int:
    """Return the pid of the process that a thread belongs to, 0 when it is gone; proc_pid_status(5) "Tgid"."""
    try:
        lines = read_file(f"/proc/{thread}/status").split(b"\n")  # a name may have any other character in it
    except OSError:
        return 0
    return next((int(line[5:]) for line in lines if line.startswith(b"Tgid:")), 0)


def children_of(fd: int) -> list[str]:
    """Return the names of the cgroups directly below."""
    try:
        with posix.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in GONE:
            return []
        raise


def open_child(fd: int, name: str) -> int:
    """Return a descriptor of the child cgroup of that name, -1 when it is gone."""
    try:
        return posix.open(name, DIRECTORY, dir_fd=fd)
    except OSError as error:
        if error.errno in GONE:
            return -1
        raise


def remove_directory(path: str, dir_fd: int | None = None) -> bool:
    """Remove one cgroup; return False when it is in use."""
    try:
        posix.rmdir(path, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in BUSY:
            return False
        if error.errno not in GONE:
            raise
    return True


def signal_process(pid: int, number: int) -> None:
    """Send a signal by pidfd; ignore a process that is gone."""
    try:
        pidfd = kernel.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        kernel.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    finally:
        posix.close(pidfd)


def of(record: Record) -> Cgroup:
    """Return the cgroup that the record names."""
    return Cgroup(f"{record['cgroup_mount']}{record['cgroup']}")


def identity(path: str | int) -> int:
    """Return the inode number, which distinguishes a cgroup from a later one at the same path; -1 when it is gone."""
    try:
        return posix.stat(path).st_ino
    except OSError as error:
        if error.errno in GONE:
            return -1
        raise


def owned(record: Record) -> Cgroup | None:
    """Return the container's cgroup, or None when it has none.

    The record names a cgroup before create has made it or found it unused. Until its identity is recorded, and once the
    identity has changed, the cgroup may belong to somebody else, whose processes must not be touched. A record may also
    be wrong, so the cgroup itself must bear the container's note.
    """
    if "cgroup_id" not in record or not is_cgroup_path(record["cgroup"]):
        return None
    group = of(record)
    try:
        fd = posix.open(group.path, DIRECTORY)
    except OSError as error:
        if error.errno in (*GONE, errno.ELOOP):
            return None
        raise
    try:
        return group if is_of(fd, record) else None
    finally:
        posix.close(fd)


def in_use(path: str) -> bool:
    """Whether a `create` holds the cgroup's lock, because it is about to start its init there."""
    try:
        fd = kernel.open(path, kernel.flags("O_RDONLY|O_DIRECTORY"))
    except OSError:
        return False
    try:
        kernel.flock(fd, kernel.flags("LOCK_EX|LOCK_NB"))
    except BlockingIOError:
        return True
    finally:
        posix.close(fd)
    return False


@observer.phase
def remove_made(record: Record) -> None:
    """Remove a cgroup of the cgroupfs driver and, bottom up, the empty parents that create made for it."""
    group = owned(record)
    if group is not None:
        group.remove()
    elif in_use(of(record).path):
        return
    try:
        mount = posix.open(record["cgroup_mount"], DIRECTORY)
    except OSError as error:
        if error.errno in (*GONE, errno.ELOOP):
            return
        raise Failure(f"open {record['cgroup_mount']}", error) from None
    try:
        remove_parents(mount, record)
    finally:
        posix.close(mount)


def remove_parents(mount: int, record: Record) -> None:
    """Remove, bottom up, the empty cgroups that may go with the container."""
    for path in removable(record, mount) if is_cgroup2(mount) else ():
        try:
            if not remove_directory(path[1:], mount):
                return
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return  # this user will never be allowed to remove it
            raise Failure(f"remove cgroup {path}", error) from None
