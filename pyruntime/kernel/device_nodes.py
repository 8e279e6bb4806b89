"""Device nodes for user namespaces: made by the host, because mknod(2) is refused there, and bind-mounted inside.

A node is on a tmpfs that is attached nowhere; the result is a detached mount of the node alone. Source:
user_namespaces(7), open_tree(2), fsmount(2).
"""

from __future__ import annotations

import errno
import posix

from . import _linux
from .paths import KINDS, open_device
from .procfs import named

C = _linux.constants
NAME = "node"
CLONE = C["OPEN_TREE_CLONE"] | C["OPEN_TREE_CLOEXEC"]


def make_device_node(path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int) -> int:
    """Return a detached mount of a new node with exactly this mode and owner.

    Where this process may not make nodes either (EPERM: a user namespace, a device cgroup), return a detached mount of
    the host's node at that path, which must be the same device. Raises OSError.
    """
    folder = new_tmpfs()
    try:
        before = posix.umask(0)
        try:
            _linux.mknodat(folder, NAME, KINDS[kind] | mode, major, minor)
        except PermissionError:
            return open_device(folder, path, kind, major, minor)
        finally:
            posix.umask(before)
        _linux.fchownat(folder, NAME, uid, gid, C["AT_SYMLINK_NOFOLLOW"])
        try:
            return _linux.open_tree(folder, NAME, CLONE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return clone_attached(folder)
    finally:
        posix.close(folder)


def new_tmpfs() -> int:
    """Return a new tmpfs that is attached nowhere."""
    context = _linux.fsopen("tmpfs", 0)
    try:
        _linux.fsconfig(context, C["FSCONFIG_CMD_CREATE"], None, None, 0)
        return _linux.fsmount(context, C["FSMOUNT_CLOEXEC"], C["MOUNT_ATTR_NOSUID"] | C["MOUNT_ATTR_NOEXEC"])
    finally:
        posix.close(context)


def clone_attached(folder: int) -> int:
    """Return the clone of the node where a detached mount can't be cloned: before Linux 6.15.

    A child attaches the file system in its own mount namespace, from which nothing propagates to the host's.
    """
    receive, send = _linux.socketpair()
    pid, pidfd = _linux.clone3(C["CLONE_NEWNS"])
    if pid == 0:
        try:
            _linux.mount_setattr(C["AT_FDCWD"], "/", C["AT_RECURSIVE"], 0, 0, C["MS_SLAVE"])
            _linux.move_mount(folder, "", C["AT_FDCWD"], "/", C["MOVE_MOUNT_F_EMPTY_PATH"])
            _linux.send_message(send, b"0", [_linux.open_tree(folder, NAME, CLONE)])
        except OSError as error:
            _linux.send_message(send, b"%d" % (error.errno or errno.EIO), [])
        finally:
            posix._exit(0)
    posix.close(send)
    try:
        said, fds = _linux.recv_message(receive, 16, 1)
    finally:
        posix.close(receive)
        posix.close(pidfd)
        posix.waitpid(pid, 0)
    if not fds:
        number = int(said or errno.ECHILD)
        raise named(OSError(number, posix.strerror(number)), f'open_tree(<a new tmpfs>, "{NAME}", OPEN_TREE_CLONE)')
    return fds[0]
