"""Whole lives as engines drive them: the very command lines, and of the answers what each engine reads."""

import json
import os
import select
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support import paths
from support.bundle import Bundle
from support.runtime import Result, Runtime, _text, call, host_status, new_id, process_runs, wait_for
from support.terminal import ConsoleSocket, console_socket

pytestmark = pytest.mark.skipif(paths.PEER is not None, reason="Debian's peers lack some of these options")


class Caller:
    """An engine: sends lines in which {words} stand for its paths, in the environment that it gives a runtime.

    R: the root directory; B: the bundle; P, Q: pid files; F: a process document; S: a console socket; L: a log file.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, workdir: Path) -> None:
        self.id = new_id()
        self.bundle = bundle
        self.words = {
            "R": str(runtime.root),
            "B": str(bundle.path),
            "ID": self.id,
            "P": f"{workdir}/pid",
            "Q": f"{workdir}/pid2",
            "F": f"{workdir}/process.json",
            "S": f"{workdir}/console.sock",
            "L": f"{workdir}/log.json",
            "D": f"{workdir}/pidfd.sock",
            "U": f"{workdir}/resources.json",
        }
        self.env: dict[str, str] = {"PATH": paths.SYSTEM_PATH}

    def path(self, word: str) -> Path:
        return Path(self.words[word])

    def run(self, line: str, stdin: str = "") -> Result:
        """Send a line; both outputs go through files, because a container may keep them open."""
        command = [paths.RUNTIME_BIN, *(word.format(**self.words) for word in line.split())]
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            status = call(command, given, out, err, env=self.env)
            return Result(status, _text(out), _text(err))

    def ok(self, line: str, stdin: str = "") -> str:
        """Send a line that must succeed; engines read both outputs as one, so nothing else may be in them."""
        result = self.run(line, stdin)
        assert result.status == 0 and result.stderr == "", f"{line}: {result}"
        return result.stdout

    def save(self, *args: str, **process: Any) -> None:
        self.bundle.args(*args)
        self.bundle.process.update(process)
        self.bundle.save()

    def save_process(self, *args: str, **process: Any) -> None:
        document = {"cwd": "/", "args": list(args), "env": ["PATH=/bin:/usr/bin"], "user": {"uid": 0, "gid": 0}}
        self.path("F").write_text(json.dumps({**document, **process}))

    def pid(self, word: str) -> int:
        """Return the number in a pid file, which has no line break."""
        text = self.path(word).read_text()
        assert text == str(int(text))
        return int(text)

    def errors(self) -> list[str]:
        """Return the messages of the log's lines of level error; every line must be an object."""
        lines = [json.loads(line) for line in self.path("L").read_text().splitlines()]
        assert all(set(line) == {"level", "msg", "time"} for line in lines)
        return [line["msg"] for line in lines if line["level"] == "error"]

    def wait_stopped(self, line: str) -> None:
        wait_for(lambda: json.loads(self.ok(line))["status"] == "stopped", "it stops")


@pytest.fixture
def caller(bundle: Bundle, runtime: Runtime, workdir: Path) -> Caller:
    return Caller(bundle, runtime, workdir)


@pytest.fixture
def console(workdir: Path) -> Any:
    with console_socket(workdir) as listening:
        yield listening


