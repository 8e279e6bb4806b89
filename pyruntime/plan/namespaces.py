"""Namespaces: created by clone3 or later by unshare, or joined by path; their maps, offsets and loopback.

Source: runtime-spec config-linux.md "Namespaces", "User namespace mappings", "Offset for Time Namespace";
namespaces(7), user_namespaces(7), time_namespaces(7), cgroup_namespaces(7).
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..host.data import NAMESPACE_FILES
from ..spec.linux import escaped
from ..step import HOST, INIT, JOIN, Flags, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host, Place

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
"""Namespace type in config.json -> flag of clone(2)."""
MAPPINGS = ("uidMappings", "gidMappings")
JOIN_ORDER = ("network", "uts", "ipc", "cgroup", "time", "mount")
"""The mount namespace comes last, because it changes paths. joined_early: which ones precede the user namespace."""
EXEC_EARLY = ("network", "uts", "ipc", "cgroup", "time")
LATER = ("cgroup", "time")
"""Created by init itself. The root of a cgroup namespace is its creator's cgroup, which would be the runtime's with
clone3; the offsets of a time namespace can only be written while no process is in it. With a user namespace init also
creates the ipc namespace: its creator owns the file system of message queues, and init is root by then."""


def pointer_of(config: dict[str, Any], kind: str) -> str:
    """Return the JSON pointer to the namespace entry of a type."""
    for index, entry in enumerate(config["linux"].get("namespaces") or ()):
        if entry["type"] == kind:
            return f"/linux/namespaces/{index}"
    return "/linux/namespaces"


def open_steps(config: dict[str, Any], host: Host) -> list[Step]:
    """Open the namespaces that are joined by path, while the host's paths are visible.

    The config was checked assuming that they are not the host's, so the opened ones must not be either.
    """
    steps = []
    for kind, path in host.namespaces.joined.items():
        pointer, into = f"{pointer_of(config, kind)}/path", f"ns_{kind}"
        if kind in host.namespaces.host:
            if kind == "mount":
                raise InvalidConfig(
                    "the mount namespace of process 1 can't be joined: everything in it would get the container's root",
                    pointer=pointer,
                )
            steps.append(Step(HOST, pointer, "open", path, Flags("O_RDONLY|O_CLOEXEC"), into=into))
        else:
            steps.append(Step(HOST, pointer, "open_namespace", path, NAMESPACE_FILES.get(kind, kind), into=into))
    return steps


def _setns(side: str, config: dict[str, Any], kind: str, whose: str = "") -> Step:
    return Step(
        side,
        f"{pointer_of(config, kind)}/path",
        "setns",
        Slot(f"ns_{kind}"),
        Flags(FLAG[kind]),
        hint=f"the path must lead to a namespace of type {kind}{whose}",
    )


def joins_pid(host: Host) -> bool:
    """Return whether the container joins a pid namespace, where other processes may be able to trace it."""
    return "pid" in host.namespaces.joined


def enters_itself(host: Host) -> bool:
    """Return whether init creates and joins its namespaces itself, instead of being created in them.

    It joins the pid namespace with the host's rights, before it is confined to those of a user namespace, and must not
    be created in it (before_clone, clone_into_pid_namespace).
    """
    return joins_pid(host) and host.namespaces.has_user


def joined_early(host: Host) -> list[str]:
    """Return the types that are joined with the host's rights, before entering a user namespace.

    Another user namespace than the container's may own them (another container's network, a builder's): setns(2)
    requires CAP_SYS_ADMIN in the owner. The mount namespace is not among them: with the host's rights, nothing may be
    done in a foreign one. Nor is the cgroup namespace if init is yet to be cloned into its cgroup, which must be
    visible from its parent's (cgroup-v2.rst, "nsdelegate").
    """
    if not host.namespaces.has_user:
        return []
    late = ("mount",) if enters_itself(host) else ("mount", "cgroup")
    return [kind for kind in JOIN_ORDER if kind in host.namespaces.joined and kind not in late]


def before_clone(config: dict[str, Any], host: Host) -> list[Step]:
    """Join the namespaces in which a process with a user namespace must be cloned: the user namespace last.

    An intermediate process (JOIN) enters them, then calls clone3 with CLONE_PARENT: so the new namespaces belong to the
    joined user namespace, and the runtime itself keeps its own.
    """
    if enters_itself(host):
        return []
    kinds = joined_early(host)
    if "user" in host.namespaces.joined:
        kinds.append("user")
    return [_setns(JOIN, config, kind) for kind in kinds]


def new_flags(host: Host) -> list[str]:
    """Return the flags of the new namespaces that are created in one call."""
    later = (*LATER, "ipc") if host.namespaces.has_user else LATER
    return [flag for kind, flag in FLAG.items() if kind in host.namespaces.new and kind not in later]


def clone_step(config: dict[str, Any], host: Host, place: Place) -> Step:
    """Return the clone3 that creates init in its new namespaces, and in its cgroup if that exists already."""
    flags = [] if enters_itself(host) else new_flags(host)
    if before_clone(config, host):
        flags.append("CLONE_PARENT")
    return Step(
        HOST,
        "/linux/namespaces",
        "clone3",
        Flags("|".join(flags)),
        -1 if place.unit else Slot("cgroup"),
        into="init_pid",
    )


def entering_steps(config: dict[str, Any], host: Host) -> list[Step]:
    """Init: set its child's pid namespace, join others, then create or join the user namespace and the rest."""
    if not enters_itself(host):
        return []
    kinds = ["pid", *joined_early(host)]
    if "user" in host.namespaces.joined:
        kinds.append("user")
    steps = [_setns(INIT, config, kind) for kind in kinds]
    return [*steps, Step(INIT, "/linux/namespaces", "unshare", Flags("|".join(new_flags(host))))]


