"""The checks of /linux, in the style of checks.py. Source: config-linux.md, by section."""

from __future__ import annotations

from ..errors import InvalidConfig
from ..text import encode
from .jsontext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ._config import Config, IDMapping, Linux, Resources

SHOWN = 60
"""The number of characters of an invalid string that a message shows."""
NAME_LENGTH = 64
"""The maximum length of a host name or domain name, in bytes (sethostname(2))."""
DEVICE_NAME_LENGTH = 15
"""The maximum length of a network device's name, in bytes (netdevice(7))."""
LARGEST_NUMBER = 0xFFFF
"""Higher than the number of any CPU or memory node that a kernel can have."""
MAPPINGS = 340
"""The maximum number of lines in uid_map and gid_map (user_namespaces(7))."""
LAST_ID = 0xFFFFFFFE
"""The id after it is (uid_t)-1, which no process can have (user_namespaces(7), setresuid(2))."""
LAST_MAJOR, LAST_MINOR = 0xFFF, 0xFFFFF
"""The kernel's dev_t has 12 bits for major and 20 for minor numbers; mknod(2) cuts off higher bits."""
CLOCKS = ("monotonic", "boottime")
IPC_SYSCTLS = frozenset(
    f"kernel/{name}"
    for name in (
        *("auto_msgmni", "msg_next_id", "msgmax", "msgmnb", "msgmni", "sem", "sem_next_id"),
        *("shm_next_id", "shm_rmid_forced", "shmall", "shmmax", "shmmni"),
    )
)
WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
NOTIFY = "SCMP_ACT_NOTIFY"
HANDING_OVER = ("sendmsg", "write")
"""Calls that the agent can't decide, because they may be made before it has the listener."""
WITH_NODES = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY")
WITHOUT_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")


def shown(text: str) -> str:
    """Return a string in quotes, shortened, for a message."""
    return quote(text if len(text) <= SHOWN else text[:SHOWN] + "...")


def clean(path: str) -> str:
    """Return `path` as an absolute path below the root, without `.`, `..` or `//`. Does not look at the file system."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def absolute(path: str, pointer: str) -> None:
    """Raise InvalidConfig for a path that does not begin with a slash."""
    if path[:1] != "/":
        raise InvalidConfig(f"{shown(path)} is not an absolute path", pointer=pointer)


def number_list(text: str, pointer: str) -> None:
    """Raise InvalidConfig for anything but a list of numbers like "0-3,7"; an empty list is valid."""
    for part in text.split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (_is_number(first) and _is_number(last) and int(first) <= int(last) <= LARGEST_NUMBER):
            raise InvalidConfig(f"{shown(text)} is not a list of numbers like 0-3,7", pointer=pointer)


def _is_number(text: str) -> bool:
    return len(text) <= 6 and text.isascii() and text.isdigit()


def members(of: Mapping[str, Any] | None) -> Iterable[tuple[str, Any]]:
    """Return the names and values of all members of an object, including properties that the spec does not know."""
    return of.items() if of else ()


def section(config: Config) -> Linux:
    """Return /linux, or an empty object."""
    return config.get("linux") or {}


def namespaces(config: Config) -> dict[str, str]:
    """Return the listed namespaces: type -> path, "" for a new one."""
    return {entry["type"]: entry.get("path", "") for entry in section(config).get("namespaces") or ()}


def without_namespaces(config: Any, kinds: frozenset[str]) -> Any:
    """Return a copy of the config that does not list the namespaces of these types."""
    linux = section(config)
    entries = [entry for entry in linux.get("namespaces") or () if entry["type"] not in kinds]
    return {**config, "linux": {**linux, "namespaces": entries}}


def escaped(key: str) -> str:
    """Return a key escaped for a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def check_namespaces(config: Config) -> None:
    """Namespaces: no type twice; path MUST be absolute."""
    seen = set()
    for index, entry in enumerate(section(config).get("namespaces") or ()):
        if entry["type"] in seen:
            raise InvalidConfig(f"namespace {entry['type']} is listed twice", pointer=f"/linux/namespaces/{index}/type")
        seen.add(entry["type"])
        path = entry.get("path")
        if path:
            absolute(path, f"/linux/namespaces/{index}/path")


