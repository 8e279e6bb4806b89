"""Edges of what plans compute: the value on each side of a limit, what is absent, and the words of errors."""

from typing import Any

import pytest
from support import plans

from pyruntime.errors import InvalidConfig
from pyruntime.plan import (
    build,
    cgroup,
    cgroup_mounts,
    device_filter,
    idmaps,
    mount_options,
    mounts,
    old_mount,
    process,
    resources,
    seccomp,
    service_manager,
    systemd,
    unit_properties,
    update,
)
from pyruntime.plan.wishes import Wishes
from pyruntime.step import Flags, Step


@pytest.mark.parametrize("version", ["", "1", "x", "1.x.0", "x.2.0"])
def test_zero_tasks_of_a_version_that_is_none_stay(version: str) -> None:
    given = {"pids": {"limit": 0}}
    assert resources.by_version(given, version) == given


@pytest.mark.parametrize("version, limit", [("1.2", -1), ("1.3", 0), ("0.9", -1), ("2.0", 0)])
def test_zero_tasks_of_a_version_with_two_parts(version: str, limit: int) -> None:
    given = {"pids": {"limit": 0}, "cpu": {"shares": 2}}
    assert resources.by_version(given, version) == {"pids": {"limit": limit}, "cpu": {"shares": 2}}
    assert resources.by_version({"pids": None}, version) == {"pids": None}
    assert resources.by_version({}, version) == {}


# cgroup-v2.rst: controls of version 1 that version 2 does not have.
GONE: list[tuple[dict[str, Any], str, str]] = [
    ({"memory": {"kernel": 1}}, "memory/kernel", "kernel 1: cgroup v2 has no such control"),
    ({"memory": {"kernelTCP": 1}}, "memory/kernelTCP", "kernelTCP 1: cgroup v2 has no such control"),
    ({"memory": {"swappiness": 1}}, "memory/swappiness", "swappiness 1: cgroup v2 has no such control"),
    ({"memory": {"disableOOMKiller": True}}, "memory/disableOOMKiller", "disableOOMKiller True"),
    ({"cpu": {"realtimeRuntime": 1}}, "cpu/realtimeRuntime", "cgroup v2 has no realtime control"),
    ({"cpu": {"realtimePeriod": 1}}, "cpu/realtimePeriod", "cgroup v2 has no realtime control"),
    ({"blockIO": {"leafWeight": 9}}, "blockIO/leafWeight", "cgroup v2 has no leaf weights"),
    ({"blockIO": {"weightDevice": [{}, {"leafWeight": 9}]}}, "blockIO/weightDevice/1/leafWeight", "no leaf weights"),
    ({"network": {"classID": 1}}, "network/classID", "net_cls and net_prio exist only in cgroup v1"),
    ({"network": {"priorities": [1]}}, "network/priorities", "net_cls and net_prio exist only in cgroup v1"),
    ({"memory": {"swap": 5}}, "memory/swap", "swap 5 is memory plus swap and needs a memory limit"),
    ({"memory": {"swap": 5, "limit": 6}}, "memory/swap", "swap 5 is memory plus swap and below the limit 6"),
    ({"unified": {"a/b.c": "1"}}, "unified", "'a/b.c' is not the name of a cgroup file"),
    ({"unified": {"ab": "1"}}, "unified", "'ab' is not the name of a cgroup file"),
    ({"unified": {"cgroup.procs": "1"}}, "unified", "'cgroup.procs' is not the name of a cgroup file"),
]


