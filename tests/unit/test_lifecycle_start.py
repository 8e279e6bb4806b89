"""start and run: what is asked of init, what becomes of hooks that fail, and what is left of a run that fails."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.containers import World

from pyruntime import kernel, log
from pyruntime.container.store import Container
from pyruntime.engine import foreground
from pyruntime.engine import start as engine_start
from pyruntime.engine.launch import Launched
from pyruntime.errors import Failure, InvalidConfig
from pyruntime.lifecycle import create, notify, protection, run, start, terminal


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the engine was asked to start: the id of the container's directory. It raises what is put in front."""
    asked: list[Any] = []

    def act(state_dir: int, _pidfd: int) -> None:
        failure = asked.pop() if asked and isinstance(asked[-1], BaseException) else None
        asked.append(os.readlink(f"/proc/self/fd/{state_dir}").rpartition("/")[2])
        if failure is not None:
            raise failure

    monkeypatch.setattr(engine_start, "start", act)
    return asked


def hooks(kind: str, script: str) -> dict[str, Any]:
    """Return the config with one hook, and that the record knows it."""
    entry = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    config = {"ociVersion": "1.2.0", "hooks": {kind: [entry, {**entry, "args": ["sh", "-c", "exit 0"]}]}}
    return {"config": json.dumps(config).encode(), "later_hooks": [kind]}


