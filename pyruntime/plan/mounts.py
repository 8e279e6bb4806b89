"""The config's mounts, made by descriptor: created detached, given their attributes, then attached below the root.

So no mount is ever visible without its attributes, and symbolic links can't redirect it (CVE-2021-30465).
Source: runtime-spec config.md "Mounts"; open_tree(2), fsopen(2), mount_setattr(2), move_mount(2).
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..spec.checks import BELOW_PROC
from ..spec.linux import clean
from ..step import HOST, INIT, Flags, Slot, Step
from . import cgroup_mounts, mount_options, old_mount
from .idmaps import is_idmapped, own_maps
from .namespaces import joins_pid, map_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host, Namespaces, Place
    from .mount_options import Attributes, MountOptions
    from .wishes import Wishes

    Parsed = list[tuple[dict[str, Any], MountOptions]]

CWD = Flags("AT_FDCWD")
ROOT = Slot("root")
NONE = Flags("")
ATTACH = Flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")
EMPTY = Flags("AT_EMPTY_PATH")
BELOW = Flags("AT_EMPTY_PATH|AT_RECURSIVE")
CLONE = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")
CLONE_ALL = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE")
READ_ONLY = Flags("MOUNT_ATTR_RDONLY")
SET_STRING = Flags("FSCONFIG_SET_STRING")
SET_FLAG = Flags("FSCONFIG_SET_FLAG")
CREATE = Flags("FSCONFIG_CMD_CREATE")
RECONFIGURE = Flags("FSCONFIG_CMD_RECONFIGURE")
REAL_DIRECTORY = ("proc", "sysfs")
IN_MEMORY = ("tmpfs", "ramfs")
"""File systems that are empty at first: if they are to be read-only, they become so after being filled."""
ABSENT = ("ENOENT", "ENOTDIR")
DROPPED_DATA = {"devpts": ("newinstance",)}
"""Options that the file system's own parser no longer accepts: every devpts is a new instance since Linux 4.7."""


def parse(config: dict[str, Any], host: Host, place: Place) -> Parsed:
    """Return the config's mounts with their parsed options, as the other functions here take them."""
    parsed = [(mount, mount_options.parse(mount.get("options") or ())) for mount in config.get("mounts") or ()]
    parsed = [(cgroup_mounts.resolved(mount, options, config, host, place), options) for mount, options in parsed]
    for mount, options in parsed:
        if is_filled(mount, options):
            options.put_off_read_only()
    return parsed


def host_mount_steps(parsed: Parsed, config: dict[str, Any], host: Host, wishes: Wishes) -> list[Step]:
    """Host, before clone3: open sources that only the host's root can open or map; init inherits the descriptors."""
    steps: list[Step] = []
    for index, (mount, options) in enumerate(parsed):
        if is_joined_procfs(mount, options, host):
            # A procfs shows its creator's pid namespace, and init, while it can mount, is outside of the joined one.
            steps.append(Step(HOST, f"/mounts/{index}/type", "fsopen_proc", Slot("ns_pid"), into=f"fs{index}"))
        if is_bind(mount, options) and opened_by_host(index, mount, options, host):
            steps += _clone_source(HOST, index, mount, options, wishes.bundle)
            steps.append(
                Step(
                    HOST, f"/mounts/{index}", "mount_setattr", Slot(f"mount{index}"), "", BELOW, 0, 0, Flags("MS_SLAVE")
                )
            )
            steps += _idmap(index, mount, options, config, host)
    return steps


def sources_for_host(config: dict[str, Any], listed: Namespaces, bundle: str) -> dict[int, str]:
    """Return the sources, by index, that the host would open before anything is mounted: for a user namespace, or to
    map owners. The prober finds out which of them lead through the root file system (Host.inner_sources)."""
    found = {}
    for index, mount in enumerate(config.get("mounts") or []):
        source, words = mount.get("source") or "", mount.get("options") or ()
        mapped = mount.get("uidMappings") or any("idmap" in word for word in words)
        if index and source and (listed.has_user or mapped) and is_bind(mount, mount_options.parse(words)):
            found[index] = source if source.startswith("/") else f"{bundle}/{source}"
    return found


def is_bind(mount: dict[str, Any], options: MountOptions) -> bool:
    return options.bind or mount.get("type") == "bind"


def is_joined_procfs(mount: dict[str, Any], options: MountOptions, host: Host) -> bool:
    """Return whether a mount is the procfs of a pid namespace that the container joins."""
    return mount.get("type") == "proc" and joins_pid(host) and not (options.bind or options.remount)


