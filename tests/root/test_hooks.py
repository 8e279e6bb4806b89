"""Hooks of all six kinds: order, state on stdin, namespaces, failure, time limit. config.md "POSIX-platform Hooks"."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import leaks, paths, session
from support.bundle import Bundle, Config, dict_of
from support.fixtures import Make, lifecycle
from support.runtime import Runtime, namespace, new_id, process_runs, says, wait_for

BEFORE_START = ["prestart", "createRuntime", "createContainer"]
KINDS = [*BEFORE_START, "startContainer", "poststart", "poststop"]
IN_CONTAINER = ["createContainer", "startContainer"]
STATUS = {
    "prestart": ("creating", "created"),  # the OCI runtime-tools suite wants the second
    "createRuntime": ("creating",),
    "createContainer": ("creating",),
    "startContainer": ("created",),
    "poststart": ("running",),
    "poststop": ("stopped",),
}
REPORT = "for kind in mnt net uts ipc pid; do readlink /proc/self/ns/$kind; done; echo end"

AddHook = Callable[..., Config]


@pytest.fixture
def hook(bundle: Bundle) -> AddHook:
    """A function that adds a hook of a kind: a shell command, and more properties."""

    def add(kind: str, command: str, **more: Any) -> Config:
        entry = {"path": "/bin/sh", "args": ["sh", "-c", command], "env": ["PATH=/usr/bin:/bin"], **more}
        dict_of(bundle.config, "hooks").setdefault(kind, []).append(entry)
        return entry

    return add


def test_order(container: Make, hook: AddHook, bundle: Bundle, shared: Path) -> None:
    log = shared / "log"
    for number in (1, 2):
        for kind in reversed(KINDS):
            hook(kind, f"echo {kind}{number} >> {log}")
    bundle.sh(f"echo program >> {log}; exec sleep 100")
    box = container(start=False)
    created = log.read_text().split()
    assert created == [f"{kind}{number}" for kind in BEFORE_START for number in (1, 2)]
    box.start()
    wait_for(lambda: "program" in log.read_text(), "the program runs")
    started = [word for word in log.read_text().split()[len(created) :] if word != "program"]
    assert started == ["startContainer1", "startContainer2", "poststart1", "poststart2"]
    assert log.read_text().split().index("startContainer2") < log.read_text().split().index("program")
    before = log.read_text()
    box.kill()
    box.wait_stopped()
    assert log.read_text() == before, "poststop hooks run on delete"
    box.delete()
    assert log.read_text().removeprefix(before).split() == ["poststop1", "poststop2"]


@pytest.mark.parametrize("kind", KINDS)
def test_state_on_standard_input(container: Make, hook: AddHook, bundle: Bundle, shared: Path, kind: str) -> None:
    bundle.config["annotations"] = {"key": "value"}
    hook(kind, f"cat > {shared}/state")
    box = container()
    pid = box.pid
    box.kill()
    box.wait_stopped()
    box.delete()
    state = json.loads((shared / "state").read_text())
    assert state["id"] == box.id
    assert state["status"] in STATUS[kind]
    assert state["bundle"] == str(bundle.path)
    assert state["annotations"] == {"key": "value"}
    assert state["ociVersion"].startswith("1.")
    if kind in IN_CONTAINER:
        assert state["pid"] == 1, "as seen in the container (runtime.md, State)"
    elif kind != "poststop":
        assert state["pid"] == pid


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_runs(container: Make, hook: AddHook, bundle: Bundle, shared: Path, kind: str) -> None:
    hook(kind, f"{{ {REPORT}; }} > {shared}/report")
    box = container()
    pid = box.pid
    of_container = [namespace(pid, link) for link in ("mnt", "net", "uts", "ipc", "pid")]
    of_host = [namespace("self", link) for link in ("mnt", "net", "uts", "ipc", "pid")]
    box.kill()
    box.wait_stopped()
    box.delete()
    found = (shared / "report").read_text().split()
    assert found.pop() == "end"
    if kind in IN_CONTAINER:
        assert found == of_container
    else:
        assert found == of_host


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_and_environment(container: Make, hook: AddHook, shared: Path, kind: str) -> None:
    (shared / "script").write_text('#!/bin/sh\nprintf "[%s]" "$@" > "$OUT"\nenv >> "$OUT"\n')
    (shared / "script").chmod(0o755)
    hook(
        kind, "", path=str(shared / "script"), args=["zero", "one two", ""],
        env=["A=b c", f"OUT={shared}/out", "PATH=/usr/bin:/bin"],
    )  # fmt: skip
    lifecycle(container)
    assert (shared / "out").read_text().startswith("[one two][]")
    names = (shared / "out").read_text().removeprefix("[one two][]").splitlines()
    assert "A=b c" in names
    assert {name.partition("=")[0] for name in names} <= {"A", "OUT", "PATH", "PWD", "SHLVL", "OLDPWD", "_"}


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_environment(runtime: Runtime, bundle: Bundle, hook: AddHook, shared: Path, kind: str) -> None:
    """It has the runtime's, as with runc and crun; inside of the container the program's, and nothing of the host's."""
    (shared / "script").write_text(f"#!/bin/sh\necho ${{OF_THE_HOST-none}} > {shared}/{kind}\n")
    (shared / "script").chmod(0o755)
    entry = hook(kind, "", path=str(shared / "script"))
    del entry["env"]
    bundle.args("true")
    env = {"PATH": paths.SYSTEM_PATH, "OF_THE_HOST": "yes"}
    runtime.ok("run", "-b", bundle.save(), new_id(), env=env)
    assert (shared / kind).read_text() == ("none\n" if kind == "startContainer" else "yes\n")
    entry["env"] = []
    bundle.process["env"].append("OF_THE_HOST=program")
    runtime.ok("run", "-b", bundle.save(), new_id(), env=env)
    assert (shared / kind).read_text() == "none\n", "an empty list is an empty environment"


