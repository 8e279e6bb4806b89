"""What holds for every plan: slots are filled before use, names exist in the headers, and the order is safe."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import plans

from pyruntime import kernel
from pyruntime.engine import calls
from pyruntime.plan import capabilities
from pyruntime.step import HOST, INIT, JOIN, Flags, Plan, Slot, Step

REPO = Path(__file__).resolve().parents[2]
CONFIGS = [*sorted((REPO / "tests/data/configs").glob("*.json")), REPO / "bundles/busybox/config.json"]
GIVEN = {"state_dir", "container", "channel", "console", "keyring_name"}
"""Slots that the command fills before the plan runs, or the engine at clone3."""


def inputs_for(config: dict[str, Any]) -> plans.Inputs:
    return plans.inputs_for(config, {"wishes": {"console_socket": "/run/console.sock"}})


def plan_of(path: Path) -> Plan:
    config = json.loads(path.read_text())
    return inputs_for(config).create(config)


def position(plan: Plan, call: str, *args: Any) -> int:
    return plan.index(lambda step: step.call == call and step.args[: len(args)] == args)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
class TestEveryPlan:
    def test_slots_are_filled_before_they_are_used(self, path: Path) -> None:
        assert_filled(plan_of(path), GIVEN)

    def test_a_closed_slot_is_not_used_again(self, path: Path) -> None:
        assert_open(plan_of(path))

    def test_names_are_in_the_headers_and_calls_exist(self, path: Path) -> None:
        for step in plan_of(path):
            for arg in step.args:
                if isinstance(arg, Flags):
                    kernel.flags(arg.names)
            assert step.call == "clone3" or callable(getattr(calls, step.call)), step

    def test_descriptors_of_mounts_are_closed(self, path: Path) -> None:
        plan = plan_of(path)
        closed = {name for step in plan for name in step.closes}
        opened = {step.into for step in plan if step.into and step.into[:-1].rstrip("0123456789") in ("mount", "fs")}
        assert opened and opened <= closed

    def test_order(self, path: Path) -> None:
        plan = plan_of(path)
        clone = position(plan, "clone3")
        assert all(step.side == HOST or step.side == JOIN for step in plan.steps[:clone])
        first = next(step for step in plan.steps[clone:] if step.side == INIT)
        assert first.call == "set_pdeathsig", "init does not outlive its parent from its first step on"
        record, released = position(plan, "save_record"), position(plan, "set_pdeathsig", 0)
        assert position(plan, "set_dumpable") < position(plan, "open_tree")
        assert record < released < position(plan, "write_pid_file") < position(plan, "await_start")
        assert any(step.side == HOST for step in plan.steps[released : position(plan, "await_start")])
        assert plan.steps[-1].call == "exec_program"
        assert plan.steps[-2].describe() == "close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC)"

    def test_the_signal_for_a_dead_parent_is_set_again(self, path: Path) -> None:
        """A change of user clears it (prctl(2)), and until init is released there are steps of the host."""
        steps = plan_of(path).steps
        for place, step in enumerate(steps):
            if step.call == "setresuid" and step.pointer == "/process/user/uid":
                assert (steps[place + 1].call, repr(steps[place + 1].args[0])) == ("set_pdeathsig", "SIGKILL")

    def test_what_runs_meanwhile_needs_nothing_of_init_and_gives_it_nothing(self, path: Path) -> None:
        plan = plan_of(path)
        assert any(step.meanwhile for step in plan)
        assert_independent(plan)

    def test_nothing_of_the_container_runs_before_the_device_filter(self, path: Path) -> None:
        plan = plan_of(path)
        attached = position(plan, "bpf_prog_attach")
        assert all(step.call not in ("run_hook", "await_start", "exec_program") for step in plan.steps[:attached])
        behind = next(step for step in plan.steps[attached:] if not step.meanwhile)
        assert behind.side == HOST, "init goes on only when the host says so, and that is after the filter"

    def test_attributes_are_set_before_a_mount_is_attached(self, path: Path) -> None:
        """But for the read-only ones that are filled first, with mount points, devices and what hooks put there."""
        attached: set[str] = set()
        for step in plan_of(path):
            if step.call == "move_mount" and isinstance(step.args[0], Slot):
                attached.add(step.args[0].name)
            if step.call == "mount_setattr" and isinstance(step.args[0], Slot) and isinstance(step.args[3], Flags):
                late = repr(step.args[3]) == "MOUNT_ATTR_RDONLY" and step.closes == (step.args[0].name,)
                assert late or step.args[0].name not in attached, f"for a moment without its attributes: {step}"


def assert_filled(plan: Plan, given: set[str]) -> None:
    """Fail when a step uses a slot that neither is given nor was filled by a step before it."""
    filled = set(given)
    for step in plan:
        assert used_by(step) <= filled, step
        if step.into:
            filled.add(step.into)


def assert_open(plan: Plan) -> None:
    """Fail when a step uses a descriptor that a step before it has closed."""
    closed: set[str] = set()
    for step in plan:
        assert not used_by(step) & closed, step
        closed |= set(step.closes)


def assert_independent(plan: Plan) -> None:
    """Fail when a step that runs meanwhile uses what init's steps before it make, or these use what it makes."""
    for place, step in enumerate(plan):
        if not step.meanwhile:
            continue
        assert step.side == HOST, step
        begin = max(i for i, each in enumerate(plan.steps[:place]) if each.side == HOST and not each.meanwhile)
        beside = [each for each in plan.steps[begin:place] if each.side == INIT]
        assert beside, f"there is nothing to wait for: {step}"
        assert used_by(step).isdisjoint(each.into for each in beside), step
        for each in beside:
            taken = {step.into, *step.closes, *(used_by(step) if step.call == "close" else ())}
            assert used_by(each).isdisjoint(taken), (step, each)


