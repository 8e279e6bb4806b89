"""Carries out changes: steps of which each knows how it is taken back."""

from __future__ import annotations

from ..errors import Failure
from .launch import apply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from ..step import Slots, Step

    class Change(Protocol):
        step: Step
        undo: list[Step]


def run(steps: list[Step], slots: Slots) -> None:
    """Run steps in order. Raises Failure, which names the step."""
    for step in steps:
        apply(step, slots)


def make(changes: Sequence[Change], slots: Slots) -> None:
    """Make all changes or none: when one fails, those before it are taken back, the last first.

    Raises the Failure of the step that failed; what could not be taken back is told in it.
    """
    done: list[Change] = []
    try:
        for change in changes:
            apply(change.step, slots)
            done.append(change)
    except Failure as failure:
        take_back(done, slots, failure)
        raise


def take_back(done: Sequence[Change], slots: Slots, failure: Failure) -> None:
    """Undo changes, the last first; each that fails is told beside the failure that was the reason."""
    for change in reversed(done):
        try:
            run(change.undo, slots)
        except Failure as second:
            failure.what += f" (and an earlier change stays: {second.what})"