def check_names(config: Config) -> None:
    """config.md "Hostname", "Domainname": without a uts namespace they would change the host's."""
    for key, name in (("hostname", config.get("hostname")), ("domainname", config.get("domainname"))):
        if name:
            if "uts" not in namespaces(config):
                raise InvalidConfig(f"{key} {shown(name)} needs a uts namespace", pointer=f"/{key}")
            if len(encode(name)) > NAME_LENGTH:
                raise InvalidConfig(f"{key} {shown(name)} is longer than {NAME_LENGTH} bytes", pointer=f"/{key}")


def check_user_namespace(config: Config) -> None:
    """User namespace mappings: required for a new user namespace, forbidden without a user namespace.

    With a joined user namespace they are ignored: containerd and CRI-O write both, with the same meaning.
    """
    found, linux = namespaces(config), section(config)
    for key, maps in (("uidMappings", linux.get("uidMappings")), ("gidMappings", linux.get("gidMappings"))):
        if maps:
            if "user" not in found:
                raise InvalidConfig(f"{key} needs a user namespace", pointer=f"/linux/{key}")
            check_mappings(maps, f"/linux/{key}")
        elif found.get("user") == "":
            raise InvalidConfig(f"a new user namespace needs {key}", pointer=f"/linux/{key}")


def check_mappings(maps: list[IDMapping], pointer: str) -> None:
    """user_namespaces(7): sizes above 0, no ids beyond the last one, no overlap on either side."""
    if len(maps) > MAPPINGS:
        raise InvalidConfig(f"{len(maps)} mappings are more than {MAPPINGS}", pointer=pointer)
    sides = {"containerID": [each["containerID"] for each in maps], "hostID": [each["hostID"] for each in maps]}
    for side, starts in sides.items():
        taken = 0
        for start, index in sorted((start, index) for index, start in enumerate(starts)):
            size = maps[index]["size"]
            if size == 0:
                raise InvalidConfig("size 0 maps nothing", pointer=f"{pointer}/{index}/size")
            if start + size > LAST_ID + 1:
                raise InvalidConfig(
                    f"{side} {start} and size {size} go beyond the last id, {LAST_ID}",
                    pointer=f"{pointer}/{index}/size",
                )
            if start < taken:
                raise InvalidConfig(f"{side} {start} overlaps another mapping", pointer=f"{pointer}/{index}/{side}")
            taken = start + size


def check_time_offsets(config: Config) -> None:
    """Offset for Time Namespace: only a new one has offsets (time_namespaces(7)), for two clocks."""
    offsets = section(config).get("timeOffsets") or {}
    if offsets and namespaces(config).get("time") != "":
        raise InvalidConfig("timeOffsets needs a new time namespace", pointer="/linux/timeOffsets")
    for clock in offsets:
        if clock not in CLOCKS:
            pointer = f"/linux/timeOffsets/{escaped(clock)}"
            raise InvalidConfig(f"{shown(clock)} is not one of the clocks {', '.join(CLOCKS)}", pointer=pointer)


def sysctl_path(name: str) -> str:
    """Return the file below /proc/sys that a sysctl names; its first separator, `.` or `/`, decides (sysctl(8))."""
    slash, dot = name.find("/"), name.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    return name.translate({0x2E: "/", 0x2F: "."})


def check_sysctl(config: Config) -> None:
    """Sysctl: only those of the container's own namespaces; any other would change the host.

    An empty value is an error: write(2) of no bytes does not reach the sysctl, but would seem to succeed.
    """
    for name, value in (section(config).get("sysctl") or {}).items():
        path, pointer = sysctl_path(name), f"/linux/sysctl/{escaped(name)}"
        if "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise InvalidConfig(f"{shown(name)} is not the name of a sysctl", pointer=pointer)
        if path == "kernel/hostname":
            raise InvalidConfig(f"{shown(name)} is set by the property hostname", pointer=pointer)
        if path.startswith("net/"):
            needed = "network"
        elif path in IPC_SYSCTLS or path.startswith("fs/mqueue/"):
            needed = "ipc"
        elif path == "kernel/domainname":
            needed = "uts"
        elif path.startswith("user/"):  # belongs to the writer's user namespace: init's (namespaces(7))
            needed = "user"
        else:
            raise InvalidConfig(f"{shown(name)} belongs to no namespace and would change the host", pointer=pointer)
        if needed not in namespaces(config):
            raise InvalidConfig(
                f"{shown(name)} needs a namespace of type {needed}, or it would change the host", pointer=pointer
            )
        if not value:
            raise InvalidConfig(f"{shown(name)} has no value: writing nothing sets nothing", pointer=pointer)


