"""What people read when a document has the wrong form."""

import builtins
import json
from typing import Any

import pytest
from support.paths import REPO
from support.spec_documents import DROP, Changes, names, patched

from pyruntime import spec
from pyruntime.errors import Failure, InvalidConfig
from pyruntime.spec import schema

BAD: list[tuple[Changes, str]] = [
    ({"/ociVersion": 1}, "expected a string, found the number 1 [config.json#/ociVersion]"),
    ({"/ociVersion": DROP}, "the property ociVersion is missing [config.json#/ociVersion]"),
    ({"/root": DROP}, "the property root is missing [config.json#/root]"),
    ({"/root": None}, "expected an object, found null [config.json#/root]"),
    (
        {"/root/path": ""},
        'expected a path without NUL characters, not empty, found the string "" [config.json#/root/path]',
    ),
    ({"/process": []}, "expected an object, found the list [] [config.json#/process]"),
    ({"/process/args": "sh"}, 'expected a list, found the string "sh" [config.json#/process/args]'),
    ({"/process/args/0": 5}, "expected a string, found the number 5 [config.json#/process/args/0]"),
    (
        {"/process/args/0": "a\0b"},
        ('expected a string without NUL characters, found the string "a\\u0000b" [config.json#/process/args/0]'),
    ),
    ({"/process/cwd": None}, "expected a string, found null [config.json#/process/cwd]"),
    ({"/process/terminal": "yes"}, 'expected true or false, found the string "yes" [config.json#/process/terminal]'),
    (
        {"/process/user/uid": "root"},
        ('expected an integer from 0 to 4294967294, found the string "root" [config.json#/process/user/uid]'),
    ),
    (
        {"/process/user/uid": -1},
        ("expected an integer from 0 to 4294967294, found the number -1 [config.json#/process/user/uid]"),
    ),
    (
        {"/process/user/uid": 4294967295},
        ("expected an integer from 0 to 4294967294, found the number 4294967295 [config.json#/process/user/uid]"),
    ),
    (
        {"/process/user/uid": 1.0},
        ("expected an integer from 0 to 4294967294, found the number 1.0 [config.json#/process/user/uid]"),
    ),
    (
        {"/process/user/uid": True},
        ("expected an integer from 0 to 4294967294, found true [config.json#/process/user/uid]"),
    ),
    ({"/mounts/0": None}, "expected an object, found null [config.json#/mounts/0]"),
    (
        {"/linux/rootfsPropagation": "x"},
        (
            'expected one of "", "private", "rprivate", "shared", "rshared", "slave", "rslave", '
            '"unbindable", "runbindable", found the string "x" [config.json#/linux/rootfsPropagation]'
        ),
    ),
    (
        {"/linux/seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]}},
        ("expected a list that is not empty, found the list [] [config.json#/linux/seccomp/syscalls/0/names]"),
    ),
    (
        {"/linux/resources/hugepageLimits": [{"pageSize": "64kB", "limit": 1}]},
        (
            'expected a page size such as 64KB, 2MB or 1GB, found the string "64kB" '
            "[config.json#/linux/resources/hugepageLimits/0/pageSize]"
        ),
    ),
    ({"/linux/sysctl": {"net/a~b": 1}}, "expected a string, found the number 1 [config.json#/linux/sysctl/net~1a~0b]"),
    (
        {"/hostname": {"x": "y" * 99}},
        (f'expected a string, found the object {{"x":"{"y" * 42}... [config.json#/hostname]'),
    ),
]


@pytest.mark.parametrize("changes, line", BAD, ids=names(BAD))
def test_refused(changes: Changes, line: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(patched(changes))
    assert str(caught.value) == line


def test_the_outermost_error_is_told_first_and_then_the_order_of_the_document() -> None:
    config = patched({"/process/user/uid": -1, "/process/args/0": 1, "/mounts/3/type": 1, "/linux/namespaces": {}})
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(config)
    assert str(caught.value) == "expected a list, found the object {} [config.json#/linux/namespaces]; and 3 more"
    config["linux"]["namespaces"] = []
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(config)
    assert str(caught.value).startswith("expected an integer from 0 to 4294967294, found the number -1")


def test_a_whole_document_of_another_kind() -> None:
    with pytest.raises(InvalidConfig) as caught:
        spec.validate([])  # type: ignore[arg-type]
    assert str(caught.value) == "expected an object, found the list [] [config.json#]"


def test_a_deeply_nested_value_has_a_line_too() -> None:
    value: Any = []
    for _ in range(100000):
        value = [value]
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(patched({"/hostname": 1}) | {"hostname": value})
    assert str(caught.value) == "the document violates the schema: a value is nested too deeply [config.json#]"


def test_without_jsonschema_there_is_still_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "jsonschema":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(patched({"/hostname": 1}))
    line = str(caught.value)
    assert "violates the schema" in line and "jsonschema" in line and "\n" not in line


def test_without_the_schema_there_is_still_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise FileNotFoundError(2, "No such file or directory", "config.schema.json")

    monkeypatch.setattr(schema, "schema", missing)
    with pytest.raises(Failure) as caught:
        spec.validate(patched({"/hostname": 1}))
    assert "violates the schema" in str(caught.value) and "config.schema.json" in str(caught.value)


def test_good_documents_are_not_explained() -> None:
    schema.explain(json.loads('{"ociVersion": "1.0.0", "root": {"path": "x"}}'), "config")


def test_there_is_one_schema() -> None:
    """A build copies it; a copy in the source tree would grow old unseen."""
    beside = REPO / "pyruntime/spec/config.schema.json"
    assert beside.is_symlink() and beside.resolve() == (REPO / "specs/config.schema.json").resolve()
