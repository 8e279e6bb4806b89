"""The runtime under test: its command line, and one container of it."""

import contextlib
import fcntl
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from support import paths, session
from support.machine import guest

SLOWNESS = 8 if guest.KIND else 1
"""How much more time things may take: the emulated machine is slow."""
PATIENCE = float(os.environ.get("PYRUNTIME_TEST_SECONDS", "30"))
"""Seconds for which a test waits in vain, on a machine of usual speed. What comes is there at once, or soon where the
machine is busy: only a failure takes so long."""
SECONDS = PATIENCE * SLOWNESS
"""The time after which a command that does not return is killed and its test fails."""

ENVIRONMENT = {"PATH": paths.SYSTEM_PATH, "LANG": "C.UTF-8"}

_numbers = itertools.count(1)


def new_id(word: str = "c") -> str:
    """Return a container id that nobody else uses and that names its session."""
    return f"{session.TOKEN}-{word}-{next(_numbers)}"


class Result(NamedTuple):
    """What a command gave: exit status (negative: the signal that ended it), standard output and standard error."""

    status: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one line of standard error, beside warnings, of a command that refused; fails when it did not."""
        assert self.status == 1, f"exit status 1 expected: {self}"
        assert self.stdout == "", f"nothing on standard output expected: {self}"
        lines = [line for line in self.stderr.splitlines() if not line.startswith(WARNING)]
        assert len(lines) == 1 or (lines and paths.PEER), f"one line on standard error expected: {self}"
        assert "Traceback" not in self.stderr, self
        return lines[-1]


WARNING = "pyruntime: warning: "
"""How a line of standard error begins that is no error."""


class Runtime:
    """Calls the command with a root directory of its own and, where asked, more global options."""

    def __init__(self, root: Path, binary: str = paths.RUNTIME_BIN, options: Sequence[str] = ()) -> None:
        self.root = root
        self.binary = binary
        self.options = list(options)

    def command(self, *args: str | Path) -> list[str]:
        """Return the whole command line for some arguments."""
        return [self.binary, "--root", str(self.root), *self.options, *map(str, args)]

    def run(
        self,
        *args: str | Path,
        stdin: str | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        fds: Sequence[int] = (),
        seconds: float = SECONDS,
    ) -> Result:
        """Run a command to its end. Output goes through files: a container that lives on may keep them open."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _input(stdin) as given:
            status = call(self.command(*args), given, out, err, cwd, env, fds, seconds)
            return Result(status, _text(out), _text(err))

    def ok(self, *args: str | Path, **options: Any) -> str:
        """Run a command that must succeed without a word on standard error; return its standard output."""
        result = self.run(*args, **options)
        assert result.status == 0 and result.stderr == "", f"{args}: {result}"
        return result.stdout

    def fails(self, *args: str | Path, **options: Any) -> str:
        """Run a command that must refuse with exit status 1 and one line; return the line."""
        return self.run(*args, **options).error

    def ids(self) -> list[str]:
        """Return the ids in the root directory, whether or not the runtime would list them."""
        return sorted(entry.name for entry in self.root.iterdir()) if self.root.exists() else []


def says(error: str, *words: str) -> None:
    """Check that an error names these words. Peers have their own words: only that they refuse is asked of them."""
    if paths.PEER is None:
        missing = [word for word in words if word not in error]
        assert not missing, f"not said: {missing} in: {error}"


def call(
    command: Sequence[str],
    stdin: IO[bytes] | int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    fds: Sequence[int] = (),
    seconds: float = SECONDS,
) -> int:
    """Run a command and return its exit status; kill it and fail when it takes too long.

    fds: descriptors that the command gets as 3, 4 and so on.
    """
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=ENVIRONMENT if env is None else env,
        pass_fds=range(3, 3 + len(fds)),
        preexec_fn=lambda: _number_from_3(fds),
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        said = "" if isinstance(stderr, int) else _text(stderr)
        raise AssertionError(f"no end after {seconds} s: {' '.join(command)}; standard error: {said!r}") from None


