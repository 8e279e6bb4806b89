"""Wraps what the runtime calls so that one of these calls fails, or somebody dies there.

Two kinds of positions are counted. A *step* is one of the plan that `launch` walks, by its number there. A *call* is
one of a function of `posix` or of the kernel layer's C module, made by the process that was started as the command.

Where somebody is to die, the process that has come there says so in shared memory and waits: the driver outside kills,
because init can kill neither its parent nor itself (pid_namespaces(7)).
"""

import errno
import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pyruntime import kernel
from pyruntime.engine import change, launch
from pyruntime.kernel import _linux
from pyruntime.lifecycle import protection
from pyruntime.step import Step

IDLE, WAITING, GO_ON, DONE = range(4)
NO_ERRNO = {
    "_exit", "getpid", "getuid", "geteuid", "fspath", "strerror", "waitstatus_to_exitcode", "WIFSIGNALED", "WTERMSIG",
    "WEXITSTATUS", "WIFEXITED", "close", "close_range", "waitpid", "poll", "unblock_signals", "umask", "access",
    "get_terminal_size", "getcwd", "register_at_fork",
}  # fmt: skip
"""Calls that can't fail, or whose failure has one meaning only that is tested elsewhere."""
NO_POINT = {"_exit", "getpid", "getuid", "geteuid", "fspath", "strerror", "waitstatus_to_exitcode", "WIFSIGNALED"}
"""Calls that change nothing: before and after them is the same."""
DESCRIPTORS = {
    "open",
    "openat2",
    "pipe2",
    "memfd_create",
    "dup",
    "socketpair",
    "unix_connect",
    "unix_listen",
    "open_tree",
}
WRITES = {"write", "mkdir", "mkdirat", "rename", "fsync", "mknodat", "symlinkat"}


class Call(NamedTuple):
    """A call as it is found again in another run: by the function, who calls it, and how many such came before it.

    Its number among all calls would not do: how often a command looks again for the end of a process differs.
    """

    name: str
    callers: str
    earlier: int


class Fault(NamedTuple):
    """What is to happen. level: step or call. at: its number. when: before or after it. kind: errno, host or init."""

    level: str
    at: int
    when: str
    kind: str
    number: int = errno.ENOANO
    call: Call | None = None

    def __str__(self) -> str:
        what = errno.errorcode[self.number] if self.kind == "errno" else f"SIGKILL of {self.kind} {self.when}"
        return f"{what} at {self.level} {self.at}"


class Shared:
    """Memory that the driver shares with all the processes of a command."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 1 << 20)

    def reset(self) -> None:
        self.memory[:16] = bytes(16)  # state, and the length of what was put

    @property
    def state(self) -> int:
        return self.memory[0]

    @state.setter
    def state(self, value: int) -> None:
        self.memory[0] = value

    def put(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.memory[16 : 16 + len(data)] = data
        self.memory[8:16] = len(data).to_bytes(8, "little")

    def get(self) -> Any:
        length = int.from_bytes(self.memory[8:16], "little")
        return json.loads(self.memory[16 : 16 + length]) if length else None


shared = Shared()


class Armed:
    """The fault of the command that runs in this process, or None, and the counters."""

    fault: Fault | None = None
    recording = False
    host = 0
    earlier = 0
    positions: dict[int, int] = {}  # noqa: RUF012
    clone_step = -1
    seen: dict[str, list[Any]] = {"steps": [], "calls": []}  # noqa: RUF012


def error_of(number: int, where: list[str]) -> OSError:
    """Return the error that the call would raise: one of the kernel layer has its name, one of posix the file's."""
    if not where:
        return OSError(number, os.strerror(number))
    if where[3]:
        error = OSError(number, os.strerror(number))
        error.call = f"{where[0]}{where[2]}"  # type: ignore[attr-defined]
        return error
    return OSError(number, os.strerror(number), where[4]) if where[4] else OSError(number, os.strerror(number))


def act(fault: Fault, where: list[str]) -> None:
    """Let it happen, here."""
    if fault.kind == "errno":
        shared.state = DONE
        raise error_of(fault.number, where)
    shared.state = WAITING
    while shared.state == WAITING:
        time.sleep(0.0002)


def point(at: int, when: str) -> None:
    """A moment before, after or in the middle of a step."""
    fault = Armed.fault
    if fault is not None and (fault.level, fault.at, fault.when) == ("step", at, when):
        Armed.fault = None
        act(fault, [])


