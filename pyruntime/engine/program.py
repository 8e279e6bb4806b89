"""What init does last inside the container: working directory, HOME, finding the program, ownership of stdio.

Everything here runs after the switch to the container's root, as the container's user where that matters, and imports
nothing.
"""

from __future__ import annotations

import errno
import posix

from .. import kernel
from ..errors import Failure
from ..text import decode

PASSWD_LIMIT = 1 << 20
"""The most bytes of the image's /etc/passwd to read."""
S_IFMT, S_IFDIR, S_IFREG = 0o170000, 0o040000, 0o100000
X_OK = 1


def enter_directory(path: str, optional: bool) -> bool:
    """Change the working directory to path; return whether that succeeded.

    optional: return False for a directory that the current user can't find or enter, so that it can be tried again as
    the program's user. The directory must be inside the container: with a descriptor leaked from the host,
    `/proc/self/fd/N` would lead out (CVE-2024-21626). Raises OSError, and Failure for a directory outside.
    """
    try:
        kernel.chdir(path)
    except (PermissionError, FileNotFoundError):
        if optional:
            return False
        raise
    if not kernel.getcwd_raw().startswith("/"):
        raise Failure(f'working directory "{path}" is outside the container')
    return True


def enter_directory_late(path: str, done: bool, may_come_later: bool = False) -> bool:
    """Change the working directory to path, unless that was done before the user changed; return whether it is now.

    may_come_later: return False when path is not found. A process that is not yet in the container's pid namespace
    finds nothing in /proc/self; its successor inside tries again.
    """
    try:
        return done or enter_directory(path, False)
    except FileNotFoundError:
        if not may_come_later:
            raise
        return False


def with_home(env: list[str], uid: int) -> list[str]:
    """Return env with HOME added: from the image's /etc/passwd, or "/" when the user is not in it.

    The file is parsed here, because the C library's look-up would load the image's NSS modules.
    """
    return [*env, f"HOME={home_of(uid)}"]


def home_of(uid: int) -> str:
    try:
        fd = posix.open("/etc/passwd", posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return "/"
    try:
        if posix.fstat(fd).st_mode & S_IFMT != S_IFREG:
            return "/"
        text = decode(posix.read(fd, PASSWD_LIMIT))
    except OSError:
        return "/"
    finally:
        posix.close(fd)
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"


def find_program_early(name: str, env: list[str], in_cwd: bool) -> str:
    """Return the path to execute, as find_program does, or "" when it can't be found yet: until the process is in the
    container's pid namespace, /proc/self leads nowhere."""
    if not in_cwd:
        return ""
    try:
        return find_program(name, env)
    except Failure:
        return ""


def find_program(name: str, env: list[str], found: str = "") -> str:
    """Return the path to execute for args[0], looked up in the PATH of env as execvp(3) does.

    Unlike there, PATH has no default, and an empty part of it does not stand for the working directory: runc and crun
    find nothing there either. found: the path found earlier, or "". Raises Failure with the words that callers map to
    exit codes 126 and 127.
    """
    if found:
        return found
    if "/" in name:
        check_program(name, name)
        return name
    path = ""
    for entry in env:
        if entry.startswith("PATH="):
            path = entry[5:]
    denied = False
    for directory in path.split(":"):
        if not directory:
            continue
        candidate = f"{directory}/{name}"
        try:
            mode = posix.stat(candidate).st_mode
        except OSError:
            continue
        if mode & S_IFMT == S_IFREG:
            if posix.access(candidate, X_OK, effective_ids=True):
                return candidate
            denied = True
    if denied:
        raise Failure(f'exec: "{name}": permission denied', pointer="/process/args/0")
    why = "" if path else " (process.env has none)"
    raise Failure(f'exec: "{name}": executable file not found in $PATH{why}', pointer="/process/args/0")


def check_program(name: str, path: str) -> None:
    """Raise Failure unless path is a file that this user may execute."""
    try:
        mode = posix.stat(path).st_mode
    except OSError as error:
        words = {errno.ENOENT: "no such file or directory", errno.ENOTDIR: "not a directory"}
        reason = words.get(error.errno or 0) or posix.strerror(error.errno or 0).lower()
        raise Failure(f'exec: "{name}": stat {path}: {reason}', pointer="/process/args/0") from None
    if mode & S_IFMT == S_IFDIR:
        # Callers look for either phrase; execve(2) would fail with EACCES.
        raise Failure(f'exec: "{name}": is a directory: permission denied', pointer="/process/args/0")
    if not posix.access(path, X_OK, effective_ids=True):
        raise Failure(f'exec: "{name}": permission denied', pointer="/process/args/0")


def own_stdio(uid: int) -> None:
    """Make the user the owner of stdin, stdout and stderr, so that it can reopen /dev/stdout, where that is possible.

    Devices stay as they are, because /dev/null is shared by all.
    """
    for fd in (0, 1, 2):
        status = posix.fstat(fd)
        if status.st_uid == uid or status.st_mode & S_IFMT in (0o020000, 0o060000):
            continue
        try:
            posix.fchown(fd, uid, -1)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS, errno.ENOSYS):
                raise


def load_filter_early(filter_: bytes, flags: int, effective: int, permitted: int, inheritable: int) -> bytes | None:
    """Load the seccomp filter and set the program's capabilities, if the filter permits all calls up to execve.

    Return None, or the filter when it forbids one of these calls and must be loaded right before execve. Without
    no_new_privs, loading a filter takes CAP_SYS_ADMIN (seccomp(2)), which is kept in this case only.
    """
    if not kernel.seccomp_permits_exec(filter_):
        return filter_
    kernel.seccomp_load(filter_, flags)
    kernel.capset(effective, permitted, inheritable)
    return None
