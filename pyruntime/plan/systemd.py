"""The systemd cgroup driver: names, and the steps by which systemd makes the container's cgroup.

systemd expects to be the only one to create cgroups, so it is asked for a scope, a unit for processes that others
start. A scope is created with a process in it: init, which already exists and waits, and is moved once, before its
first step. (Starting the scope with a placeholder process, so that init is created inside, would cost another fork, and
could not work with a limit of one process.) Everything else is as with cgroupfs: the same limits are written to the
same files, and the device filter is the same, because systemd knows only some of them. Those it knows are also set as
properties, so that its next `daemon-reload` changes nothing.

Source: systemd.scope(5), systemd.slice(5); the cgroupsPath of runc's docs/systemd.md.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..spec.linux import escaped
from ..step import HOST, Flags, Slot, Step
from . import cgroup, cgroup_mounts, resources, unit_properties

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host, Place
    from .resources import Write
    from .unit_properties import Property
    from .wishes import Wishes

POINTER = "/linux/cgroupsPath"
PREFIX = "pyruntime"
SLICE = ".slice"
SCOPE = ".scope"
SYSTEM_SLICE, USER_SLICE = "system.slice", "user.slice"
ROOT_SLICE = "-.slice"
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\")
MAX_NAME = 255
ANNOTATION = "org.systemd.property."
ANNOTATED = frozenset(
    (
        *("After", "Before", "CollectMode", "DefaultDependencies", "Description", "Documentation"),
        *("FinalKillSignal", "KillSignal", "OOMPolicy", "SendSIGHUP", "SendSIGKILL"),
        *("RuntimeMaxUSec", "RuntimeRandomizedExtraUSec", "TimeoutStopUSec"),
    )
)
"""The properties that annotations may set: how the unit is described, and how it is stopped. Engines pass on their
users' annotations, and other properties start and stop other units, reboot the machine (SuccessAction) or lift limits
(CVE-2024-3154)."""


def locate(cgroups_path: str, container_id: str, euid: int) -> tuple[str, str, str]:
    """Return unit, slice and cgroup for `slice:prefix:name`; raise InvalidConfig for anything else."""
    slice_name, prefix, name = split_path(cgroups_path or f":{PREFIX}:{escape(container_id)}")
    slice_name = slice_name or (USER_SLICE if euid else SYSTEM_SLICE)
    if name.endswith(SLICE):
        raise InvalidConfig(
            f"cgroupsPath {cgroups_path!r} names a slice; a container runs in a scope inside a slice", pointer=POINTER
        )
    unit = f"{prefix}-{name}{SCOPE}"
    check_name(unit)
    # A user's manager has its own root: the cgroup that the system's manager made for it.
    top = f"/user.slice/user-{euid}.slice/user@{euid}.service" if euid else ""
    return unit, slice_name, f"{top}{expand_slice(slice_name)}/{unit}"


def split_path(cgroups_path: str) -> tuple[str, str, str]:
    parts = cgroups_path.split(":")
    if len(parts) != 3 or "/" in cgroups_path:
        raise InvalidConfig(
            f"cgroupsPath {cgroups_path!r} does not have the systemd driver's form slice:prefix:name",
            pointer=POINTER,
            hint="give such a path, or omit --systemd-cgroup",
        )
    if not parts[2]:
        raise InvalidConfig(f"cgroupsPath {cgroups_path!r} has an empty name", pointer=POINTER)
    return parts[0], parts[1], parts[2]


def escape(container_id: str) -> str:
    """Return an id with characters that unit names can't contain as \\xXX (systemd.unit(5), systemd-escape)."""
    return "".join(c if c in NAME_CHARACTERS else f"\\x{ord(c):02x}" for c in container_id)


def check_name(name: str) -> None:
    if len(name) > MAX_NAME:
        raise InvalidConfig(
            f"the unit name {name[:32]}… has {len(name)} characters, at most {MAX_NAME} are allowed", pointer=POINTER
        )
    wrong = [c for c in name if c not in NAME_CHARACTERS]
    if wrong:
        raise InvalidConfig(f"{wrong[0]!r} can't be part of the unit name {name!r}", pointer=POINTER)


