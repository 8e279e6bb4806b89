"""The generated validator and jsonschema say the same about every document, and both what the spec means."""

import importlib.machinery
import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from jsonschema import Draft4Validator

from pyruntime.errors import InvalidConfig
from pyruntime.spec import _validator, schema
from pyruntime.spec.jsontext import load_document

if TYPE_CHECKING:
    from pyruntime.spec._config import Config, Mount, Namespace

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
GOOD = sorted([*DATA.glob("configs/*.json"), *DATA.glob("oci-schema/good/*.json"), *ROOT.glob("bundles/*/config.json")])
IGNORED_ON_LINUX = {"freebsd-vnet-disable.json"}
BAD = sorted(p for p in DATA.glob("oci-schema/bad/linux-*.json"))
KINDS: dict[str, Callable[[Any], bool]] = {
    "config": _validator.is_valid,
    "process": _validator.is_valid_process,
    "resources": _validator.is_valid_resources,
}

SCHEMA = schema.schema()
Wrap = Callable[[Any], Any]

EXTREMES: tuple[Any, ...] = (
    *(None, True, False, [], {}, [None], [[]], [{}], {"": None}, {"x": 1}, {"x": "y"}, {"x": {}}),
    *(0.0, 1.0, 1.5, -0.5, 1e300),
    *(0, 1, -1, 2, 5, 6, 7, 8, -2, -1000, -1001, 1000, 1001, 65535, 65536, 999999999, 1000000000),
    *(2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 2, 2**32 - 1, 2**32, 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**40),
    *("", " ", "x", "\0", "a\0b", "\n", "é\U0001f600", "null", "0", ["x"], ["\0"], ["x", 1], [0], [2**32]),
    *(
        "c",
        "cc",
        "C",
        "rwm",
        "wr\n",
        "rx",
        "2MB",
        "2MB\n",
        "02MB",
        "0MB",
        "MB",
        "KB",
        "64kB",
        "1G",
        "\u0661KB",
        "12345678901GB",
    ),
    *("0-3,7", "0-3\n", "0;1", "MB:", "MB:0=1\n", "XMB:", "mb:0", "SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW\n", "RLIMIT_CORE"),
)
"""Values to put in the place of any other: every type, both sides of every bound, and what patterns trip over."""


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else node


def minimal(node: dict[str, Any]) -> Any:
    """Return the smallest value that is valid by a schema."""
    node = resolve(node)
    kind = node["type"][0] if isinstance(node["type"], list) else node["type"]
    if kind == "object":
        return {key: minimal(node["properties"][key]) for key in node.get("required", ())}
    if kind == "array":
        return [minimal(node["items"])] * node.get("minItems", 0)
    if kind == "string":
        return node.get("enum", ["MB:" if "MB" in node.get("pattern", "") else "1KB"])[0]
    return False if kind == "boolean" else min(max(0, node["minimum"]), node["maximum"])


def places(node: dict[str, Any], wrap: Wrap) -> Iterator[Wrap]:
    """Yield, for every place that a schema describes, the function that puts a value there into a small document."""
    yield wrap
    node = resolve(node)
    base = minimal(node)
    for key, part in node.get("properties", {}).items():
        yield from places(part, lambda value, key=key: wrap({**base, key: value}))  # type: ignore[misc]
    if "items" in node:
        yield from places(node["items"], lambda value: wrap([minimal(node["items"]), value]))
    if "additionalProperties" in node:
        yield from places(node["additionalProperties"], lambda value: wrap({"first": value}))


def kind_schema(kind: str) -> dict[str, Any]:
    name = schema.DEFINITIONS[kind]
    return SCHEMA if name is None else SCHEMA["$defs"][name]


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_in_every_place(kind: str) -> None:
    authority, is_valid = schema.validator(kind), KINDS[kind]
    verdicts = []
    for wrap in places(kind_schema(kind), lambda value: value):
        for value in EXTREMES:
            document = wrap(value)
            verdict = authority.is_valid(document)
            assert is_valid(document) is verdict, document
            verdicts.append(verdict)
    assert len(verdicts) > 2000 and 0.05 < sum(verdicts) / len(verdicts) < 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_every_required_property_is_missed(kind: str) -> None:
    authority, is_valid = schema.validator(kind), KINDS[kind]
    verdicts = set()
    for wrap in places(kind_schema(kind), lambda value: value):
        document = wrap({})
        verdict = authority.is_valid(document)
        assert is_valid(document) is verdict, document
        verdicts.add(verdict)
    assert verdicts == {True, False}
    assert is_valid(minimal(kind_schema(kind)))


