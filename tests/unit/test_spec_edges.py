"""The last value that a rule takes and the first that it refuses, and each member of the lists that rules go by."""

import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.spec_documents import DROP, MAP, Changes, mount, names, patched, without

from pyruntime import spec
from pyruntime.errors import InvalidConfig
from pyruntime.spec import checks, jsontext, linux, options, schema
from pyruntime.spec import names as near

if TYPE_CHECKING:
    from pyruntime.spec._config import Config

IPC = (
    *("auto_msgmni", "msg_next_id", "msgmax", "msgmnb", "msgmni", "sem", "sem_next_id"),
    *("shm_next_id", "shm_rmid_forced", "shmall", "shmmax", "shmmni"),
)
PROC_FILES = (
    *("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime"),
    *("sys/crypto/fips_enabled", "sys/kernel/ns_last_pid"),
)
NODES = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY")
SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW"}


def refused(changes: Changes) -> str:
    with pytest.raises(InvalidConfig) as caught:
        spec.validate(patched(changes))
    return str(caught.value)


BAD: list[tuple[Changes, str]] = [
    (
        {"/process/terminal": True, "/process/consoleSize": {"height": 1, "width": 65536}},
        "width 65536 is above 65535 [config.json#/process/consoleSize/width]",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_OTHER", "runtime": 1}},
        "runtime 1 goes with SCHED_DEADLINE, not with SCHED_OTHER [config.json#/process/scheduler/runtime]",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_OTHER", "period": 1}},
        "period 1 goes with SCHED_DEADLINE, not with SCHED_OTHER [config.json#/process/scheduler/period]",
    ),
    (
        {"/process/scheduler": {"policy": "SCHED_RR", "priority": 0}},
        "priority 0 of SCHED_RR is not in 1..99 [config.json#/process/scheduler/priority]",
    ),
    (
        {"/process/execCPUAffinity": {"initial": "65536"}},
        '"65536" is not a list of numbers like 0-3,7 [config.json#/process/execCPUAffinity/initial]',
    ),
    (
        {"/process/execCPUAffinity": {"final": "1-"}},
        '"1-" is not a list of numbers like 0-3,7 [config.json#/process/execCPUAffinity/final]',
    ),
    (
        {"/process/execCPUAffinity": {"final": "0000001"}},
        '"0000001" is not a list of numbers like 0-3,7 [config.json#/process/execCPUAffinity/final]',
    ),
    (
        {**without("user"), **mount("/data", "none", "bind", "idmap=")},
        '"idmap" without uidMappings and gidMappings needs a user namespace [config.json#/mounts/0/options/1]',
    ),
    (mount("/proc", ""), 'only procfs can be mounted on "/proc", not "" [config.json#/mounts/0/destination]'),
    (
        {"/linux/devices": [{"path": "/d", "type": "c", "major": -1, "minor": 0}]},
        "major number -1 is not in 0..4095 [config.json#/linux/devices/0/major]",
    ),
    (
        {"/linux/devices": [{"path": "/d", "type": kind, "major": 1, "minor": 1} for kind in "bc"]},
        'another device is at "/d" already [config.json#/linux/devices/1/path]',
    ),
    *(
        (
            {"/linux/netDevices": {name: {}}},
            f'"{name}" is not the name of a network device [config.json#/linux/netDevices/{name}]',
        )
        for name in (".", "..", "a:b", "é" * 8)
    ),
    *(
        (
            {"/linux/resources/rdma": {name: {"hcaHandles": 1}}},
            f'"{name}" is not the name of a device [config.json#/linux/resources/rdma/{name}]',
        )
        for name in ("", "a b")
    ),
    *(
        (
            {"/linux/resources/unified": {name: "1"}},
            f'"{name}" is not a file of a cgroup [config.json#/linux/resources/unified/{name}]',
        )
        for name in (".", "..")
    ),
    (
        {"/linux/resources/unified": {"cgroup.freeze": "1"}},
        '"cgroup.freeze" is a core file of the cgroup, not the limit of a controller '
        "[config.json#/linux/resources/unified/cgroup.freeze]",
    ),
    (
        {"/linux/resources/devices": [{"allow": True, "access": "r"}, {"allow": True, "access": ""}]},
        "access is empty: use r, w or m [config.json#/linux/resources/devices/1/access]",
    ),
    (
        {"/linux/seccomp": {**SECCOMP, "listenerPath": "", "listenerMetadata": "x"}},
        "listenerMetadata without listenerPath [config.json#/linux/seccomp/listenerMetadata]",
    ),
    *(
        ({"/linux/memoryPolicy": {"mode": mode}}, f"{mode} needs nodes [config.json#/linux/memoryPolicy/nodes]")
        for mode in NODES
    ),
    *(
        (
            {"/linux/memoryPolicy": {"mode": mode, "nodes": "0"}},
            f'{mode} takes no nodes, but there is "0" [config.json#/linux/memoryPolicy/nodes]',
        )
        for mode in ("MPOL_DEFAULT", "MPOL_LOCAL")
    ),
    (
        {"/linux/intelRdt": {"closID": "."}},
        '"." is not the name of a class, nor "/" [config.json#/linux/intelRdt/closID]',
    ),
    (
        {"/linux/sysctl": {"net/a/.": "1"}},
        '"net/a/." is not the name of a sysctl [config.json#/linux/sysctl/net~1a~1.]',
    ),
    (
        {"/linux/sysctl": {"network.x": "1"}},
        '"network.x" belongs to no namespace and would change the host [config.json#/linux/sysctl/network.x]',
    ),
    *(
        (
            {**without("ipc"), "/linux/sysctl": {f"kernel.{name}": "1"}},
            f'"kernel.{name}" needs a namespace of type ipc, or it would change the host '
            f"[config.json#/linux/sysctl/kernel.{name}]",
        )
        for name in IPC
    ),
    *(
        ({"/hooks": {point: [{"path": "x"}]}}, f'"x" is not an absolute path [config.json#/hooks/{point}/0/path]')
        for point in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    ),
]

