"""What a plan needs to know of the host and of the command line; the only module of `plan` that probes.

It reads files and makes nothing, so `explain` uses it without privilege.
"""

from __future__ import annotations

import errno
import posix

from ..errors import Failure, InvalidConfig
from ..text import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNREADABLE = (
    errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO,
)  # fmt: skip
"""What files of /proc, /sys and cgroups say that are not there, or have nothing to say."""
CGROUP_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
"""Where cgroup2 is mounted: on unified hosts, and on hosts that keep version 1 beside it."""
DEFAULT_CGROUP_PARENT = "/pyruntime"
BLOCK_DEVICES = "/sys/dev/block"
NAMESPACE_FILES = {"mount": "mnt", "network": "net"}
"""Names below /proc/PID/ns where they are not what config.json calls the type (namespaces(7))."""


class Facts:
    """The host's and the command line's side of a plan.

    bundle, rootfs: absolute paths. cgroup_mount: where cgroup2 is mounted, None when it is not. cgroup_path: the
    container's cgroup below that mount. cgroup_missing: the directories on the way to it that do not exist yet, top
    first. cgroup_controllers: what the mount has. cgroup_shared: for each cgroup on the way that exists, the
    controllers that its children have. cgroup_files: for an update, what files of the cgroup say; None: no such file.
    systemd_unit, systemd_slice: the scope that has this cgroup, and where systemd puts it; empty with the cgroupfs
    driver. bounding_caps: bit mask of what the caller can grant. new_namespaces, joined_namespaces: what the config
    asks for, by type; one that is the caller's own is in neither, as if it were not listed. host_namespaces: the types
    whose path is the caller's own namespace or that of process 1; one of these alone is joined as well.
    console_size: rows and columns of the caller's terminal, when the command carries it itself. inner_sources: the
    mounts, by index, whose source lies below the root file system: what is mounted there first decides what it is.
    """

    __slots__ = (
        "id",
        "bundle",
        "rootfs",
        "euid",
        "cgroup_mount",
        "cgroup_path",
        "cgroup_missing",
        "console_size",
        "cgroup_controllers",
        "cgroup_shared",
        "cgroup_files",
        "systemd_unit",
        "systemd_slice",
        "bounding_caps",
        "last_cap",
        "new_namespaces",
        "joined_namespaces",
        "shared_namespaces",
        "host_namespaces",
        "has_userns",
        "no_pivot",
        "no_new_keyring",
        "console_socket",
        "delegated",
        "pidfd_receiver",
        "pidfd_socket",
        "subgroup",
        "pid_file",
        "preserve_fds",
        "rootless",
        "init_pid",
        "inner_sources",
    )

    id: str
    bundle: str
    rootfs: str
    euid: int
    cgroup_mount: str | None
    cgroup_path: str
    cgroup_missing: list[str]
    cgroup_controllers: tuple[str, ...]
    cgroup_shared: dict[str, tuple[str, ...]]
    cgroup_files: dict[str, str | None]
    systemd_unit: str
    systemd_slice: str
    bounding_caps: int
    last_cap: int
    new_namespaces: set[str]
    joined_namespaces: dict[str, str]
    shared_namespaces: frozenset[str]
    host_namespaces: frozenset[str]
    has_userns: bool
    no_pivot: bool
    no_new_keyring: bool
    console_size: tuple[int, int] | None
    console_socket: str | None
    pidfd_socket: str | None
    delegated: str
    subgroup: str
    pidfd_receiver: str
    pid_file: str | None
    preserve_fds: int
    rootless: bool
    init_pid: int
    inner_sources: frozenset[int]

    def __init__(self) -> None:
        self.id = ""
        self.bundle = "/"
        self.rootfs = "/"
        self.euid = 0
        self.cgroup_mount = CGROUP_MOUNTS[0]
        self.cgroup_path = ""
        self.cgroup_missing = []
        self.cgroup_controllers = ()
        self.cgroup_shared = {}
        self.cgroup_files = {}
        self.systemd_unit = ""
        self.systemd_slice = ""
        self.bounding_caps = (1 << 41) - 1
        self.last_cap = 40
        self.new_namespaces = set()
        self.joined_namespaces = {}
        self.shared_namespaces = frozenset()
        self.host_namespaces = frozenset()
        self.has_userns = False
        self.no_pivot = False
        self.no_new_keyring = False
        self.console_size = None
        self.console_socket = None
        self.pidfd_socket = None
        self.delegated = self.subgroup = self.pidfd_receiver = ""
        self.pid_file = None
        self.preserve_fds = 0
        self.rootless = False
        self.init_pid = 0
        self.inner_sources = frozenset()

    @property
    def cgroup_dir(self) -> str:
        """The container's cgroup as a path of the host."""
        return f"{self.cgroup_mount}{self.cgroup_path}"


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


def read_namespaces(facts: Facts, config: dict[str, Any], found: HostNamespaces | None = None) -> None:
    """Sort the config's namespaces into new ones and ones joined by path. found: which of these are the host's."""
    if found is not None:
        facts.shared_namespaces, facts.host_namespaces = found.own, found.protected
    for entry in (config.get("linux") or {}).get("namespaces") or ():
        if entry["type"] in facts.shared_namespaces:
            continue
        if entry.get("path"):
            facts.joined_namespaces[entry["type"]] = entry["path"]
        else:
            facts.new_namespaces.add(entry["type"])
    facts.has_userns = "user" in facts.new_namespaces or "user" in facts.joined_namespaces


