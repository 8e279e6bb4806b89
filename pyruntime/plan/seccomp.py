"""The seccomp profile: compiled on the host, loaded by init right before execve.

Source: runtime-spec config-linux.md "Seccomp"; seccomp(2), seccomp_unotify(2). Compiling Docker's profile takes some
milliseconds and depends only on the profile, so the result may be cached by content.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..step import HOST, INIT, Flags, Slot, Step
from . import extensions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wishes import Wishes

    Condition = tuple[int, str, int, int]
    Rule = tuple[tuple[str, int], str, list[Condition]]

POINTER = "/linux/seccomp"
EPERM = 1
WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
"""Default actions that permit calls that the profile does not name (with a tracer, it decides)."""
NOTIFY = "SCMP_ACT_NOTIFY"
ALLOW = "SCMP_ACT_ALLOW"
UNKNOWN = f"the annotation {extensions.SECCOMP_STRICT} refuses names that libseccomp does not know"


class Profile:
    """A profile for libseccomp: default action, architectures, and the input of `rules`, which are only needed if it
    has not been compiled before.

    strict: a call that libseccomp does not know is an error instead of being ignored.
    """

    __slots__ = ("arches", "default", "entries", "strict")

    def __init__(self, seccomp: dict[str, Any], *, strict: bool = False) -> None:
        self.strict = strict
        self.default = action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
        self.arches = [name.removeprefix("SCMP_ARCH_").lower() for name in seccomp.get("architectures") or ()]
        self.entries: list[dict[str, Any]] = seccomp.get("syscalls") or []

    def rules(self) -> list[Rule]:
        """Return the rules (action, call, conditions), an action being (name, errno or trace value).

        Rules whose action is the default are left out, as libseccomp requires.
        """
        found: list[Rule] = []
        for entry in self.entries:
            wanted = action(entry["action"], entry.get("errnoRet"))
            if wanted != self.default:
                for conditions in alternatives(entry.get("args") or ()):
                    found += [(wanted, name, conditions) for name in entry["names"]]
        return found

    def named(self) -> list[str] | None:
        """Return the calls that the profile names, with any action; None if newer calls need no special treatment.

        If calls are denied by default, those newer than all of these fail with ENOSYS instead: the profile's author
        can't have meant them, and only with this errno does the C library fall back to an older call. As in runc.
        """
        if self.default[0] in PERMISSIVE:
            return None
        return [name for entry in self.entries for name in entry["names"]]

    def __repr__(self) -> str:
        newer = "" if self.named() is None else ", ENOSYS for calls that are newer than all it names"
        return f"{{{self.default[0]}, {len(self.rules())} rules{newer}}}"


def action(name: str, number: int | None) -> tuple[str, int]:
    """Return the action with its number, which only some actions carry; the default errno is EPERM."""
    if name not in WITH_NUMBER:
        return name, 0
    return name, EPERM if number is None else number


def alternatives(args: Any) -> list[list[Condition]]:
    """Return the conditions of a rule as one list, or as one list each when an argument has several.

    Conditions on different arguments must all hold. libseccomp takes one per argument and rule, so several on the same
    argument become alternatives, as in other runtimes.
    """
    conditions = [(a["index"], a["op"], a["value"], a.get("valueTwo") or 0) for a in args]
    if len({condition[0] for condition in conditions}) == len(conditions):
        return [conditions]
    return [[condition] for condition in conditions]


def profile_of(config: dict[str, Any]) -> dict[str, Any]:
    return (config.get("linux") or {}).get("seccomp") or {}


def notifies(seccomp: dict[str, Any]) -> bool:
    return any(entry["action"] == NOTIFY for entry in seccomp.get("syscalls") or ())


def compile_steps(config: dict[str, Any]) -> list[Step]:
    """Host, before clone3: compile the profile; connect to the agent of a profile that notifies."""
    seccomp = profile_of(config)
    if not seccomp:
        return []
    strict = extensions.is_set(config, extensions.SECCOMP_STRICT)
    profile = Profile(seccomp, strict=strict)
    steps = [Step(HOST, POINTER, "seccomp_compile", profile, into="seccomp_filter", hint=UNKNOWN if strict else None)]
    if notifies(seccomp):
        path = seccomp.get("listenerPath")
        if not path:
            raise InvalidConfig("SCMP_ACT_NOTIFY needs a listenerPath", pointer=f"{POINTER}/listenerPath")
        steps.append(Step(HOST, f"{POINTER}/listenerPath", "unix_connect", Flags("AT_FDCWD"), path, into="notify"))
    return steps


def state_steps(config: dict[str, Any], wishes: Wishes, init_pid: int = 0) -> list[Step]:
    """Init, last: build the state for the agent that gets the listener. Slot "host_pid": init's pid on the host."""
    seccomp = profile_of(config)
    if not notifies(seccomp):
        return []
    state = ListenerState(config, seccomp, wishes, init_pid)
    return [Step(INIT, POINTER, "listener_state", state, Slot("host_pid"), into="listener_state")]


