"""Lets an observer see the steps and phases of a command. Without one, as without `--trace`, each costs one check."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    from .step import Step

    Function = TypeVar("Function", bound=Callable[..., Any])

    class Observer(Protocol):
        """Sees the steps of a plan on both sides, and the phases of a command on the host."""

        def begin(self, step: Step) -> int:
            """Record that a step begins; return what end() is to be given."""
            ...

        def end(self, record: int) -> None:
            """Record that the step has returned or failed."""
            ...

        def phase(self, name: str, function: Callable[[], Any]) -> Any:
            """Call the function and return its result."""
            ...


current: Observer | None = None
"""The observer, if there is one."""


def begin(step: Step) -> int:
    return current.begin(step) if current is not None else -1


def end(record: int) -> None:
    if current is not None:
        current.end(record)


def phase(function: Function) -> Function:
    """Make each call of a function a phase that an observer sees, under the name of its module and its own."""
    name = f"{function.__module__.removeprefix('pyruntime.')}.{function.__name__}"

    def observed(*args: Any, **options: Any) -> Any:
        if current is None:
            return function(*args, **options)
        return current.phase(name, lambda: function(*args, **options))

    observed.__name__ = function.__name__
    observed.__module__ = function.__module__
    observed.__doc__ = function.__doc__
    return observed  # type: ignore[return-value]
