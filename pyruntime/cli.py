"""The command line: option tables, and a parser that imports only the command it runs.

It accepts the union of what callers of runc and crun send: `--x V`, `--x=V`, `-x=V`, a single dash before a long name,
several short flags in one word, and options after the first positional argument, except where what follows belongs to
somebody else (exec, ps).
"""

from __future__ import annotations

import posix
import sys

from . import log
from .errors import Failure, UsageFailure, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Table = dict[str, tuple[str, str, str]]

FLAG, SWITCH, VALUE, NUMBER, MANY = "flag", "switch", "value", "number", "many"
"""Kinds of option: without a value (a switch tells whether it was given: None), with one, with a number from 0 on, and
with a value each time it is given."""

GLOBAL = {
    "root": (VALUE, "", "directory for the state of containers (default /run/pyruntime)"),
    "log": (VALUE, "", "append log lines to this file"),
    "log-format": (VALUE, "", "text or json (default text)"),
    "log-level": (VALUE, "", "debug, info, warning or error (default info)"),
    "debug": (FLAG, "", "more log lines, warnings on stderr, tracebacks"),
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
RESOURCES = "JSON file with linux.resources, - for standard input; what it leaves out stays"
UPDATE = {
    "resources": (VALUE, "r", RESOURCES),
    "memory": (VALUE, "", "limit of memory: bytes, or with k, m, g, t (of 1024); -1 for none"),
    "memory-reservation": (VALUE, "", "memory that is reclaimed last, as --memory"),
    "memory-swap": (VALUE, "", "limit of memory plus swap, as --memory"),
    "cpu-quota": (VALUE, "", "CPU time in each period, microseconds; -1 for no limit"),
    "cpu-period": (VALUE, "", "length of a period, microseconds"),
    "cpu-burst": (VALUE, "", "unused quota that may be saved up, microseconds"),
    "cpu-share": (VALUE, "", "weight among other containers, 2 to 262144 (default 1024)"),
    "cpu-idle": (VALUE, "", "1: run only when nobody else does (SCHED_IDLE); 0: as usual"),
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
    """A command: where its function is, its options, how many positional arguments, and the line of help.

    rest: everything behind the first positional argument belongs to the program that is run.
    """

    __slots__ = ("function", "least", "module", "most", "options", "rest", "usage", "what")

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
    ) -> None:
        self.module, _, self.function = where.partition(":")
        self.usage = usage
        self.what = what
        self.options = {**(options or {}), "help": GLOBAL["help"]}
        self.least = least
        self.most = most
        self.rest = rest


COMMANDS = {
    "create": Command("create:create", "ID", "create a container", CREATE),
    "start": Command("start:start", "ID", "run the program of a created container", TRACE),
    "run": Command(
        "create:run",
        "ID",
        "create and start a container, wait for it and delete it",
        {
            **CREATE,
            "detach": (FLAG, "d", "do not wait for the container"),
            "keep": (FLAG, "", "do not delete the container when it ends"),
        },
    ),
    "state": Command("state:state", "ID", "print the state of a container", TRACE),
    "kill": Command(
        "kill:kill",
        "ID [SIGNAL]",
        "send a signal to a container (default TERM)",
        {
            **TRACE,
            "all": (FLAG, "a", "to all its processes"),
            "regex": (FLAG, "r", "ID is a regular expression"),
        },
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
    ),
    "exec": Command(
        "exec:exec_", "ID [COMMAND [ARG...]]", "run a process in a container", EXEC, most=1 << 20, rest=True
    ),
    "ps": Command(
        "ps:ps", "ID [PS OPTIONS]", "list the processes of a container", {"format": FORMAT}, most=1 << 20, rest=True
    ),
    "list": Command(
        "listing:list_",
        "",
        "list containers",
        {"quiet": (FLAG, "q", "only ids"), "format": FORMAT},
        least=0,
        most=0,
    ),
    "pause": Command("pause:pause", "ID", "stop all processes of a container for a while"),
    "resume": Command("pause:resume", "ID", "let a paused container go on"),
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
    "update": Command("update:update", "ID", "change the limits of a container", UPDATE),
    "events": Command("events:events", "ID", "print resource statistics and events", EVENTS),
    "checkpoint": Command("later:later", "ID", "checkpoint a container with criu", CHECKPOINT),
    "mounts": Command("later:later", "add|remove ID", "change the mounts of a container", most=1 << 20),
    "restore": Command(
        "later:later",
        "ID",
        "restore a container with criu",
        {**CREATE, **CHECKPOINT, "detach": (FLAG, "d", "do not wait")},
    ),
}


class Options:
    """The parsed command line: every option of the command and the global ones by name (dashes as underscores)."""

    command: str
    args: list[str]

    def __init__(self) -> None:
        self.args = []

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


def main(argv: list[str]) -> int:
    """Run one command line and return its exit status; every failure is one line on stderr and in the log."""
    options = Options()
    options.debug = False
    try:
        status = dispatch(argv, options)
        sys.stdout.flush()
        log.success()
        return status
    except Failure as failure:
        return report(str(failure), failure.status, options, failure)
    except BrokenPipeError:
        return 1
    except OSError as error:
        return report(os_error_text(error), 1, options, error)
    except Exception as error:
        hint = "" if options.debug else "; --debug shows the traceback"
        return report(f"internal error: {type(error).__name__}: {error}{hint}", 1, options, error)


def report(text: str, status: int, options: Options, error: BaseException) -> int:
    """Tell a failure: to the caller's log, to people, and with --debug how it came about."""
    log.error(text)
    try:
        sys.stderr.write(f"pyruntime: {text}\n")
        if options.debug:
            sys.excepthook(type(error), error, error.__traceback__)
    except OSError:
        return status
    return status


def dispatch(argv: list[str], options: Options) -> int:
    """Parse the command line and call the command's function."""
    clear(options, GLOBAL)
    try:
        rest = parse(argv, GLOBAL, options, stop=True)
    finally:
        # Before anything else can fail: callers look for the error in the log file they have named.
        start_log(options)
    if options.version:
        show("version")
        return 0
    if options.help or not rest or rest == ["help"]:
        show("overview")
        return 0 if options.help or rest else 1
    name = rest[0]
    command = COMMANDS.get(name)
    if command is None:
        raise UsageFailure(f"unknown command {name!r}; pyruntime --help lists the commands")
    clear(options, command.options)
    options.command = name
    options.args = parse(rest[1:], command.options, options, stop=command.rest)
    if options.help:
        show("help_of", name)
        return 0
    check_count(name, command, options.args)
    settle(options)
    if getattr(options, "trace", None):
        from .trace import run

        return run(options.trace, name, lambda: call(command, options))
    return call(command, options)


def call(command: Command, options: Options) -> int:
    """Import the command's module and run its function."""
    module = __import__(f"pyruntime.commands.{command.module}", fromlist=[command.function])
    return int(getattr(module, command.function)(options))


def show(what: str, *args: str) -> None:
    """Print a text that only people read; it is in a module of its own."""
    texts = __import__("pyruntime.commands.help", fromlist=[what])
    sys.stdout.write(getattr(texts, what)(*args))


def start_log(options: Options) -> None:
    """Open the log file, in the format asked for."""
    try:
        log.setup(options.log, options.log_format or "text", options.log_level or "info", options.debug)
    except OSError as error:
        raise Failure("open log file", error) from None
    if options.log_format not in (None, "", "text", "json"):
        raise UsageFailure(f"--log-format {options.log_format!r} is neither text nor json")
    if options.log_level and options.log_level not in (*log.LEVELS, *log.ALIASES):
        raise UsageFailure(f"--log-level {options.log_level!r} is none of {', '.join(log.LEVELS)}")


def clear(options: Options, table: Table) -> None:
    """Give every option its empty value."""
    for name, (kind, _, _) in table.items():
        empty: Any = False if kind == FLAG else [] if kind == MANY else None
        setattr(options, name.replace("-", "_"), empty)


def parse(argv: list[str], table: Table, options: Options, *, stop: bool) -> list[str]:
    """Set the options found and return the positional arguments; with stop, the first of them ends the options."""
    shorts = {short: name for name, (_, short, _) in table.items() if short}
    positional: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            positional += words
            break
        if word == "-" or not word.startswith("-"):
            positional.append(word)
            if stop:
                positional += words
                break
            continue
        text, equals, value = word[2 if word.startswith("--") else 1 :].partition("=")
        for name in names_of(text, table, shorts):
            if name not in table:
                raise UsageFailure(f"unknown option {word!r}")
            set_option(options, name, table[name][0], value if equals else None, words)
    return positional


def names_of(text: str, table: Table, shorts: dict[str, str]) -> list[str]:
    """Return the option that a word means, or all of them when it is several short flags (`-td`)."""
    if text not in table and len(text) > 1 and all(letter in shorts for letter in text):
        names = [shorts[letter] for letter in text]
        if all(table[name][0] in (FLAG, SWITCH) for name in names):
            return names
    return [shorts.get(text, text)]


def set_option(options: Options, name: str, kind: str, value: str | None, words: Iterator[str]) -> None:
    """Set one option; a value that is not joined by `=` is the next word."""
    attribute = name.replace("-", "_")
    if kind in (FLAG, SWITCH):
        if value not in (None, "true", "false"):
            raise UsageFailure(f"option --{name} takes no value but true or false")
        setattr(options, attribute, value != "false")
        return
    if value is None:
        value = next(words, None)
        if value is None:
            raise UsageFailure(f"option --{name} requires an argument")
    if kind == MANY:
        getattr(options, attribute).append(value)
    elif kind == NUMBER:
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise UsageFailure(f"option --{name}: {value!r} is not a number from 0 on")
        setattr(options, attribute, int(value))
    else:
        setattr(options, attribute, value)


def check_count(name: str, command: Command, args: list[str]) -> None:
    """Raise UsageFailure, in runc's words, unless the command can have that many arguments."""
    if command.least <= len(args) <= command.most:
        return
    if command.least == command.most:
        wanted = f"exactly {command.least}"
    elif len(args) < command.least:
        wanted = f"a minimum of {command.least}"
    else:
        wanted = f"a maximum of {command.most}"
    text = f'"{name}" requires {wanted} argument(s), not {len(args)}; usage: pyruntime {name} {command.usage}'
    raise UsageFailure(text.rstrip())


def settle(options: Options) -> None:
    """Fill in what depends on the caller, and refuse what is not there."""
    if not options.root:
        options.root = default_root()
    elif not options.root.startswith("/"):
        options.root = f"{working_directory()}/{options.root}"
    if {"", ".", ".."}.issuperset(options.root.split("/")):
        raise UsageFailure("option --root should not be set to /")
    if options.cgroup_manager not in (None, "cgroupfs", "systemd"):
        raise UsageFailure(f"--cgroup-manager {options.cgroup_manager!r} is not supported; use cgroupfs or systemd")
    options.systemd_cgroup = options.systemd_cgroup or options.cgroup_manager == "systemd"


def working_directory() -> str:
    """Return the caller's working directory; raise Failure when it has been removed."""
    try:
        return posix.getcwd()
    except OSError as error:
        raise Failure("working directory", error) from None


def default_root() -> str:
    uid = posix.geteuid()
    if uid == 0:
        return "/run/pyruntime"
    run_time = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    if run_time:
        return f"{run_time}/pyruntime"
    path = f"/tmp/pyruntime-{uid}"
    try:
        status = posix.lstat(path)
    except FileNotFoundError:
        return path
    if status.st_uid != uid or status.st_mode & 0o170000 != 0o040000:
        raise UsageFailure(f"{path} is not a directory of this user's; set XDG_RUNTIME_DIR, or give --root")
    return path
