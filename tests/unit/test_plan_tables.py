"""The tables of plan/ in full, as the specification and the man pages have them, not computed from the tables."""

from typing import Any

import pytest
from support import plans

from pyruntime.errors import InvalidConfig
from pyruntime.plan import (
    capabilities,
    cgroup,
    device_filter,
    extensions,
    hooks,
    masked_paths,
    mounts,
    namespaces,
    resources,
    rootfs,
    seccomp,
    unit_properties,
    unsupported,
    update,
)


def test_flags_of_namespaces() -> None:
    """clone(2), and config-linux.md "Namespaces"."""
    assert namespaces.FLAG == {
        "user": "CLONE_NEWUSER", "mount": "CLONE_NEWNS", "network": "CLONE_NEWNET", "uts": "CLONE_NEWUTS",
        "ipc": "CLONE_NEWIPC", "pid": "CLONE_NEWPID", "cgroup": "CLONE_NEWCGROUP", "time": "CLONE_NEWTIME",
    }  # fmt: skip
    assert namespaces.JOIN_ORDER[-1] == "mount", "it changes paths"
    assert {*namespaces.JOIN_ORDER} == {*namespaces.FLAG} - {"user", "pid"}
    assert {*namespaces.EXEC_EARLY} == {*namespaces.FLAG} - {"user", "pid", "mount"}


def test_pointers_to_namespaces() -> None:
    config = {"linux": {"namespaces": [{"type": "uts"}, {"type": "pid"}]}}
    assert [namespaces.pointer_of(config, kind) for kind in ("uts", "pid", "ipc")] == [
        "/linux/namespaces/0", "/linux/namespaces/1", "/linux/namespaces",
    ]  # fmt: skip
    assert namespaces.pointer_of({"linux": {}}, "uts") == "/linux/namespaces"


@pytest.mark.parametrize("mappings, first", [([], 0), ([5], 5), ([5, 0], 0), ([0, 5], 0), ([7, 5], 7), ([1], 1)])
def test_the_id_that_init_takes_in_a_user_namespace(mappings: list[int], first: int) -> None:
    linux = {
        "namespaces": [{"type": "user"}],
        "uidMappings": [{"containerID": i, "hostID": 9, "size": 1} for i in mappings],
    }
    config = {"linux": linux}
    gid, uid = namespaces.root_identity(config, plans.host_for(config))
    assert (gid.args, uid.args) == ((0, 0, 0), (first, first, first))


@pytest.mark.parametrize("annotations, expected", [({}, False), (None, False), ({"a": "1"}, True), ({"a": ""}, True),
                                                   ({"a": "0"}, False), ({"b": "1"}, False)])  # fmt: skip
def test_annotations_that_are_set(annotations: Any, expected: bool) -> None:
    assert extensions.is_set({"annotations": annotations}, "a") is expected
    assert extensions.is_set({}, "a") is False


def test_annotations() -> None:
    """crun(1), "Extensions to OCI"."""
    assert {*extensions.KNOWN} == {
        "run.oci.delegate-cgroup", "run.oci.systemd.subgroup", "run.oci.seccomp.receiver", "run.oci.pidfd_receiver",
        "run.oci.seccomp_fail_unknown_syscall", "run.oci.hooks.stdout", "run.oci.hooks.stderr",
    }  # fmt: skip
    assert extensions.value_of({"annotations": {"a": "x"}}, "a") == "x"
    assert extensions.value_of({"annotations": {"a": "x"}}, "b") == extensions.value_of({}, "b") == ""


@pytest.mark.parametrize("path", ["x", "./x", "/x\0", " /x"])
def test_annotations_whose_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidConfig, match=r"is not an absolute path.*/annotations/a~1b"):
        extensions.path_of({"annotations": {"a/b": path}}, "a/b")
    assert extensions.path_of({"annotations": {"a/b": "/x"}}, "a/b") == "/x"
    assert extensions.path_of({"annotations": {"a/b": ""}}, "a/b") == extensions.path_of({}, "a/b") == ""


