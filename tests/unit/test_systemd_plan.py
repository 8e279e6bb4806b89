"""The systemd driver without systemd: names, properties, device lists, the plan."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import plans

from pyruntime.errors import InvalidConfig
from pyruntime.host.data import Place
from pyruntime.plan import cgroup, device_filter, extensions, resources, systemd, unit_properties
from pyruntime.plan.wishes import Wishes
from pyruntime.step import HOST, INIT, Plan

REPO = Path(__file__).resolve().parents[2]
INFINITY = (1 << 64) - 1


def placed(path: str, container_id: str = "c1", euid: int = 0) -> tuple[str, str, str]:
    """Return slice, unit and cgroup."""
    unit, slice_name, cgroup_path = systemd.locate(path, container_id, euid)
    return slice_name, unit, cgroup_path


class TestNames:
    @pytest.mark.parametrize(
        ("path", "slice_name", "unit", "cgroup"),
        [
            ("", "system.slice", "pyruntime-c1.scope", "/system.slice/pyruntime-c1.scope"),
            ("system.slice:docker:abc", "system.slice", "docker-abc.scope", "/system.slice/docker-abc.scope"),
            (":docker:abc", "system.slice", "docker-abc.scope", "/system.slice/docker-abc.scope"),
            ("machine.slice::abc", "machine.slice", "-abc.scope", "/machine.slice/-abc.scope"),
            ("-.slice:p:n", "-.slice", "p-n.scope", "/p-n.scope"),
            (
                "a-b-c.slice:p:n", "a-b-c.slice", "p-n.scope", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope",
            ),
            ("a.slice:p:x.scope", "a.slice", "p-x.scope.scope", "/a.slice/p-x.scope.scope"),
        ],
    )  # fmt: skip
    def test_of_root(self, path: str, slice_name: str, unit: str, cgroup: str) -> None:
        assert placed(path) == (slice_name, unit, cgroup)

    def test_of_a_user(self) -> None:
        slice_name, _, path = placed("", euid=1000)
        assert slice_name == "user.slice"
        assert path == "/user.slice/user-1000.slice/user@1000.service/user.slice/pyruntime-c1.scope"

    @pytest.mark.parametrize(
        ("path", "word"),
        [
            ("/a/b", "slice:prefix:name"),
            ("a:b", "slice:prefix:name"),
            ("a:b:c:d", "slice:prefix:name"),
            ("a.slice/b.slice:p:n", "slice:prefix:name"),
            ("a:b:c", "'a' is not the name of a slice"),
            (".slice:b:c", "slice"),
            ("a--b.slice:b:c", "slice"),
            ("-a.slice:b:c", "slice"),
            ("a-.slice:b:c", "slice"),
            ("a.slice:b:", "empty name"),
            ("a.slice:b:c.slice", "scope"),
            ("a.slice:b:c d", "' '"),
            ("a.slice:b:ü", "'ü'"),
            ("a.slice:b:" + "n" * 250, "255"),
        ],
    )
    def test_refused(self, path: str, word: str) -> None:
        with pytest.raises(InvalidConfig) as raised:
            placed(path)
        assert word in str(raised.value)
        assert raised.value.pointer == "/linux/cgroupsPath"

    def test_an_id_may_have_letters_that_units_have_not(self) -> None:
        assert placed("", "a+b")[1] == "pyruntime-a\\x2bb.scope"

    def test_the_other_driver_refuses_such_a_path(self) -> None:
        with pytest.raises(InvalidConfig, match="--systemd-cgroup"):
            cgroup.locate("system.slice:docker:abc", "c1")
        assert cgroup.locate("/a:b:c", "c1") == "/a:b:c"


def properties(*writes: tuple[str, str]) -> dict[str, Any]:
    made = unit_properties.of_writes([resources.Write("/x", name, text) for name, text in writes])
    assert all(each.pointer == "/x" and each.derived for each in made)
    return {each.name: (each.signature, each.value) for each in made}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("memory.max", "1048576", {"MemoryMax": ("t", 1048576)}),
        ("memory.max", "max", {"MemoryMax": ("t", INFINITY)}),
        ("memory.max", "64M\n", {"MemoryMax": ("t", 64 << 20)}),
        ("memory.high", "1g", {"MemoryHigh": ("t", 1 << 30)}),
        ("memory.low", "0", {"MemoryLow": ("t", 0)}),
        ("memory.min", "4096", {"MemoryMin": ("t", 4096)}),
        ("memory.swap.max", "0", {"MemorySwapMax": ("t", 0)}),
        ("memory.oom.group", "1", {"OOMPolicy": ("s", "kill")}),
        ("memory.oom.group", "0", {"OOMPolicy": ("s", "continue")}),
        ("cpu.weight", "59", {"CPUWeight": ("t", 59)}),
        ("cpu.idle", "1", {"CPUWeight": ("t", 0)}),
        ("cpu.idle", "0", {"CPUWeight": ("t", INFINITY)}),
        ("cpu.max", "50000 200000", {"CPUQuotaPeriodUSec": ("t", 200000), "CPUQuotaPerSecUSec": ("t", 250000)}),
        ("cpu.max", "20000", {"CPUQuotaPeriodUSec": ("t", 100000), "CPUQuotaPerSecUSec": ("t", 200000)}),
        ("cpu.max", "12345 100000", {"CPUQuotaPeriodUSec": ("t", 100000), "CPUQuotaPerSecUSec": ("t", 130000)}),
        ("cpu.max", "max 50000", {"CPUQuotaPeriodUSec": ("t", 50000), "CPUQuotaPerSecUSec": ("t", INFINITY)}),
        ("cpuset.cpus", "0-3,9", {"AllowedCPUs": ("ay", b"\x0f\x02")}),
        ("cpuset.mems", "1", {"AllowedMemoryNodes": ("ay", b"\x02")}),
        ("pids.max", "20", {"TasksMax": ("t", 20)}),
        ("pids.max", "0", {"TasksMax": ("t", 1)}),
        ("pids.max", "max", {"TasksMax": ("t", INFINITY)}),
        ("io.weight", "default 500", {"IOWeight": ("t", 500)}),
        ("io.weight", "500", {"IOWeight": ("t", 500)}),
        ("io.weight", "8:16 300", {"IODeviceWeight": ("a(st)", [("/dev/block/8:16", 300)])}),
        (
            "io.max", "8:0 rbps=1048576 wiops=max",
            {
                "IOReadBandwidthMax": ("a(st)", [("/dev/block/8:0", 1048576)]),
                "IOWriteIOPSMax": ("a(st)", [("/dev/block/8:0", INFINITY)]),
            },
        ),
        ("hugetlb.2MB.max", "4194304", {}),
        ("cpu.max.burst", "1000", {}),
    ],
)  # fmt: skip
def test_property_of_a_file(file: str, text: str, expected: dict[str, Any]) -> None:
    assert properties((file, text)) == expected


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("memory.max", "much"), ("memory.max", "-1"), ("memory.max", ""), ("memory.max", "99999999999999999999T"),
        ("cpu.max", ""), ("cpu.max", "1 2 3"), ("cpu.max", "5 0"), ("cpu.weight", "1.5"), ("cpuset.cpus", "3-1"),
        ("cpuset.cpus", ""), ("cpuset.cpus", "0-99999999999"), ("cpuset.cpus", "a"), ("io.weight", ""),
        ("io.weight", "8 300"), ("io.max", "sda rbps=1"), ("pids.max", "٣"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_the_kernels_to_refuse(file: str, text: str) -> None:
    assert properties((file, text)) == {}


def test_the_later_write_wins_and_devices_add_up() -> None:
    assert properties(("pids.max", "20"), ("pids.max", "30")) == {"TasksMax": ("t", 30)}
    assert properties(("cpu.weight", "59"), ("cpu.idle", "1")) == {"CPUWeight": ("t", 0)}
    assert properties(("cpu.weight", "59"), ("cpu.idle", "0")) == {"CPUWeight": ("t", 59)}
    assert properties(("cpu.idle", "0"), ("cpu.weight", "59")) == {"CPUWeight": ("t", 59)}
    assert properties(("io.max", "8:0 rbps=1"), ("io.max", "8:16 rbps=2")) == {
        "IOReadBandwidthMax": ("a(st)", [("/dev/block/8:0", 1), ("/dev/block/8:16", 2)])
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("50000 100000", "50000 100000"),
        ("12345 100000", "13000 100000"),
        ("10 100000", "1000 100000"),
        ("333333 1000000", "340000 1000000"),
        ("20000", "20000 100000"),
        ("max 100000", "max 100000"),
        ("max 50000", "max 100000"),
        ("nonsense", "nonsense"),
    ],
)
def test_quotas_are_rounded_as_systemd_will_have_them(before: str, after: str) -> None:
    (write,) = unit_properties.rounded([resources.Write("/x", "cpu.max", before)])
    assert (write.pointer, write.name, write.text) == ("/x", "cpu.max", after)


DENY_ALL = {"allow": False, "access": "rwm"}
ALLOW_ALL = {"allow": True, "access": "rwm"}
OWN = {
    "char-*": "m", "block-*": "m", "char-136": "rwm",
    **dict.fromkeys([f"/dev/char/{n}" for n in ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2")], "rwm"),
}  # fmt: skip


def device_list(*rules: dict[str, Any]) -> tuple[str, dict[str, str]]:
    reset, policy, *entries = unit_properties.of_devices(rules)
    assert (reset.name, reset.value, policy.name) == ("DeviceAllow", [], "DevicePolicy")
    return policy.value, {node: access for each in entries for node, access in each.value}


def rule(allow: bool, kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}


@pytest.mark.parametrize(
    ("rules", "policy", "more"),
    [
        ([], "strict", {}),
        ([DENY_ALL], "strict", {}),
        ([DENY_ALL, rule(True, "c", 10, 200, "rwm")], "strict", {"/dev/char/10:200": "rwm"}),
        ([DENY_ALL, rule(True, "b", 8, None, "r")], "strict", {"block-8": "r"}),
        ([DENY_ALL, rule(True, "b", -1, -1, "rw")], "strict", {"block-*": "rwm"}),
        ([rule(True, "c", 10, 200, "rw"), rule(False, "c", 10, 200, "w")], "strict", {"/dev/char/10:200": "r"}),
        ([rule(True, "c", 10, 200, "rw"), rule(False, "c", 10, None, "rw")], "strict", {}),
        ([rule(True, "c", 10, 200, "rw"), DENY_ALL], "strict", {}),
        ([rule(True, "c", 10, None, "rw"), rule(False, "c", 10, 200, "rw")], "strict", {"char-10": "rw"}),
        ([rule(True, "c", None, 3, "r")], "strict", {"char-*": "rm"}),
        ([ALLOW_ALL], "auto", None),
        ([ALLOW_ALL, rule(False, "b", 8, 0, "rwm")], "auto", None),
        ([ALLOW_ALL, DENY_ALL], "strict", {}),
    ],
)
def test_devices(rules: list[dict[str, Any]], policy: str, more: dict[str, str] | None) -> None:
    assert device_list(*rules) == (policy, {} if more is None else {**OWN, **more})


def test_whatever_the_filter_allows_is_in_systemds_list() -> None:
    """Both filters must allow an access: a list with less than ours would take devices away."""
    import itertools
    import random

    seed = random.Random(3)
    for _ in range(300):
        rules = [
            rule(seed.random() < 0.6, seed.choice("cb"), seed.choice([None, 1, 8]), seed.choice([None, 0, 3]),
                 seed.choice(["r", "w", "rw", "rwm", "m"]))
            if seed.random() < 0.9 else seed.choice([ALLOW_ALL, DENY_ALL])
            for _ in range(seed.randrange(6))
        ]  # fmt: skip
        policy, listed = device_list(*rules)
        ordered = [device_filter.normal(each) for each in rules]
        ordered += [(True, *each) for each in device_filter.RUNTIME_RULES]
        for kind, major, minor, access in itertools.product("cb", (1, 8, 9), (0, 3, 7), "rwm"):
            bit = device_filter.ACCESS[access]
            verdict = False
            for allow, of, its_major, its_minor, bits in ordered:
                if of == "a" or (
                    of == kind and its_major in (None, major) and its_minor in (None, minor) and bits & bit
                ):
                    verdict = allow
            word = {"c": "char", "b": "block"}[kind]
            nodes = (f"{word}-*", f"{word}-{major}", f"/dev/{word}/{major}:{minor}")
            if verdict:
                assert policy == "auto" or any(access in listed.get(node, "") for node in nodes), rules


def plan_of(**changes: Any) -> tuple[Plan, Place]:
    config = json.loads((REPO / "bundles/busybox/config.json").read_text())
    config["linux"].setdefault("resources", {}).update(changes.pop("resources", {}))
    config.update(changes)
    unit, slice_name, path = systemd.locate("a-b.slice:p:n", "c1", 0)
    place = plans.place_for(
        controllers=("cpu", "io", "memory", "pids", "cpuset", "hugetlb"),
        path=path,
        missing=[],
        shared={},
        unit=unit,
        slice_name=slice_name,
        subgroup=extensions.subgroup_of(config, extensions.SUBGROUP),
        delegated=extensions.subgroup_of(config, extensions.DELEGATE),
    )
    return plans.Inputs(plans.host_for(config), place, Wishes("c1", "/bundle")).create(config), place


class TestPlan:
    def test_the_scope_is_made_around_init_before_its_first_step(self) -> None:
        plan, _ = plan_of(resources={"memory": {"limit": 1 << 20}})
        lines = [step.describe() for step in plan]
        clone, scope = (
            next(i for i, line in enumerate(lines) if line.startswith(call)) for call in ("clone3", "systemd_")
        )
        assert lines[clone].endswith(", -1) = <init_pid>")
        first = next(i for i, step in enumerate(plan) if step.side == INIT)
        memory = lines.index('write_at(<cgroup>, "memory.max", "1048576")')
        filtered = next(i for i, line in enumerate(lines) if line.startswith("bpf_prog_attach(<cgroup>"))
        assert (
            clone
            < scope
            < memory
            < first
            < filtered
            < next(i for i, step in enumerate(plan) if step.call == "await_start")
        )
        assert lines[scope + 1].startswith('open("/sys/fs/cgroup/a.slice/a-b.slice/p-n.scope", ')
        assert lines[scope + 2] == "save_cgroup(<container>, <cgroup>)"

    def test_explain_shows_unit_and_properties(self) -> None:
        plan, _ = plan_of(resources={"memory": {"limit": 1 << 20}, "cpu": {"cpus": "0-1"}, "pids": {"limit": -1}})
        (step,) = [step for step in plan if step.call == "systemd_start_scope"]
        text = step.describe()
        assert text.startswith('systemd_start_scope(<container>, "p-n.scope", {Description=pyruntime container c1, ')
        assert text.endswith(", <init_pid>)")
        for word in ("Slice=a-b.slice", "Delegate=yes", "MemoryMax=1048576", "AllowedCPUs=0x03", "TasksMax=infinity"):
            assert word in text
        assert "'char-136', 'rwm'" in text

    def test_systemd_enables_what_it_knows_and_we_the_rest(self) -> None:
        plan, _ = plan_of(resources={"memory": {"limit": 1 << 20}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})
        enabled = [step.args[1] for step in plan if step.call == "enable_controllers"]
        assert enabled == ["hugetlb"] * 3

    def test_a_missing_controller_is_named(self) -> None:
        with pytest.raises(InvalidConfig, match="controller rdma is not available"):
            plan_of(resources={"rdma": {"mlx": {"hcaHandles": 1}}})

    def test_annotations_come_last(self) -> None:
        plan, _ = plan_of(annotations={"org.systemd.property.TimeoutStopSec": "5", "other": "x"})
        (step,) = [step for step in plan if step.call == "systemd_start_scope"]
        last = list(step.args[2])[-1]
        assert (last.name, last.signature, last.value) == ("TimeoutStopUSec", "t", 5000000)
        assert (last.pointer, last.derived) == ("/annotations/org.systemd.property.TimeoutStopSec", False)

    @pytest.mark.parametrize(
        ("name", "text"),
        [("After", "['crio.service']"), ("DefaultDependencies", "true"), ("KillSignal", "15"),
         ("TimeoutStopUSec", "uint64 7"), ("CollectMode", "'inactive-or-failed'"), ("RuntimeMaxSec", "uint32 9")],
    )  # fmt: skip
    def test_what_engines_send(self, name: str, text: str) -> None:
        """CRI-O's own and Podman's, among them some that the runtime sets as well: the engine's takes their place."""
        plan, _ = plan_of(annotations={f"org.systemd.property.{name}": text})
        (step,) = [step for step in plan if step.call == "systemd_start_scope"]
        names = [each.name for each in step.args[2]]
        assert names[-1] == name.replace("MaxSec", "MaxUSec")
        assert names.count(names[-1]) == 1

    @pytest.mark.parametrize(
        ("name", "text"),
        [("Slice", "'x.slice'"), ("PIDs", "@au [1]"), ("X", "1"), ("A/B", "true"), ("Nice", "1"), ("Sec", "1"),
         ("ExecStartPost", "'/bin/true'"), ("User", "'root'"), ("SuccessAction", "'reboot-force'"),
         ("FailureAction", "'exit'"), ("JobTimeoutAction", "'poweroff'"), ("OnFailure", "['x.service']"),
         ("Requires", "['x.service']"), ("Conflicts", "['sshd.service']"), ("Delegate", "false"),
         ("MemoryMax", "uint64 18446744073709551615"), ("DevicePolicy", "'auto'"), ("BPFProgram", "'x'")],
    )  # fmt: skip
    def test_what_is_not_for_annotations(self, name: str, text: str) -> None:
        """CVE-2024-3154: a user of an engine gets at the machine through the properties of a unit."""
        with pytest.raises(InvalidConfig, match=f"'{name}' of the container's unit can't be set") as raised:
            plan_of(annotations={f"org.systemd.property.{name}": text})
        assert raised.value.pointer == "/annotations/org.systemd.property." + name.replace("/", "~1")

    def test_a_value_that_is_none(self) -> None:
        with pytest.raises(InvalidConfig, match="'much' is not GVariant text") as raised:
            plan_of(annotations={"org.systemd.property.KillSignal": "much"})
        assert raised.value.pointer == "/annotations/org.systemd.property.KillSignal"

    def test_the_host_alone_talks_to_systemd(self) -> None:
        plan, _ = plan_of()
        assert {step.side for step in plan if step.call == "systemd_start_scope"} == {HOST}


