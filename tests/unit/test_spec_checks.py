"""The spec's rules about process, hooks and mounts: one bad document for each check, with the line that people read."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.spec_documents import DROP, MAP, Changes, base, mount, names, patched, without

from pyruntime import spec
from pyruntime.errors import InvalidConfig
from pyruntime.spec import checks

DATA = Path(__file__).parents[1] / "data"

BAD: list[tuple[Changes, str, str]] = [
    ({"/ociVersion": "2.0.0"}, 'ociVersion "2.0.0" is not supported; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": "1.4.0"}, 'ociVersion "1.4.0" is not supported; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": "0.9.0"}, 'ociVersion "0.9.0" is not supported; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": ""}, 'ociVersion "" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": "1.0"}, 'ociVersion "1.0" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": "1.0.x"}, 'ociVersion "1.0.x" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": "v1.0.0"}, 'ociVersion "v1.0.0" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": "01.0.0"}, 'ociVersion "01.0.0" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/ociVersion": "1.0.0-"}, 'ociVersion "1.0.0-" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    (
        {"/ociVersion": "1.0.0-rc..1"},
        'ociVersion "1.0.0-rc..1" is not a version; supported are 1.0.0 to 1.3.0',
        "/ociVersion",
    ),
    (
        {"/ociVersion": "1.0.0-01"},
        'ociVersion "1.0.0-01" is not a version; supported are 1.0.0 to 1.3.0',
        "/ociVersion",
    ),
    ({"/ociVersion": "1.0.0+"}, 'ociVersion "1.0.0+" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    (
        {"/ociVersion": "1.0.0+a_b"},
        'ociVersion "1.0.0+a_b" is not a version; supported are 1.0.0 to 1.3.0',
        "/ociVersion",
    ),
    ({"/ociVersion": "1.0.\u0662"}, 'ociVersion "1.0.٢" is not a version; supported are 1.0.0 to 1.3.0', "/ociVersion"),
    ({"/annotations": {"": "x"}}, "the key of an annotation is empty", "/annotations/"),
    ({"/process/cwd": "tmp"}, '"tmp" is not an absolute path', "/process/cwd"),
    ({"/process/cwd": ""}, '"" is not an absolute path', "/process/cwd"),
    ({"/process/args": []}, "args is missing or empty: there is no program to run", "/process/args"),
    ({"/process/args": DROP}, "args is missing or empty: there is no program to run", "/process/args"),
    ({"/process/env/0": "SECRET"}, "the environment entry has no =", "/process/env/0"),
    ({"/process/env/1": "=x"}, "the environment entry has no name before the =", "/process/env/1"),
    ({"/process/env/1": ""}, "the environment entry has no =", "/process/env/1"),
    (
        {"/process/rlimits/-": {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}},
        "RLIMIT_NOFILE is listed twice",
        "/process/rlimits/1/type",
    ),
    ({"/process/rlimits/0/soft": 1025}, "RLIMIT_NOFILE: soft 1025 is above hard 1024", "/process/rlimits/0/soft"),
    (
        {"/process/consoleSize": {"height": 65536, "width": 1}},
        "height 65536 is above 65535",
        "/process/consoleSize/height",
    ),
    ({"/process/scheduler": {"policy": "SCHED_ISO"}}, "no kernel has SCHED_ISO", "/process/scheduler/policy"),
    (
        {"/process/scheduler": {"policy": "SCHED_OTHER", "nice": 20}},
        "nice 20 is not in -20..19",
        "/process/scheduler/nice",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_OTHER", "nice": -21}},
        "nice -21 is not in -20..19",
        "/process/scheduler/nice",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_BATCH", "priority": 1}},
        "priority 1 goes with SCHED_FIFO and SCHED_RR, not with SCHED_BATCH",
        "/process/scheduler/priority",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_FIFO"}},
        "priority 0 of SCHED_FIFO is not in 1..99",
        "/process/scheduler/priority",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_RR", "priority": 100}},
        "priority 100 of SCHED_RR is not in 1..99",
        "/process/scheduler/priority",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_RR", "priority": 5, "deadline": 7}},
        "deadline 7 goes with SCHED_DEADLINE, not with SCHED_RR",
        "/process/scheduler/deadline",
    ),
    (
        {"/process/execCPUAffinity": {"initial": "3-1"}},
        '"3-1" is not a list of numbers like 0-3,7',
        "/process/execCPUAffinity/initial",
    ),
    (
        {"/process/execCPUAffinity": {"final": "1,"}},
        '"1," is not a list of numbers like 0-3,7',
        "/process/execCPUAffinity/final",
    ),
    (
        {"/process/execCPUAffinity": {"final": "0-99999999"}},
        '"0-99999999" is not a list of numbers like 0-3,7',
        "/process/execCPUAffinity/final",
    ),
    ({"/hooks": {"prestart": [{"path": "bin/hook"}]}}, '"bin/hook" is not an absolute path', "/hooks/prestart/0/path"),
    (
        {"/hooks": {"poststop": [{"path": "/a"}, {"path": "./b"}]}},
        '"./b" is not an absolute path',
        "/hooks/poststop/1/path",
    ),
    (mount("/proc/sys"), 'nothing can be mounted on "/proc/sys", below /proc', "/mounts/0/destination"),
    (
        mount("/proc/sys/kernel/../../../proc/1"),
        'nothing can be mounted on "/proc/sys/kernel/../../../proc/1", below /proc',
        "/mounts/0/destination",
    ),
    (mount("proc/self"), 'nothing can be mounted on "proc/self", below /proc', "/mounts/0/destination"),
    (mount("//proc/./self/"), 'nothing can be mounted on "//proc/./self/", below /proc', "/mounts/0/destination"),
    (mount("/proc"), 'only procfs can be mounted on "/proc", not "tmpfs"', "/mounts/0/destination"),
    (
        mount("/x/../proc/", "sysfs"),
        'only procfs can be mounted on "/x/../proc/", not "sysfs"',
        "/mounts/0/destination",
    ),
    (mount("/data", "none", "bind", uidMappings=[MAP]), "uidMappings without gidMappings", "/mounts/0/uidMappings"),
    (mount("/data", "none", "bind", gidMappings=[MAP]), "gidMappings without uidMappings", "/mounts/0/gidMappings"),
    (
        mount("/data", "none", "bind", uidMappings=[MAP], gidMappings=[{**MAP, "size": 0}]),
        "size 0 maps nothing",
        "/mounts/0/gidMappings/0/size",
    ),
    (
        {**without("user"), **mount("/data", "none", "rbind", "ridmap")},
        '"ridmap" without uidMappings and gidMappings needs a user namespace',
        "/mounts/0/options/1",
    ),
    (mount("/data", "tmpfs", uidMappings=[MAP], gidMappings=[MAP]), "only bind mounts can be idmapped", "/mounts/0"),
    (mount("/data", "tmpfs", "idmap"), "only bind mounts can be idmapped", "/mounts/0"),
    (
        {"/linux/maskedPaths": ["/x/.."]},
        "maskedPaths can't cover the root itself; root.readonly makes it read-only",
        "/linux/maskedPaths/0",
    ),
]
"""Changes -> what the line says, and the pointer."""

GOOD: list[Changes] = [
    *(
        {"/ociVersion": version}
        for version in ("1.0.0", "1.0.2-dev", "1.0.0-rc.5.x-1", "1.2.1", "1.3.9", "1.3.0+dev.01")
    ),
    {"/process": DROP},
    {"/process": None},
    {"/process/env": None, "/process/rlimits": None, "/process/capabilities": None},
    {"/process/env/0": "A=B=C", "/process/env/1": "A="},
    {"/process/capabilities/bounding": ["CAP_NO_SUCH", "chown"]},
    {"/process/rlimits/0": {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}},
    {"/process/terminal": False, "/process/consoleSize": {"height": 65536, "width": 1}},
    {"/process/scheduler": {"policy": "SCHED_FIFO", "priority": 99, "nice": -20}},
    {"/process/scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 2}},
    {"/process/execCPUAffinity": {"initial": "0-3, 7", "final": ""}},
    {"/hooks": {"prestart": None, "poststop": [{"path": "/x", "timeout": 1}], "x-unknown": 1}},
    mount("/proc", "proc"),
    mount("/proc", "bind"),
    mount("/proc", "none", "rbind"),
    mount("/proc", "", "remount", "ro"),
    mount("/proc/cpuinfo", "bind", "bind"),
    mount("/proc/sys/../net/dev", "bind", "bind"),
    mount("/processes"),
    mount("/x/proc/y"),
    mount("/data", "none", "bind", "idmap", uidMappings=[MAP], gidMappings=[MAP]),
    mount("/data", "none", "bind", "idmap"),
    {"/annotations": {"org.opencontainers.unknown": "", "a": "\0"}},
    {"/x-unknown": {"y": None}, "/linux/x-unknown": "z"},
]


@pytest.mark.parametrize("changes, words, pointer", BAD, ids=names(BAD))
def test_refused(changes: Changes, words: str, pointer: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(patched(changes))
    assert str(caught.value) == f"{words} [config.json#{pointer}]"


@pytest.mark.parametrize("changes", GOOD, ids=names(GOOD))
def test_accepted(changes: Changes) -> None:
    assert spec.validate(patched(changes)) == []


def test_the_base_is_good() -> None:
    """Else the bad documents could fail for another reason."""
    assert spec.validate(base()) == []


def test_a_relative_destination_is_a_warning() -> None:
    assert spec.validate(patched(mount("data/../x"))) == [
        'the mount destination "data/../x" is relative, which is deprecated; it is taken as /x '
        "[config.json#/mounts/0/destination]"
    ]


def test_the_value_of_the_environment_is_not_told() -> None:
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(patched({"/process/env/0": "PASSWORD"}))
    assert "PASSWORD" not in str(caught.value)


@pytest.mark.parametrize("path", sorted(DATA.glob("configs/*.json")), ids=lambda path: path.stem)
def test_configs_of_engines(path: Path) -> None:
    config = json.loads(path.read_text())
    if path.stem.endswith("sandbox-host"):
        # Its pod had a host name and the host's uts namespace, which runc refuses as well.
        with pytest.raises(InvalidConfig, match='hostname "podh" needs a uts namespace'):
            spec.validate(config)
        del config["hostname"]
    assert spec.validate(config) == []


@pytest.mark.parametrize("name", ["minimal", "minimal-for-start", "linux-rdma", "spec-example"])
def test_documents_of_the_spec(name: str) -> None:
    document = json.loads((DATA / f"oci-schema/good/{name}.json").read_text())
    if name == "spec-example":
        assert document["ociVersion"] == "0.5.0-dev"
        document["ociVersion"] = "1.0.0"
    assert spec.validate(document) == []


def test_checks_are_listed() -> None:
    """A function that is written and forgotten in the list checks nothing."""
    written = {name for name in vars(checks) if name.startswith("check_")} - {"check_process"}
    assert written == {
        one.__name__ for one in (*checks.CHECKS, *checks.PROCESS_CHECKS) if one.__module__ == checks.__name__
    }


class TestOtherDocuments:
    def test_process(self) -> None:
        spec.validate_process({"cwd": "/", "args": ["sh"]})
        with pytest.raises(InvalidConfig) as caught:
            spec.validate_process({"cwd": "tmp", "args": ["sh"]}, "p.json")
        assert str(caught.value) == '"tmp" is not an absolute path [p.json#/cwd]'

    def test_process_of_another_form(self) -> None:
        process: dict[str, Any] = {"args": ["sh", 1]}
        with pytest.raises(InvalidConfig) as caught:
            spec.validate_process(process, "p.json")
        assert str(caught.value) == "the property cwd is missing [p.json#/cwd]; and 1 more"

    def test_resources(self) -> None:
        spec.validate_resources({"memory": {"limit": -1}, "cpu": None})
        with pytest.raises(InvalidConfig) as caught:
            spec.validate_resources({"cpu": {"quota": 1, "burst": 2}})
        assert str(caught.value) == "burst 2 is above quota 1 [resources#/cpu/burst]"
        with pytest.raises(InvalidConfig) as caught:
            spec.validate_resources({"memory": {"disableOOMKiller": 1}})
        assert str(caught.value) == ("expected true or false, found the number 1 [resources#/memory/disableOOMKiller]")