def opened_by_host(index: int, mount: dict[str, Any], options: MountOptions, host: Host) -> bool:
    """Return whether the host opens a source, because the container's root may be unable to reach it. Sources below the
    root file system are opened by init instead, in order: earlier mounts may cover what the host would find."""
    asks = bool(host.namespaces.has_user and host.euid == 0) or is_idmapped(mount, options)
    return asks and index not in host.inner_sources


def _idmap(index: int, mount: dict[str, Any], options: MountOptions, config: dict[str, Any], host: Host) -> list[Step]:
    """Map the owners of files by the mount's own mappings, else by those of the container's user namespace."""
    if not is_idmapped(mount, options):
        return []
    where = "uidMappings" if mount.get("uidMappings") else "options"
    pointer, userns = f"/mounts/{index}/{where}", f"userns{index}"
    steps: list[Step] = []
    own = own_maps(mount, options, config, f"/mounts/{index}")
    if own[0]:
        steps.append(Step(HOST, pointer, "idmap_userns", *own, into=userns))
    elif "user" in host.namespaces.new:
        steps.append(Step(HOST, pointer, "idmap_userns", *map_texts(config["linux"]), into=userns))
    else:
        userns = "ns_user"
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
    """Return lines to log: options without effect on a bind mount, because its file system already exists."""
    lines = []
    for index, (mount, options) in enumerate(parsed):
        if options.imposed_read_only:
            lines.append(f"the host's cgroups are mounted read-only [config.json#/mounts/{index}]")
        without = [key for key, _ in options.data] + [flag for flag in options.flags if flag != "ro"]
        if is_bind(mount, options) and without:
            names = ", ".join(without)
            lines.append(f"options without effect on a bind mount: {names} [config.json#/mounts/{index}/options]")
    return lines


def mount_steps(parsed: Parsed, config: dict[str, Any], host: Host, wishes: Wishes) -> list[Step]:
    """Init, below slot "root" and before the root is switched: make all mounts in the config's order."""
    steps: list[Step] = []
    for index, (mount, options) in enumerate(parsed):
        steps += one_mount(index, mount, options, config, host, wishes)
    if steps:
        steps.append(Step(INIT, "/mounts", "check_proc", ROOT))
    return steps


def one_mount(
    index: int, mount: dict[str, Any], options: MountOptions, config: dict[str, Any], host: Host, wishes: Wishes
) -> list[Step]:
    """Return the steps of one mount."""
    kind = mount.get("type") or ""
    if options.remount:
        return _remount(index, mount, options)
    check_words(index, mount, options)
    bind = is_bind(mount, options)
    if bind:
        steps = []
        if not opened_by_host(index, mount, options, host):
            steps = _clone_source(INIT, index, mount, options, wishes.bundle)
            mapping = _idmap(index, mount, options, config, host)
            # Only the host may map owners, so init sends it the mount, which is still detached.
            steps[-1].share = bool(mapping)
            steps += [*mapping, Step(HOST, "", "close", Slot(f"mount{index}"))] if mapping else []
        steps += _bind_attributes(index, options, host)
        if clean(target_of(mount)) == "/proc":
            steps.append(Step(INIT, f"/mounts/{index}", "check_procfs", Slot(f"mount{index}")))
    else:
        steps = _new_file_system(index, mount, options, kind, host)
        if options.tmpcopyup:
            steps.append(
                Step(INIT, f"/mounts/{index}/options", "copy_up", ROOT, target_of(mount), Slot(f"mount{index}"))
            )
        steps += _attributes(index, options.recursive_attributes, BELOW)
    return steps + _attach(index, mount, options, kind, bind)


def is_filled(mount: dict[str, Any], options: MountOptions) -> bool:
    """Return whether files will be created in a new mount: mount points, devices, files of hooks. This applies to file
    systems in memory and to the container's /dev."""
    new = not (options.remount or is_bind(mount, options) or mount.get("type") in cgroup_mounts.TYPES)
    return new and (mount.get("type") in IN_MEMORY or is_dev(mount))


def late_steps(parsed: Parsed) -> list[Step]:
    """Init, after the last file is created in the container's mounts: make the read-only ones so, as runc does."""
    return [
        Step(INIT, f"/mounts/{index}/options", "mount_setattr", Slot(slot), "", EMPTY, READ_ONLY, 0, 0, closes=(slot,))
        for index, (_, options) in enumerate(parsed)
        if options.late_read_only
        for slot in (f"mount{index}",)
    ]


