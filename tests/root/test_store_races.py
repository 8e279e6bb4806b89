"""Two commands on one container, commands that are killed, damaged records, and disks that take nothing."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle
from support.fixtures import Make
from support.leaks import Footprint
from support.moments import Moments
from support.runtime import ENVIRONMENT, Container, Runtime, Started, new_id, process_runs, wait_for


def test_two_creates_of_one_id(runtime: Runtime, bundle: Bundle) -> None:
    bundle.save()
    for _ in range(5):
        id = new_id()
        ends = [each.end() for each in [Started(runtime, "create", "-b", bundle.path, id) for _ in range(4)]]
        assert sorted(status for status, _ in ends) == [0, 1, 1, 1], ends
        for status, said in ends:
            assert said == "" if status == 0 else f'container with given ID already exists: "{id}"' in said, ends
        box = Container(runtime, bundle.path, id)
        assert box.status == "created" and process_runs(box.pid), "a refused create had an effect on the other"
        box.start()
        box.delete("--force")
        box.close()


def test_a_refused_create_leaves_the_cgroup_of_the_other_alone(
    container: Make, runtime: Runtime, bundle: Bundle
) -> None:
    bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-one"
    box = container()
    for _ in range(3):
        assert f"{session.TOKEN}-one" in runtime.fails("create", "-b", bundle.path, new_id())
        assert process_runs(box.pid) and box.status == "running"
    assert runtime.ids() == [box.id]


def statuses(runtime: Runtime) -> set[str]:
    return {entry["status"] for entry in json.loads(runtime.ok("list", "-f", "json"))}


def test_create_killed_at_any_moment(runtime: Runtime, bundle: Bundle) -> None:
    """delete --force cleans up whatever there is, and the id works again."""
    bundle.sh("exec sleep 1000")
    path = bundle.save()
    footprint = Footprint(runtime.root)
    moments = Moments(runtime, path, 20)
    at_work, id = 0, ""
    for _ in range(40):
        id = new_id("killed")
        moment = moments.choose()
        creator = Started(runtime, "create", "-b", path, id)
        time.sleep(moment)
        at_work += creator.kill() == -signal.SIGKILL and runtime.ids() != []
        # An init that was just born has a copy of the creator's lock until it notices that it is alone.
        wait_for(lambda: statuses(runtime) <= {"stopped", "created"}, "nobody creates any more")
        assert runtime.ok("delete", "--force", id) == ""
        assert runtime.ids() == []
    footprint.check()
    assert at_work, "no create was killed that had left something"
    assert runtime.run("run", "-d", "-b", path, id).status == 0
    runtime.ok("delete", "--force", id)


@pytest.mark.parametrize("there", [False, True])
def test_delete_by_force_sweeps_what_a_killed_command_left(container: Make, there: bool) -> None:
    box = container()
    if not there:
        box.delete("--force")
    left = box.runtime.root / f"~{box.id}.1.2"
    left.mkdir()
    (left / "state.json").write_text("{")
    assert len(json.loads(box.runtime.ok("list", "-f", "json"))) == there
    box.delete("--force")
    box.delete("--force")
    assert box.runtime.ids() == []


def test_a_creating_record_of_a_dead_creator_is_stopped(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    ready = workdir / "ready"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"> {ready}; sleep 1000"]}]}
    id = new_id()
    creator = Started(runtime, "create", "-b", bundle.save(), id)
    wait_for(ready.exists, "the hook runs")
    assert json.loads(runtime.ok("state", id))["status"] == "creating"
    assert "container not running" in runtime.fails("kill", id)
    creator.kill()
    assert json.loads(runtime.ok("state", id))["status"] == "stopped"
    runtime.ok("delete", id)
    end_hook()


def end_hook() -> None:
    """End the hook that outlived its runtime; it is a child of this session's reaper."""
    for pid in session.children(session.reaper or 0):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"sleep 1000" in words or b"sleep\x001000" in words:
            for each in [*session.children(pid), pid]:
                with contextlib.suppress(ProcessLookupError):  # the shell ends when its sleep does
                    os.kill(each, signal.SIGKILL)


def test_delete_by_force_of_a_container_that_is_being_created(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    """Its create waits for a hook inside the container, which goes with the cgroup."""
    ready = workdir / "ready"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"> {ready}; sleep 1000"]}
    bundle.config["hooks"] = {"createContainer": [hook]}
    id = new_id()
    creator = Started(runtime, "create", "-b", bundle.save(), id)
    wait_for(ready.exists, "the hook runs")
    runtime.ok("delete", "--force", id)
    status, said = creator.end()
    assert status == 1 and len(said.splitlines()) == 1, said
    assert runtime.ids() == []


