"""What a session left behind: processes, mounts, cgroups, state directories, shared memory, temporary files.

A `Snapshot` is taken when the session has entered its surroundings (support.session); `leaks()` compares with it at the
end and returns one line for each thing that should not be there.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from support import session

# Engines keep locks and databases that outlive them, in the session's own /run.
RUN_LEFT_BY_ENGINES = {
    "pyruntime-seccomp",
    "containers",
    "libpod",
    "lock",
    "netns",
    "docker",
    "containerd",
    "xtables.lock",
    "crun",
    "runc",
    "pyruntime",
}

# The runtime's default root directory stays; what is in it must not.
DEFAULT_ROOT = Path("/run/pyruntime")

# The parent of all containers whose config names no cgroup; it is shared, and stays.
DEFAULT_PARENT = "pyruntime"


SETTLE_SECONDS = 5.0
"""How long what was killed may take to be gone, on a machine that is busy with something else."""


class Snapshot(NamedTuple):
    """What is there at the beginning."""

    mounts: frozenset[str]
    cgroups: frozenset[str]
    run: frozenset[Path]

    @classmethod
    def take(cls) -> "Snapshot":
        return cls(frozenset(mounts()), frozenset(cgroups()), frozenset(_entries(Path("/run"))))

    def leaks(self) -> list[str]:
        """Return what is there now and was not at the beginning; call it once nothing of the session runs any more."""
        found = [f"process {line}" for line in processes()]
        found += [f"mount {line}" for line in sorted(set(mounts()) - self.mounts)]
        found += [f"cgroup {path}" for path in sorted(set(cgroups()) - self.cgroups) if _ours(path)]
        found += [f"shared memory {path}" for path in _entries(Path("/dev/shm"))]
        new = [path for path in _entries(Path("/run")) if path not in self.run]
        found += [f"state {path}" for path in new if path.name not in RUN_LEFT_BY_ENGINES]
        found += [f"state {path}" for path in _entries(DEFAULT_ROOT)]
        if session.temporary is not None:
            # pytest itself keeps the tmp_path folders of unit tests.
            mine = [path for path in _entries(session.temporary) if not path.name.startswith("pytest-of-")]
            found += [f"temporary file {path}" for path in mine]
        return found


def mounts() -> list[str]:
    """Return this mount namespace's mounts as `target type source`."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fstype, source = right.split()[:2]
        found.append(f"{left.split()[4]} {fstype} {source} (root {left.split()[3]})")
    return found


def cgroups() -> list[str]:
    """Return every cgroup below the root, as a path relative to it."""
    root = str(session.CGROUP_ROOT)
    return [os.path.relpath(folder, root) for folder, _, _ in os.walk(root) if folder != root]


def _ours(cgroup: str) -> bool:
    if cgroup == DEFAULT_PARENT:
        return False
    if session.TOKEN in cgroup:
        return True
    # What carries no session's token may be what the runtime made under a wrong name; on a CI machine nobody else does.
    of_others = session.TOKEN_PATTERN.search(cgroup) is not None
    return os.environ.get("CI") == "true" and not of_others and _is_empty(session.CGROUP_ROOT / cgroup)


def _is_empty(cgroup: Path) -> bool:
    try:
        return "populated 0" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def remove_cgroup(path: Path) -> None:
    """Kill whatever runs in a cgroup and remove it with its children; one that does not exist is fine."""
    if not path.exists():
        return
    with contextlib.suppress(OSError):
        (path / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + 5
    while "populated 1" in (path / "cgroup.events").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    for folder, _, _ in os.walk(path, topdown=False):
        os.rmdir(folder)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def processes() -> list[str]:
    """Return leftover processes as `pid command`: orphans that the reaper adopted, and pytest's children."""
    assert session.reaper is not None
    pids = [pid for pid in session.children(session.reaper) if pid != os.getpid()] + session.children(os.getpid())
    found = []
    for pid in pids:
        text = describe(pid)
        if text is not None:
            found.append(text)
    return found


def describe(pid: int) -> str | None:
    """Return `pid command line` of a process that runs, None for one that is gone or only waits to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    return None if state in "ZX" else f"{pid} {command}"


def settle(seconds: float = SETTLE_SECONDS) -> None:
    """Give processes that are about to end the time to do so."""
    deadline = time.monotonic() + seconds
    while processes() and time.monotonic() < deadline:
        time.sleep(0.02)


def remove_cgroups() -> None:
    """Remove the session's leftover cgroups with what runs in them."""
    for path in cgroups():
        if session.TOKEN in path:
            remove_cgroup(session.CGROUP_ROOT / path)


def end_processes() -> None:
    """Kill the session's leftover processes, each through its pidfd, and whatever they leave without a parent."""
    for _ in range(10):
        found = processes()
        if not found:
            return
        for line in found:
            _kill(int(line.split()[0]))
        settle(0.5)


def _kill(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


class Footprint:
    """What one command may leave behind, compared before and after: `Footprint(root)`, the command, `check()`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.before = self._now()

    def _now(self) -> dict[str, set[str]]:
        return {
            "state": {str(path) for path in self.root.iterdir()} if self.root.exists() else set(),
            "mounts": set(mounts()),
            "cgroups": {path for path in cgroups() if session.TOKEN in path},
            "processes": set(processes()),
            "shared memory": {str(path) for path in _entries(Path("/dev/shm"))},
        }

    def left(self) -> dict[str, set[str]]:
        """Return what is there that was not, by kind; kinds without any are left out."""
        now = self._now()
        return {kind: things - self.before[kind] for kind, things in now.items() if things - self.before[kind]}

    def check(self) -> None:
        """Fail when anything was left; a process that is about to end gets the time to do so."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left, f"left behind: {left}"
