"""Values that plans compute: mount options, resources, sysctl names, number lists, cgroup paths."""

from typing import Any

import pytest

from pyruntime.errors import InvalidConfig
from pyruntime.plan import console, facts, mount_options, process, resources, seccomp, sysctl


class TestMountOptions:
    @pytest.mark.parametrize(
        ("options", "to_set", "to_clear"),
        [
            (["ro"], "MOUNT_ATTR_RDONLY", ""),
            (["ro", "rw"], "", "MOUNT_ATTR_RDONLY"),
            (["nosuid", "nodev"], "MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV", ""),
            (["noexec", "exec"], "", "MOUNT_ATTR_NOEXEC"),
            (["noatime"], "MOUNT_ATTR_NOATIME", "MOUNT_ATTR__ATIME"),
            (["noatime", "strictatime"], "MOUNT_ATTR_STRICTATIME", "MOUNT_ATTR__ATIME"),
            (["relatime"], "", "MOUNT_ATTR__ATIME"),
        ],
    )
    def test_attributes(self, options: list[str], to_set: str, to_clear: str) -> None:
        parsed = mount_options.parse(options)
        assert (parsed.attributes.set, parsed.attributes.clear) == (to_set, to_clear)

    def test_recursive_attributes_stand_apart(self) -> None:
        parsed = mount_options.parse(["rbind", "rro", "nosuid"])
        assert parsed.recursive_attributes.set == "MOUNT_ATTR_RDONLY"
        assert parsed.attributes.set == "MOUNT_ATTR_NOSUID"
        assert (parsed.bind, parsed.recursive) == (True, True)

    def test_relatime_is_not_the_recursive_elatime(self) -> None:
        assert not mount_options.parse(["relatime", "rw"]).recursive_attributes

    def test_propagation_keeps_its_order(self) -> None:
        parsed = mount_options.parse(["rslave", "shared"])
        assert parsed.propagation == [("MS_SLAVE", True), ("MS_SHARED", False)]

    def test_the_rest_is_data(self) -> None:
        parsed = mount_options.parse(["size=64m", "mode=1777", "newinstance", "ro", "defaults"])
        assert parsed.data == [("size", "64m"), ("mode", "1777"), ("newinstance", None)]
        assert parsed.flags == ["ro"]

    def test_all_known_names_are_listed_once(self) -> None:
        assert sorted(set(mount_options.OPTIONS)) == mount_options.OPTIONS
        for name in ("rnosymfollow", "runbindable", "rstrictatime", "idmap", "tmpcopyup", "lazytime"):
            assert name in mount_options.OPTIONS


def writes(**group: Any) -> list[tuple[str, str]]:
    return [(name, text) for _, name, text in resources.resource_writes(group)]