def pid_steps(config: dict[str, Any], host: Host) -> list[Step]:
    """Init, before it becomes the user: set the pid namespace of its child, unless already done."""
    return [_setns(INIT, config, "pid")] if joins_pid(host) and not enters_itself(host) else []


def last_clone_steps() -> list[Step]:
    """Init, when it has only the program's rights left: create the process that continues in the pid namespace.

    The change of user may have made the process dumpable, depending on fs.suid_dumpable (proc(5)).
    """
    return [
        Step(INIT, "", "set_dumpable", 0),
        Step(INIT, "", "clone_into_pid_namespace", Slot("channel"), into="host_pid"),
        Step(INIT, "", "set_pdeathsig", Flags("SIGKILL")),
        Step(INIT, "", "setsid"),
    ]


def after_clone(config: dict[str, Any], host: Host) -> list[Step]:
    """Host: write the maps of a new user namespace."""
    if "user" not in host.namespaces.new:
        return []
    return [
        Step(HOST, f"/linux/{key}", "write_proc_pid", Slot("init_pid"), name, text)
        for name, key, text in zip(("uid_map", "gid_map"), MAPPINGS, map_texts(config["linux"]), strict=True)
    ]


def map_texts(source: dict[str, Any]) -> list[str]:
    """Return the lines of uid_map and of gid_map (user_namespaces(7)) for an object that has both mappings."""
    return [
        "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in source.get(key) or ()) for key in MAPPINGS
    ]


def root_identity(config: dict[str, Any], host: Host) -> list[Step]:
    """Init: become root of its user namespace, or the first mapped id if 0 is not mapped."""
    if not host.namespaces.has_user:
        return []
    uid = gid = 0
    if "user" in host.namespaces.new:
        uid = _first_id(config["linux"].get("uidMappings") or ())
        gid = _first_id(config["linux"].get("gidMappings") or ())
    return [
        Step(INIT, "/linux/gidMappings", "setresgid", gid, gid, gid),
        Step(INIT, "/linux/uidMappings", "setresuid", uid, uid, uid),
    ]


def _first_id(mappings: Any) -> int:
    first = [int(m["containerID"]) for m in mappings]
    return 0 if not first or 0 in first else first[0]


def enter_steps(config: dict[str, Any], host: Host) -> list[Step]:
    """Init: join the namespaces given by path that it is not in yet, then create those that clone3 could not."""
    kinds = [kind for kind in JOIN_ORDER if kind in host.namespaces.joined and kind not in joined_early(host)]
    whose = " that belongs to the container's user namespace" if host.namespaces.has_user else ""
    steps = [_setns(INIT, config, kind, whose) for kind in kinds]
    for step in steps:
        step.closes = (step.args[0].name,)
    if "ipc" in host.namespaces.new and host.namespaces.has_user:
        steps.append(Step(INIT, pointer_of(config, "ipc"), "unshare", Flags("CLONE_NEWIPC")))
    if "cgroup" in host.namespaces.new:
        steps.append(Step(INIT, pointer_of(config, "cgroup"), "unshare", Flags("CLONE_NEWCGROUP")))
    if "time" in host.namespaces.new:
        steps += _time_steps(config)
    if "network" in host.namespaces.new:
        steps.append(Step(INIT, pointer_of(config, "network"), "link_up", "lo"))
    return steps


