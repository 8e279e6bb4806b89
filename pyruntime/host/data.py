"""What the host is, and where a container's cgroup is, as plain data for plans. `probe` finds it out."""

from __future__ import annotations

NAMESPACE_FILES = {"mount": "mnt", "network": "net"}
"""Names below /proc/PID/ns where they are not what config.json calls the type (namespaces(7))."""


class Host:
    """What the host is for a container of a config.

    euid: the user that this process is. bounding_caps: bit mask of what it can grant; last_cap: the highest number of a
    capability that the kernel knows. rootfs: absolute path of the root file system. inner_sources: the mounts that are
    to be made, by index, whose source lies below the root file system: what is mounted there first decides what it is.
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

    One that is the caller's own is in neither, as if it were not listed; its type is in shared. host: the types whose
    path is the caller's own namespace or that of process 1; one of the latter alone is joined as well. has_user:
    whether the container is in a user namespace, new or joined.
    """

    __slots__ = ("has_user", "host", "joined", "new", "shared")

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
        self.has_user = "user" in new or "user" in joined


class Place:
    """Where a container's cgroup is, and what is there.

    mount: where cgroup2 is mounted, None when it is not. controllers: what the mount has. path: of the cgroup below the
    mount. missing: the directories on the way to it that do not exist yet, top first. shared: for each cgroup on the
    way that exists, the controllers that its children have. unit, slice: the scope that has this cgroup, and where
    systemd puts it; empty with the cgroupfs driver. subgroup, delegated: cgroups below it that init is moved to, before
    and after its cgroup namespace is made; empty for none.
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
        """The container's cgroup as a path of the host."""
        return f"{self.mount}{self.path}"


def levels_above(cgroup_path: str) -> list[str]:
    """Return the cgroups on the way to one, from the mount's root ("") to its parent."""
    parts = cgroup_path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
