"""Masked and read-only paths, below slot "root" and before the root is switched.

Each is opened beneath the root and covered by descriptor; a missing path is skipped. Source:
runtime-spec config-linux.md "Masked Paths", "Readonly Paths"; CVE-2025-31133.
"""

from __future__ import annotations

from ..step import INIT, Flags, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = Slot("root")
PATH = Flags("O_PATH|O_CLOEXEC")
ABSENT = ("ENOENT", "ENOTDIR", "EACCES")
CLONE = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH|AT_RECURSIVE")
ATTACH = Flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")


def prepare_steps(config: dict[str, Any]) -> list[Step]:
    """Init, while it still sees the host's files: open the host's /dev/null, if it has one."""
    if not (config.get("linux") or {}).get("maskedPaths"):
        return []
    return [Step(INIT, "/linux/maskedPaths", "open_covers", into="covers")]


def masked_steps(config: dict[str, Any]) -> list[Step]:
    steps = []
    for index, path in enumerate((config.get("linux") or {}).get("maskedPaths") or ()):
        pointer, slot = f"/linux/maskedPaths/{index}", f"masked{index}"
        steps.append(Step(INIT, pointer, "open_below_root", ROOT, path, PATH, into=slot, ignore=ABSENT))
        steps.append(Step(INIT, pointer, "mask", Slot(slot), Slot("covers"), closes=(slot,)))
    if steps:
        steps.append(Step(INIT, "/linux/maskedPaths", "close_covers", Slot("covers")))
    return steps


def readonly_steps(config: dict[str, Any]) -> list[Step]:
    steps = []
    for index, path in enumerate((config.get("linux") or {}).get("readonlyPaths") or ()):
        pointer, place, tree = f"/linux/readonlyPaths/{index}", f"readonly{index}", f"readonly_tree{index}"
        steps += [
            Step(INIT, pointer, "open_below_root", ROOT, path, PATH, into=place, ignore=ABSENT),
            Step(INIT, pointer, "open_tree", Slot(place), "", CLONE, into=tree),
            Step(
                INIT,
                pointer,
                "mount_setattr",
                Slot(tree),
                "",
                Flags("AT_EMPTY_PATH|AT_RECURSIVE"),
                Flags("MOUNT_ATTR_RDONLY"),
                0,
                0,
            ),
            Step(INIT, pointer, "move_mount", Slot(tree), "", Slot(place), "", ATTACH, closes=(tree, place)),
        ]
    return steps
