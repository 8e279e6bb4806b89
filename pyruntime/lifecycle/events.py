"""Events: statistics of a container, once or at intervals, and each time that it runs out of memory."""

from __future__ import annotations

import posix
import time

from .. import kernel
from ..container import cgroup
from ..container.stats import keyed, statistics
from ..container.status import status_of
from ..container.store import Store
from ..errors import Failure
from ..text import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..container.status import Status
    from ..container.store import Container

    Emit = Callable[[str, dict[str, Any] | None], object]

POLLIN, POLLPRI = 1, 2


def stats(root: str, container_id: str) -> dict[str, Any]:
    """Return the statistics of a container, laid out as by runc's `events`. Raises Failure when it is not running."""
    with Store(root).open(container_id, lock=False) as container:
        now, group = running(container)
        now.close()
        return statistics(group)


def watch(root: str, container_id: str, interval: int, emit: Emit, reader: int = -1) -> None:
    """Call emit for each event until the container stops: "oom" each time that the kernel has killed for lack of
    memory, and "stats" with the statistics every interval (ns). reader: the pipe or terminal that receives the events;
    when its other end is closed, stop too. Raises Failure when the container is not running.
    """
    with Store(root).open(container_id, lock=False) as container:
        now, group = running(container)
        try:
            Stream(group, now, emit, reader).run(interval)
        finally:
            now.close()


def running(container: Container) -> tuple[Status, cgroup.Cgroup]:
    now = status_of(container)
    if now.pidfd < 0:
        raise Failure(f'no events of container "{container.id}": container not running (it is {now.status})')
    return now, cgroup.of(container.record)


class Stream:
    """The events of one container, as they occur.

    POLLPRI reports that memory.events or cgroup.events has changed since it was read, and a pidfd that init has ended.
    memory.events may appear only when an update first limits the memory, so the stream keeps looking for it.
    """

    def __init__(self, group: cgroup.Cgroup, now: Status, emit: Emit, reader: int) -> None:
        self.group = group
        self.emit = emit
        self.reader = reader
        self.pidfd = now.pidfd
        self.cgroup_events = open_file(group, "cgroup.events")
        self.memory_events = -1
        self.kills = 0

    def run(self, interval: int) -> None:
        """Emit events until the container stops or the reader is gone. interval: nanoseconds between statistics."""
        try:
            self.watch_memory()
            due = time.monotonic_ns() + interval
            while self.wait(due):
                if time.monotonic_ns() >= due:
                    self.emit("stats", statistics(self.group))
                    self.watch_memory()
                    due = max(due + interval, time.monotonic_ns())
        finally:
            for fd in (self.cgroup_events, self.memory_events):
                if fd >= 0:
                    posix.close(fd)

    def wait(self, due: int) -> bool:
        """Wait for a change, but not beyond `due`; return False when no more events can come."""
        watched = [(self.pidfd, POLLIN)]
        if self.reader >= 0:
            watched.append((self.reader, 0))  # no events are requested, so it is ready only when its reader is gone
        watched += [(fd, POLLPRI) for fd in (self.cgroup_events, self.memory_events) if fd >= 0]
        left = due - time.monotonic_ns()
        ready = dict(kernel.poll(watched, min(max(0, -(-left // 10**6)), 1 << 30)))
        if self.reader in ready:
            return False
        ends = self.pidfd in ready or not self.populated()
        # A kill may have ended the container, so report it before the end.
        self.report_kills()
        return not ends

    def populated(self) -> bool:
        return self.cgroup_events < 0 or "populated 1" in read_again(self.cgroup_events)

    def watch_memory(self) -> None:
        if self.memory_events < 0:
            self.memory_events = open_file(self.group, "memory.events")
            if self.memory_events >= 0:
                self.kills = self.count_kills()

    def report_kills(self) -> None:
        kills = self.count_kills()
        if kills > self.kills:
            self.kills = kills
            self.emit("oom", None)

    def count_kills(self) -> int:
        return keyed(read_again(self.memory_events)).get("oom_kill", 0) if self.memory_events >= 0 else 0


def open_file(group: cgroup.Cgroup, name: str) -> int:
    """Return a descriptor of a cgroup's file, -1 when there is none."""
    try:
        return posix.open(f"{group.path}/{name}", cgroup.FILE)
    except OSError as error:
        if error.errno in cgroup.GONE:
            return -1
        raise


def read_again(fd: int) -> str:
    """Read a file from its beginning, "" when its cgroup is gone; poll(2) then waits for the next change."""
    try:
        posix.lseek(fd, 0, 0)
        return decode(posix.read(fd, 65536))
    except OSError as error:
        if error.errno in cgroup.GONE:
            return ""
        raise
