"""The container's cgroup: name, members, pause, ps, what delete removes. config-linux.md "Control groups"."""

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from support import leaks, session
from support.bundle import Bundle
from support.cgroup import cgroup_of
from support.fixtures import Make
from support.runtime import Container, Runtime, new_id, process_runs, says, wait_for


def events(cgroup: Path) -> dict[str, str]:
    return dict(line.split() for line in (cgroup / "cgroup.events").read_text().splitlines())


class TestPath:
    def test_default_is_the_containers_own(self, container: Make) -> None:
        box = container()
        assert box.id in str(cgroup_of(box.pid))
        assert cgroup_of(box.pid) != cgroup_of(os.getpid())

    @pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
    def test_given(self, container: Make, bundle: Bundle, absolute: bool) -> None:
        name = f"{session.TOKEN}-parent/deep/er"
        bundle.linux["cgroupsPath"] = ("/" if absolute else "") + name
        box = container()
        where = cgroup_of(box.pid)
        assert where == session.CGROUP_ROOT / name if absolute else where.match(f"*{name}")
        box.delete("--force")
        assert not where.exists()
        top = next(part for part in where.parents if part.name == f"{session.TOKEN}-parent")
        leaks.remove_cgroup(top)  # a runtime leaves the parents: others may use them

    @pytest.mark.parametrize("dots", ["/{}/../{}", "{}/../{}", "{}/a/../../{}", "../../{1}"])
    def test_dots_do_not_lead_out(self, runtime: Runtime, bundle: Bundle, dots: str) -> None:
        """CVE-2023-6476: the parent is there, and what it is led out to can be made."""
        parent, out = (session.CGROUP_ROOT / f"{session.TOKEN}-{word}" for word in ("parent", "out"))
        (parent / "a").mkdir(parents=True)
        bundle.linux["cgroupsPath"] = dots.format(parent.name, out.name)
        try:
            error = runtime.fails("create", "-b", bundle.save(), new_id())
            assert not out.exists()
        finally:
            leaks.remove_cgroup(parent)
        says(error, "must not contain '..' [config.json#/linux/cgroupsPath]")

    def test_every_process_is_in_it(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("sleep 1000 & sleep 1000 & wait")
        box = container()
        where = cgroup_of(box.pid)
        wait_for(lambda: len((where / "cgroup.procs").read_text().split()) == 3, "the shell and two more")

    def test_a_cgroup_with_processes_is_refused(self, container: Make, runtime: Runtime, bundle: Bundle) -> None:
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-taken"
        box = container()
        says(
            runtime.fails("create", "-b", bundle.path, new_id()),
            "already has processes",
            "another container or process uses it",
        )
        assert box.status == "running"
        box.delete("--force")

    def test_a_cgroup_that_another_create_is_about_to_use_is_refused(
        self, container: Make, runtime: Runtime, bundle: Bundle
    ) -> None:
        """From the look whether the cgroup is free until init is inside, a create holds its lock."""
        cgroup = session.CGROUP_ROOT / f"{session.TOKEN}-locked"
        cgroup.mkdir()
        bundle.linux["cgroupsPath"] = f"/{cgroup.name}"
        fd = os.open(cgroup, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            error = runtime.fails("create", "--bundle", bundle.save(), new_id())
            says(error, "flock(", "EAGAIN", "cgroupsPath")
            fcntl.flock(fd, fcntl.LOCK_UN)
            box = container()
            assert cgroup_of(box.pid) == cgroup
        finally:
            os.close(fd)

    def test_creates_at_once_in_a_cgroup_that_is_there(self, runtime: Runtime, bundle: Bundle) -> None:
        """Exactly one gets it, whichever; it is empty before each round."""
        cgroup = session.CGROUP_ROOT / f"{session.TOKEN}-both"
        bundle.linux["cgroupsPath"] = f"/{cgroup.name}"
        path = bundle.save()
        for _ in range(20):
            cgroup.mkdir(exist_ok=True)
            names = [new_id() for _ in range(3)]
            commands = [runtime.command("create", "--bundle", path, name) for name in names]
            null = subprocess.DEVNULL
            creates = [subprocess.Popen(command, stdin=null, stdout=null, stderr=null) for command in commands]
            assert sorted(create.wait(30) for create in creates) == [0, 1, 1]
            for name in names:
                runtime.ok("delete", "--force", name)
        if cgroup.exists():
            cgroup.rmdir()

    def test_a_frozen_cgroup_is_refused(self, runtime: Runtime, bundle: Bundle) -> None:
        cgroup = session.CGROUP_ROOT / f"{session.TOKEN}-frozen"
        cgroup.mkdir()
        (cgroup / "cgroup.freeze").write_text("1")
        bundle.linux["cgroupsPath"] = f"/{cgroup.name}"
        says(runtime.fails("create", "-b", bundle.save(), new_id()), "is frozen")
        if cgroup.exists():
            (cgroup / "cgroup.freeze").write_text("0")
            cgroup.rmdir()


class TestDelete:
    def test_nested_cgroups_go_too(self, container: Make) -> None:
        box = container()
        where = cgroup_of(box.pid)
        (where / "a" / "b").mkdir(parents=True)
        (where / "c").mkdir()
        box.kill()
        box.wait_stopped()
        box.delete()
        assert not where.exists()

    def test_processes_in_nested_cgroups_are_killed(self, container: Make, bundle: Bundle) -> None:
        bundle.namespaces(pid=None)
        bundle.sh("sleep 1000 & echo $!; wait")
        box = container()
        wait_for(lambda: box.output != "", "the child runs")
        child = int(box.output)
        nested = cgroup_of(box.pid) / "nested"
        nested.mkdir()
        (nested / "cgroup.procs").write_text(str(child))
        box.delete("--force")
        wait_for(lambda: not process_runs(child), "the child is gone")
        assert not nested.exists()


class TestPause:
    def test_pause_and_resume(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done")
        box = container()
        where = cgroup_of(box.pid)
        wait_for(lambda: box.output != "", "it counts")
        box.runtime.ok("pause", box.id)
        assert box.status == "paused"
        assert events(where)["frozen"] == "1", "the freeze is complete when pause returns"
        before = box.output
        time.sleep(0.2)
        assert box.output == before
        box.runtime.ok("resume", box.id)
        assert box.status == "running"
        assert events(where)["frozen"] == "0"
        wait_for(lambda: box.output != before, "it counts again")

    def test_a_created_container(self, container: Make) -> None:
        """Init waits, frozen, and start works once it is resumed."""
        box = container(start=False)
        box.runtime.ok("pause", box.id)
        assert box.status == "paused"
        assert events(cgroup_of(box.pid))["frozen"] == "1"
        says(box.runtime.fails("start", box.id), "cannot start a container in the paused state", box.id)
        box.runtime.ok("resume", box.id)
        assert box.status == "created"
        box.start()
        assert box.status == "running"

    def test_wrong_order(self, container: Make) -> None:
        box = container()
        says(box.runtime.fails("resume", box.id), "container not paused (it is running)")
        assert box.status == "running"
        box.kill()
        box.wait_stopped()
        says(box.runtime.fails("pause", box.id), "container not running (it is stopped)")
        says(box.runtime.fails("resume", box.id), "container not paused (it is stopped)")

    def test_kill_works_when_paused(self, container: Make) -> None:
        box = container()
        box.runtime.ok("pause", box.id)
        box.kill("KILL")
        box.wait_stopped()
        box.delete()

    def test_delete_by_force_works_when_paused(self, container: Make) -> None:
        box = container()
        pid = box.pid
        box.runtime.ok("pause", box.id)
        box.delete("--force")
        assert not process_runs(pid)

    def test_exec_is_refused_when_paused(self, container: Make) -> None:
        box = container()
        box.runtime.ok("pause", box.id)
        result = box.exec("true")
        assert result.status in (1, 255) and "paused" in result.stderr
        box.runtime.ok("resume", box.id)
        assert box.exec("true").status == 0

    def test_unknown_container(self, runtime: Runtime) -> None:
        for command in ("pause", "resume"):
            assert "does not exist" in runtime.fails(command, new_id())


class TestPs:
    @pytest.fixture
    def box(self, container: Make, bundle: Bundle) -> Container:
        bundle.sh("sleep 1234 & exec sleep 5678")
        box = container()
        wait_for(lambda: sorted(self.names(box)) == ["sleep", "sleep"], "both are what they shall be")
        return box

    def names(self, box: Container) -> list[str]:
        pids = (cgroup_of(box.pid) / "cgroup.procs").read_text().split()
        return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]

    def test_json(self, box: Container) -> None:
        pids = json.loads(box.runtime.ok("ps", "--format", "json", box.id))
        assert sorted(pids) == sorted(map(int, (cgroup_of(box.pid) / "cgroup.procs").read_text().split()))
        assert pids == json.loads(box.runtime.ok("ps", "-f", "json", box.id))

    def test_table(self, box: Container) -> None:
        header, *lines = box.runtime.ok("ps", box.id).splitlines()
        assert "PID" in header and "CMD" in header
        assert sorted(line.partition("sleep ")[2] for line in lines) == ["1234", "5678"]

    def test_options_of_ps(self, box: Container) -> None:
        header, *lines = box.runtime.ok("ps", box.id, "-o", "pid,args").splitlines()
        assert header.split() == ["PID", "COMMAND"]
        assert len(lines) == 2

    def test_processes_of_exec_are_listed(self, box: Container) -> None:
        box.exec("-d", "--", "sleep", "4321")
        assert len(json.loads(box.runtime.ok("ps", "-f", "json", box.id))) == 3

    def test_nested_cgroups_count(self, box: Container) -> None:
        nested = cgroup_of(box.pid) / "nested"
        nested.mkdir()
        (nested / "cgroup.procs").write_text(str(box.pid))
        assert len(json.loads(box.runtime.ok("ps", "-f", "json", box.id))) == 2


class TestZeroResources:
    def test_zero_values_ask_for_nothing(self, runtime: Runtime, bundle: Bundle) -> None:
        """What Docker sends for "not set", on a host that may lack the controllers."""
        bundle.linux.setdefault("resources", {}).update(
            {
                "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "disableOOMKiller": False},
                "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "", "realtimeRuntime": 0},
                "blockIO": {"weight": 0, "weightDevice": []},
                "hugepageLimits": [],
                "unified": {},
            }
        )
        bundle.sh("echo fine")
        assert runtime.ok("run", "-b", bundle.save(), new_id()) == "fine\n"
