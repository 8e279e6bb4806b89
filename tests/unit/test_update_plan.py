"""`update`: how what is asked for is merged, and the changes that follow, as text."""

from typing import Any

import pytest
from support import plans

from pyruntime.engine import change
from pyruntime.errors import Failure, InvalidConfig
from pyruntime.plan import update as plan
from pyruntime.plan.resources import Write
from pyruntime.step import HOST, Step

MIB = 1 << 20


class TestMerge:
    def test_zero_is_not_given_but_where_it_is_a_value(self) -> None:
        """What Docker sends for an update of the CPUs alone."""
        given = {
            "memory": {"limit": 0, "reservation": 0, "kernel": 0, "checkBeforeUpdate": False},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "1", "mems": "", "burst": 0, "idle": 0},
            "blockIO": {"weight": 0, "weightDevice": None},
            "pids": {"limit": 0},
            "network": None,
            "hugepageLimits": [],
            "unified": {},
        }
        assert plan.asked(given) == {
            "memory": {"checkBeforeUpdate": False},
            "cpu": {"cpus": "1", "burst": 0, "idle": 0},
            "pids": {"limit": 0},
        }
        assert plan.asked({"pids": {}, "cpu": None}) == {}

    def test_only_what_is_given_changes(self) -> None:
        current = {"memory": {"limit": 10, "swap": 20}, "cpu": {"cpus": "0"}, "unified": {"a.b": "1"}, "devices": [1]}
        merged = plan.merge(current, {"memory": {"limit": 15}, "unified": {"c.d": "2"}})
        assert merged == {
            "memory": {"limit": 15, "swap": 20}, "cpu": {"cpus": "0"}, "unified": {"a.b": "1", "c.d": "2"},
            "devices": [1],
        }  # fmt: skip
        assert current["memory"] == {"limit": 10, "swap": 20}

    def test_lists_are_merged_by_device_and_size(self) -> None:
        current = {
            "blockIO": {"weight": 5, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        }
        wanted = {
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}, {"major": 8, "minor": 1}]},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 3}, {"pageSize": "2MB", "limit": 2}],
        }
        assert plan.merge(current, wanted) == {
            "blockIO": {
                "weight": 5,
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}, {"major": 8, "minor": 1}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 2}, {"pageSize": "1GB", "limit": 3}],
        }

    def test_device_rules_are_replaced(self) -> None:
        assert plan.merge({"devices": [1, 2]}, plan.asked({"devices": []})) == {"devices": []}

    def test_no_limit_of_memory_is_none_of_swap(self) -> None:
        assert plan.merge({"memory": {"limit": 5, "swap": 9}}, {"memory": {"limit": -1}})["memory"]["swap"] == -1
        assert plan.merge({"memory": {"limit": 5}}, {"memory": {"limit": -1}})["memory"] == {"limit": -1}


def writes(current: dict[str, Any], given: dict[str, Any]) -> list[tuple[str, str]]:
    wanted = plan.asked(given)
    return [(write.name, write.text) for write in plan.writes_of(wanted, plan.merge(current, wanted))]


