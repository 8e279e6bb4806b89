"""Namespaces: made by clone3, made later by unshare, or joined by path; their maps, offsets and loopback.

Source: runtime-spec config-linux.md "Namespaces", "User namespace mappings", "Offset for Time Namespace";
namespaces(7), user_namespaces(7), time_namespaces(7), cgroup_namespaces(7).
"""

from __future__ import annotations

from ..spec.linux import escaped
from ..step import HOST, INIT, JOIN, Flags, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .facts import Facts

FLAG = {
    "user": "CLONE_NEWUSER",
    "mount": "CLONE_NEWNS",
    "network": "CLONE_NEWNET",
    "uts": "CLONE_NEWUTS",
    "ipc": "CLONE_NEWIPC",
    "pid": "CLONE_NEWPID",
    "cgroup": "CLONE_NEWCGROUP",
    "time": "CLONE_NEWTIME",
}
"""Types of namespaces as config.json names them; the order is the order of joining: the user namespace first, because
it gives the rights over the others, then the mount namespace late, because paths change with it."""
MAPPINGS = ("uidMappings", "gidMappings")
JOIN_ORDER = ("network", "uts", "ipc", "cgroup", "time", "mount")
LATER = ("cgroup", "time")
"""Made by init itself. The root of a cgroup namespace is the cgroup of the process that makes it, and clone3 would take
the runtime's; a time namespace's offsets can only be written while nobody is in it."""


def pointer_of(config: dict[str, Any], kind: str) -> str:
    """Return the JSON pointer of the namespace entry of that type."""
    for index, entry in enumerate(config["linux"].get("namespaces") or ()):
        if entry["type"] == kind:
            return f"/linux/namespaces/{index}"
    return "/linux/namespaces"


def open_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Open the namespaces that are joined by path, while the host's paths are in sight."""
    return [
        Step(
            HOST,
            f"{pointer_of(config, kind)}/path",
            "open",
            path,
            Flags("O_RDONLY|O_CLOEXEC"),
            into=f"ns_{kind}",
        )
        for kind, path in facts.joined_namespaces.items()
    ]


def _setns(side: str, config: dict[str, Any], kind: str) -> Step:
    return Step(
        side,
        f"{pointer_of(config, kind)}/path",
        "setns",
        Slot(f"ns_{kind}"),
        Flags(FLAG[kind]),
        hint=f"the path must be a {kind} namespace",
    )