class Started:
    """A command of the runtime that is still at work. Its stderr is a file: init keeps it, so a pipe would not end."""

    def __init__(self, runtime: Runtime, *args: str | Path) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            runtime.command(*args),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
        )

    def end(self, seconds: float = SECONDS) -> tuple[int, str]:
        """Wait for it; return exit status and standard error. A command that does not end is killed, and fails."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no end after {seconds} s: {self.process.args!r}") from None
        with self.errors as file:
            file.seek(0)
            return status, file.read().decode()

    def kill(self) -> int:
        """Kill it, if it has not ended by itself; return its exit status."""
        self.process.kill()
        return self.end()[0]


def _number_from_3(fds: Sequence[int]) -> None:
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]
    for number, fd in enumerate(aside, 3):
        os.dup2(fd, number)


@contextlib.contextmanager
def _input(text: str | None) -> Iterator[IO[bytes] | int]:
    if text is None:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        yield file


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="backslashreplace")


class Container:
    """A container by its id. Its standard output and error go to files that `output` and `errors` read."""

    def __init__(self, runtime: Runtime, bundle: Path, name: str) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.id = name
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does it
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def create(self, *options: str | Path, fds: Sequence[int] = ()) -> None:
        """Create it; fails when the runtime refuses."""
        status = self.try_create(*options, fds=fds)
        assert status == 0, f"create: exit status {status}: {self.errors}"

    def try_create(self, *options: str | Path, fds: Sequence[int] = ()) -> int:
        """Create it and return the exit status."""
        command = self.runtime.command("create", "--bundle", self.bundle, *options, self.id)
        return call(command, subprocess.DEVNULL, self._out, self._err, fds=fds)

    def start(self) -> None:
        self.runtime.ok("start", self.id)

    def kill(self, signal: str = "KILL") -> None:
        self.runtime.ok("kill", self.id, signal)

    def delete(self, *options: str) -> None:
        self.runtime.ok("delete", *options, self.id)

    def state(self) -> dict[str, Any]:
        """Return the state document of the runtime."""
        document = json.loads(self.runtime.ok("state", self.id))
        assert isinstance(document, dict)
        return document

    @property
    def status(self) -> str:
        return str(self.state()["status"])

    @property
    def pid(self) -> int:
        return int(self.state()["pid"])

    def exec(self, *args: str | Path, **options: Any) -> Result:
        """Run `exec` with options before the id: exec("--cwd", "/tmp", "--", "ls") becomes `exec --cwd /tmp ID ls`."""
        before, after = _split(args)
        return self.runtime.run("exec", *before, self.id, *after, **options)

    def sh(self, command: str, *options: str) -> str:
        """Run a shell command in it that must succeed; return what it printed, without the last line break."""
        result = self.exec(*options, "--", "sh", "-c", command)
        assert result.status == 0, result
        return result.stdout.removesuffix("\n")

    def wait_stopped(self, seconds: float = PATIENCE) -> None:
        """Wait until the runtime says that it stopped."""
        wait_for(lambda: self.status == "stopped", f"{self.id} stops", seconds)

    @property
    def output(self) -> str:
        """What its processes and `create` have written to standard output so far."""
        return _text(self._out)

    @property
    def errors(self) -> str:
        """What its processes and `create` have written to standard error so far."""
        return _text(self._err)

    def close(self) -> None:
        """Close the files of `output` and `errors`."""
        self._out.close()
        self._err.close()


def _split(args: tuple[str | Path, ...]) -> tuple[tuple[str | Path, ...], tuple[str | Path, ...]]:
    if "--" not in args:
        return (), args
    at = args.index("--")
    return args[:at], args[at + 1 :]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds * SLOWNESS} s in vain: {what}"
        time.sleep(0.01)


def process_runs(pid: int) -> bool:
    """Say whether a process exists and is more than a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def host_status(pid: int) -> dict[str, str]:
    """Return /proc/<pid>/status as a dictionary, blanks inside a value made single."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: " ".join(value.split()) for key, _, value in (line.partition(":") for line in lines)}


def namespace(pid: int | str, kind: str) -> str:
    """Return the identity of a process's namespace, such as `uts:[4026531838]`."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")
