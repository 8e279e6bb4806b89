"""The races and faults that runtimes got wrong: what is killed at any moment is cleaned up, and nothing hangs."""

import json
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from support import leaks, session
from support.bundle import Bundle
from support.fixtures import Make
from support.moments import Moments
from support.runtime import Container, Runtime, Started, new_id, says, wait_for

ROUNDS = 200
CHURNS = 40


def leftovers(runtime: Runtime, mounts_before: list[str]) -> list[str]:
    """Return the processes, mounts, cgroups and state directories that containers of this session left."""
    found = [name for name in leaks.cgroups() if session.TOKEN in name]
    found += sorted(set(leaks.mounts()) - set(mounts_before))
    found += runtime.ids()
    return found


def cgroups_of(container_id: str) -> list[Path]:
    return [session.CGROUP_ROOT / name for name in leaks.cgroups() if name.endswith(f"/{container_id}")]


def runs(pid: int) -> bool:
    """Return whether a process lives; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def stopped(runtime: Runtime, name: str) -> bool:
    return bool(json.loads(runtime.ok("state", name))["status"] == "stopped")


def test_200_rounds_leave_nothing(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "1000")
    path = bundle.save()
    mounts = leaks.mounts()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(ROUNDS):
        name = new_id()
        runtime.ok("create", "--bundle", path, name)
        runtime.ok("start", name)
        pid = json.loads(runtime.ok("state", name))["pid"]
        runtime.ok("kill", name, "KILL")
        wait_for(partial(stopped, runtime, name), "it is stopped")
        runtime.ok("delete", name)
        assert not runs(pid)
    assert leftovers(runtime, mounts) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_200_rounds_killed_at_any_moment_of_create(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "1000")
    path = bundle.save()
    mounts = leaks.mounts()
    moments = Moments(runtime, path, 20250101)
    created = at_work = 0
    name = new_id()  # always the same: after delete --force it must work again
    for _ in range(ROUNDS):
        moment = moments.choose()
        create = Started(runtime, "create", "--bundle", path, name)
        time.sleep(moment)
        status = create.kill()
        assert status in (0, -signal.SIGKILL), "it failed by itself"
        created += status == 0
        at_work += status != 0 and runtime.ids() != []
        runtime.ok("delete", "--force", name)
        left = leftovers(runtime, mounts)
        assert left == [], left
    assert created, "no create was done: the moments don't reach behind its end"
    assert at_work, "no create was killed that had left something"


def test_a_create_killed_early_does_not_block_the_id(container: Make, runtime: Runtime, bundle: Bundle) -> None:
    box = container(start=False, create=False)
    process = subprocess.Popen(runtime.command("create", "--bundle", box.bundle, box.id))
    wait_for(lambda: (runtime.root / box.id).exists(), "the state directory is there")
    process.kill()
    process.wait()
    runtime.ok("delete", "--force", box.id)
    box.create()
    assert box.status == "created"


def test_start_of_a_dead_init_does_not_hang(container: Make, runtime: Runtime) -> None:
    box = container(start=False)
    os.kill(box.pid, signal.SIGKILL)
    wait_for(lambda: box.status == "stopped", "init is gone")
    assert "stopped" in runtime.fails("start", box.id)


def test_start_does_not_hang_when_init_dies_while_it_waits(
    container: Make, runtime: Runtime, bundle: Bundle, shared: Path
) -> None:
    # pid 1 can't be killed from inside its namespace; from the host it can.
    hook = f"kill -KILL 1; touch {shared}/hook; sleep 60"
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", hook]}]}
    box = container(start=False)
    start = Started(runtime, "start", box.id)
    wait_for((shared / "hook").exists, "the hook runs")
    os.kill(box.pid, signal.SIGKILL)
    status, said = start.end(20)
    assert status == 1 and "the container's init died before it could execute the program" in said, said


def test_a_program_that_ends_at_once_was_started(container: Make, bundle: Bundle) -> None:
    bundle.args("true")
    for _ in range(20):
        box = container()
        box.wait_stopped()
        box.delete()


def test_pid_reuse_is_seen(container: Make, runtime: Runtime) -> None:
    """A record that points at a living process with another start time: stopped, and that process is left alone."""
    box = container()
    time.sleep(2 / os.sysconf("SC_CLK_TCK"))  # the unit of a process's start time
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            record = runtime.root / box.id / "state.json"
            document = json.loads(record.read_text())
            real = document["pid"]
            document["pid"] = other.pid
            record.write_text(json.dumps(document))
            assert box.status == "stopped"
            assert "not running" in runtime.fails("kill", box.id, "KILL")
            runtime.ok("delete", "--force", box.id)
            assert other.poll() is None, "an innocent process was killed"
        finally:
            other.terminate()
    wait_for(lambda: not Path(f"/proc/{real}").exists() or not runs(real), "the container ended with its cgroup")


def test_a_record_of_another_boot_is_stopped(container: Make, runtime: Runtime) -> None:
    box = container()
    record = runtime.root / box.id / "state.json"
    document = json.loads(record.read_text())
    document["boot_id"] = "11111111-2222-3333-4444-555555555555"
    record.write_text(json.dumps(document))
    assert box.status == "stopped"
    assert box.state()["pid"] == 0


def test_a_damaged_record(container: Make, runtime: Runtime) -> None:
    """state tells it in one line, list shows the others, delete --force removes it, at every length of the record."""
    good, bad = container(), container()
    record = runtime.root / bad.id / "state.json"
    whole = record.read_bytes()
    for length in [0, 1, 2, *range(10, len(whole), max(1, len(whole) // 10))]:
        record.write_bytes(whole[:length])
        says(runtime.fails("state", bad.id), bad.id, "state.json", "delete --force")
        listed = runtime.run("list", "-q")
        assert listed.status == 0
        assert good.id in listed.stdout.split()
    os.kill(json.loads(whole)["pid"], signal.SIGKILL)
    runtime.ok("delete", "--force", bad.id)
    assert bad.id not in runtime.ids()
    for path in cgroups_of(bad.id):
        leaks.remove_cgroup(path)  # a record that can't be read names no cgroup


def test_two_creates_of_one_id(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "1000")
    path = bundle.save()
    for _ in range(10):
        name = new_id()
        both = [Started(runtime, "create", "--bundle", path, name) for _ in range(2)]
        (done, words), (refused, reason) = sorted(create.end() for create in both)
        assert (done, words, refused) == (0, "", 1), reason
        assert f'container with given ID already exists: "{name}"' in reason
        assert json.loads(runtime.ok("state", name))["status"] == "created"
        runtime.ok("delete", "--force", name)


def test_two_creates_in_one_cgroup(runtime: Runtime, bundle: Bundle) -> None:
    """The one that fails leaves the other's processes alone."""
    bundle.args("sleep", "1000")
    bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-shared"
    path = bundle.save()
    names = [new_id(), new_id()]
    ends = [create.end() for create in [Started(runtime, "create", "--bundle", path, name) for name in names]]
    (done, words), (refused, reason) = sorted(ends)
    assert (done, words, refused) == (0, "", 1), reason
    assert "[config.json#/linux/cgroupsPath]" in reason
    winner = names[[status for status, _ in ends].index(0)]
    assert json.loads(runtime.ok("state", winner))["status"] == "created"
    runtime.ok("delete", "--force", winner)


