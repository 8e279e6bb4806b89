"""What a mount of cgroups becomes: the container's own tree in a cgroup namespace, else the whole tree of the host.

Source: cgroup_namespaces(7); runtime-spec config-linux.md "Control groups"; CVE-2023-25809.
"""

from __future__ import annotations

from ..errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host, Place
    from .mount_options import MountOptions

TYPES = ("cgroup", "cgroup2")


def is_of_cgroups(mount: dict[str, Any], options: MountOptions) -> bool:
    return mount.get("type") in TYPES and not (options.bind or options.remount)


def has_own_namespace(host: Host) -> bool:
    """Whether the container's cgroup namespace, new or joined, is not the host's."""
    joined = "cgroup" in host.namespaces.joined and "cgroup" not in host.namespaces.host
    return "cgroup" in host.namespaces.new or joined


def resolved(
    mount: dict[str, Any], options: MountOptions, config: dict[str, Any], host: Host, place: Place
) -> dict[str, Any]:
    """Return the mount as what it becomes; in the options, whether it is read-only.

    Without a cgroup namespace /proc/self/cgroup names the host's paths, so the host's mount is bound. (A new one would
    change the options of all cgroup2 mounts, and a user namespace may not make one.) It is writable only where the
    program has the host's rights anyway; otherwise files of root, such as cgroup.kill, would be open to any root.
    """
    if not is_of_cgroups(mount, options):
        return mount
    if has_own_namespace(host):
        return {**mount, "type": "cgroup2", "source": mount.get("source") or "cgroup"}
    check_mounted(place)
    if not may_write(config, host):
        options.impose_read_only()
    return {**mount, "type": "bind", "source": place.mount}


def may_write(config: dict[str, Any], host: Host) -> bool:
    """Whether the program may change the host's cgroups: root without a user namespace, with CAP_SYS_ADMIN."""
    sets = (config.get("process") or {}).get("capabilities") or {}
    return not host.namespaces.has_user and "CAP_SYS_ADMIN" in (sets.get("bounding") or ())


def check_mounted(place: Place) -> None:
    """Raise InvalidConfig when there is no cgroup2 to put the container into."""
    if place.mount is None:
        raise InvalidConfig(
            "cgroup version 2 is not mounted on /sys/fs/cgroup",
            pointer="/linux/cgroupsPath",
            hint="pyruntime needs cgroup2: mount -t cgroup2 none /sys/fs/cgroup",
        )
