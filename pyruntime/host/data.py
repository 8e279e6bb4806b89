"""Plain data for plans about the host and the container's cgroup. `probe` collects it."""

from __future__ import annotations

NAMESPACE_FILES = {"mount": "mnt", "network": "net"}
"""Files below /proc/PID/ns whose names differ from the types in config.json (namespaces(7))."""


class Host:
    """The properties of the host that matter to a container.

    euid: the effective uid of this process. bounding_caps: bit mask of the capabilities that it can grant. last_cap:
    the highest capability that the kernel knows. rootfs: absolute path of the root file system. inner_sources: indices
    of the mounts whose source lies below the root file system, where earlier mounts determine what is found.
    """

    __slots__ = ("bounding_caps", "euid", "inner_sources", "last_cap", "namespaces", "rootfs")

    def __init__(
        self,
        *,
        euid: int,
        bounding_caps: int,
        last_cap: int,
        rootfs: str,
        namespaces: Namespaces,
        inner_sources: frozenset[int],
    ) -> None:
        self.euid = euid
        self.bounding_caps = bounding_caps
        self.last_cap = last_cap
        self.rootfs = rootfs
        self.namespaces = namespaces
        self.inner_sources = inner_sources

    @property
    def rootless(self) -> bool:
        return self.euid != 0


class Namespaces:
    """The namespaces that a config lists: new ones by type, and the paths of those that are joined.

    The caller's own namespaces are in neither, as if they were not listed; their types are in shared. host: the types
    whose path is the caller's own namespace or that of process 1; the latter is joined unless it is also the caller's.
    has_user: whether the container is in a user namespace, new or joined.
    """

    __slots__ = ("host", "joined", "new", "shared")

    def __init__(
        self,
        new: set[str],
        joined: dict[str, str],
        shared: frozenset[str] = frozenset(),
        host: frozenset[str] = frozenset(),
    ) -> None:
        self.new = new
        self.joined = joined
        self.shared = shared
        self.host = host

    @property
    def has_user(self) -> bool:
        return "user" in self.new or "user" in self.joined


class Place:
    """The location and state of a container's cgroup.

    mount: where cgroup2 is mounted, None when it is not. controllers: those of the mount. path: the cgroup's path below
    the mount. missing: the directories of that path that do not exist yet, top first. shared: for each existing
    ancestor, the controllers that its children have. unit, slice: the scope that owns this cgroup, and the slice in
    which systemd puts it; empty with the cgroupfs driver. subgroup, delegated: cgroups below it that init is moved to,
    before and after its cgroup namespace is created; empty for none.
    """

    __slots__ = ("controllers", "delegated", "missing", "mount", "path", "shared", "slice", "subgroup", "unit")

    def __init__(
        self,
        *,
        mount: str | None,
        controllers: tuple[str, ...],
        path: str,
        missing: list[str],
        shared: dict[str, tuple[str, ...]],
        unit: str = "",
        slice_name: str = "",
        subgroup: str = "",
        delegated: str = "",
    ) -> None:
        self.mount = mount
        self.controllers = controllers
        self.path = path
        self.missing = missing
        self.shared = shared
        self.unit = unit
        self.slice = slice_name
        self.subgroup = subgroup
        self.delegated = delegated

    @property
    def directory(self) -> str:
        """The host's path of the container's cgroup."""
        return f"{self.mount}{self.path}"


def levels_above(cgroup_path: str) -> list[str]:
    """Return the ancestors of a cgroup, from the mount's root ("") to its parent."""
    parts = cgroup_path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