def used_by(step: Step) -> set[str]:
    return {arg.name for arg in step.args if isinstance(arg, Slot)}


def test_the_invariant_of_meanwhile_sees_a_bad_plan() -> None:
    clone = Step(HOST, "", "clone3", into="init_pid")
    made = Step(INIT, "", "openat2", into="made")
    for words, bad in (
        ("isdisjoint", [clone, made, Step(HOST, "", "close", Slot("made"), meanwhile=True)]),
        ("isdisjoint", [clone, Step(INIT, "", "use", Slot("x")), Step(HOST, "", "open", into="x", meanwhile=True)]),
        ("nothing to wait for", [clone, Step(HOST, "", "open", meanwhile=True), made]),
        ("assert 'init' == 'host'", [clone, made, Step(INIT, "", "open", meanwhile=True)]),
    ):
        with pytest.raises(AssertionError, match=words):
            assert_independent(Plan(bad))


@pytest.mark.parametrize("user", [True, False])
def test_the_hosts_cgroups_are_bound(user: bool) -> None:
    """A new mount of cgroup2 in the first cgroup namespace would change the options of all that there are."""
    config = json.loads(CONFIGS[-1].read_text())
    spaces = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "cgroup"]
    config["linux"]["namespaces"] = [*spaces, {"type": "user"}] if user else spaces
    plan = inputs_for(config).create(config)
    made = {step.args[0] for step in plan if step.call == "fsopen"}
    assert "proc" in made and "cgroup2" not in made
    (bound,) = (step for step in plan if step.call == "open_tree" and step.args[1] == "/sys/fs/cgroup")
    assert bound.side == (HOST if user else INIT)


@pytest.mark.parametrize("point", ["prestart", "createRuntime", "createContainer"])
def test_the_device_filter_is_attached_before_any_hook(point: str) -> None:
    config = json.loads(CONFIGS[-1].read_text())
    config["hooks"] = {point: [{"path": "/bin/true"}]}
    plan = inputs_for(config).create(config)
    attached = [i for i, step in enumerate(plan) if step.call == "bpf_prog_attach"]
    assert len(attached) == 1
    hook = position(plan, "run_hook")
    assert attached[0] < hook
    assert any(step.side == INIT for step in plan.steps[: attached[0]])
    assert_independent(plan)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_slots_of_exec_are_filled_before_they_are_used(path: Path) -> None:
    config = json.loads(path.read_text())
    program = {**config["process"], "apparmorProfile": "docker-default", "selinuxLabel": "a:b:c:d", "terminal": True}
    assert_filled(inputs_for(config).exec(program, config), GIVEN | {"cgroup", "target"})


def test_the_invariants_see_a_bad_plan() -> None:
    use, fill = Step(INIT, "", "use", Slot("x")), Step(INIT, "", "open", into="x")
    assert_filled(Plan([fill, use]), set())
    assert_filled(Plan([use]), {"x"})
    for bad in ([use], [use, fill], [Step(INIT, "", "use", Slot("x"), into="x")]):
        with pytest.raises(AssertionError, match=r"use\(<x>\)"):
            assert_filled(Plan(bad), {"y"})
    assert_open(Plan([fill, use, Step(INIT, "", "close", Slot("x"), closes=("x",))]))
    with pytest.raises(AssertionError, match=r"use\(<x>\)"):
        assert_open(Plan([fill, Step(INIT, "", "close", Slot("x"), closes=("x",)), use]))


def test_capabilities_are_the_headers() -> None:
    assert kernel.capabilities == capabilities.NUMBER


def test_a_joined_user_namespace_is_entered_by_a_process_in_between() -> None:
    config = json.loads(CONFIGS[-1].read_text())
    config["linux"]["namespaces"].append({"type": "user", "path": "/proc/1/ns/user"})
    plan = inputs_for(config).create(config)
    joins = [step.describe() for step in plan if step.side == JOIN]
    assert joins == ["setns(<ns_user>, CLONE_NEWUSER)"]
    assert "CLONE_PARENT" in plan.steps[position(plan, "clone3")].describe()


