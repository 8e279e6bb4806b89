"""Cgroups on the way to containers': made by the first, taken away by the last, whoever that is."""

import subprocess
from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, says

ROOT = Path(session.CGROUP_ROOT)


@pytest.fixture
def boxes(container: Make, bundle: Bundle) -> tuple[str, list[Container]]:
    """Three containers below cgroups that the first of them has made."""
    top = session.TOKEN + "-shared"
    found = []
    for name in "abc":
        bundle.linux["cgroupsPath"] = f"/{top}/between/{name}"
        found.append(container())
    return top, found


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_the_last_one_takes_them_away(boxes: tuple[str, list[Container]], order: str) -> None:
    top, found = boxes
    for name in order[:2]:
        found["abc".index(name)].delete("--force")
        assert (ROOT / top / "between").is_dir(), "another container is still there"
    found["abc".index(order[2])].delete("--force")
    assert not (ROOT / top).exists()


def test_deletes_that_overlap(boxes: tuple[str, list[Container]]) -> None:
    top, found = boxes
    deletes = [subprocess.Popen(box.runtime.command("delete", "--force", box.id)) for box in found]
    assert [delete.wait(20) for delete in deletes] == [0, 0, 0]
    assert not (ROOT / top).exists()


def test_what_somebody_else_made_stays(container: Make, bundle: Bundle) -> None:
    top = ROOT / f"{session.TOKEN}-engine"
    (top / "slice").mkdir(parents=True)
    try:
        bundle.linux["cgroupsPath"] = f"/{top.name}/slice/made/a"
        box = container()
        box.delete("--force")
        assert not (top / "slice/made").exists()
        assert (top / "slice").is_dir(), "it is somebody else's, although it is empty"
    finally:
        for path in (top / "slice", top):
            if path.exists():
                path.rmdir()


@pytest.mark.parametrize("name", ["..", ".", "a/b", ""])
@pytest.mark.parametrize("command", ["run", "create", "explain"])
def test_an_id_that_is_none_is_what_is_wrong(runtime: Runtime, bundle: Bundle, command: str, name: str) -> None:
    error = runtime.fails(command, "-b", bundle.save(), name)
    says(error, "container id cannot be empty" if not name else f"invalid container ID format: '{name}'")
    assert "cgroupsPath" not in error
