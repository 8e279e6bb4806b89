"""A step describes itself as strace does, runs against any kernel, and skips what depends on an allowed failure."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pyruntime.step import EMPTY, INIT, Flags, Octal, Slot, Step

if TYPE_CHECKING:
    from pyruntime.step import Slots


class Recorder:
    """A kernel that only records; `fail` maps a call's name to the errno it raises."""

    def __init__(self, **fail: int) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.fail = fail

    def flags(self, names: str) -> int:
        return {"": 0, "A": 1, "A|B": 3}[names]

    def errno_name(self, number: int | None) -> str:
        return {2: "ENOENT", 13: "EACCES"}[number or 0]

    def close(self, fd: int) -> None:
        self.calls.append(("close", fd))

    def __getattr__(self, name: str) -> Callable[..., str]:
        def call(*args: object) -> str:
            self.calls.append((name, *args))
            if name in self.fail:
                raise OSError(self.fail[name], "no")
            return f"result of {name}"

        return call


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step(INIT, "", "umask", Octal(0o22)), "umask(022)"),
        (Step(INIT, "", "setns", Slot("ns"), Flags("A|B")), "setns(<ns>, A|B)"),
        (Step(INIT, "", "fsmount", Slot("fs"), Flags(""), into="m"), "fsmount(<fs>, 0) = <m>"),
        (Step(INIT, "", "mount", 'a"b\n', None, -1), 'mount("a\\"b\\n", NULL, -1)'),
        (Step(INIT, "", "exec", ["a", "b's"]), 'exec(["a", "b\'s"])'),
        (Step(INIT, "", "write", b"xy"), 'write("xy")'),
    ],
)
def test_describe(step: Step, text: str) -> None:
    assert step.describe() == text


def test_an_error_tells_the_call_alone() -> None:
    assert Step(INIT, "", "fsmount", Slot("fs"), Flags(""), into="m").called() == "fsmount(<fs>, 0)"


def test_long_arguments_are_shortened() -> None:
    text = Step(INIT, "", "write", "x" * 500).describe()
    assert len(text) < 120
    assert text.endswith('"...)')


def test_apply_resolves_and_fills_its_slot() -> None:
    kernel = Recorder()
    slots: Slots = {"fd": 7}
    Step(INIT, "", "open", Slot("fd"), Flags("A"), Octal(0o755), "p", into="new").apply(kernel, slots)
    assert kernel.calls == [("open", 7, 1, 0o755, "p")]
    assert slots["new"] == "result of open"


def test_closes_after_the_call_and_forgets() -> None:
    kernel = Recorder()
    slots: Slots = {"fd": 7}
    Step(INIT, "", "move", Slot("fd"), closes=("fd",)).apply(kernel, slots)
    assert kernel.calls == [("move", 7), ("close", 7)]
    assert slots == {}


def test_an_ignored_errno_leaves_the_slot_empty_and_skips_what_needs_it() -> None:
    kernel = Recorder(open=2)
    slots: Slots = {}
    Step(INIT, "", "open", "p", into="fd", ignore=("ENOENT",)).apply(kernel, slots)
    assert slots["fd"] is EMPTY
    Step(INIT, "", "mask", Slot("fd"), into="later", closes=("fd",)).apply(kernel, slots)
    Step(INIT, "", "more", Slot("later")).apply(kernel, slots)
    assert kernel.calls == [("open", "p")]


def test_another_errno_is_raised() -> None:
    with pytest.raises(PermissionError):
        Step(INIT, "", "open", "p", into="fd", ignore=("ENOENT",)).apply(Recorder(open=13), {})


def test_a_slot_that_no_step_fills_is_a_fault_of_the_plan() -> None:
    kernel = Recorder()
    with pytest.raises(KeyError):
        Step(INIT, "", "close", Slot("nowhere")).apply(kernel, {})
    assert kernel.calls == []


def test_any_object_with_the_calls_can_be_the_kernel() -> None:
    seen: list[str] = []

    class Other:
        def close(self, fd: int) -> None:
            raise AssertionError("nothing is open")

        def flags(self, names: str) -> int:
            return len(names)

        def errno_name(self, number: int | None) -> str:
            return str(number)

        sethostname = seen.append

    Step(INIT, "", "sethostname", "h").apply(Other(), {})
    assert seen == ["h"]
