"""Mutations of mounts: what is mounted where, in which order, with which options."""

from random import Random
from typing import Any

from support.fuzz import values
from support.fuzz.edits import Edit, list_at, value_at

ATTRIBUTES = (
    *(
        "ro",
        "rw",
        "nosuid",
        "suid",
        "nodev",
        "dev",
        "noexec",
        "exec",
        "relatime",
        "noatime",
        "strictatime",
        "nodiratime",
    ),
    *(
        "norelatime",
        "nostrictatime",
        "nosymfollow",
        "rro",
        "rrw",
        "rnosuid",
        "rnodev",
        "rnoexec",
        "rnoatime",
        "rrelatime",
    ),
)
KINDS = (
    *("bind", "rbind", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"),
    *(
        "remount",
        "tmpcopyup",
        "idmap",
        "ridmap",
        "defaults",
        "sync",
        "async",
        "dirsync",
        "rsync",
        "rasync",
        "mand",
        "rmand",
    ),
    *(
        "lazytime",
        "silent",
        "loud",
        "iversion",
        "acl",
        "copy-symlink",
        "src-nofollow",
        "dest-nofollow",
        "nofail",
        "_netdev",
    ),
)
DATA = (
    *("size=64k", "size=1", "size=-1", "size=0", "size=99999999999999999999", "size=50%", "size=", "size", "mode=755"),
    *(
        "mode=1777",
        "mode=99999",
        "mode=",
        "uid=0",
        "uid=1000",
        "uid=-1",
        "uid=4294967295",
        "gid=5",
        "gid=x",
        "nr_inodes=1",
    ),
    *("nr_inodes=0", "huge=always", "mpol=default", "newinstance", "ptmxmode=0666", "max=1", "hidepid=2", "subset=pid"),
    *("xattr", "volatile", "index=off", "nosuchoption", "nosuchoption=1", "a=b=c", "=", "=x", "context=x"),
    *("idmap=uids=0-1000-10;gids=0-1000-10", "ridmap=uids=@0-1-10", "source=x", "fstype=x"),
    *("size=64k,mode=700", "rbind,ro", "ro,nosuid,nodev", "bind,rw", "lowerdir=@CASE@/data/dir"),
    *("lowerdir=@CASE@/data/dir:@CASE@/data/other", "upperdir=@CASE@/data/upper", "workdir=@CASE@/data/work"),
    "lowerdir=" + ":".join(["@CASE@/data/" + "l" * 200] * 20),
)
OPTIONS = (*ATTRIBUTES, *ATTRIBUTES, *KINDS, *DATA)
SOURCES = (
    *("@CASE@/data/dir", "@CASE@/data/other", "@CASE@/data/file", "@CASE@/data/link-dir", "@CASE@/data/link-file"),
    *(
        "@CASE@/data/dir/below",
        "@CASE@/data/dir/../other",
        "@CASE@/data//dir/",
        "@CASE@/data/dangling",
        "@CASE@/data/loop",
    ),
    *("@CASE@/data/nowhere", "@CASE@/data/fifo", "@CASE@/data/socket", "@CASE@/data/null", "@CASE@/data/secret"),
    *("@CASE@/bundle/rootfs/etc", "@CASE@/bundle/rootfs/etc/passwd", "@CASE@/bundle", "rootfs/etc", "../data/dir", "."),
    *(
        "@CASE@/data/mounted",
        "@CASE@/data/readonly",
        "@CASE@/data/shared",
        "/dev/null",
        "/dev/shm",
        "/proc",
        "/sys",
        "",
    ),
    "@CASE@/data/" + "n" * 255,
)
TARGETS = (
    *(
        "/mnt",
        "/mnt/a",
        "/mnt/a/b/c",
        "/new",
        "/new/deep/er",
        "/etc/passwd",
        "/etc",
        "/home",
        "/tmp",
        "/file/x",
        "/dev/x",
    ),
    *(
        "/dev/null",
        "/dev/random",
        "/dev/stdout",
        "/dev/console",
        "/dev/ptmx",
        "/dev/shm",
        "/dev/pts",
        "/dev",
        "/sys",
        "/run",
    ),
    *(
        "/sys/fs/cgroup",
        "/sys/firmware",
        "/var/run",
        "/var/run/x",
        "/link-dir",
        "/link-dir/x",
        "/link-file",
        "/dangling",
    ),
    *(
        "/dangling/x",
        "/absolute",
        "/absolute/x",
        "/up/x",
        "/loop",
        "/mnt/../etc",
        "//mnt//",
        "mnt",
        "./mnt",
        "",
        "/",
        "/..",
    ),
    *(
        "/proc",
        "/proc/meminfo",
        "/proc/self/attr",
        "/proc/sys",
        "/proc/../mnt",
        "/mnt/with space",
        "/mnt/\u00fc",
        "/bin",
    ),
    *("/bin/busybox", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/" + "m" * 255, "/" + "m" * 256),
)
TYPES = (
    *(
        "tmpfs",
        "tmpfs",
        "bind",
        "bind",
        "none",
        "proc",
        "sysfs",
        "mqueue",
        "devpts",
        "cgroup",
        "cgroup2",
        "overlay",
        "ramfs",
    ),
    *("nosuchfs", "", "TMPFS", "bind,ro", "x" * 300, "a\0b"),
)
MAPS: tuple[Any, ...] = (
    [{"containerID": 0, "hostID": 1000, "size": 10}],
    [{"containerID": 0, "hostID": 100000, "size": 65536}],
    [{"containerID": 0, "hostID": 0, "size": 4294967295}],
    [{"containerID": 5, "hostID": 5, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}],
    [],
    [{"containerID": 0, "hostID": 0, "size": 0}],
    [{"containerID": number, "hostID": number, "size": 1} for number in range(341)],
)


def some(chance: Random, config: Any) -> str | None:
    """Return the pointer of a mount."""
    count = len(list_at(config, "/mounts"))
    return f"/mounts/{chance.randrange(count)}" if count else None


def options(chance: Random) -> list[Any]:
    return [values.skewed(chance, OPTIONS) for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 5)))]


