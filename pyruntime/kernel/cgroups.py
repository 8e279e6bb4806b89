"""Operations on a container's cgroup that take more than one write: making it, its controllers, type and owner.

Source: the kernel's cgroup-v2.rst; cgroups(7).
"""

from __future__ import annotations

import errno
import posix

from .. import files
from ..errors import Failure
from ..text import decode
from . import _linux
from .procfs import named, write_file
from .procfs import write_at as write_any_at

RACES = 16
"""How often to try making a cgroup while other processes remove its parents."""
PARENT_NOTE = "trusted.pyruntime.parent"
"""The extended attribute that marks a cgroup made as a parent of a container's."""
UNNOTED = (errno.EOPNOTSUPP, errno.EPERM, errno.ENOENT)
"""No attribute could be set: the kernel has none, the caller is not the host's root, or the cgroup is gone again."""
DELEGATE = "/sys/kernel/cgroup/delegate"
DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
"""The files that an owner gets where the kernel has no list (config-linux.md "Cgroup ownership")."""
WHY = {
    errno.EBUSY: "it has processes of its own, and only a cgroup without processes can pass controllers on; "
    "move them to a child cgroup",
    errno.EOPNOTSUPP: "it is in a threaded subtree",
    errno.ENOENT: "the parent cgroup does not pass it on",
}
"""What an errno means when enabling a controller for the children of a cgroup fails."""
IN_THE_WAY = (errno.EBUSY, errno.EOPNOTSUPP)


def make_cgroup(path: str) -> None:
    """Make a container's own cgroup; make parents again that a delete has just removed because they were empty.

    Raises Failure when another process made it first, or when the kernel has a file of that name.
    """
    for _ in range(RACES):
        try:
            _linux.mkdir(path, 0o755)
            return
        except FileExistsError:
            what = "was made by another process at the same time" if is_directory(path) else "is a file of the kernel"
            raise Failure(f"cgroup {path} {what}", hint="choose another cgroupsPath") from None
        except FileNotFoundError:
            make_cgroup_parents(path)
    _linux.mkdir(path, 0o755)


def is_directory(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return True  # already removed again


def make_cgroup_parents(path: str) -> None:
    """Make the parents of a cgroup, below the existing cgroup2 mount."""
    parent = path.rpartition("/")[0]
    try:
        make_parent_cgroup(parent)
    except FileNotFoundError:
        if parent.count("/") > 1:
            make_cgroup_parents(parent)


def make_parent_cgroup(path: str) -> None:
    """Make a parent of a container's cgroup and mark it as made here; leave an existing one as it is.

    It belongs to no container, because nobody knows which will be the last one in it; the last one removes it.
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
    """Make a cgroup below an open one, move a process into it, and return a descriptor of it.

    path: names separated by slashes. The cgroup file system has no links that could lead out.
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
    """Raise Failure when the cgroup has processes or is frozen: a container starts in its own cgroup."""
    events = dict(line.split() for line in read_at(cgroup, "cgroup.events").splitlines())
    if events.get("populated") == "1":
        raise Failure(f"cgroup {path} already has processes")
    if events.get("frozen") == "1":
        raise Failure(f"cgroup {path} is frozen")


def enable_controllers(directory: str, controllers: str, needed: str) -> None:
    """Enable controllers (names separated by spaces) for the children of a cgroup.

    Enable all that can be, so that there are statistics and limits can be set later. Raises OSError, with the reason as
    text, only for a controller in `needed`.
    """
    path = f"{directory}/cgroup.subtree_control"
    names = controllers.split()
    try:
        write_file(path, " ".join(f"+{name}" for name in names))
        return
    except OSError as error:
        if error.errno in IN_THE_WAY:
            # Enabling others would turn it into a threaded subtree, which nobody has asked for.
            names = needed.split()
    for name in names:
        try:
            write_file(path, f"+{name}")
        except OSError as error:
            if name in needed.split():
                error.kernel_message = WHY.get(error.errno or 0)  # type: ignore[attr-defined]
                raise


def settle_cgroup_type(cgroup: int, path: str, domain: str) -> None:
    """Give a new cgroup a type that can hold processes: below a threaded cgroup it must be threaded as well.

    domain: the needed controllers that a threaded cgroup can't have. Raises Failure when there are any.
    """
    kind = read_at(cgroup, "cgroup.type").strip()
    if kind in ("domain", "domain threaded"):
        return
    if domain:
        raise Failure(f"cgroup {path} can't have the controller {domain}: it is in a threaded subtree ({kind})")
    if kind == "domain invalid":
        write_any_at(cgroup, "cgroup.type", "threaded")


def write_at(cgroup: int, name: str, text: str) -> None:
    """Write a limit to a controller's file in the cgroup.

    Raises Failure for any other name: a limit never moves or kills processes or changes the tree (`cgroup.*`), and is
    never outside the container's own cgroup.
    """
    if "/" in name or name in ("", ".", "..") or name.startswith("cgroup."):
        raise Failure(f'"{name}" is not a file for a limit of a cgroup')
    write_any_at(cgroup, name, text)


def write_first_at(cgroup: int, name: str, text: str, otherwise: str, other_text: str) -> None:
    """Write whichever of two files of the cgroup exists, preferring the first."""
    try:
        write_at(cgroup, name, text)
    except FileNotFoundError:
        write_at(cgroup, otherwise, other_text)


def chown_cgroup(cgroup: int, uid: int) -> None:
    """Make a user the owner of the cgroup and of the files that the kernel lists for delegation; cgroups(7)."""
    try:
        names: tuple[str, ...] = tuple(decode(files.read_head(DELEGATE)).split())
    except OSError:
        names = DELEGATED
    posix.fchown(cgroup, uid, -1)
    for name in names:
        try:
            _linux.fchownat(cgroup, name, uid, -1, 0)
        except FileNotFoundError:
            continue


def read_at(cgroup: int, name: str) -> str:
    """Return the content of a small file of the cgroup."""
    try:
        fd = posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=cgroup)
    except OSError as error:
        raise named(error, f'openat("{name}", O_RDONLY)') from None
    try:
        return decode(posix.read(fd, 65536))
    finally:
        posix.close(fd)
