"""The container's cgroup: created and opened before init exists, so that clone3 can start init inside it.

Source: runtime-spec config-linux.md "Control groups"; cgroups(7); clone(2) CLONE_INTO_CGROUP.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..host.data import levels_above
from ..spec.options import words
from ..step import HOST, Flags, Slot, Step
from . import extensions
from .cgroup_mounts import check_mounted
from .mounts import target_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host, Place

POINTER = "/linux/cgroupsPath"
DEFAULT_PARENT = "/pyruntime"
IN_USE = "another container or process uses it; delete that one or choose another cgroupsPath"
SYSTEMD_ENABLES = ("cpu", "cpuset", "io", "memory", "pids")
"""The controllers that systemd enables for a delegated scope, from the root down."""
THREADED = ("cpu", "cpuset", "perf_event", "pids")
"""The controllers that are available in threaded subtrees; cgroup-v2.rst "Threads"."""


def locate(cgroups_path: str, container_id: str) -> str:
    """Return the cgroup's path below the cgroup mount for the cgroupfs driver, beginning with a slash.

    Raises InvalidConfig for a path that leads out of the mount (`..`), names its root, or is for the systemd driver.
    """
    path = cgroups_path or f"{DEFAULT_PARENT}/{container_id}"
    if path.count(":") == 2 and "/" not in path:
        raise InvalidConfig(
            f"cgroupsPath {path!r} has the systemd driver's form slice:prefix:name",
            pointer=POINTER,
            hint="give --systemd-cgroup, or a path",
        )
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidConfig(f"cgroupsPath {path!r} must not contain '..'", pointer=POINTER)
    if not parts:
        raise InvalidConfig(f"cgroupsPath {path!r} names no cgroup below the root", pointer=POINTER)
    return "/" + "/".join(parts)


def cgroup_steps(place: Place) -> list[Step]:
    """Create the missing directories, reject a cgroup in use (a container never shares one), and open it."""
    check_mounted(place)
    *above, own = place.missing or [""]
    steps = [Step(HOST, POINTER, "make_parent_cgroup", f"{place.mount}{path}") for path in above]
    if own:
        steps.append(Step(HOST, POINTER, "make_cgroup", place.directory))
    steps.append(Step(HOST, POINTER, "open", place.directory, Flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"), into="cgroup"))
    # The lock keeps concurrent creates out until there is a process inside, which their check then finds.
    steps.append(Step(HOST, POINTER, "flock", Slot("cgroup"), Flags("LOCK_EX|LOCK_NB"), hint=IN_USE))
    if not own:
        steps.append(Step(HOST, POINTER, "check_cgroup_free", Slot("cgroup"), place.path, hint=IN_USE))
    # Only from here on does the cgroup belong to the container, so that clean-up may kill its processes.
    steps.append(Step(HOST, POINTER, "save_cgroup", Slot("container"), Slot("cgroup")))
    return steps


def controller_steps(needed: dict[str, str], place: Place) -> list[Step]:
    """Enable all controllers from the root of the mount down to the container's parent.

    needed: the controllers that limits require, each with its JSON pointer; it is an error if one is not available.
    The others are for statistics and later limits, and are skipped where they can't be enabled. With the systemd
    driver these are the ones that systemd does not know.
    """
    for controller, pointer in needed.items():
        if controller not in place.controllers:
            has = ", ".join(place.controllers) or "none"
            raise InvalidConfig(
                f"the cgroup controller {controller} is not available in {place.mount} (available: {has})",
                pointer=pointer,
            )
    wanted = place.controllers
    if place.unit:
        wanted = tuple(name for name in wanted if name not in SYSTEMD_ENABLES)
    steps = []
    domain = [name for name in needed if name not in THREADED]
    # Domain controllers first: if they can't be enabled, the error says why, and nothing has become threaded yet.
    order = [*domain, *(name for name in needed if name in THREADED)]
    pointer = needed[order[0]] if order else ""
    for path in levels_above(place.path):
        shared = place.shared.get(path, ())
        missing = [name for name in wanted if name not in shared]
        if missing:
            directory, asked = f"{place.mount}{path}", [name for name in order if name in missing]
            steps.append(Step(HOST, pointer, "enable_controllers", directory, " ".join(missing), " ".join(asked)))
    first = domain[0] if domain else ""
    settle = Step(HOST, needed.get(first, POINTER), "settle_cgroup_type", Slot("cgroup"), place.path, first)
    return [*steps, settle]


def subgroup_steps(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """Move init below the scope, before it makes its cgroup namespace, whose root is then that cgroup."""
    return move_steps(config, host, place, extensions.SUBGROUP, place.subgroup) if place.subgroup else []


def delegate_steps(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """Move init to a cgroup that the container may manage, once it has its cgroup namespace.

    The limits are set on the parent cgroup, and so apply to this one as well.
    """
    if not place.delegated:
        return []
    return move_steps(config, host, place, extensions.DELEGATE, f"{place.subgroup}/{place.delegated}".lstrip("/"))


def move_steps(config: dict[str, Any], host: Host, place: Place, name: str, path: str) -> list[Step]:
    """Host: make a cgroup below the container's, with the same controllers and owner, and move init there."""
    pointer = extensions.pointer_of(name)
    steps = [Step(HOST, pointer, "move_below", Slot("cgroup"), path, Slot("init_pid"), into="subgroup")]
    owner = owner_steps(config, host, "subgroup")
    above = f"{place.directory}/{path}".rpartition("/")[0]
    steps.append(Step(HOST, pointer, "enable_controllers", above, " ".join(place.controllers), ""))
    return [*steps, *owner, Step(HOST, pointer, "close", Slot("subgroup"))]


def owner_steps(config: dict[str, Any], host: Host, slot: str = "cgroup") -> list[Step]:
    """Give the cgroup to the program's user, if the container has a cgroup namespace and may write there.

    Source: config-linux.md "Cgroup ownership". Does nothing for a user that the container's user namespace does not
    map, or when the namespace is a joined one, whose maps are unknown here.
    """
    writable = any(
        mount.get("source") == "cgroup"
        and target_of(mount) == "/sys/fs/cgroup"
        and "ro" not in words(mount.get("options"))
        for mount in config.get("mounts") or ()
    )
    if not writable or "cgroup" not in host.namespaces.new or "user" in host.namespaces.joined:
        return []
    uid = ((config.get("process") or {}).get("user") or {}).get("uid", 0)
    if "user" in host.namespaces.new:
        uid = host_id(uid, config["linux"].get("uidMappings") or ())
    # Files created by root belong to root already.
    if uid in (None, host.euid):
        return []
    return [Step(HOST, "/process/user/uid", "chown_cgroup", Slot(slot), uid)]


def host_id(container_id: int, mappings: Any) -> int | None:
    """Return the host's id for an id of the container; None when it is not mapped."""
    for entry in mappings:
        offset = container_id - entry["containerID"]
        if 0 <= offset < entry["size"]:
            return int(entry["hostID"] + offset)
    return None