def check_paths(config: Config) -> None:
    """Masked Paths, Readonly Paths: MUST be absolute; without a mount namespace they would cover the host's."""
    linux = section(config)
    for key, paths in (("maskedPaths", linux.get("maskedPaths")), ("readonlyPaths", linux.get("readonlyPaths"))):
        for index, path in enumerate(paths or ()):
            absolute(path, f"/linux/{key}/{index}")
            if clean(path) == "/":
                words = f"{key} can't cover the root itself; root.readonly makes it read-only"
                raise InvalidConfig(words, pointer=f"/linux/{key}/{index}")
        if paths and "mount" not in namespaces(config):
            raise InvalidConfig(f"{key} needs a mount namespace", pointer=f"/linux/{key}")


def check_devices(config: Config) -> None:
    """Devices: an absolute path, numbers unless it is a fifo, and no two devices with the same path."""
    seen: dict[str, tuple[Any, ...]] = {}
    for index, device in enumerate(section(config).get("devices") or ()):
        pointer = f"/linux/devices/{index}"
        path, kind = device["path"], device["type"]
        absolute(path, f"{pointer}/path")
        number: tuple[Any, ...] = ("p",)
        if kind != "p":
            major, minor = device.get("major"), device.get("minor")
            for key, value, last in (("major", major, LAST_MAJOR), ("minor", minor, LAST_MINOR)):
                if value is None:
                    raise InvalidConfig(f"device {shown(path)} has no {key} number", pointer=f"{pointer}/{key}")
                if not 0 <= value <= last:
                    raise InvalidConfig(f"{key} number {value} is not in 0..{last}", pointer=f"{pointer}/{key}")
            number = ("b" if kind == "b" else "c", major, minor)
        if seen.setdefault(path, number) != number:
            raise InvalidConfig(f"another device is at {shown(path)} already", pointer=f"{pointer}/path")


def check_net_devices(config: Config) -> None:
    """Network Devices: valid names (netdevice(7)), and a network namespace to move them to."""
    devices = section(config).get("netDevices") or {}
    if devices and "network" not in namespaces(config):
        raise InvalidConfig("netDevices needs a network namespace", pointer="/linux/netDevices")
    for name, device in devices.items():
        pointer = f"/linux/netDevices/{escaped(name)}"
        _check_device_name(name, pointer)
        wanted = device.get("name")
        if wanted:
            _check_device_name(wanted, f"{pointer}/name")


def _check_device_name(name: str, pointer: str) -> None:
    bad = not 0 < len(encode(name)) <= DEVICE_NAME_LENGTH or name in (".", "..")
    if bad or any(character in "/:\0" or character.isspace() for character in name):
        raise InvalidConfig(f"{shown(name)} is not the name of a network device", pointer=pointer)


def check_seccomp(config: Config) -> None:
    """Seccomp: an errno only with actions that take one; the rules of SCMP_ACT_NOTIFY (seccomp_unotify(2))."""
    seccomp, at = section(config).get("seccomp"), "/linux/seccomp"
    if not seccomp:
        return
    default = seccomp["defaultAction"]
    if default == NOTIFY:
        raise InvalidConfig(
            f"{NOTIFY} can't be the default: starting the program would wait for the agent, and the agent for it",
            pointer=f"{at}/defaultAction",
        )
    if "defaultErrnoRet" in seccomp and default not in WITH_ERRNO:
        raise InvalidConfig(f"{default} takes no errno", pointer=f"{at}/defaultErrnoRet")
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        raise InvalidConfig("listenerMetadata without listenerPath", pointer=f"{at}/listenerMetadata")
    for index, entry in enumerate(seccomp.get("syscalls") or ()):
        action = entry["action"]
        if "errnoRet" in entry and action not in WITH_ERRNO:
            raise InvalidConfig(f"{action} takes no errno", pointer=f"{at}/syscalls/{index}/errnoRet")
        if action == NOTIFY:
            if not seccomp.get("listenerPath"):
                raise InvalidConfig(f"{NOTIFY} needs listenerPath", pointer=f"{at}/syscalls/{index}/action")
            for call in HANDING_OVER:
                if call in entry["names"]:
                    raise InvalidConfig(
                        f"{NOTIFY} can't decide about {call}: handing over the listener would wait for the agent",
                        pointer=f"{at}/syscalls/{index}/names/{entry['names'].index(call)}",
                    )


