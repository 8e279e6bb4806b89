"""run: create, start, wait and delete in one; exit statuses, signals, descriptors, log file."""

import json
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import leaks
from support.bundle import Bundle
from support.runtime import ENVIRONMENT, Runtime, new_id, process_runs, says, wait_for


class TestStatus:
    @pytest.mark.parametrize("status", [0, 1, 3, 126, 127, 255])
    def test_exit_status(self, runtime: Runtime, bundle: Bundle, status: int) -> None:
        bundle.sh(f"exit {status}")
        footprint = leaks.Footprint(runtime.root)
        assert runtime.run("run", "-b", bundle.save(), new_id()).status == status
        footprint.check()
        assert runtime.ids() == []

    @pytest.mark.parametrize("name", ["KILL", "USR1"])
    def test_killed_by_a_signal(self, runtime: Runtime, bundle: Bundle, name: str) -> None:
        """By a process of the container: the first one of a pid namespace cannot kill itself."""
        bundle.namespaces(pid=None)
        bundle.sh(f"kill -{name} $$")
        assert runtime.run("run", "-b", bundle.save(), new_id()).status == 128 + signal.Signals[f"SIG{name}"]

    def test_streams(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("cat; echo err >&2")
        assert runtime.run("run", "-b", bundle.save(), new_id(), stdin="given\n") == (0, "given\n", "err\n")

    def test_keep(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("exit 3")
        id = new_id()
        assert runtime.run("run", "--keep", "-b", bundle.save(), id).status == 3
        assert json.loads(runtime.ok("state", id))["status"] == "stopped"
        runtime.ok("delete", id)


class TestDetach:
    @pytest.mark.parametrize("option", ["--detach", "-d"])
    def test_returns_at_once(self, runtime: Runtime, bundle: Bundle, workdir: Path, option: str) -> None:
        bundle.args("sleep", "1000")
        id = new_id()
        runtime.ok("run", option, "--pid-file", workdir / "pid", "-b", bundle.save(), id)
        state = json.loads(runtime.ok("state", id))
        assert state["status"] == "running"
        assert (workdir / "pid").read_text() == str(state["pid"])
        runtime.ok("delete", "--force", id)

    def test_the_runtime_does_not_stay(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.args("sleep", "1000")
        id = new_id()
        before = set(leaks.processes())
        runtime.ok("run", "-d", "-b", bundle.save(), id)
        wait_for(lambda: len(set(leaks.processes()) - before) == 1, "only the container's process is there")
        assert "sleep 1000" in (set(leaks.processes()) - before).pop()
        runtime.ok("delete", "--force", id)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "PWR", "RTMIN", "RTMAX"])
def test_signals_go_to_the_container(runtime: Runtime, bundle: Bundle, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    bundle.sh(f"trap 'echo got {name}; exit 9' {number:d}; echo ready; while :; do sleep 0.05; done")
    command = runtime.command("run", "-b", bundle.save(), new_id())
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(20) == 9, "the container's own status"
        assert process.stdout.read() == f"got {name}\n".encode()
    assert runtime.ids() == []


class TestDescriptors:
    COMMAND = "echo text >&3; echo $(ls /proc/self/fd)"

    def test_preserve_fds(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh(self.COMMAND)
        with tempfile.TemporaryFile() as file, open("/dev/null") as other:
            fds = [file.fileno(), other.fileno()]
            shown = runtime.ok("run", "--preserve-fds", "1", "-b", bundle.save(), new_id(), fds=fds)
            assert shown == "0 1 2 3 4\n", "4 is ls's own"
            file.seek(0)
            assert file.read() == b"text\n"

    def test_none_without_the_option(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.args("ls", "/proc/self/fd")
        with tempfile.TemporaryFile() as file:
            assert runtime.ok("run", "-b", bundle.save(), new_id(), fds=[file.fileno()]).split() == ["0", "1", "2", "3"]

    def test_preserving_a_descriptor_that_is_not_open(self, runtime: Runtime, bundle: Bundle) -> None:
        error = runtime.fails("run", "--preserve-fds", "5", "-b", bundle.save(), new_id())
        says(error, "--preserve-fds: descriptor 3 is not open")
        assert runtime.ids() == []


class TestLog:
    def test_json(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        log = workdir / "log.json"
        bundle.mount("/mnt", "nosuchfs", "none")
        tested = Runtime(runtime.root, options=["--log", str(log), "--log-format", "json"])
        result = tested.run("create", "-b", bundle.save(), new_id())
        assert result.status == 1 and result.stderr
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert all({"level", "msg", "time"} <= line.keys() for line in lines)
        errors = [line for line in lines if line["level"] == "error"]
        assert len(errors) == 1
        says(errors[0]["msg"], "nosuchfs", "ENODEV")
        says(result.stderr, errors[0]["msg"])

    def test_success_writes_no_error(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        log = workdir / "log.json"
        bundle.args("true")
        tested = Runtime(runtime.root, options=["--log", str(log), "--log-format=json"])
        assert tested.ok("run", "-b", bundle.save(), new_id()) == ""
        assert log.exists(), "engines expect the file"
        assert '"level":"error"' not in log.read_text().replace(" ", "")

    def test_appends(self, runtime: Runtime, workdir: Path) -> None:
        log = workdir / "log.json"
        log.write_text('{"level":"info","msg":"first","time":"now"}\n')
        Runtime(runtime.root, options=["--log", str(log), "--log-format", "json"]).run("state", new_id())
        first, *others = log.read_text().splitlines()
        assert "first" in first and any("does not exist" in line for line in others)

    def test_text(self, runtime: Runtime, workdir: Path) -> None:
        log = workdir / "log.txt"
        Runtime(runtime.root, options=["--log", str(log)]).run("state", new_id())
        assert "does not exist" in log.read_text()

    def test_log_that_cannot_be_written(self, runtime: Runtime, workdir: Path) -> None:
        result = Runtime(runtime.root, options=["--log", str(workdir / "no" / "log")]).run("state", new_id())
        assert result.status == 1 and str(workdir / "no" / "log") in result.stderr


class TestInformation:
    @pytest.mark.parametrize("option", ["--version", "-v"])
    def test_version(self, runtime: Runtime, option: str) -> None:
        lines = runtime.ok(option).splitlines()
        assert " version " in lines[0]
        assert any(line.startswith("spec: 1.") for line in lines)

    @pytest.mark.parametrize(
        "args", [["--help"], ["-h"], ["create", "--help"], ["exec", "-h"], ["delete", "--help"]], ids=" ".join
    )
    def test_help(self, runtime: Runtime, args: list[str]) -> None:
        result = runtime.run(*args)
        assert result.status == 0 and result.stdout and not result.stderr

    def test_spec_makes_a_config_that_runs(self, runtime: Runtime, bundle: Bundle) -> None:
        (bundle.path / "config.json").unlink(missing_ok=True)
        runtime.ok("spec", cwd=bundle.path)
        config = json.loads((bundle.path / "config.json").read_text())
        assert config["process"]["terminal"] is True and config["root"]["readonly"] is True
        config["process"]["terminal"] = False
        config["process"]["args"] = ["echo", "fine"]
        (bundle.path / "config.json").write_text(json.dumps(config))
        assert runtime.ok("run", "-b", bundle.path, new_id()) == "fine\n"

    def test_spec_does_not_overwrite(self, runtime: Runtime, bundle: Bundle) -> None:
        text = (bundle.save() / "config.json").read_text()
        says(runtime.fails("spec", "-b", bundle.path), "config.json exists. Remove it first")
        assert (bundle.path / "config.json").read_text() == text

    def test_features(self, runtime: Runtime) -> None:
        document = json.loads(runtime.ok("features"))
        assert document["ociVersionMin"] and document["ociVersionMax"]
        assert {"createRuntime", "poststop"} <= set(document["hooks"])
        assert {"bind", "rbind", "ro", "nosuid"} <= set(document["mountOptions"])
        assert {"mount", "network", "pid", "user"} <= set(document["linux"]["namespaces"])
        assert "CAP_CHOWN" in document["linux"]["capabilities"]
        assert document["linux"]["seccomp"]["enabled"] is True

    def test_list_of_nothing(self, runtime: Runtime) -> None:
        assert json.loads(runtime.ok("list", "--format", "json") or "null") in (None, [])
        assert len(runtime.ok("list").splitlines()) <= 1, "no more than a header"


def test_interrupted_by_kill_the_container_can_be_deleted(runtime: Runtime, bundle: Bundle) -> None:
    """The runtime is killed while it waits for the container: the record stays true."""
    bundle.sh("echo ready; exec sleep 1000")
    id = new_id()
    with subprocess.Popen(
        runtime.command("run", "-b", bundle.save(), id), stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        process.wait(20)
    state = json.loads(runtime.ok("state", id))
    assert state["status"] in ("running", "stopped")
    runtime.ok("delete", "--force", id)
    assert not process_runs(state["pid"])
