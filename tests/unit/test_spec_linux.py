"""The spec's rules about what stands below /linux: one bad document for each check, with the line that people read."""

from typing import Any

import pytest
from support import plans
from support.spec_documents import DROP, MAP, NAMESPACES, Changes, joined, names, patched, without

from pyruntime import spec
from pyruntime.errors import InvalidConfig
from pyruntime.host.data import Namespaces
from pyruntime.plan import sysctl
from pyruntime.plan.wishes import Wishes
from pyruntime.spec import checks, linux

DEVICE = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}
SECCOMP = {"defaultAction": "SCMP_ACT_ERRNO"}
NOTIFY = {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}

BAD: list[tuple[Changes, str, str]] = [
    ({"/linux/namespaces/-": {"type": "uts"}}, "namespace uts is listed twice", "/linux/namespaces/8/type"),
    ({"/linux/namespaces/2/path": "run/netns/x"}, '"run/netns/x" is not an absolute path', "/linux/namespaces/2/path"),
    ({**without("uts")}, 'hostname "pyruntime" needs a uts namespace', "/hostname"),
    (
        {**without("uts"), "/hostname": DROP, "/domainname": "example.org"},
        'domainname "example.org" needs a uts namespace',
        "/domainname",
    ),
    (
        {"/hostname": "h" * 65},
        'hostname "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh..." is longer than 64 bytes',
        "/hostname",
    ),
    (
        {"/domainname": "\u00e9" * 33},
        'domainname "ééééééééééééééééééééééééééééééééé" is longer than 64 bytes',
        "/domainname",
    ),
    ({"/linux/uidMappings": DROP}, "a new user namespace needs uidMappings", "/linux/uidMappings"),
    ({"/linux/gidMappings": []}, "a new user namespace needs gidMappings", "/linux/gidMappings"),
    ({**without("user"), "/linux/uidMappings": [MAP]}, "uidMappings needs a user namespace", "/linux/uidMappings"),
    ({"/linux/uidMappings/0/size": 0}, "size 0 maps nothing", "/linux/uidMappings/0/size"),
    (
        {"/linux/uidMappings/-": {"containerID": 999, "hostID": 5, "size": 1}},
        "containerID 999 overlaps another mapping",
        "/linux/uidMappings/1/containerID",
    ),
    (
        {"/linux/gidMappings/-": {"containerID": 5000, "hostID": 99999, "size": 2}},
        "hostID 100000 overlaps another mapping",
        "/linux/gidMappings/0/hostID",
    ),
    (
        {"/linux/gidMappings/0/hostID": 4294967295},
        "hostID 4294967295 and size 1000 go beyond the last id, 4294967294",
        "/linux/gidMappings/0/size",
    ),
    (
        {"/linux/uidMappings": [{"containerID": 2 * n, "hostID": 2 * n, "size": 1} for n in range(341)]},
        "341 mappings are more than 340",
        "/linux/uidMappings",
    ),
    (
        {**without("time"), "/linux/timeOffsets": {"boottime": {"secs": 1}}},
        "timeOffsets needs a new time namespace",
        "/linux/timeOffsets",
    ),
    (
        {**joined("time"), "/linux/timeOffsets": {"boottime": {"secs": 1}}},
        "timeOffsets needs a new time namespace",
        "/linux/timeOffsets",
    ),
    (
        {"/linux/timeOffsets": {"real/time": {"secs": 1}}},
        '"real/time" is not one of the clocks monotonic, boottime',
        "/linux/timeOffsets/real~1time",
    ),
    (
        {"/linux/sysctl": {"net.ipv4.ip_forward": ""}},
        '"net.ipv4.ip_forward" has no value: writing nothing sets nothing',
        "/linux/sysctl/net.ipv4.ip_forward",
    ),
    (
        {"/linux/sysctl": {"kernel.panic": "1"}},
        '"kernel.panic" belongs to no namespace and would change the host',
        "/linux/sysctl/kernel.panic",
    ),
    (
        {"/linux/sysctl": {"kernel/hostname": "x"}},
        '"kernel/hostname" is set by the property hostname',
        "/linux/sysctl/kernel~1hostname",
    ),
    (
        {"/linux/sysctl": {"kernel.hostname": "x"}},
        '"kernel.hostname" is set by the property hostname',
        "/linux/sysctl/kernel.hostname",
    ),
    (
        {"/linux/sysctl": {"fs.file-max": "1"}},
        '"fs.file-max" belongs to no namespace and would change the host',
        "/linux/sysctl/fs.file-max",
    ),
    ({"/linux/sysctl": {"": "1"}}, '"" is not the name of a sysctl', "/linux/sysctl/"),
    (
        {"/linux/sysctl": {"net/../kernel/panic": "1"}},
        '"net/../kernel/panic" is not the name of a sysctl',
        "/linux/sysctl/net~1..~1kernel~1panic",
    ),
    ({"/linux/sysctl": {"net..ipv4": "1"}}, '"net..ipv4" is not the name of a sysctl', "/linux/sysctl/net..ipv4"),
    (
        {"/linux/sysctl": {"net/ipv4/\0": "1"}},
        '"net/ipv4/\\u0000" is not the name of a sysctl',
        "/linux/sysctl/net~1ipv4~1\\x00",
    ),
    (
        {**without("network"), "/linux/sysctl": {"net.ipv4.ip_forward": "1"}},
        '"net.ipv4.ip_forward" needs a namespace of type network, or it would change the host',
        "/linux/sysctl/net.ipv4.ip_forward",
    ),
    (
        {**without("ipc"), "/linux/sysctl": {"kernel.msgmax": "1"}},
        '"kernel.msgmax" needs a namespace of type ipc, or it would change the host',
        "/linux/sysctl/kernel.msgmax",
    ),
    (
        {**without("ipc"), "/linux/sysctl": {"fs/mqueue/msg_max": "1"}},
        '"fs/mqueue/msg_max" needs a namespace of type ipc, or it would change the host',
        "/linux/sysctl/fs~1mqueue~1msg_max",
    ),
    (
        {**without("uts"), "/hostname": DROP, "/linux/sysctl": {"kernel.domainname": "x"}},
        '"kernel.domainname" needs a namespace of type uts, or it would change the host',
        "/linux/sysctl/kernel.domainname",
    ),
    (
        {
            **without("user"),
            "/linux/uidMappings": DROP,
            "/linux/gidMappings": DROP,
            "/linux/sysctl": {"user.max_user_namespaces": "1"},
        },
        '"user.max_user_namespaces" needs a namespace of type user, or it would change the host',
        "/linux/sysctl/user.max_user_namespaces",
    ),
    (
        {"/linux/sysctl": {"users": "1"}},
        '"users" belongs to no namespace and would change the host',
        "/linux/sysctl/users",
    ),
    ({"/linux/maskedPaths/0": "proc/kcore"}, '"proc/kcore" is not an absolute path', "/linux/maskedPaths/0"),
    ({"/linux/readonlyPaths/1": ""}, '"" is not an absolute path', "/linux/readonlyPaths/1"),
    ({**without("mount")}, "maskedPaths needs a mount namespace", "/linux/maskedPaths"),
    ({**without("mount"), "/linux/maskedPaths": []}, "readonlyPaths needs a mount namespace", "/linux/readonlyPaths"),
    (
        {"/linux/devices": [{**DEVICE, "path": "dev/fuse"}]},
        '"dev/fuse" is not an absolute path',
        "/linux/devices/0/path",
    ),
    (
        {"/linux/devices": [{"path": "/dev/fuse", "type": "c", "major": 10}]},
        'device "/dev/fuse" has no minor number',
        "/linux/devices/0/minor",
    ),
    (
        {"/linux/devices": [{"path": "/dev/fuse", "type": "b", "minor": 10}]},
        'device "/dev/fuse" has no major number',
        "/linux/devices/0/major",
    ),
    ({"/linux/devices": [{**DEVICE, "major": 4096}]}, "major number 4096 is not in 0..4095", "/linux/devices/0/major"),
    (
        {"/linux/devices": [{**DEVICE, "minor": 1048576}]},
        "minor number 1048576 is not in 0..1048575",
        "/linux/devices/0/minor",
    ),
    (
        {"/linux/devices": [{**DEVICE, "type": "u", "minor": -1}]},
        "minor number -1 is not in 0..1048575",
        "/linux/devices/0/minor",
    ),
    (
        {"/linux/devices": [DEVICE, {**DEVICE, "minor": 1}]},
        'another device is at "/dev/fuse" already',
        "/linux/devices/1/path",
    ),
    (
        {"/linux/devices": [DEVICE, {**DEVICE, "type": "p"}]},
        'another device is at "/dev/fuse" already',
        "/linux/devices/1/path",
    ),
    (
        {**without("network"), "/linux/netDevices": {"eth0": {}}},
        "netDevices needs a network namespace",
        "/linux/netDevices",
    ),
    ({"/linux/netDevices": {"a/b": {}}}, '"a/b" is not the name of a network device', "/linux/netDevices/a~1b"),
    ({"/linux/netDevices": {"": {}}}, '"" is not the name of a network device', "/linux/netDevices/"),
    (
        {"/linux/netDevices": {"eth0": {"name": "sixteen_letters_"}}},
        '"sixteen_letters_" is not the name of a network device',
        "/linux/netDevices/eth0/name",
    ),
    (
        {"/linux/netDevices": {"eth0": {"name": ".."}}},
        '".." is not the name of a network device',
        "/linux/netDevices/eth0/name",
    ),
    ({"/linux/netDevices": {"eth 0": {}}}, '"eth 0" is not the name of a network device', "/linux/netDevices/eth 0"),
    (
        {"/linux/resources/blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}},
        "neither weight nor leafWeight",
        "/linux/resources/blockIO/weightDevice/0",
    ),
    ({"/linux/resources/rdma": {"mlx5/1": {}}}, "neither hcaHandles nor hcaObjects", "/linux/resources/rdma/mlx5~11"),
    (
        {"/linux/resources/cpu": {"quota": 1000, "burst": 1001}},
        "burst 1001 is above quota 1000",
        "/linux/resources/cpu/burst",
    ),
    (
        {"/linux/resources/unified": {"../cgroup.procs": "1"}},
        '"../cgroup.procs" is not a file of a cgroup',
        "/linux/resources/unified/..~1cgroup.procs",
    ),
    ({"/linux/resources/unified": {"": "1"}}, '"" is not a file of a cgroup', "/linux/resources/unified/"),
    (
        {"/linux/seccomp": {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"}},
        "SCMP_ACT_NOTIFY can't be the default: starting the program would wait for the agent, and the agent for it",
        "/linux/seccomp/defaultAction",
    ),
    (
        {"/linux/seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}},
        "SCMP_ACT_ALLOW takes no errno",
        "/linux/seccomp/defaultErrnoRet",
    ),
    (
        {"/linux/seccomp": {**SECCOMP, "listenerMetadata": "x"}},
        "listenerMetadata without listenerPath",
        "/linux/seccomp/listenerMetadata",
    ),
    (
        {"/linux/seccomp": {**SECCOMP, "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]}},
        "SCMP_ACT_KILL takes no errno",
        "/linux/seccomp/syscalls/0/errnoRet",
    ),
    (
        {"/linux/seccomp": {**SECCOMP, "syscalls": [NOTIFY]}},
        "SCMP_ACT_NOTIFY needs listenerPath",
        "/linux/seccomp/syscalls/0/action",
    ),
    (
        {"/linux/seccomp": {**SECCOMP, "listenerPath": "/s", "syscalls": [{**NOTIFY, "names": ["mount", "write"]}]}},
        "SCMP_ACT_NOTIFY can't decide about write: handing over the listener would wait for the agent",
        "/linux/seccomp/syscalls/0/names/1",
    ),
    (
        {"/linux/seccomp": {**SECCOMP, "listenerPath": "/s", "syscalls": [{**NOTIFY, "names": ["sendmsg"]}]}},
        "SCMP_ACT_NOTIFY can't decide about sendmsg: handing over the listener would wait for the agent",
        "/linux/seccomp/syscalls/0/names/0",
    ),
    ({"/linux/memoryPolicy": {"mode": "MPOL_BIND"}}, "MPOL_BIND needs nodes", "/linux/memoryPolicy/nodes"),
    (
        {"/linux/memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0"}},
        'MPOL_LOCAL takes no nodes, but there is "0"',
        "/linux/memoryPolicy/nodes",
    ),
    (
        {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-x"}},
        '"0-x" is not a list of numbers like 0-3,7',
        "/linux/memoryPolicy/nodes",
    ),
    (
        {
            "/linux/memoryPolicy": {
                "mode": "MPOL_BIND",
                "nodes": "0",
                "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
            }
        },
        "MPOL_F_STATIC_NODES excludes MPOL_F_RELATIVE_NODES",
        "/linux/memoryPolicy/flags",
    ),
    (
        {"/linux/memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}},
        "MPOL_F_NUMA_BALANCING does not go with MPOL_INTERLEAVE",
        "/linux/memoryPolicy/flags",
    ),
    (
        {"/linux/personality": {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}},
        'the personality flag "ADDR_NO_RANDOMIZE" is not known',
        "/linux/personality/flags/0",
    ),
    ({"/linux/intelRdt": {"closID": "a/b"}}, '"a/b" is not the name of a class, nor "/"', "/linux/intelRdt/closID"),
    ({"/linux/intelRdt": {"closID": ".."}}, '".." is not the name of a class, nor "/"', "/linux/intelRdt/closID"),
    (
        {"/linux/intelRdt": {"schemata": ["L3:0=f", "MB:0=1\nMB:1=1"]}},
        '"MB:0=1\\nMB:1=1" is more than one line',
        "/linux/intelRdt/schemata/1",
    ),
    (
        {"/linux/intelRdt": {"l3CacheSchema": "L3:0=f\n"}},
        '"L3:0=f\\n" is more than one line',
        "/linux/intelRdt/l3CacheSchema",
    ),
]
"""Changes -> what the line says, and the pointer."""

GOOD: list[Changes] = [
    {**joined("user"), "/linux/uidMappings": DROP, "/linux/gidMappings": DROP},
    joined("user"),  # with both maps, as containerd and CRI-O write it
    {"/linux/uidMappings/-": {"containerID": 1000, "hostID": 101000, "size": 1}},
    {"/linux/uidMappings/0/size": 2**32 - 1 - 100000},
    {**without("uts"), "/hostname": "", "/domainname": ""},
    {"/hostname": "h" * 64},
    {"/linux/timeOffsets": {"boottime": {"secs": -1}, "monotonic": {"nanosecs": 5}}},
    {"/linux/sysctl": {"net.ipv4.conf.eth0/1.forwarding": "1", "net/ipv4/conf/eth0.1/forwarding": "1"}},
    {"/linux/sysctl": {"kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "5", "kernel/domainname": "x"}},
    {"/linux/sysctl": {"user.max_net_namespaces": "0", "user/max_inotify_watches": "77"}},
    {**without("mount"), "/linux/maskedPaths": None, "/linux/readonlyPaths": []},
    {"/linux/devices": [DEVICE, DEVICE, {**DEVICE, "path": "/dev/f2", "type": "u"}, {"path": "/p", "type": "p"}]},
    {"/linux/netDevices": {"eth0": {"name": "veth%d"}, "exactly15bytes_": {}}},
    {"/linux/resources": {"cpu": {"quota": -1, "burst": 5}, "pids": {}, "unified": {"hugetlb.1GB.max": "0"}}},
    {"/linux/seccomp": {**SECCOMP, "defaultErrnoRet": 38, "listenerPath": "/s", "syscalls": [NOTIFY]}},
    {"/linux/memoryPolicy": {"mode": "MPOL_PREFERRED"}},
    {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_NUMA_BALANCING"]}},
    {"/linux/personality": {"domain": "LINUX32", "flags": []}},
    {"/linux/intelRdt": {"closID": "/", "schemata": ["L3:0=f", "MB:0=1"]}},
]


@pytest.mark.parametrize("changes, words, pointer", BAD, ids=names(BAD))
def test_refused(changes: Changes, words: str, pointer: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(patched(changes))
    assert str(caught.value) == f"{words} [config.json#{pointer}]"


@pytest.mark.parametrize("changes", GOOD, ids=names(GOOD))
def test_accepted(changes: Changes) -> None:
    assert spec.validate(patched(changes)) == []


@pytest.mark.parametrize("kind", NAMESPACES)
def test_every_namespace_can_be_left_out(kind: str) -> None:
    changes = without(kind)
    if kind == "uts":
        changes["/hostname"] = DROP
    if kind == "mount":
        changes |= {"/linux/maskedPaths": DROP, "/linux/readonlyPaths": DROP}
    assert spec.validate(patched(changes)) == []


def test_checks_are_listed() -> None:
    """A function that is written and forgotten in the list checks nothing."""
    called_by_others = {"check_mappings", "check_resources"}
    assert {name for name in vars(linux) if name.startswith("check_")} - called_by_others == {
        one.__name__ for one in linux.CHECKS
    }
    assert set(linux.CHECKS) <= set(checks.CHECKS)


@pytest.mark.parametrize(
    "name",
    [
        "net.ipv4.ip_forward",
        "net/ipv4/ip_forward",
        "net.ipv4.conf.eth0/1.x",
        "net/ipv4/conf/eth0.1/x",
        "kernel.sem",
        "x",
    ],
)
def test_the_sysctl_that_is_checked_is_the_one_that_is_written(name: str) -> None:
    assert linux.sysctl_path(name) == sysctl.path_of(name)


def nulls(value: Any) -> Any:
    """Return the document with null for each list and object that is not required."""
    required = {"root", "names"}
    if isinstance(value, list):
        return [nulls(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: None if isinstance(entry, list | dict) and not entry and key not in required else nulls(entry)
        for key, entry in value.items()
    }


def test_a_plan_takes_null_for_nothing() -> None:
    """Go programs write null for empty lists and maps: a valid config, so the plan must be the same."""
    empty: dict[str, Any] = patched(
        {
            "/mounts": [{"destination": "/tmp", "type": "tmpfs", "options": [], "uidMappings": [], "gidMappings": []}],
            "/hooks": {"prestart": [], "createRuntime": [], "poststop": []},
            "/annotations": {},
            "/process/capabilities": {"bounding": [], "ambient": []},
            "/process/user/additionalGids": [],
            "/process/env": [],
            "/process/rlimits": [],
            **{f"/linux/{key}": {} for key in ("sysctl", "netDevices", "timeOffsets", "intelRdt")},
            **{f"/linux/{key}": [] for key in ("devices", "maskedPaths", "readonlyPaths")},
            "/linux/seccomp": {**SECCOMP, "architectures": [], "flags": [], "syscalls": [{**NOTIFY, "args": []}]},
            "/linux/seccomp/listenerPath": "/s",
            "/linux/resources": {
                "devices": [],
                "memory": {},
                "cpu": {},
                "blockIO": {"weightDevice": []},
                "unified": {},
            },
        }
    )
    with_nulls = nulls(empty)
    assert with_nulls["linux"]["sysctl"] is None and with_nulls["mounts"][0]["options"] is None
    assert spec.validate(with_nulls) == []
    every = Namespaces(set(NAMESPACES), {})
    inputs = plans.Inputs(plans.host_for({}, namespaces=every), plans.place_for(), Wishes("c1", "/bundle"))
    found = [[step.describe() for step in inputs.create(config)] for config in (empty, with_nulls)]
    assert found[0] == found[1]
