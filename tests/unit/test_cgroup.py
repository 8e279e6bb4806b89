"""Control of a cgroup on a tree of plain directories, on which the test plays the kernel's part."""

import errno
import os
import posix
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime import kernel
from pyruntime.container import cgroup as module
from pyruntime.container.cgroup import Cgroup
from pyruntime.errors import Failure


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "top"
    path.mkdir()
    return path


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Let nobody wait, but look twice; return the (seconds, longest) that were asked for."""
    asked: list[tuple[float, float]] = []

    def attempts(seconds: float, longest: float) -> Iterator[None]:
        asked.append((seconds, longest))
        yield
        yield

    monkeypatch.setattr(module, "attempts", attempts)
    return asked


def files(path: Path, **texts: str) -> None:
    """Write files of a cgroup, `cgroup_events` for cgroup.events."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (path / name.replace("_", ".", 1)).write_text(text)


def failing(monkeypatch: pytest.MonkeyPatch, call: str, number: int, name: str = "") -> None:
    """Let a call of posix fail, for paths that end with a name."""
    real = getattr(posix, call)

    def fail(path: Any, *rest: Any, **more: Any) -> Any:
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number))
        return real(path, *rest, **more)

    monkeypatch.setattr(posix, call, fail)


class TestAttempts:
    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        slept: list[float] = []
        monkeypatch.setattr("time.monotonic", lambda: 100.0 + sum(slept))
        monkeypatch.setattr("time.sleep", slept.append)
        return slept

    def test_pauses_double_up_to_the_longest(self, pauses: list[float]) -> None:
        seen = [len(pauses) for _ in module.attempts(0.015, 0.004)]
        assert pauses == [0.0005, 0.001, 0.002, 0.004, 0.004, 0.004]
        assert seen == [0, 1, 2, 3, 4, 5, 6], "the first comes at once, the last after the time is over"

    @pytest.mark.parametrize("seconds", [0, -1])
    def test_without_time_there_is_one(self, pauses: list[float], seconds: float) -> None:
        assert list(module.attempts(seconds, 1)) == [None]
        assert pauses == []


