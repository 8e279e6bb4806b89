"""What the spec requires beyond types: lists of small checks, each pure and about one subject.

A check takes a document that is valid by the schema, and raises InvalidConfig with the JSON pointer of the error. It
does not look at the host. Source: runtime-spec config.md; the checks of /linux are in linux.py.
"""

from __future__ import annotations

from .. import SPEC_VERSION
from ..errors import InvalidConfig
from . import linux
from .linux import absolute, clean, number_list, shown
from .options import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._config import Config, Mount, Process

OLDEST = "1.0.0"
NEWEST = SPEC_VERSION
MINORS = tuple(map(str, range(int(NEWEST.split(".")[1]) + 1)))
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
BELOW_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime"),
        *("sys/crypto/fips_enabled", "sys/kernel/ns_last_pid"),
    )
)
"""Files below /proc that may be mounted over: lxcfs and engines fake them, and none of them affects security."""
LARGEST_TERMINAL = 65535
"""Rows and columns of a terminal are 16-bit numbers (ioctl_tty(2))."""


def check(config: Config, host_namespaces: frozenset[str] = frozenset()) -> list[str]:
    """Run all checks on a config; return the warnings of those that only warn. Raises InvalidConfig.

    host_namespaces: types of listed namespaces that are the host's. They do not permit settings that need a namespace
    of the container's own.
    """
    if host_namespaces:
        linux.check_namespaces(config)  # while the entries still match their JSON pointers
        config = linux.without_namespaces(config, host_namespaces)
    for one in CHECKS:
        one(config)
    return [line for warn in WARNINGS for line in warn(config)]


def check_process(process: Process, at: str = "/process") -> None:
    """Run the checks of a process document; `at` is its own JSON pointer. Raises InvalidConfig."""
    for one in PROCESS_CHECKS:
        one(process, at)


def check_version(config: Config) -> None:
    """config.md "Specification version": SemVer 2.0.0, and a version that this runtime knows."""
    version = config["ociVersion"]
    core, _, build = version.partition("+")
    core, _, prerelease = core.partition("-")
    numbers = core.split(".")
    supported = f"supported are {OLDEST} to {NEWEST}"
    if len(numbers) != 3 or not all(map(_is_number, numbers)) or not _are_identifiers(version, prerelease, build):
        raise InvalidConfig(f"ociVersion {shown(version)} is not a version; {supported}", pointer="/ociVersion")
    if numbers[0] != "1" or numbers[1] not in MINORS:
        raise InvalidConfig(f"ociVersion {shown(version)} is not supported; {supported}", pointer="/ociVersion")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text[0] != "0" or text == "0")


def _are_identifiers(version: str, prerelease: str, build: str) -> bool:
    """Return whether the parts after `-` and `+` consist of dot-separated words of letters, digits and hyphens."""
    words = []
    if "-" in version.partition("+")[0]:
        words += prerelease.split(".")
        if any(word.isdigit() and not _is_number(word) for word in words):
            return False
    if "+" in version:
        words += build.split(".")
    return all(word.isascii() and word.replace("-", "0").isalnum() for word in words)


def check_annotations(config: Config) -> None:
    """config.md "Annotations": keys MUST NOT be an empty string."""
    if "" in (config.get("annotations") or ()):
        raise InvalidConfig("the key of an annotation is empty", pointer="/annotations/")


def check_program(config: Config) -> None:
    """The process is optional, but must be valid if present."""
    process = config.get("process")
    if process is not None:
        check_process(process)


def check_hooks(config: Config) -> None:
    """config.md "POSIX-platform Hooks": path MUST be absolute."""
    for point, hooks in linux.members(config.get("hooks")):
        if point in HOOKS:
            for index, hook in enumerate(hooks or ()):
                absolute(hook["path"], f"/hooks/{point}/{index}/path")


def check_mounts(config: Config) -> None:
    """config.md "Mounts": maps come in pairs, an idmap option needs mappings, and few mounts may cover /proc."""
    for index, mount in enumerate(config.get("mounts") or ()):
        if "proc" in mount["destination"]:
            _check_proc(mount, f"/mounts/{index}/destination")
        uids, gids = mount.get("uidMappings"), mount.get("gidMappings")
        if bool(uids) != bool(gids):
            key, other = ("uidMappings", "gidMappings") if uids else ("gidMappings", "uidMappings")
            raise InvalidConfig(f"{key} without {other}", pointer=f"/mounts/{index}/{key}")
        for key, maps in (("uidMappings", uids), ("gidMappings", gids)):
            linux.check_mappings(maps or [], f"/mounts/{index}/{key}")
        bind = mount.get("type") == "bind" or not {"bind", "rbind"}.isdisjoint(words(mount.get("options")))
        place, word = _idmap_option(mount)
        if not bind and (uids or word):
            raise InvalidConfig("only bind mounts can be idmapped", pointer=f"/mounts/{index}")
        if word in ("idmap", "ridmap") and not uids and "user" not in linux.namespaces(config):
            raise InvalidConfig(
                f'"{word}" without uidMappings and gidMappings needs a user namespace',
                pointer=f"/mounts/{index}/options/{place}",
            )


def _idmap_option(mount: Mount) -> tuple[int, str]:
    """Return the index and the text of the option that asks for an idmapped mount; the text is "" without one."""
    for place, option in enumerate(mount.get("options") or ()):
        for word in words([option]):
            if word.partition("=")[0] in ("idmap", "ridmap"):
                return place, word.removesuffix("=")
    return 0, ""


