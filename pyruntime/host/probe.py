"""Reads from the kernel what a plan needs to know of the host.

It makes nothing, so `explain` uses it without privilege.
"""

from __future__ import annotations

import errno
import posix

from ..errors import Failure, InvalidConfig
from ..text import decode
from .data import NAMESPACE_FILES, Host, Namespaces, levels_above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNREADABLE = (
    errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO,
)  # fmt: skip
"""What files of /proc, /sys and cgroups say that are not there, or have nothing to say."""
CGROUP_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
"""Where cgroup2 is mounted: on unified hosts, and on hosts that keep version 1 beside it."""
BLOCK_DEVICES = "/sys/dev/block"
ALL_CAPABILITIES = (1 << 41) - 1, 40
"""What a process may grant, and the last one, where procfs does not say."""


class HostNamespaces:
    """Which namespaces that a config joins by path are not the container's alone, found out once, by device and inode.

    own: types whose path is the caller's own namespace: sharing it is what the config asks for. protected: these, and
    those whose path is the namespace of process 1. In neither may anything be changed on behalf of a container. What
    can't be looked at is in none: it is opened, and compared again, before it is joined (kernel.open_namespace).
    """

    __slots__ = ("own", "protected")

    own: frozenset[str]
    protected: frozenset[str]

    def __init__(self) -> None:
        self.own = self.protected = frozenset()

    def look(self, config: dict[str, Any]) -> frozenset[str]:
        """Look at the namespaces of a config whose form is right; return the protected ones."""
        own, protected = set(), set()
        for entry in (config.get("linux") or {}).get("namespaces") or ():
            kind = entry["type"]
            place = identity_of(entry["path"]) if entry.get("path") else None
            if place is None:
                continue
            name = NAMESPACE_FILES.get(kind, kind)
            if place == identity_of(f"/proc/self/ns/{name}"):
                own.add(kind)
                protected.add(kind)
            elif place == identity_of(f"/proc/1/ns/{name}"):
                protected.add(kind)
        self.own, self.protected = frozenset(own), frozenset(protected)
        return self.protected


def identity_of(path: str) -> tuple[int, int] | None:
    """Return device and inode of what a path leads to, None when it can't be looked at."""
    try:
        status = posix.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def namespaces(config: dict[str, Any], found: HostNamespaces | None = None) -> Namespaces:
    """Sort the config's namespaces into new ones and ones joined by path. found: which of these are the host's."""
    shared = found.own if found is not None else frozenset()
    new: set[str] = set()
    joined: dict[str, str] = {}
    for entry in (config.get("linux") or {}).get("namespaces") or ():
        if entry["type"] in shared:
            continue
        if entry.get("path"):
            joined[entry["type"]] = entry["path"]
        else:
            new.add(entry["type"])
    return Namespaces(new, joined, shared, found.protected if found is not None else frozenset())


def host(rootfs: str, listed: Namespaces, inner_sources: frozenset[int] = frozenset()) -> Host:
    """Return what this host is, for a root file system and namespaces that have been looked at."""
    bounding_caps, last_cap = capabilities()
    return Host(
        euid=posix.geteuid(),
        bounding_caps=bounding_caps,
        last_cap=last_cap,
        rootfs=rootfs,
        namespaces=listed,
        inner_sources=inner_sources,
    )


def find_rootfs(config: dict[str, Any], bundle: str) -> str:
    """Return the absolute path of the root file system; raise InvalidConfig when it is no directory."""
    path = config["root"]["path"]
    absolute = path if path.startswith("/") else f"{bundle}/{path}"
    try:
        mode = posix.stat(absolute).st_mode
    except OSError as error:
        raise InvalidConfig(f"root file system {absolute}", error, pointer="/root/path") from None
    if mode & 0o170000 != 0o040000:
        raise InvalidConfig(f"root file system {absolute} is not a directory", pointer="/root/path")
    return _real_path(absolute)


