"""What a command may leave behind: state, cgroups, mounts, processes, temporary files, network devices."""

import os
import socket
import time
from pathlib import Path
from typing import Any

CGROUPS = "/sys/fs/cgroup"
GRACE = 2.0
"""Seconds within which processes whose parent was killed must have ended by themselves."""


def children(pid: int) -> list[int]:
    """Return the children of a process, zombies too."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except OSError:
        return found
    return found


def state_of(pid: int) -> str:
    """Return a process's state letter, "X" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def describe(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        where = Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return str(pid)
    return f"{pid} {name} {state_of(pid)} {where}"


def reap(keep: set[int]) -> list[int]:
    """Collect what has ended; return the children that live, but for those that are to."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    return [pid for pid in children(os.getpid()) if pid not in keep and state_of(pid) not in "ZX"]


def wait_alone(keep: set[int], seconds: float = GRACE) -> list[int]:
    """Wait until no child but the kept ones lives; return those that still do when the time is over."""
    deadline = time.monotonic() + seconds
    while (left := reap(keep)) and time.monotonic() < deadline:
        time.sleep(0.001)
    return left


class World:
    """Everything that a command could leave, as it is now."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.before = self.now()

    def now(self) -> dict[str, set[str]]:
        return {
            "state": listed(self.job["root"]),
            "cgroups": cgroups_of(self.job["token"]),
            "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
            "files": set().union(*(listed(folder) for folder in self.job["folders"])),
            "network devices": names(),
        }

    def difference(self, *left_out: str) -> list[str]:
        """Return what has come or gone, one line for each."""
        now = self.now()
        found = []
        for kind, things in now.items():
            if kind in left_out:
                continue
            found += [f"left behind: {kind}: {thing}" for thing in sorted(things - self.before[kind])]
            found += [f"gone: {kind}: {thing}" for thing in sorted(self.before[kind] - things)]
        return found


def listed(folder: str) -> set[str]:
    try:
        return {f"{folder}/{name}" for name in os.listdir(folder)}
    except FileNotFoundError:
        return set()


def cgroups_of(token: str) -> set[str]:
    """Return the cgroups whose path has the token of this session in it."""
    found = set()
    for name in os.listdir(CGROUPS):
        if token in name:
            found |= {folder for folder, _, _ in os.walk(f"{CGROUPS}/{name}")}
    return found


def names() -> set[str]:
    """Return the names of the network devices."""
    return {name for _, name in socket.if_nameindex()}
