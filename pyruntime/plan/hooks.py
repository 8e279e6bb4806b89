"""Hooks: the caller's programs at six points of the lifecycle, with the container's state on their stdin.

Source: runtime-spec config.md "POSIX-platform Hooks", runtime.md "Lifecycle" and "State".
"""

from __future__ import annotations

from ..step import HOST, INIT, Slot, Step
from . import process, seccomp
from .facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POINTS = {
    "prestart": (HOST, "created"),
    "createRuntime": (HOST, "creating"),
    "createContainer": (INIT, "creating"),
    "startContainer": (INIT, "created"),
    "poststart": (HOST, "running"),
    "poststop": (HOST, "stopped"),
}
"""Where each kind of hook runs, and the status that the state on its stdin carries. (prestart stands behind `create` in
the lifecycle, so its container is created; the three that came after it run while it is being created.)"""

INSIDE = "startContainer"
"""The one kind whose path is the container's; the others are the host's programs."""


class Hook:
    """One hook of the config. env: None when it names none; timeout: None for no limit (s)."""

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
    """Return the entries with each name once: the last value counts, as for the program. What has no name stays."""
    if env is None:
        return None
    last: dict[str, str] = {}
    for entry in env:
        name = entry.partition("=")[0] or entry
        last.pop(name, None)
        last[name] = entry
    return list(last.values())


class HookState:
    """The state document for a hook, but for the pid, which is only known at run time."""

    __slots__ = ("fields",)

    def __init__(self, config: dict[str, Any], facts: Facts, status: str) -> None:
        self.fields: dict[str, Any] = {
            "ociVersion": config["ociVersion"],
            "id": facts.id,
            "status": status,
            "pid": 0,
            "bundle": facts.bundle,
            "annotations": config.get("annotations") or {},
        }

    def __repr__(self) -> str:
        return f"{{state: {self.fields['status']}}}"


def hook_steps(config: dict[str, Any], facts: Facts, point: str) -> list[Step]:
    """Return the steps that run the hooks of one point, in the config's order.

    On the host the state's pid is the runtime's view of init; in the container it is the container's view
    (runtime.md "State"), so init fills in its own.
    """
    side, status = POINTS[point]
    state = HookState(config, facts, status)
    pid = Slot("init_pid") if side == HOST else None
    where = surroundings(config, facts, point)
    return [
        Step(side, f"/hooks/{point}/{index}", "run_hook", Hook(entry), state, pid, *where)
        for index, entry in enumerate((config.get("hooks") or {}).get(point) or ())
    ]


def surroundings(config: dict[str, Any], facts: Facts, point: str) -> tuple[Any, ...]:
    """Return where the hooks of a point run, and what they get beside their state; the spec says nothing of it.

    As with runc and crun: those of the host run in the bundle, createContainer hooks in the root file system, and
    startContainer hooks where the program will, under its seccomp filter. A hook without `env` has the runtime's
    environment, or inside of the container the program's: the host's is none of the container's business.
    """
    if point != INSIDE:
        return (facts.bundle,) if POINTS[point][0] == HOST else (Slot("root"),)
    program = config.get("process")
    if not program:
        return None, []
    return None, process.environment_argument(program), *seccomp.hook_arguments(config)