def test_kill_while_start_waits_for_a_hook(container: Make, bundle: Bundle, workdir: Path) -> None:
    ready, go_on = workdir / "ready", workdir / "go-on"
    wait = f"> {ready}; until [ -e {go_on} ]; do sleep 0.05; done"
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", wait]}]}
    box = container(start=False)
    starter = Started(box.runtime, "start", box.id)
    wait_for(ready.exists, "the hook runs")
    box.runtime.ok("kill", box.id, "KILL")
    assert starter.process.poll() is None, "kill has waited for the hook"
    go_on.touch()
    assert starter.end() == (0, "")
    box.wait_stopped()


def test_list_during_creates_and_deletes(runtime: Runtime, bundle: Bundle) -> None:
    bundle.sh("exec sleep 1000")
    path = bundle.save()
    end = time.monotonic() + 3
    busy = []
    for lane in range(2):
        script = (
            'n=0; while [ -e "$1/go" ]; do n=$((n+1)); "$2" --root "$3" run -d -b "$4" "$5-$n" || exit 1; '
            '"$2" --root "$3" delete --force "$5-$n" || exit 1; done'
        )
        (path / "go").touch()
        words = list(
            map(str, ("sh", "-c", script, "sh", path, runtime.binary, runtime.root, path, new_id(f"lane{lane}")))
        )
        busy.append(
            subprocess.Popen(
                words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        )
    seen = set()
    while time.monotonic() < end:
        for entry in json.loads(runtime.ok("list", "--format", "json")):
            seen.add(entry["status"])
    (path / "go").unlink()
    for process in busy:
        _, said = process.communicate(timeout=20)
        assert (process.returncode, said) == (0, b"")
    assert "running" in seen and seen <= {"creating", "created", "running", "stopped"}
    assert runtime.ids() == []


def test_run_does_not_delete_a_later_container_of_its_id(runtime: Runtime, bundle: Bundle) -> None:
    bundle.sh("exec sleep 1000")
    id = new_id()
    first = Started(runtime, "run", "-b", bundle.save(), id)
    box = Container(runtime, bundle.path, id)
    wait_for(lambda: runtime.ids() == [id] and box.status == "running", "it runs")
    first.process.send_signal(signal.SIGSTOP)
    box.delete("--force")
    box.create()
    box.start()
    first.process.send_signal(signal.SIGCONT)
    assert first.end()[0] == 128 + signal.SIGKILL
    assert box.status == "running" and process_runs(box.pid)
    box.delete("--force")
    box.close()


class TestDamagedRecord:
    @pytest.fixture
    def box(self, container: Make, bundle: Bundle, runtime: Runtime) -> Container:
        bundle.sh("exec sleep 1000")
        return container()

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "c"}', None])
    def test_clear_error_and_removable(self, box: Container, container: Make, content: str | None) -> None:
        other = container()
        pid = box.pid
        file = box.runtime.root / box.id / "state.json"
        file.unlink()
        if content is not None:
            file.write_text(content)
        for command in ("state", "start", "kill", "delete", "pause", "resume", "ps"):
            error = box.runtime.fails(command, box.id)
            assert box.id in error and "state.json" in error and "delete --force" in error
        result = box.runtime.run("list", "--format", "json")
        assert result.status == 0 and [entry["id"] for entry in json.loads(result.stdout)] == [other.id]
        assert process_runs(pid)
        box.delete("--force")
        assert not process_runs(pid), "the config still names the cgroup"
        assert box.runtime.ids() == [other.id]

    def test_with_a_damaged_config_too(self, box: Container) -> None:
        """The cgroup is looked for where it is by default."""
        pid = box.pid
        for name in ("state.json", "config.json"):
            (box.runtime.root / box.id / name).write_text("{")
        done = box.runtime.run("delete", "--force", box.id)
        assert done.status == 0 and "warning: the poststop hooks are not run" in done.stderr
        assert box.runtime.ids() == [] and not process_runs(pid)

    def test_the_cgroup_that_the_config_names(self, container: Make, bundle: Bundle) -> None:
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-named"
        box = container()
        pid = box.pid
        (box.runtime.root / box.id / "state.json").write_text("{")
        box.delete("--force")
        assert not process_runs(pid) and not (session.CGROUP_ROOT / f"{session.TOKEN}-named").exists()


class TestLeftoverRecord:
    def test_of_an_earlier_boot(self, container: Make) -> None:
        box = container()
        file = box.runtime.root / box.id / "state.json"
        whole = file.read_text()
        file.write_text(json.dumps({**json.loads(whole), "boot_id": "0", "cgroup_id": 1}))
        assert box.status == "stopped"
        pid = int(json.loads(whole)["pid"])
        assert "container not running" in box.runtime.fails("kill", box.id, "KILL")
        box.runtime.ok("kill", "--all", box.id, "KILL")
        assert process_runs(pid), "a process that is not the container's was signalled"
        file.write_text(whole)

    def test_its_pid_is_another_process(self, container: Make) -> None:
        box = container()
        file = box.runtime.root / box.id / "state.json"
        whole = json.loads(file.read_text())
        with subprocess.Popen(["sleep", "1000"]) as other:
            try:
                file.write_text(json.dumps({**whole, "pid": other.pid}))
                assert box.status == "stopped"
                box.delete("--force")
                assert other.poll() is None, "another process was killed"
            finally:
                other.kill()


