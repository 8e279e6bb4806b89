"""A kernel for unit tests: some calls are recorded and answered by the test, the others are real."""

import os
from collections.abc import Callable
from typing import Any

import pytest


class Recorder:
    """Stands in for a module. answers: what a call returns; an exception is raised, a function called, and of a list
    each call takes the next. calls: what was called, with its arguments, in order."""

    def __init__(self, real: Any = None, **answers: Any) -> None:
        self.real = real
        self.answers = answers
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            return getattr(self.real, name)

        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer(*args) if callable(answer) else answer

        return call

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of each call of that name."""
        return [call[1:] for call in self.calls if call[0] == name]


def fake(monkeypatch: pytest.MonkeyPatch, module: Any, **answers: Any) -> Recorder:
    """Put a recorder in the place of a module's `_linux`."""
    recorder = Recorder(module._linux, **answers)
    monkeypatch.setattr(module, "_linux", recorder)
    return recorder


def failing(number: int) -> Callable[..., Any]:
    """Return a call that fails with an errno."""

    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail
