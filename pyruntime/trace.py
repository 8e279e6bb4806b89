"""`--trace FILE`: the time of every step on both sides, of the start and of every import, in Chrome's trace format.

The file is read by Perfetto (ui.perfetto.dev) and by chrome://tracing. Without the option nothing of this module is
imported, and nobody observes the steps and phases of a command.

Init records its times in memory shared with the host, because it may not open or write files. Times are from the
real-time clock, because the monotonic clock has another origin in a new time namespace.
"""

from __future__ import annotations

import _frozen_importlib as importlib
import posix
import sys
import time

from . import observer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .step import Step

SIDES = ("host", "init", "join")
MOST = 1 << 16
"""The most steps to time on one side; only memory for steps that run is used."""
FIELDS = 3
"""Numbers of one record: the step's identity (the same in all processes, which are forks), begin and end in ns."""


class Trace:
    """The events recorded so far: those of the host in a list, steps of all sides in shared memory.

    A trace begins before the command line is parsed, and imports nothing that the command would not import.
    """

    def __init__(self) -> None:
        self.began = time.time_ns()
        self.events: list[tuple[str, str, int, int]] = []
        self.steps: dict[int, Step] = {}
        self._watch_imports()
        from .kernel import shared_memory

        self.memory: Any = shared_memory((1 + MOST * FIELDS) * 8 * len(SIDES)).cast("q")
        observer.current = self
        self.events.append(("start", "begin to trace", self.began, time.time_ns()))

    def _watch_imports(self) -> None:
        """Time every import from now on."""
        bootstrap: Any = importlib
        find_and_load = bootstrap._find_and_load

        def timed(name: str, import_: Any) -> Any:
            if name in sys.modules:
                return find_and_load(name, import_)
            begin = time.time_ns()
            try:
                return find_and_load(name, import_)
            finally:
                self.events.append(("import", name, begin, time.time_ns()))

        bootstrap._find_and_load = timed

    def phase(self, name: str, function: Callable[[], Any]) -> Any:
        """Call a function and add an event. The steps of a plan are known by their identity once it is built."""
        result = self.function("phase", name, function)()
        if name.startswith("plan.build."):
            self.steps.update((id(each), each) for each in result)
        return result

    def function(self, category: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and records an event."""

        def timed(*args: Any, **options: Any) -> Any:
            begin = time.time_ns()
            try:
                return function(*args, **options)
            finally:
                self.events.append((category, name, begin, time.time_ns()))

        return timed

    def begin(self, this: Step) -> int:
        """Note that a step begins; return where its record is, -1 when there are too many."""
        memory = self.memory
        place = SIDES.index(this.side) * (1 + MOST * FIELDS)
        number = memory[place]
        if number >= MOST:
            return -1
        memory[place] = number + 1
        record = int(place + 1 + number * FIELDS)
        if this.side == "host":
            self.steps[id(this)] = this
        memory[record] = id(this)
        memory[record + 1] = time.time_ns()
        return record

    def end(self, record: int) -> None:
        if record >= 0:
            self.memory[record + 2] = time.time_ns()

    def step_events(self, last: int) -> list[dict[str, Any]]:
        """Return the events of the steps. last: the end of the trace, and of steps that have not returned."""
        found = []
        for number, side in enumerate(SIDES):
            place = number * (1 + MOST * FIELDS)
            for record in range(place + 1, place + 1 + self.memory[place] * FIELDS, FIELDS):
                each, begin = self.steps[self.memory[record]], self.memory[record + 1]
                end = self.memory[record + 2] or self._end_of_last(begin, last)
                args = {"side": side, "config.json": each.pointer}
                found.append(event(each.describe(), "step", begin, end, number + 1, args))
        return found

    def _end_of_last(self, begin: int, last: int) -> int:
        """Return the time of execve(2), or the end of the trace for a step that is still running."""
        ends = [end for _, name, _, end in self.events if name == "engine.channel.wait_for_exec" and end > begin]
        return ends[0] if ends else last


_begun: list[Trace] = []


def begin() -> None:
    """Begin to time imports; called by bootstrap.main when the command line has the option."""
    _begun.append(Trace())


def event(name: str, category: str, begin: int, end: int, side: int, args: dict[str, Any]) -> dict[str, Any]:
    """Return a "complete" event of the format; begin and end are in ns since the epoch, converted later."""
    return {
        "name": name,
        "cat": category,
        "ph": "X",
        "ts": begin,
        "dur": end - begin,
        "pid": side,
        "tid": side,
        "args": args,
    }


def run(path: str, command: str, work: Callable[[], int]) -> int:
    """Do the work and write its trace, even when it fails. Raises Failure when the file can't be written."""
    trace = _begun[0] if _begun else Trace()
    fd = open_file(path)
    try:
        return int(trace.function("command", command, work)())
    finally:
        write(fd, path, document(trace))


def open_file(path: str) -> int:
    from .errors import Failure

    try:
        return posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Failure("open trace file", error) from None


def write(fd: int, path: str, text: str) -> None:
    from .errors import Failure
    from .text import encode

    view = memoryview(encode(text))
    try:
        while view:
            view = view[posix.write(fd, view) :]
    except OSError as error:
        raise Failure(f"write trace file {path}", error) from None
    finally:
        posix.close(fd)


def document(trace: Trace) -> str:
    """Return the trace as JSON; times are in µs since the first event, the launcher's first instruction if known."""
    core: Any = sys.modules.get("pyruntime.bootstrap")
    modules = sorted(set(sys.modules) - core.preloaded if core else sys.modules)
    from .spec.jsontext import dumps

    last = time.time_ns()
    events = start_events(trace.began)
    events += [event(name, category, begin, end, 1, {}) for category, name, begin, end in trace.events]
    events += trace.step_events(last)
    origin = min(each["ts"] for each in events)
    for each in events:
        each["ts"] = (each["ts"] - origin) / 1000
        each["dur"] /= 1000
    events.sort(key=lambda each: (each["pid"], each["ts"], -each["dur"]))
    names = [
        {"name": "process_name", "ph": "M", "pid": number, "tid": number, "args": {"name": side}}
        for number, side in enumerate(SIDES, 1)
    ]
    other = {"modules": modules}
    return dumps({"displayTimeUnit": "ms", "otherData": other, "traceEvents": names + events}) + "\n"


def start_events(began: int) -> list[dict[str, Any]]:
    """Return the events recorded by the launcher: protecting the binary and setting up the interpreter's core."""
    times: tuple[int, ...] = ()
    try:
        from _pyruntime import times as noted

        times = noted()
    except ImportError:  # python -m pyruntime
        pass
    if not times:
        return [event("start", "start", began, began, 1, {})]
    names = ("protect the binary, execve", "interpreter's core")
    return [
        event(name, "start", begin, end, 1, {})
        for name, begin, end in zip(names, times, times[1:], strict=False)
        if end > begin
    ]
