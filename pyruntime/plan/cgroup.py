"""The container's cgroup: made and opened before init exists, so that clone3 can start init inside it.

Source: runtime-spec config-linux.md "Control groups"; cgroups(7); clone(2) CLONE_INTO_CGROUP.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..spec.options import words
from ..step import HOST, Flags, Slot, Step
from . import extensions
from .cgroup_mounts import check_mounted
from .facts import Facts, levels_above
from .mounts import target_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POINTER = "/linux/cgroupsPath"
IN_USE = "another container or process uses it; delete that one or choose another cgroupsPath"
SYSTEMD_ENABLES = ("cpu", "cpuset", "io", "memory", "pids")
"""The controllers that systemd enables on the way to a scope that is delegated."""
THREADED = ("cpu", "cpuset", "perf_event", "pids")
"""Controllers that a cgroup of a threaded subtree can have; cgroup-v2.rst "Threads"."""


def cgroup_steps(facts: Facts) -> list[Step]:
    """Make the missing directories, refuse a cgroup in use (a container never shares one), and open it."""
    check_mounted(facts)
    *above, own = facts.cgroup_missing or [""]
    steps = [Step(HOST, POINTER, "make_parent_cgroup", f"{facts.cgroup_mount}{path}") for path in above]
    if own:
        steps.append(Step(HOST, POINTER, "make_cgroup", facts.cgroup_dir))
    steps.append(Step(HOST, POINTER, "open", facts.cgroup_dir, Flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"), into="cgroup"))
    # The lock keeps a create beside this one out until there is a process inside, which the check then sees.
    steps.append(Step(HOST, POINTER, "flock", Slot("cgroup"), Flags("LOCK_EX|LOCK_NB"), hint=IN_USE))
    if not own:
        steps.append(Step(HOST, POINTER, "check_cgroup_free", Slot("cgroup"), facts.cgroup_path, hint=IN_USE))
    # Only from here on is it the container's, and clean-up may kill what is in it.
    steps.append(Step(HOST, POINTER, "save_cgroup", Slot("container"), Slot("cgroup")))
    return steps


def controller_steps(needed: dict[str, str], facts: Facts) -> list[Step]:
    """Enable all controllers from the root of the mount down to the container's parent.

    needed: the controllers that limits ask for, each with its JSON pointer; one that can't be had is an error. The
    others are for statistics and for limits that come later, and are passed over where they can't be enabled. With the
    systemd driver these are the ones that systemd does not know.
    """
    for controller, pointer in needed.items():
        if controller not in facts.cgroup_controllers:
            has = ", ".join(facts.cgroup_controllers) or "none"
            raise InvalidConfig(
                f"the cgroup controller {controller} is not available in {facts.cgroup_mount} (there: {has})",
                pointer=pointer,
            )
    wanted = facts.cgroup_controllers
    if facts.systemd_unit:
        wanted = tuple(name for name in wanted if name not in SYSTEMD_ENABLES)
    steps = []
    domain = [name for name in needed if name not in THREADED]
    # The ones for whole domains first: what keeps them out is told, and nothing has become threaded yet.
    order = [*domain, *(name for name in needed if name in THREADED)]
    pointer = needed[order[0]] if order else ""
    for path in levels_above(facts.cgroup_path):
        shared = facts.cgroup_shared.get(path, ())
        missing = [name for name in wanted if name not in shared]
        if missing:
            directory, asked = f"{facts.cgroup_mount}{path}", [name for name in order if name in missing]
            steps.append(Step(HOST, pointer, "enable_controllers", directory, " ".join(missing), " ".join(asked)))
    first = domain[0] if domain else ""
    settle = Step(HOST, needed.get(first, POINTER), "settle_cgroup_type", Slot("cgroup"), facts.cgroup_path, first)
    return [*steps, settle]


def subgroup_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Move init below the scope, before it makes its cgroup namespace: that one is the container's root then."""
    return move_steps(config, facts, extensions.SUBGROUP, facts.subgroup) if facts.subgroup else []


def delegate_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Move init to a cgroup that is for the container to manage, once it has its cgroup namespace.

    The limits are of the cgroup above, and so hold for that one as well.
    """
    if not facts.delegated:
        return []
    return move_steps(config, facts, extensions.DELEGATE, f"{facts.subgroup}/{facts.delegated}".lstrip("/"))


def move_steps(config: dict[str, Any], facts: Facts, name: str, path: str) -> list[Step]:
    """Host: make a cgroup below the container's and move init there; it gets the controllers and the owner of that."""
    pointer = extensions.pointer_of(name)
    steps = [Step(HOST, pointer, "move_below", Slot("cgroup"), path, Slot("init_pid"), into="subgroup")]
    owner = owner_steps(config, facts, "subgroup")
    above = f"{facts.cgroup_dir}/{path}".rpartition("/")[0]
    steps.append(Step(HOST, pointer, "enable_controllers", above, " ".join(facts.cgroup_controllers), ""))
    return [*steps, *owner, Step(HOST, pointer, "close", Slot("subgroup"))]


def owner_steps(config: dict[str, Any], facts: Facts, slot: str = "cgroup") -> list[Step]:
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
    if not writable or "cgroup" not in facts.new_namespaces or "user" in facts.joined_namespaces:
        return []
    uid = ((config.get("process") or {}).get("user") or {}).get("uid", 0)
    if "user" in facts.new_namespaces:
        uid = host_id(uid, config["linux"].get("uidMappings") or ())
    # What root makes is root's already.
    if uid in (None, facts.euid):
        return []
    return [Step(HOST, "/process/user/uid", "chown_cgroup", Slot(slot), uid)]


def host_id(container_id: int, mappings: Any) -> int | None:
    """Return the host's id for one of the container; None when it is not mapped."""
    for entry in mappings:
        offset = container_id - entry["containerID"]
        if 0 <= offset < entry["size"]:
            return int(entry["hostID"] + offset)
    return None