@pytest.mark.parametrize("group, pointer, said", GONE, ids=str)
def test_resources_that_are_refused(group: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as raised:
        resources.resource_writes(group)
    assert raised.value.pointer == f"/linux/resources/{pointer}"


def test_controls_of_version_1_that_are_zero_ask_for_nothing() -> None:
    zero = {"kernel": 0, "kernelTCP": 0, "swappiness": 0, "disableOOMKiller": False}
    assert resources.resource_writes({"memory": zero, "blockIO": {"leafWeight": 0, "weightDevice": [{}]}}) == []


@pytest.mark.parametrize("limit, swap, text", [(0, -1, "max"), (-1, 0, "max"), (5, 0, ""), (-1, 1, "1"), (5, 5, "0"),
                                               (5, 6, "1"), (0, 0, "")])  # fmt: skip
def test_swap(limit: int, swap: int, text: str) -> None:
    assert resources.swap_text(swap, limit, "/p") == text


@pytest.mark.parametrize("joined, limits", [((), {"0"}), (("pid",), {"0", "1"})])
def test_limits_of_tasks_that_keep_init_out(joined: tuple[str, ...], limits: set[str]) -> None:
    config = {"linux": {"namespaces": [{"type": kind, "path": f"/ns/{kind}"} for kind in joined]}}
    host = plans.host_for(config)
    for text in ("0", "1", "2", "max"):
        assert resources.keeps_out_init(resources.Write("/p", "pids.max", text), host) is (text in limits)
    assert resources.keeps_out_init(resources.Write("/p", "cpu.idle", "0"), host) is False


def test_needed_controllers() -> None:
    write = resources.Write
    assert resources.needed_controllers([
        write("/a", "cpu.max", "1"), write("/b", "cpu.idle", "1"), write("/c", "cgroup.freeze", "1"),
        write("/d", "pids.max", "max", optional=True), write("/e", "hugetlb.2MB.max", "1"),
    ]) == {"cpu": "/a", "hugetlb": "/e"}  # fmt: skip


@pytest.mark.parametrize("controllers, has", [((), "none"), (("cpu", "io"), "cpu, io")])
def test_a_missing_controller(controllers: tuple[str, ...], has: str) -> None:
    place = plans.place_for(controllers=controllers)
    with pytest.raises(
        InvalidConfig, match=rf"memory is not available in /sys/fs/cgroup \(available: {has}\)"
    ) as raised:
        cgroup.controller_steps({"memory": "/p"}, place)
    assert raised.value.pointer == "/p"


def test_without_cgroup2() -> None:
    place = plans.place_for(mount=None)
    for call in (lambda: cgroup_mounts.check_mounted(place), lambda: cgroup.cgroup_steps(place)):
        with pytest.raises(InvalidConfig, match="cgroup version 2 is not mounted on /sys/fs/cgroup"):
            call()
    cgroup_mounts.check_mounted(plans.place_for())


CGROUPS = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}


@pytest.mark.parametrize(
    "bounding, options, userns, warned",
    [
        (["CAP_CHOWN"], [], False, True),
        (["CAP_CHOWN"], ["ro"], False, False),
        (["CAP_CHOWN"], ["rro"], False, False),
        (["CAP_CHOWN"], ["rw"], False, True),
        (["CAP_SYS_ADMIN"], [], False, False),
        (["CAP_SYS_ADMIN"], [], True, True),
        (None, [], False, True),
    ],
)
def test_the_hosts_cgroups_are_read_only(bounding: Any, options: list[str], userns: bool, warned: bool) -> None:
    config: dict[str, Any] = {
        "process": {"capabilities": {"bounding": bounding}},
        "linux": {"namespaces": [{"type": "user"}] if userns else []},
        "mounts": [{**CGROUPS, "options": options}],
    }
    parsed = mounts.parse(config, plans.host_for(config), plans.place_for())
    said = ["the host's cgroups are mounted read-only [config.json#/mounts/0]"]
    assert mounts.warnings(parsed) == (said if warned else [])
    ((mount, parsed_options),) = parsed
    assert (mount["type"], mount["source"]) == ("bind", "/sys/fs/cgroup")
    assert parsed_options.late_read_only is (warned or bool(options))


@pytest.mark.parametrize("options", [["bind"], ["remount"]], ids=str)
def test_mounts_that_are_not_of_cgroups(options: list[str]) -> None:
    config: dict[str, Any] = {"mounts": [{**CGROUPS, "options": options}]}
    ((mount, _),) = mounts.parse(config, plans.host_for(config), plans.place_for())
    assert mount == config["mounts"][0]


@pytest.mark.parametrize("kind, source", [("new", "cgroup"), ("joined", "cgroup"), ("host", "/sys/fs/cgroup")])
def test_cgroups_of_a_namespace(kind: str, source: str) -> None:
    entry = {"type": "cgroup", **({} if kind == "new" else {"path": "/ns"})}
    for given in ("cgroup", None):
        config: dict[str, Any] = {"linux": {"namespaces": [entry]}, "mounts": [{**CGROUPS, "source": given}]}
        host = plans.host_for(config, host=["cgroup"] if kind == "host" else [])
        ((mount, _),) = mounts.parse(config, host, plans.place_for())
        assert (mount["source"], mount["type"]) == (source, "bind" if kind == "host" else "cgroup2")


@pytest.mark.parametrize("uid", [None, 0, 5])
def test_whose_home_is_looked_up(uid: int | None) -> None:
    user = {} if uid is None else {"uid": uid}
    program = {"args": ["a"], "cwd": "/", "env": ["HOME=", "A=HOME=x"], "user": user}
    plan = plans.inputs_for({}).exec(program, {"linux": {"namespaces": []}})
    (step,) = [step for step in plan if step.call == "with_home"]
    assert step.args == (["A=HOME=x"], uid or 0)


