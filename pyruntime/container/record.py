"""The record of a container: a JSON object that is read whole and sound, or refused with one clear error."""

from __future__ import annotations

import posix

from ..errors import Failure, os_error_text
from ..spec.jsontext import loads
from ..text import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

NEEDED = {
    "id": str,
    "ociVersion": str,
    "bundle": str,
    "rootfs": str,
    "created": str,
    "boot_id": str,
    "cgroup": str,
    "cgroup_mount": str,
    "cgroup_made": list,
    "mounts": list,
    "annotations": dict,
    "has_process": bool,
    "later_hooks": list,
}
"""What every record holds, and of which type; `pid` and `start_time` come with the first process."""
NUMBERS = ("pid", "start_time", "owner_uid", "cgroup_id", "oom_kills")
PATHS = ("bundle", "rootfs", "cgroup", "cgroup_mount")


def read_record(dirfd: int, name: str, path: str, container_id: str) -> Record:
    """Return the record in a file of the state directory; raise Failure for one that can't be relied on."""
    what = f'the state record of container "{container_id}", {path},'
    try:
        data = read_file(dirfd, name)
    except OSError as error:
        raise Failure(f"{what} can't be read: {os_error_text(error)}") from None
    record = loads(data, what, raw_bytes=True)
    if not isinstance(record, dict):
        raise Failure(f"{what} is not an object")
    for key, kind in NEEDED.items():
        if not isinstance(record.get(key), kind):
            raise Failure(f"{what} has no sound {key!r}")
    wrong = find_wrong(record)
    if wrong:
        raise Failure(f"{what} has no sound {wrong!r}")
    if record["id"] != container_id:
        raise Failure(f'{what} is that of another container, "{record["id"]}"')
    return record


def find_wrong(record: Record) -> str:
    """Return the key of a value that no command has written, "" when there is none: delete relies on all of them."""
    for key in NUMBERS:
        if key in record and type(record[key]) is not int:
            return key
    for key in PATHS:
        if "\0" in record[key] or record[key][:1] != "/":
            return key
    for key in ("cgroup", "cgroup_mount"):
        if ".." in record[key].split("/"):
            return key
    for path in record["cgroup_made"]:
        if type(path) is not str or "\0" in path or path[:1] != "/" or ".." in path.split("/"):
            return "cgroup_made"
    for mount in record["mounts"]:
        if type(mount) is not list or [type(each) for each in mount] != [str, int] or "\0" in mount[0]:
            return "mounts"
    if not all(type(value) is str for value in record["annotations"].values()):
        return "annotations"
    if not all(type(kind) is str for kind in record["later_hooks"]):
        return "later_hooks"
    keyring = record.get("keyring", "")
    if type(keyring) is not str or "\0" in keyring:
        return "keyring"
    if "systemd_unit" in record and (type(record["systemd_unit"]), type(record.get("systemd_user"))) != (str, bool):
        return "systemd_unit"
    return ""


def read_file(dirfd: int, name: str) -> bytes:
    """Return a whole file of a directory."""
    fd = posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW, dir_fd=dirfd)
    try:
        data = posix.read(fd, posix.fstat(fd).st_size + 1)
        while part := posix.read(fd, 1 << 20):
            data += part
        return data
    finally:
        posix.close(fd)


def write_file(dirfd: int, name: str, data: bytes, *, sync: bool = True) -> None:
    """Replace a file of a directory at once: readers see the old content or the new one, also after a crash (sync)."""
    temporary = f"{name}.tmp"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
    fd = posix.open(temporary, flags, 0o600, dir_fd=dirfd)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[posix.write(fd, view) :]
            if sync:
                posix.fsync(fd)
        finally:
            posix.close(fd)
        posix.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
    except OSError:
        posix.unlink(temporary, dir_fd=dirfd)
        raise


def rfc3339() -> str:
    """Return the current time in RFC 3339 with nanoseconds, UTC."""
    import time

    ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09}Z"


def boot_id() -> str:
    """Return what identifies this boot of the machine: pids of an earlier one mean nothing."""
    fd = posix.open("/proc/sys/kernel/random/boot_id", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return decode(posix.read(fd, 64)).strip()
    finally:
        posix.close(fd)
