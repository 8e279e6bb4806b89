"""A step of a plan: one system call or one file write, as data.

A step knows what it does, which JSON pointer of config.json asked for it, and which side runs it. It can describe
itself as strace would print it, and apply itself to a given kernel: the real one, or one that only records. Arguments
that exist only at run time (descriptors, pids, a compiled filter) are named by slots; flags are kept by name and looked
up in the kernel's table, so that the numbers come only from the system's headers.
"""

from __future__ import annotations

from . import observer
from .text import decode, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Protocol

    Slots = dict[str, Any]

    class Kernel(Protocol):
        """What steps are applied to; it also has a method for each call. Either engine.calls or a test's recorder."""

        def close(self, fd: int, /) -> object: ...
        def flags(self, names: str, /) -> int: ...
        def errno_name(self, number: int | None, /) -> str: ...


HOST = "host"
"""The side that runs in the process that the caller started, in the caller's namespaces."""
INIT = "init"
"""The side that runs in the container's first process (or the process that exec adds)."""
JOIN = "join"
"""The side of the short-lived process that enters another container's user namespace before it calls clone3."""


class Slot:
    """The name of a value that an earlier step of the plan leaves behind."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Flags:
    """Constants of the kernel's headers by name, joined with `|`: Flags("MS_REC|MS_SLAVE"); empty means 0."""

    __slots__ = ("names",)

    def __init__(self, names: str) -> None:
        self.names = names

    def __repr__(self) -> str:
        return self.names or "0"


class Octal:
    """A number that people read in octal: a file mode or a umask."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"0{self.value:o}"


class Step:
    """One call of the kernel layer.

    side: HOST, INIT or JOIN.
    pointer: the JSON pointer to the part of the config that asked for the step, "" for what every container gets.
    call, args: the kernel layer's function and its arguments; `Slot`, `Flags` and `Octal` are resolved when it runs.
    into: the slot that takes the result.
    ignore: errno names that count as done ("ENOENT"); the result slot then stays empty, and steps that need an empty
        slot are skipped.
    closes: slots holding descriptors that no later step uses; they are closed after the step.
    share: the result is a descriptor that the other side needs too; the engine sends it there.
    hint: what the user can do when the step fails.
    meanwhile: this step of the host and init's steps before it are independent: the host runs it at the same time as
        those, instead of waiting.
    """

    __slots__ = ("side", "pointer", "call", "args", "into", "ignore", "closes", "share", "hint", "meanwhile")

    def __init__(
        self,
        side: str,
        pointer: str,
        call: str,
        *args: Any,
        into: str | None = None,
        ignore: tuple[str, ...] = (),
        closes: tuple[str, ...] = (),
        share: bool = False,
        hint: str | None = None,
        meanwhile: bool = False,
    ) -> None:
        self.side = side
        self.pointer = pointer
        self.call = call
        self.args = args
        self.into = into
        self.ignore = ignore
        self.closes = closes
        self.share = share
        self.hint = hint
        self.meanwhile = meanwhile

    def describe(self) -> str:
        """Return the step as strace would print it, with slots in angle brackets: `fsmount(<fs1>, 0, 0) = <mount1>`."""
        return f"{self.called()} = <{self.into}>" if self.into else self.called()

    def called(self) -> str:
        """Return the call alone, for an error: a step that failed has no result."""
        return f"{self.call}({', '.join(map(show, self.args))})"

    def apply(self, kernel: Kernel, slots: Slots) -> None:
        """Run the step; raise OSError (or what the kernel layer raises) when it fails."""
        if observer.current is None:
            self._run(kernel, slots)
            return
        record = observer.begin(self)
        try:
            self._run(kernel, slots)
        finally:
            observer.end(record)

    def _run(self, kernel: Kernel, slots: Slots) -> None:
        try:
            args = [resolve(arg, kernel, slots) for arg in self.args]
        except EmptySlot:
            self._leave_empty(slots)
            return
        try:
            result = getattr(kernel, self.call)(*args)
        except OSError as error:
            if not self.ignore or kernel.errno_name(error.errno) not in self.ignore:
                raise
            self._leave_empty(slots)
        else:
            if self.into is not None:
                slots[self.into] = result
        for name in self.closes:
            fd = slots.pop(name, None)
            if fd is not None and fd is not EMPTY:
                kernel.close(fd)

    def _leave_empty(self, slots: Slots) -> None:
        if self.into is not None:
            slots[self.into] = EMPTY

    def __repr__(self) -> str:
        return f"{self.side}: {self.describe()}"


EMPTY = object()
"""The value of a slot whose step failed with an errno that it ignores."""


class EmptySlot(Exception):
    """The step needs a slot whose step failed with an errno that it ignores."""


def resolve(arg: Any, kernel: Kernel, slots: Slots) -> Any:
    """Return the value that is passed to the kernel layer for an argument of a step.

    Raises EmptySlot for a slot left empty on purpose, KeyError for one that no step fills (a bug in the plan).
    """
    kind = type(arg)
    if kind is Slot:
        value = slots[arg.name]
        if value is EMPTY:
            raise EmptySlot(arg.name)
        return value
    if kind is Flags:
        return kernel.flags(arg.names)
    if kind is Octal:
        return arg.value
    return arg


SHOWN = 96
"""The number of characters of a string argument that a description shows."""


def show(arg: Any) -> str:
    """Return an argument as strace shows it: strings quoted and shortened, flags by name, descriptors as slots."""
    if isinstance(arg, str):
        text = quote(arg)
        return text if len(text) <= SHOWN else text[:SHOWN] + '"...'
    if type(arg) is bytes:
        return show(decode(arg))
    if isinstance(arg, list | tuple):
        inner = ", ".join(map(show, arg[:16])) + (", ..." if len(arg) > 16 else "")
        return f"[{inner}]"
    if arg is None:
        return "NULL"
    return repr(arg)


def quote(text: str) -> str:
    """Return text escaped, in double quotes. Uses repr, because no codec may be looked up inside a container."""
    inner = quoted(text)
    if inner[0] == "'":
        return '"' + inner[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    return inner


class Plan:
    """The ordered steps of one operation, and the warnings that planning it gave rise to.

    warnings: lines to log, each once (a capability that cannot be granted, for example).
    """

    __slots__ = ("steps", "warnings")

    def __init__(self, steps: Iterable[Step] = (), warnings: Iterable[str] = ()) -> None:
        self.steps = list(steps)
        self.warnings = list(warnings)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def index(self, matches: Callable[[Step], bool]) -> int:
        """Return the position of the first step that matches; raise ValueError when none does."""
        for position, step in enumerate(self.steps):
            if matches(step):
                return position
        raise ValueError("no such step in the plan")
