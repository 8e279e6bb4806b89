"""Killing, freezing and removing trees of cgroups, as a container may have made them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import leaks, session
from support.runtime import SECONDS, process_runs, wait_for

from pyruntime.container import cgroup as module
from pyruntime.container import exec_cgroup
from pyruntime.container.cgroup import Cgroup
from pyruntime.errors import Failure

if TYPE_CHECKING:
    from pyruntime.container.record import Record

Run = Callable[[Path], int]


@pytest.fixture
def top() -> Iterator[Path]:
    path = session.CGROUP_ROOT / f"{session.TOKEN}-control"
    path.mkdir()
    yield path
    if path.exists():
        (path / "cgroup.freeze").write_text("0")
        leaks.remove_cgroup(path)


@pytest.fixture
def run() -> Iterator[Run]:
    """A function that starts a process in a cgroup and returns its pid."""
    children: list[subprocess.Popen[bytes]] = []

    def start(cgroup: Path) -> int:
        child = subprocess.Popen(["sleep", "1000"])
        children.append(child)
        (cgroup / "cgroup.procs").write_text(str(child.pid))
        return child.pid

    yield start
    for child in children:
        child.kill()
        child.wait()


def nest(top: Path, *names: str) -> list[Path]:
    paths = [top / name for name in names]
    for path in paths:
        path.mkdir(parents=True)
    return [top, *paths]


class Without(Cgroup):
    """A cgroup of a kernel without cgroup.kill (before Linux 5.14)."""

    def write(self, name: str, text: str) -> bool:
        return name != "cgroup.kill" and super().write(name, text)


class TestKill:
    @pytest.mark.parametrize("kind", [Cgroup, Without])
    @pytest.mark.parametrize("frozen", [False, True])
    def test_the_whole_tree(self, top: Path, run: Run, kind: type[Cgroup], frozen: bool) -> None:
        pids = [run(path) for path in nest(top, "a", "a/b", "c")]
        if frozen:
            Cgroup(str(top)).freeze()
        kind(str(top)).kill()
        wait_for(lambda: not any(map(process_runs, pids)), "all are gone")
        Cgroup(str(top)).remove()

    def test_without_cgroup_kill_a_tree_that_forks(self, top: Path) -> None:
        program = (
            "import os, time\ninput()\nfor _ in range(60):\n    os.fork() or time.sleep(1000)\n    time.sleep(0.002)"
        )
        with subprocess.Popen([sys.executable, "-S", "-c", program], stdin=subprocess.PIPE) as child:
            (top / "cgroup.procs").write_text(str(child.pid))
            assert child.stdin
            child.stdin.write(b"\n")
            child.stdin.flush()
            wait_for(lambda: len(Cgroup(str(top)).processes()) > 3, "it forks")
            Without(str(top)).kill()
            wait_for(lambda: not Cgroup(str(top)).populated(), "all are gone")

    def test_it_thaws_although_a_kill_fails(self, top: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: int) -> None:
            raise OSError(1, "no")

        run(top)
        monkeypatch.setattr(module, "signal_process", fail)
        with pytest.raises(OSError, match="no"):
            Without(str(top)).kill()
        assert (top / "cgroup.freeze").read_text() == "0\n"

    @pytest.mark.parametrize("kind", [Cgroup, Without])
    def test_gone(self, top: Path, kind: type[Cgroup]) -> None:
        kind(str(top / "none")).kill()


class TestProcesses:
    def test_of_the_whole_tree(self, top: Path, run: Run) -> None:
        pids = [run(path) for path in nest(top, "a", "a/b", "c")]
        assert sorted(Cgroup(str(top)).processes()) == sorted(pids)

    def test_threaded_cgroups_below(self, top: Path, run: Run) -> None:
        """Their cgroup.procs can't be read."""
        pid = run(top)
        nest(top, "t")
        (top / "t/cgroup.type").write_text("threaded")
        (top / "t/cgroup.threads").write_text(str(pid))
        with pytest.raises(OSError, match="not supported"):
            (top / "t/cgroup.procs").read_text()
        assert Cgroup(str(top)).processes() == [pid]
        Cgroup(str(top)).kill()
        wait_for(lambda: not process_runs(pid), "it is gone")
        Cgroup(str(top)).remove()

    def test_gone(self, top: Path) -> None:
        assert Cgroup(str(top / "none")).processes() == []


