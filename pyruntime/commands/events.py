"""`events`: statistics of a container once or at an interval, and a line for each time that memory ran out."""

from __future__ import annotations

import posix
import sys
import time

from .. import kernel
from ..container import cgroup
from ..container.stats import keyed, statistics
from ..container.status import status_of
from ..container.store import Store
from ..errors import Failure, UsageFailure
from ..spec.jsontext import dumps
from ..text import decode, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cli import Options
    from ..container.status import Status

INTERVAL = "5s"
UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "μs": 10**3, "ns": 1}
"""Units of Go's durations, nanoseconds; µ is written in two ways."""
LONGEST = (1 << 63) - 1
POLLIN, POLLPRI = 1, 2
STDOUT = 1


def events(options: Options) -> int:
    """`events [--stats] [--interval D] ID`: one line of JSON for each event, until the container stops."""
    interval = duration(options.interval or INTERVAL)
    with Store(options.root).open(options.args[0], lock=False) as container:
        now = status_of(container)
        try:
            group = cgroup.of(container.record)
            if now.pidfd < 0:
                raise Failure(f'no events of container "{container.id}": container not running (it is {now.status})')
            if options.stats:
                tell("stats", container.id, statistics(group))
            else:
                Stream(container.id, group, now).run(interval)
        finally:
            now.close()
    return 0


def tell(kind: str, container_id: str, data: Any = None) -> None:
    """Print one event, at once."""
    event = {"type": kind, "id": container_id}
    sys.stdout.write(dumps(event if data is None else {**event, "data": data}) + "\n")
    sys.stdout.flush()


class Stream:
    """The events of one container as they come.

    The kernel tells by POLLPRI that memory.events or cgroup.events has changed since it was read, and a pidfd that init
    has ended. memory.events appears when an update first limits the memory, so it is looked for again and again.
    """

    def __init__(self, container_id: str, group: cgroup.Cgroup, now: Status) -> None:
        self.id = container_id
        self.group = group
        self.pidfd = now.pidfd
        self.cgroup_events = open_file(group, "cgroup.events")
        self.memory_events = -1
        self.kills = 0

    def run(self, interval: int) -> None:
        """Print events until the container stops or the reader is gone. interval: nanoseconds between statistics."""
        try:
            self.watch_memory()
            due = time.monotonic_ns() + interval
            while self.wait(due):
                if time.monotonic_ns() >= due:
                    tell("stats", self.id, statistics(self.group))
                    self.watch_memory()
                    due = max(due + interval, time.monotonic_ns())
        finally:
            for fd in (self.cgroup_events, self.memory_events):
                if fd >= 0:
                    posix.close(fd)

    def wait(self, due: int) -> bool:
        """Wait for something to happen, until that time at most; False when there is nothing more to come."""
        # Without events asked for, standard output is ready only when its reader is gone.
        watched = [(self.pidfd, POLLIN), (STDOUT, 0)]
        watched += [(fd, POLLPRI) for fd in (self.cgroup_events, self.memory_events) if fd >= 0]
        left = due - time.monotonic_ns()
        ready = dict(kernel.poll(watched, min(max(0, -(-left // 10**6)), 1 << 30)))
        if STDOUT in ready:
            return False
        ends = self.pidfd in ready or not self.populated()
        # The kill may be what ended it, so this comes before the end.
        self.tell_kills()
        return not ends

    def populated(self) -> bool:
        return self.cgroup_events < 0 or "populated 1" in read_again(self.cgroup_events)

    def watch_memory(self) -> None:
        if self.memory_events < 0:
            self.memory_events = open_file(self.group, "memory.events")
            if self.memory_events >= 0:
                self.kills = self.count_kills()

    def tell_kills(self) -> None:
        kills = self.count_kills()
        if kills > self.kills:
            self.kills = kills
            tell("oom", self.id)

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
    """Return a file from its beginning, "" when its cgroup is gone; poll(2) then waits for the next change."""
    try:
        posix.lseek(fd, 0, 0)
        return decode(posix.read(fd, 65536))
    except OSError as error:
        if error.errno in cgroup.GONE:
            return ""
        raise


def duration(text: str) -> int:
    """Return nanoseconds for a duration as Go writes it: "5s", "500ms", "1m30s", "1.5h". Raises UsageFailure."""
    total, rest = 0, text
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = rest[: len(rest) - len(rest.lstrip("hmsunµμ"))]
        rest = rest[len(unit) :]
        whole, _, part = digits.partition(".")
        if unit not in UNITS or not (whole + part).isdecimal() or len(digits) > 40:
            raise UsageFailure(f"--interval {quoted(text)} is no duration; examples: 500ms, 5s, 1m30s")
        total += int(whole or "0") * UNITS[unit] + int(part or "0") * UNITS[unit] // 10 ** len(part)
    if not 0 < total <= LONGEST:
        raise UsageFailure(f"--interval {quoted(text)} must be more than 0, and no longer than 292 years")
    return total
