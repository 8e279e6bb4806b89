"""The config's mounts, each by descriptors: made detached, given its attributes, then attached below the root.

So no mount is ever visible without its attributes, and no symbolic link decides where it goes (CVE-2021-30465).
Source: runtime-spec config.md "Mounts"; open_tree(2), fsopen(2), mount_setattr(2), move_mount(2).
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..spec.checks import BELOW_PROC
from ..spec.linux import clean
from ..step import HOST, INIT, Flags, Slot, Step
from . import cgroup_mounts, mount_options
from .facts import Facts
from .namespaces import joins_pid, map_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mount_options import Attributes, MountOptions

    Parsed = list[tuple[dict[str, Any], MountOptions]]

CWD = Flags("AT_FDCWD")
ROOT = Slot("root")
NONE = Flags("")
ATTACH = Flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")
EMPTY = Flags("AT_EMPTY_PATH")
BELOW = Flags("AT_EMPTY_PATH|AT_RECURSIVE")
CLONE = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")
CLONE_ALL = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE")
SET_STRING = Flags("FSCONFIG_SET_STRING")
SET_FLAG = Flags("FSCONFIG_SET_FLAG")
CREATE = Flags("FSCONFIG_CMD_CREATE")
REAL_DIRECTORY = ("proc", "sysfs")
ABSENT = ("ENOENT", "ENOTDIR")
DROPPED_DATA = {"devpts": ("newinstance",)}
"""Words that the file system's own parser no longer wants: every devpts is a new instance since Linux 4.7."""


def parse(config: dict[str, Any], facts: Facts) -> Parsed:
    """Return the config's mounts, each with its options; all the functions here want them so."""
    parsed = [(mount, mount_options.parse(mount.get("options") or ())) for mount in config.get("mounts") or ()]
    return [(cgroup_mounts.resolved(mount, options, config, facts), options) for mount, options in parsed]


def host_mount_steps(parsed: Parsed, config: dict[str, Any], facts: Facts) -> list[Step]:
    """Host, before clone3: sources that only the host's root can open or map; init inherits the descriptors."""
    steps: list[Step] = []
    for index, (mount, options) in enumerate(parsed):
        if is_procfs_of_others(mount, options, facts):
            # Init is outside of the joined pid namespace as long as it can mount, and a procfs is of its maker's.
            steps.append(Step(HOST, f"/mounts/{index}/type", "fsopen_proc", Slot("ns_pid"), into=f"fs{index}"))
        if is_bind(mount, options) and opened_by_host(index, mount, facts):
            steps += _clone_source(HOST, index, mount, options, facts)
            steps.append(
                Step(
                    HOST, f"/mounts/{index}", "mount_setattr", Slot(f"mount{index}"), "", BELOW, 0, 0, Flags("MS_SLAVE")
                )
            )
            steps += _idmap(index, mount, options, config, facts)
    return steps


def is_bind(mount: dict[str, Any], options: MountOptions) -> bool:
    return options.bind or mount.get("type") == "bind"


def is_procfs_of_others(mount: dict[str, Any], options: MountOptions, facts: Facts) -> bool:
    """Whether it is the procfs of a pid namespace that the container joins."""
    return mount.get("type") == "proc" and joins_pid(facts) and not (options.bind or options.remount)


def opened_by_host(index: int, mount: dict[str, Any], facts: Facts) -> bool:
    """The container's root may not reach a source by its path. What lies below the root file system it may, and that is
    opened when its turn comes: the host's is not the same once something is mounted on the way."""
    host = bool(facts.has_userns and facts.euid == 0) or bool(mount.get("uidMappings"))
    return host and index not in facts.inner_sources


def _idmap(
    index: int, mount: dict[str, Any], options: MountOptions, config: dict[str, Any], facts: Facts
) -> list[Step]:
    """Map the owners of the files: by the mount's own mappings, else by those of the container's user namespace."""
    if not (mount.get("uidMappings") or options.idmap or options.ridmap):
        return []
    pointer, userns = f"/mounts/{index}/uidMappings", f"userns{index}"
    steps: list[Step] = []
    if mount.get("uidMappings"):
        steps.append(Step(HOST, pointer, "idmap_userns", *map_texts(mount), into=userns))
    elif "user" in facts.new_namespaces:
        pointer = f"/mounts/{index}/options"
        steps.append(Step(HOST, pointer, "idmap_userns", *map_texts(config["linux"]), into=userns))
    else:
        pointer, userns = f"/mounts/{index}/options", "ns_user"
    steps.append(
        Step(
            HOST,
            pointer,
            "mount_setattr",
            Slot(f"mount{index}"),
            "",
            BELOW if options.ridmap else EMPTY,
            Flags("MOUNT_ATTR_IDMAP"),
            0,
            0,
            Slot(userns),
            closes=() if userns == "ns_user" else (userns,),
            hint="the source's file system may not support idmapped mounts",
        )
    )
    return steps


