"""Documents for the tests of the spec's rules: one config with everything in it, and changes to it."""

from copy import deepcopy
from typing import Any

from pyruntime.spec import default

Changes = dict[str, Any]
"""JSON pointer -> the value to put there (a last part "-" appends), or DROP."""

DROP = object()
NAMESPACES = ("mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time")
MAP = {"containerID": 0, "hostID": 100000, "size": 1000}


def base() -> dict[str, Any]:
    """Return a config with all eight namespaces, each a new one."""
    config = default.default_config()
    config["linux"]["namespaces"] = [{"type": kind} for kind in NAMESPACES]
    config["linux"]["uidMappings"] = [dict(MAP)]
    config["linux"]["gidMappings"] = [dict(MAP)]
    return config


def patched(changes: Changes) -> dict[str, Any]:
    """Return the base config with changes."""
    config = base()
    for pointer, value in changes.items():
        *way, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
        folder: Any = config
        for part in way:
            folder = folder[int(part)] if isinstance(folder, list) else folder.setdefault(part, {})
        key: Any = int(last) if isinstance(folder, list) and last != "-" else last
        if value is DROP:
            del folder[key]
        elif key == "-":
            folder.append(deepcopy(value))
        else:
            folder[key] = deepcopy(value)
    return config


def without(*kinds: str) -> Changes:
    """Return the change that leaves namespaces out."""
    change: Changes = {"/linux/namespaces": [{"type": kind} for kind in NAMESPACES if kind not in kinds]}
    if "user" in kinds:
        change |= {"/linux/uidMappings": DROP, "/linux/gidMappings": DROP}
    return change


def joined(kind: str) -> Changes:
    """Return the change that joins a namespace by its path."""
    return {f"/linux/namespaces/{NAMESPACES.index(kind)}/path": f"/proc/1/ns/{kind}"}


def mount(destination: str, kind: str = "tmpfs", *options: str, **more: Any) -> Changes:
    """Return the change that puts a mount in the place of the first."""
    return {"/mounts/0": {"destination": destination, "type": kind, "source": "s", "options": list(options), **more}}


def names(rows: list[Any]) -> list[str]:
    """Return names for the rows of a table of changes: its number, and the last pointer."""
    changes = [row[0] if isinstance(row, tuple) else row for row in rows]
    return [f"{number}{list(change)[-1]}".replace("/", ".") for number, change in enumerate(changes)]
