"""Reading /proc/<pid>/mountinfo (proc(5))."""

from typing import NamedTuple


class Mount(NamedTuple):
    """One mount."""

    id: int
    parent: int
    root: str
    point: str
    options: frozenset[str]
    propagation: tuple[str, ...]
    """Such as ("shared:5",); empty for a private mount."""
    fstype: str
    source: str
    data: tuple[str, ...]


def parse(text: str) -> list[Mount]:
    """Return the mounts in the order of the file."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        id, parent, _, root, point, options, *tags = left.split(" ")
        fstype, source, data = right.split(" ")
        found.append(
            Mount(
                int(id), int(parent), unescape(root), unescape(point), frozenset(options.split(",")), tuple(tags),
                fstype, unescape(source), tuple(data.split(",")),
            )
        )  # fmt: skip
    return found


def unescape(text: str) -> str:
    """Undo the kernel's escapes of blanks and backslashes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def at(mounts: list[Mount], point: str) -> Mount:
    """Return the topmost mount at a path."""
    found = [mount for mount in mounts if mount.point == point]
    assert found, f"nothing is mounted at {point}: {[mount.point for mount in mounts]}"
    return found[-1]
