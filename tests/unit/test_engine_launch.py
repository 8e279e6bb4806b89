"""The host's walk across a real fork: what it sends and waits for, how a failure on either side ends."""

import errno
import os
import posix
import select
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from support.recording import Recorder

from pyruntime import kernel
from pyruntime.engine import calls, foreground, hooks, init, launch, start
from pyruntime.errors import Failure
from pyruntime.step import HOST, INIT, Flags, Plan, Slot, Step

pytestmark = pytest.mark.usefixtures("steps_on_pipes")

CLONE = Step(HOST, "/linux/namespaces", "clone3", Flags(""), -1)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A descriptor to which the step `note` writes a word, in both processes; read it by `words`.

    A step `note` of init needs the descriptor as its slot: whatever no step uses is closed there.
    """
    read_end, write_end = os.pipe()

    def note(word: str, fd: int) -> None:
        os.write(fd, f"{word} ".encode())

    monkeypatch.setattr(calls, "note", note, raising=False)
    os.set_blocking(read_end, False)
    notes_end[write_end] = read_end
    yield write_end
    del notes_end[write_end]
    os.close(read_end)
    os.close(write_end)


notes_end: dict[int, int] = {}


def words(write_end: int) -> list[str]:
    try:
        return os.read(notes_end[write_end], 4096).decode().split()
    except BlockingIOError:
        return []


def note(side: str, word: str, **named: Any) -> Step:
    return Step(side, f"/{word}", "note", word, Slot("notes"), **named)


def finish(launched: launch.Launched) -> None:
    launched.kill()
    launched.close()


def is_child(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def test_steps_run_in_turn(notes: int) -> None:
    steps = [note(HOST, "h1"), CLONE, note(HOST, "h2"), note(INIT, "i1"), note(INIT, "i2"), note(HOST, "h3"),
             note(INIT, "i3"), note(HOST, "h4")]  # fmt: skip
    slots: dict[str, Any] = {"notes": notes}
    launched = launch.launch(Plan(steps), slots)
    assert words(notes) == ["h1", "h2", "i1", "i2", "h3", "i3", "h4"]
    assert (launched.pid, launched.pidfd) == (slots["init_pid"], slots["init_pidfd"])
    assert is_child(launched.pid)
    finish(launched)
    assert not is_child(launched.pid)


def test_what_runs_meanwhile_runs_once_and_in_its_order(notes: int) -> None:
    """Init waits for what the host does behind init's own step."""
    steps = [CLONE, note(HOST, "h1"), Step(INIT, "", "read", Slot("wait"), 1), note(INIT, "i1"),
             Step(HOST, "", "write", Slot("go"), b"x", meanwhile=True), note(HOST, "m1", meanwhile=True),
             note(HOST, "h2"), note(INIT, "i2"), note(HOST, "h3")]  # fmt: skip
    wait, go = os.pipe()
    launched = launch.launch(Plan(steps), {"notes": notes, "wait": wait, "go": go})
    found = words(notes)
    finish(launched)
    os.close(wait)
    os.close(go)
    assert sorted(found) == ["h1", "h2", "h3", "i1", "i2", "m1"]
    assert [word for word in found if word != "m1"] == ["h1", "i1", "h2", "i2", "h3"]
    assert found.index("m1") < found.index("h2")


def test_what_runs_meanwhile_may_be_the_last(notes: int) -> None:
    steps = [CLONE, note(HOST, "h1"), note(INIT, "i1"), note(HOST, "m1", meanwhile=True)]
    launched = launch.launch(Plan(steps), {"notes": notes})
    assert sorted(words(notes)) == ["h1", "i1", "m1"]
    finish(launched)


def test_the_walk_ends_with_inits_last_steps(notes: int) -> None:
    """The host does not wait for them: they may wait for `start`."""
    steps = [CLONE, note(HOST, "h1"), Step(INIT, "", "read", Slot("wait"), 1), note(INIT, "i1")]
    wait, go = os.pipe()
    launched = launch.launch(Plan(steps), {"notes": notes, "wait": wait})
    assert words(notes) == ["h1"]
    os.write(go, b"x")
    os.set_blocking(notes_end[notes], True)
    assert words(notes) == ["i1"]
    finish(launched)
    os.close(wait)
    os.close(go)


