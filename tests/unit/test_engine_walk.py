"""The walk of a plan in two processes, without privilege: the host's steps with `meanwhile` don't wait for init."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyruntime.engine import calls, channel, init, launch
from pyruntime.engine.channel import StepFailure
from pyruntime.errors import Failure
from pyruntime.step import HOST, INIT, JOIN, Flags, Plan, Slot, Step

pytestmark = pytest.mark.usefixtures("steps_on_pipes")

ENDED = os.WEXITED | os.WNOWAIT
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

    def kill_init(_step: Step, slots: dict[str, Any], _position: int) -> None:
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


CLOSE = 1 << 20
"""A descriptor that is not open."""
CLONE = Step(HOST, "/linux", "clone3", Flags(""), -1, into="init_pid")
PLANS = {
    "before clone3": [Step(HOST, "/a", "getcwd_raw"), Step(HOST, "/b", "close", CLOSE), CLONE],
    "after clone3": [Step(HOST, "/a", "getcwd_raw"), CLONE, Step(HOST, "/b", "close", CLOSE)],
    "of init": [CLONE, Step(HOST, "", "getcwd_raw"), Step(INIT, "/b", "close", CLOSE), Step(HOST, "", "getcwd_raw")],
    "of init, later": [
        CLONE, Step(INIT, "", "getcwd_raw"), Step(HOST, "", "getcwd_raw"), Step(INIT, "", "getcwd_raw"),
        Step(INIT, "/b", "close", CLOSE), Step(HOST, "", "getcwd_raw"),
    ],
    "of the process in between": [Step(JOIN, "/a", "getcwd_raw"), Step(JOIN, "/b", "close", CLOSE), CLONE],
    "of init behind it": [Step(JOIN, "/a", "getcwd_raw"), CLONE, Step(INIT, "/b", "close", CLOSE), Step(HOST, "", "x")],
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_failure_names_the_step_wherever_it_ran(name: str) -> None:
    plan = Plan(PLANS[name])
    failing = plan.index(lambda step: step.call == "close")
    slots: dict[str, Any] = {}
    with pytest.raises(StepFailure) as caught:
        launch.launch(plan, slots)
    assert caught.value.step is plan.steps[failing]
    assert (caught.value.position, caught.value.errno) == (failing, errno.EBADF)
    assert str(caught.value) == "close(1048576): bad file descriptor (EBADF) [config.json#/b]"
    assert "init_pid" not in slots or not is_child(slots["init_pid"])


@pytest.mark.parametrize("joins", [False, True])
def test_a_clone_that_fails(joins: bool) -> None:
    """In the process in between as well: EBADF for the descriptor of a cgroup that is none."""
    first = [Step(JOIN, "", "getcwd_raw")] if joins else []
    plan = Plan([*first, Step(HOST, "/linux", "clone3", Flags(""), CLOSE, into="init_pid")])
    with pytest.raises(StepFailure, match=r"^clone3\(0, 1048576\): bad file descriptor") as caught:
        launch.launch(plan, {})
    assert (caught.value.step, caught.value.position) == (plan.steps[-1], len(plan) - 1)
    assert (caught.value.errno, caught.value.call, caught.value.pointer) == (errno.EBADF, "clone3", "/linux")


def test_a_process_in_between_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "die", lambda: os.kill(os.getpid(), signal.SIGKILL), raising=False)
    plan = Plan([Step(JOIN, "", "die"), CLONE])
    with pytest.raises(Failure, match=r"^clone3\(0, -1\): the process that joins the user namespace died") as caught:
        launch.launch(plan, {})
    assert caught.value.pointer == "/linux"


def test_what_init_does_before_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is reported as of the step that made it, and not as one of the host's that comes next."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOMEM, "")

    monkeypatch.setattr(init, "close_the_rest", fails)
    plan = Plan([CLONE, Step(HOST, "", "getcwd_raw"), Step(INIT, "", "getcwd_raw"), Step(HOST, "", "getcwd_raw")])
    with pytest.raises(StepFailure, match=r"^clone3\(0, -1\): cannot allocate memory \(ENOMEM\)") as caught:
        launch.launch(plan, {})
    assert caught.value.position == 0


def test_an_init_that_has_failed_before_the_host_lets_it_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reason is told, and not that nobody is there any more."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOMEM, "")

    monkeypatch.setattr(init, "close_the_rest", fails)
    monkeypatch.setattr(calls, "await_end", lambda pidfd: os.waitid(os.P_PIDFD, pidfd, ENDED), raising=False)
    plan = Plan([CLONE, Step(HOST, "", "await_end", Slot("init_pidfd")), Step(INIT, "/b", "getcwd_raw")])
    with pytest.raises(StepFailure, match=r"^clone3\(0, -1\): cannot allocate memory \(ENOMEM\)") as caught:
        launch.launch(plan, {})
    assert caught.value.position == 0


def test_a_hand_over_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is reported as of init's last step, and not as one of the host's that comes next."""
    plan = Plan([CLONE, Step(INIT, "", "getcwd_raw"), Step(INIT, "/b", "getcwd_raw"), Step(HOST, "", "getcwd_raw")])

    def fails(*_: object) -> None:
        raise OSError(errno.ENOBUFS, "")

    monkeypatch.setattr(channel, "send_go", fails)
    with pytest.raises(StepFailure, match=r"^getcwd_raw\(\): no buffer space available \(ENOBUFS\)") as caught:
        launch.launch(plan, {})
    assert (caught.value.position, caught.value.pointer) == (2, "/b")


@pytest.mark.parametrize(
    ("raised", "ends_first"),
    [
        (OSError(errno.ESRCH, ""), True),
        (OSError(errno.ENOENT, ""), True),
        (OSError(errno.EPERM, ""), False),
        (Failure("hook: not found", number=errno.ENOENT), False),
    ],
)
def test_who_is_named_when_init_has_ended(monkeypatch: pytest.MonkeyPatch, raised: Exception, ends_first: bool) -> None:
    """Init, where a call does not find what was init's; but a hook that is not there is not there."""

    def fails(pidfd: int) -> None:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        raise raised

    monkeypatch.setattr(calls, "fails", fails, raising=False)
    monkeypatch.setattr(calls, "leave", lambda: os._exit(3), raising=False)
    plan = Plan(
        [
            CLONE,
            Step(HOST, "", "getcwd_raw"),
            Step(INIT, "", "leave"),
            Step(HOST, "/b", "fails", Slot("init_pidfd"), meanwhile=True),
            Step(HOST, "", "getcwd_raw"),
        ]
    )
    with pytest.raises(Failure) as caught:
        launch.launch(plan, {})
    assert str(caught.value).startswith("init died (exit status 3) before fails(") is ends_first
    assert caught.value.pointer == "/b"
