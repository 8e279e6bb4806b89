"""Carries out changes: steps that each come with the steps to undo them."""

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
    """Run steps in order. Raises a Failure that names the step that failed."""
    for step in steps:
        apply(step, slots)


def make(changes: Sequence[Change], slots: Slots) -> None:
    """Make all changes or none: when one fails, undo the earlier ones, last first.

    Raises the Failure of the step that failed; it also lists the changes that could not be undone.
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
    """Undo changes, last first; append each undo that fails to the failure that made it necessary."""
    for change in reversed(done):
        try:
            run(change.undo, slots)
        except Failure as second:
            failure.what += f" (and an earlier change could not be undone: {second.what})"