def number_steps(steps: list[Step]) -> None:
    """Remember the positions of a plan's steps; tell them when this is a recording."""
    Armed.positions = {id(step): at for at, step in enumerate(steps)}
    Armed.clone_step = next((at for at, step in enumerate(steps) if step.call == "clone3"), -1)
    if Armed.recording:
        Armed.seen["steps"] = [[step.side, step.call, step.describe(), list(step.ignore)] for step in steps]
        shared.put(Armed.seen)


def wrap_steps() -> None:
    """Wrap the walk of a plan, and the changes of an update."""
    walk, make, apply, clone3 = launch.launch, change.make, Step.apply, kernel.clone3

    def launch_counted(plan: Any, slots: Any) -> Any:
        number_steps(plan.steps)
        return walk(plan, slots)

    def make_counted(changes: Any, slots: Any) -> None:
        number_steps([each.step for each in changes])
        make(changes, slots)

    def apply_counted(step: Step, calls: Any, slots: Any) -> None:
        at = Armed.positions.get(id(step), -1)
        point(at, "before")
        apply(step, calls, slots)
        point(at, "after")

    def clone3_counted(*args: Any) -> Any:
        at, after = (Armed.clone_step, "after") if len(args) > 1 else (-2, "")
        if len(args) > 1:
            point(at, "before")
        result = clone3(*args)
        if result[0] and len(args) > 1:
            point(at, after)
        elif result[0]:
            # The process in between has its child and has told nobody yet.
            middle = Armed.fault
            if middle is not None and middle.level == "step" and middle.when == "middle":
                point(middle.at, "middle")
        return result

    launch.launch = launch_counted
    change.make = make_counted
    Step.apply = apply_counted  # type: ignore[assignment, method-assign]
    kernel.clone3 = clone3_counted


def chain(frame: Any) -> str:
    """Return the names of the runtime's functions that led to a call, the innermost first."""
    names: list[str] = []
    while frame is not None and len(names) < 8:
        if str(frame.f_globals.get("__name__")).startswith("pyruntime"):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return " < ".join(names)


def is_hit(wanted: Call | None, name: str, caller: Any) -> bool:
    """Whether this call is the one that the fault is for; count those before it."""
    if wanted is None or name != wanted.name or chain(caller) != wanted.callers:
        return False
    Armed.earlier += 1
    return Armed.earlier == wanted.earlier + 1


def counted(function: Callable[..., Any], name: str, layer: str) -> Callable[..., Any]:
    """Return the function with a position before and after each of its calls by the runtime in the command's process.

    Not counted: flock(2) with LOCK_UN, which can't fail, and what importlib does.
    """
    getpid = os.getpid

    def call(*args: Any, **named: Any) -> Any:
        if getpid() != Armed.host or Armed.host == 0:
            return function(*args, **named)
        caller = sys._getframe(1)
        module = str(caller.f_globals.get("__name__"))
        if not module.startswith("pyruntime") or (name == "flock" and args[1:] == (8,)):
            return function(*args, **named)
        fault = Armed.fault
        if not Armed.recording and (fault is None or not is_hit(fault.call, name, caller)):
            return function(*args, **named)
        file = args[0] if layer == "posix" and args and isinstance(args[0], str) else ""
        entry = [name, chain(caller), repr(args)[:200], "" if layer == "posix" else layer, file]
        if fault is None:
            Armed.seen["calls"].append(entry)
            shared.put(Armed.seen)
            return function(*args, **named)
        Armed.fault = None
        if fault.when == "before":
            act(fault, entry)
        result = function(*args, **named)
        if fault.when == "after":
            act(fault, entry)
        return result

    return call


def wrap_calls() -> None:
    """Replace the functions of posix and of the C module everywhere in the runtime's modules."""
    posix = sys.modules["posix"]
    builtin = type(os.getpid)
    found: dict[int, Callable[..., Any]] = {}
    for module in (posix, _linux):
        for name, value in list(vars(module).items()):
            if isinstance(value, builtin) and name not in NO_POINT:
                found[id(value)] = counted(value, name, module.__name__)
    for module_name, module in list(sys.modules.items()):
        if module_name == "posix" or module_name.partition(".")[0] == "pyruntime":
            for name, value in list(vars(module).items()):
                if isinstance(value, builtin) and id(value) in found:
                    setattr(module, name, found[id(value)])


def allow_plain_interpreter() -> None:
    """The driver is no launcher whose binary is protected; what it starts are containers of the tests."""
    protection.passed = True
