"""The systemd cgroup driver: names, and the steps by which systemd makes the container's cgroup.

Where systemd rules, it wants to be the only one who makes cgroups. So it is asked for a scope, a unit for processes
that somebody else starts. A scope begins with a process in it, and that is init, made before and waiting: it is moved
once, before its first step. (A scope begun with a process that only holds the place, so that init is born inside,
would cost one fork more, and a limit of one process could not be met.) All else is as with cgroupfs: the same files
get the same limits, and the filter is the same, because systemd knows only some of them. What it knows it is told as
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
"""What an annotation may say of the unit: how it is told of, and how it is stopped. Engines pass annotations on from
their users, and others of a unit's properties start and stop other units, reboot the machine (SuccessAction) or lift
limits (CVE-2024-3154)."""


def locate(cgroups_path: str, container_id: str, euid: int) -> tuple[str, str, str]:
    """Return unit, slice and cgroup for `slice:prefix:name`; raise InvalidConfig for anything else."""
    slice_name, prefix, name = split_path(cgroups_path or f":{PREFIX}:{escape(container_id)}")
    slice_name = slice_name or (USER_SLICE if euid else SYSTEM_SLICE)
    if name.endswith(SLICE):
        raise InvalidConfig(
            f"cgroupsPath {cgroups_path!r} names a slice; a container runs in a scope inside of one", pointer=POINTER
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
            f"cgroupsPath {cgroups_path!r} is not of the systemd driver's form slice:prefix:name",
            pointer=POINTER,
            hint="give such a path, or leave out --systemd-cgroup",
        )
    if not parts[2]:
        raise InvalidConfig(f"cgroupsPath {cgroups_path!r} has an empty name", pointer=POINTER)
    return parts[0], parts[1], parts[2]


def escape(container_id: str) -> str:
    """Return an id with what unit names can't hold as \\xXX (systemd.unit(5), systemd-escape)."""
    return "".join(c if c in NAME_CHARACTERS else f"\\x{ord(c):02x}" for c in container_id)


def check_name(name: str) -> None:
    if len(name) > MAX_NAME:
        raise InvalidConfig(
            f"the unit name {name[:32]}… has {len(name)} characters, at most {MAX_NAME} are possible", pointer=POINTER
        )
    wrong = [c for c in name if c not in NAME_CHARACTERS]
    if wrong:
        raise InvalidConfig(f"{wrong[0]!r} can't be part of the unit name {name!r}", pointer=POINTER)


def expand_slice(name: str) -> str:
    """Return where a slice's cgroup is: `a-b.slice` is at /a.slice/a-b.slice. Raises InvalidConfig for a bad name."""
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
    # The engine has the last word on what is for annotations to say at all.
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
    """Return the step that tells systemd what an update is about to write, and the steps that take that back.

    It comes before the writes: systemd looks at all values before it takes one, and writes to the cgroup itself.
    wanted: the resources that change. current: all the resources in force before. writes: those of wanted, rounded.
    """
    new = unit_properties.of_writes(writes)
    old = unit_properties.before_update(new, resources.resource_writes(current))
    if "devices" in wanted:
        new += unit_properties.of_devices(wanted["devices"] or ())
        old += unit_properties.of_devices(current.get("devices") or ())

    def step(properties: list[Property]) -> Step:
        told = unit_properties.Properties(properties)
        return Step(HOST, resources.BASE, "systemd_set_properties", Slot("container"), unit, told)

    return step(new), [step(old)]


def identity_properties(place: Place, wishes: Wishes) -> list[Property]:
    """Return what every container's scope is: where it is, whose it is, and that it leaves no trace.

    Delegate: the cgroups below are the container's. DefaultDependencies: it must not be stopped before what needs it
    when the machine goes down. CollectMode: a scope that has failed (out of memory) goes as one that has not.
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
    """Return the properties that annotations `org.systemd.property.NAME` ask for, values in GVariant's text format."""
    annotations = config.get("annotations") or {}
    found = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        from . import gvariant

        pointer = f"/annotations/{escaped(key)}"
        name = key.removeprefix(ANNOTATION)
        # D-Bus has only the microseconds of what unit files give in seconds.
        in_seconds = name.endswith("Sec") and not name.endswith("USec")
        if in_seconds:
            name = f"{name[:-3]}USec"
        if name not in ANNOTATED:
            raise InvalidConfig(
                f"the property {key.removeprefix(ANNOTATION)!r} of the container's unit is not for annotations to set",
                pointer=pointer,
                hint=f"they can set {', '.join(sorted(ANNOTATED))}; limits go to linux.resources",
            )
        try:
            signature, value = gvariant.parse(text)
            if in_seconds:
                signature, value = "t", gvariant.microseconds(signature, value)
        except ValueError as error:
            raise InvalidConfig(f"{text!r} is no GVariant text: {error}", pointer=pointer) from None
        found.append(unit_properties.Property(name, signature, value, pointer))
    return found