class TestFailure:
    @pytest.mark.parametrize("kind", BEFORE_START)
    def test_create_fails(self, runtime: Runtime, bundle: Bundle, hook: AddHook, kind: str) -> None:
        hook(kind, "echo words of the hook >&2; exit 7")
        footprint = leaks.Footprint(runtime.root)
        error = runtime.fails("create", "-b", bundle.save(), new_id())
        says(error, "exit status 7", "words of the hook", f"/hooks/{kind}/0")
        footprint.check()
        assert runtime.ids() == []

    @pytest.mark.parametrize("kind", BEFORE_START)
    def test_poststop_hooks_run_after_a_failed_create(
        self, runtime: Runtime, bundle: Bundle, hook: AddHook, shared: Path, kind: str
    ) -> None:
        hook(kind, "exit 1")
        hook("poststop", f"echo ran > {shared}/poststop")
        says(runtime.fails("create", "-b", bundle.save(), new_id()), "exit status 1", f"/hooks/{kind}/0")
        assert (shared / "poststop").read_text() == "ran\n"

    def test_later_hooks_do_not_run(self, runtime: Runtime, bundle: Bundle, hook: AddHook, shared: Path) -> None:
        hook("prestart", "exit 1")
        hook("prestart", f"touch {shared}/second")
        hook("createRuntime", f"touch {shared}/other")
        says(runtime.fails("create", "-b", bundle.save(), new_id()), "exit status 1", "/hooks/prestart/0")
        assert list(shared.iterdir()) == []

    def test_start_container(self, container: Make, hook: AddHook, bundle: Bundle, shared: Path) -> None:
        hook("startContainer", "exit 7")
        bundle.sh(f"touch {shared}/program")
        box = container(start=False)
        says(box.runtime.fails("start", box.id), "exit status 7", "/hooks/startContainer/0")
        assert list(shared.iterdir()) == [], "the program must not run"
        assert box.runtime.ids() == []

    def test_poststart_stops_the_container(self, container: Make, hook: AddHook) -> None:
        hook("poststart", "exit 7")
        box = container(start=False)
        pid = box.pid
        says(box.runtime.fails("start", box.id), "exit status 7", "/hooks/poststart/0")
        wait_for(lambda: not process_runs(pid), "the container is stopped")

    def test_poststop_is_a_warning(self, container: Make, hook: AddHook, shared: Path) -> None:
        hook("poststop", "exit 7")
        hook("poststop", f"touch {shared}/second")
        box = container()
        box.kill()
        box.wait_stopped()
        result = box.runtime.run("delete", box.id)
        assert (result.status, result.stdout) == (0, "")
        assert "exit status 7" in result.stderr
        assert (shared / "second").exists(), "the remaining hooks run"
        assert box.runtime.ids() == []

    def test_missing_program(self, runtime: Runtime, bundle: Bundle, hook: AddHook) -> None:
        hook("prestart", "", path="/nosuch/hook")
        footprint = leaks.Footprint(runtime.root)
        assert "/nosuch/hook" in runtime.fails("create", "-b", bundle.save(), new_id())
        footprint.check()

    def test_relative_path(self, runtime: Runtime, bundle: Bundle, hook: AddHook) -> None:
        hook("prestart", "", path="bin/sh")
        assert "path" in runtime.fails("create", "-b", bundle.save(), new_id())

    @pytest.mark.parametrize("signal", [9, 15])
    def test_killed_by_a_signal(self, runtime: Runtime, bundle: Bundle, hook: AddHook, signal: int) -> None:
        hook("createRuntime", f"kill -{signal} $$")
        error = runtime.fails("create", "-b", bundle.save(), new_id())
        says(error, f"killed by signal {signal}", "/hooks/createRuntime/0")


