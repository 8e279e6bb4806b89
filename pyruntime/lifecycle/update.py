"""Update: change the limits of a container that is created, running or paused."""

from __future__ import annotations

import posix

from .. import kernel, log, spec
from ..container import cgroup
from ..container.status import status_of
from ..container.store import Store
from ..engine import change
from ..errors import Failure
from ..host import probe
from ..plan import update as plan
from ..state_files import RESOURCES
from ..text import quoted
from .place import of_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..container.store import Container
    from ..host.data import Place
    from ..step import Slots

    Resources = dict[str, Any]


def update(root: str, container_id: str, given: Resources) -> None:
    """Apply a resources document (linux.resources): all of it, or nothing. Raises Failure; its pointer, if any, begins
    with /linux/resources, the place of the values in config.json."""
    check(given)
    with Store(root).open(container_id) as container:
        check_status(container)
        apply(container, given)


def planned(root: str, container_id: str, given: Resources) -> plan.Update:
    """Return the plan of an update without executing it. Raises Failure if it would be refused."""
    check(given)
    with Store(root).open(container_id, lock=False) as container:
        check_status(container)
        request, place = request_of(container, given), of_record(container.record)
        return plan.build_update(request, place, probe.read_files(place.directory, request.files()))


def check(given: Resources) -> None:
    """Validate a resources document; remove what has no meaning here, with warnings."""
    forgive(given)
    for warning in spec.validate_resources(given, None):
        log.warning(warning)


def check_status(container: Container) -> None:
    now = status_of(container)
    now.close()
    if now.status not in ("created", "running", "paused"):
        raise Failure(f'cannot update container "{container.id}": container not running (it is {now.status})')


def request_of(container: Container, given: Resources) -> plan.Request:
    record = container.record
    return plan.Request(given, container.resources(), record["ociVersion"], systemd="systemd_unit" in record)


def apply(container: Container, given: Resources) -> None:
    """Apply the requested resources to the cgroup and to the saved limits."""
    group = cgroup.owned(container.record)
    if group is None:
        raise Failure(f'cannot update container "{container.id}": its cgroup is gone')
    request, place = request_of(container, given), of_record(container.record)
    directory = kernel.open(group.path, kernel.flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"))
    slots: Slots = {"container": container, "cgroup": directory}
    try:
        update_plan = build(request, place, slots)
        change.run(update_plan.loading, slots)
        kills = group.oom_kills()
        change.make(update_plan.changes, slots)
        note(container, request, update_plan, slots)
        if kills_after(group, kills) > kills:
            over = "its memory was above the new limit, and the kernel killed processes in it"
            log.warning(f'container "{container.id}": {over}')
    finally:
        for name in ("cgroup", "device_filter", "old_device_filter"):
            if slots.get(name, -1) >= 0:
                posix.close(slots[name])


def build(request: plan.Request, place: Place, slots: Slots) -> plan.Update:
    """Return the plan. First enable controllers that the container has not used so far, whose files the plan needs."""
    enabling = plan.enable_steps(request.writes, place)
    if enabling:
        change.run(enabling, slots)
        place.shared = probe.shared_controllers(place.mount, place.path, [])
    return plan.build_update(request, place, probe.read_files(place.directory, request.files()))


def kills_after(group: cgroup.Cgroup, before: int) -> int:
    """Return how many processes the kernel has killed by now. The changes are made, so a failed read is no error."""
    try:
        return group.oom_kills()
    except OSError:
        return before


def note(container: Container, request: plan.Request, update_plan: plan.Update, slots: Slots) -> None:
    """Save the new limits; if that fails, restore the old ones."""
    try:
        container.save_resources(request.merged)
    except OSError as error:
        failure = Failure(f"write {container.path}/{RESOURCES}", error)
        change.take_back(update_plan.changes, slots, failure)
        raise failure from None


def forgive(given: Resources) -> None:
    """Remove from a document what has no meaning here, with a warning; runc's update ignores all of it.

    An unknown letter in the access of a device rule makes a denying rule deny everything, and allows nothing in an
    allowing one. A limit on a device that is gone has no effect.
    """
    rules = given.get("devices")
    if isinstance(rules, list):
        given["devices"] = [rule for index, rule in enumerate(rules) if not allows_nothing(rule, index)]
    group: Any = given.get("blockIO")
    for name in plan.BY_DEVICE if isinstance(group, dict) else ():
        if isinstance(group.get(name), list):
            group[name] = [entry for entry in group[name] if not is_gone(entry, f"/blockIO/{name}")]


def allows_nothing(rule: Any, index: int) -> bool:
    """Reduce a rule to its known letters, with a warning; return whether none is left, so that it allows nothing."""
    access = rule.get("access") if isinstance(rule, dict) else None
    if not isinstance(access, str) or not access.strip("rwm"):
        return False
    log.warning(f"/devices/{index}/access: {quoted(access)} has letters other than r, w and m")
    rule["access"] = "".join(letter for letter in "rwm" if letter in access) if rule.get("allow") is True else "rwm"
    return not rule["access"]


def is_gone(entry: Any, at: str) -> bool:
    """Whether an entry is for a block device that the machine does not have; log a warning if so."""
    if not isinstance(entry, dict) or not probe.lacks_block_device(entry.get("major"), entry.get("minor")):
        return False
    log.warning(f"{at}: there is no block device {entry['major']}:{entry['minor']}; its limit is ignored")
    return True
