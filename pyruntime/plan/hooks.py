"""Hooks: programs of the caller that run at six points of the lifecycle, with the container's state on stdin.

Source: runtime-spec config.md "POSIX-platform Hooks", runtime.md "Lifecycle" and "State".
"""

from __future__ import annotations

from ..step import HOST, INIT, Flags, Octal, Slot, Step
from . import extensions, process, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wishes import Wishes

POINTS = {
    "prestart": (HOST, "created"),
    "createRuntime": (HOST, "creating"),
    "createContainer": (INIT, "creating"),
    "startContainer": (INIT, "created"),
    "poststart": (HOST, "running"),
    "poststop": (HOST, "stopped"),
}
"""Where each kind of hook runs, and the status in the state on its stdin. (The lifecycle runs prestart after `create`,
so the container is created; the three kinds that were added later run while it is being created.)"""

INSIDE = "startContainer"
"""The only kind whose path is in the container; the others are programs of the host."""
STREAMS = ((extensions.HOOKS_STDOUT, "hooks_stdout"), (extensions.HOOKS_STDERR, "hooks_stderr"))
APPEND = Flags("O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC|O_NOCTTY|O_NOFOLLOW")


class Hook:
    """One hook of the config. env: None when it is not set; timeout: in seconds, None for no limit."""

    __slots__ = ("path", "args", "env", "timeout")

    def __init__(self, entry: dict[str, Any]) -> None:
        self.path: str = entry["path"]
        self.args: list[str] = entry.get("args") or [self.path]
        self.env = unique(entry.get("env"))
        self.timeout: int | None = entry.get("timeout")

    def __repr__(self) -> str:
        limit = f" (timeout {self.timeout} s)" if self.timeout else ""
        return f'"{self.path}" {self.args}{limit}'


def unique(env: list[str] | None) -> list[str] | None:
    """Return the entries with each name once: the last value counts, as for the program. Keep nameless entries."""
    if env is None:
        return None
    last: dict[str, str] = {}
    for entry in env:
        name = entry.partition("=")[0] or entry
        last.pop(name, None)
        last[name] = entry
    return list(last.values())


class HookState:
    """The state document for a hook, without the pid, which is only known at run time."""

    __slots__ = ("fields",)

    def __init__(self, config: dict[str, Any], wishes: Wishes, status: str) -> None:
        self.fields: dict[str, Any] = {
            "ociVersion": config["ociVersion"],
            "id": wishes.id,
            "status": status,
            "pid": 0,
            "bundle": wishes.bundle,
            "annotations": config.get("annotations") or {},
        }

    def __repr__(self) -> str:
        return f"{{state: {self.fields['status']}}}"


def hook_steps(config: dict[str, Any], wishes: Wishes, point: str) -> list[Step]:
    """Return the steps that run the hooks of one point, in the config's order.

    On the host the state's pid is init's pid as the runtime sees it; in the container it is the one that the container
    sees (runtime.md "State"), so init fills in its own.
    """
    side, status = POINTS[point]
    state = HookState(config, wishes, status)
    pid = Slot("init_pid") if side == HOST else None
    where = surroundings(config, wishes, point)
    if point != INSIDE and (files := streams(config)):
        where = (*where, None, None, 0, *files)
    return [
        Step(side, f"/hooks/{point}/{index}", "run_hook", Hook(entry), state, pid, *where)
        for index, entry in enumerate((config.get("hooks") or {}).get(point) or ())
    ]


def streams(config: dict[str, Any]) -> tuple[Any, ...]:
    """Return stdout and stderr for hooks that run on the host; () when no annotation names a file."""
    names = [extensions.path_of(config, name) and slot for name, slot in STREAMS]
    return tuple(Slot(slot) if slot else -1 for slot in names) if any(names) else ()


def stream_steps(config: dict[str, Any], points: tuple[str, ...]) -> list[Step]:
    """Host: open the files that crun's annotations name for the output of the hooks of these points."""
    if not any((config.get("hooks") or {}).get(point) for point in points):
        return []
    return [
        Step(HOST, extensions.pointer_of(name), "open", path, APPEND, Octal(0o600), into=slot)
        for name, slot in STREAMS
        if (path := extensions.path_of(config, name))
    ]


def later_steps(config: dict[str, Any], wishes: Wishes, point: str) -> list[Step]:
    """Return the steps of hooks that run after create has ended, including the files for their output."""
    return [*stream_steps(config, (point,)), *hook_steps(config, wishes, point)]


def close_stream_steps(config: dict[str, Any], points: tuple[str, ...]) -> list[Step]:
    """Host and init: close these files again; the container's programs must not have them."""
    slots = [step.into for step in stream_steps(config, points) if step.into]
    return [Step(side, "", "close", Slot(slot)) for side in (INIT, HOST) for slot in slots]


def surroundings(config: dict[str, Any], wishes: Wishes, point: str) -> tuple[Any, ...]:
    """Return where the hooks of a point run, and what they get besides their state. The spec does not define this.

    As with runc and crun: hooks on the host run in the bundle, createContainer hooks in the root file system, and
    startContainer hooks where the program will run, under its seccomp filter. A hook without `env` has the runtime's
    environment, or inside the container the program's, so that the host's does not leak into it.
    """
    if point != INSIDE:
        return (wishes.bundle,) if POINTS[point][0] == HOST else (Slot("root"),)
    program = config.get("process")
    if not program:
        return None, []
    return None, process.environment_argument(program), *seccomp.hook_arguments(config)
