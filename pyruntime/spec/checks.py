"""What the spec demands beyond types: a visible list of small checks, each pure and about one subject.

A check raises InvalidConfig with the pointer. Source: runtime-spec config.md and config-linux.md.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from .namespaces import (
    check_hostname,
    check_id_mappings,
    check_namespaces,
    check_paths,
    check_sysctl,
    check_time_offsets,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUPPORTED = "1.0.0 to 1.3.0"
NEWEST_MINOR = 3
HOOK_POINTS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
BELOW_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev"),
        *("sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
    )
)
"""What may be mounted over below /proc: files that lxcfs and engines fake, and nothing that decides over security."""


def check(config: dict[str, Any]) -> list[str]:
    """Run all checks; return warnings."""
    for one in CHECKS:
        one(config)
    return []


def check_version(config: dict[str, Any]) -> None:
    """ociVersion is semver, and of the major version that this runtime knows."""
    version = config["ociVersion"]
    core = version.split("+", 1)[0].split("-", 1)[0].split(".")
    if len(core) != 3 or not all(part.isascii() and part.isdecimal() for part in core):
        raise InvalidConfig(f"{version!r} is not a version; supported are {SUPPORTED}", pointer="/ociVersion")
    if core[0] != "1" or int(core[1]) > NEWEST_MINOR:
        raise InvalidConfig(f"version {version!r} is not supported; supported are {SUPPORTED}", pointer="/ociVersion")


def check_root(config: dict[str, Any]) -> None:
    if not config["root"]["path"]:
        raise InvalidConfig("the root's path is empty", pointer="/root/path")


def check_program(config: dict[str, Any]) -> None:
    if config.get("process"):
        check_process(config["process"], "/process")


def check_process(process: dict[str, Any], pointer: str) -> None:
    """The process of a config, or of `exec --process`."""
    pointer = pointer or "/process"
    if not process.get("args"):
        raise InvalidConfig("args is missing or empty", pointer=f"{pointer}/args")
    if not process["args"][0]:
        raise InvalidConfig("the program's name is empty", pointer=f"{pointer}/args/0")
    if not process["cwd"].startswith("/"):
        raise InvalidConfig(f"cwd {process['cwd']!r} is not an absolute path", pointer=f"{pointer}/cwd")
    for index, entry in enumerate(process.get("env") or ()):
        if "=" not in entry or entry[0] == "=" or "\0" in entry:
            raise InvalidConfig(f"{entry[:40]!r} is not NAME=VALUE", pointer=f"{pointer}/env/{index}")
    for index, argument in enumerate(process["args"]):
        if "\0" in argument:
            raise InvalidConfig("an argument contains a null character", pointer=f"{pointer}/args/{index}")
    check_rlimits(process, pointer)
    check_scheduler(process, pointer)
    user = process.get("user") or {}
    for key in ("uid", "gid"):
        if user.get(key) == 0xFFFFFFFF:
            raise InvalidConfig(f"{key} 4294967295 means no id (-1)", pointer=f"{pointer}/user/{key}")
    if process.get("consoleSize") and process.get("terminal"):
        for key, value in process["consoleSize"].items():
            if key in ("height", "width") and value > 65535:
                raise InvalidConfig(f"{key} {value} is larger than 65535", pointer=f"{pointer}/consoleSize/{key}")


def check_rlimits(process: dict[str, Any], pointer: str) -> None:
    seen = set()
    for index, limit in enumerate(process.get("rlimits") or ()):
        if limit["type"] in seen:
            raise InvalidConfig(f"{limit['type']} is there twice", pointer=f"{pointer}/rlimits/{index}/type")
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            raise InvalidConfig(
                f"{limit['type']}: soft {limit['soft']} is above hard {limit['hard']}",
                pointer=f"{pointer}/rlimits/{index}/soft",
            )


def check_scheduler(process: dict[str, Any], pointer: str) -> None:
    priority = (process.get("ioPriority") or {}).get("priority")
    if priority is not None and not 0 <= priority <= 7:
        raise InvalidConfig(f"priority {priority} is not in 0..7", pointer=f"{pointer}/ioPriority/priority")
    scheduler = process.get("scheduler") or {}
    nice = scheduler.get("nice") or 0
    if not -20 <= nice <= 19:
        raise InvalidConfig(f"nice {nice} is not in -20..19", pointer=f"{pointer}/scheduler/nice")
    if scheduler.get("priority") and scheduler["policy"] not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidConfig(
            f"priority is for SCHED_FIFO and SCHED_RR, not {scheduler['policy']}",
            pointer=f"{pointer}/scheduler/priority",
        )
    if scheduler.get("policy") != "SCHED_DEADLINE":
        for key in ("runtime", "deadline", "period"):
            if scheduler.get(key):
                raise InvalidConfig(f"{key} is for SCHED_DEADLINE only", pointer=f"{pointer}/scheduler/{key}")


def check_mounts(config: dict[str, Any]) -> None:
    """Destinations stay in the root; nothing unexpected covers /proc (CVE-2019-16884); maps come in pairs."""
    for index, mount in enumerate(config.get("mounts") or ()):
        pointer = f"/mounts/{index}"
        if not mount["destination"]:
            raise InvalidConfig("the destination is empty", pointer=f"{pointer}/destination")
        path = clean(mount["destination"])
        bind = mount.get("type") == "bind" or any(o in ("bind", "rbind") for o in mount.get("options") or ())
        if path == "/proc" and not bind and mount.get("type") != "proc":
            raise InvalidConfig(f"only procfs may be mounted on {path}", pointer=f"{pointer}/destination")
        if path.startswith("/proc/") and path not in BELOW_PROC:
            raise InvalidConfig(f"nothing may be mounted on {path}", pointer=f"{pointer}/destination")
        if bool(mount.get("uidMappings")) != bool(mount.get("gidMappings")):
            raise InvalidConfig("uidMappings and gidMappings go together", pointer=pointer)


def clean(path: str) -> str:
    """Return the path below the root, without `.`, `..` and doubled slashes, as a string."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def check_devices(config: dict[str, Any]) -> None:
    """Nodes have numbers and a place of their own."""
    seen = set()
    for index, device in enumerate((config.get("linux") or {}).get("devices") or ()):
        pointer = f"/linux/devices/{index}"
        path = device["path"]
        if not path.startswith("/") or clean(path) == "/":
            raise InvalidConfig(f"{path!r} is not an absolute path of a device", pointer=f"{pointer}/path")
        if clean(path) in seen:
            raise InvalidConfig(f"{path} is there twice", pointer=f"{pointer}/path")
        seen.add(clean(path))
        if device["type"] != "p":
            for key in ("major", "minor"):
                if not 0 <= (device.get(key) or 0) <= 0xFFFFF:
                    raise InvalidConfig(f"{key} {device[key]} is no device number", pointer=f"{pointer}/{key}")
    for index, rule in enumerate(((config.get("linux") or {}).get("resources") or {}).get("devices") or ()):
        pointer = f"/linux/resources/devices/{index}"
        if rule.get("type") not in (None, "", "a", "b", "c"):
            raise InvalidConfig(f"type {rule['type']!r} is none of a, b, c", pointer=f"{pointer}/type")
        if set(rule.get("access") or "") - set("rwm"):
            raise InvalidConfig(f"access {rule['access']!r} is not made of r, w, m", pointer=f"{pointer}/access")


