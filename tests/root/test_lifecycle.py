"""create, state, start, kill, delete: statuses, exit statuses, order, ids.

runtime.md, "Operations" and "Lifecycle"; what callers parse: callers of a runtime expect the words tested here.
"""

import datetime
import json
import os
from pathlib import Path

import pytest
from support import leaks
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, new_id, process_runs, says, wait_for


def test_create_start_kill_delete(container: Make, bundle: Bundle) -> None:
    bundle.sh("echo started; exec sleep 100")
    box = container(start=False)
    assert box.status == "created"
    pid = box.pid
    assert process_runs(pid)
    assert box.output == "", "the program must not run before start"

    box.start()
    wait_for(lambda: box.output == "started\n", "the program runs")
    assert box.status == "running"
    assert box.pid == pid, "the program runs in the process that create made"

    box.kill("KILL")
    box.wait_stopped()
    assert not process_runs(pid)

    box.delete()
    assert "does not exist" in box.runtime.fails("state", box.id)
    assert box.runtime.ids() == []


def test_state_document(container: Make, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"org.example.key": "value", "empty": ""}
    before = datetime.datetime.now(datetime.UTC)
    box = container()
    state = box.state()
    assert state["id"] == box.id
    assert state["bundle"] == str(bundle.path)
    assert state["rootfs"] == str(bundle.rootfs)
    assert state["status"] == "running"
    assert state["pid"] == box.pid and process_runs(state["pid"])
    assert state["annotations"] == {"org.example.key": "value", "empty": ""}
    assert state["ociVersion"].startswith("1.")
    created = datetime.datetime.fromisoformat(state["created"])
    assert before - datetime.timedelta(seconds=1) <= created <= datetime.datetime.now(datetime.UTC)


def test_state_of_a_stopped_container_has_pid_0(container: Make, bundle: Bundle) -> None:
    bundle.args("true")
    box = container()
    box.wait_stopped()
    assert box.state()["pid"] == 0


def test_a_program_that_ends_at_once_was_started(container: Make, bundle: Bundle) -> None:
    bundle.args("false")
    box = container(start=False)
    assert box.runtime.run("start", box.id).status == 0
    box.wait_stopped()


def test_pid_file(container: Make, workdir: Path) -> None:
    file = workdir / "pid"
    box = container("--pid-file", str(file), start=False)
    assert file.read_text() == str(box.pid), "the number, with no newline"
    assert [entry.name for entry in workdir.iterdir() if entry.name.startswith((".", "pid"))] == ["pid"]


def test_bundle_defaults_to_the_working_directory(runtime: Runtime, bundle: Bundle) -> None:
    bundle.sh("echo here")
    assert runtime.ok("run", new_id(), cwd=bundle.save()) == "here\n"


@pytest.mark.parametrize("write", ["--bundle={}", "-b={}", "--bundle {}", "-b {}"])
def test_ways_to_write_an_option(runtime: Runtime, bundle: Bundle, write: str) -> None:
    bundle.sh("echo here")
    assert runtime.ok("run", *write.format(bundle.save()).split(), new_id()) == "here\n"


def test_changes_of_config_after_create_have_no_effect(container: Make, bundle: Bundle) -> None:
    bundle.sh("echo first; exec sleep 100")
    box = container(start=False)
    bundle.sh("echo second")
    bundle.save()
    box.start()
    wait_for(lambda: box.output != "", "the program runs")
    assert box.output == "first\n"


