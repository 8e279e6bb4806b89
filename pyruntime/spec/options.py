"""The words of a mount's options. Source: runtime-spec config.md "Mounts"; mount(2), mount(8) "-o"."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def words(options: Iterable[str] | None) -> Iterable[str]:
    """Return the options one by one, where several of them may stand in one string: "size=1m,mode=700".

    mount(2) has always got them joined by commas, so that engines and people could write them so.
    """
    found: list[str] = []
    for option in options or ():
        if "," in option:
            found += split(option)
        else:
            found.append(option)
    return found


def split(text: str) -> list[str]:
    """Return the parts between commas; one after a backslash (a path of overlayfs) or in double quotes (a label of
    SELinux, `context="a:b:c:s0:c1,c2"`) is no separator."""
    parts, start, quoted, before = [], 0, False, ""
    for place, character in enumerate(text):
        if character == '"' and (quoted or before == "="):
            quoted = not quoted
        elif character == "," and not quoted and before != "\\":
            parts.append(text[start:place])
            start = place + 1
        before = character
    return [*parts, text[start:]]
