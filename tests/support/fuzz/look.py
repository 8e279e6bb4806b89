"""A running container compared with what its config asks for, where that can be seen from outside.

Each check returns a line for what is otherwise. It knows nothing of the runtime: only the config and the kernel's
files.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import session
from support.fuzz import look_files
from support.fuzz.edits import value_at

FILES = {
    "network": "net", "mount": "mnt", "pid": "pid", "uts": "uts", "ipc": "ipc", "user": "user", "cgroup": "cgroup",
    "time": "time",
}  # fmt: skip
SETS = {
    "CapInh": "inheritable", "CapPrm": "permitted", "CapEff": "effective", "CapBnd": "bounding", "CapAmb": "ambient",
}  # fmt: skip
LIMITS = {
    "RLIMIT_NOFILE": "Max open files", "RLIMIT_CORE": "Max core file size", "RLIMIT_NPROC": "Max processes",
    "RLIMIT_AS": "Max address space", "RLIMIT_DATA": "Max data size", "RLIMIT_STACK": "Max stack size",
    "RLIMIT_FSIZE": "Max file size", "RLIMIT_CPU": "Max cpu time", "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_RSS": "Max resident set", "RLIMIT_NICE": "Max nice priority", "RLIMIT_RTPRIO": "Max realtime priority",
    "RLIMIT_RTTIME": "Max realtime timeout", "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_LOCKS": "Max file locks",
}  # fmt: skip
POLICIES = ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE")


def differences(config: dict[str, Any], pid: int, capabilities: dict[str, int]) -> list[str]:
    """Return what is otherwise than the config asks; nothing when the process has ended meanwhile."""
    found = []
    for check in (process, scheduling, identity, rights, limits, namespaces, names, *look_files.ALL, cgroup):
        try:
            found += list(check(config, pid, capabilities))
        except (OSError, KeyError, IndexError, ValueError) as error:  # of one that ends, files miss or lack lines
            found.append(f"otherwise: {check.__name__} can't be looked at: {type(error).__name__}: {error}")
    try:
        os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return []
    return found


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").split("\n")
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def process(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """Arguments, environment, directory, oom_score_adj."""
    program = config["process"]
    asked = b"".join(look_files.encoded(each) + b"\0" for each in program["args"])
    yield from look_files.same("args", asked, Path(f"/proc/{pid}/cmdline").read_bytes())
    env = [look_files.encoded(each) for each in program.get("env") or []]
    found = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[:-1]
    env = [each for each in env if each != b"HOME="]  # an empty one is as none: it is looked up
    if not any(each.startswith(b"HOME=") for each in env):
        found = [each for each in found if not each.startswith(b"HOME=")]
    names = [each.partition(b"=")[0] for each in env]
    if len(set(names)) == len(names):
        yield from look_files.same("env", sorted(env), sorted(found))
    else:
        yield from look_files.same("env", set(env) | set(found), set(env))
    if program.get("oomScoreAdj") is not None:
        yield from look_files.same(
            "oom_score_adj", str(program["oomScoreAdj"]), Path(f"/proc/{pid}/oom_score_adj").read_text().strip()
        )


def scheduling(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """Policy, execution domain, terminal."""
    program = config["process"]
    policy = (program.get("scheduler") or {}).get("policy")
    if policy:
        found = os.sched_getscheduler(pid) & 0xFF
        yield from look_files.same("scheduler", POLICIES.index(policy), found)
    domain = (config["linux"].get("personality") or {}).get("domain")
    if domain:
        yield from look_files.same(
            "personality", 8 if domain == "LINUX32" else 0, int(Path(f"/proc/{pid}/personality").read_text(), 16) & 8
        )
    stdin = os.readlink(f"/proc/{pid}/fd/0")
    yield from look_files.same(
        "terminal", bool(program.get("terminal")), stdin.startswith(("/dev/pts/", "/dev/console"))
    )


def identity(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """User, groups and umask; ids as the host has them."""
    status, user = status_of(pid), config["process"].get("user") or {}
    for name, key, own in (("Uid", "uid", "uid_map"), ("Gid", "gid", "gid_map")):
        asked = mapped(pid, own, int(user.get(key) or 0))
        yield from look_files.same(key, [str(asked)] * 4, status[name])
    groups = {mapped(pid, "gid_map", int(group)) for group in user.get("additionalGids") or []}
    yield from look_files.same("groups", groups, set(map(int, status.get("Groups", []))))
    umask = user.get("umask")
    if umask is not None:
        yield from look_files.same("umask", umask & 0o777, int(status["Umask"][0], 8))


def mapped(pid: int, file: str, number: int) -> int:
    """Return the host's id for one of a process's user namespace; 65534 for one that is not mapped."""
    for line in Path(f"/proc/{pid}/{file}").read_text().split("\n")[:-1]:
        inside, outside, size = map(int, line.split())
        if inside <= number < inside + size:
            return outside + number - inside
    return 65534


def rights(config: dict[str, Any], pid: int, known: dict[str, int]) -> Iterator[str]:
    """Capabilities, no_new_privs and seccomp."""
    status, program = status_of(pid), config["process"]
    sets = program.get("capabilities") or {}
    have = {name: int(status[field][0], 16) for field, name in SETS.items()}
    asked = {name: mask(sets.get(name), known) for name in have}
    bounding = asked["bounding"] & own_capabilities()
    yield from look_files.same("bounding set", bounding, have["bounding"])
    for name in ("inheritable", "ambient"):
        if have[name] & ~asked[name]:
            yield f"otherwise: {name} has {have[name] & ~asked[name]:#x} more than the config gives"
    # capabilities(7): by execve root gets what is bounding or inheritable, and anybody else what is ambient.
    # With no_new_privs root gets no more by that than it has.
    is_root = not (program.get("user") or {}).get("uid")
    wanted = bounding | have["inheritable"] if is_root else have["ambient"]
    if is_root and program.get("noNewPrivileges"):
        wanted &= asked["permitted"]
    for name in ("permitted", "effective"):
        yield from look_files.same(f"{name} set", wanted, have[name])
    yield from look_files.same("no_new_privs", bool(program.get("noNewPrivileges")), status["NoNewPrivs"] == ["1"])
    yield from look_files.same(
        "seccomp", "seccomp" in config["linux"] and bool(config["linux"]["seccomp"]), status["Seccomp"] == ["2"]
    )


def mask(names: list[str] | None, known: dict[str, int]) -> int:
    """Return names of capabilities as a mask; the runtime takes them in any case of letters."""
    return sum(1 << known[each] for each in {name.upper() for name in names or []} if each in known)


def own_capabilities() -> int:
    return int(status_of(os.getpid())["CapBnd"][0], 16)


def limits(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().split("\n")
    for limit in config["process"].get("rlimits") or []:
        name = LIMITS.get(limit["type"])
        for line in lines:
            if name and line.startswith(name):
                soft, hard = line[len(name) :].split()[:2]
                if limit["type"] == "RLIMIT_CPU" and limit["soft"] == 0:
                    continue  # the kernel makes it one second
                yield from look_files.same(limit["type"], [shown(limit["soft"]), shown(limit["hard"])], [soft, hard])


def shown(value: int) -> str:
    return "unlimited" if value == 2**64 - 1 else str(value)


def namespaces(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """Each namespace is new, that of the path, or the host's, as the config has it."""
    entries = {entry["type"]: entry.get("path") or "" for entry in config["linux"].get("namespaces") or []}
    for kind, file in FILES.items():
        mine, its = os.stat(f"/proc/self/ns/{file}").st_ino, os.stat(f"/proc/{pid}/ns/{file}").st_ino
        if kind not in entries:
            yield from look_files.same(f"the {kind} namespace that is not listed", mine, its)
        elif entries[kind]:
            yield from look_files.same(f"the {kind} namespace that is joined", os.stat(entries[kind]).st_ino, its)
        elif its == mine:
            yield f"otherwise: there is no new {kind} namespace"


