"""systemd as the owner of the container's cgroup: a transient scope unit, over D-Bus.

Root talks to systemd's private socket, as systemctl does: no bus daemon is needed, and one process fewer is involved.
Where only a bus can be reached (in a container with the host's bus in it), the bus is used. A user's containers
belong to the user's own manager. Source: org.freedesktop.systemd1(5), systemd.scope(5); systemd is reached in the same
ways as by systemctl.
"""

from __future__ import annotations

import posix
import time

from ..errors import Failure, errno_text
from ..text import decode, encode
from . import cgroup
from .dbus import CallFailed, Connection, open_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    from .record import Record

    class Property(Protocol):
        """A property of a unit, as plan.unit_properties makes it; signature: of value, in D-Bus's terms.

        derived: it repeats a limit that is written to the cgroup as well, so it can be left out for a systemd that is
        too old to know it.
        """

        name: str
        signature: str
        value: Any
        pointer: str
        derived: bool


SERVICE = "org.freedesktop.systemd1"
OBJECT = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
BUS = "org.freedesktop.DBus"
JOB_SIGNALS = f"type='signal',sender='{SERVICE}',interface='{MANAGER}',member='JobRemoved'"
SYSTEM_PRIVATE = "/run/systemd/private"
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
SECONDS = 30.0
"""How long systemd may take to answer, and to finish a job."""
VANISH_SECONDS = 2.0
"""How long systemd may take to forget a unit that has ended."""
NO_UNIT = (f"{SERVICE}.NoSuchUnit", f"{SERVICE}.LoadFailed")
NO_PROPERTY = "org.freedesktop.DBus.Error.PropertyReadOnly"
"""The error of StartTransientUnit and SetUnitProperties for a property that they do not know."""
SUCCESS = ("done", "skipped")
UNESCAPED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.")
"""Bytes that need no escape in the value of a D-Bus address."""


def environment(name: bytes) -> str:
    return decode(posix.environ.get(name, b""))


