"""`update`: plans changes from the requested resources, the container's current ones and its cgroup's files.

A change is one step and the steps that undo it: an update that fails half-way leaves the limits as they were. Only what
is requested changes. Engines send zero for "not set", but for burst, idle and pids it is a value (for pids:
resources.by_version). Source: runtime-spec config-linux.md "Control groups"; cgroup-v2.rst.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..step import HOST, Plan, Slot, Step
from . import device_filter, resources
from .cgroup import controller_steps
from .resources import BASE, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Place

    Group = dict[str, Any]
    Files = dict[str, str | None]

ZERO_IS_A_VALUE = ("burst", "idle", "checkBeforeUpdate")
BY_DEVICE = (
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
)
KEYED = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "rdma.max": "hca_handle=max hca_object=max",
}
"""Files with one line per device, and the text that removes such a line."""
READ_TOO = {
    "cpu": {"cpu.max.burst", "cpu.weight", "cpu.idle"},
    "cpuset": {"cpuset.cpus.effective", "cpuset.mems.effective"},
    "memory": {"memory.current", "memory.swap.current"},
}
"""Files that the changes of a controller depend on, besides those written."""
UNLIMITED = float("inf")
UNKNOWN = "?"
"""The content of a file that exists only once its controller is enabled; there is nothing to restore."""


class Change:
    """One step of an update, and the steps that undo it, in order."""

    __slots__ = ("step", "undo")

    def __init__(self, step: Step, undo: list[Step]) -> None:
        self.step = step
        self.undo = undo


class Request:
    """What an update asks for: the resources that change (wanted), those in force before (current) and after (merged,
    to be recorded), and the writes. Raises InvalidConfig.

    given: the resources document. version: of the container's config, which determines the meaning of some values.
    """

    __slots__ = ("current", "merged", "wanted", "writes")

    def __init__(self, given: Group, current: Group, version: str, *, systemd: bool) -> None:
        self.current = resources.by_version(current, version)
        self.wanted = resources.by_version(asked(given), version)
        if self.wanted.get("devices") == self.current.get("devices"):
            # Engines send the whole document; a filter that somebody has replaced in the meantime stays.
            self.wanted.pop("devices", None)
        self.merged = merge(self.current, self.wanted)
        self.writes = writes_of(self.wanted, self.merged)
        if systemd:
            from .unit_properties import rounded

            self.writes = rounded(self.writes)
        forget_overwritten(self.merged, self.writes)

    def files(self) -> list[str]:
        """Return the files of the cgroup whose content the plan depends on."""
        return files_to_read(self.writes)


class Update:
    """The plan of an update: enable controllers, load the new device filter, then make changes that can be undone."""

    __slots__ = ("changes", "enabling", "loading")

    def __init__(self, enabling: list[Step], loading: list[Step], changes: list[Change]) -> None:
        self.enabling = enabling
        self.loading = loading
        self.changes = changes

    @property
    def plan(self) -> Plan:
        """All steps in order, without those that undo changes."""
        plan = Plan()
        plan.steps = [*self.enabling, *self.loading, *(change.step for change in self.changes)]
        return plan


def asked(given: Group) -> Group:
    """Return what a resources document asks for, without the values that mean "not set"."""
    wanted: Group = {}
    for name in ("memory", "cpu", "blockIO", "network"):
        group = given.get(name) or {}
        kept = {key: value for key, value in group.items() if value or (key in ZERO_IS_A_VALUE and value is not None)}
        if kept:
            wanted[name] = kept
    if (given.get("pids") or {}).get("limit") is not None:
        wanted["pids"] = {"limit": given["pids"]["limit"]}
    for name in ("hugepageLimits", "rdma", "unified"):
        if given.get(name):
            wanted[name] = given[name]
    if given.get("devices") is not None:
        wanted["devices"] = given["devices"]
    return wanted


def merge(current: Group, wanted: Group) -> Group:
    """Return the resources after an update: requested values replace the current ones, the others stay.

    Lists per device or page size are merged by that key; the device rules are replaced as a whole.
    """
    merged = {**current, **wanted}
    for name in ("memory", "cpu", "pids", "network", "rdma", "unified"):
        if name in wanted:
            merged[name] = {**(current.get(name) or {}), **wanted[name]}
    if "blockIO" in wanted:
        before, after = current.get("blockIO") or {}, wanted["blockIO"]
        group = merged["blockIO"] = {**before, **after}
        for name in BY_DEVICE:
            if name in after:
                group[name] = merge_list(before.get(name), after[name], ("major", "minor"))
    if "hugepageLimits" in wanted:
        merged["hugepageLimits"] = merge_list(current.get("hugepageLimits"), wanted["hugepageLimits"], ("pageSize",))
    unlimited_swap(merged, wanted)
    return merged


def merge_list(before: Any, after: Any, keys: tuple[str, ...]) -> list[Group]:
    """Merge two lists, combining entries with the same keys."""
    found = {tuple(entry[key] for key in keys): entry for entry in before or ()}
    for entry in after:
        name = tuple(entry[key] for key in keys)
        found[name] = {**found.get(name, {}), **entry}
    return list(found.values())


def unlimited_swap(merged: Group, wanted: Group) -> None:
    """If the memory limit is removed, also remove the limit of memory plus swap, unless one is requested."""
    limits = wanted.get("memory") or {}
    if limits.get("limit", 0) < 0 and "swap" not in limits and merged["memory"].get("swap"):
        merged["memory"]["swap"] = -1


def writes_of(wanted: Group, merged: Group) -> list[Write]:
    """Return the writes, in no particular order. Raises InvalidConfig.

    Some files hold two values of the config, and swap includes memory: then the other value comes from `merged`.
    """
    working = dict(wanted)
    if "memory" in wanted:
        working["memory"] = coupled_memory(wanted["memory"], merged["memory"])
    if "cpu" in wanted:
        working["cpu"] = coupled_cpu(wanted["cpu"], merged["cpu"])
    writes = resources.resource_writes(working)
    if "limit" not in (wanted.get("memory") or {}):
        writes = [write for write in writes if write.pointer != f"{BASE}/memory/limit"]
    for write in writes:
        if write.name == "cpu.max" and "quota" not in (wanted.get("cpu") or {}):
            write.pointer = write.pointer.replace("/cpu/quota", "/cpu/period")
    # `unified` takes precedence for a file.
    last = {write.name: write for write in writes if write.pointer.startswith(f"{BASE}/unified/")}
    return [write for write in writes if last.get(write.name, write) is write]


def forget_overwritten(merged: Group, writes: list[Write]) -> None:
    """Remove from `merged` the entries of an earlier `unified` for files that other values are now written to."""
    files = merged.get("unified") or {}
    overwritten = {write.name for write in writes if not write.pointer.startswith(f"{BASE}/unified/")}
    if overwritten & files.keys():
        merged["unified"] = {name: text for name, text in files.items() if name not in overwritten}


def coupled_memory(wanted: Group, merged: Group) -> Group:
    if "limit" not in wanted and "swap" not in wanted:
        return wanted
    limit, swap = merged.get("limit", 0), merged.get("swap", 0)
    if "swap" not in wanted and 0 < swap < limit:
        raise InvalidConfig(
            f"limit {limit} is above the container's memory plus swap, {swap}",
            pointer=f"{BASE}/memory/limit",
            hint="give a new limit of memory plus swap too",
        )
    return {**wanted, "limit": limit, "swap": swap}


def coupled_cpu(wanted: Group, merged: Group) -> Group:
    """Quota and period share a file. Shares are not applied while the container is idle, but once it no longer is."""
    group = dict(wanted)
    if "quota" in wanted or "period" in wanted:
        group["quota"], group["period"] = merged.get("quota", 0), merged.get("period", 0)
    if wanted.get("idle"):
        group.pop("shares", None)
    elif "idle" in wanted:
        group["shares"] = merged.get("shares", 0)
    return group


def files_to_read(writes: list[Write]) -> list[str]:
    """Return the files whose content changes_of() needs: those written, and those that the order depends on."""
    names = {write.name for write in writes} | {write.instead[0] for write in writes if write.instead is not None}
    for controller in {name.partition(".")[0] for name in names}:
        names |= READ_TOO.get(controller, set())
    return sorted(names)


def build_update(request: Request, place: Place, files: Files) -> Update:
    """Return the plan of an update. files: the current content of request.files(), None for missing ones.

    If controllers must be enabled first, their files have no content yet: then the plan shows what will be done, and is
    built again once they are enabled (Update.enabling). Raises InvalidConfig.
    """
    enabling = enable_steps(request.writes, place)
    coming = tuple(resources.needed_controllers(request.writes)) if enabling else ()
    known = {name: UNKNOWN if text is None and name.split(".")[0] in coming else text for name, text in files.items()}
    changes = changes_of(request, place, known)
    if place.unit:
        from .systemd import update_steps

        # Otherwise systemd's next daemon-reload would restore the old limits.
        changes.insert(0, Change(*update_steps(place.unit, request.wanted, request.current, request.writes)))
    return Update(enabling, device_steps(request.wanted), changes)


def enable_steps(writes: list[Write], place: Place) -> list[Step]:
    """Enable the controllers that the container does not have yet, from the top down.

    They stay enabled when the update fails: disabling one could remove limits of other cgroups.
    """
    own = place.shared.get(place.path.rpartition("/")[0], ())
    lacking = {name: at for name, at in resources.needed_controllers(writes).items() if name not in own}
    return controller_steps(lacking, place) if lacking else []


def changes_of(request: Request, place: Place, files: Files) -> list[Change]:
    """Return the changes in the order that the kernel requires.

    The device filter comes before the memory limits, whose effect can't be undone. Raises InvalidConfig.
    """
    check_use(request.wanted, request.merged, files)
    check_quota(request.wanted, files)
    writes = [found for found in (settled(write, files) for write in request.writes) if found is not None]
    memory = [write for write in writes if write.name.startswith("memory.")]
    others = [write for write in writes if write not in memory]
    changes = [
        *(change_of(write, place, files) for write in in_cpu_order(others, files)),
        *device_changes(request.wanted),
        *(change_of(write, place, files) for write in in_memory_order(memory, files)),
    ]
    if (files.get("cpu.idle") or "0").strip() == "1" and (request.wanted.get("cpu") or {}).get("idle") != 0:
        for change in changes:
            if change.step.args[1:2] == ("cpu.weight",):
                change.step.hint = "the container is idle: its shares count only after an update with idle 0"
    return changes


def settled(write: Write, files: Files) -> Write | None:
    """Return the write for the file that this kernel has, None if it has none and behaves as requested anyway."""
    if write.instead is not None:
        if files.get(write.instead[0]) == UNKNOWN:
            return write
        there = files.get(write.instead[0]) is not None
        return Write(write.pointer, *(write.instead if there else (write.name, write.text)))
    if write.optional and files.get(write.name) is None:
        return None
    return write


def check_use(wanted: Group, merged: Group, files: Files) -> None:
    """With checkBeforeUpdate, reject a limit below the current use; without, the kernel reclaims and finally kills."""
    if not (merged.get("memory") or {}).get("checkBeforeUpdate"):
        return
    group = wanted.get("memory") or {}
    used = use_of(files, "memory.current")
    limit = group.get("limit", 0)
    if 0 < limit < used:
        raise InvalidConfig(
            f"memory.max {limit}: below the current use, {used} bytes (checkBeforeUpdate)",
            pointer=f"{BASE}/memory/limit",
        )
    used += use_of(files, "memory.swap.current")
    limit = group.get("swap", 0)
    if 0 < limit < used:
        raise InvalidConfig(
            f"memory plus swap {limit}: below the current use, {used} bytes (checkBeforeUpdate)",
            pointer=f"{BASE}/memory/swap",
        )


def use_of(files: Files, name: str) -> int:
    """Return the number in a file, 0 if the file is missing or its content is not known yet."""
    text = (files.get(name) or "").strip()
    return int(text) if text.isdecimal() else 0


def check_quota(wanted: Group, files: Files) -> None:
    """Reject a quota below the current burst, as the kernel would, but with an error that names the burst."""
    cpu = wanted.get("cpu") or {}
    burst = use_of(files, "cpu.max.burst")
    if "burst" not in cpu and 0 < cpu.get("quota", 0) < burst:
        raise InvalidConfig(
            f"cpu.max {cpu['quota']}: below the container's burst, {burst}",
            pointer=f"{BASE}/cpu/quota",
            hint="give a smaller burst too",
        )


def in_cpu_order(writes: list[Write], files: Files) -> list[Write]:
    """Sort so that a burst never exceeds the quota in between, and a weight is written only to a cgroup not idle."""

    def place(write: Write) -> int:
        if write.name == "cpu.max.burst":
            return 2 if number(write.text) > number(files.get(write.name) or "0") else 0
        return 1 if write.name in ("cpu.max", "cpu.weight") else 0

    return sorted(writes, key=place)


def in_memory_order(writes: list[Write], files: Files) -> list[Write]:
    """Sort raised limits first, and the hard memory limit last: lowering it below the use makes the kernel kill."""

    def place(write: Write) -> tuple[bool, bool]:
        return number(write.text) < number(files.get(write.name)), write.name == "memory.max"

    return sorted(writes, key=place)


def number(text: str | None) -> float:
    """Return the value of a limit; "max" and anything but a number is unlimited."""
    text = (text or "").strip()
    return int(text) if text.isdecimal() else UNLIMITED


def change_of(write: Write, place: Place, files: Files) -> Change:
    step = write.step(place.path)
    undo = before(write.name, write.text, files.get(write.name))
    if write.name == "cpu.idle":
        # The kernel forgets the weight of an idle cgroup.
        undo += before("cpu.weight", "", files.get("cpu.weight"))
    ignore: tuple[str, ...] = ()
    effective = files.get(f"{write.name}.effective")
    if effective is not None and undo == [(write.name, "\n")]:
        # A cpuset with processes can't be emptied again (ENOSPC); write the values that it inherited first.
        undo, ignore = [(write.name, effective.strip()), *undo], ("ENOSPC",)
    return Change(step, [Step(HOST, write.pointer, "write_at", Slot("cgroup"), *old, ignore=ignore) for old in undo])


def before(name: str, written: str, old: str | None) -> list[tuple[str, str]]:
    """Return the files and texts that restore a file's old content; empty for a file that can't be read."""
    if old is None or old == UNKNOWN or (name == "cpu.weight" and old.strip() == "0"):
        return []
    if name not in KEYED:
        return [(name, old.strip() or "\n")]
    found = {line.split()[0]: line for line in old.splitlines() if line.strip()}
    keys = [line.split()[0] for line in written.splitlines() if line.strip()]
    keys = ["default" if key.isdecimal() else key for key in keys]
    return [(name, found.get(key, f"{key} {KEYED[name]}")) for key in keys]


def device_changes(wanted: Group) -> list[Change]:
    """Atomically replace the device filter by one with the new rules."""
    if "devices" not in wanted:
        return []
    cgroup, old, new = Slot("cgroup"), Slot("old_device_filter"), Slot("device_filter")
    pointer = f"{BASE}/devices"
    return [
        Change(
            Step(HOST, pointer, "replace_device_filter", cgroup, old, new),
            [Step(HOST, pointer, "replace_device_filter", cgroup, new, old)],
        )
    ]


def device_steps(wanted: Group) -> list[Step]:
    """Load the filter with the new rules and find the current one; neither changes anything yet."""
    if "devices" not in wanted:
        return []
    pointer = f"{BASE}/devices"
    program = device_filter.device_program(wanted["devices"])
    return [
        Step(HOST, pointer, "bpf_prog_load", program, into="device_filter"),
        Step(HOST, pointer, "find_device_filter", Slot("cgroup"), into="old_device_filter"),
    ]
