"""Init's side of the walk, in a fork of the test: the seal, the descriptors that stay, what it sends, how it ends."""

import gc
import os
import posix
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from support.recording import Recorder

from pyruntime import kernel
from pyruntime.engine import calls, channel, init
from pyruntime.errors import Failure
from pyruntime.step import HOST, INIT, Plan, Slot, Step

pytestmark = pytest.mark.usefixtures("steps_on_pipes")

UINT_MAX = 0xFFFFFFFF


def test_the_seal_leaves_no_way_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for name in ("path", "meta_path", "path_hooks"):
            patch.setattr(sys, name, list(getattr(sys, name)))
        patch.setattr(sys, "path_importer_cache", dict(sys.path_importer_cache))
        assert sys.path and sys.meta_path and sys.path_hooks and sys.path_importer_cache
        init.seal()
        left = [list(sys.path), list(sys.meta_path), list(sys.path_hooks), dict(sys.path_importer_cache)]
    assert left == [[], [], [], {}]


class TestCloseTheRest:
    """Which ranges of descriptors are closed."""

    def closed(
        self, monkeypatch: pytest.MonkeyPatch, steps: list[Step], slots: dict[str, Any], channel_fd: int, first: int = 0
    ) -> list[tuple[Any, ...]]:
        recorder = Recorder(kernel, close_range=None)
        monkeypatch.setattr(init, "kernel", recorder)
        init.close_the_rest(Plan(steps), first, slots, channel_fd)
        return recorder.named("close_range")

    def test_all_but_the_channel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.closed(monkeypatch, [], {"unused": 9}, 7) == [(3, 6, 0), (8, UINT_MAX, 0)]
        assert self.closed(monkeypatch, [], {}, 3) == [(4, UINT_MAX, 0)]

    def test_what_later_steps_of_init_use_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps = [
            Step(INIT, "", "earlier", Slot("before")),
            Step(INIT, "", "a", 1, Slot("root")),
            Step(HOST, "", "b", Slot("cgroup")),
            Step(INIT, "", "c", Slot("proc"), Slot("root")),
        ]
        slots = {"before": 5, "root": 6, "cgroup": 8, "proc": 10}
        assert self.closed(monkeypatch, steps, slots, 12, 1) == [
            (3, 5, 0), (7, 9, 0), (11, 11, 0), (13, UINT_MAX, 0),
        ]  # fmt: skip

    def test_neighbours_leave_nothing_between_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps = [Step(INIT, "", "a", Slot("x"), Slot("y"))]
        assert self.closed(monkeypatch, steps, {"x": 3, "y": 4}, 5) == [(6, UINT_MAX, 0)]

    @pytest.mark.parametrize("call", ["umask", "host_pid", "clone_into_pid_namespace"])
    def test_a_number_is_no_descriptor(self, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        steps = [Step(INIT, "", call, into="number"), Step(INIT, "", "a", Slot("number"))]
        assert self.closed(monkeypatch, steps, {"number": 20}, 7) == [(3, 6, 0), (8, UINT_MAX, 0)]
        steps[0].call = "open"
        assert self.closed(monkeypatch, steps, {"number": 20}, 7) == [(3, 6, 0), (8, 19, 0), (21, UINT_MAX, 0)]

    def test_what_is_no_number_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A flag is no descriptor although it counts as a number, neither a program nor a slot that is not filled."""
        steps = [Step(INIT, "", "a", Slot("flag"), Slot("program"), Slot("missing"))]
        slots = {"flag": True, "program": b"x"}
        assert self.closed(monkeypatch, steps, slots, 7) == [(3, 6, 0), (8, UINT_MAX, 0)]

    def test_the_callers_own_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Below the number that the plan begins with: --preserve-fds, LISTEN_FDS."""
        steps = [Step(HOST, "", "close_range", 6, 4294967295, 4), Step(INIT, "", "a", Slot("given"), Slot("x"))]
        slots = {"given": 5, "x": 6}
        assert self.closed(monkeypatch, steps, slots, 9) == [(7, 8, 0), (10, UINT_MAX, 0)]
        assert self.closed(monkeypatch, steps, {}, 4) == [(6, UINT_MAX, 0)], "a channel among them changes nothing"


class Ended(BaseException):
    """In place of _exit(2)."""


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    ends = kernel.socketpair()
    yield ends
    for fd in ends:
        os.close(fd)


class Walk:
    """Init's walk in the test's own process: nothing is sealed or closed, and _exit is an exception."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = Recorder(kernel, close_range=None)
        self.order: list[Any] = []
        self.statuses: list[int] = []
        monkeypatch.setattr(init, "kernel", self.kernel)
        monkeypatch.setattr(init, "seal", lambda: self.order.append("seal"))
        monkeypatch.setattr(gc, "disable", lambda: self.order.append("disable"))
        monkeypatch.setattr(posix, "_exit", self.exit)
        monkeypatch.setattr(calls, "note", self.order.append, raising=False)

    def exit(self, status: int) -> NoReturn:
        self.statuses.append(status)
        raise Ended

    def run(self, steps: list[Step], first: int, slots: dict[str, Any], channel_fd: int) -> None:
        with pytest.raises(Ended):
            init.run(Plan(steps), first, slots, channel_fd)
        assert set(self.statuses) == {1}


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> Walk:
    return Walk(monkeypatch)


def note(side: str, word: Any) -> Step:
    return Step(side, f"/{word}", "note", word)


class TestWalk:
    def test_it_seals_before_its_first_step_and_runs_its_own(self, walk: Walk, pair: tuple[int, int]) -> None:
        walk.kernel.answers["poll"] = Ended()
        steps = [note(INIT, "before"), note(INIT, "a"), note(INIT, "b")]
        walk.run(steps, 1, {}, pair[1])
        assert walk.order == ["seal", "disable", "a", "b"]
        assert walk.kernel.named("close_range")
        assert walk.kernel.named("poll") == [([], -1)], "it waits for ever: there is no program"

    def test_it_waits_for_the_host_first(self, walk: Walk, pair: tuple[int, int]) -> None:
        """The step before its own is the host's; what that one shares comes with the host's word."""
        walk.kernel.answers["poll"] = Ended()
        steps = [Step(HOST, "", "clone3"), Step(HOST, "", "open", into="file", share=True), note(INIT, Slot("file"))]
        kernel.send_message(pair[0], b"Gfile", [pair[0]])
        slots: dict[str, Any] = {}
        walk.run(steps, 1, slots, pair[1])
        assert walk.order == ["seal", "disable", slots["file"]]
        os.close(slots["file"])

    def test_it_hands_over_and_goes_on_when_it_is_told(
        self, walk: Walk, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        walk.kernel.answers["poll"] = Ended()
        steps = [Step(INIT, "", "dup_of", pair[1], into="made", share=True), note(INIT, "a"), note(HOST, "host"),
                 note(HOST, "host"), note(INIT, "b"), note(HOST, "host")]  # fmt: skip
        monkeypatch.setattr(calls, "dup_of", os.dup, raising=False)
        kernel.send_message(pair[0], b"G")
        slots: dict[str, Any] = {}
        walk.run(steps, 0, slots, pair[1])
        message, fds = kernel.recv_message(pair[0], 99, 9)
        assert (message, len(fds)) == (b"Gmade", 1)
        assert kernel.recv_message(pair[0], 99, 9) == (b"G", []), "the second time it has nothing to hand over"
        assert walk.order == ["seal", "disable", "a", "b"]
        os.close(fds[0])
        os.close(slots["made"])

    def test_before_a_process_takes_its_place_it_closes_once_more(
        self, walk: Walk, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        walk.kernel.answers["poll"] = Ended()
        replace = Step(INIT, "", "clone_into_pid_namespace")
        monkeypatch.setattr(calls, "clone_into_pid_namespace", lambda: walk.order.append("cloned"))
        walk.run([Step(INIT, "", "note", Slot("x")), replace, note(INIT, "b")], 0, {"x": 900}, pair[1])
        assert walk.order == ["seal", "disable", 900, "cloned", "b"]
        closed = walk.kernel.named("close_range")
        assert [each for each in closed if each[0] == 901] == [(901, UINT_MAX, 0)]
        assert closed[-1] == (pair[1] + 1, UINT_MAX, 0), "the second time nothing needs x"

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (OSError(2, "No"), "S\0002\0001\0fails\0/fails\0\0\0fails(): no such file or directory (ENOENT)"),
            (Failure("it is so", pointer="/own"), "F\0000\0001\0fails\0/own\0\0\0it is so"),
            (
                KeyError("slot"),
                "S\0000\0001\0fails\0/fails\0\0internal error: KeyError: 'slot'\0"
                "fails(): internal error: KeyError: 'slot'",
            ),
        ],
    )
    def test_a_failure_is_sent(
        self, walk: Walk, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
    ) -> None:
        monkeypatch.setattr(calls, "fails", Recorder(fails=error).fails, raising=False)
        walk.run([note(INIT, "a"), Step(INIT, "/fails", "fails"), note(INIT, "b")], 0, {}, pair[1])
        message, _ = kernel.recv_message(pair[0], 999, 0)
        assert message == channel.ERROR + b"1\0" + text.encode()
        assert walk.order == ["seal", "disable", "a"]

    def test_to_start_once_it_has_asked(self, walk: Walk, pair: tuple[int, int]) -> None:
        ours, theirs = kernel.socketpair()
        walk.run([Step(INIT, "/x", "close", 1 << 20)], 0, {"starter": theirs}, pair[1])
        assert (
            kernel.recv_message(ours, 999, 0)[0]
            == b"E0\0S\x009\x001\0close\0/x\0\0\0close(1048576): bad file descriptor (EBADF)"
        )
        os.set_blocking(pair[0], False)
        with pytest.raises(BlockingIOError):
            kernel.recv_message(pair[0], 999, 0)
        os.close(ours)
        os.close(theirs)

    def test_a_host_that_is_gone_is_sent_nothing(
        self, walk: Walk, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[Any] = []
        monkeypatch.setattr(channel, "send_error", lambda *args: sent.append(args))
        ours, theirs = kernel.socketpair()
        os.close(ours)
        walk.run([note(HOST, "h"), note(INIT, "a")], 0, {}, theirs)
        os.close(theirs)
        assert (walk.order, sent) == (["seal", "disable"], [])


def in_child(work: Callable[[], None]) -> int:
    """Run in a fork; return how it ended."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_real_one_has_nothing_but_what_it_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Open descriptors of the host are gone at its first step, those of its own steps are not."""
    seen = tmp_path / "seen"
    seen.touch()

    def look() -> None:
        fd = posix.open(str(seen), os.O_WRONLY)
        found = sorted(map(int, posix.listdir("/proc/self/fd")))
        posix.write(fd, repr([each for each in found if each > 2 and each != fd]).encode())

    monkeypatch.setattr(calls, "look", look, raising=False)
    ours, theirs = kernel.socketpair()
    host_file, used = os.open("/", os.O_PATH), os.open("/", os.O_PATH)
    steps = [Step(INIT, "", "look"), Step(INIT, "", "fstat", Slot("used")), Step(INIT, "", "close", 1 << 20)]
    assert in_child(lambda: init.run(Plan(steps), 0, {"used": used, "host": host_file}, theirs)) == 1
    found = eval(seen.read_text())
    assert {used, theirs} <= set(found) and host_file not in found and ours not in found
    assert len(found) == 3, "the third is listdir's own"
    for fd in (ours, theirs, host_file, used):
        os.close(fd)


def test_a_container_without_a_process_waits() -> None:
    plan = Plan([Step(HOST, "", "clone3"), Step(INIT, "", "getpid"), Step(HOST, "", "getpid")])
    ours, theirs = kernel.socketpair()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        init.run(plan, 1, {}, theirs)
    os.close(theirs)
    assert channel.receive(ours, plan, INIT) == (b"G", [])
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ours)
