"""The systemd cgroup driver, with systemd as pid 1: units, their properties, what a daemon-reload leaves, what is left.

Source: systemd.scope(5), systemd.slice(5), systemd.resource-control(5); runc's docs/systemd.md for cgroupsPath.
"""

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support import session, systemd
from support.bundle import Bundle, dict_of
from support.cgroup import Group, cgroup_of
from support.fixtures import Make
from support.runtime import ENVIRONMENT, Runtime, new_id

pytestmark = pytest.mark.systemd

MIB = 1 << 20


@pytest.fixture
def runtime(runtime: Runtime) -> Iterator[Runtime]:
    """The runtime with the systemd driver; no unit may be left by a test."""
    yield from systemd.as_driver(runtime)


def resources(bundle: Bundle) -> dict[str, Any]:
    return dict_of(bundle.linux, "resources")


class TestUnit:
    def test_scope_of_a_container(self, container: Make) -> None:
        box = container()
        unit = systemd.scope_of(box.id)
        assert cgroup_of(box.pid) == session.CGROUP_ROOT / "system.slice" / unit
        found = systemd.show(
            unit, "Description", "Slice", "Delegate", "DefaultDependencies", "CollectMode", "ActiveState", "Transient",
            "CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting", "DevicePolicy", "ControlGroup",
        )  # fmt: skip
        assert found == {
            "Description": f"pyruntime container {box.id}", "Slice": "system.slice", "Delegate": "yes",
            "DefaultDependencies": "no", "CollectMode": "inactive-or-failed", "ActiveState": "active",
            "Transient": "yes", "CPUAccounting": "yes", "MemoryAccounting": "yes", "IOAccounting": "yes",
            "TasksAccounting": "yes", "DevicePolicy": "strict", "ControlGroup": f"/system.slice/{unit}",
        }  # fmt: skip
        box.kill()
        box.wait_stopped()
        box.delete()
        assert systemd.units(box.id) == []
        assert not (session.CGROUP_ROOT / "system.slice" / unit).exists()

    def test_every_command_works_in_it(self, container: Make, runtime: Runtime) -> None:
        box = container()
        group = Group(box)
        assert box.status == "running"
        assert box.sh("cat /proc/self/cgroup") == "0::/"
        assert box.id in runtime.ok("list")
        assert str(box.pid) in runtime.ok("ps", box.id)
        runtime.ok("pause", box.id)
        assert (box.status, group.number("cgroup.events", "frozen")) == ("paused", 1)
        runtime.ok("resume", box.id)
        assert (box.status, group.number("cgroup.events", "frozen")) == ("running", 0)
        runtime.ok("pause", box.id)
        box.delete("--force")
        assert systemd.units(box.id) == []

    def test_run_leaves_nothing(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("cat /proc/self/cgroup; exit 7")
        name = new_id()
        done = runtime.run("run", "--bundle", bundle.save(), name)
        assert (done.status, done.stdout) == (7, "0::/\n")
        assert systemd.units(name) == []

    def test_same_name_again_and_again(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.args("echo", "fine")
        name = new_id()
        said = [runtime.ok("run", "--bundle", bundle.save(), name) for _ in range(5)]
        assert said == ["fine\n"] * 5 and systemd.units(name) == []

    def test_a_program_that_ended_takes_its_scope_along(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("exit 3")
        box = container()
        box.wait_stopped()
        box.delete()
        assert systemd.units(box.id) == []

    def test_cgroups_that_the_container_made_go_as_well(self, container: Make, bundle: Bundle) -> None:
        for mount in bundle.mounts:
            if mount["type"] == "cgroup":
                mount["options"].remove("ro")
        bundle.sh("mkdir -p /sys/fs/cgroup/a/b/c && echo $$ >/sys/fs/cgroup/a/b/c/cgroup.procs && sleep 1000")
        box = container()
        box.sh("until grep -q /a/b/c /proc/1/cgroup; do sleep 0.05; done")
        box.delete("--force")
        assert systemd.units(box.id) == []

    def test_crun_spelling(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("true")
        runtime.options[:] = ["--cgroup-manager", "systemd"]
        name = new_id()
        runtime.ok("create", "--bundle", bundle.save(), name)
        assert systemd.units(name) == [systemd.scope_of(name)]
        runtime.ok("delete", "--force", name)

    def test_id_with_a_plus(self, runtime: Runtime, bundle: Bundle) -> None:
        name = new_id() + "+x"
        runtime.ok("create", "--bundle", bundle.save(), name)
        assert systemd.show(systemd.scope_of(name.replace("+", "\\x2b")), "ActiveState") == {"ActiveState": "active"}
        runtime.ok("delete", "--force", name)


class TestPlace:
    @pytest.mark.parametrize("parts", [(), ("a",), ("a", "b", "c")], ids=str)
    def test_slices_nest(self, parts: tuple[str, ...], container: Make, bundle: Bundle) -> None:
        slice_name = systemd.slice_of(*parts)
        bundle.linux["cgroupsPath"] = f"{slice_name}:engine:{session.TOKEN}"
        box = container()
        group = cgroup_of(box.pid)
        assert group == systemd.path_of_slice(slice_name) / f"engine-{session.TOKEN}.scope"
        assert systemd.show(group.name, "Slice") == {"Slice": slice_name}

    def test_root_slice(self, container: Make, bundle: Bundle) -> None:
        bundle.linux["cgroupsPath"] = f"-.slice:engine:{session.TOKEN}"
        assert cgroup_of(container().pid) == session.CGROUP_ROOT / f"engine-{session.TOKEN}.scope"

    def test_default_slice(self, container: Make, bundle: Bundle) -> None:
        bundle.linux["cgroupsPath"] = f":engine:{session.TOKEN}"
        assert cgroup_of(container().pid) == session.CGROUP_ROOT / f"system.slice/engine-{session.TOKEN}.scope"


LIMITS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    "memory": (
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB}},
        {"MemoryMax": str(64 * MIB), "MemorySwapMax": str(32 * MIB), "MemoryLow": str(32 * MIB)},
        {"memory.max": str(64 * MIB), "memory.swap.max": str(32 * MIB), "memory.low": str(32 * MIB)},
    ),
    "no limit of memory": (
        {"memory": {"limit": -1, "swap": -1}},
        {"MemoryMax": "infinity", "MemorySwapMax": "infinity"},
        {"memory.max": "max", "memory.swap.max": "max"},
    ),
    "cpu": (
        {"cpu": {"shares": 512, "quota": 50000, "period": 200000}},
        {"CPUWeight": "59", "CPUQuotaPerSecUSec": "250ms", "CPUQuotaPeriodUSec": "200ms"},
        {"cpu.weight": "59", "cpu.max": "50000 200000"},
    ),
    "a quota is rounded up to whole percents": (
        {"cpu": {"quota": 12345, "period": 100000}},
        {"CPUQuotaPerSecUSec": "130ms"},
        {"cpu.max": "13000 100000"},
    ),
    "no quota": (
        {"cpu": {"quota": -1, "period": 50000}},
        {"CPUQuotaPerSecUSec": "infinity", "CPUQuotaPeriodUSec": "100ms"},
        {"cpu.max": "max 100000"},
    ),
    "idle": ({"cpu": {"idle": 1}}, {"CPUWeight": "idle"}, {"cpu.idle": "1"}),
    "cpuset": (
        {"cpu": {"cpus": "1", "mems": "0"}},
        {"AllowedCPUs": "1", "AllowedMemoryNodes": "0"},
        {"cpuset.cpus": "1", "cpuset.mems": "0"},
    ),
    "pids": ({"pids": {"limit": 20}}, {"TasksMax": "20"}, {"pids.max": "20"}),
    "no limit of pids": ({"pids": {"limit": -1}}, {"TasksMax": "infinity"}, {"pids.max": "max"}),
    "io weight": ({"blockIO": {"weight": 500}}, {"IOWeight": "4950"}, {"io.weight": "default 4950"}),
    "unified": (
        {
            "unified": {
                "memory.high": "48M", "memory.min": str(MIB), "pids.max": "30", "cpu.weight": "77",
                "cpu.max": "20000", "cpuset.cpus": "0-1",
            }
        },
        {
            "MemoryHigh": str(48 * MIB), "MemoryMin": str(MIB), "TasksMax": "30", "CPUWeight": "77",
            "CPUQuotaPerSecUSec": "200ms", "AllowedCPUs": "0-1",
        },
        {
            "memory.high": str(48 * MIB), "memory.min": str(MIB), "pids.max": "30", "cpu.weight": "77",
            "cpu.max": "20000 100000", "cpuset.cpus": "0-1",
        },
    ),
    "what systemd has no word for": (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}], "cpu": {"quota": 50000, "burst": 10000}},
        {"CPUQuotaPerSecUSec": "500ms"},
        {"hugetlb.2MB.max": str(4 * MIB), "cpu.max.burst": "10000", "cpu.max": "50000 100000"},
    ),
    "one task": ({"pids": {"limit": 1}}, {"TasksMax": "1"}, {"pids.max": "1"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_in_the_unit_and_in_the_files_and_stay(name: str, container: Make, bundle: Bundle) -> None:
    asked, properties, files = LIMITS[name]
    resources(bundle).update(asked)
    box = container(start=False)
    group, unit = Group(box), systemd.scope_of(box.id)
    assert systemd.show(unit, *properties) == properties
    assert {file: group.read(file) for file in files} == files
    systemd.systemctl("daemon-reload")
    assert systemd.show(unit, *properties) == properties
    assert {file: group.read(file) for file in files} == files, "after a daemon-reload"


def test_throttles(container: Make, bundle: Bundle) -> None:
    device = os.stat("/dev/vdc").st_rdev
    numbers = {"major": os.major(device), "minor": os.minor(device)}
    text = f"{numbers['major']}:{numbers['minor']} rbps={MIB} wbps=max riops=max wiops=200"
    resources(bundle)["blockIO"] = {
        "throttleReadBpsDevice": [{**numbers, "rate": MIB}],
        "throttleWriteIOPSDevice": [{**numbers, "rate": 200}],
    }
    box = container(start=False)
    assert Group(box).read("io.max") == text
    systemd.systemctl("daemon-reload")
    assert Group(box).read("io.max") == text


class TestDevices:
    OPEN = "for d in null zero full random tty vdc; do (: <>/dev/$d) 2>/dev/null && echo $d; done; true"

    def allowed(self, bundle: Bundle, *rules: dict[str, Any]) -> None:
        resources(bundle)["devices"] = [{"allow": False, "access": "rwm"}, *rules]
        device = os.stat("/dev/vdc").st_rdev
        node = {
            "path": "/dev/vdc",
            "type": "b",
            "major": os.major(device),
            "minor": os.minor(device),
            "fileMode": 0o666,
        }
        bundle.linux["devices"] = [node]

    def test_list_is_that_of_the_filter(self, container: Make, bundle: Bundle) -> None:
        self.allowed(
            bundle,
            {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"},
            {"allow": True, "type": "b", "major": 8, "access": "r"},
            {"allow": True, "type": "c", "major": 4, "access": "rw"},
            {"allow": False, "type": "c", "major": 4, "access": "w"},
        )
        found = systemd.systemctl(
            "show", systemd.scope_of(container(start=False).id), "--property=DeviceAllow"
        ).splitlines()
        assert {line.removeprefix("DeviceAllow=") for line in found} >= {
            "/dev/char/10:200 rw", "block-8 r", "char-4 r", "char-* m", "block-* m", "char-136 rwm",
            "/dev/char/1:3 rwm",
        }  # fmt: skip

    def test_a_reload_opens_and_closes_nothing(self, container: Make, bundle: Bundle) -> None:
        self.allowed(bundle)
        box = container()
        before = box.sh(self.OPEN).split()
        assert before == ["null", "zero", "full", "random"] or before == ["null", "zero", "full", "random", "tty"]
        systemd.systemctl("daemon-reload")
        assert box.sh(self.OPEN).split() == before

    def test_all_but_one(self, container: Make, bundle: Bundle) -> None:
        """What systemd has no words for: it allows all, and the runtime's own filter takes the one away."""
        self.allowed(bundle)
        device = os.stat("/dev/vdc").st_rdev
        denied = {"allow": False, "type": "b", "major": os.major(device), "minor": os.minor(device), "access": "rwm"}
        resources(bundle)["devices"] = [{"allow": True, "access": "rwm"}, denied]
        box = container()
        assert systemd.show(systemd.scope_of(box.id), "DevicePolicy") == {"DevicePolicy": "auto"}
        assert "vdc" not in box.sh(self.OPEN).split()
        systemd.systemctl("daemon-reload")
        assert "vdc" not in box.sh(self.OPEN).split()

    def test_all(self, container: Make, bundle: Bundle) -> None:
        self.allowed(bundle)
        resources(bundle)["devices"] = [{"allow": True, "access": "rwm"}]
        box = container()
        assert "vdc" in box.sh(self.OPEN).split()
        systemd.systemctl("daemon-reload")
        assert "vdc" in box.sh(self.OPEN).split()


def test_annotations(container: Make, bundle: Bundle) -> None:
    bundle.config["annotations"] = {
        "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.Documentation": "['https://example.org/a', 'https://example.org/b']",
        "org.systemd.property.RuntimeMaxSec": "uint32 3600",
    }
    unit = systemd.scope_of(container().id)
    assert systemd.show(unit, "TimeoutStopUSec", "CollectMode", "Documentation", "RuntimeMaxUSec") == {
        "TimeoutStopUSec": "7s", "CollectMode": "inactive", "Documentation": "https://example.org/a https://example.org/b",
        "RuntimeMaxUSec": "1h",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "shown_as", "shown"),
    [
        ("DefaultDependencies", "true", "DefaultDependencies", "yes"),
        ("DefaultDependencies", "false", "DefaultDependencies", "no"),
        ("CollectMode", "'inactive'", "CollectMode", "inactive"),
        ("Description", "'a name of its own'", "Description", "a name of its own"),
        ("TimeoutStopUSec", "uint64 9000000", "TimeoutStopUSec", "9s"),
        ("TimeoutStopSec", "8", "TimeoutStopUSec", "8s"),
        ("KillSignal", "37", "KillSignal", "37"),
        ("SendSIGHUP", "true", "SendSIGHUP", "yes"),
    ],
)
def test_an_annotation_overrides_what_the_runtime_says(
    container: Make, bundle: Bundle, name: str, value: str, shown_as: str, shown: str
) -> None:
    """As with runc: the engine has the last word."""
    bundle.config["annotations"] = {f"org.systemd.property.{name}": value}
    assert systemd.show(systemd.scope_of(container().id), shown_as) == {shown_as: shown}


def test_annotations_of_cri_o(container: Make, bundle: Bundle) -> None:
    bundle.config["annotations"] = {
        "org.systemd.property.DefaultDependencies": "true",
        "org.systemd.property.After": "['crio.service']",
        "org.systemd.property.TimeoutStopUSec": "uint64 30000000",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.KillSignal": "15",
    }
    found = systemd.show(
        systemd.scope_of(container().id), "DefaultDependencies", "After", "Conflicts", "TimeoutStopUSec"
    )
    assert (found["DefaultDependencies"], found["TimeoutStopUSec"]) == ("yes", "30s")
    assert "crio.service" in found["After"].split() and "shutdown.target" in found["Conflicts"].split()


def test_init_ends_with_its_scope(container: Make, bundle: Bundle) -> None:
    """Someone else stops the unit: the container has stopped, and delete finds nothing left to do."""
    bundle.sh("trap 'exit 0' TERM; while :; do sleep 0.1; done")
    box = container()
    systemd.systemctl("stop", systemd.scope_of(box.id))
    box.wait_stopped()
    box.delete()
    assert systemd.units(box.id) == []


def test_over_the_bus(runtime: Runtime, bundle: Bundle) -> None:
    """Where systemd's private socket is out of sight, the system bus is the way."""
    bundle.sh("cat /proc/self/cgroup; exit 7")
    systemd.systemctl("start", "dbus.socket", "dbus.service")
    name = new_id()
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/systemd && exec "$@"', "sh"]
    command = [*hidden, *runtime.command("run", "--bundle", bundle.save(), name)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stdout, done.stderr) == (7, "0::/\n", "")
    assert systemd.units(name) == []


def test_without_systemd_in_sight(runtime: Runtime, bundle: Bundle) -> None:
    """create says what it has tried; delete of a container that was made before still takes everything away."""
    path = bundle.save()
    box, name = new_id(), new_id()
    systemd.systemctl("start", "dbus.socket")  # it makes /run/dbus
    runtime.ok("create", "--bundle", path, box)
    hidden = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs none /run/systemd && mount -t tmpfs none /run/dbus && exec "$@"',
    ]
    for arguments, said in (
        (("create", "--bundle", path, name), "/run/systemd/private"),
        (("delete", "--force", box), ""),
    ):
        command = [*hidden, "sh", *runtime.command(*arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert (done.returncode, done.stdout) == (1 if said else 0, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == (1 if said else 0)
    assert runtime.ids() == []
    assert not (session.CGROUP_ROOT / "system.slice" / systemd.scope_of(box)).exists()
    systemd.wait_no_scopes()
