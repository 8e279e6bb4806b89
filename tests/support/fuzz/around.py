"""Mutations of what is around the process: hooks, annotations, resources, devices, covered paths, the cgroup."""

from random import Random
from typing import Any

from support.fuzz import values
from support.fuzz.edits import Edit, escaped, list_at

POINTS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", "nosuch")
HOOK_ARGS: dict[str, tuple[Any, ...]] = {
    "/bin/true": (None, [], ["true"], ["a", "b"], [""], ["x" * 140000], ["a\0b"], ["\u00fc"]),
    "/bin/false": (None, ["false"]),
    "/bin/sleep": (["sleep", "0"], ["sleep", "0.01"], ["sleep", "nothing"]),
    "/bin/sh": (
        ["sh", "-c", "exit 3"],
        ["sh", "-c", "kill -9 $$"],
        ["sh", "-c", "cat"],
        ["sh", "-c", "printf 'a\\nb\\377\\033[31m' >&2; exit 1"],
        ["sh", "-c", "exec 0<&- 1>&- 2>&-"],
        ["sh", "-c", "head -c 200000 /dev/zero; exit 1"],
    ),
    "/nowhere": (None, ["x"]),
    "true": (None,),
    "": (None,),
    "/etc": (None,),
    "/etc/passwd": (None,),
    "/bin/../bin/true": (["true"],),
    "/a\0b": (None,),
    "/" + "p" * 5000: (None,),
}
"""The programs that a hook may be, and their arguments: nothing else is ever run on the host (guard)."""
TIMEOUTS = (1, 5, 2147483, 2147484, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 0, -1, None, 1.5)
HOOK_ENVS: tuple[Any, ...] = (
    [],
    ["A=B"],
    [""],
    ["=x"],
    ["A"],
    ["A=a\0b"],
    ["PATH="],
    ["A=\u00fc"],
    ["A=" + "x" * 140000],
    None,
    [None],
    ["A=B"] * 2,
)
ANNOTATIONS = (
    *("run.oci.keep_original_groups", "run.oci.systemd.subgroup", "run.oci.delegate-cgroup", "run.oci.hooks.stdout"),
    *(
        "run.oci.hooks.stderr",
        "run.oci.seccomp.receiver",
        "run.oci.seccomp_fail_unknown_syscall",
        "run.oci.pidfd_receiver",
    ),
    *(
        "run.oci.handler",
        "run.oci.mount_context_type",
        "org.systemd.property.DefaultDependencies",
        "a",
        "",
        "a\nb",
        "a\0b",
    ),
    *(
        "org.systemd.property.KillSignal",
        "org.systemd.property.TimeoutStopUSec",
        "org.systemd.property.After",
        "\u00fc",
    ),
    *("org.opencontainers.image.os", "io.kubernetes.cri-o.TTY", "run.oci.nosuch", "k" * 5000),
)
ANNOTATION_VALUES = (
    "",
    "1",
    "true",
    "@CASE@/out",
    "@CASE@/nowhere/out",
    "uint64 1",
    "'x'",
    "[",
    "a\nb",
    "v" * 70000,
    "/x/../y",
    "..",
)
DEVICE_PATHS = (
    *(
        "/dev/foo",
        "/dev/null",
        "/dev/a/b/c",
        "/dev/fuse",
        "/dev/console",
        "/dev/ptmx",
        "/dev/pts/9",
        "/dev/stdout",
        "/dev/tty",
    ),
    *("/mnt/null", "/etc/passwd", "/link-dir/null", "/proc/x", "/dev/../mnt/x", "dev/x", "", "/", "/dev", "/dev/shm/x"),
)
CGROUPS = (
    *(
        "/fuzz/box",
        "/fuzz/deep/er/and/er/box",
        "fuzz/box",
        "fuzz",
        "/fuzz/../fuzz/box",
        "/fuzz//box/",
        "/fuzz/./box",
        "",
        None,
    ),
    *(
        "/fuzz/with space",
        "/fuzz/\u00fc",
        "/fuzz/a\nb",
        "/fuzz/" + "c" * 255,
        "/fuzz/" + "c" * 256,
        "/fuzz/a\0b",
        "/fuzz/...",
    ),
    *(
        "/fuzz/cgroup.procs",
        "/fuzz/memory.max",
        "a:b:c",
        "/fuzz/box.slice",
        "/" + "d/" * 60 + "box",
        "/fuzz/x/../../fuzz/y",
    ),
)