def names(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    """Host name, domain name and sysctls, as a process in the container's namespaces sees them; and time offsets."""
    asked = {f"/proc/sys/{sysctl_file(name)}": value for name, value in (config["linux"].get("sysctl") or {}).items()}
    for key, file in (("hostname", "hostname"), ("domainname", "domainname")):
        if config.get(key):
            asked[f"/proc/sys/kernel/{file}"] = config[key]
    found = seen_inside(pid, list(asked))
    for file, value in asked.items():
        # Of more numbers than it has, a sysctl takes the first ones, and given fewer keeps its others.
        asked_for, words = value.split(), found[file].split()
        count = min(len(asked_for), len(words))
        yield from look_files.same(file, asked_for[:count], words[:count])
    for clock, offset in (config["linux"].get("timeOffsets") or {}).items():
        lines = [line.split() for line in Path(f"/proc/{pid}/timens_offsets").read_text().split("\n")]
        wanted = [clock, str(offset.get("secs", 0)), str(offset.get("nanosecs", 0))]
        if wanted not in lines:
            yield f"otherwise: the time offsets are {lines} and should have {wanted}"


def sysctl_file(name: str) -> str:
    """Return the file of a sysctl; its first separator, `.` or `/`, decides (sysctl(8))."""
    slash, dot = name.find("/"), name.find(".")
    return name if slash >= 0 and (dot < 0 or slash < dot) else name.translate({0x2E: "/", 0x2F: "."})


def seen_inside(pid: int, files: list[str]) -> dict[str, str]:
    """Return what files of procfs say to a process in the uts, network and ipc namespaces of another."""
    if not files:
        return {}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for kind in ("uts", "net", "ipc"):
                fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                session._check(session._libc.setns(fd, 0), f"setns({kind})")
            found = {file: Path(file).read_text(errors="surrogateescape").removesuffix("\n") for file in files}
            os.write(writing, json.dumps(found).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    return json.loads(data) if data else dict.fromkeys(files, "")


def cgroup(config: dict[str, Any], pid: int, _: Any) -> Iterator[str]:
    path = value_at(config, "/linux/cgroupsPath")
    if path and not (config.get("annotations") or {}).get("run.oci.delegate-cgroup"):
        found = Path(f"/proc/{pid}/cgroup").read_text(errors="surrogateescape").split("::", 1)[1].removesuffix("\n")
        wanted = look_files.clean(path) if path.startswith("/") else f"/pyruntime{look_files.clean(path)}"
        if path.startswith("/"):
            yield from look_files.same("cgroup", wanted, found.removesuffix(" (deleted)"))
