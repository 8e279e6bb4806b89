"""Options of create, run and exec that reach into the container or back to the caller, each seen to act."""

import contextlib
import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import leaks
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import ENVIRONMENT, Runtime, namespace, new_id, says, wait_for


@contextlib.contextmanager
def listener(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        made.settimeout(10)
        yield made


def received(listening: socket.socket) -> tuple[bytes, int]:
    """Return the payload and the one descriptor of the one message that comes."""
    connection, _ = listening.accept()
    with connection:
        payload, fds, _, _ = socket.recv_fds(connection, 4096, 4)
        assert len(fds) == 1 and connection.recv(1) == b""
    return payload, fds[0]


def pid_of(pidfd: int) -> int:
    text = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pid:")))


class TestPidfdSocket:
    def test_create(self, container: Make, workdir: Path) -> None:
        with listener(workdir / "s") as listening:
            box = container("--pidfd-socket", str(workdir / "s"), start=False)
            payload, pidfd = received(listening)
        try:
            assert 1 <= len(payload) < 4096
            assert pid_of(pidfd) == box.pid
            box.kill("KILL")
            assert select.select([pidfd], [], [], 10)[0], "it tells init's end"
        finally:
            os.close(pidfd)

    def test_exec(self, container: Make, workdir: Path) -> None:
        box = container()
        with listener(workdir / "s") as listening:
            options = ["--detach", "--pid-file", str(workdir / "pid"), "--pidfd-socket", str(workdir / "s")]
            assert box.exec(*options, "--", "sleep", "1000").status == 0
            _, pidfd = received(listening)
        try:
            assert pid_of(pidfd) == int((workdir / "pid").read_text())
        finally:
            os.close(pidfd)

    def test_nobody_listens(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        error = runtime.fails("create", "--pidfd-socket", workdir / "none", "--bundle", bundle.save(), new_id())
        says(error, "none", "ENOENT")
        assert runtime.ids() == []


def test_a_pid_file_in_somebodys_directory(container: Make, workdir: Path) -> None:
    """Who has made links there for each process id that may come next has nothing written through them."""
    victim = workdir / "victim"
    victim.write_text("precious")
    with subprocess.Popen(["true"]) as latest:
        next_ids = range(latest.pid, latest.pid + 3000)
    links = [workdir / f"pid.{number}.tmp" for number in next_ids]
    for link in links:
        link.symlink_to(victim)
    box = container("--pid-file", str(workdir / "pid"), start=False)
    assert victim.read_text() == "precious"
    assert (workdir / "pid").read_text() == str(box.pid) and not (workdir / "pid").is_symlink()
    assert all(link.is_symlink() for link in links)


def test_config(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    bundle.args("echo", "from another file")
    other = workdir / "other.json"
    other.write_text(json.dumps(bundle.config))
    bundle.args("echo", "from the bundle")
    assert runtime.ok("run", "--bundle", bundle.save(), "--config", other, new_id()) == "from another file\n"


def test_listen_fds(runtime: Runtime, bundle: Bundle) -> None:
    """sd_listen_fds(3): what systemd hands to the runtime's caller reaches the program."""
    bundle.sh("echo $(ls /proc/self/fd)")
    with open("/dev/null") as one, open("/dev/null") as two:
        shown = runtime.ok(
            *("run", "--bundle", bundle.save(), new_id()),
            env={**ENVIRONMENT, "LISTEN_FDS": "2"},
            fds=[one.fileno(), two.fileno()],
        )
    assert shown == "0 1 2 3 4 5\n", "5 is ls's own"


class TestKeyring:
    """A container does not share its caller's session keyring (keyrings(7)) unless it is told to."""

    def has_its_own(self, runtime: Runtime, bundle: Bundle, *options: str) -> bool:
        """Return whether init sees a keyring of the container's name in /proc/keys."""
        bundle.linux.pop("maskedPaths", None)
        bundle.args("cat", "/proc/keys")
        name = new_id()
        return f" _ses.{name}." in runtime.ok("run", "--bundle", bundle.save(), *options, name)

    def test_own(self, runtime: Runtime, bundle: Bundle) -> None:
        assert self.has_its_own(runtime, bundle)

    def test_no_new_keyring(self, runtime: Runtime, bundle: Bundle) -> None:
        assert not self.has_its_own(runtime, bundle, "--no-new-keyring")


class TestWithoutNamespaces:
    """A config that lists no namespace: only the root directory is the container's own."""

    @pytest.fixture
    def plain(self, bundle: Bundle) -> Bundle:
        bundle.linux["namespaces"] = []
        for key in ("maskedPaths", "readonlyPaths"):
            bundle.linux.pop(key, None)
        bundle.config.pop("hostname", None)
        bundle.config["mounts"] = [mount for mount in bundle.mounts if mount["destination"] == "/proc"]
        bundle.config["root"]["readonly"] = False
        return bundle

    def test_life(self, container: Make, plain: Bundle) -> None:
        before = set(leaks.mounts())
        plain.sh("ls /etc/made-from; exec sleep 1000")
        box = container()
        wait_for(lambda: "made-from" in box.output, "the program runs")
        assert all(namespace(box.pid, link) == namespace("self", link) for link in ("mnt", "pid", "net", "uts", "ipc"))
        assert box.sh("cat /etc/made-from; pwd").endswith("/"), "exec has the same root"
        box.kill("KILL")
        wait_for(lambda: box.status == "stopped", "it has ended")
        box.delete()
        assert set(leaks.mounts()) == before, "what was mounted in the host's namespace is gone"