def before_clone(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Join what decides where clone3 makes the new process: the pid namespace, and the user namespace of others.

    A joined user namespace is entered by a process in between (JOIN), which then calls clone3 with CLONE_PARENT: so
    the new namespaces belong to the joined user namespace, and the runtime itself keeps its own.
    """
    joined = facts.joined_namespaces
    steps: list[Step] = []
    if "user" in joined:
        if "pid" in joined:
            steps.append(_setns(JOIN, config, "pid"))
        steps.append(_setns(JOIN, config, "user"))
    elif "pid" in joined:
        steps.append(
            Step(
                HOST,
                "",
                "open",
                "/proc/self/ns/pid",
                Flags("O_RDONLY|O_CLOEXEC"),
                into="ns_pid_of_host",
            )
        )
        steps.append(_setns(HOST, config, "pid"))
    return steps


def clone_step(facts: Facts) -> Step:
    """The clone3 that makes init, in its new namespaces and in its cgroup, if that can exist before init does."""
    flags = [flag for kind, flag in FLAG.items() if kind in facts.new_namespaces and kind not in LATER]
    if "user" in facts.joined_namespaces:
        flags.append("CLONE_PARENT")
    return Step(
        HOST,
        "/linux/namespaces",
        "clone3",
        Flags("|".join(flags)),
        -1 if facts.systemd_unit else Slot("cgroup"),
        into="init_pid",
    )


def after_clone(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Host: leave the joined pid namespace to the children; write the maps of a new user namespace."""
    steps: list[Step] = []
    if "pid" in facts.joined_namespaces and "user" not in facts.joined_namespaces:
        steps.append(
            Step(
                HOST,
                "",
                "setns",
                Slot("ns_pid_of_host"),
                Flags("CLONE_NEWPID"),
                closes=("ns_pid_of_host",),
            )
        )
    if "user" in facts.new_namespaces:
        for name, key, text in zip(("uid_map", "gid_map"), MAPPINGS, map_texts(config["linux"]), strict=True):
            steps.append(
                Step(
                    HOST,
                    f"/linux/{key}",
                    "write_proc_pid",
                    Slot("init_pid"),
                    name,
                    text,
                )
            )
    return steps


def map_texts(source: dict[str, Any]) -> list[str]:
    """Return the lines of uid_map and of gid_map (user_namespaces(7)) for an object that has both mappings."""
    return [
        "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in source.get(key) or ()) for key in MAPPINGS
    ]


def root_identity(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Init: become root of its user namespace, or the first id that is mapped where 0 is not."""
    if not facts.has_userns:
        return []
    uid = gid = 0
    if "user" in facts.new_namespaces:
        uid = _first_id(config["linux"].get("uidMappings") or ())
        gid = _first_id(config["linux"].get("gidMappings") or ())
    return [
        Step(INIT, "/linux/gidMappings", "setresgid", gid, gid, gid),
        Step(INIT, "/linux/uidMappings", "setresuid", uid, uid, uid),
    ]


def _first_id(mappings: Any) -> int:
    first = [int(m["containerID"]) for m in mappings]
    return 0 if not first or 0 in first else first[0]


def enter_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Init: join the namespaces given by path, then make those that clone3 could not make."""
    steps = [_setns(INIT, config, kind) for kind in JOIN_ORDER if kind in facts.joined_namespaces]
    if "cgroup" in facts.new_namespaces:
        steps.append(Step(INIT, pointer_of(config, "cgroup"), "unshare", Flags("CLONE_NEWCGROUP")))
    if "time" in facts.new_namespaces:
        steps += _time_steps(config)
    if "network" in facts.new_namespaces:
        steps.append(Step(INIT, pointer_of(config, "network"), "link_up", "lo"))
    return steps


def _time_steps(config: dict[str, Any]) -> list[Step]:
    pointer = pointer_of(config, "time")
    steps = [Step(INIT, pointer, "unshare", Flags("CLONE_NEWTIME"))]
    offsets = config["linux"].get("timeOffsets") or {}
    text = "".join(f"{clock} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for clock, o in offsets.items())
    if text:
        steps.append(
            Step(
                HOST,
                "/linux/timeOffsets",
                "write_proc_pid",
                Slot("init_pid"),
                "timens_offsets",
                text,
            )
        )
    steps.append(
        Step(
            INIT,
            pointer,
            "open",
            "/proc/self/ns/time_for_children",
            Flags("O_RDONLY|O_CLOEXEC"),
            into="ns_time_made",
        )
    )
    steps.append(
        Step(
            INIT,
            pointer,
            "setns",
            Slot("ns_time_made"),
            Flags("CLONE_NEWTIME"),
            closes=("ns_time_made",),
        )
    )
    return steps


def net_device_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Host, after clone3: move the network devices into the container's network namespace, which init has or joins."""
    devices = (config.get("linux") or {}).get("netDevices") or {}
    if not devices:
        return []
    steps, namespace = [], "ns_network"
    if "network" in facts.new_namespaces:
        namespace = "net_namespace"
        steps.append(Step(HOST, "/linux/netDevices", "open_proc_pid", Slot("init_pid"), "ns/net", into=namespace))
    for index, (name, device) in enumerate(devices.items()):
        pointer = f"/linux/netDevices/{escaped(name)}"
        wanted = (device or {}).get("name") or name
        steps.append(
            Step(HOST, pointer, "move_net_device", name, wanted, Slot(namespace), into=f"net_device{index}"),
        )
    return steps


def exec_before_clone(config: dict[str, Any]) -> list[Step]:
    """Host: let the next child be born in the container's pid namespace. Slot "target" holds a pidfd of init."""
    kinds = listed(config)
    if "pid" not in kinds:
        return []
    return [
        Step(
            HOST,
            pointer_of(config, "pid"),
            "setns",
            Slot("target"),
            Flags("CLONE_NEWPID"),
        )
    ]


def exec_clone_step() -> Step:
    """The clone3 that makes the process of exec, in the cgroup where init is."""
    return Step(HOST, "", "clone3", Flags(""), Slot("cgroup"), into="init_pid")


def exec_join_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Join all the namespaces of the container's init at once; without a mount namespace, its root directory."""
    kinds = listed(config)
    flags = [flag for kind, flag in FLAG.items() if kind in kinds and kind != "pid"]
    steps: list[Step] = []
    if "mount" not in kinds:
        root = Flags("O_PATH|O_DIRECTORY|O_CLOEXEC")
        steps.append(
            Step(
                INIT,
                "/root/path",
                "open",
                f"/proc/{facts.init_pid}/root",
                root,
                into="root",
            )
        )
    if flags:
        steps.append(
            Step(
                INIT,
                "/linux/namespaces",
                "setns",
                Slot("target"),
                Flags("|".join(flags)),
                closes=("target",),
            )
        )
    if "mount" not in kinds:
        steps.append(Step(INIT, "/root/path", "fchdir", Slot("root")))
        steps.append(Step(INIT, "/root/path", "chroot", ".", closes=("root",)))
    return steps + root_identity(config, facts)


def listed(config: dict[str, Any]) -> set[str]:
    """Return the types of namespaces that the container does not share with the runtime."""
    return {entry["type"] for entry in (config.get("linux") or {}).get("namespaces") or ()}