@pytest.mark.parametrize("path", ["/a", "a/", "a//b", ".", "a/..", "..", "a\n", "a/b\x7f"])
def test_subgroups_that_are_refused(path: str) -> None:
    with pytest.raises(InvalidConfig, match="is not a cgroup below the container's own"):
        extensions.subgroup_of({"annotations": {"a": path}}, "a")
    for fine in ("a", "a/b", "..a", ""):
        assert extensions.subgroup_of({"annotations": {"a": fine}}, "a") == fine


@pytest.mark.parametrize(
    "linux, annotations, path",
    [
        ({"seccomp": {}}, {"run.oci.seccomp.receiver": "/s"}, "/s"),
        ({"seccomp": {"listenerPath": "/own"}}, {"run.oci.seccomp.receiver": "/s"}, "/own"),
        ({"seccomp": {}}, {"run.oci.seccomp.receiver": ""}, None),
        ({"seccomp": {}}, {"other": "/s"}, None),
        ({"seccomp": {}}, "run.oci.seccomp.receiver", None),
        ({"seccomp": {}}, None, None),
    ],
)
def test_the_annotation_of_seccomps_receiver(linux: Any, annotations: Any, path: str | None) -> None:
    config = {"linux": linux, "annotations": annotations}
    extensions.apply(config)
    assert config["linux"]["seccomp"].get("listenerPath") == path


@pytest.mark.parametrize("linux", [None, [], {}, {"seccomp": None}, {"seccomp": "x"}])
def test_the_annotation_of_seccomps_receiver_without_a_profile(linux: Any) -> None:
    config = {"linux": linux, "annotations": {"run.oci.seccomp.receiver": "/s"}}
    extensions.apply(config)
    assert config["linux"] == linux


