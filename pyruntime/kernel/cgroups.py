"""What create does to a container's cgroup that is more than one write: making it, its controllers, type and owner.

Source: the kernel's cgroup-v2.rst; cgroups(7).
"""

from __future__ import annotations

import errno
import posix

from ..errors import Failure
from ..text import decode
from . import _linux
from .procfs import named, write_file
from .procfs import write_at as write_any_at

RACES = 16
"""How often a cgroup is tried to be made while others remove its parents."""
PARENT_NOTE = "trusted.pyruntime.parent"
"""The extended attribute of a cgroup that a create made on the way to a container's."""
UNNOTED = (errno.EOPNOTSUPP, errno.EPERM, errno.ENOENT)
"""The kernel takes no note, the caller is not the host's root, or the cgroup has been removed again."""
DELEGATE = "/sys/kernel/cgroup/delegate"
DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
"""What an owner gets where the kernel has no list (config-linux.md "Cgroup ownership")."""
WHY = {
    errno.EBUSY: "it has processes of its own, and only a cgroup without any can share out controllers; "
    "move them to a child cgroup",
    errno.EOPNOTSUPP: "it is in a threaded subtree",
    errno.ENOENT: "the cgroup above does not pass it on",
}
"""What errno means when a controller is enabled for the children of a cgroup."""
IN_THE_WAY = (errno.EBUSY, errno.EOPNOTSUPP)


def make_cgroup(path: str) -> None:
    """Make a container's own cgroup. Parents that a delete has just removed because they were empty are made again.

    Raises Failure when somebody else was faster, or when the kernel has a file of that name.
    """
    for _ in range(RACES):
        try:
            _linux.mkdir(path, 0o755)
            return
        except FileExistsError:
            what = "was made by somebody else at this moment" if is_directory(path) else "is a file of the kernel's"
            raise Failure(f"cgroup {path} {what}", hint="choose another cgroupsPath") from None
        except FileNotFoundError:
            make_cgroup_parents(path)
    _linux.mkdir(path, 0o755)


def is_directory(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return True  # gone again


def make_cgroup_parents(path: str) -> None:
    """Make the directories on the way to a cgroup; the cgroup2 mount above them exists."""
    parent = path.rpartition("/")[0]
    try:
        make_parent_cgroup(parent)
    except FileNotFoundError:
        if parent.count("/") > 1:
            make_cgroup_parents(parent)


def make_parent_cgroup(path: str) -> None:
    """Make a cgroup on the way to a container's, with a note of that; one that is there stays as it is.

    Which container will be the last in it is not known: so it is no container's, and the last one takes it away.
    """
    try:
        _linux.mkdir(path, 0o755)
    except FileExistsError:
        return
    try:
        posix.setxattr(path, PARENT_NOTE, b"1")
    except OSError as error:
        if error.errno not in UNNOTED:
            raise named(error, f'setxattr("{path}", "{PARENT_NOTE}", "1")') from None


def move_below(cgroup: int, path: str, pid: int) -> int:
    """Make a cgroup below an open one, move a process there, and return a descriptor of it.

    path: names with slashes between them. The file system of cgroups has no links that could lead out.
    """
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    directory = posix.dup(cgroup)
    for name in path.split("/"):
        try:
            try:
                posix.mkdir(name, 0o755, dir_fd=directory)
            except FileExistsError:
                pass
            below = posix.open(name, flags, dir_fd=directory)
        except OSError as error:
            raise named(error, f'mkdirat("{path}", "{name}")') from None
        finally:
            posix.close(directory)
        directory = below
    try:
        write_any_at(directory, "cgroup.procs", str(pid))
    except BaseException:
        posix.close(directory)
        raise
    return directory


def check_cgroup_free(cgroup: int, path: str) -> None:
    """Raise Failure when the cgroup has processes or is frozen: a container starts in a cgroup of its own."""
    events = dict(line.split() for line in read_at(cgroup, "cgroup.events").splitlines())
    if events.get("populated") == "1":
        raise Failure(f"cgroup {path} already has processes")
    if events.get("frozen") == "1":
        raise Failure(f"cgroup {path} is frozen")


def enable_controllers(directory: str, controllers: str, needed: str) -> None:
    """Let the children of a cgroup have controllers (names with blanks between them).

    All are wanted, so that there are statistics and limits can come later; only one that is needed is an error when it
    can't be had. Raises OSError with the kernel's reason in words.
    """
    path = f"{directory}/cgroup.subtree_control"
    names = controllers.split()
    try:
        write_file(path, " ".join(f"+{name}" for name in names))
        return
    except OSError as error:
        if error.errno in IN_THE_WAY:
            # What is left to try makes a threaded subtree of it: nothing to be done unasked.
            names = needed.split()
    for name in names:
        try:
            write_file(path, f"+{name}")
        except OSError as error:
            if name in needed.split():
                error.kernel_message = WHY.get(error.errno or 0)  # type: ignore[attr-defined]
                raise


def settle_cgroup_type(cgroup: int, path: str, domain: str) -> None:
    """Make a new cgroup one that can hold processes: below a threaded one it has to be threaded as well.

    domain: controllers that are needed and that a threaded cgroup can't have; then it is an error. Raises Failure.
    """
    kind = read_at(cgroup, "cgroup.type").strip()
    if kind in ("domain", "domain threaded"):
        return
    if domain:
        raise Failure(f"cgroup {path} can't have the controller {domain}: it is in a threaded subtree ({kind})")
    if kind == "domain invalid":
        write_any_at(cgroup, "cgroup.type", "threaded")


def write_at(cgroup: int, name: str, text: str) -> None:
    """Write a limit to a file of the cgroup that a controller has there.

    Raises Failure for any other name: no limit moves processes, kills or changes the tree (`cgroup.*`), and none is
    outside of the container's own cgroup.
    """
    if "/" in name or name in ("", ".", "..") or name.startswith("cgroup."):
        raise Failure(f'"{name}" is not a file for a limit of a cgroup')
    write_any_at(cgroup, name, text)


def write_first_at(cgroup: int, name: str, text: str, otherwise: str, other_text: str) -> None:
    """Write the first of two files of the cgroup that exists."""
    try:
        write_at(cgroup, name, text)
    except FileNotFoundError:
        write_at(cgroup, otherwise, other_text)


def chown_cgroup(cgroup: int, uid: int) -> None:
    """Give the cgroup, and those of its files that the kernel lists for it, to a user: delegation, cgroups(7)."""
    try:
        fd = posix.open(DELEGATE, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            names: tuple[str, ...] = tuple(decode(posix.read(fd, 65536)).split())
        finally:
            posix.close(fd)
    except OSError:
        names = DELEGATED
    posix.fchown(cgroup, uid, -1)
    for name in names:
        try:
            _linux.fchownat(cgroup, name, uid, -1, 0)
        except FileNotFoundError:
            continue


def read_at(cgroup: int, name: str) -> str:
    """Return a small file of the cgroup."""
    try:
        fd = posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=cgroup)
    except OSError as error:
        raise named(error, f'openat("{name}", O_RDONLY)') from None
    try:
        return decode(posix.read(fd, 65536))
    finally:
        posix.close(fd)
