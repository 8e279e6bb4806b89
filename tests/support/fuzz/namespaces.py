"""Mutations of namespaces: taken away, added, joined by a path; maps of user namespaces; names, sysctls, the root."""

from random import Random
from typing import Any

from support.fuzz import values
from support.fuzz.edits import Edit, escaped, list_at, value_at

KINDS = ("mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time")
FILES = {"network": "net", "mount": "mnt"}
MAPS: tuple[Any, ...] = (
    *([{"containerID": 0, "hostID": 100000, "size": 65536}],) * 6,
    [{"containerID": 0, "hostID": 0, "size": 65536}],
    [{"containerID": 0, "hostID": 0, "size": 4294967295}],
    [{"containerID": 0, "hostID": 100000, "size": 1}],
    [{"containerID": 0, "hostID": 100000, "size": 1000}, {"containerID": 1000, "hostID": 200000, "size": 64536}],
    [{"containerID": 1000, "hostID": 1000, "size": 1}, {"containerID": 0, "hostID": 100000, "size": 1000}],
    [{"containerID": 1, "hostID": 100000, "size": 100}],
    [{"containerID": 65534, "hostID": 65534, "size": 1}],
    [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 5, "hostID": 200000, "size": 10}],
    [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 20, "hostID": 100005, "size": 10}],
    [{"containerID": 0, "hostID": 4294967290, "size": 100}],
    [{"containerID": 0, "hostID": 4294967294, "size": 1}],
    [{"containerID": 0, "hostID": 0, "size": 0}],
    [{"containerID": number, "hostID": 100000 + number, "size": 1} for number in range(340)],
    [{"containerID": number, "hostID": 100000 + number, "size": 1} for number in range(341)],
    [],
    None,
)
HOSTNAMES = (
    *(
        "box",
        "",
        "a.b.c",
        "A" * 63,
        "h" * 64,
        "h" * 65,
        "\u00fc" * 32,
        "\u00fc" * 33,
        "-",
        "a b",
        "a\nb",
        "a\0b",
        "(none)",
        ".",
    ),
    *("localhost", "/etc", "\x1b[0m", "x\u2028y"),
)
SYSCTLS = (
    *("net.ipv4.ip_forward", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.core.somaxconn"),
    *(
        "net/ipv4/ip_forward",
        "net.ipv4.conf.lo/forwarding",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.nosuch",
        "net",
        "net.",
    ),
    *(
        "kernel.msgmax",
        "kernel.shm_rmid_forced",
        "kernel.sem",
        "kernel/msgmni",
        "fs.mqueue.msg_max",
        "fs.mqueue.nosuch",
    ),
    *(
        "kernel.domainname",
        "kernel.hostname",
        "kernel.nosuch",
        "net..ipv4",
        "net.ipv4.../x",
        "net/../kernel/x",
        "",
        ".",
    ),
    *(
        "net.ipv4.ip_forward\0",
        "net.ipv4.ip_forward\n",
        "user.nosuch",
        "user.max_user_namespaces",
        "NET.ipv4.ip_forward",
    ),
)
SYSCTL_VALUES = (
    "0",
    "1",
    "",
    " 1 ",
    "1\n",
    "0 2147483647",
    "-1",
    "x",
    "1" * 5000,
    "99999999999999999999",
    "a\0b",
    "0 0 0 0",
)


def path(chance: Random, kind: str) -> str:
    """Return a path to join: of a pod with or without a user namespace, the host's own, of another type, or none."""
    name = FILES.get(kind, kind)
    return chance.choice(
        (
            *(
                f"/proc/@POD@/ns/{name}",
                f"/proc/@POD@/ns/{name}",
                f"/proc/@USERPOD@/ns/{name}",
                f"/proc/@USERPOD@/ns/{name}",
            ),
            *(
                f"/proc/self/ns/{name}",
                f"/proc/@POD@/ns/{values.skewed(chance, KINDS)}",
                "/nowhere",
                "@CASE@/data/file",
                "",
                "x",
            ),
            *(
                "@CASE@/data/fifo",
                "@CASE@/data",
                "/dev/null",
                f"/proc/@POD@/root/../ns/{name}",
                f"/proc/@GONE@/ns/{name}",
            ),
        )
    )


def index_of(config: Any, kind: str) -> int | None:
    entries = list_at(config, "/linux/namespaces")
    found = [at for at, entry in enumerate(entries) if isinstance(entry, dict) and entry.get("type") == kind]
    return found[0] if found else None


def taken_away(chance: Random, config: Any) -> list[Edit]:
    entries = list_at(config, "/linux/namespaces")
    gone = chance.sample(range(len(entries)), min(len(entries), chance.choice((1, 1, 2, len(entries)))))
    return [["drop", f"/linux/namespaces/{at}"] for at in sorted(gone, reverse=True)]


def added(chance: Random, config: Any) -> list[Edit]:
    missing = [kind for kind in KINDS if index_of(config, kind) is None]
    kind = chance.choice((*missing, *missing, *KINDS, "nosuch", "PID", "net", ""))
    entry = {"type": kind} if chance.random() < 0.7 else {"type": kind, "path": path(chance, kind)}
    return [["add", "/linux/namespaces/-", entry]]


def joined(chance: Random, config: Any) -> list[Edit]:
    """One to three namespaces are joined by their paths, as those of a pod are."""
    edits: list[Edit] = []
    for kind in chance.sample(KINDS, chance.randint(1, 3)):
        entry = {"type": kind, "path": path(chance, kind)}
        at = index_of(config, kind)
        edits.append(["add", "/linux/namespaces/-", entry] if at is None else ["set", f"/linux/namespaces/{at}", entry])
    return edits


def of_one_pod(chance: Random, config: Any) -> list[Edit]:
    """Network, ipc and uts of one pod, perhaps its pid and user namespaces too."""
    pod = chance.choice(("POD", "USERPOD"))
    kinds = ["network", "ipc", "uts", *chance.sample(("pid", "user", "cgroup", "time"), chance.randint(0, 3))]
    edits: list[Edit] = []
    for kind in kinds:
        entry = {"type": kind, "path": f"/proc/@{pod}@/ns/{FILES.get(kind, kind)}"}
        at = index_of(config, kind)
        edits.append(["add", "/linux/namespaces/-", entry] if at is None else ["set", f"/linux/namespaces/{at}", entry])
    return [*edits, *given_root(chance, 0.8 if "user" in kinds else 0.1)]


def given_root(chance: Random, likely: float) -> list[Edit]:
    """Let the root file system belong to the root of a user namespace."""
    return [["set", "/root/path", "given"]] if chance.random() < likely else []


def user(chance: Random, config: Any) -> list[Edit]:
    """A new user namespace with maps, on a root file system that it can use or not."""
    edits: list[Edit] = [["add", "/linux/namespaces/-", {"type": "user"}]] if index_of(config, "user") is None else []
    uids = values.skewed(chance, MAPS)
    edits.append(["set", "/linux/uidMappings", uids])
    edits.append(["set", "/linux/gidMappings", uids if chance.random() < 0.7 else values.skewed(chance, MAPS)])
    return [*edits, *given_root(chance, 0.9)]


def time(chance: Random, config: Any) -> list[Edit]:
    offsets: dict[str, Any] = {}
    for clock in chance.sample(("monotonic", "boottime", "realtime", ""), chance.randint(1, 2)):
        offsets[clock] = {
            "secs": values.number(chance),
            "nanosecs": chance.choice((0, 1, 999999999, 1000000000, -1, 2**32)),
        }
    edits: list[Edit] = [["set", "/linux/timeOffsets", offsets]]
    if index_of(config, "time") is None and chance.random() < 0.8:
        edits.insert(0, ["add", "/linux/namespaces/-", {"type": "time"}])
    return edits


def names(chance: Random, config: Any) -> list[Edit]:
    return [["set", chance.choice(("/hostname", "/domainname")), values.skewed(chance, HOSTNAMES)]]


def sysctl(chance: Random, config: Any) -> list[Edit]:
    names = chance.sample(SYSCTLS, chance.randint(1, 3))
    return [["set", f"/linux/sysctl/{escaped(name)}", values.skewed(chance, SYSCTL_VALUES)] for name in names]


def one_twice(chance: Random, config: Any) -> list[Edit]:
    entries = list_at(config, "/linux/namespaces")
    return [["twice", f"/linux/namespaces/{chance.randrange(len(entries))}"]] if entries else []


def net_devices(chance: Random, config: Any) -> list[Edit]:
    name = chance.choice(("nosuch0", "lo", "", "n" * 15, "n" * 16, "a/b", "a b", "..", "\u00fc"))
    device = chance.choice(({}, {"name": "inside"}, {"name": ""}, {"name": "x" * 16}, {"name": "%d"}, None))
    return [["set", f"/linux/netDevices/{escaped(name)}", device]]


def propagation(chance: Random, config: Any) -> list[Edit]:
    words = ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable", "", "x", None)
    return [["set", "/linux/rootfsPropagation", chance.choice(words)]]


def root(chance: Random, config: Any) -> list[Edit]:
    paths = (
        *(
            "rootfs",
            "./rootfs",
            "rootfs/",
            "rootfs/../rootfs",
            "@CASE@/bundle/rootfs",
            "link",
            "link/",
            "rootfs/etc",
            "given",
        ),
        *("nowhere", "config.json", "", ".", "..", "rootfs/bin", "rootfs/link-dir", "r" * 256, "a\0b", "loop", "empty"),
    )
    if chance.random() < 0.4:
        return [["set", "/root/readonly", not value_at(config, "/root/readonly")]]
    return [["set", "/root/path", chance.choice(paths)]]


ALL = (
    taken_away, taken_away, added, joined, joined, of_one_pod, user, user, user, time, names, sysctl, sysctl, one_twice,
    net_devices, propagation, root, root,
)  # fmt: skip
