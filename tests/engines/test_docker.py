"""Docker: a real daemon of Debian's docker.io calls the runtime; options are checked from inside and from the host."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import leaks, mountinfo
from support.cgroup import cgroup_of
from support.docker import PRINT_SIZE, SERVE, Docker, privileged_capabilities
from support.runtime import host_status, namespace, process_runs, wait_for
from support.terminal import on_terminal


class TestRun:
    def test_hello(self, docker: Docker) -> None:
        result = docker.run(*docker.run_command("--", "echo", "hello"))
        assert (result.status, result.stdout) == (0, "hello\n")
        assert result.stderr == ""

    def test_standard_input(self, docker: Docker) -> None:
        assert docker.once("-i", "--", "cat", stdin="given\n") == "given"

    def test_terminal(self, docker: Docker) -> None:
        command = f"tty; {PRINT_SIZE}; ls /dev/console; read line; echo got $line; exit 3"
        with on_terminal([*docker.client, *docker.run_command("-it", "--", "sh", "-c", command)], 33, 99) as running:
            running.terminal.read_until("/dev/console", 20)
            running.terminal.type("hello\n")
            shown = running.terminal.read_until("got hello")
            assert running.wait(30) == 3
        assert "/dev/pts/0" in shown and "size 33 99" in shown

    def test_interrupt_key(self, docker: Docker) -> None:
        command = docker.run_command(
            "-it", "--", "sh", "-c", "trap 'echo int; exit 4' INT; echo ready; while :; do sleep 0.05; done"
        )
        with on_terminal([*docker.client, *command]) as running:
            running.terminal.read_until("ready")
            running.terminal.type("\x03")
            assert running.wait(30) == 4

    @pytest.mark.parametrize("status", [0, 3, 255])
    def test_exit_status(self, docker: Docker, status: int) -> None:
        assert docker.run(*docker.run_command("--", "sh", "-c", f"exit {status}")).status == status

    @pytest.mark.parametrize(
        "program, status", [("nosuch", 127), ("/nosuch", 127), ("/etc/passwd", 126), ("/etc", 126)],
    )  # fmt: skip
    def test_program_that_cannot_start(self, docker: Docker, program: str, status: int) -> None:
        result = docker.run(*docker.run_command("--", program))
        assert result.status == status, result
        assert program in result.stderr

    def test_killed(self, docker: Docker) -> None:
        id = docker.background("--", "sleep", "1000")
        os.kill(docker.pid(id), signal.SIGKILL)
        assert docker.ok("wait", id) == "137"
        docker.ok("rm", id)

    def test_nothing_is_left(self, docker: Docker) -> None:
        id = docker.background("--rm", "--", "sleep", "1000")
        pid = docker.pid(id)
        own = cgroup_of(pid)
        assert own == Path("/sys/fs/cgroup" + docker.cgroup) / id
        mounts = [line for line in leaks.mounts() if id in line]
        docker.ok("kill", id)
        wait_for(lambda: docker.run("inspect", id).status == 1, "the container is gone")
        assert not process_runs(pid) and not own.exists()
        assert [line for line in leaks.mounts() if id in line] == [], f"there were {mounts}"


HARDENED = [
    "--read-only", "--tmpfs", "/run", "--cap-drop", "ALL", "--user", "1000:1000", "--security-opt", "no-new-privileges",
    "--ulimit", "nofile=512:1024", "--hostname", "h", "--init",
]  # fmt: skip


@pytest.fixture(scope="class")
def hardened(docker: Docker) -> Iterator[str]:
    """A container with all of HARDENED and a read-only volume."""
    folder = docker.folder / "volume"
    folder.mkdir()
    (folder / "file").write_text("text\n")
    id = docker.ready(docker.background(*HARDENED, "-v", f"{folder}:/data:ro", "--", "sh", "-c", SERVE))
    yield id
    docker.ok("rm", "-f", id)


class TestHardened:
    """All of these options at once."""

    def sh(self, docker: Docker, hardened: str, command: str) -> str:
        return docker.ok("exec", hardened, "sh", "-c", command)

    def test_user(self, docker: Docker, hardened: str) -> None:
        assert self.sh(docker, hardened, "id -u; id -g").split() == ["1000", "1000"]
        status = host_status(docker.pid(hardened))
        assert (status["Uid"], status["Gid"]) == ("1000 1000 1000 1000", "1000 1000 1000 1000")

    def test_capabilities(self, docker: Docker, hardened: str) -> None:
        inside = self.sh(docker, hardened, "grep Cap /proc/self/status").split()[1::2]
        assert inside == ["0000000000000000"] * 5
        status = host_status(docker.pid(hardened))
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0000000000000000"}

    def test_no_new_privileges_and_seccomp(self, docker: Docker, hardened: str) -> None:
        status = host_status(docker.pid(hardened))
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert self.sh(docker, hardened, "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status").split()[1::2] == ["1", "2"]

    def test_read_only(self, docker: Docker, hardened: str) -> None:
        assert "Read-only file system" in self.sh(docker, hardened, "touch /x 2>&1; true")
        assert "Read-only file system" in self.sh(docker, hardened, "touch /data/x 2>&1; true")
        assert self.sh(docker, hardened, "cat /data/file; grep -c ' /run tmpfs ' /proc/mounts").split() == ["text", "1"]
        assert "ro" in mountinfo.at(mounts_of(docker, hardened), "/").options
        assert "ro" in mountinfo.at(mounts_of(docker, hardened), "/data").options

    def test_limits(self, docker: Docker, hardened: str) -> None:
        assert self.sh(docker, hardened, "ulimit -Sn; ulimit -Hn").split() == ["512", "1024"]
        limits = Path(f"/proc/{docker.pid(hardened)}/limits").read_text()
        assert next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5] == [
            "512",
            "1024",
        ]

    def test_hostname(self, docker: Docker, hardened: str) -> None:
        assert self.sh(docker, hardened, "hostname; cat /etc/hostname").split() == ["h", "h"]
        assert os.uname().nodename != "h"

    def test_init(self, docker: Docker, hardened: str) -> None:
        assert "docker-init" in self.sh(docker, hardened, "tr '\\0' ' ' < /proc/1/cmdline")
        assert b"docker-init" in Path(f"/proc/{docker.pid(hardened)}/cmdline").read_bytes()

    def test_stop_through_init(self, docker: Docker, hardened: str) -> None:
        docker.ok("stop", hardened)
        assert "got term" in docker.ok("logs", hardened)
        assert docker.inspect(hardened)["State"]["ExitCode"] == 0


def mounts_of(docker: Docker, container: str) -> list[mountinfo.Mount]:
    return mountinfo.parse(Path(f"/proc/{docker.pid(container)}/mountinfo").read_text())


class TestNamespaces:
    LINKS = ("pid", "net", "ipc", "uts")

    def test_of_the_host(self, docker: Docker) -> None:
        id = docker.background(
            "--pid", "host", "--network", "host", "--ipc", "host", "--uts", "host", "--", "sleep", "1000"
        )
        pid = docker.pid(id)
        assert [namespace(pid, link) for link in self.LINKS] == [namespace("self", link) for link in self.LINKS]
        assert namespace(pid, "mnt") != namespace("self", "mnt")
        inside = docker.ok(
            "exec", id, "sh", "-c", "for l in pid net ipc uts; do readlink /proc/self/ns/$l; done; hostname"
        ).split()
        assert inside == [*(namespace("self", link) for link in self.LINKS), os.uname().nodename]
        docker.ok("rm", "-f", id)
        assert not process_runs(pid)

    def test_own(self, docker: Docker) -> None:
        id = docker.background("--", "sleep", "1000")
        pid = docker.pid(id)
        for link in [*self.LINKS, "mnt"]:
            assert namespace(pid, link) != namespace("self", link), link
        assert docker.ok("exec", id, "cat", "/proc/1/comm") == "sleep"
        docker.ok("rm", "-f", id)

    def test_of_another_container(self, docker: Docker) -> None:
        first = docker.background("--ipc", "shareable", "--", "sleep", "1000")
        joins = [f"--{kind}=container:{first}" for kind in ("network", "ipc", "pid")]
        second = docker.background(*joins, "--", "sleep", "2000")
        for link in ("net", "ipc", "pid"):
            assert namespace(docker.pid(first), link) == namespace(docker.pid(second), link)
        assert "sleep 1000" in docker.ok("exec", second, "ps")
        docker.ok("rm", "-f", second, first)


class TestOptions:
    def test_privileged(self, docker: Docker) -> None:
        """Every capability is asked for; one that this host cannot give is left out, with a warning."""
        id = docker.background("--privileged", "--", "sleep", "1000")
        status = host_status(docker.pid(id))
        here = host_status(os.getpid())
        assert status["CapEff"] == privileged_capabilities(here["CapEff"])
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0")
        inside = docker.ok(
            "exec", "--privileged", id, "sh", "-c", "grep CapEff /proc/self/status; mount -t tmpfs x /mnt; echo $?"
        )
        assert inside.split()[1:] == [privileged_capabilities(here["CapEff"]), "0"]
        points = {mount.point for mount in mounts_of(docker, id)}
        assert not {"/proc/sys", "/proc/keys", "/sys/firmware"} & points, "nothing is masked"
        assert "rw" in mountinfo.at(mounts_of(docker, id), "/sys").options
        assert docker.ok("exec", id, "ls", "/dev/kmsg") == "/dev/kmsg", "the host's devices"
        docker.ok("rm", "-f", id)

    def test_default_confinement(self, docker: Docker) -> None:
        id = docker.background("--", "sleep", "1000")
        status = host_status(docker.pid(id))
        assert status["Seccomp"] == "2"
        assert int(status["CapEff"], 16) == 0xA80425FB, "Docker's list"
        for command, words in (("mount -t tmpfs x /mnt", "permission denied"), ("unshare -m true", "not permitted")):
            assert words in docker.ok("exec", id, "sh", "-c", f"! {command} 2>&1").lower()
        if Path("/proc/keys").exists():
            assert docker.ok("exec", id, "stat", "-c", "%t,%T", "/proc/keys") == "1,3", "masked by the null device"
        docker.ok("rm", "-f", id)

    def test_environment_and_directory(self, docker: Docker) -> None:
        found = docker.once("-e", "A=b c", "-w", "/usr/bin", "--", "sh", "-c", "echo $A; pwd").splitlines()
        assert found == ["b c", "/usr/bin"]

    def test_groups(self, docker: Docker) -> None:
        assert docker.once("--user", "7:8", "--group-add", "9", "--", "sh", "-c", "id -u; id -g; id -G").split() == [
            "7",
            "8",
            "8",
            "9",
        ]

    def test_capability_added_and_dropped(self, docker: Docker) -> None:
        text = docker.once("--cap-add", "SYS_TIME", "--cap-drop", "CHOWN", "--", "grep", "CapEff", "/proc/self/status")
        assert int(text.split()[1], 16) == (0xA80425FB | 1 << 25) & ~1

    def test_device(self, docker: Docker) -> None:
        command = "stat -c '%t,%T' /dev/mine; head -c 3 /dev/mine | wc -c"
        result = docker.run(*docker.run_command("--device", "/dev/zero:/dev/mine:r", "--", "sh", "-c", command))
        assert result.stdout.split() == ["1,5", "3"]
        # Of /dev/zero everything is allowed by Docker's default rules; of this one, what the option says.
        command = "stat -c '%t,%T' /dev/mine; (true > /dev/mine) 2>&1"
        result = docker.run(*docker.run_command("--device", "/dev/kmsg:/dev/mine:r", "--", "sh", "-c", command))
        kind, refused = result.stdout.splitlines()
        assert kind == "1,b"
        assert "/dev/mine" in refused and "Operation not permitted" in refused

    def test_volume(self, docker: Docker, data: Path) -> None:
        docker.once("-v", f"{data}:/data", "--", "sh", "-c", "echo inside > /data/file")
        assert (data / "file").read_text() == "inside\n"

    def test_shared_memory_size(self, docker: Docker) -> None:
        assert "size=2048k" in docker.once("--shm-size", "2m", "--", "grep", " /dev/shm ", "/proc/mounts")

    def test_sysctl(self, docker: Docker) -> None:
        assert (
            docker.once("--sysctl", "net.ipv4.ip_default_ttl=77", "--", "cat", "/proc/sys/net/ipv4/ip_default_ttl")
            == "77"
        )

    def test_seccomp_unconfined(self, docker: Docker) -> None:
        assert (
            docker.once("--security-opt", "seccomp=unconfined", "--", "grep", "Seccomp:", "/proc/self/status").split()[
                1
            ]
            == "0"
        )

    def test_oom_score(self, docker: Docker) -> None:
        assert docker.once("--oom-score-adj", "500", "--", "cat", "/proc/self/oom_score_adj") == "500"

    def test_cgroup_namespace_of_the_host(self, docker: Docker) -> None:
        assert docker.cgroup in docker.once("--cgroupns", "host", "--", "grep", "^0:", "/proc/self/cgroup")
        assert docker.once("--cgroupns", "private", "--", "grep", "^0:", "/proc/self/cgroup") == "0::/"
