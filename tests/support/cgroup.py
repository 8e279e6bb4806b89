"""A container's cgroup as the host sees it."""

from pathlib import Path

from support import session
from support.runtime import Container


def cgroup_of(pid: int) -> Path:
    """Return the cgroup2 directory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    return session.CGROUP_ROOT / line.removeprefix("0::").lstrip("/")


class Group:
    """The cgroup of a container that runs or is created."""

    def __init__(self, box: Container) -> None:
        self.path = cgroup_of(box.pid)

    def read(self, name: str) -> str:
        """Return a file's text without the last line break."""
        return (self.path / name).read_text().removesuffix("\n")

    def number(self, name: str, key: str) -> int:
        """Return the value of a key of a flat keyed file, such as memory.events."""
        return number_in(self.path / name, key)


def number_in(file: Path, key: str) -> int:
    """Return the value of a key of a flat keyed file, such as memory.events."""
    return int(dict(line.split() for line in file.read_text().splitlines())[key])
