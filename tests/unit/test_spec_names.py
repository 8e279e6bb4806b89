"""Properties that differ from the spec's names by their case only: ignored, and told of."""

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from support.spec_documents import base, patched

from pyruntime import spec
from pyruntime.errors import InvalidConfig
from pyruntime.spec import names, schema

CONFIGS = sorted((Path(__file__).parents[1] / "data" / "configs").glob("*.json"))


@pytest.mark.parametrize(
    ("pointer", "meant"),
    [
        ("/Hostname", "hostname"),
        ("/HOSTNAME", "hostname"),
        ("/Process", "process"),
        ("/process/oomscoreadj", "oomScoreAdj"),
        ("/process/NoNewPrivileges", "noNewPrivileges"),
        ("/process/user/UID", "uid"),
        ("/process/user/additionalGIDs", "additionalGids"),
        ("/process/capabilities/Bounding", "bounding"),
        ("/root/readOnly", "readonly"),
        ("/mounts/1/Options", "options"),
        ("/hooks/preStart", "prestart"),
        ("/linux/cgroupsPATH", "cgroupsPath"),
        ("/linux/maskedpaths", "maskedPaths"),
        ("/linux/namespaces/0/Path", "path"),
        ("/linux/resources/blockio", "blockIO"),
        ("/linux/resources/memory/Limit", "limit"),
        ("/linux/resources/cpu/Shares", "shares"),
        ("/linux/timeOffsets/monotonic/Secs", "secs"),
        ("/linux/netDevices/eth0/Name", "name"),
        ("/linux/seccomp/Syscalls", "syscalls"),
    ],
)
def test_told(pointer: str, meant: str) -> None:
    config = base()
    config.setdefault("hooks", {})
    config["linux"].update(
        timeOffsets={"monotonic": {"secs": 1}},
        netDevices={"eth0": {}},
        resources={"memory": {}, "cpu": {}},
        seccomp={"defaultAction": "SCMP_ACT_ALLOW"},
    )
    way, key = pointer.rsplit("/", 1)
    folder: Any = config
    for part in way.split("/")[1:]:
        folder = folder[int(part)] if isinstance(folder, list) else folder[part]
    folder[key] = "x"
    assert spec.validate(config) == [
        f"config.json#{pointer} is ignored: there is no such property; did you mean {meant}?"
    ]


@pytest.mark.parametrize(
    "pointer",
    ["/x-unknown", "/process/x", "/annotations/Hostname", "/linux/sysctl/Kernel.domainname", "/linux/hostnames"],
)
def test_other_names_are_no_matter(pointer: str) -> None:
    assert names.near_misses(patched({pointer: "x"})) == []


def test_a_missing_property_that_is_there_in_another_case() -> None:
    config = base()
    config["process"]["Cwd"] = config["process"].pop("cwd")
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(config)
    words = 'the property cwd is missing; "Cwd" is another property: did you mean "cwd"? [config.json#/process/cwd]'
    assert str(caught.value) == words


def test_documents_of_exec_and_update() -> None:
    assert spec.validate_process({"cwd": "/", "args": ["x"], "ENV": []}, "p.json")[0].startswith("p.json#/ENV is")
    assert spec.validate_resources({"Memory": {}})[0].startswith("resources#/Memory is")


def test_a_nested_document() -> None:
    nested: Any = {}
    for _ in range(50000):
        nested = {"linux": nested}
    assert names.near_misses({**base(), "x": 1, "process": {"process": nested}}) == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_of_engines(path: Path) -> None:
    """None is warned of; one property of another case is, wherever it stands."""
    config = json.loads(path.read_text())
    assert names.near_misses(config) == []
    chance = random.Random(path.name)
    for _ in range(50):
        changed = deepcopy(config)
        _, members = chance.choice([(at, found) for at, found in names.objects(changed) if found])
        key = chance.choice(list(members))
        members[key.upper()] = members.pop(key)
        assert [key in warning for warning in names.near_misses(changed)] == [True]


def test_the_schema_in_which_null_is_absent_is_a_schema() -> None:
    from jsonschema import Draft4Validator

    for kind in schema.DEFINITIONS:
        Draft4Validator.check_schema(schema.validator(kind).schema)