def a_bind(chance: Random) -> dict[str, Any]:
    words = [chance.choice(("bind", "rbind", "rbind")), *chance.sample(ATTRIBUTES, chance.randint(0, 3))]
    words += chance.sample(KINDS, chance.choice((0, 0, 1)))
    chance.shuffle(words)
    kind = chance.choice(("bind", "bind", "none", "", "tmpfs"))
    return {"destination": target(chance), "type": kind, "source": values.skewed(chance, SOURCES), "options": words}


def a_tmpfs(chance: Random) -> dict[str, Any]:
    words = [*chance.sample(ATTRIBUTES, chance.randint(0, 3)), *chance.sample(DATA, chance.choice((0, 0, 1)))]
    words += chance.choice(([], [], ["tmpcopyup"]))
    return {"destination": target(chance), "type": "tmpfs", "source": "tmpfs", "options": words}


def an_overlay(chance: Random) -> dict[str, Any]:
    words = ["lowerdir=@CASE@/data/dir", "upperdir=@CASE@/data/upper", "workdir=@CASE@/data/work"]
    words = chance.choice(
        (words, words[:1], words[1:], [",".join(words)], ["lowerdir=@CASE@/data/dir:@CASE@/data/other"])
    )
    return {
        "destination": target(chance),
        "type": "overlay",
        "source": "overlay",
        "options": words + options(chance)[:1],
    }


def any_mount(chance: Random) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": target(chance), "type": values.skewed(chance, TYPES)}
    if chance.random() < 0.9:
        mount["source"] = chance.choice((*SOURCES, mount["type"]))
    if chance.random() < 0.9:
        mount["options"] = options(chance)
    return mount


def target(chance: Random) -> str:
    return values.skewed(chance, TARGETS) if chance.random() < 0.9 else chance.choice(values.PATHS)


