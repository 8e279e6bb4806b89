"""The state directory while a container is made and lives: who may look, what is noted when, and who dies with whom."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import session
from support.bundle import Bundle
from support.cgroup import cgroup_of
from support.fixtures import Make
from support.runtime import ENVIRONMENT, Runtime, new_id, process_runs, wait_for


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def test_modes_whatever_the_umask_is(runtime: Runtime, bundle: Bundle) -> None:
    """CVE-2021-41103, CVE-2024-25621: nobody but the owner enters a container's directory or lists the root."""
    bundle.args("sleep", "1000")
    name = new_id()
    command = runtime.command("create", "--bundle", bundle.save(), name)
    subprocess.run(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, umask=0, check=True, timeout=30
    )
    assert mode(runtime.root) == 0o711
    assert mode(runtime.root / name) == 0o700
    for file in ("state.json", "config.json"):
        assert mode(runtime.root / name / file) == 0o600


def test_the_start_socket_is_nowhere_to_be_seen(container: Make, bundle: Bundle) -> None:
    """Not by a name without a file, which everybody in the network namespace could connect to; and not for longer than
    it is needed."""
    bundle.namespaces(network=None)
    box = container(start=False)
    socket = box.runtime.root / box.id / "start.sock"
    assert socket.is_socket()
    names = [line.split()[7:] for line in box.sh("cat /proc/net/unix").splitlines()[1:]]
    assert not [name for name in names if name and name[0].startswith("@") and "start.sock" in name[0]]
    assert box.sh("find / -name start.sock 2>/dev/null; true") == ""
    box.start()
    assert not socket.exists()


@pytest.fixture
def interrupted(runtime: Runtime, bundle: Bundle, workdir: Path) -> Callable[[str], Any]:
    """A context in which create waits for a hook of some kind: init's pid and create's process."""

    @contextmanager
    def make(kind: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
        waits = workdir / "waits"
        script = f"touch {waits}; while [ -e {waits} ]; do sleep 0.05; done"
        bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        name = new_id()
        creator = subprocess.Popen(
            runtime.command("create", "--bundle", bundle.save(), name),
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(waits.exists, "the hook runs")
            cgroup = session.CGROUP_ROOT / json.loads((runtime.root / name / "state.json").read_text())["cgroup"][1:]
            pids = [int(pid) for pid in (cgroup / "cgroup.procs").read_text().split()]
            (init,) = set(pids) & set(session.children(creator.pid))
            yield init, creator
        finally:
            waits.unlink(missing_ok=True)
            creator.kill()
            creator.wait()

    return make


def test_the_record_while_create_works(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    """Create may be killed at any moment: what it has begun stands in the record, for delete --force to find it."""
    script = f"cp {runtime.root}/*/state.json {workdir}/record; cat > {workdir}/told"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    name = new_id()
    runtime.run("create", "--bundle", bundle.save(), name)
    assert (workdir / "record").exists(), "a record while the first process is made"
    record = json.loads((workdir / "record").read_text())
    assert record["status"] == "creating" and "pid" not in record
    cgroup = session.CGROUP_ROOT / record["cgroup"].lstrip("/")
    assert cgroup == cgroup_of(json.loads((workdir / "told").read_text())["pid"])
    assert record.get("cgroup_id") == cgroup.stat().st_ino, "which processes are the container's"


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_init_dies_with_its_creator(interrupted: Callable[[str], Any], kind: str) -> None:
    """Whether it waits for the host or for a hook of its own, and also when nobody ever deletes what is left."""
    with interrupted(kind) as (init, creator):
        assert process_runs(init)
        creator.kill()
        creator.wait()
        wait_for(lambda: not process_runs(init), "init is gone")


def test_an_init_that_dies_in_create_is_told(runtime: Runtime, bundle: Bundle) -> None:
    """The host does not wait for the dead: here a hook in the container kills its parent, which is init."""
    bundle.namespaces(pid=None)
    script = 'kill -KILL "$PPID"; sleep 0.1'
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    error = runtime.fails("create", "--bundle", bundle.save(), new_id())
    assert "init died (killed by signal 9)" in error


def test_a_cgroup_that_is_gone_is_no_error(container: Make) -> None:
    """Its files give ENOENT or ENODEV once somebody has removed it; the container is stopped, and can be deleted."""
    box = container()
    cgroup = cgroup_of(box.pid)
    box.kill("KILL")
    box.wait_stopped()
    wait_for(lambda: "populated 0" in (cgroup / "cgroup.events").read_text(), "it is empty")
    cgroup.rmdir()
    assert box.status == "stopped"
    box.runtime.ok("kill", "--all", box.id, "TERM")
    box.runtime.ok("kill", "--all", box.id, "KILL")
    assert "not running" in box.runtime.fails("pause", box.id)
    box.delete()