def addresses(*, user: bool) -> list[tuple[str, bool]]:
    """Return the D-Bus addresses of the manager, best first, each with whether it is that of a bus."""
    if not user:
        return [(private(SYSTEM_PRIVATE), False), (environment(b"DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS, True)]
    found = []
    run_time = environment(b"XDG_RUNTIME_DIR")
    if run_time:
        found.append((private(f"{run_time}/systemd/private"), False))
    session = environment(b"DBUS_SESSION_BUS_ADDRESS")
    if session:
        found.append((session, True))
    elif run_time:
        found.append((private(f"{run_time}/bus"), True))
    return found


def private(path: str) -> str:
    """Return the D-Bus address of a socket at a path."""
    plain = encode(path)
    return "unix:path=" + "".join(chr(byte) if byte in UNESCAPED else f"%{byte:02x}" for byte in plain)


def connect(*, user: bool) -> Manager:
    """Return a connection to the system's manager, or to the user's. Raises Failure with every address tried."""
    problems = []
    for address, bus in addresses(user=user):
        try:
            fd = open_address(address)
        except OSError as error:
            problems.append(f"{address.removeprefix('unix:path=')}: {errno_text(error.errno)}")
            continue
        return Manager(Connection(fd, "the D-Bus daemon" if bus else "systemd", SECONDS), bus=bus)
    tried = "; ".join(problems) or "XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS are not set"
    whose = "the user's systemd" if user else "systemd"
    raise Failure(f"{whose} can't be reached: {tried}", hint="without systemd, leave out --systemd-cgroup")


class Manager:
    """systemd's manager object, for units of transient scopes."""

    def __init__(self, connection: Connection, *, bus: bool) -> None:
        self.connection = connection
        if not bus:
            # The private socket needs no subscription: its clients receive every signal of the manager.
            return
        try:
            connection.call(BUS, "/org/freedesktop/DBus", BUS, "Hello")
            connection.call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", "s", JOB_SIGNALS)
            self._call("Subscribe")
        except CallFailed as error:
            connection.close()
            raise Failure(f"systemd can't be reached over D-Bus: {error.text} ({error.name})") from None
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def _call(self, member: str, signature: str = "", *args: Any) -> list[Any]:
        return self.connection.call(SERVICE, OBJECT, MANAGER, member, signature, *args)

    def start_scope(self, unit: str, properties: Iterable[Property], pid: int) -> None:
        """Start the scope with the process in it, and wait until systemd is done. Raises UnitExists or Failure."""
        given = list(properties)
        again = True
        while True:
            values = [(each.name, (each.signature, each.value)) for each in given] + [("PIDs", ("au", [pid]))]
            try:
                (job,) = self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", values, [])
                break
            except CallFailed as error:
                if error.name == f"{SERVICE}.UnitExists":
                    if not again:
                        raise UnitExists(unit) from None
                    # The old unit may have failed and only be remembered, or be about to disappear.
                    again = False
                    self.reset_failed(unit)
                elif (unknown := unknown_property(error, given)) is not None:
                    given.remove(unknown)
                else:
                    raise refusal(f"systemd refused to start {unit}", error, given) from None
            except OverflowError:
                raise Failure(f"a property of {unit} is out of the range of its type") from None
        result = self._wait_for_job(job, unit)
        if result not in SUCCESS:
            self.reset_failed(unit)
            raise Failure(
                f'systemd could not start {unit}: its job ended with "{result}"', hint=f"see systemctl status {unit}"
            )

    def _wait_for_job(self, job: str, unit: str) -> str:
        """Wait for a job and return its result: done, canceled, timeout, failed, dependency, skipped …."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                values = self.connection.next_signal("JobRemoved", deadline)
            except Failure as failure:
                raise Failure(f"systemd's job for {unit}: {failure.what}") from None
            if len(values) == 4 and values[1] == job:
                return str(values[3])

    def stop(self, unit: str) -> None:
        """Stop a unit whose processes have been killed, and wait until it has stopped; ignore one that is gone."""
        try:
            (job,) = self._call("StopUnit", "ss", unit, "replace")
        except CallFailed as error:
            if error.name in NO_UNIT:
                return
            raise refusal(f"systemd refused to stop {unit}", error, ()) from None
        result = self._wait_for_job(job, unit)
        if result not in SUCCESS:
            raise Failure(f'systemd could not stop {unit}: its job ended with "{result}"')

    def reset_failed(self, unit: str) -> None:
        """Make systemd forget a unit that has failed; ignore one that has not, or is gone."""
        try:
            self._call("ResetFailedUnit", "s", unit)
        except CallFailed:
            return

    def knows(self, unit: str) -> bool:
        """Whether systemd still knows the unit."""
        try:
            self._call("GetUnit", "s", unit)
        except CallFailed as error:
            if error.name in NO_UNIT:
                return False
            raise refusal(f"ask systemd for {unit}", error, ()) from None
        return True

    def wait_until_gone(self, unit: str, seconds: float = VANISH_SECONDS) -> bool:
        """Wait until systemd has forgotten the unit; return False when it has not in that time."""
        return any(not self.knows(unit) for _ in cgroup.attempts(seconds, 0.05))

    def set_properties(self, unit: str, properties: Iterable[Property]) -> None:
        """Change properties of a running unit, until the next boot. Raises Failure; then none has changed."""
        given = list(properties)
        while given:
            values = [(each.name, (each.signature, each.value)) for each in given]
            try:
                self._call("SetUnitProperties", "sba(sv)", unit, True, values)
                return
            except CallFailed as error:
                unknown = unknown_property(error, given)
                if unknown is None:
                    raise refusal(f"systemd refused to change {unit}", error, given) from None
                given.remove(unknown)


class UnitExists(Failure):
    """Another unit, which is not this container's, has the name and must be left alone."""

    def __init__(self, unit: str) -> None:
        super().__init__(
            f"systemd already has a unit {unit}",
            pointer="/linux/cgroupsPath",
            hint="another container or service uses it; delete that one or choose another cgroupsPath",
        )


def named_property(error: CallFailed, properties: Iterable[Property]) -> Property | None:
    """Return the property that an error's text mentions; if several, the one with the longest name."""
    words = error.text.replace(",", " ").replace("'", " ").replace("=", " ").replace(":", " ").split()
    found = [each for each in properties if each.name in words]
    return max(found, key=lambda each: len(each.name), default=None)


def unknown_property(error: CallFailed, properties: Iterable[Property]) -> Property | None:
    """Return the property that this systemd is too old to know, if it can be left out."""
    found = named_property(error, properties) if error.name == NO_PROPERTY else None
    return found if found is not None and found.derived else None


def refusal(what: str, error: CallFailed, properties: Iterable[Property]) -> Failure:
    """Return a failure that says what systemd refused, with the property and its place in the config."""
    named = named_property(error, properties)
    if named is None:
        # systemd does not say which property has a value of the wrong type; only those of annotations can.
        asked = [each.pointer for each in properties if each.pointer.startswith("/annotations/")]
        pointer = None if not asked else asked[0] if len(asked) == 1 else "/annotations"
        return Failure(f"{what}: {error.text} ({error.name.rpartition('.')[2]})", pointer=pointer)
    return Failure(f"{what}: {named!r}: {error.text}", pointer=named.pointer)


def start_scope(record: Record, unit: str, properties: Iterable[Property], pid: int) -> None:
    """Start a container's scope with its init in it. The record names the unit before it exists. Raises Failure."""
    with connect(user=record["systemd_user"]) as manager:
        try:
            manager.start_scope(unit, properties, pid)
        except UnitExists:
            # The unit is not ours, so the clean-up must not remove it.
            del record["systemd_unit"]
            raise


def set_unit_properties(record: Record, properties: Iterable[Property]) -> None:
    """Set in systemd the limits that are about to be written to a container's cgroup (`update`).

    Otherwise the next `systemctl daemon-reload` would restore the old ones. Raises Failure; then none has changed.
    """
    with connect(user=record["systemd_user"]) as manager:
        manager.set_properties(record["systemd_unit"], properties)


def remove_scope(record: Record) -> None:
    """Stop the container's scope, whose processes have been killed, and wait until unit and cgroup are gone.

    When systemd can no longer be reached, remove the cgroup all the same. Raises Failure.
    """
    unit = record["systemd_unit"]
    group = cgroup.owned(record)
    ended = group is not None
    try:
        manager = connect(user=record["systemd_user"])
    except Failure:
        if group is not None:
            group.remove()
        return
    with manager:
        if group is not None:
            group.wait_until_empty()
            manager.stop(unit)
            # This does something only if cgroups that the container made kept systemd from removing its cgroup.
            group.remove()
        elif "cgroup_id" not in record:
            ended = end_orphan(manager, unit, cgroup.of(record))
        if manager.knows(unit):
            manager.reset_failed(unit)
            manager.wait_until_gone(unit, VANISH_SECONDS if ended else 0)


def end_orphan(manager: Manager, unit: str, group: cgroup.Cgroup) -> bool:
    """End a scope whose create was killed before it could record it as its own; return whether that was necessary.

    Its only process was init, which ends with its parent, and systemd ends a scope when its last process has gone. But
    a process that has just ended is not moved, although the kernel accepts its pid: then no process was ever in the
    scope, so none ever leaves it. A scope that still has processes is somebody else's.
    """
    for _ in cgroup.attempts(VANISH_SECONDS, 0.01):
        if cgroup.identity(group.path) == -1:
            return False
    if group.populated():
        return False
    manager.stop(unit)
    return True