@pytest.mark.parametrize("mount_uid", [{}, {"uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}])
def test_an_idmapped_mount_of_a_joined_user_namespace(mount_uid: dict[str, Any]) -> None:
    mount = {"destination": "/x", "source": "/s", "options": ["bind", "idmap"], **mount_uid}
    if mount_uid:
        mount["gidMappings"] = mount_uid["uidMappings"]
    config: dict[str, Any] = {"linux": {"namespaces": [{"type": "user", "path": "/ns"}]}, "mounts": [mount]}
    inputs = plans.inputs_for(config)
    parsed = mounts.parse(config, inputs.host, inputs.place)
    *_, step = mounts.host_mount_steps(parsed, config, inputs.host, inputs.wishes)
    name = "userns0" if mount_uid else "ns_user"
    assert repr(step.args[-1]) == f"<{name}>"
    assert step.closes == ((name,) if mount_uid else ())
    assert step.pointer == f"/mounts/0/{'uidMappings' if mount_uid else 'options'}"


@pytest.mark.parametrize("first, host_id", [(9, None), (10, 1000), (15, 1005), (16, None)])
def test_ids_relative_to_the_user_namespace(first: int, host_id: int | None) -> None:
    mappings = [{"containerID": 0, "hostID": 1, "size": 1}, {"containerID": 10, "hostID": 1000, "size": 10}]
    options = mount_options.parse([f"idmap=uids=@0-{first}-5;gids=0-1-1"])
    config = {"linux": {"uidMappings": mappings}}
    if host_id is None:
        with pytest.raises(InvalidConfig, match="which has no such ids") as raised:
            idmaps.own_maps({}, options, config, "/mounts/0")
        assert raised.value.pointer == "/mounts/0/options"
    else:
        assert idmaps.own_maps({}, options, config, "/mounts/0") == [f"0 {host_id} 5\n", "0 1 1\n"]


@pytest.mark.parametrize("length, fits", [(4093, True), (4094, False)])
def test_options_of_a_page(length: int, fits: bool) -> None:
    data: list[tuple[str, str | None]] = [("x", "y" * length)]
    options = mount_options.parse(["ro", "sync", "dirsync", "lazytime"])
    if not fits:
        with pytest.raises(InvalidConfig, match="the options of this mount are 4096 bytes") as raised:
            old_mount.steps(0, {}, options, data, "ext4")
        assert raised.value.pointer == "/mounts/0/options"
        return
    (step,) = old_mount.steps(0, {}, options, data, "ext4")
    assert [repr(arg) for arg in step.args[:3]] == [
        "'ext4'", "'ext4'", "MS_RDONLY|MS_SYNCHRONOUS|MS_DIRSYNC|MS_LAZYTIME",
    ]  # fmt: skip
    assert (step.pointer, step.into) == ("/mounts/0", "mount0")


@pytest.mark.parametrize("length, layers", [(4095, False), (4096, True)])
def test_layers_are_split_beyond_a_page(length: int, layers: bool) -> None:
    data: list[tuple[str, str | None]] = [("lowerdir", "/a:/b"), ("x", "y" * (length - 17))]
    assert len(old_mount.data_text(data)) == length
    keys = [key for key, _ in old_mount.split_layers("overlay", data)]
    assert keys == (["lowerdir+", "lowerdir+", "x"] if layers else ["lowerdir", "x"])


@pytest.mark.parametrize("value, long", [("x" * 255, False), ("x" * 256, True), ("\u20ac" * 85, False),
                                         ("\u20ac" * 86, True), ("\U0001f600" * 64, True), (None, False)])  # fmt: skip
def test_long_values(value: str | None, long: bool) -> None:
    assert old_mount.is_long({}, [("k", value)]) is long
    assert old_mount.is_long({"source": value}, []) is long


@pytest.mark.parametrize("text", ["-", "0-", "-0", "1-0", "x", "1,", ",", "1-2-3", "\u00b2", " "])
def test_no_lists_of_numbers(text: str) -> None:
    with pytest.raises(InvalidConfig, match="is not a list of numbers like 0-3,8"):
        process.number_list(text, "/p")
    assert process.number_list("", "/p") == []
    assert process.number_list("1-1,3", "/p") == [1, 3]


@pytest.mark.parametrize(
    "name, level, value, text",
    [
        ("IOPRIO_CLASS_NONE", 0, 0, "IOPRIO_CLASS_NONE|0"),
        ("IOPRIO_CLASS_RT", 1, (1 << 13) + 1, "IOPRIO_CLASS_RT|1"),
        ("IOPRIO_CLASS_BE", 7, (2 << 13) + 7, "IOPRIO_CLASS_BE|7"),
        ("IOPRIO_CLASS_IDLE", 0, 3 << 13, "IOPRIO_CLASS_IDLE|0"),
    ],
)
def test_io_priorities(name: str, level: int, value: int, text: str) -> None:
    """linux/ioprio.h."""
    made = process.IoPriority(name, level)
    assert (int(made), repr(made)) == (value, text)


@pytest.mark.parametrize("length, fits", [(255, True), (256, False)])
def test_the_longest_name_of_a_unit(length: int, fits: bool) -> None:
    path = f"system.slice:p:{'n' * (length - len('p-.scope'))}"
    if fits:
        assert len(systemd.locate(path, "c1", 0)[0]) == length
    else:
        with pytest.raises(InvalidConfig, match="has 256 characters, at most 255 are allowed") as raised:
            systemd.locate(path, "c1", 0)
        assert raised.value.pointer == "/linux/cgroupsPath"


def test_names_of_units() -> None:
    assert systemd.locate("", "a+b", 0) == (
        r"pyruntime-a\x2bb.scope", "system.slice", r"/system.slice/pyruntime-a\x2bb.scope",
    )  # fmt: skip
    assert systemd.locate("-.slice:p:n", "c", 0)[2] == systemd.locate("-:p:n", "c", 0)[2] == "/p-n.scope"
    assert systemd.locate("a-b.slice::n", "c", 7)[2] == (
        "/user.slice/user-7.slice/user@7.service/a.slice/a-b.slice/-n.scope"
    )
    assert systemd.locate(":p:n", "c", 7)[1] == "user.slice"


def test_filters_and_limits() -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
    forbids: dict[str, Any] = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}}}
    permits = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}
    notifies = {
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{**rule, "action": "SCMP_ACT_NOTIFY"}]}}
    }
    hook = {"hooks": {"startContainer": [{"path": "/x"}]}}
    found = [build.limits_are_forbidden(config) for config in (forbids, permits, notifies, {}, {**forbids, **hook})]
    assert found == [True, False, False, False, False]
    assert [seccomp.loads_early(config) for config in (forbids, permits, notifies, {}, {**forbids, **hook})] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_a_profile_that_notifies_needs_an_agent() -> None:
    config = {
        "linux": {
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]}
        }
    }
    with pytest.raises(InvalidConfig, match="SCMP_ACT_NOTIFY needs a listenerPath") as raised:
        seccomp.compile_steps(config)
    assert raised.value.pointer == "/linux/seccomp/listenerPath"


