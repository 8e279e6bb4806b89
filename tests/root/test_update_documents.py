"""`update --resources` with what engines and people send: rules with odd letters, limits on devices that are gone."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime

GONE = {"major": 250, "minor": 99999}


@pytest.fixture
def box(container: Make, bundle: Bundle) -> Container:
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return container()


def update(box: Container, document: dict[str, Any], workdir: Path) -> str:
    """Return what the log says of an update that must succeed."""
    (workdir / "r.json").write_text(json.dumps(document))
    log = workdir / "log"
    result = Runtime(box.runtime.root, options=["--log", str(log)]).run("update", "-r", workdir / "r.json", box.id)
    assert (result.status, result.stdout) == (0, ""), result
    return log.read_text() if log.exists() else ""


def test_other_letters(box: Container, workdir: Path) -> None:
    """What they come to is in tests/unit/test_update_command.py."""
    log = update(box, {"devices": [{"allow": True, "access": "rwa"}]}, workdir)
    assert "/devices/0/access: 'rwa' has letters other than r, w and m" in log
    assert box.sh("cat /dev/null; echo fine") == "fine"


@pytest.mark.parametrize(
    "name",
    [
        "weightDevice",
        "throttleReadBpsDevice",
        "throttleWriteBpsDevice",
        "throttleReadIOPSDevice",
        "throttleWriteIOPSDevice",
    ],
)
def test_a_device_that_is_gone(box: Container, workdir: Path, name: str) -> None:
    value = {"weight": 100} if name == "weightDevice" else {"rate": 1000}
    log = update(box, {"blockIO": {name: [{**GONE, **value}]}}, workdir)
    assert f"/blockIO/{name}: there is no block device 250:99999; its limit is ignored" in log


def test_nothing_of_another_form_is_forgiven(box: Container, workdir: Path) -> None:
    for document in ({"devices": [{"allow": True, "access": 5}]}, {"devices": 1}, {"blockIO": {"weightDevice": [1]}}):
        (workdir / "r.json").write_text(json.dumps(document))
        assert "expected " in box.runtime.fails("update", "-r", workdir / "r.json", box.id)
