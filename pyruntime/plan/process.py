"""The program's process attributes: limits, scheduling, identity. Source: runtime-spec config.md "Process"."""

from __future__ import annotations

from ..errors import InvalidConfig
from ..step import HOST, INIT, Flags, Octal, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host
    from .wishes import Wishes


def host_steps(program: dict[str, Any], host: Host) -> list[Step]:
    """Host, after clone3: set what needs the rights of the initial user namespace, or the host's procfs."""
    steps = []
    if program.get("oomScoreAdj") is not None:
        text = str(program["oomScoreAdj"])
        steps.append(Step(HOST, "/process/oomScoreAdj", "write_proc_pid", Slot("init_pid"), "oom_score_adj", text))
    if host.namespaces.has_user:
        # Raising a hard limit requires CAP_SYS_RESOURCE in the initial user namespace.
        steps += raise_limits(program, HOST)
    return steps


def raise_limits(program: dict[str, Any], side: str) -> list[Step]:
    """Raise hard limits, while this is permitted, to at least the program's.

    The limits themselves are set right before execve (exec_program), which then needs no privilege: they may leave
    enough descriptors and memory for the program, but not for the interpreter that sets it up.
    """
    pid: Any = Slot("init_pid") if side == HOST else 0
    return [
        Step(side, f"/process/rlimits/{index}", "raise_hard_limit", pid, Flags(limit["type"]), limit["hard"])
        for index, limit in enumerate(program.get("rlimits") or ())
    ]


def rlimit_steps(program: dict[str, Any], side: str) -> list[Step]:
    pid: Any = Slot("init_pid") if side == HOST else 0
    return [
        Step(side, f"/process/rlimits/{index}", "prlimit", pid, Flags(limit["type"]), limit["soft"], limit["hard"])
        for index, limit in enumerate(program.get("rlimits") or ())
    ]