def one(chance: Random) -> dict[str, Any]:
    return chance.choice((a_bind, a_bind, a_tmpfs, an_overlay, any_mount))(chance)


def more(chance: Random, config: Any) -> list[Edit]:
    """One or two more mounts, at any place of the list."""
    count = len(list_at(config, "/mounts"))
    places = [str(chance.randint(0, count)) if chance.random() < 0.4 else "-" for _ in range(chance.choice((1, 1, 2)))]
    return [["add", f"/mounts/{place}", one(chance)] for place in places]


def nested(chance: Random, config: Any) -> list[Edit]:
    """Mounts below each other, the outer one first, last, or in the middle."""
    above = chance.choice(("/mnt", "/new", "/etc", "/dev", "/run", "/sys/fs", "/link-dir", "/home"))
    below = f"{above}/{chance.choice(('x', 'x/y', '../tmp', 'link'))}"
    entries = [{**one(chance), "destination": path} for path in (above, below, above)[: chance.choice((2, 2, 3))]]
    chance.shuffle(entries)
    return [["add", "/mounts/-", entry] for entry in entries]


def below_source(chance: Random, config: Any) -> list[Edit]:
    """A bind whose source lies in the root file system, below an earlier mount."""
    first = {**a_tmpfs(chance), "destination": "/mnt"}
    then = {**a_bind(chance), "source": chance.choice(("@CASE@/bundle/rootfs/mnt", "@CASE@/bundle/rootfs/mnt/x"))}
    return [["add", "/mounts/-", first], ["add", "/mounts/-", then]]


def option(chance: Random, config: Any) -> list[Edit]:
    """An option more, another, in another order, or joined to others in one string."""
    at = some(chance, config)
    if at is None:
        return []
    words = [word for word in list_at(config, f"{at}/options") if isinstance(word, str)]
    kind = chance.randrange(6)
    if kind < 2 or not words:
        words.insert(chance.randint(0, len(words)), values.skewed(chance, OPTIONS))
    elif kind == 2:
        words[chance.randrange(len(words))] = values.bent(chance, chance.choice(words))
    elif kind == 3:
        words = [",".join(words)]
    elif kind == 4:
        cut = chance.randint(0, len(words))
        words = [*words[:cut], ",".join((*words[cut:], values.skewed(chance, OPTIONS)))]
    else:
        words = words + [values.skewed(chance, OPTIONS) for _ in range(chance.choice((3, 40)))]
    return [["set", f"{at}/options", words]]


def destination(chance: Random, config: Any) -> list[Edit]:
    at = some(chance, config)
    if at is None:
        return []
    old = value_at(config, f"{at}/destination")
    tricks = [target(chance), target(chance)]
    if isinstance(old, str):
        tricks += [
            f"{old}/",
            f"/..{old}",
            f"/mnt/..{old}",
            f"/link-dir/../..{old}",
            old.lstrip("/"),
            f"{old}/x",
            f"/.{old}",
        ]
    return [["set", f"{at}/destination", chance.choice(tricks)]]


def source(chance: Random, config: Any) -> list[Edit]:
    at = some(chance, config)
    return [["set", f"{at}/source", values.skewed(chance, SOURCES)]] if at else []


def file_system(chance: Random, config: Any) -> list[Edit]:
    at = some(chance, config)
    return [["set", f"{at}/type", values.skewed(chance, TYPES)]] if at else []


def mapped(chance: Random, config: Any) -> list[Edit]:
    """A bind mount with maps of ids, in pairs or not."""
    mount = a_bind(chance)
    if chance.random() < 0.7:
        mount["options"].append(chance.choice(("idmap", "ridmap")))
    for kind in ("uidMappings", "gidMappings"):
        if chance.random() < 0.9:
            mount[kind] = values.skewed(chance, MAPS)
    return [["add", "/mounts/-", mount]]


ALL = (
    more,
    more,
    more,
    nested,
    below_source,
    option,
    option,
    option,
    destination,
    destination,
    source,
    file_system,
    mapped,
)
