"""The fuzz of configs itself: the same cases from the same seed, and a guard that nothing passes."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fuzz import cases, edits, guard
from support.fuzz.edits import value_at

UP = "../" * 20
FOLDER = f"{tempfile.gettempdir()}/fuzz-guard-{os.getpid()}"
SH, SLOW = {"args": ["sh", "-c", "x"]}, {"args": ["sleep", "1000"]}


@pytest.fixture
def tame() -> Iterator[guard.Guard]:
    Path(FOLDER, "bundle/rootfs").mkdir(parents=True)
    yield guard.Guard(FOLDER, (4194300,))
    shutil.rmtree(FOLDER)


def test_a_seed_gives_the_same_cases() -> None:
    some = [cases.made("a", number).text() for number in range(40)]
    again = [cases.made("a", number).text() for number in reversed(range(40))]
    assert some == again[::-1]
    assert len(set(some)) > 35
    assert cases.made("b", 1).text() != cases.made("a", 1).text()


def test_a_case_is_repeated_from_its_text_and_from_its_name() -> None:
    case = cases.made("a", 7)
    assert cases.parsed(case.text()).document() == case.document()
    assert cases.parsed("a:7").text() == case.text()


def test_a_base_is_left_as_it_is() -> None:
    before = json.dumps(cases.base_config("docker-plain"))
    for number in range(60):
        cases.made("c", number).document()
    assert json.dumps(cases.base_config("docker-plain")) == before


@pytest.mark.parametrize(
    "edit, wanted",
    [
        (["set", "/a/b", 5], {"a": {"b": 5}, "l": [1, 2]}),
        (["set", "/l/1", 5], {"a": {}, "l": [1, 5]}),
        (["add", "/l/0", 5], {"a": {}, "l": [5, 1, 2]}),
        (["add", "/l/-", 5], {"a": {}, "l": [1, 2, 5]}),
        (["add", "/l", 5], {"a": {}, "l": [1, 2, 5]}),
        (["drop", "/l/0"], {"a": {}, "l": [2]}),
        (["drop", "/l/7"], {"a": {}, "l": [1, 2]}),
        (["drop", "/x/y"], {"a": {}, "l": [1, 2], "x": {}}),
        (["set", "/l/x/y", 5], {"a": {}, "l": [1, 2]}),
    ],
    ids=str,
)
def test_edits(edit: list[Any], wanted: Any) -> None:
    assert edits.applied({"a": {}, "l": [1, 2]}, [edit]) == wanted


def test_text_that_is_no_json_of_pythons() -> None:
    document: dict[str, Any] = {"a": edits.raw("NaN"), "b": "\udcff", "c": edits.raw('"\\ud800"'), "d": {"e": 1}}
    edits.apply(document, ["twice", "/d/e"])
    assert edits.encoded(document) == b'{"a": NaN, "b": "\xff", "c": "\\ud800", "d": {"e": 1, "e": 1}}'


@pytest.mark.parametrize(
    "pointer, value, wanted",
    [
        ("/root/path", "/", "rootfs"),
        ("/root/path", "/etc", "rootfs"),
        ("/root/path", f"{UP}etc", "rootfs"),
        ("/mounts/0/source", "/etc", f"{FOLDER}/data/dir"),
        ("/mounts/0/source", f"{UP}etc", f"{FOLDER}/data/dir"),
        ("/mounts/0/source", f"{FOLDER}/{UP}etc", f"{FOLDER}/data/dir"),
        ("/mounts/0/source", "/proc/sys", f"{FOLDER}/data/dir"),
        ("/mounts/0/source", "/dev/shm/..", f"{FOLDER}/data/dir"),
        ("/mounts/0/type", "debugfs", "tmpfs"),
        ("/mounts/0/options/0", "lowerdir=/etc", f"lowerdir={FOLDER}/data/dir"),
        ("/mounts/0/options/0", f"ro,upperdir={FOLDER}:/etc", f"lowerdir={FOLDER}/data/dir"),
        ("/hooks/poststop/0/path", "/usr/bin/env", "/bin/true"),
        ("/hooks/poststop/0", {"path": "/bin/sh", **SH}, {"path": "/bin/true", **SH}),
        ("/hooks/poststop/0", {"path": "/bin/sleep", **SLOW}, {"path": "/bin/true", **SLOW}),
        ("/process/args", ["reboot"], ["/bin/sleep", "1000"]),
        ("/process/args", ["sh", "-c", "x"], ["/bin/sleep", "1000"]),
        ("/annotations/run.oci.hooks.stdout", "/etc/passwd", f"{FOLDER}/out"),
        ("/linux/namespaces/0/path", "/proc/1/ns/mnt", "/nowhere"),
        ("/linux/namespaces/0/path", "/proc/self/ns/../../1/ns/mnt", "/nowhere"),
        ("/linux/cgroupsPath", "/", "/fuzz/box"),
        ("/linux/cgroupsPath", "/fuzz/..", "/fuzz/box"),
        ("/linux/cgroupsPath", "/fuzz/../pods", "/fuzz/box"),
        ("/linux/sysctl/kernel.pid_max", "301", Path("/proc/sys/kernel/pid_max").read_text().strip()),
        ("/linux/sysctl/net~1..~1kernel~1pid_max", "301", Path("/proc/sys/kernel/pid_max").read_text().strip()),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_dangerous_does_not_pass(tame: guard.Guard, pointer: str, value: Any, wanted: Any) -> None:
    config: dict[str, Any] = {
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": [""]}],
        "hooks": {"poststop": [{"path": "/bin/true"}]},
        "process": {"args": ["true"]},
        "linux": {"namespaces": [{"type": "mount"}]},
    }
    assert edits.apply(config, ["set", pointer, value])
    tame.types = frozenset({"debugfs"})
    tame.tame(config)
    assert value_at(config, pointer) == wanted
    once = json.dumps(config)
    assert json.dumps(tame.tame(config)) == once


def test_what_is_harmless_passes(tame: guard.Guard) -> None:
    for name in cases.base_names():
        config = edits.replaced(cases.base_config(name), {"@CASE@": FOLDER, "@POD@": "4194300"})
        before = json.dumps(config)
        assert json.dumps(tame.tame(config)) == before, name


def test_the_guard_takes_documents_of_any_form(tame: guard.Guard) -> None:
    for number in range(300):
        config = edits.replaced(cases.made("d", number).document(), {"@CASE@": FOLDER, "@POD@": "4194300"})
        once = json.dumps(tame.tame(config))
        assert json.dumps(tame.tame(json.loads(once))) == once