class TestStart:
    def test_created(self, world: World, started: list[Any]) -> None:
        world.add("created")
        start.start(world.root, "c")
        assert started == ["c"]
        with world.store.open("c", lock=False) as container:
            assert container.lock(wait=False), "the lock is free again"

    @pytest.mark.parametrize(
        ("status", "what"),
        [
            ("running", "an already running container"),
            ("stopped", "a container that has stopped"),
            ("paused", "a container in the paused state"),
        ],
    )
    def test_refused(self, world: World, started: list[Any], status: str, what: str) -> None:
        world.add(status)
        with pytest.raises(Failure) as raised:
            start.start(world.root, "c")
        assert (str(raised.value), started) == (f'cannot start {what}: "c"', [])

    def test_the_reason_why_it_has_stopped(self, world: World, started: list[Any]) -> None:
        world.add("stopped")
        world.file("c", "memory.events", "oom_kill 2\n")
        with pytest.raises(Failure, match=r'stopped: "c"; memory\.events counts 2 killed for lack of memory$'):
            start.start(world.root, "c")

    def test_a_failure_of_the_engine(self, world: World, started: list[Any]) -> None:
        """It is not the container's end, and its limits may be the reason."""
        world.add("created", oom_kills=1)
        world.file("c", "memory.events", "oom_kill 2\n")
        world.file("c", "memory.max", "4096\n")
        started.append(Failure("init died"))
        with pytest.raises(Failure, match=r"^init died: out of memory: memory\.max is 4096 bytes"):
            start.start(world.root, "c")
        assert os.listdir(world.root) == ["c"]

    def test_poststart(self, world: World, started: list[Any], tmp_path: Path) -> None:
        pid = world.add("created", **hooks("poststart", f"cat > {tmp_path}/out"))
        start.start(world.root, "c")
        told = json.loads((tmp_path / "out").read_text())
        assert (told["id"], told["status"], told["pid"], started) == ("c", "running", pid, ["c"])

    def test_a_poststart_that_fails(self, world: World, started: list[Any]) -> None:
        """The container is destroyed."""
        pid = world.add("created", **hooks("poststart", "echo bad >&2; exit 4"))
        with pytest.raises(Failure, match=r"exit status 4.*\[config\.json#/hooks/poststart/0\]"):
            start.start(world.root, "c")
        assert os.listdir(world.root) == [] and world.end(pid) == signal.SIGKILL

    def test_no_process(self, world: World, started: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        logged: list[str] = []
        monkeypatch.setattr(log, "error", logged.append)
        pid = world.add("created", has_process=False)
        start.start(world.root, "c")
        said = 'cannot start container "c": config.json has no process [config.json#/process]'
        assert (capsys.readouterr().err, logged, started) == (f"pyruntime: {said}\n", [said], [])
        assert world.end(pid) == signal.SIGKILL
        assert "start.sock" not in os.listdir(f"{world.root}/c")

    def test_notify(self, world: World, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """It is listened before the program starts, and waited without the lock."""
        order: list[Any] = []

        class Waiter:
            def wait(self, container: Container) -> None:
                order.append(("wait", list(started), container.locked))

        def listen(container: Container, address: str) -> Any:
            order.append(("listen", address, list(started), container.locked))
            return Waiter()

        monkeypatch.setattr(notify, "listen", listen)
        world.add("created")
        start.start(world.root, "c", "/n")
        assert order == [("listen", "/n", [], True), ("wait", ["c"], False)]
        assert start.listen(None, None) is None  # type: ignore[arg-type]


class TestRun:
    @pytest.fixture
    def made(self, world: World, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        """A run whose prepare and make are the test's, and whose program is a process that exists."""
        config: dict[str, Any] = {"process": {"args": ["x"]}}
        found = SimpleNamespace(config=config, slots=None, pid=0, waits=[], restored=[], asked=None)

        def prepare(root: str, container_id: str, asked: create.Creation) -> Any:
            assert root == world.root
            found.id, found.asked = container_id, asked
            return SimpleNamespace(config=config)

        def make(_root: str, _request: Any, slots: dict[str, Any]) -> tuple[Container, Launched]:
            found.slots = dict(slots)
            container = world.make()
            found.pid = world.process()
            container.save_created(found.pid)
            return container, Launched(found.pid, os.pidfd_open(found.pid), -1)

        def wait(pid: int, _pidfd: int, _signals: Any, terminal: Any, notify: Any) -> int:
            with world.store.open("c", lock=False) as second:
                found.waits.append((pid, terminal, notify, second.lock(wait=False)))
            return 3

        monkeypatch.setattr(protection, "passed", True)
        monkeypatch.setattr(create, "prepare", prepare)
        monkeypatch.setattr(create, "make", make)
        monkeypatch.setattr(foreground, "Signals", lambda: SimpleNamespace(restore=lambda: found.restored.append(1)))
        monkeypatch.setattr(foreground, "wait", wait)
        return found

    def test_foreground(self, world: World, made: SimpleNamespace, started: list[Any]) -> None:
        """Unlocked while it runs, and deleted afterwards."""
        assert run.run(world.root, "c", create.Creation("/b", foreground=True)) == 3
        assert (started, made.waits, made.restored) == (["c"], [(made.pid, None, None, True)], [1])
        assert os.listdir(world.root) == []

    def test_keep(self, world: World, made: SimpleNamespace, started: list[Any]) -> None:
        assert run.run(world.root, "c", create.Creation("/b", foreground=True), keep=True) == 3
        assert os.listdir(world.root) == ["c"]

    def test_detached(self, world: World, made: SimpleNamespace, started: list[Any]) -> None:
        assert run.run(world.root, "c", create.Creation("/b")) == 0
        assert (started, made.waits, os.listdir(world.root)) == (["c"], [], ["c"])

    def test_no_process(self, world: World, made: SimpleNamespace) -> None:
        made.config.clear()
        with pytest.raises(InvalidConfig) as raised:
            run.run(world.root, "c", create.Creation("/b"))
        assert str(raised.value) == "there is no process to run [config.json#/process]"
        assert made.slots is None, "nothing was made"

    def test_a_start_that_fails(self, world: World, made: SimpleNamespace, started: list[Any]) -> None:
        started.append(Failure("no such program"))
        with pytest.raises(Failure, match=r"^no such program$"):
            run.run(world.root, "c", create.Creation("/b"))
        assert os.listdir(world.root) == []
        assert not Path(f"/proc/{made.pid}").exists(), "killed and reaped"

    def test_deleted_by_another_meanwhile(
        self, world: World, made: SimpleNamespace, started: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def wait(*_: object) -> int:
            with world.store.open("c") as other:
                other.remove()
            return 0

        monkeypatch.setattr(foreground, "wait", wait)
        monkeypatch.setattr(run, "destroy", lambda _: pytest.fail("it is another's"))
        assert run.run(world.root, "c", create.Creation("/b", foreground=True)) == 0

    def test_terminal(
        self, world: World, made: SimpleNamespace, started: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Init sends it over the socket that make got."""
        made.config["process"]["terminal"] = True
        real = create.make
        pty = os.open("/dev/null", os.O_RDWR)

        def make(root: str, request: Any, slots: dict[str, Any]) -> Any:
            with socket.socket(fileno=os.dup(slots["console"])) as theirs:
                socket.send_fds(theirs, [b"x"], [pty])
            return real(root, request, slots)

        monkeypatch.setattr(create, "make", make)
        assert run.run(world.root, "c", create.Creation("/b", foreground=True)) == 3
        relayed = made.waits[0][1]
        assert isinstance(relayed, foreground.Terminal) and os.path.samestat(os.fstat(relayed.pty), os.fstat(pty))
        os.close(relayed.pty)
        os.close(pty)


def test_take_terminal() -> None:
    """Both ends are closed, and the descriptor is the one that was sent."""
    ours, theirs = kernel.socketpair()
    read, write = os.pipe()
    with socket.socket(fileno=os.dup(theirs)) as sender:
        socket.send_fds(sender, [b"x"], [write])
    before = len(os.listdir("/proc/self/fd"))
    taken = terminal.take_terminal(ours, {"console": theirs})
    assert len(os.listdir("/proc/self/fd")) == before - 1, "two are closed, one has come"
    os.write(taken.pty, b"y")
    assert os.read(read, 2) == b"y"
    for fd in (taken.pty, read, write):
        os.close(fd)
