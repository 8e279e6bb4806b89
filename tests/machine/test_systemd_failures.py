"""The systemd cgroup driver, with systemd as pid 1: what is refused, what fails, and that nothing is left then.

Source: systemd.scope(5), systemd.slice(5), systemd.resource-control(5); runc's docs/systemd.md for cgroupsPath.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import session, systemd
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import ENVIRONMENT, Runtime, new_id, process_runs, says

from pyruntime.container import systemd as client
from pyruntime.plan import unit_properties

if TYPE_CHECKING:
    from pyruntime.container.record import Record

pytestmark = pytest.mark.systemd

MIB = 1 << 20


@pytest.fixture
def runtime(runtime: Runtime) -> Iterator[Runtime]:
    """The runtime with the systemd driver; no unit may be left by a test."""
    yield from systemd.as_driver(runtime)


def resources(bundle: Bundle) -> dict[str, Any]:
    return dict_of(bundle.linux, "resources")


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a path": ({"cgroupsPath": f"/{session.TOKEN}/x"}, ("/linux/cgroupsPath", "slice:prefix:name")),
    "two parts": ({"cgroupsPath": f"{session.TOKEN}:x"}, ("/linux/cgroupsPath", "slice:prefix:name")),
    "no slice": ({"cgroupsPath": f"{session.TOKEN}:a:b"}, ("/linux/cgroupsPath", "slice")),
    "empty part of a slice": ({"cgroupsPath": "a--b.slice:a:b"}, ("/linux/cgroupsPath", "a--b.slice")),
    "a slice in place of a scope": ({"cgroupsPath": "system.slice:a:b.slice"}, ("/linux/cgroupsPath", "scope")),
    "letters": ({"cgroupsPath": ":a:b c"}, ("/linux/cgroupsPath", "' '")),
    "a value out of systemd's range": (
        {"resources": {"unified": {"cpu.weight": "20000"}}},
        ("/linux/resources/unified/cpu.weight", "CPUWeight", "20000"),
    ),
    "a value that only the kernel sees": (
        {"resources": {"unified": {"memory.max": "much"}}}, ("/linux/resources/unified/memory.max", "much", "EINVAL"),
    ),
    "no such cpu": ({"resources": {"cpu": {"cpus": "64"}}}, ("/linux/resources/cpu/cpus", "64")),
    "no such controller": (
        {"resources": {"unified": {"nosuch.max": "1"}}}, ("/linux/resources/unified/nosuch.max", "nosuch"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused_and_nothing_left(name: str, runtime: Runtime, bundle: Bundle) -> None:
    change, words = BAD[name]
    bundle.linux.update(change)
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), *words)
    assert runtime.ids() == []
    assert systemd.scopes() == []


ANNOTATIONS = {
    "not a text of a value": ("org.systemd.property.TimeoutStopUSec", "many", ("many",)),
    "unknown": ("org.systemd.property.NoSuchThing", "true", ("NoSuchThing",)),
    "of another type": ("org.systemd.property.TimeoutStopUSec", "'7s'", ("TimeoutStopUSec", "refused")),
    "the runtime's": ("org.systemd.property.Slice", "'x.slice'", ("Slice",)),
    "no name": ("org.systemd.property.A/B", "true", ("A/B",)),
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_bad_annotation(name: str, runtime: Runtime, bundle: Bundle) -> None:
    key, value, words = ANNOTATIONS[name]
    bundle.config["annotations"] = {key: value}
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), "/annotations/org.systemd.property.", *words)
    assert runtime.ids() == []
    assert systemd.scopes() == []


def test_unit_that_exists_is_left_alone(container: Make, runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f":engine:{session.TOKEN}"
    first = container()
    unit = f"engine-{session.TOKEN}.scope"
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), "/linux/cgroupsPath", unit, "already")
    assert runtime.ids() == [first.id]
    assert first.status == "running"
    assert systemd.scopes() == [unit]


def test_a_failure_inside_leaves_no_unit(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("/no/such/program")
    name = new_id()
    says(runtime.fails("create", "--bundle", bundle.save(), name), "/no/such/program")
    assert runtime.ids() == []
    assert systemd.units(name) == []


def test_the_other_drivers_path(runtime: Runtime, bundle: Bundle) -> None:
    runtime.options.clear()
    bundle.linux["cgroupsPath"] = f"system.slice:engine:{session.TOKEN}"
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), "/linux/cgroupsPath", "--systemd-cgroup")


def test_damaged_record(container: Make, runtime: Runtime) -> None:
    box = container()
    pid = box.pid
    (runtime.root / box.id / "state.json").write_text("{")
    box.delete("--force")
    assert not process_runs(pid)
    assert systemd.units(box.id) == []


ROUNDS = 40


def test_create_killed_at_any_moment(runtime: Runtime, bundle: Bundle) -> None:
    """Whenever create is killed, `delete --force` leaves neither process nor unit."""
    path = bundle.save()
    began = time.monotonic()
    runtime.ok("create", "--bundle", path, name := new_id())
    whole = time.monotonic() - began
    runtime.ok("delete", "--force", name)
    seed = random.Random(5)
    reached = 0
    for _ in range(ROUNDS):
        name = new_id()
        with subprocess.Popen(
            runtime.command("create", "--bundle", path, name),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT,
        ) as command:  # fmt: skip
            time.sleep(seed.uniform(0, whole))
            command.send_signal(signal.SIGKILL)
        reached += systemd.scope_of(name) in systemd.units(name)
        runtime.ok("delete", "--force", name)
        assert runtime.ids() == []
        assert systemd.units(name) == []
    assert reached, "no create was killed while its scope was there"


def test_a_scope_around_a_process_that_had_ended() -> None:
    """What a create leaves that is killed while systemd makes the scope: the kernel does not move a zombie."""
    name = new_id()
    unit = systemd.scope_of(name)
    record: Record = {"systemd_unit": unit, "systemd_user": False}
    record.update({"cgroup_mount": str(session.CGROUP_ROOT), "cgroup": f"/system.slice/{unit}"})
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    with client.connect(user=False) as manager:
        manager.start_scope(unit, [unit_properties.Property("DefaultDependencies", "b", False)], zombie.pid)
    zombie.wait()
    assert systemd.show(unit, "ActiveState") == {"ActiveState": "active"}
    client.remove_scope(record)
    assert systemd.units(name) == []
    assert not (session.CGROUP_ROOT / "system.slice" / unit).exists()


def test_program_out_of_memory_leaves_no_failed_unit(container: Make, bundle: Bundle) -> None:
    resources(bundle)["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    bundle.sh("exec tail -c 200m /dev/zero")
    box = container()
    box.wait_stopped()
    box.delete()
    assert systemd.units(box.id) == []
    assert not Path(session.CGROUP_ROOT / "system.slice" / systemd.scope_of(box.id)).exists()