def test_an_update_is_taken_back_by_what_was_in_force_before() -> None:
    current = [resources.Write("/x", "memory.max", "1000"), resources.Write("/x", "cpu.weight", "59")]
    asked = [("memory.max", "2000"), ("memory.low", "5"), ("pids.max", "7"), ("cpuset.cpus", "0"), ("cpu.max", "10000")]
    new = unit_properties.of_writes([resources.Write("/x", *each) for each in asked])
    old = unit_properties.before_update(new, current)
    assert {each.name: each.value for each in old} == {
        "MemoryMax": 1000, "MemoryLow": 0, "TasksMax": INFINITY, "AllowedCPUs": b"", "CPUQuotaPeriodUSec": INFINITY,
        "CPUQuotaPerSecUSec": INFINITY,
    }  # fmt: skip
    assert [each.signature for each in old] == [each.signature for each in new]


def test_the_step_of_an_update_and_how_it_is_taken_back() -> None:
    rules = [DENY_ALL, rule(True, "c", 10, 200, "rw")]
    wanted = {"cpu": {"quota": 12345}, "devices": rules}
    current: dict[str, Any] = {"cpu": {"quota": 50000}, "memory": {"limit": 5}}
    writes = unit_properties.rounded(resources.resource_writes(wanted))
    step, undo = systemd.update_steps("x.scope", wanted, current, writes)
    assert [write.text for write in writes] == ["13000 100000"]
    text = step.describe()
    assert text.startswith('systemd_set_properties(<container>, "x.scope", {CPUQuotaPeriodUSec=100000, ')
    assert "CPUQuotaPerSecUSec=130000, DeviceAllow=[], DevicePolicy=strict, " in text
    assert "/dev/char/10:200" in text
    (back,) = undo
    assert "CPUQuotaPerSecUSec=500000" in back.describe()
    assert "MemoryMax" not in back.describe(), "only what is changed is taken back"
    assert "/dev/char/10:200" not in back.describe()


class TestSubgroup:
    """crun's annotations: init goes below the scope before it has its cgroup namespace, then to the delegated one."""

    def moves(self, **annotations: str) -> list[tuple[str, str]]:
        """Return what moves init where, and what makes its namespaces, in order."""
        plan, _ = plan_of(annotations={f"run.oci.{name}": value for name, value in annotations.items()})
        return [
            (step.call, step.args[1] if step.call == "move_below" else "")
            for step in plan
            if step.call in ("systemd_start_scope", "move_below")
            or (step.call == "unshare" and "CLONE_NEWCGROUP" in step.describe())
        ]

    def test_none(self) -> None:
        assert "move_below" not in dict(self.moves(**{"systemd.subgroup": ""}))

    def test_below_the_scope(self) -> None:
        scope, move, *_ = self.moves(**{"systemd.subgroup": "container"})
        assert (scope[0], move) == ("systemd_start_scope", ("move_below", "container"))

    def test_both(self) -> None:
        found = self.moves(**{"systemd.subgroup": "container", "delegate-cgroup": "payload"})
        calls = [call for call in found if call[0] != "unshare"]
        assert calls[1:] == [("move_below", "container"), ("move_below", "container/payload")]
