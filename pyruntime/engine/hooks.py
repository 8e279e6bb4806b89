"""Runs one hook: state on stdin, output kept for the error, a time limit that ends its whole process group.

Neither a hook that never reads its stdin nor one that writes megabytes can block the runtime: both are memory files.
Source: runtime-spec config.md "POSIX-platform Hooks".
"""

from __future__ import annotations

import posix

from .. import kernel
from ..errors import Failure, errno_text
from ..text import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TAIL = 1024
"""Bytes of a failed hook's output that the error shows."""
POLLIN = 1
SIGKILL = 9
ALL_SIGNALS = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]


def run(hook: Any, state: bytes) -> None:
    """Run the hook to its end; raise Failure when it can't be started, fails or exceeds its timeout (s)."""
    stdin = memory_file("hook-state", state)
    output = memory_file("hook-output", b"")
    try:
        pid = spawn(hook, stdin, output)
        status = wait(pid, hook.timeout)
        if status is None:
            raise Failure(
                f'error running hook "{hook.path}": it took longer than its timeout of {hook.timeout} s and was killed'
            )
        if status:
            raise Failure(f'error running hook "{hook.path}": {ended(status)}{last_words(output)}')
    finally:
        posix.close(stdin)
        posix.close(output)


def memory_file(name: str, content: bytes) -> int:
    """Return a descriptor on a file in memory with the content, to be read from its beginning."""
    fd = posix.memfd_create(name, posix.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[posix.write(fd, view) :]
    posix.lseek(fd, 0, 0)
    return fd


def spawn(hook: Any, stdin: int, output: int) -> int:
    """Start the hook in a process group of its own, with default signals; return its pid."""
    dup2 = posix.POSIX_SPAWN_DUP2
    env = posix.environ if hook.env is None else dict(entry.partition("=")[::2] for entry in hook.env)
    try:
        return posix.posix_spawn(
            hook.path,
            hook.args,
            env,
            file_actions=[(dup2, stdin, 0), (dup2, output, 1), (dup2, output, 2)],
            setpgroup=0,
            setsigmask=(),
            setsigdef=ALL_SIGNALS,
        )
    except OSError as error:
        raise Failure(f'error running hook "{hook.path}": it can\'t be executed: {errno_text(error.errno)}') from None


def wait(pid: int, timeout: int | None) -> int | None:
    """Wait for the hook; return its exit code (negative: signal), or None when it was killed after timeout (s)."""
    if timeout:
        pidfd = posix.pidfd_open(pid)
        try:
            finished = kernel.poll([(pidfd, POLLIN)], timeout * 1000)
        finally:
            posix.close(pidfd)
        if not finished:
            # The leader is our unreaped child, so its process group can't be somebody else's by now.
            posix.killpg(pid, SIGKILL)
            posix.waitpid(pid, 0)
            return None
    return posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])


def ended(code: int) -> str:
    return f"exit status {code}" if code > 0 else f"killed by signal {-code}"


def last_words(output: int) -> str:
    """Return the end of the hook's output for the error line."""
    size = posix.lseek(output, 0, 2)
    text = show(posix.pread(output, TAIL, max(0, size - TAIL)))
    words = " / ".join(line.strip() for line in text.splitlines() if line.strip())
    return f", output: {words}" if words else ", no output"
