"""The ids of the files in an idmapped mount: by its own mappings, by crun's option, or by the user namespace.

Source: runtime-spec config.md "Mounts" (uidMappings, idmap, ridmap); mount_setattr(2) "ID-mapped mounts"; crun(1)
"idmap mount options".
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..spec.linux import check_mappings
from ..text import shown
from .namespaces import map_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mount_options import MountOptions

KEYS = {"uids": "uidMappings", "gids": "gidMappings"}


def is_idmapped(mount: dict[str, Any], options: MountOptions) -> bool:
    return bool(mount.get("uidMappings") or options.idmap or options.ridmap)


def own_maps(mount: dict[str, Any], options: MountOptions, config: dict[str, Any], pointer: str) -> list[str]:
    """Return the lines for uid_map and gid_map, empty when the mount has no mappings of its own.

    pointer: the mount's. Raises InvalidConfig for invalid mappings, or for mappings in both forms.
    """
    if not options.maps:
        return map_texts(mount) if mount.get("uidMappings") else ["", ""]
    if mount.get("uidMappings"):
        raise InvalidConfig(
            "mappings by uidMappings and gidMappings exclude those of the option idmap", pointer=f"{pointer}/options"
        )
    found: dict[str, Any] = {}
    for part in options.maps.split(";"):
        key, equals, text = part.partition("=")
        if not equals or key not in KEYS or KEYS[key] in found:
            raise _invalid(options.maps, pointer)
        found[KEYS[key]] = [
            _entry(entry, KEYS[key], options.maps, config, pointer) for entry in text.split("#") if entry
        ]
    if not all(found.get(key) for key in KEYS.values()):
        raise _invalid(options.maps, pointer)
    for maps in found.values():
        try:
            check_mappings(maps, f"{pointer}/options")
        except InvalidConfig as error:
            # A pointer can't refer to one of the mappings: they are parts of a string.
            raise InvalidConfig(error.what, pointer=f"{pointer}/options") from None
    return map_texts(found)


def _entry(text: str, key: str, option: str, config: dict[str, Any], pointer: str) -> dict[str, int]:
    """Return one mapping: "first id of the files-first id of the mount-size"; after "@" the second one is relative to
    the container's user namespace."""
    relative = text[:1] == "@"
    numbers = text[1:].split("-") if relative else text.split("-")
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise _invalid(option, pointer)
    first, second, size = map(int, numbers)
    if relative:
        second = _on_the_host(second, size, (config.get("linux") or {}).get(key) or (), text, pointer)
    return {"containerID": first, "hostID": second, "size": size}


def _on_the_host(first: int, size: int, mappings: Any, text: str, pointer: str) -> int:
    for entry in mappings:
        offset = first - entry["containerID"]
        if offset >= 0 and offset + size <= entry["size"]:
            return int(entry["hostID"] + offset)
    raise InvalidConfig(
        f"idmap {shown(text)!r} is relative to the container's user namespace, which has no such ids",
        pointer=f"{pointer}/options",
    )


def _invalid(option: str, pointer: str) -> InvalidConfig:
    return InvalidConfig(
        f"idmap={shown(option)} is not a mapping",
        pointer=f"{pointer}/options",
        hint='it needs both, in the form "idmap=uids=0-1000-10#20-2000-5;gids=0-1000-10"',
    )