def spots(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within a document."""
    yield way
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from spots(entry, (*way, key))


def mutate(document: Any, chance: random.Random) -> Any:
    """Return a copy with a value replaced, removed, doubled or moved."""
    changed = deepcopy(document)
    *way, last = chance.choice([spot for spot in spots(document) if spot])
    folder = changed
    for key in way:
        folder = folder[key]
    change = chance.randrange(5)
    if change == 0:
        del folder[last]
    elif change == 1:
        folder[last] = [folder[last], folder[last]]
    elif change == 2:
        folder[last] = {"nested": folder[last]}
    elif change == 3 and isinstance(folder, dict):
        folder[f"x-{last}"] = folder.pop(last)
    else:
        folder[last] = deepcopy(chance.choice(EXTREMES))
    return changed


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.stem)
def test_mutations_of_real_configs(path: Path) -> None:
    authority = schema.validator("config")
    document = json.loads(path.read_text())
    chance = random.Random(path.name)
    verdicts = []
    for _ in range(30 if path.stat().st_size > 8000 else 250):
        mutated = mutate(document, chance)
        if chance.random() < 0.3:
            mutated = mutate(mutated, chance)
        verdict = authority.is_valid(mutated)
        assert _validator.is_valid(mutated) is verdict, mutated
        verdicts.append(verdict)
        if not verdict:
            with pytest.raises(InvalidConfig) as caught:
                schema.explain(mutated, "config")
            assert len(str(caught.value).splitlines()) == 1
    assert True in verdicts and False in verdicts


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.stem)
def test_good_documents(path: Path) -> None:
    document = json.loads(path.read_text())
    assert _validator.is_valid(document)
    schema.explain(document, "config")
    assert _validator.is_valid({**document, "x-unknown": [None, {"y": 1}]})


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_bad_documents(path: Path) -> None:
    document = json.loads(path.read_text())
    assert not _validator.is_valid(document)
    with pytest.raises(InvalidConfig) as caught:
        schema.explain(document, "config")
    assert "violates the schema" not in str(caught.value), "jsonschema has not said what is wrong"


def test_every_bad_document_is_looked_at() -> None:
    names = {path.name for path in DATA.glob("oci-schema/bad/*.json")}
    assert names == {path.name for path in BAD} | IGNORED_ON_LINUX | {"invalid-json.json"}


@pytest.mark.parametrize("value", [None, [], "", 0, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_document_is_an_object(kind: str, value: Any) -> None:
    assert not KINDS[kind](value)


def test_numbers_beyond_2_to_53_are_exact() -> None:
    """Doubles can't tell 2^64-1 from 2^64; the limits of rlimits are just there."""

    def config(soft: int) -> dict[str, Any]:
        limit = {"type": "RLIMIT_CORE", "soft": soft, "hard": 2**64 - 1}
        return {"ociVersion": "1.0.0", "root": {"path": "r"}, "process": {"cwd": "/", "rlimits": [limit]}}

    assert _validator.is_valid(config(2**64 - 1))
    assert not _validator.is_valid(config(2**64))


def optional_places(node: dict[str, Any], wrap: Wrap) -> Iterator[tuple[str, Wrap]]:
    """Yield, for every property that a schema describes and does not require, its name and its place."""
    node = resolve(node)
    base = minimal(node)
    for key, part in node.get("properties", {}).items():
        inner: Wrap = lambda value, key=key: wrap({**base, key: value})  # type: ignore[misc] # noqa: E731
        if key not in node.get("required", ()):
            yield key, inner
        yield from optional_places(part, inner)
    if "items" in node:
        yield from optional_places(node["items"], lambda value: wrap([minimal(node["items"]), value]))
    if "additionalProperties" in node:
        yield from optional_places(node["additionalProperties"], lambda value: wrap({"first": value}))


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_as_good_as_absent(kind: str) -> None:
    """As Go's decoder has it, for every property that is not required; and what is read has no such property."""
    authority, is_valid = schema.validator(kind), KINDS[kind]
    seen = set()
    for name, wrap in optional_places(kind_schema(kind), lambda value: value):
        document = wrap(None)
        assert is_valid(document) and authority.is_valid(document), document
        read = load_document(json.dumps(document).encode(), "x")
        assert "null" not in json.dumps(read), document
        assert is_valid(read)
        seen.add(name)
    assert {"config": "hostname", "process": "oomScoreAdj", "resources": "limit"}[kind] in seen


@pytest.mark.parametrize(
    "part",
    [
        {"root": None},
        {"ociVersion": None},
        {"mounts": [None]},
        {"mounts": [{"destination": None}]},
        {"process": {"cwd": None}},
        {"process": {"cwd": "/", "args": [None]}},
        {"process": {"cwd": "/", "user": {"additionalGids": [None]}}},
        {"annotations": {"a": None}},
        {"linux": {"sysctl": {"a": None}}},
        {"linux": {"resources": {"unified": {"a": None}}}},
        {"linux": {"timeOffsets": {"monotonic": None}}},
    ],
    ids=json.dumps,
)
def test_null_where_it_stands_for_nothing(part: dict[str, Any]) -> None:
    config = {"ociVersion": "1.0.0", "root": {"path": "r"}, **part}
    assert not _validator.is_valid(config)
    assert not schema.validator("config").is_valid(config)
    assert not _validator.is_valid(load_document(json.dumps(config).encode(), "x"))


def test_the_schema_is_a_schema() -> None:
    Draft4Validator.check_schema(SCHEMA)
    assert schema.schema() == json.loads((ROOT / "specs/config.schema.json").read_text())


def generator() -> Any:
    """Return scripts/generate-validator as a module."""
    path = str(ROOT / "scripts" / "generate-validator")
    loader = importlib.machinery.SourceFileLoader("generate_validator", path)
    spec = importlib.util.spec_from_loader("generate_validator", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


def test_what_is_made_of_the_schema_is_up_to_date() -> None:
    made = generator().generate((ROOT / "specs/config.schema.json").read_text())
    assert {path.name for path in made} == {"_validator.py", "_config.pyi"}
    for path, text in made.items():
        assert path.read_text() == text, f"{path}: run scripts/generate-validator"


def config_types(schema: str | None = None) -> dict[str, Any]:
    """Return the types of a config by their names, of the committed file or of what is made of another schema."""
    path = ROOT / "pyruntime/spec/_config.pyi"
    text = path.read_text() if schema is None else generator().generate(schema)[path]
    types: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), types)
    return types


