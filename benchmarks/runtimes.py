"""The runtimes that are compared: how their commands are run and timed, and one life of a container."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
BUSYBOX = "/bin/busybox"
FORCE = ("delete", "--force")


class BenchmarkError(Exception):
    """A command did not do what it should; one line says which."""


class Runtime:
    """A runtime by its binary, with a state directory of its own below `work`."""

    def __init__(self, name: str, binary: str, work: Path) -> None:
        self.name = name
        self.binary = binary
        self.root = work / f"{name}-root"
        self.bundles = work / f"{name}-bundles"
        self.bundles.mkdir()
        self.errors = work / f"{name}-stderr"
        self.pid_file = work / f"{name}-pid"
        self.version = self._version()

    def _version(self) -> str:
        said = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True, env=ENVIRONMENT)
        return said.stdout.splitlines()[0].split()[-1]

    def command(self, *args: str | Path) -> list[str]:
        return [self.binary, "--root", str(self.root), *map(str, args)]

    def spawn(self, command: list[str]) -> int:
        """Start a command with nothing on stdin, stdout thrown away and stderr kept; return its pid."""
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(self.errors), append, 0o600),
        ]
        return os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=actions)

    def timed(self, *args: str | Path) -> int:
        """Run a command that must succeed; return its time in nanoseconds, from its start to its end."""
        command = self.command(*args)
        begin = time.perf_counter_ns()
        pid = self.spawn(command)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter_ns() - begin
        self.check(status, command)
        return took

    def peak(self, *args: str | Path) -> int:
        """Run a command; return the peak memory, in KiB, of the largest process that it has waited for, or its own.

        The kernel counts what a process was before execve(2) to its peak, so that it is started by a small shell, and
        handed to this process, its subreaper, to be waited for.
        """
        command = self.command(*args)
        read_end, write_end = os.pipe()
        script = 'exec 3>&1 >/dev/null; "$@" 3>&- & echo $! >&3'
        try:
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, write_end, 1),
                (os.POSIX_SPAWN_OPEN, 2, str(self.errors), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            ]
            shell = [BUSYBOX, "sh", "-c", script, "sh", *command]
            os.waitpid(os.posix_spawn(BUSYBOX, shell, ENVIRONMENT, file_actions=actions), 0)
            pid = int(os.read(read_end, 32))
        finally:
            os.close(read_end)
            os.close(write_end)
        _, status, usage = os.wait4(pid, 0)
        self.check(status, command)
        return usage.ru_maxrss

    def check(self, status: int, command: list[str]) -> None:
        if status != 0:
            code = os.waitstatus_to_exitcode(status)
            raise BenchmarkError(f"{self.name}: exit status {code}: {' '.join(command)}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last line of what the runtime and its containers have written to stderr."""
        lines = self.errors.read_text(errors="replace").splitlines() if self.errors.exists() else []
        return lines[-1] if lines else "no message"

    def ids(self) -> list[str]:
        """Return the ids of the containers in the state directory."""
        return sorted(entry.name for entry in self.root.iterdir()) if self.root.exists() else []

    def delete_all(self) -> None:
        """Delete every container by force; what can't be deleted stays for the surroundings' clean-up."""
        for name in self.ids():
            self.delete(name)

    def delete(self, name: str) -> None:
        """Delete a container by force, if it can be done."""
        with contextlib.suppress(BenchmarkError):
            self.timed(*FORCE, name)


class Life:
    """One container of a runtime, step by step; every method returns the command's time in nanoseconds."""

    def __init__(self, runtime: Runtime, bundle: Path, name: str) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.id = name
        self.pid = 0

    def create_arguments(self) -> list[str | Path]:
        return ["create", "--bundle", self.bundle, "--pid-file", self.runtime.pid_file, self.id]

    def create(self) -> int:
        took = self.runtime.timed(*self.create_arguments())
        self.created()
        return took

    def created(self) -> None:
        """Take note of init's pid, after a create in another way."""
        self.pid = int(self.runtime.pid_file.read_text())

    def start(self) -> int:
        return self.runtime.timed("start", self.id)

    def state(self) -> int:
        return self.runtime.timed("state", self.id)

    def exec(self) -> int:
        return self.runtime.timed("exec", self.id, "true")

    def kill(self) -> int:
        """Time `kill`, and wait for init's end afterwards."""
        took = self.runtime.timed("kill", self.id, "KILL")
        os.waitpid(self.pid, 0)
        return took

    def delete(self) -> int:
        return self.runtime.timed("delete", self.id)

    def remove(self) -> int:
        """Time `delete --force` of a container that lives, and take its init's exit status."""
        took = self.runtime.timed(*FORCE, self.id)
        os.waitpid(self.pid, 0)
        return took


def find(name: str) -> str:
    """Return the path of a runtime that was named by path or by the name of Debian's command."""
    if "/" in name:
        return str(Path(name).resolve())
    path = shutil.which(name, path=ENVIRONMENT["PATH"])
    if path is None:
        raise BenchmarkError(f"no runtime {name!r} is installed: scripts/setup installs Debian's")
    return path
