"""A private place for one validation program: its own cgroup subtree, mount namespace and cgroup namespace.

The program sees a plain cgroup2 at /sys/fs/cgroup, rooted in a cgroup made for it, and an empty /run and TMPDIR.
Whatever it leaves behind is therefore inside this cgroup or those mounts, and goes away with them: processes are
ended through cgroup.kill, never by name.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

# Joins the namespaces' inside: cgroup2 in place of whatever is mounted (cgroup v1 hierarchies have mounts below),
# then a leaf, because a cgroup that holds processes can't hand controllers to its children.
ENTER = """
set -e
umount -l -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/validation
echo 0 > /sys/fs/cgroup/validation/cgroup.procs
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 1777 /run/tmp
exec "$@"
"""
HIDDEN = Path("/run")
KILL_TIMEOUT = 10.0


class SandboxError(Exception):
    """The private place can't be made or emptied; one line says why."""


class Sandbox:
    """Context manager that makes the cgroup and, at the end, kills what is in it and removes it."""

    def __init__(self, name: str) -> None:
        self.cgroup = _cgroup2_mount() / name
        self.left: list[str] = []

    def __enter__(self) -> Sandbox:
        try:
            self.cgroup.mkdir()
        except OSError as error:
            raise SandboxError(f"mkdir {self.cgroup}: {error.strerror} (root is needed)") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.left = [_describe(pid) for pid in self._pids()]
        self.left += [f"cgroup {d.relative_to(self.cgroup)}" for d in self._children() if d.name != "validation"]
        self._kill()
        for directory in self._children():
            _rmdir(directory)
        _rmdir(self.cgroup)

    def start(self, argv: list[str], cwd: Path, env: dict[str, str], out: int, err: int) -> subprocess.Popen[bytes]:
        """Start argv inside; stdout and stderr go to the descriptors out and err."""
        procs = os.open(self.cgroup / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        unshare = ["unshare", "--mount", "--propagation", "private", "--cgroup", "--", "sh", "-c", ENTER, "sh", *argv]
        try:
            return subprocess.Popen(
                unshare,
                cwd=cwd,
                env=env | {"TMPDIR": "/run/tmp"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=lambda: _join(procs),
            )
        finally:
            os.close(procs)

    def _children(self) -> Iterator[Path]:
        """All cgroups below ours, deepest first."""
        for path, names, _ in os.walk(self.cgroup, topdown=False):
            yield from (Path(path) / name for name in names)

    def _pids(self) -> list[int]:
        files = [self.cgroup / "cgroup.procs", *(d / "cgroup.procs" for d in self._children())]
        return sorted({int(pid) for file in files for pid in file.read_text().split()})

    def _kill(self) -> None:
        (self.cgroup / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + KILL_TIMEOUT
        while "populated 1" in (self.cgroup / "cgroup.events").read_text():
            if time.monotonic() > deadline:
                raise SandboxError(f"processes of {self.cgroup} do not end: {self._pids()}")
            time.sleep(0.01)


def _join(procs: int) -> None:
    os.write(procs, b"0")


def _describe(pid: int) -> str:
    try:
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"process {pid}"


def _rmdir(directory: Path) -> None:
    """Remove an empty cgroup; the kernel may call it busy for a moment after its last process ended."""
    deadline = time.monotonic() + KILL_TIMEOUT
    while True:
        try:
            return directory.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise SandboxError(f"rmdir {directory}: {error.strerror}") from error
        time.sleep(0.01)


def _cgroup2_mount() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        if tail.split()[0] == "cgroup2":
            return Path(fields.split()[4])
    raise SandboxError("no cgroup2 file system is mounted")