def test_unknown_properties_are_ignored(inside: object, runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["unknownToAll"] = {"a": [1]}
    bundle.linux["unknownToAll"] = True
    bundle.sh("echo fine")
    assert runtime.ok("run", "-b", bundle.save(), new_id()) == "fine\n"


class TestWrongOrder:
    def test_start_twice(self, container: Make) -> None:
        box = container()
        says(box.runtime.fails("start", box.id), "cannot start an already running container", box.id)
        assert box.status == "running", "the refused start had an effect"

    def test_start_a_stopped_container(self, container: Make, bundle: Bundle) -> None:
        bundle.args("true")
        box = container()
        box.wait_stopped()
        says(box.runtime.fails("start", box.id), "cannot start a container that has stopped", box.id)
        assert box.status == "stopped"

    @pytest.mark.parametrize("start", [False, True], ids=["created", "running"])
    def test_delete_of_a_live_container_needs_force(self, container: Make, start: bool) -> None:
        box = container(start=start)
        status = "running" if start else "created"
        says(box.runtime.fails("delete", box.id), f"cannot delete container {box.id} that is not stopped: {status}")
        assert box.status == status
        assert process_runs(box.pid)

    @pytest.mark.parametrize("start", [False, True], ids=["created", "running"])
    def test_delete_by_force(self, container: Make, start: bool) -> None:
        box = container(start=start)
        pid = box.pid
        box.delete("--force")
        assert not process_runs(pid)
        assert box.runtime.ids() == []

    def test_kill_of_a_stopped_container(self, container: Make, bundle: Bundle) -> None:
        bundle.args("true")
        box = container()
        box.wait_stopped()
        assert "container not running" in box.runtime.fails("kill", box.id, "TERM")
        assert box.status == "stopped"

    def test_kill_all_of_a_stopped_container_is_fine(self, container: Make, bundle: Bundle) -> None:
        bundle.args("true")
        box = container()
        box.wait_stopped()
        assert box.runtime.run("kill", "--all", box.id, "KILL").status == 0

    def test_kill_works_before_start(self, container: Make) -> None:
        box = container(start=False)
        box.kill("KILL")
        box.wait_stopped()
        box.delete()

    def test_start_after_init_was_killed_does_not_hang(self, container: Make) -> None:
        box = container(start=False)
        pid = box.pid
        os.kill(pid, 9)
        wait_for(lambda: not process_runs(pid), "init is gone")
        says(box.runtime.fails("start", box.id), "cannot start a container that has stopped", box.id)
        assert box.status == "stopped"


class TestUnknownContainer:
    @pytest.mark.parametrize("command", ["state", "start", "delete"])
    def test_command(self, runtime: Runtime, command: str) -> None:
        assert "does not exist" in runtime.fails(command, new_id())

    def test_kill(self, runtime: Runtime) -> None:
        assert "does not exist" in runtime.fails("kill", new_id(), "TERM")

    def test_exec(self, runtime: Runtime) -> None:
        result = runtime.run("exec", new_id(), "true")
        assert result.status in (1, 255) and "does not exist" in result.stderr

    def test_delete_by_force_succeeds(self, runtime: Runtime) -> None:
        assert runtime.ok("delete", "--force", new_id()) == ""


class TestIds:
    def test_id_in_use(self, container: Make, bundle: Bundle) -> None:
        box = container()
        error = box.runtime.fails("create", "-b", bundle.path, box.id)
        assert box.id in error and "exist" in error
        assert box.status == "running", "the refused create had an effect on the first container"

    def test_id_can_be_used_again_after_delete(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("echo again")
        id = new_id()
        for _ in range(3):
            assert runtime.ok("run", "-b", bundle.save(), id) == "again\n"

    @pytest.mark.parametrize("bad", ["..", ".", "a/b", "../x", "", "a b", "a\nb", "ä", "x" * 1025])
    def test_bad_id(self, runtime: Runtime, bundle: Bundle, workdir: Path, bad: str) -> None:
        bundle.save()
        before = sorted(workdir.rglob("*"))
        says(runtime.fails("create", "-b", bundle.path, bad), "container id" if bad == "" else "invalid container ID")
        assert runtime.ids() == []
        assert [path for path in sorted(workdir.rglob("*")) if path not in before and path != runtime.root] == []

    @pytest.mark.parametrize("word", ["A", "_", "a.b", "a+b", "a-b_c.d"])
    def test_good_id(self, runtime: Runtime, bundle: Bundle, word: str) -> None:
        bundle.sh("echo fine")
        assert runtime.ok("run", "-b", bundle.save(), new_id(word)) == "fine\n"

    def test_id_is_needed(self, runtime: Runtime, bundle: Bundle) -> None:
        result = runtime.run("create", "-b", bundle.save())
        assert result.status == 1
        says(result.stderr, "requires exactly 1 argument(s), not 0")
        assert runtime.ids() == []


class TestKill:
    @pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "10", "usr1"])
    def test_ways_to_name_a_signal(self, container: Make, bundle: Bundle, name: str) -> None:
        bundle.sh("trap 'echo got it; exit 0' USR1; echo ready; while :; do sleep 0.05; done")
        box = container()
        wait_for(lambda: "ready" in box.output, "the trap is set")
        box.runtime.ok("kill", box.id, name)
        box.wait_stopped()
        assert box.output == "ready\ngot it\n"

    def test_default_is_term(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("trap 'echo term; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
        box = container()
        wait_for(lambda: "ready" in box.output, "the trap is set")
        box.runtime.ok("kill", box.id)
        box.wait_stopped()
        assert box.output == "ready\nterm\n"

    @pytest.mark.parametrize("bad", ["NOSUCH", "99999", "-1"])
    def test_unknown_signal(self, container: Make, bad: str) -> None:
        box = container()
        result = box.runtime.run("kill", box.id, bad)
        assert result.status == 1, result
        says(result.stderr, f"unknown {'option' if bad.startswith('-') else 'signal'} {bad!r}")
        assert box.status == "running"

    def test_kill_without_path_in_the_environment(self, container: Make) -> None:
        box = container()
        assert box.runtime.run("kill", box.id, "KILL", env={}).status == 0
        box.wait_stopped()
        assert box.runtime.run("delete", box.id, env={}).status == 0

    def test_all_reaches_every_process(self, container: Make, bundle: Bundle) -> None:
        bundle.namespaces(pid=None)  # in the host's pid namespace the others outlive the container's first process
        bundle.sh("sleep 1000 & sleep 1000 & echo ready; wait")
        box = container()
        wait_for(lambda: "ready" in box.output, "children run")
        pids = json.loads(box.runtime.ok("ps", "--format", "json", box.id))
        assert len(pids) == 3
        box.runtime.ok("kill", "--all", box.id, "KILL")
        wait_for(lambda: not any(process_runs(pid) for pid in pids), "every process is gone")

    def test_delete_removes_what_outlives_init(self, container: Make, bundle: Bundle) -> None:
        bundle.namespaces(pid=None)
        bundle.sh("sleep 1000 & echo ready; sleep 1000")
        box = container()
        wait_for(lambda: "ready" in box.output, "the child runs")
        pids = json.loads(box.runtime.ok("ps", "--format", "json", box.id))
        os.kill(box.pid, 9)
        box.wait_stopped()
        box.delete()
        wait_for(lambda: not any(process_runs(pid) for pid in pids), "every process is gone")


def test_two_containers_live_side_by_side(runtime: Runtime, bundle: Bundle) -> None:
    boxes = [Container(runtime, bundle.save(), new_id()) for _ in range(2)]
    for box in boxes:
        box.create()
        box.start()
    listed = json.loads(runtime.ok("list", "--format", "json"))
    assert {(entry["id"], entry["status"], entry["pid"]) for entry in listed} == {
        (box.id, "running", box.pid) for box in boxes
    }
    assert sorted(runtime.ok("list", "-q").split()) == sorted(box.id for box in boxes)
    boxes[0].delete("--force")
    assert boxes[1].status == "running"
    boxes[1].delete("--force")
    for box in boxes:
        box.close()
    assert not [path for path in leaks.cgroups() if boxes[0].id in path]