GOOD: list[Changes] = [
    {"/process/terminal": True, "/process/consoleSize": {"height": 65535, "width": 65535}},
    {"/process/scheduler": {"policy": "SCHED_OTHER", "nice": 19, "priority": 0, "runtime": 0}},
    {"/process/scheduler": {"policy": "SCHED_RR", "priority": 1}},
    {"/process/scheduler": {"policy": "SCHED_FIFO", "priority": 99}},
    {"/process/scheduler": None},
    {"/process/rlimits/0": {"type": "RLIMIT_CORE", "soft": 5, "hard": 5}},
    {"/process/execCPUAffinity": {"initial": "65535", "final": "000003-3"}},
    mount("/data", "", "bind", "x-y,ridmap="),
    mount("/data", "none", "bind", "idmap", uidMappings=[MAP], gidMappings=[MAP]) | without(),
    *(mount(f"/proc/{name}", "bind", "bind") for name in PROC_FILES),
    {"/linux/devices": [{"path": "/d", "type": "c", "major": 0, "minor": 0}]},
    {"/linux/devices": [{"path": "/d", "type": "b", "major": 4095, "minor": 1048575}]},
    {"/linux/devices": [{"path": "/d", "type": kind, "major": 1, "minor": 1} for kind in "cu"]},
    {"/linux/uidMappings": [{"containerID": 2 * n, "hostID": 2 * n, "size": 1} for n in range(340)]},
    {"/linux/uidMappings": [{"containerID": 0, "hostID": 0, "size": 5}, {"containerID": 5, "hostID": 5, "size": 5}]},
    {"/linux/resources/rdma": {"a": {"hcaHandles": 1}, "b": {"hcaObjects": 1}}},
    {"/linux/resources/blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}},
    {"/linux/resources/blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}},
    {"/linux/resources/cpu": {"quota": 5, "burst": 5}},
    {"/linux/resources/cpu": {"quota": 0, "burst": 5}},
    {"/linux/resources/unified": {"cgroupx": "1", "a.b": "1"}},
    {"/linux/seccomp": {"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 5}},
    {"/linux/seccomp": {**SECCOMP, "listenerPath": "/s", "listenerMetadata": "x"}},
    {"/linux/seccomp": {**SECCOMP, "syscalls": [{"names": ["write"], "action": "SCMP_ACT_TRACE", "errnoRet": 1}]}},
    {"/linux/memoryPolicy": {"mode": "MPOL_PREFERRED_MANY", "nodes": "1", "flags": ["MPOL_F_NUMA_BALANCING"]}},
    {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1", "flags": ["MPOL_F_STATIC_NODES"]}},
    {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1", "flags": ["MPOL_F_RELATIVE_NODES"]}},
    *({"/linux/memoryPolicy": {"mode": mode}} for mode in ("MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED")),
    {"/linux/sysctl": {f"kernel.{name}": "1" for name in IPC} | {"net/a.b/c": "1"}},
]


@pytest.mark.parametrize("changes, line", BAD, ids=names(BAD))
def test_refused(changes: Changes, line: str) -> None:
    assert refused(changes) == line


@pytest.mark.parametrize("changes", GOOD, ids=names(GOOD))
def test_accepted(changes: Changes) -> None:
    assert spec.validate(patched(changes)) == []


def test_a_long_string_is_shortened() -> None:
    assert linux.shown("x" * 60) == f'"{"x" * 60}"'
    assert linux.shown("x" * 61) == f'"{"x" * 60}..."'
    assert schema.found("x" * 46) == f'the string "{"x" * 46}"'
    assert schema.found("x" * 47) == f'the string "{"x" * 47}...'
    values: list[Any] = [None, True, 1, 1.5, [], {}]
    assert [schema.found(each) for each in values] == [
        *("null", "true", "the number 1", "the number 1.5", "the list []", "the object {}")
    ]


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"type": "integer"}, "an integer"),
        ({"type": ["integer", "null"], "minimum": 1, "maximum": 5}, "an integer from 1 to 5"),
        ({"type": "boolean"}, "true or false"),
        ({"type": ["array", "null"]}, "a list"),
    ],
)
def test_what_is_expected(about: dict[str, Any], words: str) -> None:
    assert schema.expected("type", about["type"], about) == words


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/a/../b", "/b"), ("/../a", "/a"), ("/..", "/"), ("a/./b//c/", "/a/b/c"), ("", "/"), ("/a/b/../..", "/")],
)
def test_clean(path: str, clean: str) -> None:
    assert linux.clean(path) == clean


@pytest.mark.parametrize(
    ("name", "path"),
    [("a.b", "a/b"), ("a/b.c", "a/b.c"), ("a.b/c", "a/b.c"), ("a", "a"), ("/a.b", "/a.b"), (".a/b", "/a.b")],
)
def test_sysctl_path(name: str, path: str) -> None:
    assert linux.sysctl_path(name) == path


def test_namespaces_of_the_host_are_as_good_as_not_listed() -> None:
    config = patched({})
    assert spec.validate(config, lambda _: frozenset()) == []
    with pytest.raises(InvalidConfig, match='hostname "pyruntime" needs a uts namespace'):
        spec.validate(config, lambda given: frozenset(("uts",)) if given is config else frozenset())
    assert {"type": "uts"} in config["linux"]["namespaces"], "what is given stays as it is"
    twice = patched({"/linux/namespaces/-": {"type": "uts"}})
    with pytest.raises(InvalidConfig, match="namespace uts is listed twice"):
        checks.check(cast("Config", twice), frozenset(("uts",)))


class TestReading:
    def test_resources_from_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def read_all(fd: int, what: str) -> bytes:
            asked.append((fd, what))
            return b'{"memory": {"limit": 5}}' if len(asked) == 1 else b"[]"

        monkeypatch.setattr(spec, "_read_all", read_all)
        assert spec.load_resources("-") == {"memory": {"limit": 5}}
        with pytest.raises(InvalidConfig, match=r"^standard input: expected an object, found the list \[\]$"):
            spec.load_resources("-")
        assert asked == [(0, "standard input")] * 2

    def test_resources_from_a_file(self, tmp_path: Any) -> None:
        (tmp_path / "r").write_text('{"memory": {"limit": null}}')
        assert spec.load_resources(f"{tmp_path}/r") == {"memory": {}}

    def test_exactly_as_large_as_possible(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert spec.LARGEST == 64 << 20
        monkeypatch.setattr(spec, "LARGEST", 1 << 20)
        (tmp_path / "x").write_bytes(b" " * (1 << 20))
        assert len(spec.read_file(f"{tmp_path}/x")) == 1 << 20

    def test_it_is_not_read_further_than_that(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spec, "LARGEST", 2 << 20)
        fd = os.open("/dev/zero", os.O_RDONLY)
        try:
            with pytest.raises(InvalidConfig, match=r"^/dev/zero is larger than 2 MiB$"):
                spec._read_all(fd, "/dev/zero")
        finally:
            os.close(fd)

    def test_what_a_caller_points_at_itself(self) -> None:
        with pytest.raises(InvalidConfig) as caught:
            spec.validate_resources({"cpu": {"quota": 1, "burst": 2}}, None)
        assert str(caught.value) == "burst 2 is above quota 1 [config.json#/cpu/burst]"
        assert spec.validate_resources({"Cpu": {}}, None) == [
            "resources#/Cpu is ignored: there is no such property; did you mean cpu?"
        ]

    def test_the_validator_and_the_schema_agree(self) -> None:
        with pytest.raises(AssertionError, match="disagree on this config document"):
            spec._refuse({"ociVersion": "1.0.0", "root": {"path": "x"}}, "config")


class TestJson:
    def test_nulls_go_but_from_lists_and_maps_of_anybodys_keys(self) -> None:
        text = b'{"a": null, "b": [null, {"c": null}], "annotations": {"x": null, "y": {"z": null}}, "d": {"e": null}}'
        value: dict[str, Any] = {"b": [None, {}], "annotations": {"x": None, "y": {}}, "d": {}}
        assert jsontext.load_document(text, "x") == value
        for name in ("annotations", "sysctl", "timeOffsets", "netDevices", "unified", "rdma"):
            assert jsontext.load_document(f'{{"{name}": {{"x": null}}}}'.encode(), "x") == {name: {"x": None}}

    @pytest.mark.parametrize(
        ("data", "encoding"),
        [
            *((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"[\0\0\0", "UTF-32")),
            *((b"\xff\xfe[\0", "UTF-16"), (b"\xfe\xff\0[", "UTF-16"), (b"[\0]\0", "UTF-16"), (b"\0[\0]", "UTF-16")),
            *((b"[\0\0]", ""), (b"[]\0\0", ""), (b"[]", ""), (b"[\0]x", "")),
        ],
    )
    def test_wide_encodings(self, data: bytes, encoding: str) -> None:
        assert jsontext._wide_encoding(data) == encoding

    @pytest.mark.parametrize(
        ("byte", "encoding"),
        [
            (0x80, "windows-1252"),
            (0x9F, "windows-1252"),
            (0xA0, "ISO 8859-1 (Latin-1)"),
            (0xFF, "ISO 8859-1 (Latin-1)"),
        ],
    )
    def test_encodings_of_one_byte(self, byte: int, encoding: str) -> None:
        line = f"x is not valid JSON: line 1, column 2: it is not UTF-8: byte 0x{byte:02x}; it looks like {encoding}"
        with pytest.raises(InvalidConfig) as caught:
            jsontext.loads(b'"' + bytes((byte,)) + b'"', "x")
        assert str(caught.value) == f"{line}; save it as UTF-8"

    def test_numbers_too_large_in_both_directions(self) -> None:
        for word in ("1e999", "-1e999"):
            with pytest.raises(InvalidConfig, match=rf"line 1, column 1: {word} is not a JSON number"):
                jsontext.loads(word.encode(), "x")


class TestNames:
    def test_in_the_order_of_the_document(self) -> None:
        document = {"X": 1, "Mounts": 1, "mounts": [{"Type": 1}, {"Source": 1}], "root": {"Path": 1}}
        assert [line.partition(" ")[0] for line in near.near_misses(document, "d")] == [
            *("d#/Mounts", "d#/mounts/0/Type", "d#/mounts/1/Source", "d#/root/Path")
        ]

    def test_what_stands_below_a_map_or_in_an_unknown_property(self) -> None:
        document = {
            "x": {"Hostname": 1},
            "annotations": {"Hostname": {"Hostname": 1}},
            "linux": {"timeOffsets": {"a/b": {"Secs": 1}}, "sysctl": {"Hostname": "1"}},
        }
        assert list(near.objects(document)) == [
            *(("", document), ("/annotations/Hostname", {"Hostname": 1}), ("/linux", document["linux"])),
            ("/linux/timeOffsets/a~1b", {"Secs": 1}),
        ]
        assert [line.partition(" ")[0] for line in near.near_misses(document)] == [
            *("config.json#/annotations/Hostname/Hostname", "config.json#/linux/timeOffsets/a~1b/Secs")
        ]

    @pytest.mark.parametrize(
        ("document", "unknown"),
        [
            ({"mounts": [{"type": "x"}, {"x": 1}]}, True),
            ({"mounts": [{"type": "x"}], "annotations": {"x": "y"}}, False),
            ({"linux": {"timeOffsets": {"x": {"y": 1}}}}, True),
            ({"linux": {"timeOffsets": {"x": {"secs": 1}}}, "mounts": []}, False),
            ({"root": {"x": 1}}, True),
        ],
    )
    def test_has_unknown(self, document: dict[str, Any], unknown: bool) -> None:
        assert near.has_unknown(document) is unknown


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("a\\,b,c", ["a\\,b", "c"]),
        ('c="x,y",d', ['c="x,y"', "d"]),
        ('c"x,y"', ['c"x', 'y"']),
        ('c="x"y",z', ['c="x"y"', "z"]),
        ("", [""]),
        (",", ["", ""]),
    ],
)
def test_split(text: str, parts: list[str]) -> None:
    assert options.split(text) == parts
    assert options.words([text, "e"]) == [*parts, "e"]
    assert options.words(None) == []


def test_what_is_missing_is_told_before_what_is_too_much() -> None:
    assert refused({"/root": DROP, "/hostname": 1}) == "the property root is missing [config.json#/root]; and 1 more"