def pid_steps(config: dict[str, Any]) -> list[Step]:
    """Init, first: get its pid as the host sees it, which only the host's procfs shows."""
    return [Step(INIT, POINTER, "host_pid", into="host_pid")] if notifies(profile_of(config)) else []


def early_steps(config: dict[str, Any], effective: Any, permitted: Any, inheritable: Any) -> list[Step]:
    """Init, right before it creates the process that the container sees: load the filter, set the program's own sets.

    That process must have no more rights than the container: not the one to load a filter, and a filter must restrict
    it. A filter that notifies an agent, or forbids what is still to be done, is loaded right before execve.
    """
    seccomp = profile_of(config)
    if not seccomp or notifies(seccomp) or (config.get("hooks") or {}).get("startContainer"):
        return []
    flags = flags_of(seccomp)
    sets = (effective, permitted, inheritable)
    return [Step(INIT, POINTER, "load_filter_early", Slot("seccomp_filter"), flags, *sets, into="seccomp_filter")]


NOTHING_TO_LOAD = (None, Flags(""), -1, None)
"""The arguments of exec_program without a filter, in place of load_arguments."""


def flags_of(seccomp: dict[str, Any]) -> Flags:
    return Flags("|".join(seccomp.get("flags") or ()))


def loads_before_hooks(config: dict[str, Any]) -> bool:
    """Return whether the filter is loaded before the startContainer hooks: if it notifies, they share its listener."""
    return notifies(profile_of(config)) and bool((config.get("hooks") or {}).get("startContainer"))


def before_hooks_steps(config: dict[str, Any], wishes: Wishes) -> list[Step]:
    """Init, before startContainer hooks: load a filter that notifies. Any other is loaded by each hook itself.

    The profile then also applies to what init still has to do, such as starting the hooks, as with runc.
    """
    if not loads_before_hooks(config):
        return []
    sent = (Slot("notify"), Slot("listener_state"))
    load = ("seccomp_hand_over", Slot("seccomp_filter"), flags_of(profile_of(config)), *sent)
    return [*state_steps(config, wishes), Step(INIT, POINTER, *load, closes=("notify",))]


def hook_arguments(config: dict[str, Any]) -> tuple[Any, ...]:
    """Return the filter and its flags for a startContainer hook, unless init has loaded it already."""
    seccomp = profile_of(config)
    if not seccomp or notifies(seccomp):
        return ()
    return Slot("seccomp_filter"), flags_of(seccomp)


def loads_early(config: dict[str, Any]) -> bool:
    """Return whether a filter may be loaded before the process that becomes the program is created (early_steps)."""
    return bool(early_steps(config, 0, 0, 0))


def surely_permits(config: dict[str, Any], call: str) -> bool:
    """Return whether the profile permits a system call with any arguments; False if that is uncertain."""
    seccomp = profile_of(config)
    if not seccomp:
        return True
    entries = [entry for entry in seccomp.get("syscalls") or () if call in entry["names"]]
    if not entries:
        return bool(seccomp["defaultAction"] == ALLOW)
    return all(entry["action"] == ALLOW and not entry.get("args") for entry in entries)


def load_arguments(config: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of exec_program: filter, its flags, the agent's socket (-1: none) and the message for it."""
    seccomp = profile_of(config)
    if not seccomp:
        return NOTHING_TO_LOAD
    flags = flags_of(seccomp)
    if not notifies(seccomp):
        return Slot("seccomp_filter"), flags, -1, None
    return Slot("seccomp_filter"), flags, Slot("notify"), Slot("listener_state")


class ListenerState:
    """The container process state (config-linux.md), without the pid of the process, which is known at run time.

    fields: the document. Its process is init if the container is being started, otherwise the one that exec adds.
    """

    __slots__ = ("fields",)

    def __init__(self, config: dict[str, Any], seccomp: dict[str, Any], wishes: Wishes, init_pid: int) -> None:
        self.fields: dict[str, Any] = {
            "ociVersion": config["ociVersion"],
            "fds": ["seccompFd"],
            "pid": 0,
            "metadata": seccomp.get("listenerMetadata") or "",
            "state": {
                "ociVersion": config["ociVersion"],
                "id": wishes.id,
                "status": "running" if init_pid else "created",
                "pid": init_pid,
                "bundle": wishes.bundle,
                "annotations": config.get("annotations") or {},
            },
        }

    def __repr__(self) -> str:
        return f"{{state: {self.fields['state']['status']}}}"


def needs_privilege(config: dict[str, Any], program: dict[str, Any]) -> bool:
    """Return whether loading the filter needs CAP_SYS_ADMIN: there is one, and no_new_privs is not set (seccomp(2))."""
    return bool(profile_of(config)) and not program.get("noNewPrivileges")