class TestFreeze:
    def test_freeze_and_thaw(self, top: Path, run: Run) -> None:
        run(top)
        group = Cgroup(str(top))
        group.freeze()
        assert group.frozen()
        group.thaw()
        assert not group.frozen()

    def test_one_that_does_not_finish_is_undone(self, top: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run(top)
        group = Cgroup(str(top))
        monkeypatch.setattr(Cgroup, "events", lambda self: {"frozen": "0"})
        with pytest.raises(Failure, match=r"could not be frozen within 0\.05 s"):
            group.freeze(0.05)
        assert (top / "cgroup.freeze").read_text() == "0\n"

    def test_gone(self, top: Path) -> None:
        group = Cgroup(str(top / "none"))
        group.freeze()
        group.thaw()
        assert not group.frozen() and not group.populated()


class TestRemove:
    def test_children_first(self, top: Path) -> None:
        nest(top, "a", "a/b", "a/b/c", "d")
        Cgroup(str(top)).remove()
        assert not top.exists()

    def test_gone(self, top: Path) -> None:
        Cgroup(str(top / "none")).remove()

    def test_a_process_that_leaves_in_time(self, top: Path, run: Run) -> None:
        pid = run(nest(top, "a", "a/b")[2])
        timer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
        timer.start()
        Cgroup(str(top)).remove(5)
        assert not top.exists()

    def test_a_process_that_stays_is_named(self, top: Path, run: Run) -> None:
        pid = run(nest(top, "a", "a/b")[2])
        began = time.monotonic()
        with pytest.raises(Failure, match=rf"{top}.*process {pid} is still in it"):
            Cgroup(str(top)).remove(0.2)
        assert 0.2 <= time.monotonic() - began < SECONDS
        assert process_runs(pid)

    def test_deeper_than_a_path_can_be_long(self, top: Path, run: Run) -> None:
        fd = os.open(top, os.O_RDONLY)
        for _ in range(40):
            os.mkdir("x" * 200, dir_fd=fd)
            below = os.open("x" * 200, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        pid = run(top)
        procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd)
        os.write(procs, str(pid).encode())
        os.close(procs)
        os.close(fd)
        group = Cgroup(str(top))
        assert group.processes() == [pid]
        with pytest.raises(Failure, match=f"process {pid}"):
            group.remove(0)
        group.kill()
        group.remove()
        assert not top.exists()

    def test_another_error(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("posix.rmdir", fail)
        with pytest.raises(Failure, match=rf"remove cgroup {top}: read-only file system \(EROFS\)"):
            Cgroup(str(top)).remove()


def record_of(path: Path, made: list[Path], identity: int | None) -> "Record":
    root = str(session.CGROUP_ROOT)
    record: Record = {
        "cgroup_mount": root,
        "cgroup": str(path).removeprefix(root),
        "cgroup_made": [str(each).removeprefix(root) for each in made],
    }
    return record if identity is None else {**record, "cgroup_id": identity}


class TestOwnership:
    """A record may name a cgroup that is, or has become, somebody else's."""

    def test_its_own(self, top: Path) -> None:
        _, a, b = nest(top, "a", "a/b")
        record = record_of(b, [a, b], b.stat().st_ino)
        assert module.owned(record) is not None
        (b / "inner").mkdir()
        module.remove_made(record)
        assert not a.exists() and top.exists()

    def test_parents_that_others_use_stay(self, top: Path) -> None:
        _, a, b, other = nest(top, "a", "a/b", "a/other")
        module.remove_made(record_of(b, [a, b], b.stat().st_ino))
        assert not b.exists() and other.exists()

    def test_parents_that_were_there_stay(self, top: Path) -> None:
        _, a, b = nest(top, "a", "a/b")
        module.remove_made(record_of(b, [b], b.stat().st_ino))
        assert not b.exists() and a.exists()

    @pytest.mark.parametrize("known", [False, True])
    def test_somebody_elses(self, top: Path, run: Run, known: bool) -> None:
        a = nest(top, "a")[1]
        identity = a.stat().st_ino
        a.rmdir()
        a.mkdir()
        assert a.stat().st_ino != identity
        run(a)
        record = record_of(a, [a], identity if known else None)
        assert module.owned(record) is None
        module.remove_made(record)
        assert Cgroup(str(a)).populated()

    def test_one_made_but_not_noted_yet_goes_when_it_is_empty(self, top: Path) -> None:
        _, a, b = nest(top, "a", "a/b")
        module.remove_made(record_of(b, [a, b], None))
        assert not a.exists()

    def test_gone(self, top: Path) -> None:
        a = nest(top, "a")[1]
        record = record_of(a, [a], a.stat().st_ino)
        a.rmdir()
        assert module.owned(record) is None
        module.remove_made(record)


class TestOwnCgroup:
    def test_where_the_process_is(self, top: Path, run: Run) -> None:
        inner = nest(top, "a")[1]
        assert exec_cgroup.own_cgroup(run(inner), str(session.CGROUP_ROOT)) == str(inner)

    def test_of_exec(self, top: Path, run: Run) -> None:
        """Where init is, also when the container has moved it away from the top."""
        inner = nest(top, "a")[1]
        assert exec_cgroup.exec_cgroup(run(inner), record_of(top, [], None), []) == str(inner)

    @pytest.mark.parametrize("given", ["sub/x", "/sub/x", "memory:/sub/x", "sub/x/"])
    def test_below(self, top: Path, run: Run, given: str) -> None:
        """--cgroup counts from the container's own cgroup, wherever init is."""
        inner = nest(top, "a")[1]
        assert exec_cgroup.exec_cgroup(run(inner), record_of(top, [], None), [given]) == f"{top}/sub/x"

    @pytest.mark.parametrize("given", ["/", "cpu,memory:/"])
    def test_the_top_itself(self, top: Path, run: Run, given: str) -> None:
        inner = nest(top, "a")[1]
        assert exec_cgroup.exec_cgroup(run(inner), record_of(top, [], None), [given]) == str(top)

    @pytest.mark.parametrize("given", [[""], [".."], ["../x"], ["a/../../x"], ["cpu:/.."], ["a", "b"]])
    def test_not_out_of_it(self, top: Path, run: Run, given: list[str]) -> None:
        with pytest.raises(Failure, match="--cgroup"):
            exec_cgroup.exec_cgroup(run(top), record_of(top, [], None), given)

    def test_a_process_that_is_gone(self) -> None:
        with subprocess.Popen(["true"]) as child:
            child.wait()
        with pytest.raises(Failure, match="container not running"):
            exec_cgroup.own_cgroup(child.pid, str(session.CGROUP_ROOT))