def check_memory_policy(config: Config) -> None:
    """Memory policy, set_mempolicy(2): which modes take nodes, and which flags."""
    policy, at = section(config).get("memoryPolicy"), "/linux/memoryPolicy"
    if not policy:
        return
    mode, nodes, flags = policy["mode"], policy.get("nodes", ""), policy.get("flags") or ()
    number_list(nodes, f"{at}/nodes")
    if nodes and mode in WITHOUT_NODES:
        raise InvalidConfig(f"{mode} takes no nodes, but there is {shown(nodes)}", pointer=f"{at}/nodes")
    if not nodes and mode in WITH_NODES:
        raise InvalidConfig(f"{mode} needs nodes", pointer=f"{at}/nodes")
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        raise InvalidConfig("MPOL_F_STATIC_NODES excludes MPOL_F_RELATIVE_NODES", pointer=f"{at}/flags")
    if "MPOL_F_NUMA_BALANCING" in flags and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        raise InvalidConfig(f"MPOL_F_NUMA_BALANCING does not go with {mode}", pointer=f"{at}/flags")


def check_personality(config: Config) -> None:
    """Personality: no flag is supported."""
    personality = section(config).get("personality")
    flags = personality.get("flags") if personality else None
    if flags:
        raise InvalidConfig(
            f"the personality flag {shown(flags[0])} is not known", pointer="/linux/personality/flags/0"
        )


def check_intel_rdt(config: Config) -> None:
    """IntelRdt: closID is the name of one directory, or "/" for the root; an entry of schemata is one line."""
    rdt = section(config).get("intelRdt")
    if not rdt:
        return
    clos = rdt.get("closID", "")
    if clos in (".", "..") or ("/" in clos and clos != "/"):
        raise InvalidConfig(f'{shown(clos)} is not the name of a class, nor "/"', pointer="/linux/intelRdt/closID")
    lines = [("l3CacheSchema", rdt.get("l3CacheSchema", ""))]
    lines += [(f"schemata/{index}", line) for index, line in enumerate(rdt.get("schemata") or ())]
    for where, line in lines:
        if "\n" in line:
            raise InvalidConfig(f"{shown(line)} is more than one line", pointer=f"/linux/intelRdt/{where}")


def check_limits(config: Config) -> None:
    """Control groups: the resources of the config."""
    resources = section(config).get("resources")
    if resources:
        check_resources(resources)


def check_resources(resources: Resources, at: str = "/linux/resources") -> None:
    """The same for a document of `update --resources`; `at` is its own JSON pointer. Raises InvalidConfig."""
    for index, weights in enumerate((resources.get("blockIO") or {}).get("weightDevice") or ()):
        if "weight" not in weights and "leafWeight" not in weights:
            raise InvalidConfig("neither weight nor leafWeight", pointer=f"{at}/blockIO/weightDevice/{index}")
    for index, device in enumerate(resources.get("devices") or ()):
        if device.get("access") == "":
            raise InvalidConfig("access is empty: use r, w or m", pointer=f"{at}/devices/{index}/access")
    for name, limits in (resources.get("rdma") or {}).items():
        if not name or any(character == "\0" or character.isspace() for character in name):
            raise InvalidConfig(f"{shown(name)} is not the name of a device", pointer=f"{at}/rdma/{escaped(name)}")
        if "hcaHandles" not in limits and "hcaObjects" not in limits:
            raise InvalidConfig("neither hcaHandles nor hcaObjects", pointer=f"{at}/rdma/{escaped(name)}")
    cpu = resources.get("cpu") or {}
    quota, burst = cpu.get("quota", 0), cpu.get("burst", 0)
    if 0 < quota < burst:
        raise InvalidConfig(f"burst {burst} is above quota {quota}", pointer=f"{at}/cpu/burst")
    for name in resources.get("unified") or ():
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InvalidConfig(f"{shown(name)} is not a file of a cgroup", pointer=f"{at}/unified/{escaped(name)}")
        if name.startswith("cgroup."):
            raise InvalidConfig(
                f"{shown(name)} is a core file of the cgroup, not the limit of a controller",
                pointer=f"{at}/unified/{escaped(name)}",
            )


CHECKS: tuple[Callable[[Config], None], ...] = (
    check_namespaces,
    check_names,
    check_user_namespace,
    check_time_offsets,
    check_sysctl,
    check_paths,
    check_devices,
    check_net_devices,
    check_limits,
    check_seccomp,
    check_memory_policy,
    check_personality,
    check_intel_rdt,
)