def expand_slice(name: str) -> str:
    """Return the path of a slice's cgroup: /a.slice/a-b.slice for `a-b.slice`. Raises InvalidConfig for a bad name."""
    if name in (ROOT_SLICE, "-"):
        return ""
    check_name(name)
    parts = name.removesuffix(SLICE).split("-")
    if not name.endswith(SLICE) or "" in parts:
        raise InvalidConfig(
            f"{name!r} is not the name of a slice", pointer=POINTER, hint="it ends with .slice; dashes nest: a-b.slice"
        )
    path, prefix = "", ""
    for part in parts:
        path += f"/{prefix}{part}{SLICE}"
        prefix += f"{part}-"
    return path


def scope_steps(config: dict[str, Any], host: Host, place: Place, wishes: Wishes) -> list[Step]:
    """Host, after clone3: let systemd make the scope around init, then write every limit, before init's first step."""
    cgroup_mounts.check_mounted(place)
    writes = unit_properties.rounded(resources.config_writes(config))
    asked = annotated(config)
    names = {each.name for each in asked}
    # Annotations, which engines set, take precedence over our own properties where they are allowed at all.
    own = [each for each in identity_properties(place, wishes) if each.name not in names]
    properties = unit_properties.Properties([*own, *unit_properties.of_resources(config, writes), *asked])
    return [
        Step(HOST, POINTER, "systemd_start_scope", Slot("container"), place.unit, properties, Slot("init_pid")),
        Step(HOST, POINTER, "open", place.directory, Flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"), into="cgroup"),
        Step(HOST, POINTER, "save_cgroup", Slot("container"), Slot("cgroup")),
        *cgroup.controller_steps(resources.needed_controllers(writes), place),
        *cgroup.owner_steps(config, host),
        *(write.step(place.path) for write in writes),
        *cgroup.subgroup_steps(config, host, place),
    ]


def update_steps(
    unit: str, wanted: dict[str, Any], current: dict[str, Any], writes: list[Write]
) -> tuple[Step, list[Step]]:
    """Return the step that sets the values of an update as systemd properties, and the steps that undo it.

    It comes before the writes: systemd checks all values before it applies any, and then writes to the cgroup itself.
    wanted: the resources that change. current: all the resources in force before. writes: those of wanted, rounded.
    """
    new = unit_properties.of_writes(writes)
    old = unit_properties.before_update(new, resources.resource_writes(current))
    if "devices" in wanted:
        new += unit_properties.of_devices(wanted["devices"] or ())
        old += unit_properties.of_devices(current.get("devices") or ())

    def step(properties: list[Property]) -> Step:
        values = unit_properties.Properties(properties)
        return Step(HOST, resources.BASE, "systemd_set_properties", Slot("container"), unit, values)

    return step(new), [step(old)]


def identity_properties(place: Place, wishes: Wishes) -> list[Property]:
    """Return the properties of every container's scope: its slice, its description, and that it is cleaned up.

    Delegate: the cgroups below belong to the container. DefaultDependencies: at shutdown it must not be stopped before
    the units that need it. CollectMode: a failed scope (out of memory) is removed like any other.
    """
    make = unit_properties.Property
    accounting = [make(f"{name}Accounting", "b", True) for name in ("CPU", "Memory", "IO", "Tasks")]
    return [
        make("Description", "s", f"pyruntime container {wishes.id}"),
        make("Slice", "s", place.slice, POINTER),
        make("Delegate", "b", True),
        make("DefaultDependencies", "b", False),
        make("CollectMode", "s", "inactive-or-failed"),
        *accounting,
    ]


def annotated(config: dict[str, Any]) -> list[Property]:
    """Return the properties that annotations `org.systemd.property.NAME` set, with values in GVariant's text format."""
    annotations = config.get("annotations") or {}
    found = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        from . import gvariant

        pointer = f"/annotations/{escaped(key)}"
        name = key.removeprefix(ANNOTATION)
        # What unit files give in seconds, D-Bus has only in microseconds.
        in_seconds = name.endswith("Sec") and not name.endswith("USec")
        if in_seconds:
            name = f"{name[:-3]}USec"
        if name not in ANNOTATED:
            raise InvalidConfig(
                f"the property {key.removeprefix(ANNOTATION)!r} of the container's unit can't be set by an annotation",
                pointer=pointer,
                hint=f"annotations can set {', '.join(sorted(ANNOTATED))}; limits go into linux.resources",
            )
        try:
            signature, value = gvariant.parse(text)
            if in_seconds:
                signature, value = "t", gvariant.microseconds(signature, value)
        except ValueError as error:
            raise InvalidConfig(f"{text!r} is not GVariant text: {error}", pointer=pointer) from None
        found.append(unit_properties.Property(name, signature, value, pointer))
    return found