def check_words(index: int, mount: dict[str, Any], options: MountOptions) -> None:
    """Raise InvalidConfig for options that this kind of mount would silently ignore."""
    bind = is_bind(mount, options)
    links = [word for word, name in mount_options.LINKS.items() if getattr(options, name)]
    if links and not bind:
        raise InvalidConfig(f"{links[0]} is for bind mounts only", pointer=f"/mounts/{index}/options")
    if options.copy_symlink and len(links) > 1:
        raise InvalidConfig(f"copy-symlink and {links[1]} exclude each other", pointer=f"/mounts/{index}/options")
    if options.tmpcopyup and mount.get("type") != "tmpfs":
        raise InvalidConfig("tmpcopyup is for tmpfs only", pointer=f"/mounts/{index}/options")


def target_of(mount: dict[str, Any]) -> str:
    """Return the absolute destination; a relative one is relative to the root (deprecated since 1.2)."""
    path: str = mount["destination"]
    path = path.rstrip("/") or "/"
    return path if path.startswith("/") else f"/{path}"


def _clone_source(side: str, index: int, mount: dict[str, Any], options: MountOptions, bundle: str) -> list[Step]:
    source = mount.get("source") or ""
    if not source:
        raise InvalidConfig("a bind mount needs a source", pointer=f"/mounts/{index}/source")
    if not source.startswith("/"):
        source = f"{bundle}/{source}"
    flags, pointer, into = CLONE_ALL if options.recursive else CLONE, f"/mounts/{index}/source", f"mount{index}"
    if options.src_nofollow:
        flags = Flags(f"{flags}|AT_SYMLINK_NOFOLLOW")
    if options.copy_symlink:
        # One of the two slots stays empty, so that the steps for the link, or those for the mount, are skipped.
        return [
            Step(side, pointer, "read_link", source, into=f"link{index}", ignore=("EINVAL",)),
            Step(side, pointer, "clone_unless_link", source, flags, into=into, ignore=("ELOOP",)),
        ]
    return [Step(side, pointer, "open_tree", CWD, source, flags, into=into)]


def _new_file_system(index: int, mount: dict[str, Any], options: MountOptions, kind: str, host: Host) -> list[Step]:
    pointer = f"/mounts/{index}"
    context = f"fs{index}"
    if not kind or kind == "none":
        raise InvalidConfig("a mount that is not a bind mount needs a type", pointer=f"{pointer}/type")
    data = [entry for entry in options.data if entry[0] not in DROPPED_DATA.get(kind, ())]
    data = old_mount.split_layers(kind, data)
    if old_mount.is_long(mount, data) and not is_joined_procfs(mount, options, host):
        return [
            *old_mount.steps(index, mount, options, data, kind),
            *_mode_of_covered(index, mount, data, "copy_mode", Slot(f"mount{index}")),
            *_attributes(index, options.attributes, EMPTY),
            *_identity(index, mount, options, host),
        ]
    steps = [Step(INIT, f"{pointer}/type", "fsopen", kind, Flags("FSOPEN_CLOEXEC"), into=context)]
    if is_joined_procfs(mount, options, host):
        steps = []

    def set_string(where: str, key: str, value: str) -> None:
        steps.append(Step(INIT, where, "fsconfig", Slot(context), SET_STRING, key, value, 0))

    if mount.get("source"):
        set_string(f"{pointer}/source", "source", mount["source"])
    steps += [
        Step(INIT, f"{pointer}/options", "fsconfig", Slot(context), SET_FLAG, flag, None, 0) for flag in options.flags
    ]
    for key, value in data:
        if value is None:
            steps.append(Step(INIT, f"{pointer}/options", "fsconfig", Slot(context), SET_FLAG, key, None, 0))
        else:
            set_string(f"{pointer}/options", key, mount_options.unquoted(key, value))
    steps += _mode_of_covered(index, mount, data, "set_mode_of", Slot(context))
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
    return steps + _identity(index, mount, options, host)


def _mode_of_covered(index: int, mount: dict[str, Any], data: old_mount.Data, call: str, new: Slot) -> list[Step]:
    """Give a tmpfs the mode of the directory that it covers, as other runtimes do: --tmpfs /root stays private."""
    if mount.get("type") != "tmpfs" or "mode" in dict(data):
        return []
    pointer, covered, path = f"/mounts/{index}", f"covered{index}", Flags("O_PATH|O_CLOEXEC")
    return [
        Step(INIT, pointer, "open_in_root", ROOT, target_of(mount), path, into=covered, ignore=ABSENT),
        Step(INIT, pointer, call, new, Slot(covered), closes=(covered,)),
    ]


