"""Plans of what is left out: a process with its arguments alone, null where the schema permits it, no `linux`."""

from typing import Any

import pytest
from support import plans

from pyruntime.plan import capabilities, cgroup, console, hooks, labels, masked_paths, process, sysctl
from pyruntime.plan import mounts as mounts_of
from pyruntime.plan.wishes import Wishes
from pyruntime.step import INIT, Octal, Slot

NOTHING: list[dict[str, Any]] = [
    {},
    {"user": None, "cwd": None, "env": None, "capabilities": None, "rlimits": None, "scheduler": None},
    {"user": {}, "cwd": "", "env": [], "capabilities": {}, "rlimits": [], "ioPriority": {}, "execCPUAffinity": {}},
    {"user": {"additionalGids": None, "umask": None}, "noNewPrivileges": False, "terminal": False, "oomScoreAdj": None},
]
PROGRAM = [
    "enter_directory('/', True) = <in_cwd>",
    "drop_bounding(0, 40)",
    "set_keepcaps(1)",
    "setgroups([])",
    "setresgid(0, 0, 0)",
    "setresuid(0, 0, 0)",
    "set_keepcaps(0)",
    "capset(0, 0, 0)",
    "cap_ambient_clear_all()",
    "enter_directory_late('/', <in_cwd>, {outside}) = <in_cwd>",
    "with_home([], 0) = <env>",
    "{find}",
    "exec_program({program}, ['a'], <env>, None, 0, -1, None, {report}, [])",
]


def of_process(plan: Any) -> list[str]:
    lines = "".join(map(plans.lines_of, plan)).splitlines()
    return [line.split("  ", 3)[-1].strip() for line in lines if "  /process" in line]


@pytest.mark.parametrize("process_of", NOTHING, ids=str)
def test_a_process_with_arguments_alone(process_of: dict[str, Any]) -> None:
    config: dict[str, Any] = {"ociVersion": "1.3.0", "process": {"args": ["a"], **process_of}}
    found = of_process(plans.inputs_for(config).create(config))
    assert found == [
        line.format(outside=False, find="find_program('a', []) = <program>", program="<program>", report="<starter>")
        for line in PROGRAM
    ]


@pytest.mark.parametrize("process_of", NOTHING, ids=str)
def test_exec_of_a_process_with_arguments_alone(process_of: dict[str, Any]) -> None:
    config: dict[str, Any] = {"ociVersion": "1.3.0"}
    found = of_process(plans.inputs_for(config).exec({"args": ["a"], **process_of}, config))
    early = "find_program_early('a', [], <in_cwd>) = <program>"
    expected = [
        line.format(outside=True, find=early, program="<program>", report="<channel>") for line in PROGRAM
    ]  # fmt: skip
    late = ["enter_directory_late('/', <in_cwd>)", "find_program('a', [], <program>) = <program>"]
    assert found == [*expected[:-1], *late, expected[-1]]


@pytest.mark.parametrize("linux", [None, {}, {"namespaces": None, "maskedPaths": None, "readonlyPaths": None,
                                              "devices": None, "resources": None, "sysctl": None, "seccomp": None,
                                              "rootfsPropagation": None, "netDevices": None}], ids=str)  # fmt: skip
def test_without_linux(linux: Any) -> None:
    """It is as with an empty one, and has nothing but what every container has."""
    config: dict[str, Any] = {"ociVersion": "1.3.0", "linux": linux, "hooks": None, "mounts": None, "annotations": None}
    plan = plans.inputs_for(config).create(config)
    bare = {"ociVersion": "1.3.0"}
    assert plans.text_of(plan) == plans.text_of(plans.inputs_for(bare).create(bare))
    calls = {step.call for step in plan}
    assert not calls & {"setns", "unshare", "mask", "open_covers", "open_procfs", "write_procfs", "run_hook", "link_up"}
    assert "pivot_root" not in calls and "chroot" in calls


def test_nothing_of_what_is_not_there() -> None:
    config: dict[str, Any] = {}
    wishes = Wishes("c1", "/bundle")
    assert hooks.streams(config) == ()
    assert hooks.unique(None) is None and hooks.unique([]) == []
    assert hooks.hook_steps({"ociVersion": "1"}, wishes, "prestart") == []
    assert labels.label_steps({}) == labels.procfs_steps(config) == labels.close_procfs_steps(config) == []
    assert masked_paths.prepare_steps(config) == masked_paths.masked_steps(config) == []
    assert masked_paths.readonly_steps(config) == sysctl.sysctl_steps(config) == []
    assert console.terminal_steps({}, wishes, root=True, outside=False) == console.stdio_steps(None) == []
    assert console.connect_steps({"terminal": True}, wishes) == []
    assert cgroup.host_id(0, []) is None
    assert mounts_of.late_steps([]) == []