class TestTimeout:
    @pytest.mark.parametrize("kind", BEFORE_START)
    def test_hook_and_its_children_are_killed(
        self, runtime: Runtime, bundle: Bundle, hook: AddHook, shared: Path, kind: str
    ) -> None:
        hook(kind, f"sleep 1000 & echo $! $$ > {shared}/pids; wait", timeout=1)
        footprint = leaks.Footprint(runtime.root)
        begin = time.monotonic()
        error = runtime.fails("create", "-b", bundle.save(), new_id(), seconds=15)
        assert time.monotonic() - begin >= 1
        says(error, "longer than its timeout of 1 s and was killed", f"/hooks/{kind}/0")
        footprint.check()

    def test_a_hook_in_time_is_left_alone(self, container: Make, hook: AddHook, shared: Path) -> None:
        hook("prestart", f"sleep 0.2; touch {shared}/done", timeout=20)
        container()
        assert (shared / "done").exists()


class TestStreams:
    def test_a_hook_that_does_not_read_blocks_nothing(self, container: Make, hook: AddHook, bundle: Bundle) -> None:
        bundle.config["annotations"] = {f"key{number}": "x" * 1000 for number in range(200)}
        for kind in ("prestart", "createRuntime", "poststart", "poststop"):
            hook(kind, "exec true")
            hook(kind, "exec <&-; sleep 0.1")
        lifecycle(container)

    def test_a_hook_that_writes_megabytes_blocks_nothing(self, container: Make, hook: AddHook) -> None:
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop"):
            hook(kind, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
        lifecycle(container)

    def test_large_state_arrives_whole(self, container: Make, hook: AddHook, bundle: Bundle, shared: Path) -> None:
        bundle.config["annotations"] = {f"key{number}": "x" * 1000 for number in range(300)}
        hook("createRuntime", f"sleep 0.1; cat > {shared}/state")
        container()
        assert json.loads((shared / "state").read_text())["annotations"] == bundle.config["annotations"]

    def test_no_descriptor_of_the_runtime(self, container: Make, hook: AddHook, shared: Path) -> None:
        for kind in ("prestart", "createContainer", "poststart"):
            hook(kind, f"ls /proc/self/fd > {shared}/{kind}")
        container()
        wait_for(lambda: (shared / "poststart").exists(), "the hook ran")
        for kind in ("prestart", "createContainer", "poststart"):
            assert (shared / kind).read_text().split() == ["0", "1", "2", "3"], "3 is ls's own"

    def test_a_process_that_a_hook_leaves_running(self, container: Make, hook: AddHook, shared: Path) -> None:
        """A hook may start a daemon: create does not wait for it, nor for the standard streams it keeps open."""
        hook("createRuntime", f"sleep 1000 & echo $! > {shared}/pid")
        container()
        pid = int((shared / "pid").read_text())
        assert process_runs(pid)
        os.kill(pid, 9)


def test_hook_sees_the_container_from_the_host(container: Make, hook: AddHook, shared: Path) -> None:
    """createRuntime comes after the namespaces are made: a network plug-in works with the pid's namespaces."""
    reading = "sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p' | head -1"
    hook("createRuntime", f"pid=$(tr ',' '\\n' | {reading}); readlink /proc/$pid/ns/net > {shared}/net")
    hook("prestart", f"pid=$(tr ',' '\\n' | {reading}); cat /proc/$pid/cgroup > {shared}/cgroup")
    box = container()
    assert (shared / "net").read_text().strip() == namespace(box.pid, "net")
    assert session.TOKEN in (shared / "cgroup").read_text()


def test_stderr_that_nobody_reads_ends_nothing_halfway(runtime: Runtime, bundle: Bundle) -> None:
    """A caller that went away: the failure is still carried through to its clean-up and the exit status."""
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    reading, writing = os.pipe()
    os.close(reading)
    command = runtime.command("create", "--bundle", bundle.save(), new_id())
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writing) as process:
        os.close(writing)
        assert process.wait(30) == 1
    assert runtime.ids() == []


