"""Reads from the kernel what a plan needs to know about the host.

It changes nothing, so `explain` can use it without privilege.
"""

from __future__ import annotations

import errno
import posix

from .. import files, observer
from ..errors import Failure, InvalidConfig
from ..text import decode
from .data import NAMESPACE_FILES, Host, Namespaces, levels_above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNREADABLE = (
    errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO,
)  # fmt: skip
"""Errors from files of /proc, /sys and cgroups that are missing or have no content for this process."""
CGROUP_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
"""Where cgroup2 is mounted: on unified hosts, and on hosts that keep version 1 beside it."""
BLOCK_DEVICES = "/sys/dev/block"
STATUS = "/proc/self/status"
LAST_CAP = "/proc/sys/kernel/cap_last_cap"


class HostNamespaces:
    """The host's namespaces among those that a config joins by path, identified once, by device and inode.

    own: types whose path is the caller's own namespace: the config asks to share it. protected: these, and those whose
    path is the namespace of process 1. A container must change nothing in either. A path that can't be examined is in
    neither: it is opened, and compared again, before it is joined (kernel.open_namespace).
    """

    __slots__ = ("own", "protected")

    own: frozenset[str]
    protected: frozenset[str]

    def __init__(self) -> None:
        self.own = self.protected = frozenset()

    def look(self, config: dict[str, Any]) -> frozenset[str]:
        """Examine the namespaces of a config that is valid by the schema; return the protected ones."""
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
    """Return the device and inode that a path leads to, None when it can't be examined."""
    try:
        status = posix.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def namespaces(config: dict[str, Any], found: HostNamespaces | None = None) -> Namespaces:
    """Sort the config's namespaces into new and joined ones. found: which of the joined ones are the host's."""
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


@observer.phase
def host(rootfs: str, listed: Namespaces, inner_sources: frozenset[int] = frozenset()) -> Host:
    """Probe the host for a root file system and namespaces that have been examined already."""
    bounding_caps, last_cap = capabilities()
    return Host(
        euid=posix.geteuid(),
        bounding_caps=bounding_caps,
        last_cap=last_cap,
        rootfs=rootfs,
        namespaces=listed,
        inner_sources=inner_sources,
    )


@observer.phase
def find_rootfs(config: dict[str, Any], bundle: str) -> str:
    """Return the absolute path of the root file system; raise InvalidConfig when it is not a directory."""
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
    """Return the indices of the mount sources that lead through the root file system, even by symbolic links or past
    missing components."""
    return frozenset(
        index for index, path in sources.items() if any(is_below(rootfs, above) for above in paths_above(path))
    )


def paths_above(path: str) -> list[str]:
    """Return a path and its ancestors, from the top."""
    return [path[:end] for end in (*(i for i, char in enumerate(path) if char == "/" and i), len(path))]


def is_below(root: str, path: str) -> bool:
    """Return whether a path leads to a directory or below it; False for a path that can't be examined."""
    try:
        return f"{_real_path(path)}/".startswith(f"{root}/")
    except OSError:
        return False


def capabilities() -> tuple[int, int]:
    """Return the capabilities that this process may grant, as a bit mask, and the highest one that exists.

    Raises Failure without procfs: nobody else knows, and a guess would be granted.
    """
    _, found, rest = read_text(STATUS).partition("\nCapBnd:")
    last = read_text(LAST_CAP)
    if not (found and last):
        raise Failure(f"{LAST_CAP if found else STATUS} does not list capabilities", hint="is procfs mounted on /proc?")
    return int(rest.split(None, 1)[0], 16), int(last)


def cgroup_mount() -> tuple[str | None, tuple[str, ...]]:
    """Return where cgroup2 is mounted (None when it is not) and the controllers that it has."""
    for mount in CGROUP_MOUNTS:
        found = controllers(mount)
        if found is not None:
            return mount, found
    return None, ()


def controllers(mount: str) -> tuple[str, ...] | None:
    """Return the controllers of a cgroup2 mount, None when cgroup2 is not mounted there."""
    text = read_text(f"{mount}/cgroup.controllers", missing=None)
    return None if text is None else tuple(text.split())


def missing_cgroups(mount: str, path: str) -> list[str]:
    """Return the directories of a cgroup's path that do not exist yet, top first. Raises InvalidConfig."""
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
    """Return the controllers that each ancestor of the container's cgroup enables for its children."""
    return {
        above: tuple(read_text(f"{mount}{above}/cgroup.subtree_control").split())
        for above in levels_above(path)
        if above not in missing
    }


def lacks_block_device(major: Any, minor: Any) -> bool:
    """Return whether the machine lacks a block device with these numbers; False if unknown (sysfs is not mounted)."""
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
    """Return the contents of files of a cgroup; None for one that is missing or can't be read."""
    return {name: read_text(f"{directory}/{name}", missing=None) for name in names}


def read_text(path: str, missing: str | None = "") -> str | Any:
    """Return a small file's text, or `missing` when it does not exist or has no content for this process.

    Raises Failure when it can't be read for another reason: running out of descriptors says nothing about the host.
    """
    try:
        return decode(files.read_head(path))
    except OSError as error:
        if error.errno in UNREADABLE:
            return missing
        raise Failure(f"read {path}", error) from None
