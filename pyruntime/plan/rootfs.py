"""The root file system: bound onto itself, with its devices and links, and the switch into it.

Source: runtime-spec config.md "Root", config-linux.md "Default Devices", "Dev symbolic links", "Rootfs Mount
Propagation"; pivot_root(2).
"""

from __future__ import annotations

from ..step import HOST, INIT, Flags, Octal, Slot, Step
from .cgroup import host_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host
    from .wishes import Wishes

CWD = Flags("AT_FDCWD")
ROOT = Slot("root")
DEV_ROOT = Slot("dev_root")
ATTACH = Flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")
EMPTY = Flags("AT_EMPTY_PATH")
READ_ONLY = Flags("MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NOEXEC")
CLONE_TREE = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE")
PROPAGATION = {"shared": "MS_SHARED", "slave": "MS_SLAVE", "private": "MS_PRIVATE", "unbindable": "MS_UNBINDABLE"}

DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
"""The devices of every container (config-linux.md "Default Devices"); mode 0666, owned by root."""
DEFAULT_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)


def has_mount_namespace(host: Host) -> bool:
    return "mount" in host.namespaces.new or "mount" in host.namespaces.joined


def bind_root(config: dict[str, Any], host: Host) -> list[Step]:
    """Make the rootfs a mount of its own, in a mount namespace that no longer propagates to the host's."""
    steps = []
    asked = (config.get("linux") or {}).get("rootfsPropagation") or ""
    if "mount" in host.namespaces.new:
        flag = PROPAGATION.get(asked.removeprefix("r"), "MS_SLAVE")
        if flag in ("MS_PRIVATE", "MS_UNBINDABLE"):
            # Unbindable mounts can't be bound into the container, and private ones cut volumes off from the host's
            # later mounts: the container's own root becomes either one only at the end (root_attributes).
            flag = "MS_SLAVE"
        steps.append(
            Step(
                INIT,
                "/linux/rootfsPropagation",
                "mount_setattr",
                CWD,
                "/",
                Flags("AT_RECURSIVE"),
                0,
                0,
                Flags(flag),
                hint="the runtime's own root must be a mount: before a chroot(1), do mount --bind DIR DIR",
            )
        )
        if flag == "MS_SHARED":
            # pivot_root(2) refuses a new root whose parent mount is shared.
            steps.append(Step(INIT, "/linux/rootfsPropagation", "make_parent_private", host.rootfs))
    attach = ROOT, "", CWD, host.rootfs, Flags("MOVE_MOUNT_F_EMPTY_PATH")
    return [
        *steps,
        Step(INIT, "/root/path", "open_tree", CWD, host.rootfs, CLONE_TREE, into="root"),
        *apart_steps(host),
        Step(INIT, "/root/path", "move_mount", *attach),
        # What is attached to a shared mount becomes shared.
        *apart_steps(host),
    ]


def apart_steps(host: Host) -> list[Step]:
    """Without a mount namespace: keep mounts below the root from propagating to the image's mount, where delete would
    not find them (mount_namespaces(7), "Shared subtrees")."""
    if has_mount_namespace(host):
        return []
    attributes = ROOT, "", Flags("AT_EMPTY_PATH|AT_RECURSIVE"), 0, 0, Flags("MS_PRIVATE")
    return [Step(INIT, "/root/path", "mount_setattr", *attributes)]


def device_steps(config: dict[str, Any], host: Host, new_devs: list[Slot]) -> list[Step]:
    """Make the default devices, the config's devices and the links of /dev, unless /dev itself is a bind mount.

    open_own_dev detects this from the mount on /dev; it then leaves slot "dev_root" empty, and the steps are skipped.
    new_devs: the ids of mounts that may be the container's own /dev.
    """
    steps = [Step(INIT, "", "open_own_dev", ROOT, *new_devs, into="dev_root", ignore=("EXDEV",))]
    make = _bind_device if host.namespaces.has_user else _make_device
    for number, (path, device) in enumerate(wanted_devices(config).items()):
        steps += make(number, path, device)
    # A file or directory of the image with the same name stays, as with runc.
    steps += [Step(INIT, "", "make_symlink", DEV_ROOT, to, path) for path, to in DEFAULT_LINKS]
    return [*steps, Step(INIT, "", "close", DEV_ROOT)]


def host_device_steps(config: dict[str, Any], host: Host) -> list[Step]:
    """Host, before clone3: make the nodes of linux.devices for a user namespace, in which mknod(2) is not permitted.

    Each has the requested mode and owner, and is on a file system that nobody else sees. The maps of a joined namespace
    are unknown here: its nodes belong to the host's root.
    """
    if not host.namespaces.has_user:
        return []
    linux, steps = config.get("linux") or {}, []
    for number, (path, device) in enumerate(wanted_devices(config).items()):
        pointer, kind, major, minor, mode, uid, gid = device
        if not pointer or kind == "p":
            continue
        owner = [host_id(id_, linux.get(key) or ()) for id_, key in ((uid, "uidMappings"), (gid, "gidMappings"))]
        node = (path, kind, major, minor, Octal(mode), *(id_ or 0 for id_ in owner))
        steps.append(Step(HOST, pointer, "make_device_node", *node, into=f"device{number}"))
    return steps