def limits(program: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return the name, soft and hard limit of each, as exec_program takes them."""
    return [(limit["type"], limit["soft"], limit["hard"]) for limit in program.get("rlimits") or ()]


def late_steps(program: dict[str, Any], *, forbidden: bool) -> list[Step]:
    """Host, once the process that becomes the program exists: set what it could not inherit from its parent.

    A deadline policy forbids fork, SCHED_FLAG_RESET_ON_FORK would lose a policy (sched_setattr(2)). forbidden: a
    filter is loaded by now that keeps the process from setting its own limits.
    """
    return [*scheduler_steps(program.get("scheduler") or {}, HOST), *(rlimit_steps(program, HOST) if forbidden else ())]


def keyring_steps(host: Host, wishes: Wishes) -> list[Step]:
    """Init: join a session keyring of the container's own, so that it does not share the caller's keys; keyrings(7).

    Slot "keyring_name" is a name that nobody can guess: otherwise somebody could create a searchable keyring of that
    name first, and the container would join it. Only the container's root may search this one, so that exec can join
    it, and its possessors have all other rights; other containers of the same user id can't see or link it.
    """
    if wishes.no_new_keyring:
        return []
    permissions = Flags("KEY_POS_ALL|KEY_USR_SEARCH")
    return [*_join_named(host), Step(INIT, "", "keyctl_setperm", Slot("keyring"), permissions)]


def exec_keyring_steps(host: Host, wishes: Wishes) -> list[Step]:
    """Init: join the keyring that create made for the container, else (--no-new-keyring) one of the process's own.

    Never the keyring of exec's caller: it may differ from that of create's caller, and the container must not see it.
    """
    return _join_named(host) if not wishes.no_new_keyring else []


def drop_keyring_steps(host: Host, wishes: Wishes, *, joins: bool = False) -> list[Step]:
    """Init, while it has the host's ids: leave the caller's session keyring for a new, empty one.

    In a user namespace the container's own keyring counts against the quota of an ordinary user, which may be used up
    (EDQUOT); then this one remains. joins: the process joins a container (exec).
    """
    if not (host.namespaces.has_user and not wishes.no_new_keyring) and not (joins and wishes.no_new_keyring):
        return []
    return [
        Step(INIT, "", "keyctl_join_session_keyring", None, into="keyring", ignore=NO_KEYRINGS),
        Step(INIT, "", "keyctl_setperm", Slot("keyring"), Flags("KEY_POS_ALL")),
    ]


NO_KEYRINGS = ("ENOSYS", "EPERM")
"""A kernel without keys, or a seccomp filter on the runtime that forbids them: then the container can't read any."""


def _join_named(host: Host) -> list[Step]:
    return [
        Step(
            INIT,
            "",
            "keyctl_join_session_keyring",
            Slot("keyring_name"),
            into="keyring",
            ignore=(*NO_KEYRINGS, "EDQUOT") if host.namespaces.has_user else NO_KEYRINGS,
            hint="--no-new-keyring keeps the caller's keyring; the sysctls kernel.keys.* set the limits",
        )
    ]


def init_steps(program: dict[str, Any], config: dict[str, Any], host: Host, *, outside: bool) -> list[Step]:
    """Init: set limits, scheduling, execution domain and NUMA policy.

    outside: it creates another process at the end, for which the host sets what a fork would lose (late_steps).
    """
    linux = config.get("linux") or {}
    steps = [] if host.namespaces.has_user else raise_limits(program, INIT)
    steps += [] if outside else scheduler_steps(program.get("scheduler") or {}, INIT)
    priority = program.get("ioPriority") or {}
    if priority.get("class"):
        steps.append(
            Step(
                INIT,
                "/process/ioPriority",
                "ioprio_set",
                Flags("IOPRIO_WHO_PROCESS"),
                0,
                IoPriority(priority["class"], priority.get("priority") or 0),
            )
        )
    if linux.get("personality"):
        domain = {"LINUX": "PER_LINUX", "LINUX32": "PER_LINUX32"}[linux["personality"]["domain"]]
        steps.append(Step(INIT, "/linux/personality", "personality", Flags(domain)))
    policy = linux.get("memoryPolicy") or {}
    if policy:
        mode = "|".join([policy["mode"], *(policy.get("flags") or ())])
        nodes = number_list(policy.get("nodes") or "", "/linux/memoryPolicy/nodes")
        steps.append(Step(INIT, "/linux/memoryPolicy", "set_mempolicy", Flags(mode), nodes))
    return steps


class IoPriority(int):
    """A class and a level, combined as ioprio_set(2) takes them."""

    def __new__(cls, name: str, level: int) -> IoPriority:
        number = ("IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE").index(name)
        made = super().__new__(cls, number << 13 | level)
        made.text = f"{name}|{level}"
        return made

    text: str

    def __repr__(self) -> str:
        return self.text


def scheduler_steps(scheduler: dict[str, Any], side: str) -> list[Step]:
    if not scheduler:
        return []
    pid: Any = Slot("init_pid") if side == HOST else 0
    flags = "|".join(scheduler.get("flags") or ())
    numbers = [scheduler.get(key) or 0 for key in ("nice", "priority", "runtime", "deadline", "period")]
    return [Step(side, "/process/scheduler", "sched_setattr", pid, Flags(scheduler["policy"]), Flags(flags), *numbers)]


def affinity_steps(program: dict[str, Any], key: str, side: str) -> list[Step]:
    """Set execCPUAffinity: `initial` before the process is in the container's cgroup, `final` before it runs."""
    cpus = (program.get("execCPUAffinity") or {}).get(key)
    if not cpus:
        return []
    pointer = f"/process/execCPUAffinity/{key}"
    return [Step(side, pointer, "sched_setaffinity", 0, number_list(cpus, pointer))]


def number_list(text: str, pointer: str) -> list[int]:
    """Return the numbers of a list like "0-3,8" (cpuset(7) list format)."""
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise InvalidConfig(f"{text!r} is not a list of numbers like 0-3,8", pointer=pointer)
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def no_new_privs_steps(program: dict[str, Any]) -> list[Step]:
    return [Step(INIT, "/process/noNewPrivileges", "set_no_new_privs")] if program.get("noNewPrivileges") else []


def user_steps(program: dict[str, Any], host: Host) -> list[Step]:
    """Set groups, group and user, in the order that keeps the right to change the next one."""
    user = program.get("user") or {}
    uid, gid = user.get("uid") or 0, user.get("gid") or 0
    groups = list(dict.fromkeys(user.get("additionalGids") or ()))
    steps = []
    if groups or not host.rootless:
        # A user namespace may deny setgroups; then there are no groups to drop either (user_namespaces(7)).
        ignore = ("EPERM",) if host.namespaces.has_user and not groups else ()
        steps.append(Step(INIT, "/process/user/additionalGids", "setgroups", groups, ignore=ignore))
    steps.append(Step(INIT, "/process/user/gid", "setresgid", gid, gid, gid))
    steps.append(Step(INIT, "/process/user/uid", "setresuid", uid, uid, uid))
    return steps


def environment(program: dict[str, Any]) -> list[str]:
    """Return the program's environment with each name once: the last value counts, as with runc and crun.

    Programs would use the first (getenv(3)), and `exec --env` appends. An empty HOME is dropped, and then looked up.
    """
    last: dict[str, str] = {}
    for entry in program.get("env") or ():
        name = entry.partition("=")[0]
        last.pop(name, None)
        last[name] = entry
    return [entry for entry in last.values() if entry != "HOME="]


def environment_argument(program: dict[str, Any]) -> list[str] | Slot:
    """Return the environment as an argument of a step: slot "env", with HOME added, if the config does not set it."""
    env = environment(program)
    return env if any(entry.startswith("HOME=") for entry in env) else Slot("env")


def umask_steps(program: dict[str, Any], default: Octal | Slot) -> list[Step]:
    """Set the config's umask, else a default. Bits that a umask does not have are ignored, as by umask(2)."""
    mask = (program.get("user") or {}).get("umask")
    if mask is None:
        return [Step(INIT, "", "umask", default)]
    return [Step(INIT, "/process/user/umask", "umask", Octal(mask & 0o777))]
