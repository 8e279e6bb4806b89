"""Checks about namespaces and what is only possible inside one."""

from __future__ import annotations

from ..errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IPC_SYSCTLS = tuple(
    f"kernel.{name}"
    for name in (
        *("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"),
        *("msg_next_id", "sem_next_id", "shm_next_id", "auto_msgmni"),
    )
)


def linux_of(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("linux") or {}


def listed(config: dict[str, Any]) -> dict[str, str]:
    """Return the listed namespaces: type -> path, "" for new ones."""
    return {entry["type"]: entry.get("path") or "" for entry in linux_of(config).get("namespaces") or ()}


def check_namespaces(config: dict[str, Any]) -> None:
    """Each type once; paths absolute."""
    seen = set()
    for index, entry in enumerate(linux_of(config).get("namespaces") or ()):
        pointer = f"/linux/namespaces/{index}"
        if entry["type"] in seen:
            raise InvalidConfig(f"namespace {entry['type']} is there twice", pointer=f"{pointer}/type")
        seen.add(entry["type"])
        if entry.get("path") and not entry["path"].startswith("/"):
            raise InvalidConfig(f"{entry['path']!r} is not an absolute path", pointer=f"{pointer}/path")


def check_hostname(config: dict[str, Any]) -> None:
    """A name is set only in a uts namespace that is not the host's."""
    for key in ("hostname", "domainname"):
        if config.get(key):
            if "uts" not in listed(config):
                raise InvalidConfig(f"{key} needs a uts namespace", pointer=f"/{key}")
            if len(config[key].encode()) > 64:
                raise InvalidConfig(f"{key} is longer than 64 bytes", pointer=f"/{key}")


def check_id_mappings(config: dict[str, Any]) -> None:
    """A new user namespace has maps, and only a new one."""
    linux = linux_of(config)
    namespaces = listed(config)
    new = namespaces.get("user") == ""
    for key in ("uidMappings", "gidMappings"):
        maps = linux.get(key) or ()
        if maps and "user" not in namespaces:
            raise InvalidConfig(f"{key} needs a user namespace", pointer=f"/linux/{key}")
        if maps and not new:
            raise InvalidConfig(f"{key} can't be given to a user namespace that is joined", pointer=f"/linux/{key}")
        if new and not maps:
            raise InvalidConfig(f"a new user namespace needs {key}", pointer=f"/linux/{key}")
        check_overlap(maps, key)


def check_overlap(maps: Any, key: str) -> None:
    for side in ("containerID", "hostID"):
        ranges = sorted((m[side], m["size"], index) for index, m in enumerate(maps))
        end = -1
        for start, size, index in ranges:
            pointer = f"/linux/{key}/{index}"
            if size == 0:
                raise InvalidConfig("size is 0", pointer=f"{pointer}/size")
            if start + size > 1 << 32:
                raise InvalidConfig(f"{side} {start} and size {size} leave 32 bits", pointer=pointer)
            if start < end:
                raise InvalidConfig(f"{side} {start} overlaps another mapping", pointer=f"{pointer}/{side}")
            end = start + size


def check_time_offsets(config: dict[str, Any]) -> None:
    if linux_of(config).get("timeOffsets") and listed(config).get("time") != "":
        raise InvalidConfig("timeOffsets need a new time namespace", pointer="/linux/timeOffsets")
    for clock, offset in (linux_of(config).get("timeOffsets") or {}).items():
        if (offset or {}).get("nanosecs", 0) > 999999999:
            raise InvalidConfig("nanosecs is above 999999999", pointer=f"/linux/timeOffsets/{clock}/nanosecs")


def check_sysctl(config: dict[str, Any]) -> None:
    """Only sysctls of the container's own namespaces: others would change the host."""
    namespaces = listed(config)
    for name in linux_of(config).get("sysctl") or {}:
        pointer = "/linux/sysctl/" + name.replace("~", "~0").replace("/", "~1")
        dotted = (
            name if "." in name and ("/" not in name or name.find(".") < name.find("/")) else name.replace("/", ".")
        )
        if ".." in name.split("/") or not dotted:
            raise InvalidConfig(f"{name!r} is not the name of a sysctl", pointer=pointer)
        if dotted == "kernel.hostname":
            raise InvalidConfig("kernel.hostname is set by the property hostname", pointer=pointer)
        if dotted == "kernel.domainname":
            needed = "uts"
        elif dotted in IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
            needed = "ipc"
        elif dotted.startswith("net."):
            needed = "network"
        else:
            raise InvalidConfig(f"{name} does not belong to a namespace; it would change the host", pointer=pointer)
        if needed not in namespaces:
            raise InvalidConfig(f"{name} needs a namespace of type {needed}; it would change the host", pointer=pointer)


def check_paths(config: dict[str, Any]) -> None:
    """Masked and read-only paths are absolute, and masks need a mount namespace: they would cover the host's files."""
    for key in ("maskedPaths", "readonlyPaths"):
        for index, path in enumerate(linux_of(config).get(key) or ()):
            if not path.startswith("/"):
                raise InvalidConfig(f"{path!r} is not an absolute path", pointer=f"/linux/{key}/{index}")
