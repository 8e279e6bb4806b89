"""The one kind of error that a user sees.

Every error ends up as a `Failure`: one line that says what failed, with what argument, why (errno), where in
config.json (JSON pointer) and, where useful, what to do. docs/hacking.md describes the contract.
"""

from __future__ import annotations

import errno as _errno

from .text import one_line as one_line
from .text import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def errno_text(number: int | None, text: str | None = None) -> str:
    """Return "permission denied (EACCES)" for 13: the lower-case words that callers look for, then the name."""
    if number is None:
        return text or "unknown error"
    from posix import strerror

    words = text or strerror(number)
    if words.startswith(("Is a", "No ", "Not ")) or words[1:2].islower():
        words = words[0].lower() + words[1:]
    return f"{words} ({_errno.errorcode.get(number, number)})"


def os_error_text(error: OSError) -> str:
    """Return `call(argument): reason (ERRNO)` for an OSError of the kernel layer or of a built-in module."""
    reason = errno_text(error.errno, _plain_reason(error))
    call = getattr(error, "call", None)
    if call:
        return f"{call}: {reason}"
    if error.filename is not None:
        return f"{_text(error.filename)}: {reason}"
    return reason


def _plain_reason(error: OSError) -> str | None:
    if error.errno is None:
        return str(error)
    return None if getattr(error, "call", None) else error.strerror


def _text(value: Any) -> str:
    return show(value) if isinstance(value, bytes) else str(value)


class Failure(Exception):
    """A failed operation, which is reported to the user in one line.

    what: what was being done, with its argument ("open bundle /b").
    cause: the OSError behind it, if any; the line includes its errno.
    pointer: the JSON pointer to the part of config.json that asked for it ("/mounts/3").
    hint: what the user can do about it.
    status: the exit status of the command; 1 unless the caller's contract says otherwise.
    document: the document that the pointer refers to; `exec` has a process document instead of config.json.
    number: the errno, where `what` already names it and there is no cause.
    call: the call of the step that failed, "" if it was not a step.
    """

    call = ""

    def __init__(
        self,
        what: str,
        cause: OSError | None = None,
        *,
        pointer: str | None = None,
        hint: str | None = None,
        status: int = 1,
        document: str = "config.json",
        number: int | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.pointer = pointer
        self.hint = hint
        self.status = status
        self.document = document
        self.number = number

    @property
    def errno(self) -> int | None:
        """The errno behind the failure, if any. Code that depends on the reason compares this, never the text."""
        return self.cause.errno if self.cause is not None else self.number

    @property
    def reason(self) -> str:
        """What was being done and why it failed, without the JSON pointer and the hint."""
        return self.what if self.cause is None else f"{self.what}: {os_error_text(self.cause)}"

    def __str__(self) -> str:
        line = self.reason
        if self.pointer is not None:
            line += f" [{self.document}#{self.pointer}]"
        if self.hint:
            line += f"; {self.hint}"
        return one_line(line)


class UsageFailure(Failure):
    """The command line is wrong; the text names the option or argument."""


class InvalidConfig(Failure):
    """config.json (or another JSON input) violates the spec, or asks for something impossible; nothing was created."""


class NotFound(Failure):
    """No container with that id exists under the root directory."""
