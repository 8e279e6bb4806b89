"""Containers for unit tests of commands and lifecycle: a state directory, a directory as cgroup, a process as init."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyruntime import cli
from pyruntime.container.store import Container, Store
from pyruntime.options import COMMANDS, GLOBAL, Options

if TYPE_CHECKING:
    from pyruntime.container.record import Record


def options_of(name: str, *words: str) -> Options:
    """Return the options of a command line as its command gets them; the state root is /r."""
    command = COMMANDS[name]
    options = Options()
    cli.clear(options, GLOBAL)
    cli.clear(options, command.options)
    options.command, options.root = name, "/r"
    options.args = cli.parse(list(words), command.options, options, stop=command.rest)
    return options


class World:
    """A root for state, a directory in place of a cgroup mount, and processes in place of inits."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = f"{place}/root"
        self.mount = place / "cgroup"
        self.store = Store(self.root)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sockets: list[socket.socket] = []

    def make(self, container_id: str = "c", config: bytes = b"{}", **fields: Any) -> Container:
        """Return a new container, locked, whose init is not there yet. fields: of its record."""
        record: Record = {
            "id": container_id, "ociVersion": "1.2.0", "bundle": "/b", "rootfs": "/b/rootfs", "annotations": {},
            "cgroup": f"/{container_id}", "cgroup_mount": str(self.mount), "cgroup_made": [], "has_process": True,
            "later_hooks": [], "mounts": [], "own_pid_namespace": True, "keyring": "",
        }  # fmt: skip
        record.update(fields)  # type: ignore[typeddict-item]
        self.file(container_id, "cgroup.events", "populated 1\nfrozen 0\n")
        return self.store.create(container_id, record, config)

    def add(self, status: str, container_id: str = "c", config: bytes = b"{}", **fields: Any) -> int:
        """Make a container of that status, in nobody's hands; return the pid of its init."""
        with self.make(container_id, config, **fields) as container:
            pid = self.process()
            container.save_created(pid)
            if status == "created":
                self.listen(container)
        if status == "paused":
            self.file(container_id, "cgroup.events", "populated 1\nfrozen 1\n")
        elif status == "stopped":
            self.end(pid)
        return pid

    def process(self) -> int:
        self.processes.append(subprocess.Popen(["sleep", "100"]))
        return self.processes[-1].pid

    def end(self, pid: int) -> int:
        """Kill a process and return the signal that it died of."""
        process = next(each for each in self.processes if each.pid == pid)
        process.kill()
        return -process.wait()

    def signals(self, pid: int) -> set[int]:
        """Return the signals that wait for a process, which blocks none: it must be stopped to have any."""
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
        return {number for number in range(1, 65) if any(mask >> (number - 1) & 1 for mask in masks)}

    def listen(self, container: Container) -> socket.socket:
        """Let the container's init wait for `start`."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(listener)
        listener.bind(f"/proc/self/fd/{container.dirfd}/start.sock")
        listener.listen()
        return listener

    def file(self, container_id: str, name: str, text: str) -> Path:
        """Write a file of the container's cgroup."""
        path = self.mount / container_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, container_id: str, name: str) -> str:
        return (self.mount / container_id / name).read_text()

    def stop(self, pid: int) -> None:
        """Hold a process, so that signals to it stay to be seen."""
        os.kill(pid, signal.SIGSTOP)
        while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "T":
            pass

    def close(self) -> None:
        for each in self.sockets:
            each.close()
        for process in self.processes:
            process.kill()
            process.wait()