class TestContainerd:
    """The shim, through go-runc; Docker too."""

    GLOBAL = "--root {R} --log {L} --log-format json"

    def test_life(self, caller: Caller) -> None:
        caller.save("sleep", "1000")
        caller.save_process("sleep", "2000")
        g = self.GLOBAL
        assert caller.ok(f"{g} create --bundle {{B}} --pid-file {{P}} {{ID}}") == ""
        state = json.loads(caller.ok(f"{g} state {{ID}}"))
        assert (state["id"], state["status"], state["pid"]) == (caller.id, "created", caller.pid("P"))
        assert (state["bundle"], state["rootfs"]) == (str(caller.bundle.path), str(caller.bundle.rootfs))
        caller.ok(f"{g} start {{ID}}")
        caller.ok(f"{g} exec --process {{F}} --detach --pid-file {{Q}} {{ID}}")
        added = caller.pid("Q")
        assert Path(f"/proc/{added}/cmdline").read_bytes() == b"sleep\x002000\x00"
        assert sorted(json.loads(caller.ok(f"{g} ps --format json {{ID}}"))) == sorted([state["pid"], added])
        caller.ok(f"{g} pause {{ID}}")
        assert json.loads(caller.ok(f"{g} state {{ID}}"))["status"] == "paused"
        caller.ok(f"{g} resume {{ID}}")
        caller.ok(f"{g} update --resources=- {{ID}}", stdin="{}")
        event = json.loads(caller.ok(f"{g} events --stats {{ID}}"))
        assert (event["type"], event["id"]) == ("stats", caller.id)
        assert {"cpu", "memory", "pids", "blkio", "hugetlb"} <= set(event["data"])
        (listed,) = json.loads(caller.ok(f"{g} list --format=json"))
        assert (listed["id"], listed["status"], listed["pid"]) == (caller.id, "running", state["pid"])
        caller.ok(f"{g} kill --all {{ID}} 9")
        caller.wait_stopped(f"{g} state {{ID}}")
        wait_for(lambda: not process_runs(added), "all are gone")
        result = caller.run(f"{g} kill {{ID}} 15")
        assert result.status == 1 and "container not running" in result.stderr
        caller.ok(f"{g} delete {{ID}}")
        result = caller.run(f"{g} delete {{ID}}")
        assert result.status == 1 and "does not exist" in result.stderr
        assert len(caller.errors()) == 2, "what succeeded has written no error"
        caller.ok(f"{g} delete --force {{ID}}")

    def test_a_create_that_fails(self, caller: Caller) -> None:
        """The last line of level error is what the user of containerd is shown."""
        caller.save("nosuch")
        result = caller.run(f"{self.GLOBAL} create --bundle {{B}} --pid-file {{P}} {{ID}}")
        assert result.status == 1 and not caller.path("P").exists()
        (message,) = caller.errors()
        assert "executable file not found in $PATH" in message and message in result.stderr

    def test_an_exec_that_fails(self, caller: Caller) -> None:
        caller.save("sleep", "1000")
        caller.save_process("/nosuch")
        caller.ok(f"{self.GLOBAL} create --bundle {{B}} --pid-file {{P}} {{ID}}")
        caller.ok(f"{self.GLOBAL} start {{ID}}")
        result = caller.run(f"{self.GLOBAL} exec --process {{F}} --detach --pid-file {{Q}} {{ID}}")
        assert result.status == 255 and not caller.path("Q").exists()
        (message,) = caller.errors()
        assert "no such file or directory" in message and "exec failed" in message
        caller.ok(f"{self.GLOBAL} delete --force {{ID}}")

    def test_terminals(self, caller: Caller, console: ConsoleSocket) -> None:
        caller.save("sh", "-c", "tty; exec sleep 1000", terminal=True)
        line = "create --bundle {B} --pid-file {P} --console-socket {S} --no-new-keyring --no-pivot {ID}"
        caller.ok(f"{self.GLOBAL} {line}")
        terminal = console.receive()
        caller.ok(f"{self.GLOBAL} start {{ID}}")
        terminal.read_until("/dev/")
        caller.save_process("sh", "-c", "echo in $((20 + 3))", terminal=True)
        line = "exec --process {F} --console-socket {S} --detach --pid-file {Q} {ID}"
        caller.ok(f"{self.GLOBAL} {line}")
        console.receive().read_until("in 23")
        caller.ok(f"{self.GLOBAL} delete --force {{ID}}")

    @pytest.mark.parametrize("command", ["create", "exec"])
    def test_pidfd_socket(self, caller: Caller, command: str) -> None:
        """One message with a pidfd of the new process, which tells its end."""
        caller.save("sleep", "1000")
        caller.save_process("sleep", "2000")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(caller.words["D"])
            listener.listen(1)
            listener.settimeout(10)
            line = "create --bundle {B} --pid-file {P}"
            if command == "exec":
                caller.ok(f"{self.GLOBAL} {line} {{ID}}")
                caller.ok(f"{self.GLOBAL} start {{ID}}")
                line = "exec --process {F} --detach --pid-file {P}"
            caller.ok(f"{self.GLOBAL} {line} --pidfd-socket {{D}} {{ID}}")
            connection, _ = listener.accept()
            with connection:
                data, fds, _, _ = socket.recv_fds(connection, 4096, 4)
        assert data and len(fds) == 1
        try:
            info = Path(f"/proc/self/fdinfo/{fds[0]}").read_text().splitlines()
            assert f"Pid:\t{caller.pid('P')}" in info
            assert not select.select(fds, [], [], 0)[0]
            caller.ok(f"{self.GLOBAL} delete --force {{ID}}")
            assert select.select(fds, [], [], 10)[0], "it has ended"
        finally:
            os.close(fds[0])


class TestConmon:
    def test_create_and_exec(self, caller: Caller, console: ConsoleSocket) -> None:
        caller.save("sh", "-c", "echo $((40 + 2)); exec sleep 1000", terminal=True)
        caller.ok("--root {R} create --bundle {B} --pid-file {P} --no-pivot --console-socket {S} {ID}")
        terminal = console.receive()
        assert host_status(caller.pid("P"))["NSpid"].split()[1] == "1"
        caller.ok("--root {R} start {ID}")
        terminal.read_until("42")
        caller.save_process("sh", "-c", "echo $((20 + 3))", terminal=True)
        caller.ok("--root {R} exec --pid-file {Q} --process {F} --detach --console-socket {S} {ID}")
        assert caller.path("Q").exists(), "conmon takes a missing pid file for a failure"
        console.receive().read_until("23")
        caller.ok("--root {R} kill --all {ID} 9")
        caller.wait_stopped("--root {R} state {ID}")
        caller.ok("--root {R} delete --force {ID}")


