"""Changes: all or none, taken back in reverse order, with everything that stays named in the failure."""

from dataclasses import dataclass
from typing import Any

import pytest

from pyruntime.engine import calls, change
from pyruntime.errors import Failure
from pyruntime.step import HOST, Slot, Step


@dataclass
class Change:
    step: Step
    undo: list[Step]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the steps note has been done; a text that begins with "bad" fails instead."""
    texts: list[str] = []

    def note(text: str) -> str:
        if text.startswith("bad"):
            raise PermissionError(1, "not permitted")
        texts.append(text)
        return text

    monkeypatch.setattr(calls, "note", note, raising=False)
    return texts


def note(text: Any, **named: Any) -> Step:
    return Step(HOST, "", "note", text, **named)


def test_steps_run_in_order_with_their_slots(done: list[str]) -> None:
    slots: dict[str, Any] = {}
    change.run([note("a", into="first"), note("b"), note(Slot("first"))], slots)
    assert (done, slots) == (["a", "b", "a"], {"first": "a"})


def test_all_changes_are_made(done: list[str]) -> None:
    change.make([Change(note("a"), [note("undo a")]), Change(note("b"), [note("undo b")])], {})
    assert done == ["a", "b"]


def test_a_failure_takes_back_what_was_made_the_last_first(done: list[str]) -> None:
    changes = [
        Change(note("a"), [note("undo a"), note("and more of a")]),
        Change(note("b"), [note("undo b")]),
        Change(note("bad c"), [note("undo c")]),
        Change(note("d"), [note("undo d")]),
    ]
    with pytest.raises(Failure) as caught:
        change.make(changes, {})
    assert done == ["a", "b", "undo b", "undo a", "and more of a"]
    assert str(caught.value) == 'note("bad c"): operation not permitted (EPERM)'


def test_what_can_not_be_taken_back_is_in_the_failure_and_the_rest_is_taken_back(done: list[str]) -> None:
    changes = [
        Change(note("a"), [note("undo a")]),
        Change(note("b"), [note("bad undo b"), note("not reached")]),
        Change(note("c"), [note("bad undo c")]),
        Change(note("bad"), []),
    ]
    with pytest.raises(Failure) as caught:
        change.make(changes, {})
    assert done == ["a", "b", "c", "undo a"]
    assert str(caught.value) == (
        'note("bad"): operation not permitted (EPERM)'
        ' (and an earlier change could not be undone: note("bad undo c"): operation not permitted (EPERM))'
        ' (and an earlier change could not be undone: note("bad undo b"): operation not permitted (EPERM))'
    )


def test_a_fault_of_the_program_itself_is_no_failure_of_a_change(done: list[str]) -> None:
    """It is not taken for one: KeyError, a slot that no step has filled."""
    with pytest.raises(KeyError):
        change.make([Change(note(Slot("missing")), [])], {})
