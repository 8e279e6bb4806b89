"""The place of a container's cgroup, with the cgroupfs driver or systemd's."""

from __future__ import annotations

from .. import observer
from ..host import probe
from ..host.data import Place
from ..plan import cgroup, extensions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..container.record import Record


@observer.phase
def place(config: dict[str, Any], container_id: str, euid: int, *, systemd: bool) -> Place:
    """Return the place that a config asks for, and what exists there now. systemd: whether systemd's driver makes the
    cgroup, which decides what cgroupsPath means. Raises InvalidConfig for a path that the driver does not accept."""
    mount, controllers = probe.cgroup_mount()
    cgroups_path = (config.get("linux") or {}).get("cgroupsPath") or ""
    unit = slice_name = ""
    missing: list[str] = []
    if systemd:
        from ..plan.systemd import locate

        unit, slice_name, path = locate(cgroups_path, container_id, euid)
        # systemd makes the cgroups above, so none of them counts as missing.
        shared = probe.shared_controllers(mount, path, missing)
    else:
        path = cgroup.locate(cgroups_path, container_id)
        missing = probe.missing_cgroups(mount, path) if mount is not None else []
        shared = probe.shared_controllers(mount, path, missing) if mount is not None else {}
    return Place(
        mount=mount,
        controllers=controllers,
        path=path,
        missing=missing,
        shared=shared,
        unit=unit,
        slice_name=slice_name,
        subgroup=extensions.subgroup_of(config, extensions.SUBGROUP) if unit else "",
        delegated=extensions.subgroup_of(config, extensions.DELEGATE),
    )


@observer.phase
def of_record(record: Record) -> Place:
    """Return the place of an existing container's cgroup."""
    mount, path = record["cgroup_mount"], record["cgroup"]
    return Place(
        mount=mount,
        controllers=probe.controllers(mount) or (),
        path=path,
        missing=[],
        shared=probe.shared_controllers(mount, path, []),
        unit=record.get("systemd_unit") or "",
    )
