"""The messages between host and init: GO, ERROR, and descriptors beside GO. See the package for the protocol."""

from __future__ import annotations

import errno
import posix

from .. import kernel
from ..errors import Failure, errno_text, one_line
from ..step import Step
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
MAX_MESSAGE = 16384
MAX_TEXT = 4096
MAX_FDS = 64
SEPARATOR = "\0"


WHY_EXECVE = {
    errno.ENOENT: "the file is there, but not the interpreter that its #! line or its ELF header names",
    errno.ENOEXEC: "it is neither a program for this machine nor a script that begins with #!",
    errno.EACCES: "the file may be executed, but not the interpreter that its #! line names",
}
"""What execve(2) means by an errno once the file itself has been found and may be executed (program.find_program)."""


class PeerDied(Exception):
    """The other process closed its end without a message."""


class StepFailure(Failure):
    """A step of the plan failed: which step, on which side, why."""

    def __init__(self, step: Step, number: int, inner: str) -> None:
        text = step.called()
        if inner:
            text += f": {inner}"
        if number:
            text += f": {errno_text(number)}"
        super().__init__(text, pointer=step.pointer or None, hint=step.hint)
        self.step = step
        self.number = number

    @property
    def errno(self) -> int | None:
        return self.number or None


def failure_of(step: Step, error: BaseException) -> Failure:
    """Return the failure that tells of an exception raised by a step."""
    if isinstance(error, Failure):
        if error.pointer is None:
            error.pointer = step.pointer or None
        return error
    if isinstance(error, OSError):
        return StepFailure(step, error.errno or 0, inner_text(step, error))
    return StepFailure(step, 0, f"internal error: {type(error).__name__}: {error}")


def inner_text(step: Step, error: OSError) -> str:
    """Return the call inside a composite step that failed, or the kernel's own words; empty when the step says it."""
    call = getattr(error, "call", None) or ""
    if call.startswith(step.call + "("):
        call = ""
    message = getattr(error, "kernel_message", None)
    return ", ".join(part for part in (call, message) if part)


def send_error(fd: int, position: int, step: Step, error: BaseException) -> None:
    """Tell the other side that a step failed; a peer that is gone is not told."""
    if isinstance(error, OSError):
        number, text = error.errno or 0, inner_text(step, error)
    elif isinstance(error, Failure):
        number, text = -1, error.what if error.cause is None else str(error)
    else:
        number, text = 0, f"internal error: {type(error).__name__}: {error}"
    fields = (str(position), str(number), step.pointer, step.called(), step.hint or "", text)
    message = SEPARATOR.join(shortened(one_line(field)) for field in fields)
    try:
        kernel.send_message(fd, ERROR + encode(message))
    except OSError:
        return


def shortened(text: str) -> str:
    """Return text that fits into a message: without its middle, because the reason stands at its end."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT // 2]}...{text[-MAX_TEXT // 2 :]}"


def read_error(message: bytes) -> Failure:
    """Return the failure told by an ERROR message.

    exec_program may send a shorter one from below a seccomp filter: `E<errno> <call>`.
    """
    text = show(message[1:])
    fields = text.split(SEPARATOR)
    if len(fields) != 6:
        number, _, call = text.partition(" ")
        reason = errno_text(int(number)) if number.isdecimal() else number
        hint = WHY_EXECVE.get(int(number)) if number.isdecimal() and call.startswith("execve(") else None
        pointer = "/process/rlimits" if call.startswith("prlimit(") else "/process/args"
        return Failure(f"{call}: {reason}", pointer=pointer, hint=hint)
    _, number, pointer, described, hint, inner = fields
    if number == "-1":
        return Failure(inner, pointer=pointer or None, hint=hint or None)
    line = described + (f": {inner}" if inner else "")
    if number != "0":
        line += f": {errno_text(int(number))}"
    return Failure(line, pointer=pointer or None, hint=hint or None)


def send_go(fd: int, names: list[str], slots: Slots) -> None:
    """Let the other side go on, and hand over the descriptors in the named slots; raises PeerDied."""
    present = [name for name in names if name in slots]
    try:
        kernel.send_message(fd, GO + encode(",".join(present)), [slots[name] for name in present])
    except BrokenPipeError:
        raise PeerDied from None


def receive(fd: int) -> tuple[bytes, list[int]]:
    """Wait for a message that is no error; return it and the descriptors that came with it.

    Raises the Failure that the other side reports, or PeerDied.
    """
    try:
        message, fds = kernel.recv_message(fd, MAX_MESSAGE, MAX_FDS)
    except OSError as error:
        if error.errno == errno.ECONNRESET:
            raise PeerDied from None
        raise
    if not message:
        raise PeerDied
    if message[:1] == ERROR:
        raise read_error(message)
    return message, fds


def receive_child(fd: int) -> tuple[int, int]:
    """Wait until the process on the other side has made the one that goes on in its place; return its pid and a pidfd.

    Raises the Failure that the other side reports, or PeerDied.
    """
    message, fds = receive(fd)
    if message[:1] != CHILD or not message[1:].isdigit() or len(fds) != 1:
        raise Failure(f"unexpected message from the process in between: {quoted(message[:64])}")
    return int(message[1:]), fds[0]


def receive_go(fd: int, slots: Slots, expected: list[str]) -> None:
    """Wait until the other side says go on; take over its descriptors.

    expected: the slots that the plan lets it fill; a process that somebody has taken over must not choose them. Raises
    the Failure that the other side reports, or PeerDied.
    """
    message, fds = receive(fd)
    names = [name for name in expected if encode(name) in message[1:].split(b",")]
    if message != GO + encode(",".join(names)) or len(names) != len(fds):
        for each in fds:
            posix.close(each)
        raise Failure(f"unexpected message from the other process: {quoted(message[:64])}")
    slots.update(zip(names, fds, strict=True))


def shared_names(plan: Plan, first: int, end: int) -> list[str]:
    """Return the slots that the steps of a run (first to end, exclusive) leave for the other side."""
    return [step.into for step in plan.steps[first:end] if step.share and step.into]


def wait_for_exec(fd: int) -> None:
    """Read from a process that is about to execute its program until the program runs.

    fd is a socket that closes on execve: the byte `x` and end of file mean success. Raises Failure.
    """
    received = b""
    while True:
        try:
            part, _ = kernel.recv_message(fd, MAX_MESSAGE, 0)
        except ConnectionResetError:
            part = b""
        if not part:
            break
        received += part
    report = received.removeprefix(ABOUT_TO_EXEC)
    if report[:1] == ERROR:
        raise read_error(report)
    if not received:
        raise Failure("the container's init died before it could execute the program")
    if report:
        raise Failure(f"unexpected message from init: {quoted(report[:64])}")