class TestPodman:
    def test_without_path(self, caller: Caller) -> None:
        """Podman ends and removes a container with no PATH in the environment."""
        caller.save("sleep", "1000")
        caller.ok("--root {R} create --bundle {B} --pid-file {P} {ID}")
        caller.ok("--root {R} start {ID}")
        caller.path("U").write_text("{}")
        caller.ok("--root {R} update --resources={U} {ID}")
        caller.env = {}
        caller.ok("--root {R} kill {ID} 9")
        caller.wait_stopped("--root {R} state {ID}")
        caller.ok("--root {R} kill --all {ID} 9")
        caller.ok("--root {R} delete --force {ID}")
        caller.ok("--root {R} delete --force {ID}")

    def test_the_log_of_a_failure_is_one_object(self, caller: Caller) -> None:
        caller.bundle.process.setdefault("capabilities", {}).setdefault("bounding", []).append("CAP_NO_SUCH")
        caller.save("nosuch")  # what is a warning may not stand beside the error
        line = "--root {R} --log {L} --log-format=json create --bundle {B} --pid-file {P} {ID}"
        said = caller.run(line).error
        document = json.loads(caller.path("L").read_text())
        assert document["level"] == "error" and "executable file not found in $PATH" in document["msg"]
        assert document["msg"] in said

    def test_probes(self, caller: Caller) -> None:
        """What it asks about before it offers checkpoints."""
        assert "checkpoint" in caller.ok("checkpoint --help")
        result = caller.run("restore --lsm-mount-context")
        assert result.status != 0 and "requires an argument" in result.stderr


class TestCrio:
    def test_life(self, caller: Caller) -> None:
        caller.save("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
        caller.ok("--root {R} create --bundle {B} --pid-file {P} {ID}")
        caller.ok("--root {R} start {ID}")
        caller.save_process("sh", "-c", "cat; echo err >&2; exit 5")
        assert caller.run("--root {R} exec --process {F} {ID}", stdin="given\n") == (5, "given\n", "err\n")
        caller.ok("--root {R} update --resources - {ID}", stdin='{"pids": {}}')
        caller.ok("--root {R} kill {ID} SIGTERM")
        caller.wait_stopped("--root {R} state {ID}")
        caller.ok("--root {R} kill -a {ID} 9")
        caller.ok("--root {R} delete {ID}")
        assert json.loads(caller.ok("features"))["ociVersionMin"] == "1.0.0"


class TestBuildKit:
    def test_runs_share_a_log(self, caller: Caller) -> None:
        """No root directory is given, and commands that run side by side append to one file."""
        caller.save("sh", "-c", "echo begun; exec sleep 1000")
        line = "--log {L} run --bundle {B} --keep {ID}"
        command = [paths.RUNTIME_BIN, *(word.format(**caller.words) for word in line.split())]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=caller.env) as run:
            assert run.stdout is not None and run.stdout.readline() == b"begun\n"
            caller.save_process("sh", "-c", "exit 9")
            assert caller.run("--log {L} exec --process {F} --pid-file {P} {ID}").status == 9
            assert caller.pid("P") > 1
            assert json.loads(caller.ok("--log {L} state {ID}"))["status"] == "running"
            caller.run("--log {L} state nosuch")
            caller.ok("--log {L} kill {ID} 9")
            assert run.wait(10) == 137
        assert json.loads(caller.ok("--log {L} state {ID}"))["status"] == "stopped", "--keep"
        caller.ok("--log {L} delete {ID}")
        (line,) = caller.path("L").read_text().splitlines()
        assert "level=error" in line and "does not exist" in line


class TestRuntimeTools:
    @pytest.mark.parametrize("line", ["create --bundle {B}", "start", "state", "kill", "delete", "delete --force"])
    def test_an_id_is_needed(self, caller: Caller, line: str) -> None:
        caller.save("true")
        assert "requires " in (error := caller.run(f"--root {{R}} {line}").error) and "argument(s), not 0" in error

    def test_life(self, caller: Caller) -> None:
        caller.save("sleep", "1000")
        caller.ok("--root {R} create --pid-file {P} --bundle {B} {ID}")
        caller.ok("--root {R} start {ID}")
        caller.ok("--root {R} kill {ID} KILL")
        caller.wait_stopped("--root {R} state {ID}")
        caller.ok("--root {R} delete {ID}")
