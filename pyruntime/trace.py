"""`--trace FILE`: the time of every step on both sides, of the start and of every import, in Chrome's trace format.

The file is read by Perfetto (ui.perfetto.dev) and by chrome://tracing. Without the option nothing of this module is
imported and no step is asked whether it should be timed: it replaces `Step.apply` and a few functions by ones that
look at the clock.

Init's times reach the host through memory that both share, because init may open and write no file. Times are of the
real-time clock: the monotonic one has another origin in a new time namespace.
"""

from __future__ import annotations

import _frozen_importlib as importlib
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .step import Plan, Slots, Step

Function: Any = type(lambda: None)
SIDES = ("host", "init", "join")
MOST = 1 << 16
"""Steps of one side that are timed; the memory is only used as far as steps come."""
FIELDS = 3
"""Numbers of one record: the step's identity (the same in all processes, which are forks), begin and end in ns."""
PHASES = {
    "pyruntime.spec": ("load_config", "load_process", "validate", "validate_process"),
    "pyruntime.host.probe": ("find_rootfs", "host"),
    "pyruntime.lifecycle.place": ("place", "of_record"),
    "pyruntime.plan.build": ("build_create", "build_exec"),
    "pyruntime.container.status": ("status_of",),
    "pyruntime.container.record": ("write_file",),
    "pyruntime.container.cgroup": ("remove_made",),
    "pyruntime.engine.channel": ("receive_go", "wait_for_exec"),
    "pyruntime.engine.launch": ("launch",),
    "pyruntime.engine.foreground": ("wait",),
    "pyruntime.lifecycle.delete": ("destroy", "end_processes"),
}
"""Module -> functions of the host that get an event of their own."""


class Trace:
    """What was seen so far: events of the host in a list, steps of all sides in shared memory.

    It begins before the command line is looked at, and imports nothing itself that the command would not.
    """

    def __init__(self) -> None:
        self.began = time.time_ns()
        self.events: list[tuple[str, str, int, int]] = []
        self.steps: dict[int, Step] = {}
        self.memory: Any = None
        self._watch_imports()
        for name in (*PHASES, "pyruntime.step"):
            if name in sys.modules:
                self._watch(name)
        self.events.append(("start", "begin to trace", self.began, time.time_ns()))

    def _watch_imports(self) -> None:
        """Time every import from now on, and the functions of PHASES as soon as their module is there."""
        bootstrap: Any = importlib
        find_and_load = bootstrap._find_and_load

        def timed(name: str, import_: Any) -> Any:
            if name in sys.modules:
                return find_and_load(name, import_)
            begin = time.time_ns()
            try:
                module = find_and_load(name, import_)
            finally:
                self.events.append(("import", name, begin, time.time_ns()))
            self._watch(name)
            return module

        bootstrap._find_and_load = timed

    def _watch(self, name: str) -> None:
        """Time the functions of a module that is loaded."""
        module: Any = sys.modules[name]
        for function in PHASES.get(name, ()):
            redirect(module, function, self._phase(name, function))
        if name == "pyruntime.step":
            self._watch_steps()
        elif name == "pyruntime.engine.launch":
            # The one step that the engine does not apply: two processes come back from it.
            redirect(module, "clone", self._timed_clone)

    def _phase(self, module: str, name: str) -> Callable[[Any], Any]:
        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            if module == "pyruntime.plan.build":
                function = self._remember(function)
            return self.function("phase", f"{module.removeprefix('pyruntime.')}.{name}", function)

        return wrap

    def _remember(self, build: Callable[..., Plan]) -> Callable[..., Plan]:
        """Return a function that builds the same plan, whose steps are known by their identity from then on."""

        def remembered(*args: Any) -> Plan:
            plan = build(*args)
            self.steps.update((id(each), each) for each in plan.steps)
            return plan

        return remembered

    def function(self, category: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and adds an event."""

        def timed(*args: Any, **options: Any) -> Any:
            begin = time.time_ns()
            try:
                return function(*args, **options)
            finally:
                self.events.append((category, name, begin, time.time_ns()))

        return timed

    def _timed_clone(self, clone: Callable[..., None]) -> Callable[..., None]:
        def timed(plan: Plan, position: int, *args: Any) -> None:
            record = self._begin(plan.steps[position])
            clone(plan, position, *args)
            self._end(record)

        return timed

    def _begin(self, this: Step) -> int:
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

    def _end(self, record: int) -> None:
        if record >= 0:
            self.memory[record + 2] = time.time_ns()

    def _watch_steps(self) -> None:
        """Put into the place of Step.apply what notes the step, its begin, and its end if it comes back."""
        from . import step
        from .kernel import shared_memory

        self.memory = shared_memory((1 + MOST * FIELDS) * 8 * len(SIDES)).cast("q")
        original = step.Step.apply

        def timed(this: Step, calls: Any, slots: Slots) -> None:
            record = self._begin(this)
            try:
                original(this, calls, slots)
            finally:
                self._end(record)

        step.Step.apply = timed  # type: ignore[method-assign, assignment]

    def step_events(self, last: int) -> list[dict[str, Any]]:
        """Return the events of the steps; last: when what has not come back is taken to have ended."""
        found = []
        for number, side in enumerate(SIDES if self.memory else ()):
            place = number * (1 + MOST * FIELDS)
            for record in range(place + 1, place + 1 + self.memory[place] * FIELDS, FIELDS):
                each, begin = self.steps[self.memory[record]], self.memory[record + 1]
                end = self.memory[record + 2] or self._end_of_last(begin, last)
                args = {"side": side, "config.json": each.pointer}
                found.append(event(each.describe(), "step", begin, end, number + 1, args))
        return found

    def _end_of_last(self, begin: int, last: int) -> int:
        """Return when execve(2) happened, or the end of the trace for a step that still runs."""
        ends = [end for _, name, _, end in self.events if name == "engine.channel.wait_for_exec" and end > begin]
        return ends[0] if ends else last


def redirect(module: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Let a function do what `wrap` makes of it, also for modules that have imported it already."""
    function = getattr(module, name)
    same = Function(function.__code__, function.__globals__, name, function.__defaults__, function.__closure__)
    same.__kwdefaults__ = function.__kwdefaults__
    setattr(module, f"_timed_{name}", wrap(same))
    function.__code__ = _call.__code__.replace(co_names=(f"_timed_{name}",))


def _call(*args: Any, **options: Any) -> Any:
    """What a redirected function does; the name is replaced."""
    return _timed(*args, **options)


def _timed(*args: Any, **options: Any) -> Any:
    raise NotImplementedError


_begun: list[Trace] = []


def begin() -> None:
    """Begin to time imports; called by the launcher's start when the command line has the option."""
    _begun.append(Trace())


def event(name: str, category: str, begin: int, end: int, side: int, args: dict[str, Any]) -> dict[str, Any]:
    """Return a complete event of the format; begin and end are still in ns since the epoch."""
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
    """Do the work and write the trace of it, also when it fails. Raises Failure when the file can't be written."""
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
    """Return the trace as JSON; times in µs since the launcher's first instruction, as far as that is known."""
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
    """Return what the launcher has noted: protecting the binary and setting up the interpreter's core."""
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