FILES: dict[str, str | None] = {"memory.current": "100\n", "memory.swap.current": "50\n", "cpu.max.burst": "10\n"}


@pytest.mark.parametrize(
    "memory, said",
    [
        ({"limit": 99}, "memory.max 99: below the current use, 100 bytes"),
        ({"limit": 100}, None),
        ({"limit": -1}, None),
        ({"swap": 149}, "memory plus swap 149: below the current use, 150 bytes"),
        ({"swap": 150}, None),
        ({"swap": -1}, None),
        ({}, None),
    ],
)
def test_limits_below_the_use(memory: dict[str, int], said: str | None) -> None:
    merged = {"memory": {"checkBeforeUpdate": True}}
    update.check_use({"memory": memory}, {"memory": {"checkBeforeUpdate": False}}, FILES)
    update.check_use({"memory": memory}, {}, FILES)
    if said is None:
        update.check_use({"memory": memory}, merged, FILES)
        return
    with pytest.raises(InvalidConfig, match=said) as raised:
        update.check_use({"memory": memory}, merged, FILES)
    assert raised.value.pointer == f"/linux/resources/memory/{next(iter(memory))}"


@pytest.mark.parametrize("cpu, refused", [({"quota": 9}, True), ({"quota": 10}, False), ({"quota": -1}, False),
                                          ({"quota": 9, "burst": 9}, False), ({}, False), ({"quota": 0}, False),
                                          ({"quota": 1}, True)])  # fmt: skip