def _identity(index: int, mount: dict[str, Any], options: MountOptions, host: Host) -> list[Step]:
    """Return the steps that identify a new mount before it is attached."""
    pointer, steps = f"/mounts/{index}", []
    if is_joined_procfs(mount, options, host):
        steps.append(Step(INIT, pointer, "check_procfs", Slot(f"mount{index}")))
    if is_dev(mount):
        steps.append(Step(INIT, pointer, "mount_id", Slot(f"mount{index}"), into=f"new_mount{index}"))
    return steps


def is_dev(mount: dict[str, Any]) -> bool:
    """Return whether a mount is meant to be the container's /dev; open_own_dev checks whether it really is."""
    return clean(target_of(mount)) == "/dev"


def new_devs(parsed: Parsed) -> list[Slot]:
    """Return the slots with the ids of new file systems that are meant to be /dev, for rootfs.device_steps."""
    return [
        Slot(f"new_mount{index}")
        for index, (mount, options) in enumerate(parsed)
        if is_dev(mount)
        and not (options.remount or is_bind(mount, options) or mount.get("type") in cgroup_mounts.TYPES)
    ]


def _bind_attributes(index: int, options: MountOptions, host: Host) -> list[Step]:
    """Set a bind mount's attributes: if any are given, they replace its source's, else it keeps those.

    runc and crun do the same: programs in a "bind,ro" of a noexec source can be executed. Attributes that are locked in
    a user namespace (mount_namespaces(7), "Restrictions on mount namespaces") are kept.
    """
    pointer, mount, steps = f"/mounts/{index}/options", Slot(f"mount{index}"), []
    for attributes, flags, others in (
        (options.attributes, EMPTY, options.attributes.others),
        (options.recursive_attributes, BELOW, ""),
    ):
        if attributes:
            to_set, to_clear, inherited = Flags(attributes.set), Flags(attributes.clear), Flags(others)
            arguments = (mount, flags, to_set, to_clear, inherited, host.namespaces.has_user)
            steps.append(Step(INIT, pointer, "set_bind_attributes", *arguments))
    return steps


def _attributes(index: int, attributes: Attributes, flags: Flags) -> list[Step]:
    if not attributes:
        return []
    pointer, mount = f"/mounts/{index}/options", Slot(f"mount{index}")
    changes = Flags(attributes.set), Flags(attributes.clear)
    return [Step(INIT, pointer, "mount_setattr", mount, "", flags, *changes, 0)]


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
    elif options.dest_nofollow:
        make = Step(INIT, f"{pointer}/destination", "open_link_mountpoint", ROOT, where, Slot(source), into=target)
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
    steps[-1].closes = (target,) if options.late_read_only else (source, target)
    if options.copy_symlink:
        steps.append(Step(INIT, f"{pointer}/destination", "make_same_symlink", ROOT, Slot(f"link{index}"), where))
    return steps


def _remount(index: int, mount: dict[str, Any], options: MountOptions) -> list[Step]:
    """Change the attributes of the mount at the destination, and with data also the options of its file system."""
    pointer = f"/mounts/{index}"
    path, picked, place = Flags("O_PATH|O_CLOEXEC"), f"fs{index}", Slot(f"mount{index}")
    steps = [Step(INIT, f"{pointer}/destination", "open_in_root", ROOT, target_of(mount), path, into=place.name)]
    changes = [(flag, None) for flag in options.flags if flag != "ro"] + options.data
    if changes and not options.bind:
        steps.append(Step(INIT, pointer, "fspick", place, "", Flags("FSPICK_EMPTY_PATH|FSPICK_CLOEXEC"), into=picked))
        for key, value in changes:
            command = SET_FLAG if value is None else SET_STRING
            value = value if value is None else mount_options.unquoted(key, value)
            steps.append(Step(INIT, f"{pointer}/options", "fsconfig", Slot(picked), command, key, value, 0))
        steps.append(
            Step(INIT, f"{pointer}/options", "fsconfig", Slot(picked), RECONFIGURE, None, None, 0, closes=(picked,))
        )
    steps += _attributes(index, options.attributes, EMPTY)
    steps += _attributes(index, options.recursive_attributes, BELOW)
    steps[-1].closes += (place.name,)
    return steps
