"""`update`: change the limits of a container that is created, running or paused."""

from __future__ import annotations

import posix

from .. import kernel, log, spec
from ..container import cgroup
from ..container.status import status_of
from ..container.store import Store
from ..engine import change
from ..errors import Failure, UsageFailure
from ..plan import facts
from ..plan import update as plan
from ..plan.resources import by_version
from ..text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..cli import Options
    from ..container.store import Container
    from ..plan.resources import Write
    from ..step import Slots

    Resources = dict[str, Any]

SUFFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
LARGEST = (1 << 63) - 1


def update(options: Options) -> int:
    """`update ID`: all of the changes are made, or none."""
    given, places = read_request(options)
    try:
        forgive(given)
        for warning in spec.validate_resources(given, None):
            log.warning(warning)
        with Store(options.root).open(options.args[0]) as container:
            check_status(container)
            apply(container, by_version(plan.asked(given), container.record["ociVersion"]))
    except Failure as failure:
        raise located(failure, places) from None
    return 0


def check_status(container: Container) -> None:
    now = status_of(container)
    now.close()
    if now.status not in ("created", "running", "paused"):
        raise Failure(f'cannot update container "{container.id}": container not running (it is {now.status})')


def apply(container: Container, wanted: Resources) -> None:
    """Bring the cgroup, and what is noted of it, to the resources that are asked for."""
    group = cgroup.owned(container.record)
    if group is None:
        raise Failure(f'cannot update container "{container.id}": its cgroup is gone')
    current = by_version(container.resources(), container.record["ociVersion"])
    if wanted.get("devices") == current.get("devices"):
        # Engines send the whole document; a filter that somebody has exchanged meanwhile stays.
        wanted.pop("devices", None)
    merged = plan.merge(current, wanted)
    writes = plan.writes_of(wanted, merged)
    if "systemd_unit" in container.record:
        from ..plan.unit_properties import rounded

        writes = rounded(writes)
    plan.forget_overwritten(merged, writes)
    found = facts.probe_update(container.id, container.record["cgroup_mount"], container.record["cgroup"])
    directory = kernel.open(group.path, kernel.flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"))
    slots: Slots = {"container": container, "cgroup": directory}
    try:
        change.run(plan.enable_steps(writes, found), slots)
        change.run(plan.device_steps(wanted), slots)
        facts.probe_files(found, plan.files_to_read(writes))
        changes = [*driver_changes(container, wanted, current, writes), *plan.changes(wanted, merged, writes, found)]
        kills = group.oom_kills()
        change.make(changes, slots)
        note(container, merged, changes, slots)
        if kills_after(group, kills) > kills:
            log.warning(f'container "{container.id}": its memory was above the new limit, and the kernel killed in it')
    finally:
        for name in ("cgroup", "device_filter", "old_device_filter"):
            if slots.get(name, -1) >= 0:
                posix.close(slots[name])


def kills_after(group: cgroup.Cgroup, before: int) -> int:
    """Return how many processes the kernel has killed by now; the changes are made, so not to know is no failure."""
    try:
        return group.oom_kills()
    except OSError:
        return before


def driver_changes(
    container: Container, wanted: Resources, current: Resources, writes: list[Write]
) -> list[plan.Change]:
    """Return what tells systemd of the limits, before they are written, and takes that back.

    Unless it is told, its next daemon-reload puts the old ones back. With cgroupfs there is nobody to tell.
    """
    unit = container.record.get("systemd_unit")
    if not unit:
        return []
    from ..plan.systemd import update_steps

    return [plan.Change(*update_steps(unit, wanted, current, writes))]


def note(container: Container, merged: Resources, changes: list[plan.Change], slots: Slots) -> None:
    """Write down what the limits are now; when that can't be done they are put back."""
    try:
        container.save_resources(merged)
    except OSError as error:
        failure = Failure(f"write {container.path}/resources.json", error)
        change.take_back(changes, slots, failure)
        raise failure from None


def read_request(options: Options) -> tuple[Resources, dict[str, str]]:
    """Return the resources document of the command line, and the name of the place of each value by JSON pointer."""
    used = [name for name in OPTIONS if getattr(options, name.replace("-", "_"))]
    for name, why in REFUSED.items():
        if getattr(options, name.replace("-", "_")):
            raise UsageFailure(f"--{name}: {why}")
    if options.resources:
        if used:
            raise UsageFailure(f"--{used[0]} can't stand beside --resources")
        what = "standard input" if options.resources == "-" else options.resources
        return spec.load_resources(options.resources), {"": what}
    if not used:
        raise UsageFailure("update needs --resources or a limit; pyruntime update --help lists them")
    given: Resources = {}
    places = {}
    for name in used:
        pointer, read = OPTIONS[name]
        _, group, key = pointer.split("/")
        given.setdefault(group, {})[key] = read(name, getattr(options, name.replace("-", "_")))
        places[pointer] = f"--{name}"
    return given, places


def forgive(given: Resources) -> None:
    """Take out of a document what has no meaning here, with a warning; runc's update looks at none of it.

    A letter of a device rule that is none denies all of them where the rule denies, and allows nothing where it allows.
    A limit on a device that is gone limits nothing.
    """
    rules = given.get("devices")
    if isinstance(rules, list):
        given["devices"] = [rule for index, rule in enumerate(rules) if not allows_nothing(rule, index)]
    group: Any = given.get("blockIO")
    for name in plan.BY_DEVICE if isinstance(group, dict) else ():
        if isinstance(group.get(name), list):
            group[name] = [entry for entry in group[name] if not is_gone(entry, f"/blockIO/{name}")]


def allows_nothing(rule: Any, index: int) -> bool:
    """Leave a rule its known letters, with a warning; return whether it has none left and so allows nothing."""
    access = rule.get("access") if isinstance(rule, dict) else None
    if not isinstance(access, str) or not access.strip("rwm"):
        return False
    log.warning(f"/devices/{index}/access: {quoted(access)} has other letters than r, w and m")
    rule["access"] = "".join(letter for letter in "rwm" if letter in access) if rule.get("allow") is True else "rwm"
    return not rule["access"]


def is_gone(entry: Any, at: str) -> bool:
    """Whether an entry is of a block device that the machine does not have; that is warned of."""
    if not isinstance(entry, dict) or not facts.lacks_block_device(entry.get("major"), entry.get("minor")):
        return False
    log.warning(f"{at}: there is no block device {entry['major']}:{entry['minor']}; its limit is passed over")
    return True


def located(failure: Failure, places: dict[str, str]) -> Failure:
    """Return the failure with its pointer as a place of the request: config.json is not what was read."""
    if failure.pointer is None:
        return failure
    pointer = failure.pointer.removeprefix("/linux/resources")
    failure.pointer = None
    if pointer in places:
        failure.what += f" [{places[pointer]}]"
    elif "" in places:
        failure.what += f" [{places['']}#{pointer}]"
    return failure


def size(name: str, text: str) -> int:
    """Return bytes for "134217728", "128m", "1.5GiB", or -1; as engines' clients write sizes."""
    if text == "-1":
        return -1
    word = text.strip().lower()
    digits = word.rstrip("kmgtpib ")
    unit = word[len(digits) :].strip().removesuffix("b").removesuffix("i")
    whole, _, part = digits.partition(".")
    if not (whole + part).isdecimal() or not digits.isascii() or len(digits) > 40 or unit not in SUFFIXES:
        raise UsageFailure(f"--{name}: {quoted(text)} is no size; examples: 134217728, 128m, 1.5g, -1")
    factor = 1024 ** SUFFIXES[unit]
    value: int = int(whole or "0") * factor + int(part or "0") * factor // 10 ** len(part)
    if value > LARGEST:
        raise UsageFailure(f"--{name}: {quoted(text)} is too large")
    return value


def integer(least: int, most: int = LARGEST) -> Callable[[str, str], int]:
    """Return a reader of decimal numbers in a range."""

    def read(name: str, text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and least <= int(text) <= most):
            raise UsageFailure(f"--{name}: {quoted(text)} is not a number from {least} to {most}")
        return int(text)

    return read


def words(_name: str, text: str) -> str:
    return text


OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "memory": ("/memory/limit", size),
    "memory-reservation": ("/memory/reservation", size),
    "memory-swap": ("/memory/swap", size),
    "cpu-quota": ("/cpu/quota", integer(-1)),
    "cpu-period": ("/cpu/period", integer(0)),
    "cpu-burst": ("/cpu/burst", integer(0)),
    "cpu-share": ("/cpu/shares", integer(0)),
    "cpu-idle": ("/cpu/idle", integer(0, 1)),
    "cpuset-cpus": ("/cpu/cpus", words),
    "cpuset-mems": ("/cpu/mems", words),
    "pids-limit": ("/pids/limit", integer(-1)),
    "blkio-weight": ("/blockIO/weight", integer(10, 1000)),
    "cpu-rt-period": ("/cpu/realtimePeriod", integer(0)),
    "cpu-rt-runtime": ("/cpu/realtimeRuntime", integer(-1)),
    "kernel-memory": ("/memory/kernel", size),
    "kernel-memory-tcp": ("/memory/kernelTCP", size),
}
"""Option -> where its value stands in the resources document, and how it is read; an empty value is none."""
REFUSED = {"l3-cache-schema": "Intel RDT is not supported", "mem-bw-schema": "Intel RDT is not supported"}
