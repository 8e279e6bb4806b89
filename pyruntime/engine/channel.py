"""The messages between host and init: GO, ERROR, and descriptors sent with GO. The package describes the protocol."""

from __future__ import annotations

import errno
import posix

from .. import kernel, observer
from ..errors import Failure, errno_text, one_line, os_error_text
from ..step import INIT, Step
from ..text import encode, quoted, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..step import Plan, Slots

START = b"s"
"""The byte that `start` sends to the waiting init."""
GO = b"G"
ERROR = b"E"
CHILD = b"C"
"""The last message of a process that has cloned its successor; carries the successor's pid and a pidfd."""
ABOUT_TO_EXEC = b"x"
"""Sent by exec_program just before execve(2); end of file after it means that the program runs."""
MAX_MESSAGE = 20480
MAX_TEXT = 4096
"""Most bytes of one text in a message; an error has four texts."""
MAX_FDS = 64
MAX_DIGITS = 9
MAX_ERRNO = 4095
"""The largest errno that a system call can return; MAX_ERRNO of the kernel's include/linux/err.h."""
SEPARATOR = "\0"
FIELDS = 9
"""Number of fields of an error (send_error)."""
OF_CALL, OF_WORDS = "S", "F"
"""The kinds of error: a call failed, which the step's description names; or a Failure with its own text."""

WHY_EXECVE = {
    errno.ENOENT: "the file exists, but not the interpreter that its #! line or its ELF header names",
    errno.ENOEXEC: "it is neither a program for this machine nor a script that begins with #!",
    errno.EACCES: "the file may be executed, but not the interpreter that its #! line names",
}
"""What execve(2) means by an errno once the file itself has been found and may be executed (program.find_program)."""


class PeerDied(Exception):
    """The other process closed its end without a message."""


class StepFailure(Failure):
    """A step of the plan failed: which step, its position in the plan if known, and why.

    inner: the call that failed inside a composite step, or the kernel's message; "" when the step says enough.
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
    """Return the failure to report for an exception raised by a step. position: the step's, in its plan, if known."""
    if isinstance(error, Failure):
        if error.pointer is None:
            error.pointer = step.pointer or None
        error.hint = error.hint or step.hint
        error.call = step.call
        return error
    if isinstance(error, OSError):
        return StepFailure(step, error.errno or 0, inner_text(step, error), position)
    return StepFailure(step, 0, f"internal error: {type(error).__name__}: {error}", position)


def inner_text(step: Step, error: OSError) -> str:
    """Return the call that failed inside a composite step, or the kernel's message; "" when the step says enough."""
    call = getattr(error, "call", None) or ""
    if call.startswith(step.call + "("):
        call = ""
    message = getattr(error, "kernel_message", None)
    return ", ".join(part for part in (call, message) if part)


def send_error(fd: int, position: int, step: Step, error: BaseException) -> None:
    """Report a failed step to the other side in one ERROR message; do nothing when the other side is gone.

    The fields, separated by NUL: the step's position in the plan; `S` when a call failed, `F` for a Failure with its
    own text; the errno, 0 for none; the exit status; the step's call; and as text the pointer, the hint, the inner call
    and the whole reason. When a call failed, a receiver with the same plan needs only position, errno and inner call.
    The rest is for `start`, which has no plan.
    """
    failure = failure_of(step, error, position)
    kind, inner = (OF_CALL, failure.inner) if isinstance(failure, StepFailure) else (OF_WORDS, "")
    numbers = (str(position), kind, str(failure.errno or 0), str(failure.status), step.call)
    texts = (failure.pointer or "", failure.hint or "", inner, failure.reason)
    message = SEPARATOR.join((*numbers, *(shortened(one_line(field)) for field in texts)))
    try:
        kernel.send_message(fd, ERROR + encode(message))
    except OSError:
        return


def shortened(text: str) -> str:
    """Return the text cut to fit into a message. The middle is cut, because the reason is at the end."""
    if len(encode(text)) <= MAX_TEXT:
        return text
    half = (MAX_TEXT - 3) // (2 if text.isascii() else 8)
    return f"{text[:half]}...{text[-half:]}"