def probe(
    config: dict[str, Any],
    bundle: str,
    container_id: str,
    *,
    systemd: bool = False,
    namespaces: HostNamespaces | None = None,
) -> Facts:
    """Return the facts for a container of this config; raise InvalidConfig for a rootfs that is not there.

    systemd: which driver makes the cgroup, and so what cgroupsPath means. namespaces: what the checks of the config
    were told of the namespaces it joins; the plan must go by the same.
    """
    facts = Facts()
    facts.id = container_id
    facts.bundle = bundle
    facts.rootfs = find_rootfs(config, bundle)
    facts.euid = posix.geteuid()
    facts.rootless = facts.euid != 0
    read_namespaces(facts, config, namespaces)
    probe_sources(facts, config)
    probe_capabilities(facts)
    probe_cgroup(facts, (config.get("linux") or {}).get("cgroupsPath") or "", systemd=systemd)
    return facts


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


def probe_sources(facts: Facts, config: dict[str, Any]) -> None:
    """Note the mounts whose source leads through the root file system, whatever links or missing names are on the way.

    It matters where the host would open it, before anything is mounted: for a user namespace, or to map owners.
    """
    inner = set()
    for index, mount in enumerate(config.get("mounts") or ()):
        source, options = mount.get("source") or "", mount.get("options") or ()
        is_bind = mount.get("type") == "bind" or any("bind" in option for option in options)
        mapped = mount.get("uidMappings") or any("idmap" in option for option in options)
        if index and source and is_bind and (facts.has_userns or mapped):
            path = source if source.startswith("/") else f"{facts.bundle}/{source}"
            if any(is_below(facts.rootfs, above) for above in paths_above(path)):
                inner.add(index)
    facts.inner_sources = frozenset(inner)


def paths_above(path: str) -> list[str]:
    """Return a path and all those above it, from the top."""
    return [path[:end] for end in (*(i for i, char in enumerate(path) if char == "/" and i), len(path))]


def is_below(root: str, path: str) -> bool:
    """Whether a path leads to a directory or below it; one that can't be looked at does not."""
    try:
        return f"{_real_path(path)}/".startswith(f"{root}/")
    except OSError:
        return False


def probe_capabilities(facts: Facts) -> None:
    """Read which capabilities exist and which of them the caller may grant."""
    for line in read_text("/proc/self/status").split("\n"):
        if line.startswith("CapBnd:"):
            facts.bounding_caps = int(line[7:], 16)
            break
    last = read_text("/proc/sys/kernel/cap_last_cap")
    if last:
        facts.last_cap = int(last)


def probe_cgroup(facts: Facts, cgroups_path: str, *, systemd: bool = False) -> None:
    """Find the cgroup2 mount, and which directories of the container's cgroup are still to be made by us."""
    facts.cgroup_mount = None
    for mount in CGROUP_MOUNTS:
        controllers = read_text(f"{mount}/cgroup.controllers", missing=None)
        if controllers is not None:
            facts.cgroup_mount = mount
            facts.cgroup_controllers = tuple(controllers.split())
            break
    if systemd:
        from .systemd import place

        place(facts, cgroups_path)
        read_shared(facts)
        return
    facts.cgroup_path = clean_cgroup_path(cgroups_path or f"{DEFAULT_CGROUP_PARENT}/{facts.id}")
    if facts.cgroup_mount is None:
        return
    path = facts.cgroup_path
    while path:
        try:
            posix.stat(facts.cgroup_mount + path)
            break
        except FileNotFoundError:
            facts.cgroup_missing.insert(0, path)
            path = path[: path.rindex("/")]
        except OSError as error:
            raise InvalidConfig(f"cgroup {path}", error, pointer="/linux/cgroupsPath") from None
    read_shared(facts)


def read_shared(facts: Facts) -> None:
    """Note which controllers the cgroups on the way to the container's pass on to their children."""
    for above in levels_above(facts.cgroup_path):
        if above not in facts.cgroup_missing:
            shared = read_text(f"{facts.cgroup_mount}{above}/cgroup.subtree_control")
            facts.cgroup_shared[above] = tuple(shared.split())


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


def levels_above(cgroup_path: str) -> list[str]:
    """Return the cgroups on the way to one, from the mount's root ("") to its parent."""
    parts = cgroup_path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def probe_update(container_id: str, mount: str, path: str) -> Facts:
    """Return the facts for an update of the container in this cgroup; probe_files() adds the files once they exist."""
    facts = Facts()
    facts.id = container_id
    facts.cgroup_mount, facts.cgroup_path = mount, path
    facts.cgroup_controllers = tuple(read_text(f"{mount}/cgroup.controllers").split())
    read_shared(facts)
    return facts


def probe_files(facts: Facts, names: list[str]) -> None:
    """Read files of the container's cgroup; one that is not there, or can't be read, is None."""
    facts.cgroup_files = {name: read_text(f"{facts.cgroup_dir}/{name}", missing=None) for name in names}


def clean_cgroup_path(path: str) -> str:
    """Return the path below the cgroup mount, beginning with a slash; refuse to leave it (`..`) or to name its root."""
    if path.count(":") == 2 and "/" not in path:
        raise InvalidConfig(
            f"cgroupsPath {path!r} is the systemd driver's slice:prefix:name",
            pointer="/linux/cgroupsPath",
            hint="give --systemd-cgroup, or a path",
        )
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidConfig(f"cgroupsPath {path!r} must not contain '..'", pointer="/linux/cgroupsPath")
    if not parts:
        raise InvalidConfig(f"cgroupsPath {path!r} names no cgroup below the root", pointer="/linux/cgroupsPath")
    return "/" + "/".join(parts)


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
