"""The container's cgroup: made and opened before init exists, so that clone3 can start init inside it.

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
"""The controllers that systemd enables on the way to a scope that is delegated."""
THREADED = ("cpu", "cpuset", "perf_event", "pids")
"""Controllers that a cgroup of a threaded subtree can have; cgroup-v2.rst "Threads"."""


def locate(cgroups_path: str, container_id: str) -> str:
    """Return the path below the cgroup mount that a config asks of the cgroupfs driver, beginning with a slash.

    Raises InvalidConfig for one that leads out of it (`..`), names its root, or is the systemd driver's.
    """
    path = cgroups_path or f"{DEFAULT_PARENT}/{container_id}"
    if path.count(":") == 2 and "/" not in path:
        raise InvalidConfig(
            f"cgroupsPath {path!r} is the systemd driver's slice:prefix:name",
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
    """Make the missing directories, refuse a cgroup in use (a container never shares one), and open it."""
    check_mounted(place)
    *above, own = place.missing or [""]
    steps = [Step(HOST, POINTER, "make_parent_cgroup", f"{place.mount}{path}") for path in above]
    if own:
        steps.append(Step(HOST, POINTER, "make_cgroup", place.directory))
    steps.append(Step(HOST, POINTER, "open", place.directory, Flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"), into="cgroup"))
    # The lock keeps a create beside this one out until there is a process inside, which the check then sees.
    steps.append(Step(HOST, POINTER, "flock", Slot("cgroup"), Flags("LOCK_EX|LOCK_NB"), hint=IN_USE))
    if not own:
        steps.append(Step(HOST, POINTER, "check_cgroup_free", Slot("cgroup"), place.path, hint=IN_USE))
    # Only from here on is it the container's, and clean-up may kill what is in it.
    steps.append(Step(HOST, POINTER, "save_cgroup", Slot("container"), Slot("cgroup")))
    return steps


def controller_steps(needed: dict[str, str], place: Place) -> list[Step]:
    """Enable all controllers from the root of the mount down to the container's parent.

    needed: the controllers that limits ask for, each with its JSON pointer; one that can't be had is an error. The
    others are for statistics and for limits that come later, and are passed over where they can't be enabled. With the
    systemd driver these are the ones that systemd does not know.
    """
    for controller, pointer in needed.items():
        if controller not in place.controllers:
            has = ", ".join(place.controllers) or "none"
            raise InvalidConfig(
                f"the cgroup controller {controller} is not available in {place.mount} (there: {has})", pointer=pointer
            )
    wanted = place.controllers
    if place.unit:
        wanted = tuple(name for name in wanted if name not in SYSTEMD_ENABLES)
    steps = []
    domain = [name for name in needed if name not in THREADED]
    # The ones for whole domains first: what keeps them out is told, and nothing has become threaded yet.
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
    """Move init below the scope, before it makes its cgroup namespace: that one is the container's root then."""
    return move_steps(config, host, place, extensions.SUBGROUP, place.subgroup) if place.subgroup else []


def delegate_steps(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """Move init to a cgroup that is for the container to manage, once it has its cgroup namespace.

    The limits are of the cgroup above, and so hold for that one as well.
    """
    if not place.delegated:
        return []
    return move_steps(config, host, place, extensions.DELEGATE, f"{place.subgroup}/{place.delegated}".lstrip("/"))


def move_steps(config: dict[str, Any], host: Host, place: Place, name: str, path: str) -> list[Step]:
    """Host: make a cgroup below the container's and move init there; it gets the controllers and the owner of that."""
    pointer = extensions.pointer_of(name)
    steps = [Step(HOST, pointer, "move_below", Slot("cgroup"), path, Slot("init_pid"), into="subgroup")]
    owner = owner_steps(config, host, "subgroup")
    above = f"{place.directory}/{path}".rpartition("/")[0]
    steps.append(Step(HOST, pointer, "enable_controllers", above, " ".join(place.controllers), ""))
    return [*steps, *owner, Step(HOST, pointer, "close", Slot("subgroup"))]


def owner_steps(config: dict[str, Any], host: Host, slot: str = "cgroup") -> list[Step]:
    """Give the cgroup to the user of the program, when it has the cgroup to itself and may write there.

    Source: config-linux.md "Cgroup ownership". A user that the container's user namespace does not map, or one of a
    namespace that was made by somebody else, whose maps are unknown here, gets nothing.
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
    # What root makes is root's already.
    if uid in (None, host.euid):
        return []
    return [Step(HOST, "/process/user/uid", "chown_cgroup", Slot(slot), uid)]


def host_id(container_id: int, mappings: Any) -> int | None:
    """Return the host's id for one of the container; None when it is not mapped."""
    for entry in mappings:
        offset = container_id - entry["containerID"]
        if 0 <= offset < entry["size"]:
            return int(entry["hostID"] + offset)
    return None