def linux(chance: Random, config: Any) -> list[Edit]:
    """What is one value each, below linux."""
    nodes = chance.choice(("0", "", "0-1", "9", "x", "1024", "70000"))
    modes = ("MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED", "MPOL_LOCAL", "x")
    choices: tuple[tuple[str, Any], ...] = (
        ("personality", {"domain": chance.choice(("LINUX", "LINUX32", "x"))}),
        ("personality", {"domain": "LINUX", "flags": chance.choice(([], ["x"]))}),
        ("memoryPolicy", {"mode": chance.choice(modes), "nodes": nodes, "flags": chance.choice(([], ["x"]))}),
        ("mountLabel", chance.choice(("", "x"))),
        ("intelRdt", chance.choice(({}, None, {"closID": "x"}))),
        ("nosuch", 1),
    )
    name, value = chance.choice(choices)
    return [["set", f"/linux/{name}", value]]


def hook(chance: Random) -> dict[str, Any]:
    path = chance.choice(("/bin/true", "/bin/true", "/bin/sh", chance.choice(tuple(HOOK_ARGS))))
    new: dict[str, Any] = {"path": path}
    args = chance.choice(HOOK_ARGS[path])
    if args is not None:
        new["args"] = args
    if chance.random() < 0.5:
        new["timeout"] = values.skewed(chance, TIMEOUTS)
    if chance.random() < 0.5:
        new["env"] = values.skewed(chance, HOOK_ENVS)
    return new


def hooks(chance: Random, config: Any) -> list[Edit]:
    """A hook or two at one point of the lifecycle or two."""
    edits: list[Edit] = []
    for point in chance.sample(POINTS, chance.choice((1, 1, 2))):
        edits += [["add", f"/hooks/{point}", hook(chance)] for _ in range(chance.choice((1, 1, 2)))]
    return edits


def slow_hook(chance: Random, config: Any) -> list[Edit]:
    """One that takes longer than it may; seldom, because it takes a second."""
    if chance.random() > 0.05:
        return hooks(chance, config)
    slow = {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}
    return [["add", f"/hooks/{values.skewed(chance, POINTS)}", slow]]


def annotations(chance: Random, config: Any) -> list[Edit]:
    names = chance.sample(ANNOTATIONS, chance.choice((1, 1, 2)))
    return [["set", f"/annotations/{escaped(name)}", values.skewed(chance, ANNOTATION_VALUES)] for name in names]


def resources(chance: Random, config: Any) -> list[Edit]:
    number = values.number(chance)
    page = chance.choice(("2MB", "1GB", "2M", "64KB", "", "x", "2MB.x", "../x"))
    device = {"major": chance.choice((8, 259, -1, 2**31)), "minor": 0}
    choices: tuple[tuple[str, Any], ...] = (
        (
            f"memory/{chance.choice(('limit', 'swap', 'reservation', 'swappiness', 'kernel', 'checkBeforeUpdate'))}",
            number,
        ),
        (f"cpu/{chance.choice(('shares', 'quota', 'period', 'burst', 'realtimeRuntime', 'idle'))}", number),
        (f"cpu/{chance.choice(('cpus', 'mems'))}", chance.choice(("0", "0-1", "", "x", "9", "1024", "70000"))),
        ("pids", {"limit": chance.choice((0, -1, 1, 2, 5, 100, number))}),
        ("pids/limit", chance.choice((0, -1, 1, 100, None))),
        ("blockIO", {"weight": chance.choice((0, 10, 1000, 1001, number))}),
        ("blockIO", {chance.choice(("throttleReadBpsDevice", "weightDevice")): [{**device, "rate": number}]}),
        ("hugepageLimits", [{"pageSize": page, "limit": number}]),
        ("network", {"classID": number, "priorities": [{"name": "lo", "priority": 1}]}),
        ("rdma", {chance.choice(("mlx5_1", "", "a b")): {"hcaHandles": number}}),
        (f"unified/{chance.choice(('memory.high', 'nosuch.max', 'cgroup.procs', '', 'x~1y', 'hugetlb.2MB.max'))}", "1"),
        ("unified", chance.choice(({}, None, {"hugetlb.2MB.max": "max"}, {"a\0b": "1"}, {"pids.max": "a\nb"}))),
    )
    name, value = chance.choice(choices)
    return [["set", f"/linux/resources/{name}", value]]