def warnings(parsed: Parsed) -> list[str]:
    """Return lines to log: options that no bind mount can have, because its file system has been made already."""
    lines = []
    for index, (mount, options) in enumerate(parsed):
        if is_bind(mount, options) and options.data:
            names = ", ".join(key for key, _ in options.data)
            lines.append(f"options without effect on a bind mount: {names} [config.json#/mounts/{index}/options]")
    return lines


def mount_steps(parsed: Parsed, config: dict[str, Any], facts: Facts) -> list[Step]:
    """Init, below slot "root" and before the root is switched: all mounts in the config's order."""
    steps: list[Step] = []
    for index, (mount, options) in enumerate(parsed):
        steps += one_mount(index, mount, options, config, facts)
    if steps:
        steps.append(Step(INIT, "/mounts", "check_proc", ROOT))
    return steps


def one_mount(
    index: int, mount: dict[str, Any], options: MountOptions, config: dict[str, Any], facts: Facts
) -> list[Step]:
    """Return the steps of one mount."""
    kind = mount.get("type") or ""
    if options.remount:
        return _remount(index, mount, options)
    bind = is_bind(mount, options)
    if bind:
        steps = []
        if not opened_by_host(index, mount, facts):
            steps = _clone_source(INIT, index, mount, options, facts)
            mapping = _idmap(index, mount, options, config, facts)
            # Only the host may map owners, so init hands it the mount, which is still attached nowhere.
            steps[-1].share = bool(mapping)
            steps += [*mapping, Step(HOST, "", "close", Slot(f"mount{index}"))] if mapping else []
        steps += _drop_inherited(index, options.attributes)
        steps += _attributes(index, options.attributes, EMPTY)
        if clean(target_of(mount)) == "/proc":
            steps.append(Step(INIT, f"/mounts/{index}", "check_procfs", Slot(f"mount{index}")))
    else:
        steps = _new_file_system(index, mount, options, kind, facts)
        if options.tmpcopyup:
            steps.append(
                Step(INIT, f"/mounts/{index}/options", "copy_up", ROOT, target_of(mount), Slot(f"mount{index}"))
            )
    steps += _attributes(index, options.recursive_attributes, BELOW)
    return steps + _attach(index, mount, options, kind, bind)


def target_of(mount: dict[str, Any]) -> str:
    """Return the destination; a relative one is relative to the root (deprecated since 1.2)."""
    path: str = mount["destination"]
    path = path.rstrip("/") or "/"
    return path if path.startswith("/") else f"/{path}"


def _clone_source(side: str, index: int, mount: dict[str, Any], options: MountOptions, facts: Facts) -> list[Step]:
    source = mount.get("source") or ""
    if not source:
        raise InvalidConfig("a bind mount needs a source", pointer=f"/mounts/{index}/source")
    if not source.startswith("/"):
        source = f"{facts.bundle}/{source}"
    flags = CLONE_ALL if options.recursive else CLONE
    return [Step(side, f"/mounts/{index}/source", "open_tree", CWD, source, flags, into=f"mount{index}")]


def _new_file_system(index: int, mount: dict[str, Any], options: MountOptions, kind: str, facts: Facts) -> list[Step]:
    pointer = f"/mounts/{index}"
    context = f"fs{index}"
    if not kind or kind == "none":
        raise InvalidConfig("a mount that is no bind needs a type", pointer=f"{pointer}/type")
    steps = [Step(INIT, f"{pointer}/type", "fsopen", kind, Flags("FSOPEN_CLOEXEC"), into=context)]
    if is_procfs_of_others(mount, options, facts):
        steps = []

    def set_string(where: str, key: str, value: str) -> None:
        steps.append(Step(INIT, where, "fsconfig", Slot(context), SET_STRING, key, value, 0))

    if mount.get("source"):
        set_string(f"{pointer}/source", "source", mount["source"])
    steps += [
        Step(INIT, f"{pointer}/options", "fsconfig", Slot(context), SET_FLAG, flag, None, 0) for flag in options.flags
    ]
    for key, value in options.data:
        if key in DROPPED_DATA.get(kind, ()):
            continue
        if value is None:
            steps.append(Step(INIT, f"{pointer}/options", "fsconfig", Slot(context), SET_FLAG, key, None, 0))
        else:
            set_string(f"{pointer}/options", key, value)
    if kind == "tmpfs" and "mode" not in dict(options.data):
        # It takes the mode of the directory that it covers, as the field's runtimes do: --tmpfs /root stays shut.
        covered, path = f"covered{index}", Flags("O_PATH|O_CLOEXEC")
        steps += [
            Step(INIT, pointer, "open_in_root", ROOT, target_of(mount), path, into=covered, ignore=ABSENT),
            Step(INIT, pointer, "set_mode_of", Slot(context), Slot(covered), closes=(covered,)),
        ]
    attributes = Flags(options.attributes.set)
    steps.append(Step(INIT, pointer, "fsconfig", Slot(context), CREATE, None, None, 0))
    steps.append(
        Step(
            INIT,
            pointer,
            "fsmount",
            Slot(context),
            Flags("FSMOUNT_CLOEXEC"),
            attributes,
            into=f"mount{index}",
            closes=(context,),
        )
    )
    if is_procfs_of_others(mount, options, facts):
        steps.append(Step(INIT, pointer, "check_procfs", Slot(f"mount{index}")))
    if is_dev(mount):
        steps.append(Step(INIT, pointer, "mount_id", Slot(f"mount{index}"), into=f"new_mount{index}"))
    return steps


