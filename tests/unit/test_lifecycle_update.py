"""update: all or nothing, on files of a directory in place of the cgroup, and in the container's saved resources."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.containers import World

from pyruntime.container import cgroup
from pyruntime.container.store import Container
from pyruntime.engine import calls
from pyruntime.errors import Failure, InvalidConfig
from pyruntime.host import probe
from pyruntime.lifecycle import update

CONFIG = json.dumps({"ociVersion": "1.2.0", "linux": {"resources": {"pids": {"limit": 5}}}}).encode()


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(
        cgroup, "owned", lambda record: cgroup.of(record) if Path(cgroup.of(record).path).exists() else None
    )
    world.mount.mkdir()
    (world.mount / "cgroup.controllers").write_text("cpu memory pids\n")
    (world.mount / "cgroup.subtree_control").write_text("cpu memory pids\n")
    for name, text in {"pids.max": "5", "memory.max": "max", "memory.current": "4096", "cpu.weight": "100"}.items():
        world.file("c", name, f"{text}\n")
    return world


def saved(world: World) -> dict[str, Any]:
    with world.store.open("c", lock=False) as container:
        return container.resources()


@pytest.mark.parametrize("status", ["created", "running", "paused"])
def test_all(world: World, status: str, warnings: list[str]) -> None:
    world.add(status, config=CONFIG)
    update.update(world.root, "c", {"pids": {"limit": 9}, "memory": {"limit": 8192}})
    assert (world.read("c", "pids.max").strip(), world.read("c", "memory.max")) == ("9", "8192")
    assert saved(world) == {"pids": {"limit": 9}, "memory": {"limit": 8192}} and warnings == []


def test_nothing_when_a_change_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before goes back."""
    written: list[tuple[str, str]] = []

    def write_at(_: int, name: str, text: str) -> None:
        written.append((name, text.strip()))
        if name == "memory.max":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    world.add("running", config=CONFIG)
    monkeypatch.setattr(calls, "write_at", write_at, raising=False)
    with pytest.raises(Failure, match=r"memory\.max.*EBUSY.*\[config\.json#/linux/resources/memory/limit\]"):
        update.update(world.root, "c", {"pids": {"limit": 9}, "memory": {"limit": 8192}})
    assert written == [("pids.max", "9"), ("memory.max", "8192"), ("pids.max", "5")]
    assert saved(world) == {"pids": {"limit": 5}}


def test_nothing_when_it_can_not_be_saved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.add("running", config=CONFIG)
    monkeypatch.setattr(Container, "save_resources", fail)
    with pytest.raises(Failure) as raised:
        update.update(world.root, "c", {"pids": {"limit": 9}})
    assert str(raised.value) == f"write {world.root}/c/resources.json: no space left on device (ENOSPC)"
    assert world.read("c", "pids.max").strip() == "5"


@pytest.mark.parametrize("call", [update.update, update.planned])
def test_stopped(world: World, call: Any) -> None:
    world.add("stopped", config=CONFIG)
    with pytest.raises(Failure) as raised:
        call(world.root, "c", {"pids": {"limit": 9}})
    assert str(raised.value) == 'cannot update container "c": container not running (it is stopped)'


def test_the_cgroup_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add("running", config=CONFIG)
    monkeypatch.setattr(cgroup, "owned", lambda _: None)
    with pytest.raises(Failure) as raised:
        update.update(world.root, "c", {"pids": {"limit": 9}})
    assert str(raised.value) == 'cannot update container "c": its cgroup is gone'
    assert world.read("c", "pids.max") == "5\n"


def test_a_wrong_document(world: World) -> None:
    world.add("running", config=CONFIG)
    with pytest.raises(InvalidConfig, match="limit"):
        update.update(world.root, "c", {"pids": {"limit": "many"}})


def test_planned_changes_nothing(world: World) -> None:
    world.add("running", config=CONFIG)
    with world.store.open("c"):  # nor does it wait for the lock
        planned = update.planned(world.root, "c", {"pids": {"limit": 9}})
    assert len(planned.changes) == 1 and "pids.max" in planned.changes[0].step.describe()
    assert [step.describe() for step in planned.changes[0].undo] != []
    assert world.read("c", "pids.max") == "5\n" and "resources.json" not in os.listdir(f"{world.root}/c")


def test_a_limit_below_the_use_that_kills(world: World, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
    counts = iter([2, 3])
    world.add("running", config=CONFIG)
    monkeypatch.setattr(cgroup.Cgroup, "oom_kills", lambda _: next(counts))
    update.update(world.root, "c", {"memory": {"limit": 8192}})
    assert warnings == ['container "c": its memory was above the new limit, and the kernel killed processes in it']


def test_kills_that_can_not_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise OSError(errno.EMFILE, "no")

    monkeypatch.setattr(cgroup.Cgroup, "oom_kills", fail)
    assert update.kills_after(cgroup.Cgroup("/x"), 4) == 4


def test_controllers_are_enabled_first(world: World) -> None:
    (world.mount / "cgroup.subtree_control").write_text("memory\n")
    world.file("c", "cgroup.type", "domain\n")
    world.add("running", config=CONFIG)
    update.update(world.root, "c", {"pids": {"limit": 9}})
    assert (world.mount / "cgroup.subtree_control").read_text() == "+cpu +pids"
    assert world.read("c", "pids.max") == "9\n"


def test_limits_of_devices_that_are_gone(monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
    monkeypatch.setattr(probe, "lacks_block_device", lambda major, minor: (major, minor) == (8, 1))
    entries = [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 1, "rate": 1}, "x"]
    given: dict[str, Any] = {"blockIO": {"throttleReadBpsDevice": list(entries), "weight": 10}}
    update.forgive(given)
    assert given == {"blockIO": {"throttleReadBpsDevice": [entries[0], "x"], "weight": 10}}
    assert warnings == ["/blockIO/throttleReadBpsDevice: there is no block device 8:1; its limit is ignored"]