def wanted_devices(config: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the default devices and those of the config by path: pointer, kind, major, minor, mode, uid, gid.

    The pointer of a default device is "".
    """
    wanted: dict[str, tuple[Any, ...]] = {
        path: ("", "c", major, minor, 0o666, 0, 0) for path, major, minor in DEFAULT_DEVICES
    }
    for index, device in enumerate((config.get("linux") or {}).get("devices") or ()):
        wanted[device["path"]] = (
            f"/linux/devices/{index}",
            device["type"],
            device.get("major") or 0,
            device.get("minor") or 0,
            0o666 if device.get("fileMode") is None else device["fileMode"] & 0o7777,
            device.get("uid") or 0,
            device.get("gid") or 0,
        )
    return wanted


def covered(pointer: str) -> tuple[str, ...]:
    """Return the errnos that a device's step ignores: a mount of the config on a default device stays, but on one of
    linux.devices it is an error."""
    return () if pointer else ("EBUSY",)


def _make_device(_number: int, path: str, device: tuple[Any, ...]) -> list[Step]:
    pointer, kind, major, minor, mode, uid, gid = device
    node = (path, kind, major, minor, Octal(mode), uid, gid)
    return [Step(INIT, pointer, "make_device", DEV_ROOT, *node, ignore=covered(pointer))]


def _bind_device(number: int, path: str, device: tuple[Any, ...]) -> list[Step]:
    """In a user namespace, bind a node, because mknod(2) is not permitted: the host's own for a default device, the one
    made by host_device_steps for a device of the config. A fifo can be made directly."""
    pointer, kind, major, minor, *_ = device
    if kind == "p":
        return _make_device(number, path, device)
    source, target, node = f"device{number}", f"device_target{number}", (path, kind, major, minor)
    steps = [Step(INIT, pointer, "make_device_place", DEV_ROOT, *node, into=target, ignore=covered(pointer))]
    if not pointer:
        steps.append(Step(INIT, pointer, "open_device", Slot(target), *node, into=source))
    return [
        *steps,
        # The node is the host's: if its owner is mapped (0 to 0), the container's root could change mode and owner.
        Step(INIT, pointer, "mount_setattr", Slot(source), "", EMPTY, READ_ONLY, 0, 0),
        Step(INIT, pointer, "move_mount", Slot(source), "", Slot(target), "", ATTACH, closes=(target,)),
        Step(INIT, pointer, "close", Slot(source)),
    ]


def enter_root(host: Host, wishes: Wishes) -> list[Step]:
    """Switch to the rootfs: pivot_root, or MS_MOVE with --no-pivot, or only chroot without a mount namespace."""
    fchdir = Step(INIT, "/root/path", "fchdir", ROOT)
    if not has_mount_namespace(host):
        return [fchdir, Step(INIT, "/root/path", "chroot", "."), Step(INIT, "/root/path", "chdir", "/")]
    if wishes.no_pivot:
        return [
            # Without pivot_root the host's mounts stay below the new root; procfs and sysfs among them would undo the
            # container's masks, so unmount them first (related to CVE-2019-16884, in the --no-pivot path).
            Step(INIT, "/root/path", "enter_namespace_root", False),
            Step(INIT, "/root/path", "detach_host_procfs", host.rootfs),
            fchdir,
            Step(INIT, "/root/path", "mount", host.rootfs, "/", None, Flags("MS_MOVE"), None),
            Step(INIT, "/root/path", "chroot", "."),
            Step(INIT, "/root/path", "chdir", "/"),
        ]
    return [
        Step(INIT, "/root/path", "enter_namespace_root", True),
        Step(INIT, "/root/path", "open", "/", Flags("O_PATH|O_DIRECTORY|O_CLOEXEC"), into="old_root"),
        fchdir,
        Step(INIT, "/root/path", "pivot_root", ".", ".", hint="--no-pivot avoids it, for a root in an initramfs"),
        Step(INIT, "/root/path", "fchdir", Slot("old_root"), closes=("old_root",)),
        # Make the old root a slave first, so that the unmount does not propagate to the host.
        Step(INIT, "/root/path", "mount_setattr", CWD, ".", Flags("AT_RECURSIVE"), 0, 0, Flags("MS_SLAVE")),
        Step(INIT, "/root/path", "umount2", ".", Flags("MNT_DETACH")),
        Step(INIT, "/root/path", "chdir", "/"),
    ]


def root_attributes(config: dict[str, Any], host: Host) -> list[Step]:
    """Give the container's root its own propagation and make it read-only, when the config says so."""
    steps = []
    asked = (config.get("linux") or {}).get("rootfsPropagation") or ""
    if asked and has_mount_namespace(host):
        kind = asked.removeprefix("r")
        flags = Flags("AT_RECURSIVE") if asked.startswith("r") else Flags("")
        pointer = "/linux/rootfsPropagation"
        steps.append(Step(INIT, pointer, "mount_setattr", CWD, "/", flags, 0, 0, Flags(PROPAGATION[kind])))
    if (config.get("root") or {}).get("readonly"):
        steps.append(
            Step(INIT, "/root/readonly", "mount_setattr", CWD, "/", Flags(""), Flags("MOUNT_ATTR_RDONLY"), 0, 0)
        )
    return steps