def read_error(message: bytes, plan: Plan | None, side: str) -> Failure:
    """Return the failure that an ERROR message reports.

    plan: what both sides walk. A failed call then becomes the StepFailure that would be raised here, and the only text
    taken from the sender is the inner call. None: this side has no plan and takes the sender's text. side: the side
    whose steps the sender runs. The sender may have been taken over, so any message is possible.
    """
    fields = message[1:].split(encode(SEPARATOR))
    failure = None
    if len(fields) == 1:
        failure = read_short_error(fields[0])
    elif len(fields) == FIELDS:
        failure = read_full_error(fields, plan, side)
    return failure or Failure(f"unexpected message from the other process: {quoted(message[:64])}")


def read_full_error(fields: list[bytes], plan: Plan | None, side: str) -> Failure | None:
    """Return the failure that the fields of an error describe (send_error); None when they are not valid."""
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
            return Failure(f"unexpected message from the other process: step {position} of the plan is not its own")
        if kind == OF_CALL:
            return StepFailure(step, number, inner, position)
        call = step.call
    failure = Failure(reason, pointer=pointer or None, hint=hint or None, status=status, number=number or None)
    failure.call = call
    return failure


def step_of(plan: Plan, position: int, side: str) -> Step | None:
    """Return the step at a position if a process of this side may report it: its own step, or its clone3."""
    if position >= len(plan):
        return None
    step = plan.steps[position]
    return step if step.side == side or step.call == "clone3" else None


def read_short_error(text: bytes) -> Failure | None:
    """Return the failure that exec_program reports under a seccomp filter, `<errno> <call>`; None for any other text.

    It names the call and not the step, whose arguments contain the environment.
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
    """Return a field of a message as a number; None when it is not one, for it may hold any bytes."""
    return int(field) if field.isdigit() and len(field) <= MAX_DIGITS else None


def send_go(fd: int, names: list[str], slots: Slots) -> None:
    """Let the other side continue, and send it the descriptors in the named slots. Raises PeerDied."""
    present = [name for name in names if name in slots]
    try:
        kernel.send_message(fd, GO + encode(",".join(present)), [slots[name] for name in present])
    except BrokenPipeError:
        raise PeerDied from None


def receive_bytes(fd: int, most_fds: int) -> tuple[bytes, list[int]]:
    """Wait for a message or a part of a stream; return b"" at its end. Raises Failure when it is too long."""
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
    """Wait for a message; return it and the descriptors that came with it.

    side: the side whose steps the sender runs. Raises the Failure that an ERROR message reports, or PeerDied.
    """
    message, fds = receive_bytes(fd, MAX_FDS)
    if message[:1] == ERROR:
        close_all(fds)
        raise read_error(message, plan, side)
    if not message:
        raise PeerDied
    return message, fds


def receive_child(fd: int, plan: Plan, side: str) -> tuple[int, int]:
    """Wait until the process on the other side has cloned its successor; return the successor's pid and a pidfd.

    side: the side whose steps the sender runs. Raises the Failure that it reports, or PeerDied.
    """
    message, fds = receive(fd, plan, side)
    pid = number_of(message[1:])
    if message[:1] != CHILD or not pid or len(fds) != 1:
        close_all(fds)
        raise Failure(f"unexpected message from the intermediate process: {quoted(message[:64])}")
    return pid, fds[0]


def close_all(fds: list[int]) -> None:
    for fd in fds:
        posix.close(fd)


@observer.phase
def receive_go(fd: int, slots: Slots, expected: list[str], plan: Plan, side: str) -> None:
    """Wait for the other side's GO and put its descriptors into their slots.

    expected: the slots that the plan lets the sender fill; a process that was taken over must not choose others.
    side: the side whose steps the sender runs. Raises the Failure that it reports, or PeerDied.
    """
    message, fds = receive(fd, plan, side)
    names = [name for name in expected if encode(name) in message[1:].split(b",")]
    if message != GO + encode(",".join(names)) or len(names) != len(fds):
        close_all(fds)
        raise Failure(f"unexpected message from the other process: {quoted(message[:64])}")
    slots.update(zip(names, fds, strict=True))


def shared_names(plan: Plan, first: int, end: int) -> list[str]:
    """Return the slots that a run of steps (first to end, exclusive) fills for the other side."""
    return [step.into for step in plan.steps[first:end] if step.share and step.into]


@observer.phase
def wait_for_exec(fd: int, plan: Plan | None = None) -> None:
    """Wait until the process at the other end of fd has executed its program.

    fd is a socket that closes on execve: the byte `x` and then end of file mean success. plan: the plan of that
    process, if known here. Raises Failure.
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
