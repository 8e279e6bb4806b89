"""What a step may call: the kernel layer, and a few operations of the engine itself."""

from __future__ import annotations

import posix

from .. import kernel
from ..spec.jsontext import dumps
from ..text import encode
from .channel import CHILD, START
from .program import (
    enter_directory,
    enter_directory_late,
    find_program,
    find_program_early,
    load_filter_early,
    own_stdio,
    with_home,
)

__all__ = [
    "await_start",
    "clone_into_pid_namespace",
    "enter_directory",
    "enter_directory_late",
    "exec_program",
    "find_program",
    "find_program_early",
    "listener_state",
    "load_filter_early",
    "own_stdio",
    "pass_on",
    "run_hook",
    "save_cgroup",
    "save_record",
    "send_descriptor",
    "send_terminal",
    "systemd_set_properties",
    "systemd_start_scope",
    "with_home",
    "write_pid_file",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ..kernel import close, errno_name, flags
    from .hooks import Hook

    __all__ += ["close", "errno_name", "flags"]  # provided by __getattr__; step.Kernel requires them

    class State(Protocol):
        """A document for a hook or an agent (plan.hooks, plan.seccomp), without what is only known at run time."""

        fields: dict[str, Any]

    class Container(Protocol):
        """The container whose record the plan writes (container.store). properties: those of plan.systemd."""

        def start_scope(self, unit: str, properties: Any, pid: int) -> None: ...
        def set_unit_properties(self, properties: Any) -> None: ...
        def save_cgroup(self, cgroup: int) -> None: ...
        def save_created(self, pid: int) -> None: ...


def __getattr__(name: str) -> Any:
    return getattr(kernel, name)


def exec_program(
    path: str,
    argv: list[str],
    envp: list[str],
    bpf: bytes | None,
    bpf_flags: int,
    notify: int,
    payload: bytes | None,
    report: int,
    limits: list[tuple[str, int, int]],
) -> None:
    """Execute the program with these limits (name, soft, hard); see kernel.exec_program."""
    numbers = [(kernel.flags(name), soft, hard) for name, soft, hard in limits]
    kernel.exec_program(path, argv, envp, bpf, bpf_flags, notify, payload, report, numbers)


def run_hook(
    hook: Hook,
    state: State,
    pid: int | None,
    directory: str | int | None,
    env: list[str] | None = None,
    filter_: bytes | None = None,
    flags: int = 0,
    stdout: int = -1,
    stderr: int = -1,
) -> None:
    """Run one hook to its end with the container's state on its stdin. pid: None for the calling process.

    See hooks.run for the other arguments. Raises Failure when the hook can't be started, fails or exceeds its timeout.
    """
    from .hooks import run

    document = dict(state.fields)
    document["pid"] = posix.getpid() if pid is None else pid
    run(hook, encode(dumps(document)), directory, env, filter_, flags, (stdout, stderr))


def listener_state(state: State, pid: int) -> bytes:
    """Return the message that a seccomp agent gets with the listener. pid: the process under the filter."""
    document = {**state.fields, "pid": pid}
    if not document["state"]["pid"]:
        document["state"] = {**document["state"], "pid": pid}
    return encode(dumps(document))


def await_start(listener: int, channel_fd: int) -> int:
    """Wait for `start` and return the connection on which it waits for the result.

    A connection that closes without the start byte is a probe of whether init is still waiting. Meanwhile, signals that
    would end any program end init, even if it is pid 1 of its namespace. Signals that are meant for a program that
    handles them (SIGUSR1, real-time signals) are dropped: that program does not run yet. runc does the same.
    """
    posix.close(channel_fd)
    kernel.exit_on_signals()
    while True:
        connection = kernel.accept(listener)
        try:
            asked = posix.read(connection, 1) == START
        except OSError:
            asked = False
        if asked:
            posix.close(listener)
            return connection
        posix.close(connection)


def clone_into_pid_namespace(channel_fd: int) -> int:
    """Clone the process that continues the plan in the joined pid namespace; return its pid as the host counts.

    A process that may trace in that namespace can take over any other from the moment of its clone. So the process
    outside does this last: it has given up everything that the container does not have, and its child starts with no
    more. The child is a child of the host (CLONE_PARENT). It waits until its pid has been sent to the host, and exits
    when that fails.
    """
    wait_end, sent_end = posix.pipe2(posix.O_CLOEXEC)
    pid, pidfd = kernel.clone3(kernel.flags("CLONE_PARENT"))
    if pid == 0:
        posix.close(sent_end)
        number = posix.read(wait_end, 16)
        posix.close(wait_end)
        if not number:
            posix._exit(1)
        return int(number)
    try:
        kernel.send_message(channel_fd, CHILD + b"%d" % pid, [pidfd])
        posix.write(sent_end, b"%d" % pid)
    finally:
        posix._exit(0)


def pass_on(first: int, count: int) -> None:
    """Make the descriptors that the caller passes to the program inheritable: clear their close-on-exec flag."""
    for fd in range(first, first + count):
        posix.set_inheritable(fd, True)


def systemd_start_scope(container: Container, unit: str, properties: Any, pid: int) -> None:
    """Call StartTransientUnit over D-Bus: systemd makes the scope's cgroup and moves the process into it."""
    container.start_scope(unit, properties, pid)


def systemd_set_properties(container: Container, unit: str, properties: Any) -> None:
    """Call SetUnitProperties over D-Bus; the properties hold for as long as the unit lives."""
    container.set_unit_properties(properties)


def save_cgroup(container: Container, cgroup: int) -> None:
    """Record that the container owns the cgroup: it was made for the container, or had no processes."""
    container.save_cgroup(cgroup)


def save_record(container: Container, pid: int) -> None:
    """Write the container's complete record, with init's pid, before init may continue."""
    container.save_created(pid)


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid, without a newline, to a temporary file and rename it, so that no reader sees half of it."""
    # The directory may belong to another user: the name must not be predictable, or a link could already be there.
    temporary = f"{path}.{posix.urandom(8).hex()}.tmp"
    fd = kernel.open(
        temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o644
    )
    try:
        try:
            posix.write(fd, b"%d" % pid)
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError:
        posix.unlink(temporary)
        raise


def send_descriptor(path: str, fd: int, name: str) -> None:
    """Connect to a stream socket and send one descriptor with its name as the payload, in one sendmsg(2)."""
    connection = kernel.unix_connect(kernel.flags("AT_FDCWD"), path)
    try:
        kernel.send_message(connection, encode(name), [fd])
    finally:
        posix.close(connection)


def send_terminal(console: int, pty: int) -> None:
    """Send the master side of the terminal to the console socket, with its path inside the container."""
    kernel.send_message(console, encode(kernel.pty_name(pty)), [pty])