def _time_steps(config: dict[str, Any]) -> list[Step]:
    pointer = pointer_of(config, "time")
    steps = [Step(INIT, pointer, "unshare", Flags("CLONE_NEWTIME"))]
    offsets = config["linux"].get("timeOffsets") or {}
    text = "".join(f"{clock} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for clock, o in offsets.items())
    if text:
        steps.append(Step(HOST, "/linux/timeOffsets", "write_proc_pid", Slot("init_pid"), "timens_offsets", text))
    steps.append(
        Step(INIT, pointer, "open", "/proc/self/ns/time_for_children", Flags("O_RDONLY|O_CLOEXEC"), into="ns_time_made")
    )
    steps.append(Step(INIT, pointer, "setns", Slot("ns_time_made"), Flags("CLONE_NEWTIME"), closes=("ns_time_made",)))
    return steps


def net_device_steps(config: dict[str, Any], host: Host) -> list[Step]:
    """Host, after clone3: move the network devices into the container's network namespace, which init has or joins."""
    devices = (config.get("linux") or {}).get("netDevices") or {}
    if not devices:
        return []
    steps, namespace = [], "ns_network"
    if "network" in host.namespaces.new:
        namespace = "net_namespace"
        steps.append(Step(HOST, "/linux/netDevices", "open_proc_pid", Slot("init_pid"), "ns/net", into=namespace))
    for index, (name, device) in enumerate(devices.items()):
        pointer = f"/linux/netDevices/{escaped(name)}"
        wanted = (device or {}).get("name") or name
        steps.append(Step(HOST, pointer, "move_net_device", name, wanted, Slot(namespace), into=f"net_device{index}"))
    return steps


def exec_clone_step() -> Step:
    """Return the clone3 that creates the process that joins the container, in init's cgroup.

    It stays in the host's pid namespace: the container sees only the child that it creates at the end."""
    return Step(HOST, "", "clone3", Flags(""), Slot("cgroup"), into="init_pid")


def exec_join_steps(config: dict[str, Any], host: Host, init_pid: int) -> list[Step]:
    """Join all namespaces of the container's init; without a mount namespace, enter its root directory.

    The pid namespace applies only to the child (setns(2)), and is joined first, with the host's rights. With a user
    namespace, so are those that another one may own: joined_early. Slot "target" holds a pidfd of init.
    """
    kinds = listed(config)
    early = [flag for kind, flag in FLAG.items() if "user" in kinds and kind in kinds and kind in EXEC_EARLY]
    flags = [flag for kind, flag in FLAG.items() if kind in kinds and kind != "pid" and flag not in early]
    steps: list[Step] = []
    if "mount" not in kinds:
        root = Flags("O_PATH|O_DIRECTORY|O_CLOEXEC")
        steps.append(Step(INIT, "/root/path", "open", f"/proc/{init_pid}/root", root, into="root"))
    if "pid" in kinds:
        steps.append(Step(INIT, pointer_of(config, "pid"), "setns", Slot("target"), Flags("CLONE_NEWPID")))
    if early:
        steps.append(Step(INIT, "/linux/namespaces", "setns", Slot("target"), Flags("|".join(early))))
    if flags:
        steps.append(
            Step(INIT, "/linux/namespaces", "setns", Slot("target"), Flags("|".join(flags)), closes=("target",))
        )
    if "mount" not in kinds:
        steps.append(Step(INIT, "/root/path", "fchdir", Slot("root")))
        steps.append(Step(INIT, "/root/path", "chroot", ".", closes=("root",)))
    return steps + root_identity(config, host)


def listed(config: dict[str, Any]) -> set[str]:
    """Return the namespace types that the container does not share with the runtime."""
    return {entry["type"] for entry in (config.get("linux") or {}).get("namespaces") or ()}
