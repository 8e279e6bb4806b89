"""The program that breaks a command at each of its steps: `driver.py JOB`, a JSON file that `jobs` writes.

It imports the installed runtime once, and runs every command in a child of its own. It is a child subreaper: whatever
a command leaves without a parent becomes its child. What it finds goes to the job's report, one text for each problem.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pyruntime.commands.create
import pyruntime.commands.delete
import pyruntime.commands.exec
import pyruntime.commands.start
import pyruntime.commands.state
import pyruntime.commands.update
import pyruntime.container.limits
import pyruntime.engine.hooks
import pyruntime.engine.start
import pyruntime.kernel.copyup
import pyruntime.kernel.idmap
import pyruntime.kernel.seccomp
import pyruntime.lifecycle.create
import pyruntime.lifecycle.exec
import pyruntime.lifecycle.run
import pyruntime.lifecycle.update
import pyruntime.spec._validator
import pyruntime.spec.checks
from pyruntime import cli, kernel
from support.faults import cases, inject, sabotage, world

LIMIT = 10.0
"""Seconds after which a command hangs."""
PR_SET_CHILD_SUBREAPER = 36


class Outcome(NamedTuple):
    """How a command ended. status: negative for a signal, None when it had to be killed. reached: the fault came."""

    status: int | None
    out: str
    err: str
    reached: bool

    def __str__(self) -> str:
        return f"status {self.status}, stdout {self.out!r}, stderr {self.err!r}"


class Driver:
    """Runs commands and keeps what they need: the console socket, the container to break, the device to move."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.keep: set[int] = set()
        self.console: socket.socket | None = None
        self.terminals: list[socket.socket] = []
        if job.get("console"):
            self.console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.console.bind(job["console"])
            self.console.listen(64)
            self.console.setblocking(False)
        self.out = os.memfd_create("out")
        self.err = os.memfd_create("err")

    def run(self, *argv: str, fault: inject.Fault | None = None, record: bool = False, armed: bool = True) -> Outcome:
        """Run one command to its end, with a fault or as a recording; not armed: the fault is in init already."""
        for fd in (self.out, self.err):
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
        inject.shared.reset()
        child = os.fork()
        if child == 0:
            self._become_command(list(argv), fault if armed else None, record)
        status = self._wait(child, fault)
        reached = inject.shared.state != inject.IDLE or (fault is not None and fault.level == "limit")
        return Outcome(status, _text(self.out), _text(self.err), reached)

    def _become_command(self, argv: list[str], fault: inject.Fault | None, record: bool) -> None:
        status = 99
        try:
            null = os.open("/dev/null", os.O_RDONLY)
            for source, target in ((null, 0), (self.out, 1), (self.err, 2)):
                os.dup2(source, target)
            os.closerange(3, 512)
            inject.Armed.fault, inject.Armed.recording, inject.Armed.host = fault, record, os.getpid()
            if fault is not None and self.job.get("sabotage"):
                getattr(sabotage, self.job["sabotage"])()
            if fault is not None and fault.level == "limit":
                inject.Armed.fault = None
                resource.setrlimit(resource.RLIMIT_NOFILE, (fault.at, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            status = cli.main(["--root", self.job["root"], *argv])
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def _wait(self, child: int, fault: inject.Fault | None) -> int | None:
        deadline = time.monotonic() + LIMIT
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if inject.shared.state == inject.WAITING and fault is not None:
                self._kill(child, fault.kind)
                inject.shared.state = inject.GO_ON
            if time.monotonic() > deadline:
                for pid in [*world.children(child), child]:
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(child, 0)
                return None
            time.sleep(0.0003)

    def _kill(self, child: int, kind: str) -> None:
        """End the command itself, or what it has made: init, or the process that makes init."""
        if kind == "host":
            victims = [child]
        else:
            made = set(world.children(os.getpid())) - self.keep - {child}
            victims = [*world.children(child), *made]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 2
        while any(world.state_of(pid) not in "ZX" for pid in victims) and time.monotonic() < deadline:
            time.sleep(0.0003)

    def take_terminals(self) -> None:
        """Accept what commands have sent to the console socket."""
        while self.console is not None:
            try:
                self.terminals.append(self.console.accept()[0])
            except BlockingIOError:
                return

    def drop_terminals(self) -> None:
        self.take_terminals()
        for terminal in self.terminals:
            terminal.close()
        self.terminals.clear()

    def state(self) -> dict[str, Any]:
        """Return the container's state document, empty when there is none."""
        outcome = self.run("state", self.job["id"])
        if outcome.status != 0:
            return {}
        found: dict[str, Any] = json.loads(outcome.out)
        return found


def _text(fd: int) -> str:
    return os.pread(fd, 1 << 22, 0).decode(errors="backslashreplace")


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER)")
    if "site-packages" not in str(pyruntime.__file__):
        raise RuntimeError(f"not the installed runtime: {pyruntime.__file__}")
    if job.get("device"):
        cases.import_network()
    kernel.preload()
    inject.allow_plain_interpreter()
    inject.wrap_steps()
    inject.wrap_calls()
    report = cases.run(Driver(job), job)
    Path(job["report"]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