@pytest.mark.parametrize(
    "linux, said",
    [
        ({"intelRdt": {"closID": "x"}}, r"Intel RDT is not supported.*#/linux/intelRdt"),
        ({"mountLabel": "x"}, r"SELinux labels on mounts is not supported.*#/linux/mountLabel"),
    ],
)
def test_what_is_not_supported(linux: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        unsupported.check({"linux": linux})
    unsupported.check({"linux": {"intelRdt": {}, "mountLabel": ""}})
    unsupported.check({"linux": None})
    unsupported.check({})


ALLOW = {"names": ["a"], "action": "SCMP_ACT_ALLOW"}
DENY = {"names": ["a"], "action": "SCMP_ACT_ERRNO"}
SOMETIMES = {**ALLOW, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}
PERMITS = [
    ("SCMP_ACT_ALLOW", [], True),
    ("SCMP_ACT_LOG", [], False),
    ("SCMP_ACT_ERRNO", [], False),
    ("SCMP_ACT_ERRNO", [ALLOW], True),
    ("SCMP_ACT_ERRNO", [SOMETIMES], False),
    ("SCMP_ACT_ERRNO", [ALLOW, SOMETIMES], False),
    ("SCMP_ACT_ALLOW", [DENY], False),
    ("SCMP_ACT_ALLOW", [ALLOW, DENY], False),
    ("SCMP_ACT_ALLOW", [{**DENY, "names": ["b"]}], True),
    ("SCMP_ACT_ERRNO", [{**ALLOW, "names": ["b"]}], False),
    ("SCMP_ACT_ERRNO", [{**DENY, "args": SOMETIMES["args"]}], False),
]


@pytest.mark.parametrize("default, syscalls, expected", PERMITS, ids=str)
def test_what_a_filter_surely_permits(default: str, syscalls: list[Any], expected: bool) -> None:
    config = {"linux": {"seccomp": {"defaultAction": default, "syscalls": syscalls}}}
    assert seccomp.surely_permits(config, "a") is expected
    assert seccomp.surely_permits({}, "a") is True
    assert seccomp.surely_permits({"linux": {"seccomp": {"defaultAction": default}}}, "a") is (
        default == "SCMP_ACT_ALLOW"
    )


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_defaults_with_which_newer_calls_are_not_special(default: str) -> None:
    profile = seccomp.Profile({"defaultAction": default, "syscalls": [DENY]})
    assert profile.named() is None
    assert repr(profile) == f"{{{default}, 1 rules}}"


@pytest.mark.parametrize(
    "default", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"]
)
def test_defaults_with_which_newer_calls_are_special(default: str) -> None:
    profile = seccomp.Profile({"defaultAction": default, "syscalls": [ALLOW, {**ALLOW, "names": ["b", "c"]}]})
    assert profile.named() == ["a", "b", "c"]
    assert repr(profile) == f"{{{default}, 3 rules, ENOSYS for calls that are newer than all it names}}"


@pytest.mark.parametrize(
    "name, number, expected",
    [
        ("SCMP_ACT_ERRNO", None, 1),
        ("SCMP_ACT_ERRNO", 0, 0),
        ("SCMP_ACT_ERRNO", 38, 38),
        ("SCMP_ACT_TRACE", None, 1),
        ("SCMP_ACT_TRACE", 7, 7),
        ("SCMP_ACT_ALLOW", 7, 0),
        ("SCMP_ACT_KILL", None, 0),
    ],
)
def test_numbers_of_actions(name: str, number: int | None, expected: int) -> None:
    assert seccomp.action(name, number) == (name, expected)


def test_conditions() -> None:
    one = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    two = {"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}
    assert seccomp.alternatives([]) == [[]]
    assert seccomp.alternatives([one, two]) == [[(0, "SCMP_CMP_EQ", 1, 0), (1, "SCMP_CMP_MASKED_EQ", 2, 3)]]
    assert seccomp.alternatives([one, one]) == [[(0, "SCMP_CMP_EQ", 1, 0)]] * 2


def test_architectures() -> None:
    profile = seccomp.Profile(
        {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]}
    )
    assert profile.arches == ["x86_64", "x32"]
    assert profile.strict is False


def test_hooks() -> None:
    """config.md "POSIX-platform Hooks" and runtime.md "State"."""
    assert hooks.POINTS == {
        "prestart": ("host", "created"), "createRuntime": ("host", "creating"), "createContainer": ("init", "creating"),
        "startContainer": ("init", "created"), "poststart": ("host", "running"), "poststop": ("host", "stopped"),
    }  # fmt: skip


def test_default_devices() -> None:
    """config-linux.md "Default Devices" and "Dev symbolic links"; devices.txt of the kernel."""
    assert rootfs.wanted_devices({}) == {
        "/dev/null": ("", "c", 1, 3, 0o666, 0, 0), "/dev/zero": ("", "c", 1, 5, 0o666, 0, 0),
        "/dev/full": ("", "c", 1, 7, 0o666, 0, 0), "/dev/random": ("", "c", 1, 8, 0o666, 0, 0),
        "/dev/urandom": ("", "c", 1, 9, 0o666, 0, 0), "/dev/tty": ("", "c", 5, 0, 0o666, 0, 0),
    }  # fmt: skip
    assert {*rootfs.DEFAULT_LINKS} == {
        ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"), ("/dev/ptmx", "pts/ptmx"),
    }  # fmt: skip


def test_devices_of_the_config() -> None:
    devices = [
        {"path": "/dev/a", "type": "b"},
        {"path": "/dev/b", "type": "c", "major": 2, "minor": 3, "fileMode": 0o100640, "uid": 4, "gid": 5},
        {"path": "/dev/c", "type": "p", "fileMode": 0},
        {"path": "/dev/null", "type": "c", "major": 9, "minor": 9, "fileMode": 0o7777},
    ]
    found = rootfs.wanted_devices({"linux": {"devices": devices}})
    assert [found[f"/dev/{name}"] for name in ("a", "b", "c", "null")] == [
        ("/linux/devices/0", "b", 0, 0, 0o666, 0, 0),
        ("/linux/devices/1", "c", 2, 3, 0o640, 4, 5),
        ("/linux/devices/2", "p", 0, 0, 0, 0, 0),
        ("/linux/devices/3", "c", 9, 9, 0o7777, 0, 0),
    ]
    assert rootfs.covered("/linux/devices/0") == () and rootfs.covered("") == ("EBUSY",)


@pytest.mark.parametrize("outer, inner", [("", "MS_SLAVE"), ("private", "MS_SLAVE"), ("rprivate", "MS_SLAVE"),
                                          ("slave", "MS_SLAVE"), ("rslave", "MS_SLAVE"), ("shared", "MS_SHARED"),
                                          ("rshared", "MS_SHARED"), ("unbindable", "MS_SLAVE"),
                                          ("runbindable", "MS_SLAVE")])  # fmt: skip
def test_propagation_of_the_root_while_it_is_made(outer: str, inner: str) -> None:
    config = {"linux": {"namespaces": [{"type": "mount"}], "rootfsPropagation": outer}}
    first, second = rootfs.bind_root(config, plans.host_for(config))[:2]
    assert repr(first.args[-1]) == inner
    assert (second.call == "make_parent_private") == (inner == "MS_SHARED")


@pytest.mark.parametrize("kind", ["private", "shared", "slave", "unbindable"])
def test_propagation_of_the_root_in_the_end(kind: str) -> None:
    for asked, recursive in ((kind, "0"), (f"r{kind}", "AT_RECURSIVE")):
        config = {"linux": {"namespaces": [{"type": "mount"}], "rootfsPropagation": asked}}
        (step,) = rootfs.root_attributes(config, plans.host_for(config))
        assert (repr(step.args[2]), repr(step.args[-1])) == (recursive, f"MS_{kind.upper()}")
        assert rootfs.root_attributes(config, plans.host_for({})) == []


def test_ids_of_the_host() -> None:
    mappings = [{"containerID": 0, "hostID": 1000, "size": 2}, {"containerID": 10, "hostID": 50, "size": 1}]
    assert [cgroup.host_id(number, mappings) for number in (0, 1, 2, 9, 10, 11)] == [1000, 1001, None, None, 50, None]


def test_controllers() -> None:
    """cgroup-v2.rst "Threads"; systemd's Delegate= knows these controllers of version 2."""
    assert {*cgroup.THREADED} == {"cpu", "cpuset", "perf_event", "pids"}
    assert {*cgroup.SYSTEMD_ENABLES} == {"cpu", "cpuset", "io", "memory", "pids"}


def test_absent_paths_are_skipped() -> None:
    assert {*masked_paths.ABSENT} == {"ENOENT", "ENOTDIR", "EACCES"}
    assert {*mounts.ABSENT} == {"ENOENT", "ENOTDIR"}


@pytest.mark.parametrize("shares, weight", [(1, 1), (2, 1), (3, 2), (1024, 100), (262143, 10000), (262144, 10000),
                                            (262145, 10000)])  # fmt: skip
def test_weights_of_shares(shares: int, weight: int) -> None:
    """The extremes and the default of both versions match."""
    assert resources.weight_of_shares(shares) == weight


@pytest.mark.parametrize("weight, converted", [(10, 1), (11, 11), (100, 910), (500, 4950), (1000, 10000)])
def test_weights_of_block_devices(weight: int, converted: int) -> None:
    assert resources.io_weight(weight) == converted
    write = resources.weight_write("/p", "8:0", weight)
    assert (write.name, write.text, write.instead) == (
        "io.weight", f"8:0 {converted}", ("io.bfq.weight", f"8:0 {weight}"),
    )  # fmt: skip


@pytest.mark.parametrize("access, letters", [(0, ""), (1, "m"), (2, "r"), (4, "w"), (7, "rwm"), (6, "rw"), (3, "rm")])
def test_access_to_devices(access: int, letters: str) -> None:
    """BPF_DEVCG_ACC_MKNOD, _READ and _WRITE of linux/bpf.h."""
    assert unit_properties.access_text(access) == letters
    assert device_filter.normal({"allow": True, "type": "c", "access": letters})[4] == access


def test_devices_allowed_for_every_container() -> None:
    nothing: dict[Any, int] = {
        ("c", None, None): 1, ("b", None, None): 1, ("c", 1, 3): 7, ("c", 1, 5): 7, ("c", 1, 7): 7, ("c", 1, 8): 7,
        ("c", 1, 9): 7, ("c", 5, 0): 7, ("c", 5, 1): 7, ("c", 5, 2): 7, ("c", 136, None): 7,
    }  # fmt: skip
    assert device_filter.allowed([]) == nothing
    assert device_filter.allowed([{"allow": True}]) is None
    deny = {"allow": False, "type": "c", "major": 10}
    rules = [{"allow": True, "type": "c", "major": 10, "minor": 1}, {"allow": True, "type": "b", "major": 10}]
    assert device_filter.allowed([*rules, deny]) == {**nothing, ("b", 10, None): 7}
    assert device_filter.allowed([*rules, {**deny, "access": "w"}]) == {
        **nothing, ("b", 10, None): 7, ("c", 10, 1): 3,
    }  # fmt: skip
    assert device_filter.allowed([{"allow": True}, {"allow": False}]) == nothing


def test_files_with_a_line_for_each_device() -> None:
    """cgroup-v2.rst: the text that removes such a line."""
    assert update.KEYED == {
        "io.max": "rbps=max wbps=max riops=max wiops=max", "io.weight": "default", "io.bfq.weight": "default",
        "rdma.max": "hca_handle=max hca_object=max",
    }  # fmt: skip
    assert {*update.BY_DEVICE} == {
        "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
        "throttleWriteIOPSDevice",
    }  # fmt: skip
    assert {
        "cpu": {"cpu.max.burst", "cpu.weight", "cpu.idle"},
        "cpuset": {"cpuset.cpus.effective", "cpuset.mems.effective"},
        "memory": {"memory.current", "memory.swap.current"},
    } == update.READ_TOO


RULES = [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]


@pytest.mark.parametrize("given, current, expected", [({"devices": RULES}, {"devices": RULES}, None),
                                                      ({"devices": RULES}, {"devices": []}, RULES),
                                                      ({"devices": []}, {"devices": RULES}, []),
                                                      ({"devices": RULES}, {}, RULES),
                                                      ({}, {}, None)])  # fmt: skip
def test_an_update_of_the_same_devices_changes_none(given: Any, current: Any, expected: Any) -> None:
    request = update.Request(given, current, "1.3.0", systemd=False)
    assert request.wanted.get("devices") == expected
    assert request.merged.get("devices") == (current.get("devices") if expected is None else expected)


SWAP = [
    ({"limit": -1}, {"limit": 10, "swap": 20}, -1),
    ({"limit": -1}, {"limit": 10}, None),
    ({"limit": -1, "swap": 30}, {"limit": 10, "swap": 20}, 30),
    ({"limit": 15}, {"limit": 10, "swap": 20}, 20),
    ({"reservation": 5}, {"limit": 10, "swap": 20}, 20),
    ({}, {"limit": 10, "swap": 20}, 20),
]


@pytest.mark.parametrize("wanted, before, swap", SWAP, ids=str)
def test_swap_after_an_update(wanted: Any, before: Any, swap: int | None) -> None:
    merged = update.merge({"memory": before}, {"memory": wanted} if wanted else {})
    assert merged["memory"].get("swap") == swap


def test_capabilities_as_text() -> None:
    everything = (1 << len(capabilities.NAMES)) - 1
    assert repr(capabilities.Mask(0)) == "0"
    assert repr(capabilities.Mask(0b100001)) == "CHOWN|KILL"
    assert repr(capabilities.Mask(everything)) == "ALL"
    assert repr(capabilities.Mask(everything & ~(1 << 21))) == "ALL&~(SYS_ADMIN)"
    assert capabilities.NO_SETS == (0, 0, 0)
    assert capabilities.SYS_ADMIN == 21
