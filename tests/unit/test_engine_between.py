"""Processes in between: one that joins namespaces before clone3, and one whose child goes on in its place."""

import errno
import gc
import os
import posix
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.recording import Recorder

from pyruntime import kernel, log
from pyruntime.engine import calls, channel, launch
from pyruntime.errors import Failure
from pyruntime.step import HOST, INIT, JOIN, Flags, Plan, Slot, Step

CLONE = Step(HOST, "/clone", "clone3", Flags(""), -1)
REPLACE = Step(INIT, "/replace", "clone_into_pid_namespace", Slot("channel"))


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A pipe into which the step `write_pid` puts the pid of its process and of that one's parent."""
    ends = os.pipe()

    def write_pid(fd: int) -> None:
        os.write(fd, b"%d %d\n" % (os.getpid(), os.getppid()))

    monkeypatch.setattr(calls, "write_pid", write_pid, raising=False)
    yield ends
    for fd in ends:
        os.close(fd)


def read_pids(pids: tuple[int, int]) -> list[tuple[int, ...]]:
    return [tuple(map(int, line.split())) for line in os.read(pids[0], 4096).splitlines()]


def write_pid(side: str) -> Step:
    return Step(side, "", "write_pid", Slot("pids"))


def no_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


class TestJoin:
    def test_init_is_a_child_of_one_that_has_joined(self, pids: tuple[int, int]) -> None:
        """By CLONE_PARENT, which the plan asks for, it is the host's own."""
        parent = Step(HOST, "", "clone3", Flags("CLONE_PARENT"), -1)
        plan = Plan([write_pid(JOIN), write_pid(JOIN), parent, write_pid(INIT), Step(HOST, "", "getpid")])
        slots: dict[str, Any] = {"pids": pids[1]}
        launched = launch.launch(plan, slots)
        between, again, init = read_pids(pids)
        assert between == again and between[0] not in (os.getpid(), init[0])
        assert between[1] == os.getpid()
        assert init == (launched.pid, os.getpid()) == (slots["init_pid"], os.getpid())
        assert slots["init_pidfd"] == launched.pidfd
        signal.pidfd_send_signal(launched.pidfd, signal.SIGKILL)
        launched.kill()
        launched.close()
        assert no_children()

    def test_it_is_waited_for(self, pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        """However slowly it ends."""

        def exit_slowly(status: int) -> None:
            time.sleep(0.1)
            os._exit(status)

        monkeypatch.setattr(launch, "posix", Recorder(posix, _exit=exit_slowly))
        recorder = Recorder(kernel, recv_message=kernel.recv_message)
        monkeypatch.setattr(channel, "kernel", recorder)
        parent = Step(HOST, "", "clone3", Flags("CLONE_PARENT"), -1)
        launched = launch.launch(Plan([write_pid(JOIN), parent, write_pid(INIT)]), {"pids": pids[1]})
        assert [rest for _, *rest in recorder.named("recv_message")] == [[channel.MAX_MESSAGE, channel.MAX_FDS]]
        launched.kill()
        launched.close()
        assert no_children()

    def test_init_has_one_socket(self, pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        """Its end of the channel, none of those between host and process in between; the caller's own stay (1000)."""

        def read_or_not(link: str) -> str:
            try:
                return posix.readlink(link)
            except OSError:  # listdir's own
                return ""

        def count(fd: int) -> None:
            names = posix.listdir("/proc/self/fd")
            os.write(fd, b"%d" % sum(read_or_not(f"/proc/self/fd/{name}").startswith("socket:") for name in names))

        monkeypatch.setattr(calls, "count", count, raising=False)
        before = sum(read_or_not(f"/proc/self/fd/{name}").startswith("socket:") for name in os.listdir("/proc/self/fd"))
        callers, parent = (
            Step(HOST, "", "close_range", 1000, 1001, 0),
            Step(HOST, "", "clone3", Flags("CLONE_PARENT"), -1),
        )
        steps = [callers, write_pid(JOIN), parent, Step(INIT, "", "count", Slot("pids")), Step(HOST, "", "getpid")]
        launched = launch.launch(Plan(steps), {"pids": pids[1]})
        launched.kill()
        launched.close()
        assert int(os.read(pids[0], 99).splitlines()[-1]) == before + 1

    def test_a_join_that_fails(self, pids: tuple[int, int]) -> None:
        bad = Step(JOIN, "/linux/namespaces/0", "close", 1 << 20, hint="join another")
        with pytest.raises(Failure) as caught:
            launch.launch(Plan([write_pid(JOIN), bad, CLONE, write_pid(INIT)]), {"pids": pids[1]})
        assert str(caught.value) == (
            "close(1048576): bad file descriptor (EBADF) [config.json#/linux/namespaces/0]; join another"
        )
        assert len(read_pids(pids)) == 1
        assert no_children()

    def test_a_clone_that_fails_there(self, pids: tuple[int, int]) -> None:
        bad = Step(HOST, "/clone", "clone3", 1 << 62, -1)
        with pytest.raises(Failure, match=r"^clone3\(.*invalid argument \(EINVAL\) \[config.json#/clone\]$"):
            launch.launch(Plan([write_pid(JOIN), bad, write_pid(INIT)]), {"pids": pids[1]})
        assert no_children()

    def test_one_that_dies(self, pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calls, "die", lambda: os._exit(3), raising=False)
        with pytest.raises(Failure) as caught:
            launch.launch(Plan([Step(JOIN, "", "die"), CLONE, write_pid(INIT)]), {"pids": pids[1]})
        assert str(caught.value) == (
            "clone3(0, -1): the process that joins the user namespace died [config.json#/clone]"
        )
        assert no_children()

    def test_a_failure_of_init_itself(self, pids: tuple[int, int]) -> None:
        parent = Step(HOST, "", "clone3", Flags("CLONE_PARENT"), -1)
        plan = Plan([write_pid(JOIN), parent, Step(INIT, "/x", "close", 1 << 20), Step(HOST, "", "getpid")])
        with pytest.raises(Failure, match=r"^close\(1048576\): bad file descriptor \(EBADF\) \[config.json#/x\]$"):
            launch.launch(plan, {"pids": pids[1]})
        assert no_children()


class TestReplace:
    """A process of the container makes the one that goes on; it is the host's child all the same."""

    def test_the_child_goes_on(self, pids: tuple[int, int]) -> None:
        plan = Plan([CLONE, write_pid(INIT), REPLACE, write_pid(INIT), Step(HOST, "", "getpid"), write_pid(INIT),
                     Step(HOST, "", "getpid")])  # fmt: skip
        slots: dict[str, Any] = {"pids": pids[1]}
        launched = launch.launch(plan, slots)
        first, second, third = read_pids(pids)
        assert second == third == (launched.pid, os.getpid())
        assert first[0] != second[0] and first[1] == os.getpid()
        assert (slots["init_pid"], slots["init_pidfd"]) == (launched.pid, launched.pidfd)
        with pytest.raises(ChildProcessError):
            os.waitpid(first[0], os.WNOHANG)
        launched.kill()
        launched.close()
        assert no_children()

    def test_after_the_hosts_last_step(self, pids: tuple[int, int]) -> None:
        """And at the plan's very end, where no host's step follows; and where the plan has none at all after clone3."""
        for steps in ([CLONE, Step(HOST, "", "getpid"), write_pid(INIT), REPLACE, write_pid(INIT)],
                      [CLONE, write_pid(INIT), REPLACE, write_pid(INIT)]):  # fmt: skip
            launched = launch.launch(Plan(steps), {"pids": pids[1]})
            (first, _), *_ = read_pids(pids)
            assert launched.pid != first
            launched.kill()
            launched.close()
            assert no_children()

    def test_a_failure_after_it_is_told(self, pids: tuple[int, int]) -> None:
        plan = Plan([CLONE, REPLACE, Step(INIT, "/x", "close", 1 << 20), Step(HOST, "", "getpid")])
        with pytest.raises(Failure, match=r"^close\(1048576\): bad file descriptor \(EBADF\) \[config.json#/x\]$"):
            launch.launch(plan, {"pids": pids[1]})
        assert no_children()

    def test_one_that_dies_before_it(self, pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calls, "die", lambda: os._exit(3), raising=False)
        plan = Plan([CLONE, Step(HOST, "", "getpid"), Step(INIT, "/die", "die"), REPLACE, Step(HOST, "", "getpid")])
        with pytest.raises(Failure) as caught:
            launch.launch(plan, {"pids": pids[1]})
        assert str(caught.value) == "init died (exit status 3) in the steps after die() [config.json#/die]"
        assert no_children()

    def test_one_that_dies_where_no_hosts_step_would_notice(
        self, pids: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "die", lambda: os._exit(3), raising=False)
        for more in ([], [Step(HOST, "", "getpid")]):
            with pytest.raises(Failure, match=r"^init died \(exit status 3\) in the steps after"):
                launch.launch(Plan([CLONE, *more, Step(INIT, "/die", "die"), REPLACE]), {"pids": pids[1]})
            assert no_children()

    def test_a_host_that_is_gone(self) -> None:
        """Nobody would know the child: it ends before it has done anything."""
        ours, theirs = kernel.socketpair()
        os.close(ours)
        told, held = os.pipe()
        between = os.fork()
        if between == 0:
            os.close(told)
            calls.clone_into_pid_namespace(theirs)
            os.write(held, b"the child went on")
            os._exit(0)
        os.close(theirs)
        os.close(held)
        assert os.read(told, 99) == b""
        os.close(told)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]) for _ in range(2)]
        assert sorted(statuses) == [0, 1]
        assert no_children()

    def test_what_is_sent(self) -> None:
        """The pid on the host, and a pidfd of that very process; the child learns the same number."""
        ours, theirs = kernel.socketpair()
        told, held = os.pipe()
        between = os.fork()
        if between == 0:
            before = len(os.listdir("/proc/self/fd"))
            pid = calls.clone_into_pid_namespace(theirs)
            os.write(held, b"%d %d" % (pid, len(os.listdir("/proc/self/fd")) - before))
            os._exit(6)
        pid, pidfd = channel.receive_child(ours, Plan([]), INIT)
        assert pid != between
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        assert ended is not None and (ended.si_pid, ended.si_status) == (pid, 6)
        assert os.read(told, 99) == b"%d 0" % pid, "and it has no more descriptors than the one before it"
        os.waitpid(between, 0)
        for fd in (ours, theirs, told, held, pidfd):
            os.close(fd)


