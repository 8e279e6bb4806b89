"""The command line as tables: every command, its options, and their help.

They hold the union of runc's and crun's options. `cli` parses a command line by them, `help` prints them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Table = dict[str, tuple[str, str, str]]

FLAG, SWITCH, VALUE, NUMBER, MANY = "flag", "switch", "value", "number", "many"
"""Kinds of option: without a value (a switch is None if not given), with a value, with a non-negative number, and
repeatable with a value each time."""

GLOBAL = {
    "root": (VALUE, "", "directory for the state of containers (default /run/pyruntime)"),
    "log": (VALUE, "", "append log lines to this file"),
    "log-format": (VALUE, "", "text or json (default text)"),
    "log-level": (VALUE, "", "debug, info, warning or error (default info)"),
    "debug": (FLAG, "", "more log lines, on stderr without --log; tracebacks"),
    "systemd-cgroup": (FLAG, "", "let systemd manage the cgroup"),
    "cgroup-manager": (VALUE, "", "cgroupfs or systemd (crun's spelling)"),
    "rootless": (VALUE, "", "true, false or auto (accepted)"),
    "criu": (VALUE, "", "path of criu (accepted)"),
    "help": (FLAG, "h", "show this help"),
    "version": (FLAG, "v", "show the version"),
}

TRACE = {"trace": (VALUE, "", "write the time of every step to this file, in Chrome's trace format")}
CREATE = {
    **TRACE,
    "bundle": (VALUE, "b", "directory with config.json and the root file system (default: the current one)"),
    "config": (VALUE, "f", "read this file instead of config.json"),
    "console-socket": (VALUE, "", "socket that receives the terminal's descriptor"),
    "pidfd-socket": (VALUE, "", "socket that receives a pidfd of init"),
    "pid-file": (VALUE, "", "file that receives init's pid"),
    "no-pivot": (FLAG, "", "move the root mount instead of pivot_root (ramdisk)"),
    "no-new-keyring": (FLAG, "", "keep the caller's session keyring"),
    "no-subreaper": (FLAG, "", "accepted; pyruntime is never a subreaper"),
    "preserve-fds": (NUMBER, "", "pass N more descriptors, from 3 on, to the program"),
}
EXEC = {
    **TRACE,
    "process": (VALUE, "p", "JSON file with the process document"),
    "tty": (FLAG, "t", "give the process a terminal"),
    "detach": (FLAG, "d", "do not wait for the process"),
    "env": (MANY, "e", "add NAME=VALUE to the environment"),
    "user": (VALUE, "u", "UID[:GID], numbers"),
    "cwd": (VALUE, "", "working directory"),
    "additional-gids": (MANY, "g", "add a supplementary group"),
    "cap": (MANY, "c", "add a capability"),
    "no-new-privs": (SWITCH, "", "set no_new_privs"),
    "process-label": (VALUE, "", "SELinux label"),
    "apparmor": (VALUE, "", "AppArmor profile"),
    "cgroup": (MANY, "", "run in this cgroup below the container's"),
    "ignore-paused": (FLAG, "", "also in a paused container"),
    "preserve-fds": CREATE["preserve-fds"],
    "pid-file": (VALUE, "", "file that receives the process's pid"),
    "console-socket": CREATE["console-socket"],
    "pidfd-socket": CREATE["pidfd-socket"],
}
CRIU = "see criu(8)"
CHECKPOINT_VALUES = (
    *("image-path", "work-path", "parent-path", "page-server", "manage-cgroups-mode", "empty-ns"),
    *("status-fd", "lsm-profile", "lsm-mount-context"),
)
CHECKPOINT_FLAGS = (
    *("leave-running", "tcp-established", "ext-unix-sk", "shell-job", "file-locks", "pre-dump"),
    *("lazy-pages", "auto-dedup", "tcp-skip-in-flight", "link-remap"),
)
CHECKPOINT = {
    **dict.fromkeys(CHECKPOINT_VALUES, (VALUE, "", CRIU)),
    **dict.fromkeys(CHECKPOINT_FLAGS, (FLAG, "", CRIU)),
}
RESOURCES = "JSON file with linux.resources, - for standard input; what it omits is unchanged"
UPDATE = {
    "resources": (VALUE, "r", RESOURCES),
    "memory": (VALUE, "", "limit of memory: bytes, or with k, m, g, t (of 1024); -1 for none"),
    "memory-reservation": (VALUE, "", "memory that is reclaimed last, in the units of --memory"),
    "memory-swap": (VALUE, "", "limit of memory plus swap, in the units of --memory"),
    "cpu-quota": (VALUE, "", "CPU time in each period, microseconds; -1 for no limit"),
    "cpu-period": (VALUE, "", "length of a period, microseconds"),
    "cpu-burst": (VALUE, "", "unused quota that may be saved up, microseconds"),
    "cpu-share": (VALUE, "", "weight among other containers, 2 to 262144 (default 1024)"),
    "cpu-idle": (VALUE, "", "1: run only when the CPU is otherwise idle (SCHED_IDLE); 0: as usual"),
    "cpuset-cpus": (VALUE, "", "CPUs to run on, such as 0-2,5"),
    "cpuset-mems": (VALUE, "", "NUMA nodes to take memory from, such as 0-1"),
    "pids-limit": (VALUE, "", "number of processes and threads; -1 for no limit"),
    "blkio-weight": (VALUE, "", "weight of block I/O, 10 to 1000"),
    "cpu-rt-period": (VALUE, "", "refused: cgroup v2 has no realtime control"),
    "cpu-rt-runtime": (VALUE, "", "refused: cgroup v2 has no realtime control"),
    "kernel-memory": (VALUE, "", "refused: cgroup v2 has no such control"),
    "kernel-memory-tcp": (VALUE, "", "refused: cgroup v2 has no such control"),
    "l3-cache-schema": (VALUE, "", "refused: Intel RDT is not supported"),
    "mem-bw-schema": (VALUE, "", "refused: Intel RDT is not supported"),
}
EVENTS = {
    "stats": (FLAG, "", "print the statistics once"),
    "interval": (VALUE, "", "time between statistics, such as 500ms or 1m30s (default 5s)"),
}
FORMAT = (VALUE, "f", "table or json")


class Command:
    """A command: the place of its function, its options, the number of positional arguments, and its line of help.

    rest: everything after the first positional argument belongs to the program to run.
    enters: one of its processes enters a container, so it needs a binary that the container can't overwrite. The
    launcher knows the other commands (building/options.py), and protects itself for all that it does not know.
    warns: callers do not parse its stderr, so warnings go there if no log file is named, as with runc and crun.
    """

    __slots__ = ("enters", "function", "least", "module", "most", "options", "rest", "usage", "warns", "what")

    def __init__(
        self,
        where: str,
        usage: str,
        what: str,
        options: Table | None = None,
        *,
        least: int = 1,
        most: int = 1,
        rest: bool = False,
        enters: bool = False,
        warns: bool = False,
    ) -> None:
        self.module, _, self.function = where.partition(":")
        self.usage = usage
        self.what = what
        self.options = {**(options or {}), "help": GLOBAL["help"]}
        self.least = least
        self.most = most
        self.rest = rest
        self.enters = enters
        self.warns = warns


COMMANDS = {
    "create": Command("create:create", "ID", "create a container", CREATE, enters=True, warns=True),
    "start": Command("start:start", "ID", "run the program of a created container", TRACE, warns=True),
    "run": Command(
        "create:run",
        "ID",
        "create and start a container, wait for it and delete it",
        {
            **CREATE,
            "detach": (FLAG, "d", "do not wait for the container"),
            "keep": (FLAG, "", "do not delete the container when it ends"),
        },
        enters=True,
        warns=True,
    ),
    "state": Command("state:state", "ID", "print the state of a container", TRACE),
    "kill": Command(
        "kill:kill",
        "ID [SIGNAL]",
        "send a signal to a container (default TERM)",
        {**TRACE, "all": (FLAG, "a", "to all its processes"), "regex": (FLAG, "r", "ID is a regular expression")},
        most=2,
    ),
    "delete": Command(
        "delete:delete",
        "ID",
        "delete a stopped container",
        {
            **TRACE,
            "force": (FLAG, "f", "kill it first if it is not stopped"),
            "regex": (FLAG, "r", "ID is a regular expression"),
        },
        warns=True,
    ),
    "exec": Command(
        "exec:exec_",
        "ID [COMMAND [ARG...]]",
        "run a process in a container",
        EXEC,
        most=1 << 20,
        rest=True,
        enters=True,
        warns=True,
    ),
    "ps": Command(
        "ps:ps", "ID [PS OPTIONS]", "list the processes of a container", {"format": FORMAT}, most=1 << 20, rest=True
    ),
    "list": Command(
        "listing:list_", "", "list containers", {"quiet": (FLAG, "q", "only ids"), "format": FORMAT}, least=0, most=0
    ),
    "pause": Command("pause:pause", "ID", "suspend all processes of a container"),
    "resume": Command("pause:resume", "ID", "resume the processes of a paused container"),
    "explain": Command(
        "explain:explain", "[ID]", "print the system calls of a bundle without running them", CREATE, least=0
    ),
    "spec": Command(
        "spec:spec",
        "",
        "write a default config.json",
        {
            "bundle": (VALUE, "b", "directory to write it to"),
            "file": (VALUE, "f", "file to write, instead of config.json"),
            "rootless": (FLAG, "", "for a user without privilege"),
        },
        least=0,
        most=0,
    ),
    "features": Command("features:features", "", "print what this runtime supports", least=0, most=0),
    "update": Command("update:update", "ID", "change the limits of a container", UPDATE, warns=True),
    "events": Command("events:events", "ID", "print resource statistics and events", EVENTS),
    "checkpoint": Command("unimplemented:unimplemented", "ID", "checkpoint a container with criu", CHECKPOINT),
    "mounts": Command(
        "unimplemented:unimplemented", "add|remove ID", "change the mounts of a container", most=1 << 20, enters=True
    ),
    "restore": Command(
        "unimplemented:unimplemented",
        "ID",
        "restore a container with criu",
        {**CREATE, **CHECKPOINT, "detach": (FLAG, "d", "do not wait")},
        enters=True,
    ),
}


class Options:
    """The parsed command line: the options of the command and the global ones by name (dashes as underscores).

    Options of other commands are not set. An option that is not given is None, False or []. given_fds: how many
    consecutive descriptors the caller left open, beginning with 3; counted only where that matters.
    """

    command: str
    args: list[str]
    given_fds: int
    root: str
    additional_gids: list[str]
    cap: list[str]
    cgroup: list[str]
    env: list[str]
    all: bool
    auto_dedup: bool
    debug: bool
    detach: bool
    ext_unix_sk: bool
    file_locks: bool
    force: bool
    help: bool
    ignore_paused: bool
    keep: bool
    lazy_pages: bool
    leave_running: bool
    link_remap: bool
    no_new_keyring: bool
    no_pivot: bool
    no_subreaper: bool
    pre_dump: bool
    quiet: bool
    regex: bool
    shell_job: bool
    stats: bool
    systemd_cgroup: bool
    tcp_established: bool
    tcp_skip_in_flight: bool
    tty: bool
    version: bool
    apparmor: str | None
    blkio_weight: str | None
    bundle: str | None
    cgroup_manager: str | None
    config: str | None
    console_socket: str | None
    cpu_burst: str | None
    cpu_idle: str | None
    cpu_period: str | None
    cpu_quota: str | None
    cpu_rt_period: str | None
    cpu_rt_runtime: str | None
    cpu_share: str | None
    cpuset_cpus: str | None
    cpuset_mems: str | None
    criu: str | None
    cwd: str | None
    empty_ns: str | None
    file: str | None
    format: str | None
    image_path: str | None
    interval: str | None
    kernel_memory: str | None
    kernel_memory_tcp: str | None
    l3_cache_schema: str | None
    log: str | None
    log_format: str | None
    log_level: str | None
    lsm_mount_context: str | None
    lsm_profile: str | None
    manage_cgroups_mode: str | None
    mem_bw_schema: str | None
    memory: str | None
    memory_reservation: str | None
    memory_swap: str | None
    page_server: str | None
    parent_path: str | None
    pid_file: str | None
    pidfd_socket: str | None
    pids_limit: str | None
    process: str | None
    process_label: str | None
    resources: str | None
    status_fd: str | None
    trace: str | None
    user: str | None
    work_path: str | None
    no_new_privs: bool | None
    preserve_fds: int | None
    rootless: bool | str | None

    def __init__(self) -> None:
        self.args = []
        self.given_fds = 0
