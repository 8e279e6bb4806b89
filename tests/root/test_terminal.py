"""Terminals: console sockets as engines use them, and a person's terminal. config.md "Process", runtime callers."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import mountinfo
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, host_status, new_id, says, wait_for
from support.terminal import ConsoleSocket, console_socket, on_terminal


@pytest.fixture
def console(workdir: Path) -> Iterator[ConsoleSocket]:
    with console_socket(workdir) as listening:
        yield listening


@pytest.fixture(autouse=True)
def _wants_a_terminal(bundle: Bundle) -> None:
    bundle.process["terminal"] = True


class TestConsoleSocket:
    def test_terminal_is_sent(self, container: Make, bundle: Bundle, console: ConsoleSocket) -> None:
        bundle.sh("tty; echo ready; read line; echo got $line; exec sleep 100")
        box = container("--console-socket", str(console.path), start=False)
        terminal = console.receive()
        assert 1 <= len(console.name) < 4096
        box.start()
        terminal.read_until("ready")
        terminal.type("hello\n")
        shown = terminal.read_until("got hello")
        assert shown.splitlines()[0] in ("/dev/console", "/dev/pts/0")
        box.delete("--force")

    def test_standard_streams_and_dev_console(self, container: Make, bundle: Bundle, console: ConsoleSocket) -> None:
        bundle.sh("for f in 0 1 2; do readlink /proc/self/fd/$f; done; echo text > /dev/console; echo tty > /dev/tty; "
                  "cat /proc/self/mountinfo; echo end; exec sleep 100")  # fmt: skip
        box = container("--console-socket", str(console.path))
        terminal = console.receive()
        lines = terminal.read_until("end").splitlines()
        assert len(set(lines[:3])) == 1 and lines[0].startswith("/dev/"), "all three are the terminal"
        assert lines[3:5] == ["text", "tty"]
        found = mountinfo.at(mountinfo.parse("\n".join(lines[5:-1])), "/dev/console")
        assert found.fstype == "devpts"
        box.delete("--force")

    def test_owner_of_the_terminal(self, container: Make, bundle: Bundle, console: ConsoleSocket) -> None:
        bundle.process["user"] = {"uid": 1000, "gid": 1000}
        bundle.sh("stat -L -c 'owner %u' /proc/self/fd/0; exec sleep 100")
        box = container("--console-socket", str(console.path))
        terminal = console.receive()
        assert "owner 1000" in terminal.read_until("owner 1000")
        box.delete("--force")

    def test_size(self, container: Make, bundle: Bundle, console: ConsoleSocket) -> None:
        bundle.process["consoleSize"] = {"height": 33, "width": 111}
        bundle.sh("stty size; exec sleep 100")
        box = container("--console-socket", str(console.path))
        terminal = console.receive()
        assert terminal.read_until("33 111").strip() == "33 111"
        assert terminal.size() == (33, 111)
        box.delete("--force")

    def test_it_is_the_controlling_terminal(self, container: Make, bundle: Bundle, console: ConsoleSocket) -> None:
        bundle.sh("trap 'echo interrupted; exit 0' INT; echo ready; while :; do sleep 0.05; done")
        box = container("--console-socket", str(console.path))
        terminal = console.receive()
        terminal.read_until("ready")
        terminal.type("\x03")
        terminal.read_until("interrupted")
        box.wait_stopped()

    def test_hang_up_when_the_terminal_is_closed(self, container: Make, bundle: Bundle, console: ConsoleSocket) -> None:
        bundle.sh("trap 'exit 0' HUP; echo ready; while :; do sleep 0.05; done")
        box = container("--console-socket", str(console.path))
        terminal = console.receive()
        terminal.read_until("ready")
        terminal.close()
        box.wait_stopped()


class TestRefused:
    def test_create_without_a_socket(self, runtime: Runtime, bundle: Bundle) -> None:
        assert "console" in runtime.fails("create", "-b", bundle.save(), new_id())
        assert runtime.ids() == []

    def test_socket_that_does_not_exist(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        missing = workdir / "nowhere.sock"
        assert "nowhere.sock" in runtime.fails("create", "-b", bundle.save(), "--console-socket", missing, new_id())
        assert runtime.ids() == []

    def test_nobody_listens(self, runtime: Runtime, bundle: Bundle, console: ConsoleSocket) -> None:
        console.close()
        error = runtime.fails("create", "-b", bundle.save(), "--console-socket", console.path, new_id())
        says(error, str(console.path), "ECONNREFUSED")
        assert runtime.ids() == []


class TestExec:
    def test_console_socket(self, container: Make, bundle: Bundle, console: ConsoleSocket, workdir: Path) -> None:
        bundle.process["terminal"] = False
        box = container()
        process = {
            "terminal": True,
            "consoleSize": {"height": 20, "width": 30},
            "args": ["sh", "-c", "tty; echo ready; read line; echo got $line; exec sleep 100"],
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
        }
        (workdir / "process.json").write_text(json.dumps(process))
        result = box.exec(
            "--process",
            workdir / "process.json",
            "--console-socket",
            console.path,
            "--detach",
            "--pid-file",
            workdir / "pid",
            "--",
        )
        assert (result.status, result.stderr) == (0, "")
        terminal = console.receive()
        terminal.read_until("ready")
        terminal.type("hello\n")
        assert terminal.read_until("got hello").splitlines()[0].startswith("/dev/pts/")
        assert terminal.size() == (20, 30)
        os.kill(int((workdir / "pid").read_text()), signal.SIGKILL)

    def test_on_a_persons_terminal(self, container: Make, bundle: Bundle) -> None:
        bundle.process["terminal"] = False
        box = container()
        command = box.runtime.command("exec", "-t", box.id, "sh", "-c", "tty; read line; echo got $line; exit 7")
        with on_terminal(command) as running:
            running.terminal.read_until("/dev/pts/")
            running.terminal.type("hello\n")
            running.terminal.read_until("got hello")
            assert running.wait() == 7


class TestPersonsTerminal:
    def test_run(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("echo size $(stty size); read line; echo got $line; exit 5")
        with on_terminal(runtime.command("run", "-b", str(bundle.save()), new_id()), rows=31, columns=97) as running:
            running.terminal.read_until("size 31 97")
            running.terminal.type("hello\n")
            running.terminal.read_until("got hello")
            assert running.wait() == 5
            assert running.settings_now() == running.settings, "the person's terminal is as it was"
        assert runtime.ids() == []

    def test_resize(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("trap 'echo now $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done")
        id = new_id()
        with on_terminal(runtime.command("run", "-b", str(bundle.save()), id)) as running:
            running.terminal.read_until("ready")
            running.resize(40, 99)
            running.terminal.read_until("now 40 99")
            runtime.ok("kill", id, "KILL")
            assert running.wait() == 137

    def test_keys_go_to_the_container(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done")
        with on_terminal(runtime.command("run", "-b", str(bundle.save()), new_id())) as running:
            running.terminal.read_until("ready")
            running.terminal.type("\x03")
            running.terminal.read_until("interrupted")
            assert running.wait() == 3
            assert running.settings_now() == running.settings

    def test_output_is_complete(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("seq 1 20000; echo the end")
        with on_terminal(runtime.command("run", "-b", str(bundle.save()), new_id())) as running:
            shown = running.terminal.read_until("the end")
            assert running.wait() == 0
        assert shown.split()[:-2] == [str(number) for number in range(1, 20001)]


def test_without_a_terminal_there_is_no_dev_console(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["terminal"] = False
    bundle.sh("tty; ls /dev/console 2>&1; exit 0")
    shown = runtime.ok("run", "-b", bundle.save(), new_id())
    assert shown.splitlines() == ["not a tty", "ls: /dev/console: No such file or directory"]


def test_delete_of_a_container_whose_terminal_nobody_reads(
    container: Make, bundle: Bundle, console: ConsoleSocket
) -> None:
    bundle.args("yes")
    box = container("--console-socket", str(console.path))
    console.receive()
    pid = box.pid
    wait_for(lambda: host_status(pid)["State"].startswith("S"), "its terminal is full, so it waits")
    box.kill()
    box.wait_stopped()
    box.delete()
    assert box.runtime.ids() == []
