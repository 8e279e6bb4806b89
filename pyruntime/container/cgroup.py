"""Control of a container's cgroup (version 2): its processes, killing, freezing, removal.

Source: the kernel's cgroup-v2.rst. ENOENT and ENODEV mean that the cgroup is gone, which is never an error here.
"""

from __future__ import annotations

import errno
import posix
import time

from .. import kernel
from ..errors import Failure, UsageFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GONE = (errno.ENOENT, errno.ENODEV)
SIGKILL = 9
FREEZE_SECONDS = 5.0
REMOVE_SECONDS = 5.0
POLLPRI = 2


class Cgroup:
    """A cgroup by its directory."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, name: str) -> str | None:
        """Return a file's text, None when the cgroup is gone."""
        try:
            fd = posix.open(f"{self.path}/{name}", posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
        try:
            return posix.read(fd, 1 << 20).decode()
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
        finally:
            posix.close(fd)

    def write(self, name: str, text: str) -> bool:
        """Write a file; False when the cgroup or the file does not exist."""
        try:
            kernel.write_file(f"{self.path}/{name}", text)
        except OSError as error:
            if error.errno in GONE:
                return False
            raise
        return True

    def events(self) -> dict[str, str]:
        """Return cgroup.events as a dictionary, empty when the cgroup is gone."""
        text = self.read("cgroup.events") or ""
        return dict(line.split(" ", 1) for line in text.splitlines())

    def frozen(self) -> bool:
        return self.events().get("frozen") == "1"

    def populated(self) -> bool:
        return self.events().get("populated") == "1"

    def children(self) -> list[Cgroup]:
        """Return the cgroups directly below."""
        try:
            with posix.scandir(self.path) as entries:
                return [Cgroup(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno in GONE:
                return []
            raise

    def processes(self) -> list[int]:
        """Return the pids of the cgroup and all below it."""
        pids = [int(line) for line in (self.read("cgroup.procs") or "").split()]
        for child in self.children():
            pids += child.processes()
        return pids

    def kill(self) -> None:
        """Send SIGKILL to every process of the tree, also to ones forked meanwhile."""
        if self.write("cgroup.kill", "1"):
            return
        if self.read("cgroup.events") is None:
            return
        # Before Linux 5.14: hold them still, kill one by one, and always thaw, or the signals are never taken.
        try:
            self.freeze()
        except Failure:
            pass
        try:
            for pid in self.processes():
                kill_process(pid)
        finally:
            self.thaw()

    def freeze(self, seconds: float = FREEZE_SECONDS) -> None:
        """Stop all processes; when they are not all stopped in time, undo it and raise Failure."""
        self.write("cgroup.freeze", "1")
        if not self._wait_frozen("1", seconds):
            self.thaw()
            raise Failure(f"cgroup {self.path} was not frozen within {seconds:g} s")

    def thaw(self, seconds: float = FREEZE_SECONDS) -> None:
        """Let all processes go on."""
        if self.write("cgroup.freeze", "0"):
            self._wait_frozen("0", seconds)

    def _wait_frozen(self, wanted: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        pause = 0.0005
        while True:
            events = self.events()
            if not events or events.get("frozen") == wanted:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def remove(self, seconds: float = REMOVE_SECONDS) -> None:
        """Remove the tree, children first; EBUSY is retried for a while, because dying processes still count.

        Raises Failure naming the processes that are still there.
        """
        deadline = time.monotonic() + seconds
        pause = 0.001
        while True:
            try:
                posix.rmdir(self.path)
                return
            except OSError as error:
                if error.errno in GONE:
                    return
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                    raise Failure(f"remove cgroup {self.path}", error) from None
            for child in self.children():
                child.remove(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise Failure(f"remove cgroup {self.path}: it still has processes: {self.processes()}")
            time.sleep(pause)
            pause = min(pause * 2, 0.1)


def kill_process(pid: int) -> None:
    """Send SIGKILL by pidfd; a process that is gone is fine."""
    try:
        pidfd = kernel.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        kernel.pidfd_send_signal(pidfd, SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        posix.close(pidfd)


def of(record: dict[str, Any]) -> Cgroup:
    """Return the container's cgroup."""
    return Cgroup(f"{record['cgroup_mount']}{record['cgroup']}")


def remove_made(record: dict[str, Any]) -> None:
    """Remove the container's cgroup, and those of its ancestors that create made and that are empty."""
    of(record).remove()
    for path in reversed(record.get("cgroup_made") or ()):
        if path == record["cgroup"]:
            continue
        try:
            posix.rmdir(f"{record['cgroup_mount']}{path}")
        except OSError:
            return


def own_cgroup(pid: int, mount: str, below: list[str]) -> str:
    """Return the directory of the cgroup where a process really is, or of one below it.

    A container that nests cgroups may have moved its init; joining the top would be refused (no internal processes).
    """
    fd = posix.open(f"/proc/{pid}/cgroup", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        lines = posix.read(fd, 65536).decode().splitlines()
    finally:
        posix.close(fd)
    path = next(line[3:] for line in lines if line.startswith("0::"))
    for part in below:
        name = part.rpartition(":")[2].strip("/")
        if not name or ".." in name.split("/"):
            raise UsageFailure(f"--cgroup {part!r} is not a cgroup below the container's")
        path = f"{path.rstrip('/')}/{name}"
    return f"{mount}{path}"
