"""The messages between host and init: GO, ERROR, and descriptors beside GO. See the package for the protocol."""

from __future__ import annotations

import errno
import posix

from .. import kernel
from ..errors import Failure, errno_text, one_line, os_error_text
from ..step import INIT, Step
from ..text import encode, quoted, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..step import Plan, Slots

START = b"s"
"""What `start` writes to the waiting init."""
GO = b"G"
ERROR = b"E"
CHILD = b"C"
"""Sent, with its pid and a pidfd, by a process that has made the one which takes its place; ends what it does."""
ABOUT_TO_EXEC = b"x"
"""Sent by exec_program just before execve(2): end of file after it means that the program runs."""
MAX_MESSAGE = 20480
MAX_TEXT = 4096
"""Bytes of a text in a message; an error has four of them."""
MAX_FDS = 64
MAX_DIGITS = 9
MAX_ERRNO = 4095
"""What a system call can return at most; MAX_ERRNO of the kernel's include/linux/err.h."""
SEPARATOR = "\0"
FIELDS = 9
"""Of an error (send_error)."""
OF_CALL, OF_WORDS = "S", "F"
"""Whether an error is one of a call, which the step's description names, or a Failure with words of its own."""

WHY_EXECVE = {
    errno.ENOENT: "the file is there, but not the interpreter that its #! line or its ELF header names",
    errno.ENOEXEC: "it is neither a program for this machine nor a script that begins with #!",
    errno.EACCES: "the file may be executed, but not the interpreter that its #! line names",
}
"""What execve(2) means by an errno once the file itself has been found and may be executed (program.find_program)."""


class PeerDied(Exception):
    """The other process closed its end without a message."""


class StepFailure(Failure):
    """A step of the plan failed: which step, where it is in the plan if that is known, and why.

    inner: the call inside a composite step that failed, or the kernel's own words; "" when the step says it all.
    """

    def __init__(self, step: Step, number: int, inner: str, position: int | None = None) -> None:
        text = step.called()
        if inner:
            text += f": {inner}"
        if number:
            text += f": {errno_text(number)}"
        super().__init__(text, pointer=step.pointer or None, hint=step.hint, number=number or None)
        self.step = step
        self.call = step.call
        self.inner = inner
        self.position = position


def failure_of(step: Step, error: BaseException, position: int | None = None) -> Failure:
    """Return the failure to report for an exception raised by a step. position: of the step in its plan, if known."""
    if isinstance(error, Failure):
        if error.pointer is None:
            error.pointer = step.pointer or None
        error.call = step.call
        return error
    if isinstance(error, OSError):
        return StepFailure(step, error.errno or 0, inner_text(step, error), position)
    return StepFailure(step, 0, f"internal error: {type(error).__name__}: {error}", position)


def inner_text(step: Step, error: OSError) -> str:
    """Return the call inside a composite step that failed, or the kernel's own words; empty when the step says it."""
    call = getattr(error, "call", None) or ""
    if call.startswith(step.call + "("):
        call = ""
    message = getattr(error, "kernel_message", None)
    return ", ".join(part for part in (call, message) if part)


def send_error(fd: int, position: int, step: Step, error: BaseException) -> None:
    """Report to the other side that a step failed, in one ERROR message; nothing happens when nobody is there.

    Its fields, with a NUL between them: the step's position in the plan; `S` for an error of a call, `F` for a Failure
    with words of its own; the errno, 0 for none; the exit status; the step's call; and as text the pointer, the hint,
    the inner call, and the whole reason. Who has the same plan needs no more than position, errno and inner call of an
    error of a call. The rest is for who has none: `start`.
    """
    failure = failure_of(step, error, position)
    kind, inner = (OF_CALL, failure.inner) if isinstance(failure, StepFailure) else (OF_WORDS, "")
    numbers = (str(position), kind, str(failure.errno or 0), str(failure.status), step.call)
    texts = (failure.pointer or "", failure.hint or step.hint or "", inner, failure.reason)
    message = SEPARATOR.join((*numbers, *(shortened(one_line(field)) for field in texts)))
    try:
        kernel.send_message(fd, ERROR + encode(message))
    except OSError:
        return


def shortened(text: str) -> str:
    """Return text that fits into a message: without its middle, because the reason stands at its end."""
    if len(encode(text)) <= MAX_TEXT:
        return text
    half = (MAX_TEXT - 3) // (2 if text.isascii() else 8)
    return f"{text[:half]}...{text[-half:]}"


def read_error(message: bytes, plan: Plan | None, side: str) -> Failure:
    """Return the failure that an ERROR message reports.

    plan: what both sides walk. An error of a call is then the same StepFailure as if the step had failed here, and of
    the sender's words only those about the inner call count. None: this side has no plan, and takes the words.
    side: whose steps the sender runs. It may have been taken over, so a message that none would send is possible.
    """
    fields = message[1:].split(encode(SEPARATOR))
    failure = None
    if len(fields) == 1:
        failure = read_short_error(fields[0])
    elif len(fields) == FIELDS:
        failure = read_full_error(fields, plan, side)
    return failure or Failure(f"unexpected message from the other process: {quoted(message[:64])}")