def check_hooks(config: dict[str, Any]) -> None:
    """Hooks are absolute paths with a positive timeout."""
    for point in HOOK_POINTS:
        for index, hook in enumerate((config.get("hooks") or {}).get(point) or ()):
            pointer = f"/hooks/{point}/{index}"
            if not hook["path"].startswith("/"):
                raise InvalidConfig(f"hook {hook['path']!r} is not an absolute path", pointer=f"{pointer}/path")


def check_seccomp(config: dict[str, Any]) -> None:
    """NOTIFY can't be the answer to everything: execve itself would wait for its agent."""
    seccomp = (config.get("linux") or {}).get("seccomp") or {}
    if seccomp.get("defaultAction") == "SCMP_ACT_NOTIFY":
        raise InvalidConfig("SCMP_ACT_NOTIFY can't be the default", pointer="/linux/seccomp/defaultAction")
    for index, entry in enumerate(seccomp.get("syscalls") or ()):
        pointer = f"/linux/seccomp/syscalls/{index}"
        if entry.get("errnoRet") and entry["action"] not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
            raise InvalidConfig(f"{entry['action']} takes no errnoRet", pointer=f"{pointer}/errnoRet")
        if entry["action"] == "SCMP_ACT_NOTIFY" and "sendmsg" in entry["names"]:
            raise InvalidConfig("sendmsg can't be notified: it carries the listener", pointer=f"{pointer}/names")


def check_personality(config: dict[str, Any]) -> None:
    if ((config.get("linux") or {}).get("personality") or {}).get("flags"):
        raise InvalidConfig("no personality flags are defined yet", pointer="/linux/personality/flags")


CHECKS = (
    check_version,
    check_root,
    check_program,
    check_namespaces,
    check_hostname,
    check_id_mappings,
    check_time_offsets,
    check_sysctl,
    check_paths,
    check_mounts,
    check_devices,
    check_hooks,
    check_seccomp,
    check_personality,
)