def device_rules(chance: Random, config: Any) -> list[Edit]:
    new: dict[str, Any] = {
        "allow": chance.choice((True, False)),
        "access": chance.choice(("rwm", "r", "wr", "", "rwmx", "rr", None)),
    }
    if chance.random() < 0.7:
        new["type"] = chance.choice(("a", "c", "b", "u", "p", "x", ""))
        new["major"] = chance.choice((1, 5, 136, -1, 2**31, 2**32, 0, None))
        new["minor"] = chance.choice((0, 3, 5, -1, 2**31, 2**32, None))
    count = len(list_at(config, "/linux/resources/devices"))
    if chance.random() < 0.1:
        return [["set", "/linux/resources/devices", [new] * chance.choice((1, 300))]]
    return [
        ["add", f"/linux/resources/devices/{chance.randint(0, count)}" if count else "/linux/resources/devices", new]
    ]


def devices(chance: Random, config: Any) -> list[Edit]:
    new: dict[str, Any] = {
        "path": values.skewed(chance, DEVICE_PATHS),
        "type": chance.choice(("c", "c", "c", "u", "p", "b", "x", "d")),
    }
    if chance.random() < 0.9:
        new["major"], new["minor"] = chance.choice(
            ((1, 3), (1, 3), (1, 5), (5, 1), (10, 229), (4095, 1048575), (4096, 0), (-1, 0))
        )
    if chance.random() < 0.5:
        new["fileMode"] = chance.choice((0o666, 0o600, 0, 0o7777, 0o20666, 2**31, 2**32, -1))
    if chance.random() < 0.4:
        new["uid"], new["gid"] = chance.choice(((0, 0), (1000, 1000), (70000, 5), (2**32 - 1, 0), (2**32, 0)))
    return [["add", "/linux/devices", new]]


def paths(chance: Random, config: Any) -> list[Edit]:
    """Masked and read-only paths: more, others, many."""
    where = chance.choice(("/linux/maskedPaths", "/linux/readonlyPaths"))
    have = list_at(config, where) if chance.random() < 0.5 else []
    some = [
        values.skewed(chance, (*values.PATHS, *("/bin", "/etc", "/bin/busybox", "/mnt")))
        for _ in range(chance.choice((1, 1, 2, 8)))
    ]
    return [["set", where, chance.choice((have + some, some + have, some * 2, [f"/proc/{n}" for n in range(1, 90)]))]]


def cgroup(chance: Random, config: Any) -> list[Edit]:
    return [["set", "/linux/cgroupsPath", values.skewed(chance, CGROUPS)]]


def whole(chance: Random, config: Any) -> list[Edit]:
    """A part that is not there at all, another version, another platform."""
    kind = chance.randrange(4)
    if kind == 0:
        return [
            [
                "drop",
                chance.choice(
                    ("/process", "/root", "/mounts", "/linux", "/hooks", "/hostname", "/ociVersion", "/linux/resources")
                ),
            ]
        ]
    if kind == 1:
        versions = (
            "1.0.0",
            "1.0.2-dev",
            "1.1.0",
            "1.2.1",
            "1.3.0",
            "1.4.0",
            "2.0.0",
            "1.0",
            "v1.0.2",
            "1.0.2+x",
            "1.3.0-rc.1",
            "",
        )
        return [["set", "/ociVersion", chance.choice(versions)]]
    if kind == 2:
        return [
            [
                "set",
                f"/{chance.choice(('windows', 'solaris', 'vm', 'zos', 'freebsd'))}",
                chance.choice(({}, None, {"x": 1})),
            ]
        ]
    return [
        [
            "set",
            chance.choice(("/mounts", "/linux/namespaces", "/linux/resources/devices", "/process/capabilities")),
            None,
        ]
    ]


ALL = (
    *(hooks, hooks, slow_hook, annotations, linux, resources, resources, device_rules, devices, devices, paths, paths),
    *(cgroup, cgroup, whole),
)
