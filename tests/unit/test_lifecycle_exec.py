"""exec: which process document it makes, in which containers it is refused, what it reports and what it leaves."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.containers import World
from support.recording import Recorder

from pyruntime import log
from pyruntime.engine import calls, foreground, launch
from pyruntime.errors import Failure, UsageFailure
from pyruntime.lifecycle import exec as lifecycle
from pyruntime.lifecycle import protection
from pyruntime.lifecycle.exec import Execution

CONFIG: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "process": {
        "cwd": "/old", "args": ["init"], "env": ["A=1"], "terminal": True, "consoleSize": {"height": 1, "width": 2},
        "user": {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 18}, "execCPUAffinity": {"initial": "0"},
        "noNewPrivileges": True, "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]},
    },
    "linux": {"namespaces": [{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/net"}]},
}  # fmt: skip


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(protection, "passed", True)
    return world


class TestProcess:
    def test_the_containers_own_with_other_arguments(self) -> None:
        program = lifecycle.read_process(Execution(["sh"]), CONFIG)
        assert program == {
            "cwd": "/old", "args": ["sh"], "env": ["A=1"], "terminal": False, "noNewPrivileges": True,
            "user": CONFIG["process"]["user"], "capabilities": CONFIG["process"]["capabilities"],
        }  # fmt: skip
        assert CONFIG["process"]["args"] == ["init"], "the config is as it was"

    def test_changes(self) -> None:
        asked = Execution(
            ["sh"], terminal=True, cwd="/d", env=["B=2"], uid=5, gid=0, additional_gids=[7], capabilities=["chown"],
            no_new_privileges=False, apparmor="a", process_label="l",
        )  # fmt: skip
        program = lifecycle.read_process(asked, CONFIG)
        assert program == {
            "cwd": "/d", "args": ["sh"], "env": ["A=1", "B=2"], "terminal": True, "noNewPrivileges": False,
            "consoleSize": {"height": 1, "width": 2}, "apparmorProfile": "a", "selinuxLabel": "l",
            "user": {"uid": 5, "gid": 0, "additionalGids": [3, 7], "umask": 18},
            "capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"],
                "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
            },
        }  # fmt: skip

    def test_capabilities_are_never_made_inheritable(self) -> None:
        sets = lifecycle.with_capabilities({"ambient": ["CAP_KILL"]}, ["CAP_KILL", "net_admin"])
        both = ["CAP_KILL", "CAP_NET_ADMIN"]
        assert sets == {"ambient": ["CAP_KILL"], "bounding": both, "effective": both, "permitted": both}
        assert lifecycle.with_capabilities({"bounding": ["CAP_KILL"]}, ["kill"])["bounding"] == ["CAP_KILL"]

    def test_a_container_without_one(self) -> None:
        program = lifecycle.read_process(Execution(["sh"]), {})
        assert program == {"cwd": "/", "user": {}, "args": ["sh"], "terminal": False}

    def test_a_file(self, tmp_path: Path) -> None:
        document = {"cwd": "/", "args": ["x"], "user": {"uid": 9, "gid": 9}}
        (tmp_path / "p.json").write_text(json.dumps(document))
        assert lifecycle.read_process(Execution([], process_file=f"{tmp_path}/p.json", uid=3), CONFIG) == document

    def test_nothing_to_run(self) -> None:
        with pytest.raises(UsageFailure, match=r"^exec args cannot be empty: give a command, or --process FILE$"):
            lifecycle.read_process(Execution([]), CONFIG)

    def test_namespaces_of_the_runtime_are_not_joined(self, world: World) -> None:
        config = json.dumps(CONFIG).encode()
        with world.make(config=config, shared_namespaces=["network"]) as container:
            assert lifecycle.own_namespaces(container)["linux"]["namespaces"] == [{"type": "mount"}]
        with world.make("d", config=config) as container:
            assert lifecycle.own_namespaces(container)["linux"]["namespaces"] == CONFIG["linux"]["namespaces"]


class TestTerminal:
    @pytest.mark.parametrize(
        ("terminal", "foreground", "console", "relayed"),
        [
            (True, True, None, True),
            (True, True, "/s", False),
            (True, False, "/s", False),
            (False, True, None, False),
            (False, False, None, False),
        ],
    )
    def test_relayed(self, terminal: bool, foreground: bool, console: str | None, relayed: bool) -> None:
        asked = Execution(["x"], foreground=foreground, console_socket=console)
        assert lifecycle.check_terminal(asked, {"terminal": terminal}) is relayed

    def test_refused(self) -> None:
        with pytest.raises(UsageFailure, match=r"^cannot allocate tty for a process that runs detached without"):
            lifecycle.check_terminal(Execution(["x"]), {"terminal": True})
        with pytest.raises(UsageFailure, match=r"^cannot use console socket: the process wants no terminal$"):
            lifecycle.check_terminal(Execution(["x"], console_socket="/s"), {})


class TestExec:
    """The engine is the test's; the container's init is a process."""

    @pytest.fixture
    def launched(self, world: World, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        found = SimpleNamespace(slots={}, plan=None, wait=None, killed=[], restored=[], waits=[])

        class Launched(launch.Launched):
            def kill(self) -> None:
                found.killed.append(self.pid)
                self.close()

        def act(plan: Any, slots: dict[str, Any]) -> launch.Launched:
            found.plan, found.slots = plan, dict(slots)
            found.cgroup = os.readlink(f"/proc/self/fd/{slots['cgroup']}")
            os.close(slots["cgroup"])
            return Launched(4711, os.pidfd_open(os.getpid()), -1)

        def wait_for_exec(_channel: int, _plan: Any) -> None:
            if found.wait is not None:
                raise found.wait

        def wait(pid: int, pidfd: int, _signals: Any, terminal: Any) -> int:
            found.waits.append((pid, terminal))
            return 5

        monkeypatch.setattr(launch, "launch", act)
        monkeypatch.setattr(launch, "wait_for_exec", wait_for_exec)
        monkeypatch.setattr(foreground, "wait", wait)
        monkeypatch.setattr(foreground, "Signals", lambda: SimpleNamespace(restore=lambda: found.restored.append(1)))
        monkeypatch.setattr(lifecycle, "exec_cgroup", lambda pid, record, given: f"{world.mount}{given[0]}")
        return found

    def add(self, world: World, status: str = "running", **fields: Any) -> int:
        return world.add(status, config=json.dumps(CONFIG).encode(), rootfs="/", **fields)

    def test_detached(self, world: World, launched: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        lines: list[str] = []
        monkeypatch.setattr(log, "warning", lines.append)
        self.add(world, keyring="_ses.c.1")
        asked = Execution(["sh", "-c", "x"], cgroups=["/c"], preserve_fds=2)
        assert lifecycle.exec_(world.root, "c", asked) == 0
        assert (launched.slots["keyring_name"], launched.cgroup) == ("_ses.c.1", f"{world.mount}/c")
        assert any(step.call == "setns" for step in launched.plan), "it joins the container's namespaces"
        assert '["sh", "-c", "x"]' in " ".join(step.describe() for step in launched.plan)

    def test_foreground(self, world: World, launched: SimpleNamespace) -> None:
        self.add(world)
        assert lifecycle.exec_(world.root, "c", Execution(["x"], cgroups=["/c"], foreground=True)) == 5
        assert (launched.waits, launched.restored) == ([(4711, None)], [1])

    @pytest.mark.parametrize(("status", "ignored"), [("created", False), ("running", False), ("paused", True)])
    def test_accepted(self, world: World, launched: SimpleNamespace, status: str, ignored: bool) -> None:
        self.add(world, status)
        asked = Execution(["x"], cgroups=["/c"], ignore_paused=ignored)
        assert lifecycle.exec_(world.root, "c", asked) == 0 and launched.plan is not None

    @pytest.mark.parametrize(
        ("status", "why"),
        [
            ("paused", 'cannot exec in a paused container (use --ignore-paused to override): "c"'),
            ("stopped", 'cannot exec in a stopped container: "c": container not running'),
        ],
    )
    def test_refused(self, world: World, launched: SimpleNamespace, status: str, why: str) -> None:
        self.add(world, status)
        with pytest.raises(Failure) as raised:
            lifecycle.exec_(world.root, "c", Execution(["x"]))
        assert (str(raised.value), raised.value.status) == (f"exec failed: {why}", 255)
        assert launched.plan is None

    def test_the_program_can_not_be_executed(self, world: World, launched: SimpleNamespace) -> None:
        self.add(world)
        world.file("c", "memory.max", "4096\n")
        launched.wait = Failure("execve(x)", OSError(errno.ENOMEM, "no memory"))
        with pytest.raises(Failure, match=r"^exec failed: execve\(x\): out of memory: memory\.max is 4096") as raised:
            lifecycle.exec_(world.root, "c", Execution(["x"], cgroups=["/c"]))
        assert (raised.value.status, launched.killed) == (255, [4711])

    def test_an_error_of_the_kernel_layer(
        self, world: World, launched: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many")

        self.add(world)
        monkeypatch.setattr(launch, "launch", fail)
        monkeypatch.setattr(lifecycle, "open_cgroup", lambda *_: -1)
        with pytest.raises(Failure, match=r"^exec failed: too many \(EMFILE\)$") as raised:
            lifecycle.exec_(world.root, "c", Execution(["x"]))
        assert raised.value.status == 255

    @pytest.mark.parametrize(
        ("given", "hint"), [(["/none"], "; --cgroup names one that the container has made"), ([], "")]
    )
    def test_no_cgroup(self, world: World, monkeypatch: pytest.MonkeyPatch, given: list[str], hint: str) -> None:
        monkeypatch.setattr(lifecycle, "exec_cgroup", lambda *_: f"{world.mount}/none")
        with world.make() as container, pytest.raises(Failure) as raised:
            lifecycle.open_cgroup(SimpleNamespace(pid=5), container, Execution(["x"], cgroups=given))  # type: ignore[arg-type]
        assert str(raised.value).startswith("cgroup of the new process: ")
        assert str(raised.value).endswith(f"no such file or directory (ENOENT){hint}")


class TestResults:
    """The pidfd comes first: a caller takes the pid file as success."""

    def written(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> tuple[Recorder, list[str]]:
        recorder = Recorder(**{"send_descriptor": None, "write_pid_file": None, **answers})
        monkeypatch.setattr(calls, "send_descriptor", recorder.send_descriptor, raising=False)
        monkeypatch.setattr(calls, "write_pid_file", recorder.write_pid_file)
        killed: list[str] = []
        launched: Any = SimpleNamespace(pid=7, pidfd=8, kill=lambda: killed.append("killed"))
        try:
            lifecycle.write_results(Execution(["x"], pidfd_socket="/s", pid_file="/f"), launched)
        except Failure as failure:
            killed.append(str(failure))
        return recorder, killed

    def test_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder, killed = self.written(monkeypatch)
        assert recorder.calls == [("send_descriptor", "/s", 8, "pidfd"), ("write_pid_file", "/f", 7)] and killed == []

    def test_a_caller_that_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder, killed = self.written(monkeypatch, send_descriptor=OSError(errno.ECONNREFUSED, "refused"))
        assert killed == ["killed", "exec: the process was started and then killed: refused (ECONNREFUSED)"]
        assert recorder.named("write_pid_file") == []