class TestDisks:
    @pytest.fixture
    def root(self, workdir: Path) -> Iterator[Path]:
        path = workdir / "state"
        path.mkdir()
        yield path
        session.umount(str(path), session.MNT_DETACH)

    def refused(self, root: Path, bundle: Bundle) -> str:
        footprint = Footprint(root)
        error = Runtime(root).fails("create", "-b", bundle.save(), new_id())
        footprint.check()
        assert str(root) in error
        return error

    def test_read_only(self, root: Path, bundle: Bundle) -> None:
        session.mount("tmpfs", str(root), "tmpfs", 1, "mode=0755")
        assert "EROFS" in self.refused(root, bundle)

    def test_full(self, root: Path, bundle: Bundle) -> None:
        session.mount("tmpfs", str(root), "tmpfs", 0, "mode=0755,size=4k")
        (root / "x").write_bytes(b"x" * 4096)
        assert "ENOSPC" in self.refused(root, bundle)

    def test_no_inodes(self, root: Path, bundle: Bundle) -> None:
        session.mount("tmpfs", str(root), "tmpfs", 0, "mode=0755,nr_inodes=3")
        assert "ENOSPC" in self.refused(root, bundle)

    def test_another_file_system(self, root: Path, bundle: Bundle) -> None:
        session.mount("tmpfs", str(root), "tmpfs", 0, "mode=0755,size=1m")
        bundle.sh("echo fine")
        assert Runtime(root).ok("run", "-b", bundle.save(), new_id()) == "fine\n"
        assert os.listdir(root) == []


class TestLimitsOfTheCaller:
    """What the runtime itself may not have any more of: one clear line, and nothing is left."""

    def create(self, runtime: Runtime, bundle: Bundle, limit: str) -> subprocess.CompletedProcess[str]:
        bundle.process.pop("rlimits", None)
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
        command = runtime.command("create", "-b", bundle.save(), new_id())
        limited = ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *command]
        null = subprocess.DEVNULL
        return subprocess.run(limited, stdin=null, capture_output=True, text=True, check=False, timeout=30)

    def refused(self, runtime: Runtime, bundle: Bundle, limit: str) -> str:
        footprint = Footprint(runtime.root)
        result = self.create(runtime, bundle, limit)
        footprint.check()
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result
        return result.stderr

    @pytest.mark.parametrize("descriptors", range(5, 9))
    def test_descriptors(self, runtime: Runtime, bundle: Bundle, descriptors: int) -> None:
        said = self.refused(runtime, bundle, f"-n {descriptors}")
        assert "EMFILE" in said or "Too many open files" in said
        assert "clean-up" not in said and "internal" not in said

    def test_size_of_files(self, runtime: Runtime, bundle: Bundle) -> None:
        assert "EFBIG" in self.refused(runtime, bundle, "-f 0")


def test_a_working_directory_that_is_gone(runtime: Runtime, workdir: Path) -> None:
    gone = workdir / "gone"
    command = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *runtime.command("create", new_id())]
    gone.mkdir()
    result = subprocess.run(command, cwd=gone, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        1,
        "pyruntime: working directory: no such file or directory (ENOENT)\n",
    )


def test_many_looks_at_a_stopped_init_do_not_block(container: Make) -> None:
    box = container(start=False)
    box.kill("STOP")
    for _ in range(25):
        assert box.runtime.run("state", box.id).status == 0
    assert box.status == "created"
    box.kill("CONT")
    box.start()


def test_a_frozen_container_that_was_not_started(container: Make) -> None:
    box = container(start=False)
    box.runtime.ok("pause", box.id)
    assert box.status == "paused"
    assert "paused" in box.runtime.fails("start", box.id)
    box.runtime.ok("resume", box.id)
    assert box.status == "created"
    box.start()


def test_delete_regex(container: Make) -> None:
    boxes = [container() for _ in range(3)]
    runtime = boxes[0].runtime
    pattern = f"({boxes[0].id}|{boxes[1].id})"
    assert "not stopped" in runtime.fails("delete", "--regex", pattern)
    runtime.ok("delete", "--force", "--regex", pattern)
    assert runtime.ids() == [boxes[2].id]
    assert "--regex" in runtime.fails("delete", "--regex", "(")


@pytest.mark.parametrize("signal_name", ["RTMIN+3", "SIGRTMIN+3", "rtmin+3", str(signal.SIGRTMIN + 3)])
def test_real_time_signals(container: Make, bundle: Bundle, signal_name: str) -> None:
    bundle.sh(f"trap 'echo got it; exit 0' {signal.SIGRTMIN + 3}; echo ready; while :; do sleep 0.05; done")
    box = container()
    wait_for(lambda: "ready" in box.output, "the trap is set")
    box.runtime.ok("kill", box.id, signal_name)
    box.wait_stopped()
    assert "got it" in box.output
