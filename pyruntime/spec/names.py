"""Properties whose names differ from the spec's only in case: they are ignored with a warning.

The spec's names are case-sensitive; unknown ones are not an error (config.md, "Extensibility"). Go's decoder, and thus
runc, ignores case, so a misspelt name is probably a mistake.
"""

from __future__ import annotations

from ._validator import NAMES
from .jsontext import MAPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


def near_misses(document: Mapping[str, Any], what: str = "config.json") -> list[str]:
    """Return a warning for each such property of a valid document. what: the document's name."""
    if not has_unknown(document):
        return []
    from .linux import escaped

    meant = {name.lower(): name for name in NAMES}
    return [
        f"{what}#{at}/{escaped(key)} is ignored: there is no such property; did you mean {meant[key.lower()]}?"
        for at, members in objects(document)
        for key in members
        if key not in NAMES and key.lower() in meant
    ]


def has_unknown(document: Mapping[str, Any]) -> bool:
    """Return whether an object of a document has a property that the spec does not know. Runs in every create."""
    todo: list[Any] = [document]
    for one in todo:  # grows during the loop
        if type(one) is dict:
            if not NAMES.issuperset(one):
                return True
            for key, value in one.items():
                if type(value) is dict:
                    todo += value.values() if key in MAPS else (value,)
                elif type(value) is list and value and type(value[0]) is dict:
                    todo += value
    return False


def objects(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object of a document except the spec's maps, with its JSON pointer, in order.

    Without recursion, whose limit is lower in Python than in the scanner.
    """
    from .linux import escaped

    todo: list[tuple[str, Any, bool]] = [("", document, False)]
    while todo:
        at, value, is_map = todo.pop()
        if type(value) is list:
            todo += [(f"{at}/{index}", entry, False) for index, entry in reversed(list(enumerate(value)))]
        elif type(value) is dict:
            if not is_map:
                yield at, value
            members = [(key, member) for key, member in value.items() if is_map or key in NAMES]
            todo += [(f"{at}/{escaped(key)}", member, key in MAPS and not is_map) for key, member in reversed(members)]
