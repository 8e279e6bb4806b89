"""Explains by jsonschema why a document is not valid: the slow path, after the generated validator rejected it."""

from __future__ import annotations

from ..errors import Failure, InvalidConfig
from .jsontext import dumps, quote
from .linux import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHOWN = 48
"""The number of characters of the invalid value that an error shows."""
WORDS = {
    "string": "a string",
    "integer": "an integer",
    "object": "an object",
    "array": "a list",
    "boolean": "true or false",
}
DEFINITIONS = {"config": None, "process": "Process", "resources": "Resources"}
"""Kind of document -> its definition in the schema (None: the whole schema)."""


def schema() -> dict[str, Any]:
    """Return the schema, specs/config.schema.json, which is also next to this module."""
    import json
    from pathlib import Path

    document: dict[str, Any] = json.loads((Path(__file__).parent / "config.schema.json").read_text("utf-8"))
    return document


def validator(kind: str) -> Any:
    """Return the jsonschema validator for a "config", "process" or "resources" document.

    Draft 4, like the spec's own schemas: there 1.0 is not an integer, as for Go programs.
    """
    from jsonschema import Draft4Validator

    document = schema()
    definition = DEFINITIONS[kind]
    definitions = document["$defs"]
    if definition is not None:
        # A property may be null, but a document may not.
        document = {**definitions[definition], "type": "object"}
    nullable = {name: with_nulls(about, definitions) for name, about in definitions.items()}
    return Draft4Validator({**with_nulls(document, definitions), "$defs": nullable})


def with_nulls(about: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema in which optional properties may be null, which means the same as absent."""
    if not isinstance(about, dict):
        return about
    required = about.get("required", ())
    found = {}
    for key, value in about.items():
        if key == "properties":
            parts = {name: with_nulls(part, definitions) for name, part in value.items()}
            found[key] = {
                name: part if name in required else or_null(part, definitions) for name, part in parts.items()
            }
        else:
            found[key] = with_nulls(value, definitions)
    return found


def or_null(about: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that also allows null. Lists and objects already allow it where it is valid."""
    if "$ref" in about:
        target = definitions[about["$ref"].removeprefix("#/$defs/")]
        return about if isinstance(target["type"], list) else or_null(target, definitions)
    if isinstance(about["type"], list):
        return about
    words = {"enum": [*about["enum"], None]} if "enum" in about else {}
    return {**about, "type": [about["type"], "null"], **words}


def explain(document: Any, kind: str) -> None:
    """Raise InvalidConfig for the first error of a document; return if there is none."""
    try:
        errors = list(validator(kind).iter_errors(document))
    except ImportError:
        raise InvalidConfig(
            "the document violates the schema of the OCI runtime specification",
            pointer="",
            hint="install the Python package jsonschema to find out where",
        ) from None
    except RecursionError:
        # Parsing used less of the stack; jsonschema puts the whole value into its message.
        raise InvalidConfig("the document violates the schema: a value is nested too deeply", pointer="") from None
    except OSError as error:
        raise Failure("the document violates the schema, which can't be read to find out where", error) from None
    if not errors:
        return
    first = min(errors, key=lambda error: order(error, document))
    more = f"and {len(errors) - 1} more" if len(errors) > 1 else None
    what, pointer = words(first)
    raise InvalidConfig(what, pointer=pointer, hint=more)


def order(error: Any, document: Any) -> tuple[int, list[int]]:
    """Return a sort key that puts errors in outer objects first, then errors in the order of the document."""
    places = []
    for part in error.absolute_path:
        places.append(part if isinstance(part, int) else list(document).index(part))
        document = document[part]
    return len(places), places


def words(error: Any) -> tuple[str, str]:
    """Return a description of what was expected and found, and the JSON pointer to it."""
    rule, wanted = error.validator, error.validator_value
    pointer = "".join(f"/{escaped(str(part))}" for part in error.absolute_path)
    if rule == "required":
        missing = next(name for name in wanted if name not in error.instance)
        other = next((quote(name) for name in error.instance if name.lower() == missing.lower()), None)
        meant = f"; {other} is another property: did you mean {quote(missing)}?" if other else ""
        return f"the property {missing} is missing{meant}", f"{pointer}/{escaped(missing)}"
    return f"expected {expected(rule, wanted, error.schema)}, found {found(error.instance)}", pointer


def expected(rule: str, wanted: Any, about: dict[str, Any]) -> str:
    """Return a description of what the schema requires."""
    if rule == "type":
        kind = wanted[0] if isinstance(wanted, list) else wanted
        if "minimum" in about:
            return f"an integer from {about['minimum']} to {about['maximum']}"
        return WORDS[kind]
    if rule in ("minimum", "maximum"):
        return f"an integer from {about['minimum']} to {about['maximum']}"
    if rule == "enum":
        return f"one of {', '.join(quote(word) for word in wanted if word is not None)}"
    if rule == "minItems":
        return "a list that is not empty"
    return str(about["description"])  # pattern, minLength


def found(value: Any) -> str:
    """Return a value as JSON, shortened, preceded by its type."""
    if value is None or isinstance(value, bool):
        return dumps(value)
    kind = {str: "string", int: "number", float: "number", list: "list"}.get(type(value), "object")
    text = quote(value) if kind == "string" else dumps(value)
    return f"the {kind} {text if len(text) <= SHOWN else text[:SHOWN] + '...'}"