def assert_same(node: dict[str, Any], found: Any, where: str) -> set[str]:
    """Compare a type with what the schema says of the place; return the names of the TypedDicts on the way."""
    node = resolve(node)
    kind = node["type"][0] if isinstance(node["type"], list) else node["type"]
    if "properties" in node:
        assert set(found.__required_keys__) == set(node.get("required", ())), where
        hints = get_type_hints(found)
        assert hints.keys() == node["properties"].keys(), where
        below = (assert_same(part, hints[key], f"{where}/{key}") for key, part in node["properties"].items())
        return {found.__name__}.union(*below)
    if "enum" in node:
        assert get_args(found) == tuple(node["enum"]), where
    elif kind == "array":
        assert get_origin(found) is list, where
        return assert_same(node["items"], get_args(found)[0], f"{where}/0")
    elif kind == "object":
        key, value = get_args(found)
        assert get_origin(found) is dict and key is str, where
        if "additionalProperties" in node:
            return assert_same(node["additionalProperties"], value, f"{where}/*")
        assert value is Any, where
    else:
        assert found is {"string": str, "integer": int, "boolean": bool}[kind], where
    return set()


def test_types_say_what_the_schema_says() -> None:
    types = config_types()
    names = assert_same(SCHEMA, types["Config"], "")
    assert names >= {"Config", "Process", "Mount", "Linux", "Resources", "Namespace", "Hook", "Seccomp", "IDMapping"}
    assert names == {name for name, each in types.items() if is_typeddict(each)}


def test_a_property_of_the_schema_that_is_no_longer_required_changes_its_type() -> None:
    changed = deepcopy(SCHEMA)
    changed["$defs"]["Root"]["required"] = []
    assert config_types(json.dumps(changed))["Root"].__required_keys__ == frozenset()
    assert config_types()["Root"].__required_keys__ == {"path"}


def test_type_checkers_see_mistakes() -> None:
    """scripts/lint fails when one of these lines is no error: the comment to ignore it is then one too many."""
    config: Config = {"ociVersion": "1.0.0", "root": {"path": "r"}}
    with pytest.raises(KeyError):
        config["mouns"]  # type: ignore[typeddict-item]
    wrong: Config = {"ociVersion": "1.0.0"}  # type: ignore[typeddict-item]
    mount: Mount = {"destination": "/", "options": "ro"}  # type: ignore[typeddict-item]
    namespace: Namespace = {"type": "net"}  # type: ignore[typeddict-item]
    for document in (wrong, {**config, "mounts": [mount]}, {**config, "linux": {"namespaces": [namespace]}}):
        assert not _validator.is_valid(document)


def test_the_generator_passes_over_nothing() -> None:
    changed = deepcopy(SCHEMA)
    changed["$defs"]["Text"]["maxLength"] = 5
    with pytest.raises(AssertionError, match="maxLength"):
        generator().generate(json.dumps(changed))


def test_the_hot_path_imports_no_heavy_module() -> None:
    """Reading and checking a config loads built-in modules and our own only: their import is most of the cost."""
    script = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(ROOT)!r})
from pyruntime import spec
raw, config = spec.load_config({str(DATA / "configs")!r}, {str(DATA / "configs/docker-plain.json")!r})
spec.validate(config)
spec.validate_process(config["process"])
from pyruntime.spec.jsontext import dumps
dumps(config)
print(*(name for name in set(sys.modules) - before if name.partition(".")[0] != "pyruntime"))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"__future__", "_json", "errno"}, done.stdout