@pytest.mark.parametrize("user", [{}, {"path": "/proc/1/ns/user"}], ids=["new", "joined"])
@pytest.mark.parametrize("pid", [{}, {"path": "/proc/1/ns/pid"}], ids=["own-pid", "joined-pid"])
def test_what_another_user_namespace_may_own_is_joined_before_it(user: dict[str, str], pid: dict[str, str]) -> None:
    """With the host's rights; but no mount namespace of others, in which the host's root would then be."""
    config = json.loads(CONFIGS[-1].read_text())
    links = {"network": "net", "ipc": "ipc", "uts": "uts", "time": "time", "mount": "mnt"}
    joined = [{"type": kind, "path": f"/proc/1/ns/{link}"} for kind, link in links.items()]
    config["linux"]["namespaces"] = [*joined, {"type": "user", **user}, {"type": "pid", **pid}]
    plan = inputs_for(config).create(config)
    descriptions = [step.describe() for step in plan]
    entered = {
        kind: next(at for at, text in enumerate(descriptions) if text.startswith(f"setns(<ns_{kind}>"))
        for kind in links
    }
    user_entered = plan.index(lambda s: "CLONE_NEWUSER" in s.describe())
    assert max(at for kind, at in entered.items() if kind != "mount") < user_entered < entered["mount"]
    sides = {plan.steps[at].side for kind, at in entered.items() if kind != "mount"}
    assert sides == {INIT if "path" in pid else JOIN}


class TestJoinedPidNamespace:
    """What is seen in another container's pid namespace has no more than the container (CVE-2016-9962's kind)."""

    @staticmethod
    def plan(*more: dict[str, str], **changes: Any) -> Plan:
        config = json.loads(CONFIGS[-1].read_text()) | changes
        others = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "pid"]
        config["linux"]["namespaces"] = [*others, {"type": "pid", "path": "/proc/1/ns/pid"}, *more]
        return inputs_for(config).create(config)

    @pytest.mark.parametrize("user", [None, {"type": "user"}, {"type": "user", "path": "/proc/1/ns/user"}])
    def test_order(self, user: dict[str, str] | None) -> None:
        plan = self.plan(*([user] if user else []))
        entered = [i for i, step in enumerate(plan) if step.describe() == "setns(<ns_pid>, CLONE_NEWPID)"]
        last = position(plan, "clone_into_pid_namespace")
        assert len(entered) == 1 and plan.steps[entered[0]].side == INIT
        if user is None:
            assert position(plan, "pivot_root") < entered[0], "hooks and mounts need nobody inside"
        else:
            user_entered = ("unshare(CLONE_NEWUSER", "setns(<ns_user>")
            assert entered[0] + 1 == plan.index(lambda step: step.describe().startswith(user_entered)), (
                "with host rights"
            )
        assert max(i for i, step in enumerate(plan) if step.call in ("setresuid", "capset", "mount_setattr")) < last
        assert plan.steps[last - 1].describe() == "set_dumpable(0)"
        assert position(plan, "save_record") > last, "the record has the pid of the process that stays"

    def test_a_procfs_is_looked_at(self) -> None:
        plan = self.plan()
        made = position(plan, "fsopen_proc")
        assert plan.steps[made].side == HOST
        mounted = plan.index(lambda step: step.call == "fsmount" and step.pointer == "/mounts/0")
        assert plan.steps[mounted + 1].call == "check_procfs", "what the helper sends may be another's choice"

    def test_init_without_a_program_has_no_rights(self) -> None:
        plan = self.plan(process=None)
        assert position(plan, "capset", *capabilities.NO_SETS) < position(plan, "clone_into_pid_namespace")


def test_the_cgroup_and_time_namespaces_are_made_by_init() -> None:
    config = json.loads(CONFIGS[-1].read_text())
    config["linux"]["namespaces"].append({"type": "time"})
    config["linux"]["timeOffsets"] = {"monotonic": {"secs": 7}}
    plan = inputs_for(config).create(config)
    clone = plan.steps[position(plan, "clone3")].describe()
    assert "CLONE_NEWCGROUP" not in clone
    assert "CLONE_NEWTIME" not in clone
    written = position(plan, "write_proc_pid", plan.steps[position(plan, "write_proc_pid")].args[0])
    assert plan.index(lambda s: s.describe() == "unshare(CLONE_NEWTIME)") < written
    assert "monotonic 7 0" in plan.steps[written].describe()


def test_without_a_process_nothing_is_executed() -> None:
    config = json.loads(CONFIGS[-1].read_text())
    del config["process"]
    plan = inputs_for(config).create(config)
    assert plan.steps[-1].call == "await_start"