def test_quotas_below_the_burst(cpu: dict[str, int], refused: bool) -> None:
    if not refused:
        update.check_quota({"cpu": cpu}, FILES)
        return
    with pytest.raises(InvalidConfig, match="below the container's burst, 10") as raised:
        update.check_quota({"cpu": cpu}, FILES)
    assert raised.value.pointer == "/linux/resources/cpu/quota"


@pytest.mark.parametrize("limit, refused", [(19, False), (20, False), (21, True)])
def test_limits_above_memory_plus_swap(limit: int, refused: bool) -> None:
    merged = {"limit": limit, "swap": 20}
    if refused:
        with pytest.raises(InvalidConfig, match="limit 21 is above the container's memory plus swap, 20") as raised:
            update.coupled_memory({"limit": limit}, merged)
        assert raised.value.pointer == "/linux/resources/memory/limit"
    else:
        assert update.coupled_memory({"limit": limit}, merged) == merged
    assert update.coupled_memory({"reservation": 1}, merged) == {"reservation": 1}
    assert update.coupled_memory({"limit": 5}, {"limit": 5}) == {"limit": 5, "swap": 0}
    assert update.coupled_memory({"limit": 5}, {"limit": 5, "swap": -1}) == {"limit": 5, "swap": -1}


def test_device_nodes_of_systemd() -> None:
    keys = (("c", None, None), ("b", None, 3), ("c", 0, None), ("b", 0, 0))
    assert [unit_properties.device_node(*key) for key in keys] == ["char-*", "block-*", "char-0", "/dev/block/0:0"]


def test_the_last_of_equal_attributes_counts() -> None:
    attributes = mount_options.parse(["ro", "nosuid", "rw", "nodev", "ro"]).attributes
    assert (attributes.set, attributes.clear) == ("MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_RDONLY", "")


def test_the_socket_of_a_service_manager() -> None:
    """sd_notify(3): the directory is bound read-only, and nothing in it can be executed or opened as a device."""
    wishes = Wishes("c1", "/bundle", notify_directory="/run/c1/notify", listen_fds=2)
    config: dict[str, Any] = {"process": {"env": ["A=1"]}, "mounts": [{"destination": "/a"}]}
    found = service_manager.extended(config, wishes)
    assert found["mounts"] == [
        {"destination": "/a"},
        {
            "destination": "/run/notify",
            "type": "bind",
            "source": "/run/c1/notify",
            "options": ["bind", "nosuid", "noexec", "nodev", "ro"],
        },
    ]
    variables = ["A=1", "LISTEN_FDS=2", "LISTEN_PID=1", "NOTIFY_SOCKET=/run/notify/notify.sock"]
    assert found["process"]["env"] == variables
    assert service_manager.extended(config, Wishes("c1", "/bundle")) is config
    assert service_manager.extended({}, wishes) == {}
    only = service_manager.extended({"process": {"cwd": "/"}}, Wishes("c1", "/bundle", listen_fds=1))
    assert only == {"process": {"cwd": "/", "env": ["LISTEN_FDS=1", "LISTEN_PID=1"]}, "mounts": []}


def test_steps_of_the_service_managers_mount_have_no_pointer() -> None:
    steps = [
        Step("init", pointer, "x") for pointer in ("/mounts/1", "/mounts/1/options", "/mounts/10", "/mounts/0", "")
    ]
    service_manager.take_pointers(steps, {"mounts": [{}]})
    assert [step.pointer for step in steps] == ["", "", "/mounts/10", "/mounts/0", ""]


@pytest.mark.parametrize("number, wanted", [(None, None), (-1, None), (0, 0), (1, 1)])
def test_wildcards(number: int | None, wanted: int | None) -> None:
    rule = {"allow": True, "type": "c", "major": number, "minor": number}
    assert device_filter.normal(rule) == (True, "c", wanted, wanted, 7)


def test_flags_of_filters() -> None:
    assert repr(seccomp.flags_of({"flags": ["A", "B"]})) == "A|B"
    assert repr(seccomp.flags_of({})) == repr(Flags(""))


@pytest.mark.parametrize("limit, order", [(999, ["swap", "max"]), (1000, ["max", "swap"]), (1001, ["max", "swap"])])
def test_what_stays_is_written_like_what_is_raised(limit: int, order: list[str]) -> None:
    files: dict[str, str | None] = {"memory.max": "1000\n", "memory.swap.max": "1000\n"}
    writes = [resources.Write("/p", "memory.swap.max", "900"), resources.Write("/p", "memory.max", str(limit))]
    found = [write.name.split(".")[-2:] for write in update.in_memory_order(writes, files)]
    assert [parts[0] if parts[0] == "swap" else "max" for parts in found] == order
