"""Mounts of cgroups: the container's own tree in a cgroup namespace, else the whole tree of the host.

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
    """Return whether the container has a cgroup namespace, new or joined, other than the host's."""
    joined = "cgroup" in host.namespaces.joined and "cgroup" not in host.namespaces.host
    return "cgroup" in host.namespaces.new or joined


def resolved(
    mount: dict[str, Any], options: MountOptions, config: dict[str, Any], host: Host, place: Place
) -> dict[str, Any]:
    """Return the mount to make instead; the options record whether it is read-only.

    Without a cgroup namespace /proc/self/cgroup shows the host's paths, so the host's mount is bound. (A new one would
    change the options of all cgroup2 mounts, and is not permitted in a user namespace.) It is writable only if the
    program has the host's rights anyway; otherwise any root could write to root's files, such as cgroup.kill.
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
    """Return whether the program may change the host's cgroups: root with CAP_SYS_ADMIN and no user namespace."""
    sets = (config.get("process") or {}).get("capabilities") or {}
    return not host.namespaces.has_user and "CAP_SYS_ADMIN" in (sets.get("bounding") or ())


def check_mounted(place: Place) -> None:
    """Raise InvalidConfig when cgroup2 is not mounted."""
    if place.mount is None:
        raise InvalidConfig(
            "cgroup version 2 is not mounted on /sys/fs/cgroup",
            pointer="/linux/cgroupsPath",
            hint="pyruntime needs cgroup2: mount -t cgroup2 none /sys/fs/cgroup",
        )