@pytest.mark.parametrize("allowed", [False, True], ids=["denied", "allowed"])
def test_the_device_filter_is_there_first(
    container: Make, hook: AddHook, bundle: Bundle, shared: Path, allowed: bool
) -> None:
    """A hook in the container sees the host's devices, and opens those that the config allows."""
    rules = [{"allow": False, "access": "rwm"}, {"allow": allowed, "type": "c", "major": 1, "minor": 11, "access": "r"}]
    dict_of(bundle.linux, "resources")["devices"] = rules
    looks = [f"if true < /dev/{name}; then echo {name}; fi >> {shared}/opened" for name in ("null", "kmsg")]
    hook("createContainer", "; ".join(looks))
    container(start=False)
    assert (shared / "opened").read_text().split() == (["null", "kmsg"] if allowed else ["null"])


CANARY = r"""
#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void begin(void)
{
	close(open(PLACE, O_CREAT | O_WRONLY, 0600));
}
"""


def test_nothing_of_the_programs_environment(
    container: Make, hook: AddHook, bundle: Bundle, shared: Path, workdir: Path
) -> None:
    """CVE-2025-23266: a library of the image in LD_PRELOAD would run as the host's root."""
    library, ran = bundle.rootfs / "canary.so", workdir / "ran"
    compiler = ["cc", "-shared", "-fPIC", f'-DPLACE="{ran}"', "-x", "c", "-", "-o", str(library)]
    subprocess.run(compiler, input=CANARY, text=True, check=True)
    for kind in KINDS:
        hook(kind, f"env > {shared}/{kind}; cat /proc/self/environ >> {shared}/{kind}")
    hook("createRuntime", "true", path="/bin/true", env=[])
    bundle.process["env"] = [*bundle.process["env"], f"LD_PRELOAD={library}", "OF_THE_PROGRAM=yes"]
    lifecycle(container)
    for kind in KINDS:
        shown = (shared / kind).read_text()
        assert "PATH=" in shown
        assert "LD_PRELOAD" not in shown and "OF_THE_PROGRAM" not in shown, kind
    assert not ran.exists()