def test_a_plan_that_goes_on_with_init_at_once(notes: int) -> None:
    steps = [CLONE, note(INIT, "i1"), note(HOST, "h1"), note(INIT, "i2"), note(HOST, "h2")]
    launched = launch.launch(Plan(steps), {"notes": notes})
    assert words(notes) == ["i1", "h1", "i2", "h2"]
    finish(launched)


def test_descriptors_travel_both_ways(notes: int, tmp_path: Any) -> None:
    """Only those that a step shares: another slot of init's is its own."""
    (tmp_path / "a").write_text("of the host")
    (tmp_path / "b").write_text("of init")
    steps = [
        CLONE,
        Step(HOST, "", "open", f"{tmp_path}/a", 0, into="a", share=True),
        Step(INIT, "", "read", Slot("a"), 2),
        Step(INIT, "", "open", f"{tmp_path}/b", 0, into="b", share=True),
        Step(INIT, "", "open", f"{tmp_path}/b", 0, into="own"),
        Step(HOST, "", "read", Slot("b"), 99, into="text"),
        Step(INIT, "", "read", Slot("own"), 2),
        Step(HOST, "", "getpid"),
    ]
    slots: dict[str, Any] = {}
    launched = launch.launch(Plan(steps), slots)
    finish(launched)
    assert slots["text"] == b"of init"
    assert "own" not in slots
    assert os.pread(slots["a"], 99, 0) == b"of the host"
    os.close(slots["a"])
    os.close(slots["b"])


