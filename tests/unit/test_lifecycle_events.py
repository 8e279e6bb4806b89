"""The stream of events, on files in place of a cgroup and pipes in place of what poll watches."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.containers import World
from support.recording import Recorder

from pyruntime.container.cgroup import Cgroup
from pyruntime.container.status import Status
from pyruntime.errors import Failure
from pyruntime.lifecycle import events

SECOND = 10**9


@pytest.fixture
def group(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    (tmp_path / "memory.events").write_text("low 0\noom_kill 2\n")
    return tmp_path


class Watched:
    """A stream and what it has emitted; the answers of poll are the descriptors that are ready, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, group: Path, *answers: Any) -> None:
        self.emitted: list[tuple[str, Any]] = []
        self.waits: list[tuple[list[str], int]] = []
        self.answers = list(answers)
        monkeypatch.setattr(events, "kernel", Recorder(poll=self.poll))
        monkeypatch.setattr(events, "statistics", lambda group: {"of": group.path})
        self.stream = events.Stream(Cgroup(str(group)), Status("running", 5, 1000), self.emit, 1001)

    def emit(self, kind: str, data: Any) -> None:
        self.emitted.append((kind, data))

    def poll(self, watched: list[tuple[int, int]], timeout: int) -> list[tuple[int, int]]:
        names = {1000: "init", 1001: "reader", self.stream.cgroup_events: "cgroup", self.stream.memory_events: "memory"}
        self.waits.append((sorted(f"{names[fd]}:{mask}" for fd, mask in watched), timeout))
        answer: Any = self.answers.pop(0)
        if callable(answer):
            answer = answer()
        numbers = {name: fd for fd, name in names.items()}
        return [(numbers[name], 1) for name in answer]


def test_all_is_watched_until_init_ends(monkeypatch: pytest.MonkeyPatch, group: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    watched = Watched(monkeypatch, group, ["init"])
    watched.stream.run(3 * SECOND)
    ((names, timeout),) = watched.waits
    assert names == ["cgroup:2", "init:1", "memory:2", "reader:0"]
    assert 2000 < timeout <= 3000, "milliseconds"
    assert watched.emitted == [] and len(os.listdir("/proc/self/fd")) == before


def test_kills(monkeypatch: pytest.MonkeyPatch, group: Path) -> None:
    """Those from before are none of this stream's, and the last comes before the end."""

    def kill(count: int, *ready: str) -> Any:
        def happen() -> tuple[str, ...]:
            (group / "memory.events").write_text(f"oom_kill {count}\n")
            return ready

        return happen

    watched = Watched(monkeypatch, group, ["memory"], kill(3, "memory"), ["cgroup"], kill(5, "memory", "init"))
    watched.stream.run(SECOND * 100)
    assert watched.emitted == [("oom", None), ("oom", None)]


def test_statistics(monkeypatch: pytest.MonkeyPatch, group: Path) -> None:
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])

    def later(seconds: float) -> Any:
        def pass_time() -> list[str]:
            now[0] += int(seconds * SECOND)
            return []

        return pass_time

    watched = Watched(monkeypatch, group, later(4), later(1), later(5), later(12), later(0), ["reader"])
    watched.stream.run(5 * SECOND)
    assert [timeout for _, timeout in watched.waits] == [5000, 1000, 5000, 5000, 0, 5000], "none is made up for twice"
    assert watched.emitted == [("stats", {"of": str(group)})] * 4


@pytest.mark.parametrize("text", ["populated 0\nfrozen 0\n", ""])
def test_a_cgroup_that_is_empty_ends_the_stream(monkeypatch: pytest.MonkeyPatch, group: Path, text: str) -> None:
    def happen() -> list[str]:
        (group / "cgroup.events").write_text(text)
        return ["cgroup"]

    watched = Watched(monkeypatch, group, [], happen)
    watched.stream.run(SECOND)
    assert len(watched.waits) == 2


def test_a_reader_that_is_gone_gets_no_more(monkeypatch: pytest.MonkeyPatch, group: Path) -> None:
    def happen() -> list[str]:
        (group / "memory.events").write_text("oom_kill 9\n")
        return ["reader", "memory"]

    watched = Watched(monkeypatch, group, happen)
    watched.stream.run(SECOND)
    assert watched.emitted == []


def test_memory_is_counted_when_an_update_limits_it(monkeypatch: pytest.MonkeyPatch, group: Path) -> None:
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    (group / "memory.events").unlink()

    def limit() -> list[str]:
        now[0] += SECOND
        (group / "memory.events").write_text("oom_kill 4\n")
        return []

    def kill() -> list[str]:
        (group / "memory.events").write_text("oom_kill 5\n")
        return ["memory"]

    watched = Watched(monkeypatch, group, limit, kill, ["init"])
    watched.stream.run(SECOND)
    assert watched.waits[0][0] == ["cgroup:2", "init:1", "reader:0"]
    assert watched.waits[1][0] == ["cgroup:2", "init:1", "memory:2", "reader:0"]
    assert [kind for kind, _ in watched.emitted] == ["stats", "oom"]


def test_without_a_reader_or_a_cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watched = Watched(monkeypatch, tmp_path / "none", [], ["init"])
    watched.stream.reader = -1
    watched.stream.run(SECOND)
    assert [names for names, _ in watched.waits] == [["init:1"], ["init:1"]]


class TestFiles:
    def test_errors(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def fail(number: int) -> Any:
            def call(*_: object) -> None:
                raise OSError(number, os.strerror(number))

            return call

        with monkeypatch.context() as patch:
            patch.setattr("posix.open", fail(errno.EMFILE))
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                events.open_file(Cgroup(str(tmp_path)), "x")
        with monkeypatch.context() as patch:
            patch.setattr("posix.lseek", fail(errno.ENODEV))
            assert events.read_again(0) == ""
            patch.setattr("posix.lseek", fail(errno.EIO))
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                events.read_again(0)


class TestContainer:
    def test_stats(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.add("running")
        world.file("c", "pids.current", "3\n")
        world.file("c", "pids.max", "9\n")
        assert events.stats(world.root, "c")["pids"] == {"current": 3, "limit": 9}

    def test_watch(self, world: World) -> None:
        """Until the container's own process ends, which the kernel reports."""
        pid = world.add("running")
        emitted: list[str] = []

        def emit(kind: str, _: Any) -> None:
            emitted.append(kind)
            world.end(pid)

        events.watch(world.root, "c", SECOND // 100, emit)
        assert emitted == ["stats"]

    def test_not_running(self, world: World) -> None:
        world.add("stopped")
        none = lambda *_: pytest.fail("an event")  # noqa: E731
        for call in (lambda: events.stats(world.root, "c"), lambda: events.watch(world.root, "c", 1, none)):
            with pytest.raises(Failure) as raised:
                call()
            assert str(raised.value) == 'no events of container "c": container not running (it is stopped)'