@pytest.mark.parametrize("label", ["apparmorProfile", "selinuxLabel"])
def test_labels(label: str) -> None:
    config = {"process": {label: "x"}}
    assert [step.call for step in labels.procfs_steps(config)] == ["open_procfs"]
    assert [step.call for step in labels.close_procfs_steps(config)] == ["close"]
    (step,) = labels.label_steps(config["process"])
    path, text = {"apparmorProfile": ("apparmor/exec", "exec x"), "selinuxLabel": ("exec", "x")}[label]
    assert (step.pointer, *step.args[1:]) == (f"/process/{label}", f"self/attr/{path}", text)
    assert [each.call for each in labels.label_steps({"apparmorProfile": "unconfined"})] == []


def test_capabilities_that_can_not_be_granted() -> None:
    host = plans.host_for({}, bounding_caps=0b1011, last_cap=2)
    warnings: list[str] = []
    given = ["CAP_CHOWN", "cap_dac_override", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_NONE"]
    sets = capabilities.read({"capabilities": dict.fromkeys(capabilities.SETS, given)}, host, warnings)
    assert [getattr(sets, kind) for kind in capabilities.SETS] == [3] * 5
    assert warnings == [
        "capabilities can't be granted and are left out: CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_NONE",
    ]  # fmt: skip


@pytest.mark.parametrize("permitted, inheritable, ambient", [(3, 3, 3), (3, 1, 1), (2, 3, 2), (1, 2, 0)])
def test_ambient_capabilities(permitted: int, inheritable: int, ambient: int) -> None:
    """capabilities(7): only what is also permitted and inheritable; effective only what is permitted."""
    names = ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]
    masks = {"permitted": permitted, "inheritable": inheritable, "ambient": 3, "effective": 3}
    given = {kind: [name for bit, name in enumerate(names) if mask >> bit & 1] for kind, mask in masks.items()}
    warnings: list[str] = []
    sets = capabilities.read({"capabilities": given}, plans.host_for({}), warnings)
    assert (sets.ambient, sets.effective, sets.permitted) == (ambient, permitted, permitted)
    left = ", ".join(name for bit, name in enumerate(names) if not ambient >> bit & 1)
    said = [f"ambient capabilities must be permitted and inheritable, left out: {left}"]
    assert warnings == (said if left else [])
    raised = [step.args for step in capabilities.after_setuid(sets, keep_sys_admin=False) if "raise" in step.call]
    assert raised == [(bit,) for bit in range(2) if ambient >> bit & 1]


def test_sys_admin_is_kept_for_the_filter() -> None:
    sets = capabilities.read({}, plans.host_for({}), [])
    for keep, mask in ((True, 1 << 21), (False, 0)):
        (step,) = [step for step in capabilities.after_setuid(sets, keep_sys_admin=keep) if step.call == "capset"]
        assert step.args == (mask, mask, 0)


@pytest.mark.parametrize("mask, wanted", [(0, 0), (0o22, 0o22), (0o1777, 0o777)])
def test_umask(mask: int, wanted: int) -> None:
    (step,) = process.umask_steps({"user": {"umask": mask}}, Octal(5))
    assert (step.pointer, step.args[0].value) == ("/process/user/umask", wanted)
    (step,) = process.umask_steps({}, Slot("umask"))
    assert (step.pointer, repr(step.args[0]), step.side) == ("", "<umask>", INIT)


@pytest.mark.parametrize("args", [{}, {"args": None}, {"args": []}], ids=str)
def test_a_process_without_arguments_executes_nothing(args: dict[str, Any]) -> None:
    config: dict[str, Any] = {"ociVersion": "1.3.0", "process": {"cwd": "/", **args}}
    inputs = plans.inputs_for(config)
    for plan, last in (
        (inputs.create(config), "await_start"),
        (inputs.exec({"cwd": "/", **args}, config), "set_pdeathsig"),
    ):
        calls = [step.call for step in plan]
        assert calls[-1] == last
        assert not {"find_program", "find_program_early", "exec_program", "close_range"} & {*calls}


DEVS: list[tuple[dict[str, Any], bool]] = [
    ({"type": "tmpfs"}, True),
    ({"type": "tmpfs", "destination": "dev/"}, True),
    ({"type": "tmpfs", "destination": "/dev/shm"}, False),
    ({"type": "tmpfs", "options": ["remount"]}, False),
    ({"type": "tmpfs", "options": ["rbind"]}, False),
    ({"type": "bind"}, False),
    ({"type": "cgroup2"}, False),
    ({"type": "cgroup"}, False),
]


@pytest.mark.parametrize("mount, new", DEVS, ids=str)
def test_mounts_that_may_be_the_containers_own_dev(mount: dict[str, Any], new: bool) -> None:
    config: dict[str, Any] = {
        "linux": {"namespaces": [{"type": "cgroup"}]},
        "mounts": [{"destination": "/dev", "source": "s", **mount}],
    }
    parsed = mounts_of.parse(config, plans.host_for(config), plans.place_for())
    assert [*map(repr, mounts_of.new_devs(parsed))] == (["<new_mount0>"] if new else [])
