"""File systems whose source or options are too long for fsconfig(2), which takes 255 bytes a value: often overlayfs.

mount(2) takes one page of options in total, and overlayfs one layer at a time (`lowerdir+`, since Linux 6.7). Source:
fsconfig(2), mount(2), Documentation/filesystems/overlayfs.rst "Multiple lower layers".
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..step import INIT, Flags, Step
from ..text import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mount_options import MountOptions

    Data = list[tuple[str, str | None]]

LONGEST_VALUE = 255
PAGE = 4095
"""The kernel copies one page and puts a zero at its end; it would silently cut off the rest."""
FLAGS = {"ro": "MS_RDONLY", "sync": "MS_SYNCHRONOUS", "dirsync": "MS_DIRSYNC", "lazytime": "MS_LAZYTIME"}


def is_long(mount: dict[str, Any], data: Data) -> bool:
    """Return whether a value is too long for fsconfig(2)."""
    return any(_size(value) > LONGEST_VALUE for value in (mount.get("source") or "", *(value for _, value in data)))


def split_layers(kind: str, data: Data) -> Data:
    """Return overlayfs's data with one option per layer if mount(2) could not take them together."""
    if kind != "overlay" or len(data_text(data)) <= PAGE:
        return data
    found: Data = []
    for key, value in data:
        if key == "lowerdir" and value:
            found += _layers(value)
        else:
            found.append((key, value))
    return found


def _layers(value: str) -> Data:
    """Return the layers between colons, top first; those after an empty one ("::") contain only data. Remove the
    backslashes that escape characters, because `lowerdir+` would take them literally."""
    layers, name, escaped, key = [], "", False, "lowerdir+"
    for character in value + ":":
        if escaped or character not in ("\\", ":"):
            name, escaped = name + character, False
        elif character == "\\":
            escaped = True
        elif name:
            layers.append((key, name))
            name = ""
        else:
            key = "datadir+"
    return [*layers]


def steps(index: int, mount: dict[str, Any], options: MountOptions, data: Data, kind: str) -> list[Step]:
    """Init: make the file system by mount(2), as a detached mount like others. Raises InvalidConfig beyond a page."""
    pointer, text = f"/mounts/{index}", data_text(data)
    if len(encode(text)) > PAGE:
        raise InvalidConfig(
            f"the options of this mount are {len(encode(text))} bytes, and mount(2) takes {PAGE}",
            pointer=f"{pointer}/options",
        )
    flags = Flags("|".join(FLAGS[flag] for flag in options.flags))
    source = mount.get("source") or kind
    return [Step(INIT, pointer, "mount_by_data", source, kind, flags, text, into=f"mount{index}")]


def data_text(data: Data) -> str:
    return ",".join(key if value is None else f"{key}={value}" for key, value in data)


def _size(value: str | None) -> int:
    """Return a value's length in bytes, or 0 when it is certainly short enough."""
    return len(encode(value)) if value and len(value) * 4 > LONGEST_VALUE else 0
