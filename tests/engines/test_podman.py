"""Podman, through conmon: the basics. It parses the error log as one object, and calls kill and delete without PATH."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.podman import Podman
from support.runtime import host_status, namespace, process_runs, wait_for
from support.terminal import on_terminal

SERVE = "trap 'echo got term; exit 0' TERM; echo ready; while :; do sleep 0.05; done"


def background(podman: Podman, *args: str) -> str:
    return podman.ok(*podman.run_command("-d", *args))


class TestRun:
    def test_hello(self, podman: Podman) -> None:
        assert podman.run(*podman.run_command("--rm", "--", "echo", "hello")) == (0, "hello\n", "")

    def test_standard_input(self, podman: Podman) -> None:
        assert podman.ok(*podman.run_command("--rm", "-i", "--", "cat"), stdin="given\n") == "given"

    def test_terminal(self, podman: Podman) -> None:
        command = [
            *podman.command,
            *podman.run_command("--rm", "-it", "--", "sh", "-c", "tty; read line; echo got $line; exit 3"),
        ]
        with on_terminal(command, environment=podman.environment) as running:
            running.terminal.read_until("/dev/pts/0", 20)
            running.terminal.type("hello\n")
            running.terminal.read_until("got hello")
            assert running.wait(30) == 3

    @pytest.mark.parametrize("status", [0, 3])
    def test_exit_status(self, podman: Podman, status: int) -> None:
        assert podman.run(*podman.run_command("--rm", "--", "sh", "-c", f"exit {status}")).status == status

    @pytest.mark.parametrize("program, status", [("nosuch", 127), ("/etc/passwd", 126)])
    def test_program_that_cannot_start(self, podman: Podman, program: str, status: int) -> None:
        result = podman.run(*podman.run_command("--rm", "--", program))
        assert result.status == status, result
        assert program in result.stderr

    def test_killed(self, podman: Podman) -> None:
        id = background(podman, "--", "sleep", "1000")
        os.kill(podman.pid(id), signal.SIGKILL)
        assert podman.ok("wait", id) == "137"
        podman.ok("rm", id)

    def test_options(self, podman: Podman) -> None:
        options = [
            "--read-only",
            "--cap-drop",
            "ALL",
            "--user",
            "1000:1000",
            "--hostname",
            "h",
            "--security-opt",
            "no-new-privileges",
        ]
        id = background(podman, *options, "--", "sleep", "1000")
        status = host_status(podman.pid(id))
        assert (status["Uid"].split()[0], status["CapEff"], status["NoNewPrivs"]) == ("1000", "0000000000000000", "1")
        assert podman.ok("exec", id, "hostname") == "h"
        assert "Read-only file system" in podman.ok("exec", id, "sh", "-c", "touch /x 2>&1; true")
        podman.ok("rm", "-f", "-t", "0", id)


@pytest.fixture(scope="class")
def sleeper(podman: Podman) -> Iterator[str]:
    """A container that sleeps."""
    id = background(podman, "--", "sleep", "1000")
    yield id
    podman.ok("rm", "-f", "-t", "0", id)


class TestControl:
    def test_exec(self, podman: Podman, sleeper: str) -> None:
        assert podman.run("exec", sleeper, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")

    def test_exec_joins(self, podman: Podman, sleeper: str) -> None:
        found = podman.ok(
            "exec", sleeper, "sh", "-c", "for l in pid net ipc uts mnt; do readlink /proc/self/ns/$l; done"
        ).split()
        assert found == [namespace(podman.pid(sleeper), link) for link in ("pid", "net", "ipc", "uts", "mnt")]

    def test_exec_on_a_terminal(self, podman: Podman, sleeper: str) -> None:
        with on_terminal(
            [*podman.command, "exec", "-it", sleeper, "sh", "-c", "tty; exit 5"], environment=podman.environment
        ) as running:
            running.terminal.read_until("/dev/pts/", 20)
            assert running.wait(30) == 5

    @pytest.mark.parametrize("program, status", [("nosuch", 127), ("/etc/passwd", 126)])
    def test_exec_of_a_program_that_cannot_start(self, podman: Podman, sleeper: str, program: str, status: int) -> None:
        assert podman.run("exec", sleeper, program).status == status

    def test_exec_detached(self, podman: Podman, sleeper: str) -> None:
        podman.ok("exec", "-d", sleeper, "sleep", "4321")
        wait_for(lambda: "sleep 4321" in podman.ok("top", sleeper, "args"), "it runs")

    def test_stop(self, podman: Podman) -> None:
        id = background(podman, "--", "sh", "-c", SERVE)
        wait_for(lambda: "ready" in podman.ok("logs", id), "the program runs")
        pid = podman.pid(id)
        podman.ok("stop", id)
        assert podman.inspect(id)["State"]["ExitCode"] == 0
        assert not process_runs(pid)
        podman.ok("rm", id)

    def test_kill(self, podman: Podman) -> None:
        id = background(podman, "--", "sleep", "1000")
        podman.ok("kill", id)
        assert podman.ok("wait", id) == "137"
        podman.ok("rm", id)

    def test_pause_and_unpause(self, podman: Podman) -> None:
        id = background(podman, "--", "sleep", "1000")
        podman.ok("pause", id)
        assert podman.inspect(id)["State"]["Status"] == "paused"
        podman.ok("unpause", id)
        assert podman.inspect(id)["State"]["Status"] == "running"
        podman.ok("rm", "-f", "-t", "0", id)

    def test_remove_by_force(self, podman: Podman) -> None:
        id = background(podman, "--", "sleep", "1000")
        pid = podman.pid(id)
        podman.ok("rm", "-f", "-t", "0", id)
        assert not process_runs(pid)
        left = [path for path in Path("/sys/fs/cgroup" + podman.cgroup).iterdir() if id in path.name]
        assert not left
