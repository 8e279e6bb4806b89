"""sd_notify: the service manager is a socket of the test, and so is the container's program."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.containers import World
from support.recording import Recorder

from pyruntime import kernel
from pyruntime.errors import Failure
from pyruntime.lifecycle import notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"{tmp_path}/manager")
        listening.settimeout(5)
        yield listening


@pytest.fixture
def pair(manager: socket.socket) -> Iterator[tuple[socket.socket, notify.Notify]]:
    """The program's end, and what waits for it."""
    theirs, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    made = notify.Notify(inside, notify.connect(manager.getsockname()))
    yield theirs, made
    theirs.close()
    made.close()


def received(manager: socket.socket) -> tuple[bytes, list[int]]:
    text, fds, _, _ = socket.recv_fds(manager, 4096, 4)
    return text, fds


class TestManager:
    def test_there(self, manager: socket.socket) -> None:
        assert notify.problem(manager.getsockname()) is None

    def test_in_the_abstract_space(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind("")  # the kernel picks a name
            name = listening.getsockname()[1:].decode()
            assert notify.problem(f"@{name}") is None
            assert (
                notify.problem(f"@{name}x") == f"NOTIFY_SOCKET=@{name}x is ignored: connection refused (ECONNREFUSED)"
            )

    @pytest.mark.parametrize(
        ("address", "why"),
        [
            ("/no-such/\udcff", "no such file or directory (ENOENT)"),
            ("vsock:1", "neither an absolute path nor a name after @ (EAFNOSUPPORT)"),
        ],
    )
    def test_not_there(self, address: str, why: str) -> None:
        said = notify.problem(address)
        assert said == f"NOTIFY_SOCKET={address} is ignored: {why}".replace("\udcff", "\\xff")


class TestListen:
    def test_socket(self, world: World, manager: socket.socket) -> None:
        with world.make() as container:
            notify.make_directory(container)
            directory = Path(container.path, "notify")
            assert stat.S_IMODE(directory.stat().st_mode) == 0o755
            for _ in range(2):  # the socket of a start that failed is in no one's way
                made = notify.listen(container, manager.getsockname())
                assert made is not None
                made.close()
            made = notify.listen(container, manager.getsockname())
            assert made is not None
            inside = directory / "notify.sock"
            assert stat.S_IMODE(inside.stat().st_mode) == 0o777
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as program:
                program.sendto(b"STATUS=x\nREADY=1\n", str(inside))
            assert made.read(77) is True
            assert received(manager) == (b"READY=1\nMAINPID=77", [])
            made.close()

    def test_create_has_prepared_none(self, world: World) -> None:
        with world.make() as container:
            assert notify.listen(container, "/none") is None

    def test_the_manager_is_gone(self, world: World, warnings: list[str]) -> None:
        with world.make() as container:
            notify.make_directory(container)
            assert notify.listen(container, "/none") is None
        assert warnings == ["NOTIFY_SOCKET=/none is ignored: no such file or directory (ENOENT)"]

    def test_a_socket_that_cannot_be_made(
        self, world: World, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        with world.make() as container:
            notify.make_directory(container)
            monkeypatch.setattr("posix.chmod", refuse)
            with pytest.raises(Failure) as raised:
                notify.listen(container, manager.getsockname())
        assert str(raised.value) == "sd_notify: make /run/notify/notify.sock: read-only file system (EROFS)"

    def test_the_directory_is_for_all_users(self, world: World) -> None:
        """Whatever the mask of the caller."""
        before = os.umask(0o77)
        try:
            with world.make() as container:
                notify.make_directory(container)
                assert stat.S_IMODE(Path(container.path, "notify").stat().st_mode) == 0o755
        finally:
            os.umask(before)


class TestRead:
    @pytest.mark.parametrize("text", [b"STATUS=x", b"READY=0", b"XREADY=1", b"READY=10", b""])
    def test_another_message(self, pair: tuple[socket.socket, notify.Notify], text: bytes) -> None:
        pair[0].send(text)
        assert pair[1].read(5) is False and pair[1].fd >= 0

    def test_once(self, pair: tuple[socket.socket, notify.Notify], manager: socket.socket) -> None:
        pair[0].send(b"READY=1")
        assert pair[1].read(5) is True and pair[1].fd == -1
        assert received(manager)[0] == b"READY=1\nMAINPID=5"
        with pytest.raises(ConnectionRefusedError):
            pair[0].send(b"READY=1")

    def test_the_manager_has_gone(
        self, pair: tuple[socket.socket, notify.Notify], manager: socket.socket, warnings: list[str]
    ) -> None:
        manager.close()
        pair[0].send(b"READY=1")
        assert pair[1].read(5) is True
        assert warnings == ["notify the service manager that the program is ready: Connection refused"]


class TestWait:
    def waiting(self, world: World, monkeypatch: pytest.MonkeyPatch, waiter: notify.Notify) -> list[str]:
        barriers: list[str] = []
        monkeypatch.setattr(waiter, "barrier", lambda: barriers.append("barrier"))
        with world.store.open("c", lock=False) as container:
            waiter.wait(container)
        return barriers

    def test_ready(self, world: World, pair: Any, manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
        pid = world.add("running")
        pair[0].send(b"STATUS=starting")
        pair[0].send(b"READY=1")
        assert self.waiting(world, monkeypatch, pair[1]) == ["barrier"]
        assert received(manager)[0] == b"READY=1\nMAINPID=%d" % pid

    def test_the_program_ends(self, world: World, pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        pid = world.add("running")
        real: Callable[..., Any] = kernel.poll

        def poll(watched: list[tuple[int, int]], timeout: int) -> Any:
            world.end(pid)
            return real(watched, timeout)

        monkeypatch.setattr(notify, "kernel", Recorder(kernel, poll=poll))
        assert self.waiting(world, monkeypatch, pair[1]) == []

    def test_it_had_ended(self, world: World, pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        world.add("stopped")
        monkeypatch.setattr(notify, "kernel", Recorder(poll=lambda *_: pytest.fail("nothing to wait for")))
        assert self.waiting(world, monkeypatch, pair[1]) == []


class TestBarrier:
    def test_read(
        self, pair: Any, manager: socket.socket, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
    ) -> None:
        """The manager closes the descriptor that it got when it has read all before."""
        real: Callable[..., Any] = kernel.poll

        def poll(watched: list[tuple[int, int]], timeout: int) -> Any:
            assert timeout == 30000 and real(watched, 0) == []
            text, fds = received(manager)
            assert text == b"BARRIER=1"
            os.close(fds[0])
            return real(watched, 1000)

        monkeypatch.setattr(notify, "kernel", Recorder(kernel, poll=poll))
        pair[1].barrier()
        assert warnings == []

    def test_not_read(
        self, pair: Any, manager: socket.socket, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
    ) -> None:
        monkeypatch.setattr(notify, "BARRIER_SECONDS", 0.0)
        pair[1].barrier()
        os.close(received(manager)[1][0])
        assert warnings == ["the service manager did not read in time that the program is ready"]

    def test_no_manager(
        self, pair: Any, manager: socket.socket, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
    ) -> None:
        manager.close()
        monkeypatch.setattr(kernel, "poll", lambda *_: pytest.fail("nothing to wait for"))
        pair[1].barrier()
        assert warnings == []
