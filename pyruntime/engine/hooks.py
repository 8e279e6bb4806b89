"""Runs one hook: state on stdin, output kept for the error, a time limit that kills its whole process group.

Stdin and output are memory files, so a hook that never reads stdin or writes megabytes can't block the runtime.
Source: runtime-spec config.md "POSIX-platform Hooks".
"""

from __future__ import annotations

import posix

from .. import kernel, log
from ..errors import Failure, errno_text, os_error_text
from ..text import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Hook(Protocol):
        """A hook of the config (plan.hooks). env: None when not set; timeout: in seconds, None for no limit."""

        path: str
        args: list[str]
        env: list[str] | None
        timeout: int | None


TAIL = 1024
"""Bytes from the end of a failed hook's output that the error shows."""
POLLIN = 1
SIGKILL = 9
LONGEST_POLL = 0x7FFFFFFF
"""The longest timeout of poll(2) in milliseconds: 24 days."""


def run(
    hook: Hook,
    state: bytes,
    directory: str | int | None,
    env: list[str] | None = None,
    filter_: bytes | None = None,
    flags: int = 0,
    streams: tuple[int, int] = (-1, -1),
) -> None:
    """Run the hook to its end; raise Failure when it can't be started, fails or exceeds its timeout.

    directory: its working directory, a path or a descriptor; None for that of this process. env: the environment of a
    hook that sets none, instead of the runtime's. filter_: a seccomp filter for the hook alone, with its flags.
    streams: its stdout and stderr; -1 for output that is kept for the error.
    """
    stdin = memory_file("hook-state", state)
    output = -1
    try:
        output = memory_file("hook-output", b"")
        stdout, stderr = (output if fd < 0 else fd for fd in streams)
        pid = spawn(hook, (stdin, stdout, stderr), directory, env, filter_, flags)
        status = wait(pid, hook.timeout)
        if status is None:
            raise Failure(
                f'error running hook "{hook.path}": it took longer than its timeout of {hook.timeout} s and was killed'
            )
        if status:
            raise Failure(f'error running hook "{hook.path}": {ended(status)}{last_words(output)}')
    finally:
        # Close both now: a failed hook's container is destroyed next, which may need the descriptors.
        posix.close(stdin)
        if output >= 0:
            posix.close(output)


def memory_file(name: str, content: bytes) -> int:
    """Return a descriptor on a memory file with this content, positioned at its beginning."""
    fd = posix.memfd_create(name, posix.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[posix.write(fd, view) :]
    posix.lseek(fd, 0, 0)
    return fd


def spawn(
    hook: Hook,
    stdio: tuple[int, int, int],
    directory: str | int | None,
    env: list[str] | None,
    filter_: bytes | None,
    flags: int,
) -> int:
    """Start the hook in a process group of its own, with default signals; return its pid.

    When the bundle is gone or can't be entered, as may happen to hooks of later commands, the hook runs in "/".
    """
    place = (directory, None) if isinstance(directory, int) else (-1, directory)
    environment: list[str] | list[bytes] | None = env if hook.env is None else hook.env
    if environment is None:
        environment = [name + b"=" + value for name, value in posix.environ.items()]
    try:
        return kernel.spawn(hook.path, hook.args, environment, *place, *stdio, filter_, flags)
    except OSError as error:
        call = getattr(error, "call", "")
        if isinstance(directory, str) and directory != "/" and call.startswith("chdir("):
            log.warning(f'hook "{hook.path}" runs in /, and not in the bundle: {os_error_text(error)}')
            return spawn(hook, stdio, "/", env, filter_, flags)
        if call.startswith("execve("):
            what = f"it can't be executed: {errno_text(error.errno)}"
        else:
            what = os_error_text(error)
        raise Failure(f'error running hook "{hook.path}": {what}', number=error.errno) from None


def wait(pid: int, timeout: int | None) -> int | None:
    """Wait for the hook; return its exit code (negative: signal), or None when it was killed after timeout (s)."""
    if timeout and not ends_within(pid, timeout * 1000):
        # The leader is our unreaped child, so its process group id can't have been reused.
        posix.killpg(pid, SIGKILL)
        posix.waitpid(pid, 0)
        return None
    return posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])


def ends_within(pid: int, milliseconds: int) -> bool:
    """Wait up to this long for our child to end; return whether it has."""
    pidfd = posix.pidfd_open(pid)
    try:
        while milliseconds > 0:
            if kernel.poll([(pidfd, POLLIN)], min(milliseconds, LONGEST_POLL)):
                return True
            milliseconds -= LONGEST_POLL
    finally:
        posix.close(pidfd)
    return False


def ended(code: int) -> str:
    return f"exit status {code}" if code > 0 else f"killed by signal {-code}"


def last_words(output: int) -> str:
    """Return the end of the hook's output, for the error line."""
    size = posix.lseek(output, 0, 2)
    text = show(posix.pread(output, TAIL, max(0, size - TAIL)))
    words = " / ".join(line.strip() for line in text.splitlines() if line.strip())
    return f", output: {words}" if words else ", no output"
