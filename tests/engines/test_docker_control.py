"""Docker: exec, stop, kill, pause, top, rm and friends on containers of a real daemon."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.docker import PRINT_SIZE, SERVE, Docker, privileged_capabilities
from support.runtime import ENVIRONMENT, host_status, namespace, process_runs, wait_for
from support.terminal import on_terminal

UNSTARTABLE = {"nosuch": "executable file not found", "/nosuch": "no such file", "/etc/passwd": "permission denied"}


@pytest.fixture(scope="class")
def sleeper(docker: Docker) -> Iterator[str]:
    """A container that sleeps."""
    id = docker.background("--", "sleep", "1000")
    yield id
    docker.ok("rm", "-f", id)


class TestExec:
    def test_output_and_status(self, docker: Docker, sleeper: str) -> None:
        result = docker.run("exec", sleeper, "sh", "-c", "echo out; echo err >&2; exit 3")
        assert result == (3, "out\n", "err\n")

    def test_standard_input(self, docker: Docker, sleeper: str) -> None:
        assert docker.ok("exec", "-i", sleeper, "cat", stdin="given\n") == "given"

    def test_terminal(self, docker: Docker, sleeper: str) -> None:
        command = f"tty; {PRINT_SIZE}; read line; echo got $line; exit 5"
        with on_terminal([*docker.client, "exec", "-it", sleeper, "sh", "-c", command], 40, 111) as running:
            running.terminal.read_until("size 40 111")
            running.terminal.type("hello\n")
            shown = running.terminal.read_until("got hello")
            assert running.wait(30) == 5
        assert "/dev/pts/" in shown

    @pytest.mark.parametrize("program, words", list(UNSTARTABLE.items()), ids=list(UNSTARTABLE))
    def test_program_that_cannot_start(self, docker: Docker, sleeper: str, program: str, words: str) -> None:
        result = docker.run("exec", sleeper, program)
        assert result.status == 126, "whatever the reason, in Docker 20.10"
        assert words in result.stdout + result.stderr

    def test_killed(self, docker: Docker, sleeper: str) -> None:
        assert docker.run("exec", sleeper, "sh", "-c", "kill -KILL $$").status == 137

    def test_user_environment_directory(self, docker: Docker, sleeper: str) -> None:
        found = docker.ok(
            "exec", "-u", "7:8", "-e", "A=b", "-w", "/tmp", sleeper, "sh", "-c", "id -u; id -g; echo $A; pwd"
        ).split()
        assert found == ["7", "8", "b", "/tmp"]

    def test_privileged(self, docker: Docker, sleeper: str) -> None:
        found = docker.ok("exec", "--privileged", sleeper, "grep", "CapEff", "/proc/self/status").split()[1]
        assert found == privileged_capabilities(host_status(os.getpid())["CapEff"])

    def test_detached(self, docker: Docker, sleeper: str) -> None:
        docker.ok("exec", "-d", sleeper, "sleep", "4321")
        wait_for(lambda: "sleep 4321" in docker.ok("top", sleeper), "it runs")

    def test_namespaces(self, docker: Docker, sleeper: str) -> None:
        found = docker.ok(
            "exec", sleeper, "sh", "-c", "for l in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$l; done"
        ).split()
        assert found == [namespace(docker.pid(sleeper), link) for link in ("pid", "net", "ipc", "uts", "mnt", "cgroup")]

    def test_ends_with_the_container(self, docker: Docker) -> None:
        id = docker.background("--", "sleep", "1000")
        with subprocess.Popen([*docker.client, "exec", id, "sleep", "1000"], env=ENVIRONMENT) as process:
            wait_for(lambda: docker.ok("top", id).count("sleep 1000") == 2, "exec's process runs")
            docker.ok("kill", id)
            assert process.wait(20) == 137
        docker.ok("rm", id)


class TestControl:
    def test_stop(self, docker: Docker) -> None:
        id = docker.ready(docker.background("--", "sh", "-c", SERVE))
        pid = docker.pid(id)
        docker.ok("stop", id)
        assert docker.inspect(id)["State"]["ExitCode"] == 0
        assert "got term" in docker.ok("logs", id)
        assert not process_runs(pid)
        docker.ok("rm", id)

    def test_stop_of_a_program_that_does_not_listen(self, docker: Docker) -> None:
        id = docker.ready(docker.background("--", "sh", "-c", "trap '' TERM; echo ready; sleep 1000"))
        docker.ok("stop", "-t", "1", id)
        assert docker.inspect(id)["State"]["ExitCode"] == 137
        docker.ok("rm", id)

    @pytest.mark.parametrize("name, status", [("KILL", 137), ("USR1", 10)])
    def test_kill(self, docker: Docker, name: str, status: int) -> None:
        id = docker.ready(
            docker.background("--", "sh", "-c", "trap 'exit 10' USR1; echo ready; while :; do sleep 0.05; done")
        )
        docker.ok("kill", "-s", name, id)
        assert docker.ok("wait", id) == str(status)
        docker.ok("rm", id)

    def test_pause_and_unpause(self, docker: Docker) -> None:
        count = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"
        id = docker.background("--", "sh", "-c", count)
        wait_for(lambda: docker.ok("logs", id) != "", "it counts")
        docker.ok("pause", id)
        assert docker.inspect(id)["State"]["Paused"] is True
        assert "frozen 1" in (cgroup(docker.pid(id)) / "cgroup.events").read_text()
        before = docker.ok("logs", id)
        time.sleep(0.2)
        assert docker.ok("logs", id) == before
        docker.ok("unpause", id)
        wait_for(lambda: docker.ok("logs", id) != before, "it counts again")
        docker.ok("rm", "-f", id)

    def test_remove_a_paused_container_by_force(self, docker: Docker) -> None:
        id = docker.background("--", "sleep", "1000")
        pid = docker.pid(id)
        docker.ok("pause", id)
        docker.ok("rm", "-f", id)
        assert not process_runs(pid)

    def test_top(self, docker: Docker) -> None:
        id = docker.ready(docker.background("--", "sh", "-c", "sleep 1234 & echo ready; exec sleep 5678"))
        lines = docker.ok("top", id).splitlines()[1:]
        assert sorted(line.partition("sleep ")[2] for line in lines) == ["1234", "5678"]
        assert str(docker.pid(id)) in docker.ok("top", id, "-o", "pid")
        docker.ok("rm", "-f", id)

    @pytest.mark.parametrize("force", [True, False])
    def test_remove(self, docker: Docker, force: bool) -> None:
        id = docker.background("--", "sleep", "1000")
        pid, where = docker.pid(id), cgroup(docker.pid(id))
        if force:
            docker.ok("rm", "-f", id)
        else:
            assert docker.run("rm", id).status == 1, "it runs"
            docker.ok("kill", id)
            docker.ok("rm", id)
        assert not process_runs(pid)
        wait_for(lambda: not where.exists(), "its cgroup is gone")
        assert docker.run("inspect", id).status == 1

    def test_restart(self, docker: Docker) -> None:
        id = docker.background("--", "sh", "-c", "echo started; exec sleep 1000")
        docker.ok("restart", "-t", "0", id)
        wait_for(lambda: docker.ok("logs", id).count("started") == 2, "it was started twice")
        docker.ok("rm", "-f", id)

    def test_create_then_start(self, docker: Docker) -> None:
        id = docker.ok("create", "--runtime", "tested", "busybox:test", "echo", "hello")
        assert docker.ok("start", "-a", id) == "hello"
        docker.ok("rm", id)


def cgroup(pid: int) -> Path:
    """Return the cgroup2 directory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    return Path("/sys/fs/cgroup") / line.removeprefix("0::/")
