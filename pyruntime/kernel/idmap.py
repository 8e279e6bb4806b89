"""User namespaces that hold the maps of idmapped mounts. Source: mount_setattr(2) "ID-mapped mounts"."""

from __future__ import annotations

import posix

from . import _linux
from .procfs import write_proc_pid

CLONE_NEWUSER = _linux.constants["CLONE_NEWUSER"]


def idmap_userns(uid_map: str, gid_map: str) -> int:
    """Return a descriptor of a new user namespace with these maps (in the format of user_namespaces(7)).

    A child creates the namespace and waits on a pipe; the descriptor then keeps the namespace alive.
    """
    wait_end, hold_end = posix.pipe2(posix.O_CLOEXEC)
    pid, pidfd = _linux.clone3(CLONE_NEWUSER)
    if pid == 0:
        posix.close(hold_end)
        posix.read(wait_end, 1)
        posix._exit(0)
    try:
        write_proc_pid(pid, "uid_map", uid_map)
        write_proc_pid(pid, "gid_map", gid_map)
        return _linux.open(f"/proc/{pid}/ns/user", posix.O_RDONLY)
    finally:
        posix.close(hold_end)
        posix.close(wait_end)
        posix.close(pidfd)
        posix.waitpid(pid, 0)