def _real_path(path: str) -> str:
    fd = posix.open(path, 0o10000000 | posix.O_CLOEXEC)  # O_PATH has no name in `posix`; its value is the ABI's
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


def inner_sources(rootfs: str, sources: dict[int, str]) -> frozenset[int]:
    """Return those sources of mounts, by index, that lead through the root file system, whatever links or missing names
    are on the way."""
    return frozenset(
        index for index, path in sources.items() if any(is_below(rootfs, above) for above in paths_above(path))
    )


def paths_above(path: str) -> list[str]:
    """Return a path and all those above it, from the top."""
    return [path[:end] for end in (*(i for i, char in enumerate(path) if char == "/" and i), len(path))]


def is_below(root: str, path: str) -> bool:
    """Whether a path leads to a directory or below it; one that can't be looked at does not."""
    try:
        return f"{_real_path(path)}/".startswith(f"{root}/")
    except OSError:
        return False


def capabilities() -> tuple[int, int]:
    """Return which capabilities this process may grant, as a bit mask, and the highest number that exists."""
    bounding, last = ALL_CAPABILITIES
    for line in read_text("/proc/self/status").split("\n"):
        if line.startswith("CapBnd:"):
            bounding = int(line[7:], 16)
            break
    text = read_text("/proc/sys/kernel/cap_last_cap")
    return bounding, int(text) if text else last


def cgroup_mount() -> tuple[str | None, tuple[str, ...]]:
    """Return where cgroup2 is mounted, None where it is not, and the controllers that it has."""
    for mount in CGROUP_MOUNTS:
        found = controllers(mount)
        if found is not None:
            return mount, found
    return None, ()


def controllers(mount: str) -> tuple[str, ...] | None:
    """Return the controllers of a mount of cgroup2, None for one that is none."""
    text = read_text(f"{mount}/cgroup.controllers", missing=None)
    return None if text is None else tuple(text.split())


def missing_cgroups(mount: str, path: str) -> list[str]:
    """Return the directories on the way to a cgroup that do not exist yet, top first. Raises InvalidConfig."""
    missing: list[str] = []
    while path:
        try:
            posix.stat(mount + path)
            break
        except FileNotFoundError:
            missing.insert(0, path)
            path = path[: path.rindex("/")]
        except OSError as error:
            raise InvalidConfig(f"cgroup {path}", error, pointer="/linux/cgroupsPath") from None
    return missing


def shared_controllers(mount: str | None, path: str, missing: list[str]) -> dict[str, tuple[str, ...]]:
    """Return which controllers the cgroups on the way to the container's pass on to their children."""
    return {
        above: tuple(read_text(f"{mount}{above}/cgroup.subtree_control").split())
        for above in levels_above(path)
        if above not in missing
    }


def lacks_block_device(major: Any, minor: Any) -> bool:
    """Whether the machine has no block device of those numbers; False where that can't be told (sysfs is not there)."""
    if type(major) is not int or type(minor) is not int:
        return False
    try:
        posix.stat(f"{BLOCK_DEVICES}/{major}:{minor}")
    except FileNotFoundError:
        try:
            return posix.stat(BLOCK_DEVICES).st_nlink > 0
        except OSError:
            return False
    except OSError:
        return False
    return False


def read_files(directory: str, names: list[str]) -> dict[str, str | None]:
    """Return the texts of files of a cgroup; None for one that is not there, or can't be read."""
    return {name: read_text(f"{directory}/{name}", missing=None) for name in names}


def read_text(path: str, missing: str | None = "") -> str | Any:
    """Return a small file's text, or `missing` when it is not there or has nothing to say to this process.

    Raises Failure when it can't be read for another reason: that no descriptor is left says nothing about the host.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return decode(posix.read(fd, 65536))
        finally:
            posix.close(fd)
    except OSError as error:
        if error.errno in UNREADABLE:
            return missing
        raise Failure(f"read {path}", error) from None
