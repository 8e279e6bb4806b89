"""The walk of a plan in two processes, without privilege: the host's steps with `meanwhile` don't wait for init."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyruntime.engine import calls, launch
from pyruntime.errors import Failure
from pyruntime.step import HOST, INIT, Flags, Plan, Slot, Step

LATE = 5.0
"""Seconds after which an init that waits in vain is let go, so that the test fails and doesn't hang."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe; the test fails when init had to be let go, because it and the host waited for each other."""
    ends = os.pipe()
    late: list[int] = []

    def let_go() -> None:
        late.append(os.write(ends[1], b"t"))

    timer = threading.Timer(LATE, let_go)
    timer.start()
    try:
        yield ends
    finally:
        timer.cancel()
        timer.join()
        for fd in ends:
            os.close(fd)
    assert late == [], "init had to wait for the host, and the host for init"


def plan_of(*meanwhile: Step) -> Plan:
    """A plan whose init waits for a byte in the pipe, beside steps of the host."""
    return Plan(
        [
            Step(HOST, "", "clone3", Flags(""), -1, into="init_pid"),
            Step(HOST, "", "getcwd_raw"),
            Step(INIT, "", "read", Slot("read_end"), 1),
            *meanwhile,
            Step(HOST, "", "getcwd_raw"),
        ]
    )


def slots_of(pipe: tuple[int, int]) -> dict[str, Any]:
    return {"read_end": pipe[0], "write_end": pipe[1]}


def is_child(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def test_the_host_goes_on_while_init_is_busy(pipe: tuple[int, int]) -> None:
    plan = plan_of(Step(HOST, "", "write", Slot("write_end"), b"x", meanwhile=True))
    launched = launch.launch(plan, slots_of(pipe))
    assert is_child(launched.pid)
    launched.kill()
    launched.close()


def test_an_init_that_is_dead_before_its_turn_is_told(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is that the kernel kills for lack of memory before it runs."""

    def kill_init(_step: Step, slots: dict[str, Any]) -> None:
        os.kill(slots["init_pid"], signal.SIGKILL)
        os.waitid(os.P_PID, slots["init_pid"], os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(launch, "apply", kill_init)
    with pytest.raises(Failure, match=r"^init died \(killed by signal 9\) in the steps after read"):
        launch.launch(plan_of(), slots_of(pipe))


def test_a_failure_meanwhile_ends_init(pipe: tuple[int, int]) -> None:
    slots = slots_of(pipe)
    step = Step(HOST, "/linux/resources/devices", "close", 1 << 20, meanwhile=True)
    with pytest.raises(Failure, match=r"close\(1048576\): bad file descriptor \(EBADF\)") as caught:
        launch.launch(plan_of(step), slots)
    assert caught.value.pointer == "/linux/resources/devices"
    assert not is_child(slots["init_pid"])


def test_a_failure_of_init_is_told_after_what_ran_meanwhile(pipe: tuple[int, int]) -> None:
    plan = plan_of(Step(HOST, "", "write", Slot("write_end"), b"x", meanwhile=True))
    plan.steps.insert(2, Step(INIT, "/hostname", "close", 1 << 20))
    slots = slots_of(pipe)
    with pytest.raises(Failure, match=r"close\(1048576\): bad file descriptor \(EBADF\)") as caught:
        launch.launch(plan, slots)
    assert caught.value.pointer == "/hostname"
    assert os.read(pipe[0], 1) == b"x"
    assert not is_child(slots["init_pid"])


def test_init_imports_nothing_any_more(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2019-14271: from its first step on paths lead into the container: an import would run code of the image."""
    assert "colorsys" not in sys.modules

    def import_something() -> None:
        import colorsys  # noqa: F401

    monkeypatch.setattr(calls, "import_something", import_something, raising=False)
    plan = plan_of(Step(HOST, "", "write", Slot("write_end"), b"x", meanwhile=True))
    plan.steps.insert(2, Step(INIT, "/x", "import_something"))
    with pytest.raises(Failure, match="ModuleNotFoundError: No module named 'colorsys'"):
        launch.launch(plan, slots_of(pipe))
