"""sd_notify(3): the program says that it is ready, and the service manager hears it from the runtime.

The test plays both: the manager by its socket, and the program by sending to the socket that the container has, found
below the root of its first process.
"""

import array
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import paths
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, new_id, wait_for

INSIDE = "/run/notify/notify.sock"


@pytest.fixture(params=["path", "abstract"])
def manager(workdir: Path, request: pytest.FixtureRequest) -> Iterator["Manager"]:
    """The service manager's socket."""
    address = str(workdir / "manager") if request.param == "path" else f"@{new_id('manager')}"
    with Manager(address) as found:
        yield found


class Manager:
    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(10)

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": paths.SYSTEM_PATH, "NOTIFY_SOCKET": self.address}

    def hears(self) -> list[str]:
        """Return the lines of the next message."""
        return self.socket.recv(4096).decode().splitlines()

    def lifts_barrier(self) -> None:
        """Take the last message of a runtime that ends, and close the descriptor that comes with it."""
        text, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4))
        assert text == b"BARRIER=1"
        for fd in array.array("i", control[0][2][:4]):
            os.close(fd)

    def has_heard_nothing(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(10)
        return False


def say(box: Container, text: bytes) -> None:
    """Send a message as the program would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text, f"/proc/{box.pid}/root{INSIDE}")


def listens(box: Container) -> bool:
    return Path(f"/proc/{box.pid}/root{INSIDE}").exists()


@pytest.fixture
def box(container: Make, bundle: Bundle) -> Container:
    bundle.args("sleep", "100")
    return container(create=False)


def begin(box: Container, manager: Manager, *words: str | Path) -> "subprocess.Popen[bytes]":
    """Begin a command that goes on until the program is ready."""
    return subprocess.Popen(
        box.runtime.command(*words, box.id), env=manager.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


@pytest.mark.parametrize("how", ["start", "run"])
def test_ready(box: Container, manager: Manager, how: str) -> None:
    """`start` and `run --detach` return once the program is ready, and make it the manager's to watch."""
    if how == "start":
        box.runtime.ok("create", "-b", box.bundle, box.id, env=manager.env)
        assert not listens(box)
        process = begin(box, manager, "start")
    else:
        process = begin(box, manager, "run", "--detach", "-b", box.bundle)
    try:
        wait_for(lambda: box.id in box.runtime.ids() and box.status == "running" and listens(box), "it listens")
        say(box, b"STATUS=nearly\nNOTREADY=1\nMAINPID=1")
        assert manager.has_heard_nothing(), "what is not known does not come out"
        assert process.poll() is None and box.state()["status"] == "running", "nobody else has to wait"
        assert box.sh(f"stat -c %a {INSIDE}; touch /run/notify/x 2>&1; true").splitlines() == [
            "777",
            "touch: /run/notify/x: Read-only file system",
        ]
        say(box, b"MAINPID=1\nREADY=1\n")
        assert manager.hears() == ["READY=1", f"MAINPID={box.pid}"]
        assert process.poll() is None, "it waits until the manager has read that"
        manager.lifts_barrier()
        assert process.wait(10) == 0
        assert f"NOTIFY_SOCKET={INSIDE}" in Path(f"/proc/{box.pid}/environ").read_text().split("\0")
    finally:
        box.runtime.ok("delete", "--force", box.id)
        process.wait(10)
    assert box.runtime.ids() == []


def test_in_the_foreground(box: Container, manager: Manager) -> None:
    """The runtime is the one to watch, and goes on passing signals."""
    process = begin(box, manager, "run", "-b", box.bundle)
    try:
        wait_for(lambda: box.id in box.runtime.ids() and box.status == "running" and listens(box), "it listens")
        say(box, b"READY=1")
        assert manager.hears() == ["READY=1", f"MAINPID={process.pid}"]
        assert process.poll() is None
        box.kill()
        assert process.wait(10) == 137
    finally:
        box.runtime.run("delete", "--force", box.id)
        process.wait(10)
    assert box.runtime.ids() == []


def test_a_program_that_ends_is_not_waited_for(runtime: Runtime, bundle: Bundle, manager: Manager) -> None:
    bundle.args("true")
    name = new_id()
    runtime.ok("run", "--detach", "-b", bundle.save(), name, env=manager.env)
    assert manager.has_heard_nothing()
    wait_for(lambda: '"stopped"' in runtime.ok("state", name), "it ends")
    runtime.ok("delete", name)


def test_a_container_that_knows_of_no_manager(container: Make, manager: Manager) -> None:
    """Created without NOTIFY_SOCKET: nothing is mounted, and start does not wait."""
    box = container(start=False)
    box.runtime.ok("start", box.id, env=manager.env)
    assert box.sh("ls /run; echo ${NOTIFY_SOCKET-none}") == "none"


def test_in_a_user_namespace(container: Make, bundle: Bundle, manager: Manager) -> None:
    bundle.namespaces(user="")
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    os.chmod(bundle.path, 0o755)
    bundle.args("sleep", "100")
    box = container(create=False)
    process = begin(box, manager, "run", "--detach", "-b", box.bundle)
    try:
        wait_for(lambda: box.id in box.runtime.ids() and box.status == "running" and listens(box), "it listens")
        assert box.sh(f"[ -w {INSIDE} ] && echo yes", "-u", "1000") == "yes"
        say(box, b"READY=1")
        assert manager.hears() == ["READY=1", f"MAINPID={box.pid}"]
        manager.lifts_barrier()
        assert process.wait(10) == 0
    finally:
        box.runtime.ok("delete", "--force", box.id)
        process.wait(10)