def test_init_has_not_the_hosts_end_of_the_channel(notes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With it init would wait for ever for a host that is gone. Descriptors below the caller's own stay otherwise."""

    def note_all(fd: int) -> None:
        for name in posix.listdir("/proc/self/fd"):
            try:
                os.write(fd, f"{posix.readlink(f'/proc/self/fd/{name}')} ".encode())
            except OSError:  # listdir's own
                continue

    monkeypatch.setattr(calls, "note_all", note_all, raising=False)
    callers = Step(HOST, "", "close_range", 1000, 1001, 0)
    steps = [callers, CLONE, Step(INIT, "", "note_all", Slot("notes")), Step(HOST, "", "getpid")]
    launched = launch.launch(Plan(steps), {"notes": notes})
    host_end = os.readlink(f"/proc/self/fd/{launched.channel}")
    finish(launched)
    found = words(notes)
    assert any(word.startswith("socket:") for word in found) and host_end not in found


class TestFailures:
    @pytest.mark.parametrize("position", [0, 2, 3, 4, 5, 6])
    def test_at_each_step(self, notes: int, position: int) -> None:
        """The failure names the step, none after it runs, init is gone, and nothing stays open (a fixture looks)."""
        steps = [note(HOST, "h1"), CLONE, note(HOST, "h2"), note(INIT, "i1"), note(HOST, "h3"), note(INIT, "i2"),
                 note(HOST, "h4")]  # fmt: skip
        before = [step.args[0] for step in steps[:position] if step.call == "note"]
        steps[position] = Step(steps[position].side, "/bad", "close", 1 << 20, hint="do it otherwise")
        with pytest.raises(Failure) as caught:
            launch.launch(Plan(steps), {"notes": notes})
        words_of = "close(1048576): bad file descriptor (EBADF) [config.json#/bad]; do it otherwise"
        assert (str(caught.value), words(notes)) == (words_of, before)
        assert not is_child(-1)

    def test_at_clone3(self, notes: int) -> None:
        steps = [note(HOST, "h1"), Step(HOST, "/linux/namespaces", "clone3", 1 << 62, -1), note(INIT, "i1")]
        with pytest.raises(Failure) as caught:
            launch.launch(Plan(steps), {"notes": notes})
        assert str(caught.value).startswith(f"clone3({1 << 62}, -1): ")
        assert str(caught.value).endswith("invalid argument (EINVAL) [config.json#/linux/namespaces]")
        assert words(notes) == ["h1"]
        assert not is_child(-1)

    def test_a_plan_without_clone3(self, notes: int) -> None:
        with pytest.raises(Failure, match=r"^internal error: the plan has no clone3 step$"):
            launch.launch(Plan([note(HOST, "h1"), note(INIT, "i1")]), {"notes": notes})
        assert words(notes) == ["h1"]

    def test_a_fault_of_the_program_ends_init_too(self, notes: int) -> None:
        slots: dict[str, Any] = {"notes": notes}
        with pytest.raises(KeyError):
            launch.launch(Plan([CLONE, Step(HOST, "", "getcwd_raw", Slot("missing")), note(INIT, "i1")]), slots)
        assert not is_child(slots["init_pid"])

    @pytest.mark.parametrize(
        ("code", "death"), [(0, "exit status 0"), (7, "exit status 7"), (-9, "killed by signal 9")]
    )
    def test_an_init_that_dies_without_a_word(
        self, notes: int, monkeypatch: pytest.MonkeyPatch, code: int, death: str
    ) -> None:
        def die() -> None:
            if code < 0:
                os.kill(os.getpid(), -code)
            os._exit(code)

        monkeypatch.setattr(calls, "die", die, raising=False)
        steps = [CLONE, note(HOST, "h1"), note(INIT, "i1"), Step(INIT, "/x", "die"), note(HOST, "h2")]
        with pytest.raises(Failure) as caught:
            launch.launch(Plan(steps), {"notes": notes})
        assert str(caught.value) == f'init died ({death}) in the steps after note("i1", <notes>) [config.json#/i1]'
        assert words(notes) == ["h1", "i1"]
        assert not is_child(-1)

    def test_an_init_that_is_dead_before_its_last_steps(self, notes: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """No later step of the host would notice."""

        def kill(pid: int) -> None:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        monkeypatch.setattr(calls, "kill_init", kill, raising=False)
        clone = Step(HOST, "", "clone3", Flags(""), -1)
        with pytest.raises(Failure, match=r"^init died \(killed by signal 9\) in the steps after note"):
            launch.launch(
                Plan([clone, Step(HOST, "", "kill_init", Slot("init_pid")), note(INIT, "i1")]), {"notes": notes}
            )
        assert words(notes) == []

    def test_a_step_without_a_pointer_points_nowhere(self, notes: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calls, "die", lambda: os._exit(1), raising=False)
        with pytest.raises(Failure, match=r"^init died \(exit status 1\) in the steps after die\(\)$"):
            launch.launch(Plan([CLONE, Step(INIT, "", "die"), note(HOST, "h1")]), {"notes": notes})


class TestBesideInit:
    """A host's step that looks at init: an init that has ended is the reason, not that /proc no longer has it."""

    def launched(self, message: bytes = b"", *, alive: bool = False) -> launch.Launched:
        ours, theirs = kernel.socketpair()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            if message:
                kernel.send_message(theirs, message)
            if alive:
                signal.pause()
            os._exit(5)
        os.close(theirs)
        pidfd = os.pidfd_open(pid)
        if not alive:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        return launch.Launched(pid, pidfd, ours)

    def failure(self, launched: launch.Launched, number: int, pointer: str = "/x") -> str:
        plan = Plan([Step(INIT, "", "open", "/y"), Step(HOST, pointer, "fails")])
        failing = Recorder(calls, fails=OSError(number, os.strerror(number)))
        try:
            with pytest.MonkeyPatch.context() as patched, pytest.raises(Failure) as caught:
                patched.setattr(launch, "calls", failing)
                launch.apply_beside(plan, 1, {}, launched)
        finally:
            finish(launched)
        return str(caught.value)

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
    def test_an_init_that_has_ended(self, number: int) -> None:
        line = self.failure(self.launched(), number)
        assert line == "init died (exit status 5) before fails() [config.json#/x]"
        assert self.failure(self.launched(), number, "") == "init died (exit status 5) before fails()"

    def test_what_it_had_to_say_is_told(self) -> None:
        line = self.failure(self.launched(b"E2 open(/y)"), errno.ENOENT)
        assert line.startswith("open(/y): no such file or directory (ENOENT)")

    def test_an_init_that_lives(self) -> None:
        line = self.failure(self.launched(alive=True), errno.ENOENT)
        assert line == "fails(): no such file or directory (ENOENT) [config.json#/x]"

    def test_another_reason(self) -> None:
        line = self.failure(self.launched(), errno.EPERM)
        assert line == "fails(): operation not permitted (EPERM) [config.json#/x]"


class TestLaunched:
    def test_kill_twice_and_close_twice(self) -> None:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        ours, theirs = kernel.socketpair()
        launched = launch.Launched(pid, os.pidfd_open(pid), ours)
        launched.kill()
        assert kernel.recv_message(theirs, 9, 0) == (b"", [])
        assert not is_child(pid)
        launched.kill()
        launched.close()
        launched.close()
        assert (launched.channel, launched.pidfd) == (-1, -1)
        os.close(theirs)

    def test_one_that_is_gone_already(self) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        pidfd = os.pidfd_open(pid)
        os.waitpid(pid, 0)
        launched = launch.Launched(pid, pidfd, -1)
        launched.kill()
        assert launch.death(launched) == "status unknown"
        os.close(pidfd)

    def test_kill_waits_for_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kernel = Recorder(pidfd_send_signal=None)
        posix = Recorder(waitpid=(1, 0))
        monkeypatch.setattr(launch, "kernel", kernel)
        monkeypatch.setattr(launch, "posix", posix)
        launch.Launched(1, 8, -1).kill()
        assert (kernel.calls, posix.calls) == ([("pidfd_send_signal", 8, signal.SIGKILL)], [("waitpid", 1, 0)])

    def test_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        posix = Recorder()
        monkeypatch.setattr(launch, "posix", posix)
        monkeypatch.setattr(launch, "kernel", Recorder())
        launch.Launched(-1, -1, -1).kill()
        launch.Launched(0, -1, -1).kill()
        assert posix.calls == []
        launch.Launched(-1, -1, -1).close()

    def test_a_process_that_takes_the_place(self) -> None:
        first, second = os.fork(), -1
        if first == 0:
            os._exit(0)
        pidfd = os.pidfd_open(first)
        launched = launch.Launched(first, pidfd, 9)
        launched.replace(second, 99)
        assert (launched.pid, launched.pidfd, launched.channel) == (second, 99, 9)
        assert not is_child(first)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(pidfd)

    def test_a_descriptor_may_be_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the caller has closed its stdin."""
        recorder = Recorder(posix, close=None)
        monkeypatch.setattr(launch, "posix", recorder)
        launch.Launched(-1, -1, 0).kill()
        assert recorder.calls == [("close", 0)]
        launch.Launched(-1, 0, 0).close()
        assert recorder.calls == [("close", 0)] * 3

        def clone(_plan: Plan, _first: int, _slots: Any, launched: launch.Launched) -> None:
            launched.pidfd = 0
            raise Failure("no clone")

        monkeypatch.setattr(launch, "clone", clone)
        with pytest.raises(Failure, match="no clone"):
            launch.launch(Plan([CLONE]), {})
        assert recorder.calls == [("close", 0)] * 4


def test_numbers_of_the_system() -> None:
    assert launch.SIGKILL == hooks.SIGKILL == signal.SIGKILL
    assert launch.POLLIN == hooks.POLLIN == start.POLLIN == foreground.POLLIN == select.POLLIN
    assert foreground.GONE == select.POLLERR | select.POLLHUP
    assert foreground.SIGWINCH == signal.SIGWINCH
    assert init.NUMBERS == ("umask", "host_pid", "clone_into_pid_namespace")


def test_what_is_offered_is_there() -> None:
    assert launch.__all__ == ["Launched", "launch", "wait_for_exec"]
    assert [name for name in launch.__all__ if not hasattr(launch, name)] == []
