"""The status of a container comes from the kernel: pid, start time, boot, socket, freezer."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyruntime import kernel
from pyruntime.container import status as status_module
from pyruntime.container.status import state_document, status_of
from pyruntime.container.store import Container, Store
from pyruntime.errors import Failure

if TYPE_CHECKING:
    from pyruntime.container.record import Record


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for init."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        yield child
        child.kill()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A container whose record is `creating` and whose creator has let go of it."""
    (tmp_path / "cgroup/c").mkdir(parents=True)
    record: Record = {
        "ociVersion": "/x",
        "bundle": "/x",
        "rootfs": "/x",
        "id": "c",
        "annotations": {"a": "b"},
        "cgroup": "/c",
        "cgroup_mount": f"{tmp_path}/cgroup",
        "cgroup_made": [],
        "has_process": True,
        "later_hooks": [],
        "mounts": [],
    }
    with Store(f"{tmp_path}/root").create("c", record, b"{}") as made:
        made.unlock()
        yield made


def now(container: Container) -> tuple[str, int]:
    """Return status and pid, as another command would see them."""
    with Store(container.root).open("c", lock=False) as other:
        found = status_of(other)
        assert (found.pidfd >= 0) == (found.pid > 0)
        found.close()
        return found.status, found.pid


def events(container: Container, frozen: int) -> None:
    path = Path(container.record["cgroup_mount"]) / "c/cgroup.events"
    path.write_text(f"populated 1\nfrozen {frozen}\n")


def listen(container: Container) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{container.path}/start.sock")
    listener.listen(16)
    return listener


class TestCreating:
    def test_while_the_creator_holds_the_lock(self, container: Container) -> None:
        container.lock()
        assert now(container) == ("creating", 0)

    def test_the_creator_died(self, container: Container) -> None:
        assert now(container) == ("stopped", 0)

    def test_for_the_command_that_holds_the_lock_itself(self, container: Container) -> None:
        """delete has locked it: nobody creates it any more."""
        container.lock()
        assert status_of(container).status == "stopped"

    def test_create_ends_between_the_looks(
        self, container: Container, process: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def being_created(_: Container) -> bool:
            container.save_created(process.pid)
            return False

        monkeypatch.setattr(status_module, "being_created", being_created)
        assert now(container) == ("running", process.pid)


class TestAlive:
    def test_created_while_init_listens(self, container: Container, process: Any) -> None:
        container.save_created(process.pid)
        with listen(container) as listener:
            assert now(container) == ("created", process.pid)
            connection, _ = listener.accept()
            assert connection.recv(1) == b"", "only a look"
            connection.close()
        assert now(container) == ("running", process.pid), "the socket is closed, its name still there"
        os.unlink(f"{container.path}/start.sock")
        assert now(container) == ("running", process.pid)

    def test_a_stopped_init_is_not_flooded_with_connections(self, container: Container, process: Any) -> None:
        container.save_created(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with listen(container):
            for _ in range(40):
                assert now(container) == ("created", process.pid)

    @pytest.mark.parametrize("started", [False, True])
    def test_paused(self, container: Container, process: Any, started: bool) -> None:
        container.save_created(process.pid)
        events(container, 1)
        with listen(container) as listener:
            if started:
                listener.close()
            assert now(container) == ("paused", process.pid)
            events(container, 0)
            assert now(container) == ("running" if started else "created", process.pid)

    def test_other_errors_of_the_socket_are_told(self, container: Container, process: Any) -> None:
        container.save_created(process.pid)
        Path(f"{container.path}/start.sock").write_text("")
        assert now(container) == ("running", process.pid)


class TestStopped:
    @pytest.fixture(autouse=True)
    def _created(self, container: Container, process: Any) -> None:
        container.save_created(process.pid)

    def change(self, container: Container, **members: Any) -> None:
        path = Path(container.path) / "state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **members}))

    def test_gone(self, container: Container, process: Any) -> None:
        assert now(container)[0] == "running"
        process.kill()
        process.wait()
        assert now(container) == ("stopped", 0)

    def test_zombie(self, container: Container, process: Any) -> None:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert now(container) == ("stopped", 0)

    def test_the_pid_is_another_process(self, container: Container) -> None:
        self.change(container, start_time=container.record["start_time"] - 1)
        assert now(container) == ("stopped", 0)

    def test_another_boot(self, container: Container) -> None:
        self.change(container, boot_id="00000000-0000-0000-0000-000000000000")
        assert now(container) == ("stopped", 0)

    def test_the_pid_becomes_another_process_before_the_pidfd(
        self, container: Container, process: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the pidfd refers to is what is compared: a look at the pid before it says nothing."""
        real, started = kernel.pidfd_open, [container.record["start_time"]]

        def pidfd_open(pid: int) -> int:
            started[0] += 1
            return real(pid)

        monkeypatch.setattr(kernel, "pidfd_open", pidfd_open)
        monkeypatch.setattr(status_module, "stat_of", lambda pid: ("S", started[0]))
        assert now(container) == ("stopped", 0)

    @pytest.mark.parametrize("pid", [0, -1, 1 << 22, 10**12])
    def test_a_pid_that_is_none(self, container: Container, pid: Any) -> None:
        self.change(container, pid=pid)
        assert now(container) == ("stopped", 0)

    def test_the_process_ends_between_pidfd_and_stat(
        self, container: Container, process: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = status_module.stat_of

        def stat_of(pid: int) -> tuple[str, int]:
            process.kill()
            process.wait()
            return real(pid)

        monkeypatch.setattr(status_module, "stat_of", stat_of)
        assert now(container) == ("stopped", 0)


def test_a_name_with_brackets_and_blanks_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as child:
        try:
            assert status_module.stat_of(child.pid)[0] in "RSD"
            assert status_module.stat_of(child.pid)[1] > 0
        finally:
            child.kill()


def test_state_document(container: Container, process: Any) -> None:
    container.save_created(process.pid)
    found = status_of(container)
    found.close()
    document = state_document(container, found)
    assert document == {
        "ociVersion": "/x",
        "id": "c",
        "pid": process.pid,
        "status": "running",
        "bundle": "/x",
        "rootfs": "/x",
        "created": container.record["created"],
        "annotations": {"a": "b"},
        "owner": status_module.owner_name(os.getuid()),
    }


def test_owner_name() -> None:
    assert status_module.owner_name(0) == "root"
    assert status_module.owner_name(4000000000) == "4000000000"


def test_an_owner_without_a_name(container: Container, process: Any) -> None:
    container.record["owner_uid"] = 4000000000
    container.save_created(process.pid)
    found = status_of(container)
    found.close()
    assert state_document(container, found)["owner"] == "#4000000000"


def test_a_damaged_record_has_no_status(container: Container) -> None:
    (Path(container.path) / "state.json").write_text("{")
    with Store(container.root).open("c") as other, pytest.raises(Failure, match="delete --force"):
        status_of(other)