def read_full_error(fields: list[bytes], plan: Plan | None, side: str) -> Failure | None:
    """Return the failure that the fields of an error report (send_error), None when they make no sense."""
    position, number, status = (number_of(fields[at]) for at in (0, 2, 3))
    kind = show(fields[1])
    if position is None or number is None or number > MAX_ERRNO or kind not in (OF_CALL, OF_WORDS):
        return None
    if status is None or not 0 < status < 256:
        return None
    call, pointer, hint, inner, reason = (shortened(show(field)) for field in fields[4:])
    if plan is not None:
        step = step_of(plan, position, side)
        if step is None:
            return Failure(f"unexpected message from the other process: step {position} of the plan is none of its own")
        if kind == OF_CALL:
            return StepFailure(step, number, inner, position)
        call = step.call
    failure = Failure(reason, pointer=pointer or None, hint=hint or None, status=status, number=number or None)
    failure.call = call
    return failure


def step_of(plan: Plan, position: int, side: str) -> Step | None:
    """Return a step that a process of this side may report: one of its own, or the clone3 that made it."""
    if position >= len(plan):
        return None
    step = plan.steps[position]
    return step if step.side == side or step.call == "clone3" else None


def read_short_error(text: bytes) -> Failure | None:
    """Return the failure that exec_program reports below a seccomp filter, `<errno> <call>`; None when it is not that.

    It names the call and not its step, whose arguments hold the environment.
    """
    head, _, rest = text.partition(b" ")
    number, call = number_of(head), shortened(show(rest))
    if not number or number > MAX_ERRNO or not call:
        return None
    name = call.partition("(")[0]
    hint = WHY_EXECVE.get(number) if name == "execve" else None
    pointer = "/process/rlimits" if name == "prlimit" else "/process/args"
    failure = Failure(f"{call}: {errno_text(number)}", pointer=pointer, hint=hint, number=number)
    failure.call = name
    return failure


def number_of(field: bytes) -> int | None:
    """Return the number that a field of a message is, None when it is none: any bytes may be in it."""
    return int(field) if field.isdigit() and len(field) <= MAX_DIGITS else None


def send_go(fd: int, names: list[str], slots: Slots) -> None:
    """Let the other side go on, and hand over the descriptors in the named slots; raises PeerDied."""
    present = [name for name in names if name in slots]
    try:
        kernel.send_message(fd, GO + encode(",".join(present)), [slots[name] for name in present])
    except BrokenPipeError:
        raise PeerDied from None


def receive_bytes(fd: int, most_fds: int) -> tuple[bytes, list[int]]:
    """Wait for a message or a part of a stream, b"" at its end. Raises Failure for one that is too long."""
    try:
        return kernel.recv_message(fd, MAX_MESSAGE, most_fds)
    except ConnectionResetError:
        # It ended with a message of ours unread. The kernel says so once, before what it had sent itself.
        return receive_bytes(fd, most_fds)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        raise Failure(f"unexpected message from the other process: {os_error_text(error)}") from None


def receive(fd: int, plan: Plan, side: str) -> tuple[bytes, list[int]]:
    """Wait for a message that is no error; return it and the descriptors that came with it.

    side: whose steps of the plan the other side runs. Raises the Failure that it reports, or PeerDied.
    """
    message, fds = receive_bytes(fd, MAX_FDS)
    if message[:1] == ERROR:
        close_all(fds)
        raise read_error(message, plan, side)
    if not message:
        raise PeerDied
    return message, fds


def receive_child(fd: int, plan: Plan, side: str) -> tuple[int, int]:
    """Wait until the process on the other side has made the one that goes on in its place; return its pid and a pidfd.

    side: whose steps it runs. Raises the Failure that it reports, or PeerDied.
    """
    message, fds = receive(fd, plan, side)
    pid = number_of(message[1:])
    if message[:1] != CHILD or not pid or len(fds) != 1:
        close_all(fds)
        raise Failure(f"unexpected message from the process in between: {quoted(message[:64])}")
    return pid, fds[0]


def close_all(fds: list[int]) -> None:
    for fd in fds:
        posix.close(fd)


def receive_go(fd: int, slots: Slots, expected: list[str], plan: Plan, side: str) -> None:
    """Wait until the other side says go on; take over its descriptors.

    expected: the slots that the plan lets it fill; a process that somebody has taken over must not choose them.
    side: whose steps it runs. Raises the Failure that it reports, or PeerDied.
    """
    message, fds = receive(fd, plan, side)
    names = [name for name in expected if encode(name) in message[1:].split(b",")]
    if message != GO + encode(",".join(names)) or len(names) != len(fds):
        close_all(fds)
        raise Failure(f"unexpected message from the other process: {quoted(message[:64])}")
    slots.update(zip(names, fds, strict=True))


def shared_names(plan: Plan, first: int, end: int) -> list[str]:
    """Return the slots that the steps of a run (first to end, exclusive) leave for the other side."""
    return [step.into for step in plan.steps[first:end] if step.share and step.into]


def wait_for_exec(fd: int, plan: Plan | None = None) -> None:
    """Read from a process that is about to execute its program until the program runs.

    fd is a socket that closes on execve: the byte `x` and end of file mean success. plan: what that process walks, if
    it is known here. Raises Failure.
    """
    received = b""
    while len(received) <= MAX_MESSAGE:
        part, _ = receive_bytes(fd, 0)
        if not part:
            break
        received += part
    report = received.removeprefix(ABOUT_TO_EXEC)
    if report[:1] == ERROR:
        raise read_error(report, plan, INIT)
    if not received:
        raise Failure("the container's init died before it could execute the program")
    if report:
        raise Failure(f"unexpected message from init: {quoted(report[:64])}")
