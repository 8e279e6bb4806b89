"""Why a document is not valid, by jsonschema: the slow path, taken only after the generated validator said no."""

from __future__ import annotations

from ..errors import Failure, InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHOWN = 60
"""Characters of the offending value that an error shows."""
WORDS = {
    "string": "a string",
    "integer": "an integer",
    "object": "an object",
    "array": "an array",
    "boolean": "a boolean",
}


def schema() -> dict[str, Any]:
    """Return specs/config.schema.json, as installed beside this module or in the source tree."""
    import json
    from pathlib import Path

    here = Path(__file__).parent
    for path in (here / "config.schema.json", here.parent.parent / "specs" / "config.schema.json"):
        if path.is_file():
            document: dict[str, Any] = json.loads(path.read_text())
            return document
    raise Failure("the schema config.schema.json is not installed")


def validator(kind: str) -> Any:
    """Return the jsonschema validator for a "config", "process" or "resources" document."""
    from jsonschema import Draft4Validator

    document = schema()
    if kind != "config":
        document = {**document["definitions"][kind], "type": "object", "definitions": document["definitions"]}
    return Draft4Validator(document)


def explain(document: Any, kind: str) -> None:
    """Raise the InvalidConfig for what is wrong with the document; return when nothing is."""
    errors = sorted(
        validator(kind).iter_errors(document), key=lambda error: [str(part) for part in error.absolute_path]
    )
    if not errors:
        return
    raise failure_of(errors[0], "" if kind == "config" else f"/{kind}")


def failure_of(error: Any, prefix: str) -> InvalidConfig:
    """Return the failure for one error of jsonschema, with its JSON pointer."""
    pointer = prefix + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path)
    return InvalidConfig(words(error), pointer=pointer)


def words(error: Any) -> str:
    """Return what was expected and what was found."""
    found = shown(error.instance)
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        expected = " or ".join(WORDS[kind] for kind in kinds if kind != "null")
        return f"expected {expected}, found {found}"
    if error.validator == "enum":
        return f"expected one of {', '.join(value or 'nothing' for value in error.validator_value)}, found {found}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"the property {missing} is missing"
    if error.validator in ("minimum", "maximum"):
        bound = "at least" if error.validator == "minimum" else "at most"
        return f"expected {bound} {error.validator_value}, found {found}"
    if error.validator == "minItems":
        return f"expected at least {error.validator_value} items, found {found}"
    return str(error.message)


def shown(value: Any) -> str:
    """Return a value as short JSON with its kind."""
    import json

    from . import kind_of

    text = json.dumps(value)
    text = text if len(text) <= SHOWN else text[:SHOWN] + "..."
    return text if value is None else f"{kind_of(value)} ({text})"
