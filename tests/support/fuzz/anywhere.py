"""Mutations of any value of a document, whatever it means."""

from collections.abc import Callable
from random import Random
from typing import Any

from support.fuzz import values
from support.fuzz.edits import Edit, escaped, value_at

Mutation = Callable[[Random, Any], list[Edit]]
WIDE = 40
"""Of how many entries of a list or object at most one is taken: the hundreds of system calls of a profile are alike."""


def pointers(value: Any, at: str = "") -> list[str]:
    """Return the pointers of all values below one; of a wide one only some."""
    found: list[str] = []
    if isinstance(value, dict):
        children = [(escaped(str(key)), each) for key, each in value.items()]
    elif isinstance(value, list):
        children = [(str(index), each) for index, each in enumerate(value)]
    else:
        return found
    for key, each in children[:WIDE]:
        found.append(f"{at}/{key}")
        found += pointers(each, f"{at}/{key}")
    return found


def pick(chance: Random, config: Any, *kinds: type) -> str | None:
    """Return the pointer of a value of one of these types. Each subject is as likely as any other, however large."""
    tops = [*pointers_of(config, ""), *pointers_of(config, "/linux"), *pointers_of(config, "/process")]
    chance.shuffle(tops)
    for top in tops:
        found = [top, *pointers(value_at(config, top), top)]
        found = [each for each in found if not kinds or isinstance(value_at(config, each), kinds)]
        if found:
            return chance.choice(found)
    return None


def pointers_of(config: Any, at: str) -> list[str]:
    """Return the pointers of a value's own members."""
    value = value_at(config, at)
    return [f"{at}/{escaped(key)}" for key in value] if isinstance(value, dict) else []


def another_type(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config)
    return [["set", at, values.any_value(chance)]] if at else []


def null(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config)
    return [["set", at, None]] if at else []


def empty(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config, str, list, dict)
    return [["set", at, type(value_at(config, at))()]] if at else []


def boundary(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config, int)
    return [["set", at, values.number(chance)]] if at else []


def nearby(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config, int)
    if at is None:
        return []
    old = int(value_at(config, at))
    return [["set", at, chance.choice((old + 1, old - 1, -old, old * 2, old << 32, ~old, float(old), str(old)))]]


def bend(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config, str)
    return [["set", at, values.bent(chance, value_at(config, at))]] if at else []


def text(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config, str)
    return [["set", at, values.text(chance)]] if at else []


def drop(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config)
    return [["drop", at]] if at else []


def twice(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config)
    return [["twice", at]] if at else []


def order(chance: Random, config: Any) -> list[Edit]:
    """A list in another order: turned round, shuffled, one entry elsewhere, all of it twice."""
    at = pick(chance, config, list)
    entries = list(value_at(config, at)) if at else []
    if len(entries) < 2:
        return []
    kind = chance.randrange(4)
    if kind == 0:
        entries.reverse()
    elif kind == 1:
        chance.shuffle(entries)
    elif kind == 2:
        entries.insert(chance.randrange(len(entries)), entries.pop(chance.randrange(len(entries))))
    else:
        entries *= 2
    return [["set", at, entries]]


def elsewhere(chance: Random, config: Any) -> list[Edit]:
    """A value in the place of another."""
    source, target = pick(chance, config), pick(chance, config)
    if not source or not target or target.startswith(source):
        return []
    return [["set", target, value_at(config, source)]]


def key(chance: Random, config: Any) -> list[Edit]:
    """A member under another name: another case, bytes, one that is not known."""
    at = pick(chance, config)
    if not at:
        return []
    parent, _, name = at.rpartition("/")
    if not isinstance(value_at(config, parent), dict):
        return []
    new = chance.choice((name.lower(), name.upper(), name.title(), f"{name} ", f"x-{name}", values.bent(chance, name)))
    return [["drop", at], ["set", f"{parent}/{escaped(new)}", value_at(config, at)]]


def unknown(chance: Random, config: Any) -> list[Edit]:
    at = pick(chance, config, dict)
    return [["set", f"{at}/{escaped(values.text(chance))}", values.any_value(chance)]] if at else []


ALL: tuple[Mutation, ...] = (
    another_type, null, empty, boundary, boundary, nearby, bend, bend, text, drop, twice, order, elsewhere, key,
    unknown,
)  # fmt: skip
