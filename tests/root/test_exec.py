"""exec: a process added to a running container, with what the command line or a process file asks for."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, host_status, namespace, new_id, process_runs, says, wait_for


@pytest.fixture
def box(container: Make, bundle: Bundle) -> Container:
    """A running container."""
    bundle.args("sleep", "1000")
    return container()


def status_inside(box: Container, *options: str) -> dict[str, str]:
    """Return /proc/self/status of a process that exec adds."""
    text = box.sh("cat /proc/self/status", *options)
    return {key: " ".join(value.split()) for key, _, value in (line.partition(":") for line in text.splitlines())}


class TestJoins:
    def test_namespaces_and_cgroup(self, box: Container) -> None:
        links = ["mnt", "net", "uts", "ipc", "pid", "cgroup", "user", "time"]
        print_links = f"for l in {' '.join(links)}; do readlink /proc/self/ns/$l; done"
        found = box.sh(f"{print_links}; grep ^0: /proc/self/cgroup").split()
        assert found == [*(namespace(box.pid, link) for link in links), "0::/"]

    def test_root_and_processes(self, box: Container) -> None:
        assert box.sh("ls /etc/made-from; ps | grep -c 'sleep 1000'").split()[0] == "/etc/made-from"
        assert "sleep 1000" in box.sh("ps")

    def test_is_a_child_of_nobody_inside(self, box: Container) -> None:
        assert status_inside(box)["PPid"] in ("0", box.sh("echo $PPID")), "its parent is outside"
        assert box.sh("echo $PPID") == "0"


class TestStatus:
    @pytest.mark.parametrize("status", [0, 1, 3, 126, 127, 255])
    def test_exit_status(self, box: Container, status: int) -> None:
        assert box.exec("sh", "-c", f"exit {status}").status == status

    @pytest.mark.parametrize("signal, status", [("KILL", 137), ("TERM", 143)])
    def test_killed(self, box: Container, signal: str, status: int) -> None:
        assert box.exec("sh", "-c", f"kill -{signal} $$").status == status

    def test_streams(self, box: Container) -> None:
        result = box.exec("sh", "-c", "cat; echo err >&2", stdin="given\n")
        assert result == (0, "given\n", "err\n")

    @pytest.mark.parametrize(
        "program, words",
        [("nosuch", ["executable file not found in $PATH"]), ("/nosuch", ["no such file or directory"]),
         ("/etc/passwd", ["permission denied"]), ("/etc", ["is a directory", "permission denied"])],
    )  # fmt: skip
    def test_program_that_cannot_start(self, box: Container, program: str, words: list[str]) -> None:
        result = box.exec(program)
        assert result.status == 255
        assert any(each in result.stderr for each in words), result

    def test_no_command(self, box: Container) -> None:
        result = box.runtime.run("exec", box.id)
        assert result.status in (1, 255)
        says(result.stderr, "exec args cannot be empty")

    def test_stopped_container(self, box: Container) -> None:
        box.kill()
        box.wait_stopped()
        result = box.exec("true")
        assert result.status in (1, 255)
        says(result.stderr, "cannot exec in a stopped container", "container not running")
        assert box.status == "stopped"

    def test_the_container_goes_on(self, box: Container) -> None:
        pid = box.pid
        box.exec("false")
        assert (box.status, box.pid) == ("running", pid)

    def test_ends_with_the_container(self, box: Container) -> None:
        command = box.runtime.command("exec", box.id, "sleep", "1000")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: "sleep 1000" in box.sh("ps | grep -v ' 1 root' | grep -v grep"), "it runs")
        box.kill()
        assert process.wait(10) == 137


class TestOptions:
    def test_environment(self, box: Container, bundle: Bundle) -> None:
        found = box.exec("-e", "A=b c", "-e", "TERM=dumb", "--", "cat", "/proc/self/environ").stdout.split("\0")
        given = dict(pair.split("=", 1) for pair in bundle.process["env"]) | {"A": "b c", "TERM": "dumb"}
        assert dict(pair.split("=", 1) for pair in found[:-1]) == given

    def test_cwd(self, box: Container) -> None:
        assert box.sh("pwd") == "/"
        assert box.sh("pwd", "--cwd", "/usr/bin") == "/usr/bin"
        assert box.sh("pwd", "--cwd=/tmp") == "/tmp"

    @pytest.mark.parametrize("user, uid, gid", [("1000", "1000", "0"), ("1000:5", "1000", "5"), ("7:8", "7", "8")])
    def test_user(self, box: Container, user: str, uid: str, gid: str) -> None:
        for option in ("--user", "-u"):
            status = status_inside(box, option, user)
            assert (status["Uid"].split(), status["Gid"].split()) == ([uid] * 4, [gid] * 4)

    def test_additional_groups(self, box: Container) -> None:
        assert status_inside(box, "--user", "7:8", "-g", "11", "-g", "12")["Groups"] == "11 12"

    def test_groups_of_the_config_are_kept(self, container: Make, bundle: Bundle) -> None:
        bundle.process["user"] = {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 0o27}
        box = container()
        assert box.sh("echo $(id -u; id -g; umask; id -G)", "-u", "5", "-g", "6") == "5 2 0027 2 3 6"
        assert box.sh("echo $(id -u; id -g; id -G)", "-u", "5:7") == "5 7 7 3"

    def test_capabilities_are_the_containers(self, box: Container) -> None:
        wanted = host_status(box.pid)
        found = status_inside(box)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert found[name] == wanted[name], name

    def test_one_capability_more(self, box: Container) -> None:
        more = 1 << 23  # CAP_SYS_NICE
        before = int(host_status(box.pid)["CapEff"], 16)
        assert not before & more
        assert int(status_inside(box, "--cap", "CAP_SYS_NICE")["CapEff"], 16) == before | more

    def test_a_capability_that_may_be_inherited_is_ambient(self, container: Make, bundle: Bundle) -> None:
        """So that a user other than root has it in the program; what is not inheritable is not made so."""
        bundle.capabilities(bounding=["CAP_SYS_NICE"], inheritable=["CAP_SYS_NICE"])
        box = container()
        status = status_inside(box, "-u", "1000", "--cap", "CAP_SYS_NICE", "--cap", "CAP_CHOWN")
        assert int(status["CapAmb"], 16) == int(status["CapEff"], 16) == int(status["CapInh"], 16) == 1 << 23

    def test_no_new_privileges(self, container: Make, bundle: Bundle) -> None:
        bundle.process["noNewPrivileges"] = False
        box = container()
        assert status_inside(box)["NoNewPrivs"] == "0"
        assert status_inside(box, "--no-new-privs")["NoNewPrivs"] == "1"

    def test_no_new_privileges_taken_back(self, box: Container) -> None:
        assert status_inside(box)["NoNewPrivs"] == "1"
        assert status_inside(box, "--no-new-privs=false")["NoNewPrivs"] == "0"

    def test_rlimits_and_umask_are_the_containers(self, container: Make, bundle: Bundle) -> None:
        bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
        bundle.process["user"]["umask"] = 0o77
        box = container()
        assert box.sh("ulimit -Sn; ulimit -Hn; umask").split() == ["100", "200", "0077"]

    def test_seccomp_is_the_containers(self, container: Make, bundle: Bundle) -> None:
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
        }
        box = container()
        assert status_inside(box)["Seccomp"] == "2"
        assert "Operation not permitted" in box.sh("mkdir /tmp/x 2>&1; true")

    def test_preserve_fds(self, box: Container) -> None:
        with tempfile.TemporaryFile() as file, open("/dev/null") as other:
            result = box.exec("--preserve-fds", "1", "--", "sh", "-c", PRINT_TO_3, fds=[file.fileno(), other.fileno()])
            assert result == (0, "0 1 2 3 4\n", ""), "4 is ls's own"
            file.seek(0)
            assert file.read() == b"text\n"

    def test_no_other_descriptor_comes_in(self, box: Container) -> None:
        with open("/dev/null") as extra:
            assert box.exec("ls", "/proc/self/fd", fds=[extra.fileno()]).stdout.split() == ["0", "1", "2", "3"]


PRINT_TO_3 = "echo text >&3; echo $(ls /proc/self/fd)"


class TestDetach:
    def test_pid_file(self, box: Container, workdir: Path) -> None:
        file = workdir / "pid"
        result = box.exec("--detach", "--pid-file", str(file), "--", "sleep", "2000")
        assert (result.status, result.stderr) == (0, "")
        pid = int(file.read_text())
        assert file.read_text() == str(pid)
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x002000\x00", "the program runs when exec returns"
        assert namespace(pid, "pid") == namespace(box.pid, "pid")
        box.kill()
        wait_for(lambda: not process_runs(pid), "it ends with the container")

    def test_failure_leaves_no_pid_file(self, box: Container, workdir: Path) -> None:
        result = box.exec("-d", "--pid-file", str(workdir / "pid"), "--", "nosuch")
        assert result.status == 255 and "executable file not found in $PATH" in result.stderr
        assert not (workdir / "pid").exists()

    def test_pid_file_in_the_foreground(self, box: Container, workdir: Path) -> None:
        assert box.exec("--pid-file", str(workdir / "pid"), "--", "true").status == 0
        assert int((workdir / "pid").read_text()) > 1


SHOW_EVERYTHING = "pwd; umask; ulimit -n; echo $A; cat /proc/self/status; cat /proc/self/oom_score_adj"


class TestProcessFile:
    def write(self, workdir: Path, **changes: Any) -> str:
        document = {
            "args": ["sh", "-c", "echo fine"],
            "cwd": "/",
            "env": ["PATH=/bin:/usr/bin"],
            "user": {"uid": 0, "gid": 0},
        }
        (workdir / "process.json").write_text(json.dumps(document | changes))
        return str(workdir / "process.json")

    def run(self, box: Container, workdir: Path, **changes: Any) -> str:
        return box.runtime.ok("exec", "--process", self.write(workdir, **changes), box.id)

    def test_program(self, box: Container, workdir: Path) -> None:
        assert self.run(box, workdir) == "fine\n"

    def test_cpu_affinity(self, box: Container, workdir: Path) -> None:
        show = ["grep", "Cpus_allowed_list", "/proc/self/status"]
        text = self.run(box, workdir, args=show, execCPUAffinity={"initial": "0-1", "final": "1"})
        assert text.split()[1] == "1"
        text = self.run(box, workdir, args=show, execCPUAffinity={"initial": "0"})
        assert text.split()[1] == "0"
        text = self.run(box, workdir, args=show, execCPUAffinity={"initial": "0-65535", "final": "1,1024,65535"})
        assert text.split()[1] == "1", "what a larger machine has is no mistake"

    def test_everything(self, box: Container, workdir: Path) -> None:
        text = self.run(
            box, workdir, args=["sh", "-c", SHOW_EVERYTHING],
            cwd="/tmp", env=["PATH=/bin", "A=b"], user={"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o27},
            rlimits=[{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}], noNewPrivileges=True, oomScoreAdj=111,
            capabilities={"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN"],
                          "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]},
        )  # fmt: skip
        cwd, umask, nofile, value, *status, oom = text.splitlines()
        assert (cwd, umask, nofile, value, oom) == ("/tmp", "0027", "50", "b", "111")
        found = {key: " ".join(words.split()) for key, _, words in (line.partition(":") for line in status)}
        assert (found["Uid"], found["Gid"], found["Groups"]) == ("7 7 7 7", "8 8 8 8", "9")
        assert (int(found["CapBnd"], 16), int(found["CapAmb"], 16), int(found["CapEff"], 16)) == (0b100001, 1, 1)
        assert found["NoNewPrivs"] == "1"

    def test_detached_with_pid_file(self, box: Container, workdir: Path) -> None:
        file = self.write(workdir, args=["sleep", "3000"])
        result = box.exec("--process", file, "--detach", "--pid-file", str(workdir / "pid"), "--")
        assert result.status == 0, result
        assert process_runs(int((workdir / "pid").read_text()))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "process.json is not valid JSON: it is empty"),
            ("[]", "process.json: expected an object, found the list []"),
            ('{"args": 5, "cwd": "/"}', "expected a list, found the number 5 [process#/args]"),
            ('{"cwd": "/"}', "args is missing or empty: there is no program to run [process#/args]"),
        ],
    )  # fmt: skip
    def test_bad_file(self, box: Container, workdir: Path, text: str, words: str) -> None:
        (workdir / "process.json").write_text(text)
        result = box.exec("--process", str(workdir / "process.json"), "--")
        assert result.status in (1, 255) and result.stderr and "Traceback" not in result.stderr
        says(result.stderr, words)

    def test_missing_file(self, box: Container, workdir: Path) -> None:
        result = box.exec("--process", str(workdir / "nowhere"), "--")
        assert result.status in (1, 255) and "nowhere" in result.stderr


class TestErrors:
    """One line and 255, and nobody is sent to config.json for what exec was asked."""

    @pytest.mark.parametrize(
        "options, words",
        [
            (["--cwd", "/nowhere"], ["process#/cwd", 'chdir("/nowhere")', "ENOENT"]),
            (["--cwd", "relative"], ["process#/cwd", "relative"]),
            (["--env", "NOTHING"], ["process#/env/"]),
            (["--cgroup", "nowhere"], ["nowhere", "ENOENT", "--cgroup"]),
            (["--pid-file", "/nowhere/pid"], ["/nowhere/pid", "ENOENT"]),
            (["--apparmor", "nosuch"], ["process#/apparmorProfile"]),
        ],
        ids=lambda value: value[0],
    )
    def test_line(self, box: Container, options: list[str], words: list[str]) -> None:
        result = box.exec(*options, "--", "true")
        assert result.status == 255
        assert len(result.stderr.splitlines()) == 1
        says(result.stderr, *words)
        assert "config.json" not in result.stderr


def test_in_a_cgroup_that_the_container_made(container: Make, bundle: Bundle, runtime: Runtime) -> None:
    """Once init sits in a nested cgroup with controllers, the top can hold no process: exec joins init's."""
    for mount in bundle.mounts:
        if mount["destination"] == "/sys/fs/cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev", "rw"]
    bundle.sh("mkdir /sys/fs/cgroup/inner && echo 1 > /sys/fs/cgroup/inner/cgroup.procs && echo ready; exec sleep 1000")
    box = container()
    wait_for(lambda: "ready" in box.output, "the nested cgroup is made")
    assert "0::/inner" in box.sh("cat /proc/self/cgroup").split()


def test_many_at_once(box: Container) -> None:
    commands = [box.runtime.command("exec", box.id, "echo", str(number)) for number in range(8)]
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for command in commands]
    assert [process.communicate(timeout=60)[0] for process in running] == [
        f"{number}\n".encode() for number in range(8)
    ]
    assert new_id() not in box.runtime.ids()