def is_dev(mount: dict[str, Any]) -> bool:
    """Whether a mount is meant to be the container's /dev; whether it is, the kernel says (open_own_dev)."""
    return clean(target_of(mount)) == "/dev"


def new_devs(parsed: Parsed) -> list[Slot]:
    """Return the slots with the ids of new file systems that are meant to be /dev; for rootfs.device_steps."""
    return [
        Slot(f"new_mount{index}")
        for index, (mount, options) in enumerate(parsed)
        if is_dev(mount)
        and not (options.remount or is_bind(mount, options) or mount.get("type") in cgroup_mounts.TYPES)
    ]


def _drop_inherited(index: int, attributes: Attributes) -> list[Step]:
    """A bind mount whose attributes are chosen has only these, not its source's; with none chosen it keeps those.

    runc and crun do the same: "bind,ro" of a noexec source may be executed from. What is locked for a user namespace
    (mount_namespaces(7)) stays.
    """
    inherited = attributes.others
    return [_set_attributes(index, EMPTY, "", inherited, ignore=("EPERM",))] if inherited else []


def _attributes(index: int, attributes: Attributes, flags: Flags) -> list[Step]:
    return [_set_attributes(index, flags, attributes.set, attributes.clear)] if attributes else []


def _set_attributes(index: int, flags: Flags, to_set: str, to_clear: str, ignore: tuple[str, ...] = ()) -> Step:
    pointer, mount = f"/mounts/{index}/options", Slot(f"mount{index}")
    return Step(INIT, pointer, "mount_setattr", mount, "", flags, Flags(to_set), Flags(to_clear), 0, ignore=ignore)


def _attach(index: int, mount: dict[str, Any], options: MountOptions, kind: str, bind: bool) -> list[Step]:
    pointer = f"/mounts/{index}"
    source, target = f"mount{index}", f"target{index}"
    where = target_of(mount)
    if kind in REAL_DIRECTORY:
        make = Step(
            INIT,
            f"{pointer}/destination",
            "make_real_directory",
            ROOT,
            where,
            into=target,
            hint=f"{kind} is mounted only on a real directory of the image",
        )
    else:
        arguments: list[Any] = [Slot(source) if bind else None]
        if clean(where) in BELOW_PROC:
            arguments.append(clean(where).removeprefix("/proc/"))
        make = Step(INIT, f"{pointer}/destination", "make_mountpoint", ROOT, where, *arguments, into=target)
    what = f"mounting {mount.get('source') or kind} on {where}"
    steps = [make, Step(INIT, pointer, "move_mount", Slot(source), "", Slot(target), "", ATTACH, hint=what)]
    for name, recursive in options.propagation:
        flags = BELOW if recursive else EMPTY
        steps.append(Step(INIT, f"{pointer}/options", "mount_setattr", Slot(source), "", flags, 0, 0, Flags(name)))
    steps[-1].closes = (source, target)
    return steps


def _remount(index: int, mount: dict[str, Any], options: MountOptions) -> list[Step]:
    """Change the attributes of what is mounted at the destination."""
    pointer = f"/mounts/{index}"
    path = Flags("O_PATH|O_CLOEXEC")
    steps = [Step(INIT, f"{pointer}/destination", "open_in_root", ROOT, target_of(mount), path, into=f"mount{index}")]
    steps += _attributes(index, options.attributes, EMPTY)
    steps += _attributes(index, options.recursive_attributes, BELOW)
    steps[-1].closes = (f"mount{index}",)
    return steps