def test_delete_and_start_at_once(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "1000")
    path = bundle.save()
    for _ in range(10):
        name = new_id()
        runtime.ok("create", "--bundle", path, name)
        start, delete = Started(runtime, "start", name), Started(runtime, "delete", "--force", name)
        assert delete.end() == (0, "")
        status, said = start.end()
        # Whichever comes first: delete ends the init that start has found or is waiting for.
        reasons = (
            f'container does not exist: "{name}"',
            f'cannot start a container that has stopped: "{name}"',
            "the container's init is gone; the container can't be started",
            "the container's init died before it could execute the program",
        )
        assert (status, said) in [(0, ""), *((1, f"pyruntime: {reason}\n") for reason in reasons)]
        assert runtime.ids() == []


def test_list_during_creates_and_deletes(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "1000")
    path = bundle.save()

    def churn() -> None:
        for _ in range(CHURNS):
            name = new_id()
            runtime.ok("create", "--bundle", path, name)
            runtime.ok("delete", "--force", name)

    def look() -> set[str]:
        seen = set()
        while not all(each.done() for each in churning):
            for each in json.loads(runtime.ok("list", "--format", "json")):
                seen.add(each["status"])
        return seen

    with ThreadPoolExecutor(4) as pool:
        churning = [pool.submit(churn) for _ in range(2)]
        looking = [pool.submit(look) for _ in range(2)]
        for each in churning:
            each.result()
        seen = looking[0].result() | looking[1].result()
    assert "created" in seen and seen <= {"creating", "created", "running", "stopped"}


def test_shared_pid_namespace_whose_init_is_gone(container: Make, runtime: Runtime, bundle: Bundle) -> None:
    """The processes that init left are ended by delete --force."""
    bundle.namespaces(pid=None)
    bundle.sh("setsid sleep 4711 & sleep 1000")
    box = container()
    (cgroup,) = cgroups_of(box.id)
    wait_for(lambda: len((cgroup / "cgroup.procs").read_text().split()) == 2, "all processes are there")
    os.kill(box.pid, signal.SIGKILL)
    wait_for(lambda: box.status == "stopped", "init is gone")
    left = [int(pid) for pid in (cgroup / "cgroup.procs").read_text().split()]
    assert left, "processes without their init"
    box.delete("--force")
    assert not any(runs(pid) for pid in left)


def test_kill_of_a_shared_pid_namespace_ends_all(container: Make, bundle: Bundle) -> None:
    bundle.namespaces(pid=None)
    bundle.sh("sleep 4712 & sleep 1000")
    box = container()
    (cgroup,) = cgroups_of(box.id)
    wait_for(lambda: len((cgroup / "cgroup.procs").read_text().split()) == 2, "all processes are there")
    box.kill("KILL")
    wait_for(lambda: "populated 0" in (cgroup / "cgroup.events").read_text(), "all are gone")


def test_waiting_init_listens_only_to_start(container: Make, runtime: Runtime) -> None:
    """A look at the start socket, as `state` takes it, neither starts nor ends the container."""
    box = container(start=False)
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as look:
            look.connect(str(runtime.root / box.id / "start.sock"))
    assert box.status == "created"
    box.start()
    assert box.status == "running"


def test_a_created_container_ends_on_a_signal(container: Make) -> None:
    box: Container = container(start=False)
    box.kill("TERM")
    wait_for(lambda: box.status == "stopped", "a waiting init is no deaf pid 1")
