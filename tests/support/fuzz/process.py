"""Mutations of the process and its rights: program, user, limits, capabilities, seccomp, terminal."""

from random import Random
from typing import Any

from support.fuzz import values
from support.fuzz.edits import Edit, list_at, value_at

ARGS: tuple[list[Any], ...] = (
    *(
        ["true"],
        ["/bin/true"],
        ["sleep", "1000"],
        ["/bin/sleep", "1000"],
        ["/bin/false"],
        [],
        [""],
        ["nosuch"],
        ["/nosuch"],
    ),
    *(["./bin/sleep", "1000"], ["bin/sleep", "1000"], ["../bin/sleep", "1000"], ["/etc"], ["/etc/passwd"], ["/file"]),
    *(
        ["sleep", "1000", ""],
        ["sleep", "1000", "\u00fc"],
        ["/link-file"],
        ["/loop"],
        ["/dangling"],
        ["/bin/./sleep", "1000"],
    ),
    *(
        ["/bin/sleep", *["1000"] * 5000],
        ["/bin/sleep", "x" * 140000],
        ["a\0b"],
        ["/bin/sleep", "1000\0"],
        [None],
        ["n" * 256],
    ),
)
CWDS = (
    *values.PATHS,
    "/root",
    "/home/x",
    "/nowhere/a/b",
    "/mnt",
    "/bin/sleep",
    "/proc/self/fd/7",
    "/var/run",
    "relative",
)
ENVS = (
    *("A=B", "A=", "=x", "", "A", "A=B=C", "PATH=", "PATH=/bin", "PATH=:", "PATH=/nowhere", "HOME=", "HOME=/x", "A=\n"),
    *("A=a\0b", "A=\u00fc", "A=" + "x" * 140000, "LISTEN_FDS=3", "NOTIFY_SOCKET=/x", "LD_PRELOAD=/x.so", "A B=C"),
    "A=\x1b", "_PYRUNTIME_HOME=/x", "TERM=", "PYTHONHOME=/x",
)  # fmt: skip
LIMITS = (
    *("RLIMIT_NOFILE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK"),
    *("RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_MEMLOCK", "RLIMIT_RSS", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"),
    *("RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_LOCKS", "RLIMIT_NOSUCH", "NOFILE", ""),
)
LIMIT_VALUES = (0, 1, 3, 5, 8, 20, 64, 1024, 4096, 100000, 1 << 20, 20 << 20, 1 << 30, 2**63 - 1, 2**63, 2**64 - 1, -1)
CAPABILITIES = (
    *("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_SETPCAP", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_RESOURCE"),
    *("CAP_CHECKPOINT_RESTORE", "CAP_BPF", "CAP_NOSUCH", "cap_chown", "CHOWN", "", "CAP_", "CAP_63", "ALL"),
)
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient", "nosuch")
ACTIONS = (
    *(
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
    ),
    *("SCMP_ACT_TRAP", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY", "SCMP_ACT_NOSUCH", ""),
)
CALLS = (
    *(
        "mkdir",
        "execve",
        "write",
        "read",
        "close",
        "exit_group",
        "mmap",
        "reboot",
        "nosuchcall",
        "",
        "openat",
        "clone3",
        "brk",
    ),
    *("fchmodat2", "sendmsg", "_llseek", "arm_sync_file_range", "s390_runtime_instr", "a\0b", "x" * 300, "-1", "39"),
)
ARCHITECTURES = (
    *("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_S390X"),
    *("SCMP_ARCH_NATIVE", "SCMP_ARCH_NOSUCH", "x86_64"),
)
OPERATORS = (
    *(
        "SCMP_CMP_EQ",
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
        "x",
    ),
)
SECCOMP_FLAGS = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "x")
POLICIES = ("SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR", "SCHED_DEADLINE", "SCHED_ISO", "x")


def process(chance: Random, config: Any) -> list[Edit]:
    """The program, where it begins, and with what environment."""
    kind = chance.randrange(3)
    if kind == 0:
        return [["set", "/process/args", values.skewed(chance, ARGS)]]
    if kind == 1:
        return [["set", "/process/cwd", values.skewed(chance, CWDS)]]
    entries = list_at(config, "/process/env") if chance.random() < 0.8 else []
    more = [values.skewed(chance, ENVS) for _ in range(chance.choice((1, 1, 3, 0)))]
    return [["set", "/process/env", entries + more if chance.random() < 0.7 else more + entries]]


def user(chance: Random, config: Any) -> list[Edit]:
    ids = (0, 1, 5, 1000, 65534, 65535, 65536, 100000, 2**31, 2**32 - 2, 2**32 - 1, 2**32, -1)
    new: dict[str, Any] = {"uid": chance.choice(ids), "gid": chance.choice(ids)}
    if chance.random() < 0.5:
        groups = [chance.choice(ids) for _ in range(chance.choice((0, 1, 3)))]
        new["additionalGids"] = chance.choice((groups, groups * 2, list(range(65536)), list(range(65537)), [5, 5, 5]))
    if chance.random() < 0.4:
        new["umask"] = chance.choice((0, 0o22, 0o77, 0o777, 0o1777, 2**32 - 1, -1))
    if chance.random() < 0.2:
        new["username"] = values.text(chance)
    return [["set", "/process/user", new]]


def rlimits(chance: Random, config: Any) -> list[Edit]:
    edits: list[Edit] = []
    for _ in range(chance.choice((1, 1, 2))):
        hard = values.skewed(chance, LIMIT_VALUES)
        soft = chance.choice((hard, hard, 0, values.skewed(chance, LIMIT_VALUES)))
        edits.append(["add", "/process/rlimits", {"type": values.skewed(chance, LIMITS), "hard": hard, "soft": soft}])
    return edits if chance.random() < 0.4 else [["set", "/process/rlimits", []], *edits]


def capabilities(chance: Random, config: Any) -> list[Edit]:
    if chance.random() < 0.2:
        return [["drop", "/process/capabilities"]]
    edits: list[Edit] = []
    for name in chance.sample(SETS, chance.randint(1, 3)):
        have = list_at(config, f"/process/capabilities/{name}") if chance.random() < 0.5 else []
        entries = have + [values.skewed(chance, CAPABILITIES) for _ in range(chance.choice((0, 1, 2)))]
        edits.append(["set", f"/process/capabilities/{name}", entries])
    return edits


def flags(chance: Random, config: Any) -> list[Edit]:
    """What is one value each: of the process, and of its scheduling and memory."""
    number = values.number(chance)
    cpus = chance.choice(("0", "0-1", "1-0", "", "0,0", "9999", "70000", "x", " 0 ", "0-", "-1", "0-1023", "0-5000"))
    choices: tuple[tuple[str, Any], ...] = (
        ("noNewPrivileges", chance.choice((True, False, None))),
        ("oomScoreAdj", chance.choice((0, 1, 500, 1000, 1001, -1000, -1001, None, number))),
        ("apparmorProfile", chance.choice(("", "unconfined", "nosuch", "a\nb"))),
        ("selinuxLabel", chance.choice(("", "x", "a:b:c:d"))),
        (
            "ioPriority",
            {
                "class": chance.choice(("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE", "x")),
                "priority": number,
            },
        ),
        (
            "scheduler",
            {
                "policy": values.skewed(chance, POLICIES),
                chance.choice(("nice", "priority", "runtime", "flags")): number,
            },
        ),
        ("execCPUAffinity", {"initial": cpus, "final": cpus}),
        ("nosuch", number),
        ("commandLine", "x"),
    )
    name, value = chance.choice(choices)
    return [["set", f"/process/{name}", value]]


def terminal(chance: Random, config: Any) -> list[Edit]:
    edits: list[Edit] = [["set", "/process/terminal", chance.choice((True, True, False, None))]]
    if chance.random() < 0.6:
        sizes = (0, 1, 24, 80, 65535, 65536, 2**31, 2**32, -1)
        size = {"height": chance.choice(sizes), "width": chance.choice(sizes)}
        edits.append(["set", "/process/consoleSize", chance.choice((size, size, {"height": 5}, {}, None))])
    return edits


def rule(chance: Random) -> dict[str, Any]:
    new: dict[str, Any] = {
        "names": chance.sample(CALLS, chance.choice((0, 1, 1, 2, 5))),
        "action": values.skewed(chance, ACTIONS),
    }
    if chance.random() < 0.3:
        new["errnoRet"] = chance.choice((0, 1, 38, 4095, 4096, 65535, 2**31, -1))
    if chance.random() < 0.4:
        new["args"] = [
            {
                "index": chance.choice((0, 1, 5, 6, -1)),
                "value": values.number(chance),
                "op": values.skewed(chance, OPERATORS),
            }
            for _ in range(chance.choice((1, 1, 2, 7)))
        ]
        if chance.random() < 0.3:
            new["args"][0]["valueTwo"] = values.number(chance)
    return new


def seccomp(chance: Random, config: Any) -> list[Edit]:
    if not value_at(config, "/linux/seccomp") or chance.random() < 0.2:
        default = chance.choice(("SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", values.skewed(chance, ACTIONS)))
        new: dict[str, Any] = {
            "defaultAction": default,
            "syscalls": [rule(chance) for _ in range(chance.randint(0, 3))],
        }
        return [["set", "/linux/seccomp", new]]
    kind = chance.randrange(6)
    if kind < 3:
        return [["add", "/linux/seccomp/syscalls", rule(chance)]]
    if kind == 3:
        return [["set", "/linux/seccomp/architectures", chance.sample(ARCHITECTURES, chance.randint(0, 3))]]
    if kind == 4:
        return [["set", "/linux/seccomp/flags", chance.sample(SECCOMP_FLAGS, chance.randint(0, 2))]]
    names = ("defaultErrnoRet", "listenerPath", "listenerMetadata", "defaultAction")
    value = chance.choice((0, 1, 38, 5000, "@CASE@/nowhere.sock", "", "x", values.skewed(chance, ACTIONS)))
    return [["set", f"/linux/seccomp/{chance.choice(names)}", value]]


ALL = (
    *(process, process, process, user, user, rlimits, rlimits, capabilities, capabilities, flags, flags, terminal),
    *(seccomp, seccomp, seccomp),
)