class TestFiles:
    def test_read(self, top: Path) -> None:
        group = Cgroup(str(top))
        files(top, cgroup_procs="x" * 100000 + "\n", memory_max="max\n")
        assert group.read("memory.max") == "max\n"
        assert group.read("cgroup.procs") == "x" * 100000 + "\n"
        assert group.read("none") is None
        assert Cgroup(f"{top}/memory.max").read("cgroup.events") is None, "the name of a file"

    def test_an_error_that_is_not_the_end_of_the_cgroup(self, top: Path) -> None:
        with pytest.raises(IsADirectoryError):
            Cgroup(str(top)).read("")
        with pytest.raises(IsADirectoryError):
            Cgroup(str(top)).write("", "1")

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.ENOTDIR])
    def test_the_cgroup_goes_meanwhile(self, top: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        files(top, memory_max="max\n")
        failing(monkeypatch, "read", number)
        assert Cgroup(str(top)).read("memory.max") is None

    def test_write(self, top: Path) -> None:
        files(top, memory_max="max\n")
        assert Cgroup(str(top)).write("memory.max", "123") is True
        assert (top / "memory.max").read_text() == "123\n"
        assert Cgroup(str(top)).write("none", "1") is False
        assert os.listdir(top) == ["memory.max"], "a file that is not there is not made"

    def test_events(self, top: Path) -> None:
        group = Cgroup(str(top))
        assert (group.events(), group.frozen(), group.populated()) == ({}, False, False)
        files(top, cgroup_events="populated 1\nfrozen 0\n")
        assert group.events() == {"populated": "1", "frozen": "0"}
        assert (group.frozen(), group.populated()) == (False, True)
        files(top, cgroup_events="populated 0\nfrozen 1\n")
        assert (group.frozen(), group.populated()) == (True, False)

    def test_oom_kills(self, top: Path) -> None:
        files(top, memory_events="oom_kill_group 5\noom_kill 12\n")
        assert Cgroup(str(top)).oom_kills() == 12
        files(top, memory_events="oom 12\n")
        assert Cgroup(str(top)).oom_kills() == 0


class TestWalk:
    def walk(self, path: Path, meanwhile: Callable[[str], object] = lambda name: None) -> list[str]:
        seen: list[str] = []

        def enter(fd: int) -> None:
            name = os.readlink(f"/proc/self/fd/{fd}")[len(str(path)) :]
            seen.append(f"into {name}")
            meanwhile(name)

        def leave(parent: int, name: str) -> None:
            above = os.readlink(f"/proc/self/fd/{parent}")
            seen.append(f"from {above[len(str(path)) :]}/{name}")

        Cgroup(str(path)).walk(enter, leave)
        return seen

    def test_a_parent_comes_before_its_children_and_is_left_after_them(self, top: Path) -> None:
        files(top / "a/b", cgroup_procs="")
        os.symlink(top, top / "link")
        assert self.walk(top) == ["into ", "into /a", "into /a/b", "from /a/b", "from /a"]
        files(top / "c")
        seen = self.walk(top)
        assert sorted(seen) == ["from /a", "from /a/b", "from /c", "into ", "into /a", "into /a/b", "into /c"]
        assert seen.index("from /a") == seen.index("into /a") + 3

    def test_without_functions(self, top: Path) -> None:
        files(top / "a/b")
        Cgroup(str(top)).walk()

    def test_what_goes_meanwhile_is_passed_over(self, top: Path) -> None:
        files(top / "a")
        files(top / "b")

        def remove_the_other(name: str) -> None:
            if name:
                (top / ("b" if name == "/a" else "a")).rmdir()

        seen = self.walk(top, remove_the_other)
        assert len(seen) == 3 and seen[1][5:] == seen[2][5:]

    @pytest.mark.parametrize("gone", ["none", "file", "file/x"])
    def test_gone(self, top: Path, gone: str) -> None:
        (top / "file").touch()
        assert self.walk(top / gone) == []

    @pytest.mark.parametrize("name", ["top", "a", ".."])
    def test_other_errors_are_told(self, top: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        files(top / "a")
        failing(monkeypatch, "open", errno.EMFILE, name)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            Cgroup(str(top)).walk()

    def test_children_of_a_cgroup_that_is_gone(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fd = os.open(top, os.O_RDONLY)
        try:
            top.rmdir()
            assert module.children_of(fd) == []
            failing(monkeypatch, "scandir", errno.EMFILE)
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                module.children_of(fd)
        finally:
            os.close(fd)


class TestProcesses:
    def test_of_the_whole_tree_each_once(self, top: Path) -> None:
        files(top, cgroup_procs="5\n7\n")
        files(top / "a/b", cgroup_procs="7\n9\n")
        assert Cgroup(str(top)).processes() == [5, 7, 9]
        assert Cgroup(f"{top}/none").processes() == []

    def threaded(self, monkeypatch: pytest.MonkeyPatch, procs: int, threads: object) -> None:
        def read_file(path: str, dir_fd: int | None = None) -> bytes:
            text = {"cgroup.procs": procs, "cgroup.threads": threads}.get(path)
            if isinstance(text, int):
                raise OSError(text, os.strerror(text))
            assert dir_fd == 77
            return text if isinstance(text, bytes) else Path(path).read_bytes()

        real = module.read_file
        monkeypatch.setattr(
            module, "read_file", lambda path, fd=None: read_file(path, fd) if fd is not None else real(path)
        )

    def test_a_threaded_cgroup_names_the_processes_of_its_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        end = threading.Event()
        threads = [threading.Thread(target=end.wait) for _ in range(2)]
        for each in threads:
            each.start()
        try:
            listed = "".join(f"{each.native_id}\n" for each in threads) + f"{1 << 22}\n"
            self.threaded(monkeypatch, errno.EOPNOTSUPP, listed.encode())
            assert module.processes_of(77) == [os.getpid()], "once, and nothing for the thread that is gone"
        finally:
            end.set()
            for each in threads:
                each.join()

    @pytest.mark.parametrize(
        ("procs", "threads"), [(errno.ENODEV, b"1\n"), (errno.EOPNOTSUPP, errno.ENODEV)], ids=["procs", "threads"]
    )
    def test_gone(self, monkeypatch: pytest.MonkeyPatch, procs: int, threads: object) -> None:
        self.threaded(monkeypatch, procs, threads)
        assert module.processes_of(77) == []

    @pytest.mark.parametrize(
        ("procs", "threads"), [(errno.EMFILE, b"1\n"), (errno.EOPNOTSUPP, errno.EMFILE)], ids=["procs", "threads"]
    )
    def test_other_errors_are_told(self, monkeypatch: pytest.MonkeyPatch, procs: int, threads: object) -> None:
        self.threaded(monkeypatch, procs, threads)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            module.processes_of(77)

    def test_a_process_leads_itself(self) -> None:
        assert module.leader_of(os.getpid()) == os.getpid()
        assert module.leader_of(1 << 22) == 0

    def test_a_status_without_a_leader(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "read_file", lambda path: b"Name:\tTgid:\r8\nTgid:\t7\nNgid:\t9\n")
        assert module.leader_of(5) == 7
        monkeypatch.setattr(module, "read_file", lambda path: b"Name:\tx\n")
        assert module.leader_of(5) == 0


class TestSignal:
    def test_a_process_is_killed(self) -> None:
        with subprocess.Popen(["sleep", "1000"]) as child:
            try:
                module.signal_process(child.pid, signal.SIGTERM)
                assert child.wait(5) == -signal.SIGTERM
            finally:
                child.kill()

    def test_one_that_is_gone(self) -> None:
        module.signal_process(1 << 22, signal.SIGTERM)

    def test_one_that_goes_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def gone(pidfd: int, number: int) -> None:
            asked.append((os.readlink(f"/proc/self/fd/{pidfd}"), number))
            raise ProcessLookupError

        monkeypatch.setattr(kernel, "pidfd_send_signal", gone)
        module.signal_process(os.getpid(), signal.SIGTERM)
        assert asked == [("anon_inode:[pidfd]", signal.SIGTERM)]


class TestKill:
    @pytest.fixture
    def killed(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """What signals are sent; none is."""
        sent: list[tuple[int, int]] = []
        monkeypatch.setattr(module, "signal_process", lambda pid, number: sent.append((pid, number)))
        return sent

    def test_by_the_kernel(self, top: Path, killed: list[tuple[int, int]]) -> None:
        files(top, cgroup_kill="?", cgroup_freeze="?", cgroup_procs="5\n", cgroup_events="populated 1\nfrozen 0\n")
        Cgroup(str(top)).kill()
        assert (top / "cgroup.kill").read_text() == "1"
        assert (top / "cgroup.freeze").read_text() == "?" and killed == []

    def test_gone(self, top: Path, waits: list[Any], killed: list[tuple[int, int]]) -> None:
        Cgroup(f"{top}/none").kill()
        assert waits == [] and killed == []

    def one_by_one(self, top: Path) -> None:
        files(top, cgroup_freeze="?", cgroup_procs="5\n", cgroup_events="populated 1\nfrozen 1\n")
        files(top / "a", cgroup_procs="6\n")

    def test_one_by_one_while_they_are_held_still(
        self, top: Path, waits: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.one_by_one(top)
        seen = []
        monkeypatch.setattr(
            module,
            "signal_process",
            lambda pid, number: seen.append((pid, number, (top / "cgroup.freeze").read_text())),
        )
        Cgroup(str(top)).kill()
        assert seen == [(5, 9, "1"), (6, 9, "1")], "once: nothing forks when all are frozen"
        assert (top / "cgroup.freeze").read_text() == "0"

    def test_one_that_cannot_be_frozen_is_killed_until_nobody_is_left(
        self, top: Path, waits: list[Any], killed: list[tuple[int, int]]
    ) -> None:
        self.one_by_one(top)
        files(top, cgroup_events="populated 1\nfrozen 0\n")
        Cgroup(str(top)).kill()
        assert killed == [(5, 9), (6, 9)] * 100
        assert (top / "cgroup.freeze").read_text() == "0"

    def test_it_ends_when_nobody_is_left(self, top: Path, waits: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.one_by_one(top)
        files(top, cgroup_events="populated 1\nfrozen 0\n")
        looks = iter([[5, 6], [6], [], [7]])
        monkeypatch.setattr(Cgroup, "processes", lambda self: next(looks))
        monkeypatch.setattr(module, "signal_process", lambda pid, number: None)
        Cgroup(str(top)).kill()
        assert list(looks) == [[7]]

    @pytest.mark.parametrize(("number", "told"), [(errno.EOPNOTSUPP, False), (errno.EACCES, True)])
    def test_a_threaded_cgroup_has_no_cgroup_kill(
        self, top: Path, waits: list[Any], killed: list[Any], monkeypatch: pytest.MonkeyPatch, number: int, told: bool
    ) -> None:
        self.one_by_one(top)
        real = Cgroup.write

        def write(self: Cgroup, name: str, text: str) -> bool:
            if name == "cgroup.kill":
                raise OSError(number, os.strerror(number))
            return real(self, name, text)

        monkeypatch.setattr(Cgroup, "write", write)
        if told:
            with pytest.raises(PermissionError):
                Cgroup(str(top)).kill()
        else:
            Cgroup(str(top)).kill()
        assert killed == ([] if told else [(5, 9), (6, 9)])


class TestFreeze:
    def test_all_are_stopped(self, top: Path, waits: list[Any]) -> None:
        files(top, cgroup_freeze="?", cgroup_events="populated 1\nfrozen 1\n")
        Cgroup(str(top)).freeze()
        assert (top / "cgroup.freeze").read_text() == "1"
        assert waits == [(5.0, 0.05)]

    def test_not_in_time(self, top: Path, waits: list[Any]) -> None:
        files(top, cgroup_freeze="?", cgroup_events="populated 1\nfrozen 0\n")
        with pytest.raises(Failure) as caught:
            Cgroup(str(top)).freeze(0.5)
        assert str(caught.value) == f"cgroup {top} could not be frozen within 0.5 s; its processes run on"
        assert (top / "cgroup.freeze").read_text() == "0"
        assert waits == [(0.5, 0.05), (5.0, 0.05)]

    def test_interrupted(self, top: Path, waits: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        files(top, cgroup_freeze="?")
        looks = iter([KeyboardInterrupt()])

        def events(self: Cgroup) -> dict[str, str]:
            for problem in looks:
                raise problem
            return {}

        monkeypatch.setattr(Cgroup, "events", events)
        with pytest.raises(KeyboardInterrupt):
            Cgroup(str(top)).freeze()
        assert (top / "cgroup.freeze").read_text() == "0"
        assert waits == [(5.0, 0.05), (0, 0.05)], "it does not wait for the thaw"

    def test_thaw_waits(self, top: Path, waits: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        files(top, cgroup_freeze="?")
        looks = iter(["1", "0", "1"])
        monkeypatch.setattr(Cgroup, "events", lambda self: {"frozen": next(looks)})
        Cgroup(str(top)).thaw(3)
        assert (top / "cgroup.freeze").read_text() == "0"
        assert waits == [(3, 0.05)] and list(looks) == ["1"]

    def test_gone(self, top: Path, waits: list[Any]) -> None:
        group = Cgroup(f"{top}/none")
        group.thaw()
        assert waits == [], "there is nothing to wait for"
        group.freeze()