class TestWrites:
    @pytest.mark.parametrize(
        ("current", "given", "expected"),
        [
            # swap counts memory: a new limit moves it, a new total leaves the limit alone
            ({"limit": 100, "swap": 200}, {"limit": 150}, [("memory.max", "150"), ("memory.swap.max", "50")]),
            ({"limit": 100, "swap": 200}, {"swap": 300}, [("memory.swap.max", "200")]),
            ({"limit": 100}, {"limit": 150}, [("memory.max", "150")]),
            ({"limit": 100}, {"swap": -1}, [("memory.swap.max", "max")]),
            ({"limit": 100, "swap": 200}, {"limit": -1}, [("memory.max", "max"), ("memory.swap.max", "max")]),
            ({"limit": 100}, {"limit": -1}, [("memory.max", "max"), ("memory.swap.max", "max")]),
            ({"limit": 100, "swap": 200}, {"reservation": 50}, [("memory.low", "50")]),
        ],
    )
    def test_memory(self, current: dict[str, int], given: dict[str, int], expected: list[tuple[str, str]]) -> None:
        assert writes({"memory": current}, {"memory": given}) == expected

    def test_a_limit_above_memory_plus_swap(self) -> None:
        with pytest.raises(InvalidConfig, match="limit 300 is above the container's memory plus swap, 200") as raised:
            writes({"memory": {"limit": 100, "swap": 200}}, {"memory": {"limit": 300}})
        assert raised.value.pointer == "/linux/resources/memory/limit"

    @pytest.mark.parametrize(
        ("current", "given", "expected"),
        [
            ({"quota": 50000, "period": 20000}, {"quota": 10000}, [("cpu.max", "10000 20000")]),
            ({"quota": 50000, "period": 20000}, {"period": 80000}, [("cpu.max", "50000 80000")]),
            ({"quota": 50000}, {"quota": -1}, [("cpu.max", "max 100000")]),
            ({}, {"burst": 0}, [("cpu.max.burst", "0")]),
            ({}, {"shares": 1024}, [("cpu.weight", "100")]),
            ({"shares": 1024, "cpus": "0"}, {"mems": "0"}, [("cpuset.mems", "0")]),
            # the kernel forgets the weight of an idle cgroup, and takes none
            ({"shares": 1024}, {"idle": 1}, [("cpu.idle", "1")]),
            ({"shares": 1024}, {"idle": 1, "shares": 2}, [("cpu.idle", "1")]),
            ({"shares": 1024}, {"idle": 0}, [("cpu.weight", "100"), ("cpu.idle", "0")]),
        ],
    )
    def test_cpu(self, current: dict[str, Any], given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
        assert writes({"cpu": current}, {"cpu": given}) == expected

    def test_the_pointer_is_of_what_was_given(self) -> None:
        wanted = {"cpu": {"period": 80000}}
        found = plan.writes_of(wanted, plan.merge({"cpu": {"quota": 50000}}, wanted))
        assert [write.pointer for write in found] == ["/linux/resources/cpu/period"]

    def test_unified_has_the_last_word(self) -> None:
        given = {"pids": {"limit": 5}, "unified": {"pids.max": "7"}}
        assert writes({}, given) == [("pids.max", "7")]


def test_what_unified_once_said_of_a_file_is_forgotten() -> None:
    current = {"unified": {"pids.max": "7", "memory.high": "5"}}
    wanted: dict[str, Any] = {"pids": {"limit": 9}}
    merged = plan.merge(current, wanted)
    plan.forget_overwritten(merged, plan.writes_of(wanted, merged))
    assert merged == {"unified": {"memory.high": "5"}, "pids": {"limit": 9}}
    assert current["unified"]["pids.max"] == "7"
    wanted = {"unified": {"pids.max": "8"}}
    merged = plan.merge(current, wanted)
    plan.forget_overwritten(merged, plan.writes_of(wanted, merged))
    assert merged["unified"] == {"pids.max": "8", "memory.high": "5"}


def update_of(current: dict[str, Any], given: dict[str, Any], **files: str | None) -> plan.Update:
    """Return the plan of an update where all controllers are enabled."""
    names = ("cpu", "cpuset", "memory", "pids", "io", "rdma", "hugetlb", "misc")
    place = plans.place_for(path="/c", controllers=names, shared={"": names})
    request = plan.Request(given, current, "1.3.0", systemd=False)
    return plan.build_update(request, place, {name.replace("__", "."): text for name, text in files.items()})


def changes(current: dict[str, Any], given: dict[str, Any], **files: str | None) -> list[tuple[str, list[str]]]:
    """Return each change as the text of its step and of those that take it back."""
    found = update_of(current, given, **files).changes
    return [(each.step.describe(), [step.describe() for step in each.undo]) for each in found]


def order(current: dict[str, Any], given: dict[str, Any], **files: str | None) -> list[str]:
    return [text.split('"')[1] for text, _ in changes(current, given, **files) if "write_at" in text]


class TestChanges:
    def test_each_knows_what_the_file_said(self) -> None:
        assert changes({}, {"pids": {"limit": 5}}, pids__max="max\n") == [
            ('write_at(<cgroup>, "pids.max", "5")', ['write_at(<cgroup>, "pids.max", "max")'])
        ]

    def test_an_empty_file_is_emptied_again(self) -> None:
        assert plan.before("cpuset.cpus", "0", "\n") == [("cpuset.cpus", "\n")]

    def test_a_cpuset_that_was_empty(self) -> None:
        """The kernel does not let it become empty while there are processes in it."""
        given = {"cpu": {"cpus": "0"}}
        assert changes({}, given, cpuset__cpus="\n", cpuset__cpus__effective="0-3\n")[0][1] == [
            'write_at(<cgroup>, "cpuset.cpus", "0-3")', 'write_at(<cgroup>, "cpuset.cpus", "\\n")',
        ]  # fmt: skip
        change = update_of({}, given, cpuset__cpus="\n", cpuset__cpus__effective="0-3\n").changes[0]
        assert [step.ignore for step in change.undo] == [("ENOSPC",)] * 2

    def test_a_file_that_can_not_be_read_can_not_be_put_back(self) -> None:
        assert plan.before("memory.reclaim", "1", None) == []

    @pytest.mark.parametrize(
        ("name", "written", "old", "undo"),
        [
            ("io.max", "8:0 rbps=5", "8:0 rbps=9 wbps=8 riops=7 wiops=6\n", "8:0 rbps=9 wbps=8 riops=7 wiops=6"),
            ("io.max", "8:0 rbps=5", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "default 50", "default 100\n8:0 200\n", "default 100"),
            ("io.weight", "8:0 50", "default 100\n8:0 200\n", "8:0 200"),
            ("io.weight", "8:16 50", "default 100\n8:0 200\n", "8:16 default"),
            ("io.bfq.weight", "50", "default 100\n", "default 100"),
            ("rdma.max", "mlx hca_handle=2", "", "mlx hca_handle=max hca_object=max"),
        ],
    )  # fmt: skip
    def test_one_line_of_a_file_with_many(self, name: str, written: str, old: str, undo: str) -> None:
        assert plan.before(name, written, old) == [(name, undo)]

    def test_idle_brings_the_weight_back(self) -> None:
        found = changes({}, {"cpu": {"idle": 1}}, cpu__idle="0\n", cpu__weight="59\n")
        assert found == [
            (
                'write_at(<cgroup>, "cpu.idle", "1")',
                ['write_at(<cgroup>, "cpu.idle", "0")', 'write_at(<cgroup>, "cpu.weight", "59")'],
            )
        ]

    def test_no_longer_idle_comes_before_the_weight(self) -> None:
        found = changes({"cpu": {"shares": 1024}}, {"cpu": {"idle": 0}}, cpu__idle="1\n", cpu__weight="0\n")
        assert found == [
            ('write_at(<cgroup>, "cpu.idle", "0")', ['write_at(<cgroup>, "cpu.idle", "1")']),
            ('write_at(<cgroup>, "cpu.weight", "100")', []),
        ]

    @pytest.mark.parametrize(
        ("burst", "old", "expected"),
        [(10000, "20000\n", ["cpu.max.burst", "cpu.max"]), (20000, "10000\n", ["cpu.max", "cpu.max.burst"])],
    )
    def test_burst_never_exceeds_the_quota(self, burst: int, old: str, expected: list[str]) -> None:
        assert order({}, {"cpu": {"quota": 30000, "burst": burst}}, cpu__max__burst=old) == expected

    def test_a_quota_below_the_burst_is_refused(self) -> None:
        with pytest.raises(InvalidConfig, match=r"cpu\.max 5000: below the container's burst, 10000"):
            changes({}, {"cpu": {"quota": 5000}}, cpu__max__burst="10000\n")

    @pytest.mark.parametrize(
        ("limit", "swap", "expected"),
        [
            (100, 200, ["memory.swap.max", "memory.max"]),  # both lowered
            (800, 1600, ["memory.swap.max", "memory.max"]),  # both raised
            (800, 900, ["memory.max", "memory.swap.max"]),  # memory raised, swap lowered
            (100, 900, ["memory.swap.max", "memory.max"]),  # memory lowered, swap raised
        ],
    )
    def test_what_is_raised_goes_first(self, limit: int, swap: int, expected: list[str]) -> None:
        given = {"memory": {"limit": limit, "swap": swap}}
        assert order({}, given, memory__max="500\n", memory__swap__max="500\n") == expected

    def test_memory_comes_last(self) -> None:
        """Lowering it may kill, which nothing takes back, so whatever can fail has been done by then."""
        given = {"memory": {"limit": 1}, "pids": {"limit": 1}, "unified": {"cpu.weight": "7"}, "devices": []}
        found = [text for text, _ in changes({}, given, memory__max="max")]
        assert found[-2:] == [
            "replace_device_filter(<cgroup>, <old_device_filter>, <device_filter>)",
            'write_at(<cgroup>, "memory.max", "1")',
        ]

    def test_the_device_filter_goes_back(self) -> None:
        assert changes({}, {"devices": []})[0][1] == [
            "replace_device_filter(<cgroup>, <device_filter>, <old_device_filter>)"
        ]

    def test_bfq_has_its_own_weight(self) -> None:
        given = {"blockIO": {"weight": 100}}
        assert changes({}, given, io__bfq__weight="default 50\n") == [
            (
                'write_at(<cgroup>, "io.bfq.weight", "default 100")',
                ['write_at(<cgroup>, "io.bfq.weight", "default 50")'],
            )
        ]
        assert changes({}, given, io__weight="default 50\n") == [
            ('write_at(<cgroup>, "io.weight", "default 910")', ['write_at(<cgroup>, "io.weight", "default 50")'])
        ]

    def test_without_swap_accounting_no_swap_is_no_wish(self) -> None:
        given = {"memory": {"limit": 100, "swap": 100}}
        assert order({}, given, memory__max="max", memory__swap__max=None) == ["memory.max"]
        given = {"memory": {"limit": 100, "swap": 150}}
        assert "memory.swap.max" in order({}, given, memory__max="max", memory__swap__max=None)


class TestCheckBeforeUpdate:
    def test_below_the_use(self) -> None:
        given = {"memory": {"limit": 100, "checkBeforeUpdate": True}}
        with pytest.raises(InvalidConfig, match=r"memory\.max 100: below the current use, 101 bytes") as raised:
            changes({}, given, memory__current="101\n")
        assert raised.value.pointer == "/linux/resources/memory/limit"
        assert changes({}, given, memory__current="100\n", memory__max="max")

    def test_memory_plus_swap(self) -> None:
        given = {"memory": {"limit": 100, "swap": 120, "checkBeforeUpdate": True}}
        with pytest.raises(InvalidConfig, match=r"memory plus swap 120: below the current use, 140 bytes"):
            changes({}, given, memory__current="90\n", memory__swap__current="50\n")

    def test_the_configs_word_stays(self) -> None:
        with pytest.raises(InvalidConfig, match=r"memory\.max 9: below the current use, 10 bytes"):
            changes({"memory": {"checkBeforeUpdate": True}}, {"memory": {"limit": 9}}, memory__current="10\n")
        given = {"memory": {"limit": 9, "checkBeforeUpdate": False}}
        assert changes({"memory": {"checkBeforeUpdate": True}}, given, memory__current="10\n", memory__max="max")


def test_only_controllers_that_lack_are_enabled() -> None:
    shared = {"": ("memory", "pids"), "/a": ("pids",)}
    found = plans.place_for(controllers=("memory", "pids"), path="/a/b", shared=shared)
    assert plan.enable_steps([Write("/p", "pids.max", "1")], found) == []
    some = [Write("/p", "pids.max", "1"), Write("/m", "memory.max", "1")]
    assert [(step.pointer, step.describe()) for step in plan.enable_steps(some, found)] == [
        ("/m", 'enable_controllers("/sys/fs/cgroup/a", "memory", "memory")'),
        ("/m", 'settle_cgroup_type(<cgroup>, "/a/b", "memory")'),
    ]


class TestTakingBack:
    """engine.change: all changes or none."""

    @staticmethod
    def change(number: int) -> plan.Change:
        return plan.Change(Step(HOST, "", "umask", number), [Step(HOST, "", "umask", -number)])

    @staticmethod
    def run(monkeypatch: pytest.MonkeyPatch, fails: set[int]) -> tuple[list[int], str]:
        """Make three changes with a call that fails for some arguments; return the calls, and the error."""
        calls: list[int] = []

        def umask(number: int) -> None:
            calls.append(number)
            if number in fails:
                raise OSError(22, "no")

        monkeypatch.setattr("pyruntime.kernel.umask", umask)
        try:
            change.make([TestTakingBack.change(number) for number in (1, 2, 3)], {})
        except Failure as failure:
            return calls, str(failure)
        return calls, ""

    def test_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.run(monkeypatch, set()) == ([1, 2, 3], "")

    def test_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls, error = self.run(monkeypatch, {3})
        assert calls == [1, 2, 3, -2, -1]
        assert error == "umask(3): invalid argument (EINVAL)"

    def test_the_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.run(monkeypatch, {1})[0] == [1]

    def test_what_stays_is_told_and_the_rest_taken_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls, error = self.run(monkeypatch, {3, -2})
        assert calls == [1, 2, 3, -2, -1]
        assert error.startswith("umask(3): ") and "an earlier change could not be undone: umask(-2): " in error