def _check_proc(mount: Mount, pointer: str) -> None:
    """Allow only procfs on /proc, and only over some harmless files below it (CVE-2019-16884).

    A bind mount on /proc passes here: whether its source is procfs is checked when it is opened, and so is where
    symbolic links of the root file system lead.
    """
    destination = mount["destination"]
    path = clean(destination)
    if path == "/proc":
        new = {"bind", "rbind", "remount"}.isdisjoint(words(mount.get("options")))
        if new and mount.get("type") not in ("proc", "bind"):
            kind = shown(mount.get("type") or "")
            raise InvalidConfig(f"only procfs can be mounted on {shown(destination)}, not {kind}", pointer=pointer)
    elif path.startswith("/proc/") and path not in BELOW_PROC:
        raise InvalidConfig(f"nothing can be mounted on {shown(destination)}, below /proc", pointer=pointer)


def check_cwd(process: Process, at: str) -> None:
    """config.md "Process": cwd MUST be an absolute path."""
    absolute(process["cwd"], f"{at}/cwd")


def check_args(process: Process, at: str) -> None:
    """config.md "Process": at least one entry is REQUIRED."""
    if not process.get("args"):
        raise InvalidConfig("args is missing or empty: there is no program to run", pointer=f"{at}/args")


def check_env(process: Process, at: str) -> None:
    """Each entry is NAME=VALUE (environ(7)). Errors do not show the entry: it may be a secret."""
    for index, entry in enumerate(process.get("env") or ()):
        if entry.find("=") < 1:
            what = "has no name before the =" if entry[:1] == "=" else "has no ="
            raise InvalidConfig(f"the environment entry {what}", pointer=f"{at}/env/{index}")


def check_rlimits(process: Process, at: str) -> None:
    """config.md "POSIX process": no type twice; setrlimit(2): soft is at most hard."""
    seen = set()
    for index, limit in enumerate(process.get("rlimits") or ()):
        kind, soft, hard = limit["type"], limit["soft"], limit["hard"]
        if kind in seen:
            raise InvalidConfig(f"{kind} is listed twice", pointer=f"{at}/rlimits/{index}/type")
        if soft > hard:
            raise InvalidConfig(f"{kind}: soft {soft} is above hard {hard}", pointer=f"{at}/rlimits/{index}/soft")
        seen.add(kind)


def check_console_size(process: Process, at: str) -> None:
    """config.md "Process": the size is ignored without a terminal."""
    if process.get("terminal"):
        for key, value in linux.members(process.get("consoleSize")):
            if key in ("height", "width") and value > LARGEST_TERMINAL:
                raise InvalidConfig(f"{key} {value} is above {LARGEST_TERMINAL}", pointer=f"{at}/consoleSize/{key}")


def check_scheduler(process: Process, at: str) -> None:
    """config.md "Linux Process", sched_setattr(2): which values each policy allows."""
    scheduler = process.get("scheduler")
    if not scheduler:
        return
    policy = scheduler["policy"]
    if policy == "SCHED_ISO":
        raise InvalidConfig("no kernel has SCHED_ISO", pointer=f"{at}/scheduler/policy")
    nice = scheduler.get("nice", 0)
    if not -20 <= nice <= 19:
        raise InvalidConfig(f"nice {nice} is not in -20..19", pointer=f"{at}/scheduler/nice")
    priority = scheduler.get("priority", 0)
    if policy in ("SCHED_FIFO", "SCHED_RR"):
        if not 1 <= priority <= 99:
            raise InvalidConfig(f"priority {priority} of {policy} is not in 1..99", pointer=f"{at}/scheduler/priority")
    elif priority:
        raise InvalidConfig(
            f"priority {priority} goes with SCHED_FIFO and SCHED_RR, not with {policy}",
            pointer=f"{at}/scheduler/priority",
        )
    times = (("runtime", scheduler.get("runtime")), ("deadline", scheduler.get("deadline")))
    for key, value in (*times, ("period", scheduler.get("period"))):
        if value and policy != "SCHED_DEADLINE":
            raise InvalidConfig(
                f"{key} {value} goes with SCHED_DEADLINE, not with {policy}", pointer=f"{at}/scheduler/{key}"
            )


def check_cpu_affinity(process: Process, at: str) -> None:
    """config.md "Linux Process": execCPUAffinity holds lists of CPUs."""
    for key, cpus in linux.members(process.get("execCPUAffinity")):
        if key in ("initial", "final"):
            number_list(cpus, f"{at}/execCPUAffinity/{key}")


def relative_destinations(config: Config) -> list[str]:
    """config.md "Mounts": relative destinations are deprecated, and relative to /."""
    return [
        f"the mount destination {shown(mount['destination'])} is relative, which is deprecated; it is taken as "
        f"{clean(mount['destination'])} [config.json#/mounts/{index}/destination]"
        for index, mount in enumerate(config.get("mounts") or ())
        if mount["destination"][0] != "/"
    ]


PROCESS_CHECKS = (
    check_cwd,
    check_args,
    check_env,
    check_rlimits,
    check_console_size,
    check_scheduler,
    check_cpu_affinity,
)
"""(process, its JSON pointer) -> None."""
CHECKS = (check_version, check_annotations, check_program, check_hooks, check_mounts, *linux.CHECKS)
"""(config) -> None."""
WARNINGS = (relative_destinations,)
"""(config) -> lines to log."""
