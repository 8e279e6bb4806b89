"""kill, pause, resume, state and ps, on a container whose init is a process of the test."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.containers import World

from pyruntime.container import cgroup
from pyruntime.container.store import Container
from pyruntime.errors import Failure, NotFound
from pyruntime.lifecycle import kill, pause, state


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Its cgroups are directories, and the containers' own if they exist."""
    monkeypatch.setattr(
        cgroup, "owned", lambda record: cgroup.of(record) if Path(cgroup.of(record).path).exists() else None
    )
    return world


def unexpected(failure: Failure) -> None:
    pytest.fail(f"reported: {failure}")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Which process of the cgroup was sent which signal."""
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(cgroup, "signal_process", lambda pid, number: signals.append((pid, number)))
    return signals


class TestKill:
    @pytest.mark.parametrize("status", ["created", "running", "paused"])
    def test_init(self, world: World, status: str) -> None:
        pid = world.add(status)
        world.stop(pid)
        kill.kill(world.root, "c", signal.SIGUSR1)
        assert world.signals(pid) == {signal.SIGUSR1}

    def test_stopped(self, world: World) -> None:
        world.add("stopped")
        with pytest.raises(Failure) as raised:
            kill.kill(world.root, "c", signal.SIGTERM)
        assert str(raised.value) == 'cannot kill container "c": container not running (it is stopped)'

    def test_none(self, world: World) -> None:
        with pytest.raises(NotFound, match=r'^container does not exist: "c"$'):
            kill.kill(world.root, "c", signal.SIGTERM)

    def test_all(self, world: World, sent: list[tuple[int, int]]) -> None:
        pid = world.add("running")
        world.stop(pid)
        world.file("c", "cgroup.procs", f"{pid}\n7\n")
        kill.kill(world.root, "c", signal.SIGUSR1, everything=True)
        assert sent == [(pid, signal.SIGUSR1), (7, signal.SIGUSR1)]
        assert world.signals(pid) == set(), "not twice"

    def test_all_of_none(self, world: World, sent: list[tuple[int, int]]) -> None:
        world.add("running")
        (world.mount / "c" / "cgroup.events").unlink()
        (world.mount / "c").rmdir()
        kill.kill(world.root, "c", signal.SIGUSR1, everything=True)
        kill.kill(world.root, "c", signal.SIGKILL, everything=True)
        assert sent == []

    def test_kill_all(self, world: World) -> None:
        """By the kernel, in one go."""
        world.add("stopped")
        world.file("c", "cgroup.kill", "")
        kill.kill(world.root, "c", signal.SIGKILL, everything=True)
        assert world.read("c", "cgroup.kill") == "1"

    @pytest.mark.parametrize(("own", "killed"), [(True, ""), (False, "1")])
    def test_without_a_pid_namespace_of_its_own(self, world: World, own: bool, killed: str) -> None:
        """Nothing ends with init then."""
        pid = world.add("running", own_pid_namespace=own)
        world.file("c", "cgroup.kill", "")
        kill.kill(world.root, "c", signal.SIGKILL)
        assert world.read("c", "cgroup.kill") == killed
        assert world.end(pid) == signal.SIGKILL

    def test_another_signal_goes_to_init_alone(self, world: World) -> None:
        world.stop(world.add("running", own_pid_namespace=False))
        world.file("c", "cgroup.kill", "")
        kill.kill(world.root, "c", signal.SIGTERM)
        assert world.read("c", "cgroup.kill") == ""

    @pytest.mark.parametrize(
        ("own", "populated", "number", "killed"),
        [(False, 1, 9, True), (True, 1, 9, False), (False, 0, 9, False), (False, 1, 15, False)],
    )
    def test_what_has_outlived_init(self, world: World, own: bool, populated: int, number: int, killed: bool) -> None:
        world.add("stopped", own_pid_namespace=own)
        world.file("c", "cgroup.events", f"populated {populated}\nfrozen 0\n")
        world.file("c", "cgroup.kill", "")
        try:
            kill.kill(world.root, "c", number)
            assert killed
        except Failure as failure:
            assert not killed and "container not running (it is stopped)" in str(failure)
        assert world.read("c", "cgroup.kill") == ("1" if killed else "")

    @pytest.mark.parametrize(("number", "accepted"), [(9, True), (15, False)])
    def test_init_ends_before_the_signal(
        self, world: World, monkeypatch: pytest.MonkeyPatch, number: int, accepted: bool
    ) -> None:
        def gone(*_: object) -> None:
            raise ProcessLookupError(3, "gone")

        world.add("running")
        monkeypatch.setattr(kill, "pidfd_send_signal", gone)
        if accepted:
            kill.kill(world.root, "c", number)
            return
        with pytest.raises(Failure) as raised:
            kill.kill(world.root, "c", number)
        assert str(raised.value) == 'cannot kill container "c": container not running: no such process'

    def test_matching(self, world: World) -> None:
        pids = {name: world.add("running", name) for name in ("a1", "a2", "b1")}
        world.add("stopped", "a3")
        for pid in pids.values():
            world.stop(pid)
        kill.kill_matching(world.root, "a.", signal.SIGUSR2)
        signals = {name: world.signals(pid) for name, pid in pids.items()}
        assert signals == {"a1": {signal.SIGUSR2}, "a2": {signal.SIGUSR2}, "b1": set()}

    def test_the_lock_is_not_waited_for(self, world: World) -> None:
        pid = world.add("running")
        world.stop(pid)
        with world.store.open("c"):
            kill.kill(world.root, "c", signal.SIGUSR1)
        assert world.signals(pid) == {signal.SIGUSR1}


class TestPause:
    @pytest.mark.parametrize("status", ["created", "running"])
    def test_pause(self, world: World, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
        world.add(status)
        frozen: list[str] = []
        monkeypatch.setattr(cgroup.Cgroup, "freeze", lambda group: frozen.append(group.path))
        pause.pause(world.root, "c")
        assert frozen == [f"{world.mount}/c"]

    def test_resume(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.add("paused")
        thawed: list[str] = []
        monkeypatch.setattr(cgroup.Cgroup, "thaw", lambda group: thawed.append(group.path))
        pause.resume(world.root, "c")
        assert thawed == [f"{world.mount}/c"]

    @pytest.mark.parametrize(
        ("act", "status", "said"),
        [
            (pause.pause, "paused", 'cannot pause container "c": container not running (it is paused already)'),
            (pause.pause, "stopped", 'cannot pause container "c": container not running (it is stopped)'),
            (pause.resume, "running", 'cannot resume container "c": container not paused (it is running)'),
            (pause.resume, "stopped", 'cannot resume container "c": container not paused (it is stopped)'),
        ],
    )
    def test_refused(self, world: World, monkeypatch: pytest.MonkeyPatch, act: Any, status: str, said: str) -> None:
        world.add(status)
        monkeypatch.setattr(cgroup.Cgroup, "write", lambda *_: pytest.fail("nothing may be written"))
        with pytest.raises(Failure) as raised:
            act(world.root, "c")
        assert str(raised.value) == said

    @pytest.mark.parametrize(("act", "status"), [(pause.pause, "running"), (pause.resume, "paused")])
    def test_under_the_lock(self, world: World, monkeypatch: pytest.MonkeyPatch, act: Any, status: str) -> None:
        world.add(status)
        held: list[bool] = []

        def write(*_: object, **__: object) -> None:
            with world.store.open("c", lock=False) as second:
                held.append(not second.lock(wait=False))

        monkeypatch.setattr(cgroup.Cgroup, "freeze", write)
        monkeypatch.setattr(cgroup.Cgroup, "thaw", write)
        act(world.root, "c")
        assert held == [True]


class TestState:
    @pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
    def test_document(self, world: World, status: str) -> None:
        pid = world.add(status, annotations={"a": "b"})
        document = state.state(world.root, "c")
        assert (document["id"], document["status"], document["bundle"]) == ("c", status, "/b")
        assert (document["pid"], document["annotations"]) == (0 if status == "stopped" else pid, {"a": "b"})

    def test_creating(self, world: World) -> None:
        with world.make():
            assert state.state(world.root, "c")["status"] == "creating"

    def test_no_descriptor_is_left(self, world: World) -> None:
        world.add("running")
        before = len(os.listdir("/proc/self/fd"))
        state.state(world.root, "c")
        state.states(world.root, unexpected)
        with pytest.raises(NotFound):
            state.state(world.root, "d")
        assert len(os.listdir("/proc/self/fd")) == before

    def test_all(self, world: World) -> None:
        assert (state.ids(world.root), state.states(world.root, unexpected)) == ([], [])
        world.add("running", "b")
        world.add("stopped", "a")
        world.add("running", "d")
        Path(world.root, "d", "state.json").write_text("{")
        reported: list[Failure] = []
        documents = state.states(world.root, reported.append)
        assert state.ids(world.root) == ["a", "b", "d"]
        assert [(each["id"], each["status"]) for each in documents] == [("a", "stopped"), ("b", "running")]
        assert len(reported) == 1 and 'the state record of container "d"' in str(reported[0])

    def test_one_that_is_deleted_meanwhile(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.add("running")

        def look(container: Container) -> None:
            with world.store.open("c") as other:
                other.remove()
            raise Failure("no record")

        monkeypatch.setattr(state, "status_of", look)
        assert state.state_if_there(world.store, "c", unexpected) is None
        assert state.state_if_there(world.store, "c", unexpected) is None, "it was gone before"

    def test_one_that_is_damaged_for_the_status_alone(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def look(_: Container) -> None:
            raise Failure("no descriptor")

        world.add("running")
        monkeypatch.setattr(state, "status_of", look)
        reported: list[Failure] = []
        assert state.state_if_there(world.store, "c", reported.append) is None
        assert [str(each) for each in reported] == ["no descriptor"]


class TestProcesses:
    def test_pids(self, world: World) -> None:
        world.add("running")
        world.file("c", "cgroup.procs", "12\n7\n")
        (world.mount / "c" / "below").mkdir()
        (world.mount / "c" / "below" / "cgroup.procs").write_text("7\n100\n")
        assert state.processes(world.root, "c") == [7, 12, 100]

    def test_stopped(self, world: World) -> None:
        world.add("stopped")
        with pytest.raises(Failure) as raised:
            state.processes(world.root, "c")
        assert str(raised.value) == 'cannot list processes of container "c": container not running'