class TestDebug:
    @pytest.fixture
    def lines(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found: list[str] = []
        monkeypatch.setattr(log, "wants_debug", lambda: True)
        monkeypatch.setattr(log, "debug", found.append)
        return found

    def test_steps_of_both_sides_are_logged_by_the_host(self, lines: list[str]) -> None:
        steps = [Step(HOST, "", "getcwd_raw", into="cwd"), CLONE, Step(HOST, "", "umask", 18),
                 Step(INIT, "", "umask", 1), Step(INIT, "", "umask", 2), Step(HOST, "", "getpid"),
                 Step(INIT, "", "umask", 3)]  # fmt: skip
        before = os.umask(0o022)
        launched = launch.launch(Plan(steps), {})
        launched.kill()
        launched.close()
        os.umask(before)
        assert lines == [
            "host: getcwd_raw() = <cwd>", "host: clone3(0, -1)", "host: umask(18)", "init: umask(1)", "init: umask(2)",
            "host: getpid()", "init: umask(3)",
        ]  # fmt: skip

    def test_a_plan_that_goes_on_with_init(self, lines: list[str]) -> None:
        launched = launch.launch(Plan([CLONE, Step(INIT, "", "umask", 1), Step(HOST, "", "getpid")]), {})
        launched.kill()
        launched.close()
        assert lines == ["host: clone3(0, -1)", "init: umask(1)", "host: getpid()"]

    def test_init_steps_right_after_clone3(self, lines: list[str]) -> None:
        steps = [Step(JOIN, "", "x"), CLONE, Step(JOIN, "", "y"), Step(INIT, "", "a"), Step(HOST, "", "b")]
        launch.log_init_steps(Plan(steps), 2)
        assert lines == ["init: a()"]

    @pytest.mark.parametrize("call", ["exec_program", "find_program", "run_hook", "with_home"])
    def test_an_environment_is_not(self, lines: list[str], call: str) -> None:
        launch.log_step(Step(INIT, "", call, ["SECRET=1"]))
        assert lines == [f"init: {call}(...)"]

    def test_none_unless_it_is_wanted(self, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log, "wants_debug", lambda: False)
        launch.log_step(CLONE)
        launch.log_init_steps(Plan([Step(INIT, "", "a")]), 0)
        assert lines == []


@pytest.mark.parametrize(
    ("call", "module"),
    [("run_hook", "engine.hooks"), ("copy_up", "kernel.copyup"), ("mount_by_data", "kernel.old_mount")],
)
def test_what_init_may_need_is_there_before_it(monkeypatch: pytest.MonkeyPatch, call: str, module: str) -> None:
    """Init itself can import nothing: what a step of its plan takes is loaded by the host, and else nothing."""
    names = ("engine.hooks", "kernel.copyup", "kernel.old_mount")
    for name in names:
        package, _, attribute = f"pyruntime.{name}".rpartition(".")
        monkeypatch.delitem(sys.modules, f"pyruntime.{name}", raising=False)
        monkeypatch.delattr(sys.modules[package], attribute, raising=False)
    launch.preload(Plan([Step(INIT, "", call)]))
    assert [name for name in names if f"pyruntime.{name}" in sys.modules] == [module]


def test_what_is_alive_at_clone3_is_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is shared with init until one of both writes; a collection would. What init needs is loaded before."""
    seen: list[str] = []

    def clone3(*_: int) -> tuple[int, int]:
        seen.append("clone3")
        raise OSError(errno.EAGAIN, "no")

    monkeypatch.setattr(launch, "preload", lambda _: seen.append("preload"))
    monkeypatch.setattr(gc, "disable", lambda: seen.append("disable"))
    monkeypatch.setattr(gc, "freeze", lambda: seen.append("freeze"))
    monkeypatch.setattr(kernel, "clone3", clone3)
    with pytest.raises(Failure, match=r"^clone3\(0, -1\): resource temporarily unavailable \(EAGAIN\)"):
        launch.launch(Plan([CLONE]), {})
    assert seen == ["preload", "disable", "freeze", "clone3"]
