"""The record of a container: a JSON object that is complete and valid, or refused with one clear error."""

from __future__ import annotations

import posix

from .. import files, observer
from ..errors import Failure
from ..spec.jsontext import loads
from ..text import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict

    class Record(TypedDict, total=False):
        """A state record: all of NEEDED if it is valid; if it is damaged, nothing or what was reconstructed.

        mounts: pairs of a path and the id of the mount that was there before. note: the mark on the container's cgroup;
        the value in the file is not trusted. oom_kills: the cgroup's count before the container was in it.
        systemd_user: whether a user's systemd owns the scope. later_hooks: kinds of hooks that start and delete run.
        """

        id: str
        ociVersion: str
        bundle: str
        rootfs: str
        annotations: dict[str, str]
        status: str
        created: str
        boot_id: str
        owner_uid: int
        pid: int
        start_time: int
        cgroup: str
        cgroup_mount: str
        cgroup_made: list[str]
        cgroup_id: int
        note: str
        oom_kills: int
        systemd_unit: str
        systemd_user: bool
        keyring: str
        mounts: list[list[Any]]
        own_pid_namespace: bool
        shared_namespaces: list[str]
        has_process: bool
        later_hooks: list[str]


def is_cgroup_path(path: object) -> bool:
    """Whether it is the path of a cgroup below a mount's root: one or more plain names, and no `..`."""
    return _is_path(path) and {"", ".", ".."}.isdisjoint(str(path)[1:].split("/"))


def _is_path(path: object) -> bool:
    """Whether it is an absolute path that can be passed to a system call."""
    return isinstance(path, str) and path[:1] == "/" and "\0" not in path


def _is_directory(path: object) -> bool:
    """Whether it is an absolute path other than the root, without `.` and `..`."""
    return isinstance(path, str) and path[:1] == "/" and is_cgroup_path("/" + path.strip("/"))


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 0


def _are_mounts(value: object) -> bool:
    """Whether it is a list of paths, each with the id of the mount that was there before."""
    return isinstance(value, list) and all(
        isinstance(each, list) and len(each) == 2 and _is_directory(each[0]) and _is_number(each[1]) for each in value
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return type(value) is int


def _is_name(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _are_annotations(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


NEEDED: dict[str, Callable[[object], bool]] = {
    "id": _is_text,
    "ociVersion": _is_text,
    "bundle": _is_path,
    "rootfs": _is_path,
    "created": _is_text,
    "boot_id": _is_text,
    "cgroup": is_cgroup_path,
    "cgroup_mount": _is_directory,
    "cgroup_made": lambda value: isinstance(value, list) and all(map(is_cgroup_path, value)),
    "mounts": _are_mounts,
    "annotations": _are_annotations,
    "has_process": _is_flag,
    "later_hooks": _are_texts,
}
"""The keys of every record, and the check of each value; `pid` and `start_time` are added with the first process."""
OPTIONAL: dict[str, Callable[[object], bool]] = {
    "pid": _is_integer,
    "start_time": _is_integer,
    "owner_uid": _is_integer,
    "oom_kills": _is_integer,
    "cgroup_id": _is_number,
    "keyring": _is_name,
    "note": _is_name,
    "systemd_unit": lambda value: isinstance(value, str) and value.endswith(".scope") and "/" not in value,
    "systemd_user": _is_flag,
    "shared_namespaces": _are_texts,
}
"""The keys that a record may have besides. Whether the pid is still init is decided by its start time."""


def read_record(dirfd: int, name: str, path: str, container_id: str) -> Record:
    """Return the record in a file of the state directory; raise Failure when it is not valid."""
    what = f'the state record of container "{container_id}", {path},'
    try:
        data = read_file(dirfd, name)
    except OSError as error:
        raise Failure(f"{what} can't be read", error) from None
    record: Record = loads(data, what, raw_bytes=True)
    if not isinstance(record, dict):
        raise Failure(f"{what} is not an object")
    for key, is_sound in NEEDED.items():
        if not is_sound(record.get(key)):
            raise Failure(f"{what} has no valid {key!r}")
    for key, is_sound in OPTIONAL.items():
        if key in record and not is_sound(record.get(key)):
            raise Failure(f"{what} has no valid {key!r}")
    for path in record["cgroup_made"]:
        if not f"{record['cgroup']}/".startswith(f"{path}/"):
            raise Failure(f"{what} has no valid 'cgroup_made'")
    unit = record.get("systemd_unit")
    if unit is not None and (record["cgroup"].rpartition("/")[2] != unit or "systemd_user" not in record):
        raise Failure(f"{what} has no valid 'systemd_unit'")
    if record["id"] != container_id:
        raise Failure(f'{what} is that of another container, "{record["id"]}"')
    return record


def read_file(dirfd: int, name: str) -> bytes:
    """Return the whole content of a file in a directory."""
    return files.read_whole(name, dir_fd=dirfd, flags=files.READ | posix.O_NOFOLLOW, chunk=1 << 20)


@observer.phase
def write_file(dirfd: int, name: str, data: bytes, *, sync: bool = True) -> None:
    """Replace a file atomically: readers see the old content or the new, and with sync so they do after a crash."""
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
    """Return the identity of this boot of the machine; pids recorded in an earlier one mean nothing."""
    return decode(files.read_head("/proc/sys/kernel/random/boot_id", 64)).strip()
