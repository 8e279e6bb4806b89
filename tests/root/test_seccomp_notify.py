"""SCMP_ACT_NOTIFY with an agent that decides about calls: config-linux.md "Seccomp", seccomp_unotify(2)."""

import array
import fcntl
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, new_id, says, wait_for

RECEIVE, SEND = 0xC0502100, 0xC0182101
"""SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND."""
CONTINUE = 1
EPIPE = 32
"""An error that mkdir(2) never gives by itself."""


class Agent:
    """Listens on a socket; refuses the first call that it is asked about, and lets the others go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[dict[str, Any]] = []
        self.pids: list[int] = []
        self.ends: list[bytes] = []
        self.failures: list[BaseException] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def close(self) -> None:
        os.close(self._stop_write)
        self._thread.join(10)
        os.close(self._stop_read)
        self._listener.close()
        assert self.failures == []

    def _work(self) -> None:
        try:
            while self._waits_for(self._listener.fileno()):
                connection, _ = self._listener.accept()
                with connection:
                    self._serve(connection)
        except BaseException as error:
            self.failures.append(error)

    def _waits_for(self, fd: int) -> bool:
        """Wait for fd; False when the test is over instead."""
        ready, _, _ = select.select([fd, self._stop_read], [], [])
        return self._stop_read not in ready

    def _serve(self, connection: socket.socket) -> None:
        if not self._waits_for(connection.fileno()):
            return
        payload, fds, _, _ = socket.recv_fds(connection, 65536, 4)
        if not payload:
            return
        self.messages.append(json.loads(payload))
        (listener,) = fds
        try:
            self._answer(connection, listener)
        finally:
            os.close(listener)

    def _answer(self, connection: socket.socket, listener: int) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        while True:
            ready = dict(poll.poll(10000))
            if not ready or self._stop_read in ready or not ready[listener] & select.POLLIN:
                break
            asked = array.array("B", bytes(80))
            fcntl.ioctl(listener, RECEIVE, asked, True)
            number, pid = struct.unpack_from("QI", asked)
            error, flags = (0, CONTINUE) if self.pids else (-EPIPE, 0)
            self.pids.append(pid)
            fcntl.ioctl(listener, SEND, struct.pack("QqiI", number, 0, error, flags))
        self.ends.append(connection.recv(1))


@pytest.fixture
def agent(workdir: Path) -> Iterator[Agent]:
    made = Agent(workdir / "agent.sock")
    yield made
    made.close()


def ask(bundle: Bundle, path: Path, **more: object) -> None:
    """Let the container's mkdir(2) be decided by the agent."""
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        **more,
    }


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_agent_decides(runtime: Runtime, bundle: Bundle, agent: Agent, no_new_privileges: bool) -> None:
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.config["annotations"] = {"a": "b"}
    ask(bundle, agent.path, listenerMetadata="some words")
    bundle.sh("mkdir /tmp/one; mkdir /tmp/two && ls /tmp")
    name = new_id()
    result = runtime.run("run", "--bundle", bundle.save(), name)
    assert (result.status, result.stdout) == (0, "two\n")
    assert "'/tmp/one': Broken pipe" in result.stderr
    (message,) = agent.messages
    state = message["state"]
    assert (message["ociVersion"], message["fds"], message["metadata"]) == ("1.3.0", ["seccompFd"], "some words")
    assert (state["id"], state["bundle"], state["annotations"]) == (name, str(bundle.path), {"a": "b"})
    assert len(agent.pids) == 2
    wait_for(lambda: agent.ends == [b""], "one message for each connection, which is closed after it")


def test_pids_are_those_of_the_host(container: Make, bundle: Bundle, agent: Agent) -> None:
    ask(bundle, agent.path)
    bundle.args("mkdir", "/tmp/x")
    box = container(start=False)
    pid = box.pid
    box.start()
    wait_for(lambda: agent.pids == [pid], "the agent was asked by init")
    (message,) = agent.messages
    assert (message["pid"], message["state"]["pid"], message["state"]["status"]) == (pid, pid, "created")


def test_a_hook_in_the_container_has_the_same_listener(runtime: Runtime, bundle: Bundle, agent: Agent) -> None:
    """The agent is told once, and then asked about what the startContainer hooks do too."""
    ask(bundle, agent.path)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "mkdir /tmp/one; mkdir /tmp/two; ls /tmp >&2; exit 0"]}
    bundle.config["hooks"] = {"startContainer": [{**hook, "env": ["PATH=/bin"]}]}
    bundle.sh("mkdir /tmp/three; ls /tmp")
    assert runtime.ok("run", "--bundle", bundle.save(), new_id()).split() == ["three", "two"]
    assert len(agent.messages) == 1 and len(set(agent.pids)) == 3


def test_exec_has_a_listener_of_its_own(container: Make, bundle: Bundle, workdir: Path) -> None:
    """Two agents at one path, one after the other: the first has init's listener, the second that of exec."""
    path = workdir / "agent.sock"
    first = Agent(path)
    ask(bundle, path)
    bundle.args("sleep", "1000")
    box = container()
    wait_for(lambda: len(first.messages) == 1, "init's listener has arrived")
    path.unlink()
    second = Agent(path)
    try:
        result = box.exec("mkdir", "/tmp/x")
        assert result.status == 1 and "Broken pipe" in result.stderr
        (message,) = second.messages
        assert message["pid"] == second.pids[0] != box.pid
        assert (message["state"]["pid"], message["state"]["status"]) == (box.pid, "running")
    finally:
        second.close()
        box.kill("KILL")
        first.close()


def test_without_an_agent_create_fails(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    ask(bundle, workdir / "nobody.sock")
    error = runtime.fails("create", "--bundle", bundle.save(), new_id())
    says(error, "/linux/seccomp/listenerPath", "nobody.sock", "ENOENT")
    assert runtime.ids() == []


def test_when_the_agent_is_gone_start_fails(container: Make, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    """If sending to the socket fails, the runtime MUST generate an error."""
    agent = Agent(workdir / "agent.sock")
    ask(bundle, agent.path)
    box = container(start=False)
    agent.close()
    says(runtime.fails("start", box.id), "sendmsg(seccomp listener)", "EPIPE")
    wait_for(lambda: box.status == "stopped", "init is gone")
