"""Splits mount options. Source: runtime-spec config.md "Mounts"; mount(2), mount(8) "-o"."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def words(options: Iterable[str] | None) -> Iterable[str]:
    """Return the single options, where one string may contain several: "size=1m,mode=700".

    mount(2) has always taken them joined by commas, so engines and people may write them that way.
    """
    found: list[str] = []
    for option in options or ():
        if "," in option:
            found += split(option)
        else:
            found.append(option)
    return found


def split(text: str) -> list[str]:
    """Return the parts between commas. A comma after a backslash (a path of overlayfs) or in double quotes (a label of
    SELinux, `context="a:b:c:s0:c1,c2"`) is not a separator."""
    parts, start, quoted, before = [], 0, False, ""
    for place, character in enumerate(text):
        if character == '"' and (quoted or before == "="):
            quoted = not quoted
        elif character == "," and not quoted and before != "\\":
            parts.append(text[start:place])
            start = place + 1
        before = character
    return [*parts, text[start:]]