class TestResources:
    def test_what_docker_sends_for_not_set_asks_for_nothing(self) -> None:
        assert writes(memory={"disableOOMKiller": False}, cpu={"shares": 0}, blockIO={"weight": 0}, network={}) == []

    @pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 100), (262144, 10000), (1, 1), (10**9, 10000)])
    def test_weight_of_shares(self, shares: int, weight: int) -> None:
        assert resources.weight_of_shares(shares) == weight

    def test_memory(self) -> None:
        assert writes(memory={"limit": 1000, "swap": 1500, "reservation": 500}) == [
            ("memory.max", "1000"), ("memory.low", "500"), ("memory.swap.max", "500"),
        ]  # fmt: skip
        assert writes(memory={"limit": -1, "swap": -1}) == [("memory.max", "max"), ("memory.swap.max", "max")]

    def test_cpu(self) -> None:
        assert writes(cpu={"quota": 50000, "period": 100000}) == [("cpu.max", "50000 100000")]
        assert writes(cpu={"quota": -1}) == [("cpu.max", "max 100000")]
        assert writes(cpu={"cpus": "0-1", "mems": "0"}) == [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]

    def test_pids(self) -> None:
        assert writes(pids={"limit": 0}) == [("pids.max", "0")]
        assert writes(pids={"limit": -1}) == [("pids.max", "max")]

    @pytest.mark.parametrize(
        ("group", "pointer"),
        [
            ({"memory": {"swap": 5}}, "/linux/resources/memory/swap"),
            ({"memory": {"limit": 5, "swap": 4}}, "/linux/resources/memory/swap"),
            ({"memory": {"kernel": 1}}, "/linux/resources/memory/kernel"),
            ({"cpu": {"realtimeRuntime": 1}}, "/linux/resources/cpu/realtimeRuntime"),
            ({"network": {"classID": 1}}, "/linux/resources/network/classID"),
            ({"unified": {"../x": "1"}}, "/linux/resources/unified"),
        ],
    )
    def test_what_version_2_can_not_do_is_refused(self, group: dict[str, Any], pointer: str) -> None:
        with pytest.raises(InvalidConfig) as raised:
            resources.resource_writes(group)
        assert raised.value.pointer == pointer

    def test_a_missing_controller_is_named(self) -> None:
        found = facts.Facts()
        found.cgroup_controllers, found.cgroup_path = ("hugetlb",), "/a/b"
        with pytest.raises(InvalidConfig, match="controller memory is not available"):
            resources.resource_steps({"linux": {"resources": {"memory": {"limit": 1}}}}, found)

    def test_controllers_are_enabled_down_the_path(self) -> None:
        found = facts.Facts()
        found.cgroup_controllers, found.cgroup_path = ("pids",), "/a/b"
        steps = resources.resource_steps({"linux": {"resources": {"pids": {"limit": 3}}}}, found)
        assert [step.describe() for step in steps] == [
            'write_file("/sys/fs/cgroup/cgroup.subtree_control", "+pids")',
            'write_file("/sys/fs/cgroup/a/cgroup.subtree_control", "+pids")',
            'write_at(<cgroup>, "pids.max", "3")',
        ]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/x", "net/ipv4/conf/eth0.1/x"),
        ("net.ipv4.conf.eth0/1.x", "net/ipv4/conf/eth0.1/x"),
    ],
)
def test_sysctl_names(name: str, path: str) -> None:
    assert sysctl.path_of(name) == path


def test_number_lists() -> None:
    assert process.number_list("0-2,5, 7", "") == [0, 1, 2, 5, 7]
    for bad in ("a", "3-1", "1-", "-1"):
        with pytest.raises(InvalidConfig):
            process.number_list(bad, "/p")


@pytest.mark.parametrize("path", ["../x", "/a/../../x", "/", ".", "//"])
def test_cgroup_paths_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(InvalidConfig):
        facts.clean_cgroup_path(path)


def test_seccomp_rules() -> None:
    profile = seccomp.Profile(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ERRNO"},
                {"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [
                        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                        {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
                    ],
                },
            ],
        }
    )
    names = [(action, name, len(conditions)) for action, name, conditions in profile.rules]
    assert names == [
        (("SCMP_ACT_ERRNO", 38), "write", 0),
        (("SCMP_ACT_ALLOW", 0), "clone", 1),
        (("SCMP_ACT_ALLOW", 0), "clone", 1),
    ]


class TestWindowSize:
    """The size is there before the program can ask for it."""

    @pytest.mark.parametrize(
        ("of_caller", "of_config", "size"),
        [
            (None, None, []),
            (None, {"height": 30, "width": 90}, [(30, 90)]),
            ((31, 97), None, [(31, 97)]),
            ((31, 97), {"height": 30, "width": 90}, [(31, 97)]),
        ],
    )
    def test_before_the_program_starts(
        self, of_caller: tuple[int, int] | None, of_config: dict[str, int] | None, size: list[tuple[int, int]]
    ) -> None:
        found = facts.Facts()
        found.console_size = of_caller
        steps = console.terminal_steps({"terminal": True, "consoleSize": of_config}, found, root=False)
        assert [step.args[1:] for step in steps if step.call == "set_window_size"] == size
