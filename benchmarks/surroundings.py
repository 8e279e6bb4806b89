"""The surroundings of a benchmark: those of the root tests (tests/support/session.py), and what machine it is."""

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests"))

from support import leaks, session  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
TOKEN = session.TOKEN
"""Part of every container id and cgroup name of this benchmark."""


def enter() -> Path:
    """Move into a mount namespace with plain cgroup2 and an empty /run; return a directory on a tmpfs.

    The process that was called stays behind and takes care of what is left when this one dies.
    """
    session.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    become_subreaper()
    assert session.temporary is not None
    return session.temporary


def become_subreaper() -> None:
    """Become the parent of the containers' inits, which `create` leaves without one: so their end can be waited for."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) failed")


def leave() -> None:
    """End the processes and remove the cgroups and files that are left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leaks.end_processes()
    leaks.remove_cgroups()
    session.leave()


def machine() -> dict[str, str]:
    """Return a description of the machine and of its load, for whoever reads the figures."""
    cpus: dict[str, int] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            cpus[name] = cpus.get(name, 0) + 1
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    system = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return {
        "processor": ", ".join(f"{count} x {name}" for name, count in cpus.items()),
        "memory": f"{int(memory.split()[1]) >> 20} GiB",
        "kernel": platform.release(),
        "system": system.get("PRETTY_NAME", "unknown").strip('"'),
        "python": platform.python_version(),
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }
