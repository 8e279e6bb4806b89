"""Edits of a document, as data that can be printed, repeated and left out one by one.

An edit is a list: ["set", pointer, value], ["add", pointer, value] (into a list, before the place; "-" is its end),
["drop", pointer], ["twice", pointer] (a member that is there two times). One whose pointer leads nowhere does nothing.
"""

import json
import pickle
import re
from typing import Any

Edit = list[Any]

MARK = "\ue001"
"""Around what is JSON text already, where no value of Python would be written like that: raw("NaN")."""
AGAIN = "\ue002"
"""At the end of a key that is there twice."""
_RAW = re.compile(f'"{MARK}(.*?){MARK}"', re.DOTALL)


def raw(text: str) -> str:
    """Return a string that stands for a piece of JSON text."""
    return f"{MARK}{text}{MARK}"


def parts_of(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def value_at(document: Any, pointer: str, default: Any = None) -> Any:
    """Return what a pointer leads to, or the default."""
    for part in parts_of(pointer):
        try:
            document = document[int(part) if isinstance(document, list) else part]
        except (KeyError, IndexError, ValueError, TypeError):
            return default
    return document


def list_at(document: Any, pointer: str) -> list[Any]:
    """Return the list that a pointer leads to; an empty one where there is none."""
    found = value_at(document, pointer)
    return found if isinstance(found, list) else []


def apply(document: Any, edit: Edit) -> bool:
    """Make one edit in place; return whether its pointer led anywhere. Objects on the way to it are made."""
    kind, pointer, *value = edit
    *way, last = parts_of(pointer)
    for part in way:
        try:
            if isinstance(document, dict):
                document = document.setdefault(part, {})
            else:
                document = document[int(part)]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    if isinstance(document, list):
        return _edit_list(document, kind, last, value)
    if not isinstance(document, dict) or (kind in ("drop", "twice") and last not in document):
        return False
    if kind == "drop":
        del document[last]
    elif kind == "twice":
        document[last + AGAIN] = document[last]
    elif kind == "add":
        entries = document.setdefault(last, [])
        if not isinstance(entries, list):
            return False
        entries.append(copied(value[0]))
    else:
        document[last] = copied(value[0])
    return True


def _edit_list(entries: list[Any], kind: str, last: str, value: list[Any]) -> bool:
    if kind == "add" and last == "-":
        entries.append(copied(value[0]))
        return True
    if not last.isdecimal() or int(last) >= len(entries) + (kind == "add"):
        return False
    at = int(last)
    if kind == "drop":
        del entries[at]
    elif kind == "twice":
        entries.insert(at, copied(entries[at]))
    elif kind == "add":
        entries.insert(at, copied(value[0]))
    else:
        entries[at] = copied(value[0])
    return True


def copied(document: Any) -> Any:
    """Return a copy; deepcopy takes ten times as long."""
    return pickle.loads(pickle.dumps(document))


def applied(document: Any, edits: list[Edit]) -> Any:
    """Return a copy of the document with the edits made."""
    new = copied(document)
    for edit in edits:
        apply(new, edit)
    return new


def replaced(value: Any, words: dict[str, str]) -> Any:
    """Return a value with words replaced in all its strings and keys."""
    if isinstance(value, str):
        if "@" in value:
            for word, text in words.items():
                value = value.replace(word, text)
        return value
    if isinstance(value, list):
        return [replaced(each, words) for each in value]
    if isinstance(value, dict):
        return {replaced(key, words): replaced(each, words) for key, each in value.items()}
    return value


def encoded(document: Any) -> bytes:
    """Return the document as JSON text; "\\udcXX" in strings becomes the byte XX."""
    text = json.dumps(document, ensure_ascii=False)
    text = _RAW.sub(lambda found: json.loads(f'"{found[1]}"'), text).replace(AGAIN, "")
    return text.encode("utf-8", "surrogateescape")
