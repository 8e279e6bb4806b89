"""Values that plans compute: mount options, resources, sysctl names, number lists, cgroup paths."""

from typing import Any, ClassVar

import pytest
from support import plans

from pyruntime.errors import InvalidConfig
from pyruntime.host.data import Namespaces, Place
from pyruntime.plan import cgroup, console, mount_options, mounts, process, resources, seccomp, sysctl
from pyruntime.plan.wishes import Wishes
from pyruntime.step import Octal, Step


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


def test_data_without_effect_is_warned_of() -> None:
    config = {
        "mounts": [
            {"destination": "/a", "type": "tmpfs", "options": ["size=1"]},
            {"destination": "/b", "type": "bind", "source": "/x", "options": ["size=1", "ro", "odd"]},
            {"destination": "/c", "source": "/x", "options": ["rbind", "nosuid", "rprivate"]},
        ]
    }
    (line,) = mounts.warnings(mounts.parse(config, plans.host_for(config), plans.place_for()))
    assert "size, odd" in line and "/mounts/1/options" in line


def writes(**group: Any) -> list[tuple[str, str]]:
    return [(write.name, write.text) for write in resources.resource_writes(group)]


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

    @pytest.mark.parametrize(
        ("limit", "swap", "text"),
        [(100, 150, "50"), (100, 100, "0"), (100, -1, "max"), (-1, -1, "max"), (-1, 0, "max"), (-1, 150, "150")],
    )
    def test_swap_is_memory_and_swap_in_version_1(self, limit: int, swap: int, text: str) -> None:
        written = dict(writes(memory={"limit": limit, "swap": swap}))
        assert written == {"memory.max": "max" if limit < 0 else str(limit), "memory.swap.max": text}

    def test_swap_that_is_not_set_stays(self) -> None:
        assert writes(memory={"limit": 100, "swap": 0}) == [("memory.max", "100")]

    def test_without_swap_accounting_only_a_number_is_an_error(self) -> None:
        optional = {
            swap: [write.optional for write in resources.memory({"limit": 100, "swap": swap})]
            for swap in (100, -1, 150)
        }
        assert optional == {100: [False, True], -1: [False, True], 150: [False, False]}

    def test_weights_go_to_bfq_where_it_is(self) -> None:
        (write,) = resources.resource_writes({"blockIO": {"weight": 500}})
        assert write.step("/c").describe() == (
            'write_first_at(<cgroup>, "io.bfq.weight", "default 500", "io.weight", "default 4950")'
        )

    def test_cpu(self) -> None:
        assert writes(cpu={"quota": 50000, "period": 100000}) == [("cpu.max", "50000 100000")]
        assert writes(cpu={"quota": -1}) == [("cpu.max", "max 100000")]
        assert writes(cpu={"idle": 1, "burst": 7, "quota": 9, "shares": 2}) == [
            ("cpu.weight", "1"), ("cpu.max", "9 100000"), ("cpu.max.burst", "7"), ("cpu.idle", "1"),
        ]  # fmt: skip
        assert writes(cpu={"cpus": "0-1", "mems": "0"}) == [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]

    def test_pids(self) -> None:
        assert writes(pids={"limit": 0}) == [("pids.max", "0")]
        assert writes(pids={"limit": -1}) == [("pids.max", "max")]

    @pytest.mark.parametrize(
        ("version", "limit", "text"),
        [
            *[(version, 0, "max") for version in ("1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.1", "1.2.99-rc.1")],
            *[(version, 0, "0") for version in ("1.3.0", "1.3.0-rc.1", "1.10.0", "2.0.0")],
            *[("1.0.2-dev", limit, str(limit)) for limit in (1, 5)],
            ("1.0.2-dev", -1, "max"),
        ],
    )
    def test_no_tasks_by_version(self, version: str, limit: int, text: str) -> None:
        config = {"ociVersion": version, "linux": {"resources": {"pids": {"limit": limit}, "cpu": {"shares": 2}}}}
        found = [(write.name, write.text) for write in resources.config_writes(config)]
        assert found == [("cpu.weight", "1"), ("pids.max", text)]

    def test_without_the_controller_tasks_are_unlimited(self) -> None:
        found = plans.place_for(controllers=("cpu",))
        config = {"ociVersion": "1.0.2-dev", "linux": {"resources": {"pids": {"limit": 0}}}}
        (write,) = [step for step in resource_steps(config, found) if step.call == "write_at"]
        assert write.describe() == 'write_at(<cgroup>, "pids.max", "max")' and write.ignore == ("ENOENT",)

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
        found = plans.place_for(controllers=("hugetlb",), path="/a/b")
        with pytest.raises(InvalidConfig, match="controller memory is not available"):
            resource_steps({"linux": {"resources": {"memory": {"limit": 1}}}}, found)

    def test_no_task_at_all_is_a_limit_that_comes_after_init(self) -> None:
        config = {"ociVersion": "1.3.0", "linux": {"resources": {"pids": {"limit": 0}}}}
        found = plans.place_for(controllers=("pids",))
        late = resources.late_resource_steps(config, plans.host_for(config), found)
        early = resource_steps(config, found)
        assert [step.call for step in early if step.call.startswith("write")] == []
        assert [step.describe() for step in late] == ['write_at(<cgroup>, "pids.max", "0")']

    def test_all_controllers_are_enabled_down_the_path_where_they_are_not(self) -> None:
        shared = {"": ("cpu", "memory", "pids"), "/a": ("cpu",)}
        found = plans.place_for(controllers=("cpu", "memory", "pids"), path="/a/b/c", shared=shared)
        steps = resource_steps({"linux": {"resources": {"pids": {"limit": 3}}}}, found)
        assert [step.describe() for step in steps] == [
            'enable_controllers("/sys/fs/cgroup/a", "memory pids", "pids")',
            'enable_controllers("/sys/fs/cgroup/a/b", "cpu memory pids", "pids")',
            'settle_cgroup_type(<cgroup>, "/a/b/c", "")',
            'write_at(<cgroup>, "pids.max", "3")',
        ]
        assert steps[0].pointer == "/linux/resources/pids/limit"

    def test_a_controller_of_whole_domains_is_told_of(self) -> None:
        found = plans.place_for(controllers=("memory", "pids"), path="/a")
        steps = resource_steps({"linux": {"resources": {"memory": {"limit": 9}, "pids": {"limit": 3}}}}, found)
        (settle,) = [step for step in steps if step.call == "settle_cgroup_type"]
        assert (settle.args[2], settle.pointer) == ("memory", "/linux/resources/memory/limit")


class TestOwner:
    """config-linux.md "Cgroup ownership"."""

    MOUNT: ClassVar = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"]}
    MAPS: ClassVar = [{"containerID": 0, "hostID": 100000, "size": 1000}]

    def steps(self, mount: dict[str, Any], uid: int, *namespaces: str, joined: str = "") -> list[str]:
        listed = Namespaces(set(namespaces), {joined: "/proc/1/ns/user"} if joined else {})
        config = {"process": {"user": {"uid": uid}}, "mounts": [mount], "linux": {"uidMappings": self.MAPS}}
        return [step.describe() for step in cgroup.owner_steps(config, plans.host_for(config, namespaces=listed))]

    def test_the_user_of_the_program_owns_a_writable_cgroup(self) -> None:
        assert self.steps(self.MOUNT, 5, "cgroup", "user") == ["chown_cgroup(<cgroup>, 100005)"]
        assert self.steps(self.MOUNT, 5, "cgroup") == ["chown_cgroup(<cgroup>, 5)"]

    def test_not_otherwise(self) -> None:
        assert self.steps({**self.MOUNT, "options": ["ro"]}, 5, "cgroup") == []
        assert self.steps({**self.MOUNT, "destination": "/cgroup"}, 5, "cgroup") == []
        assert self.steps({**self.MOUNT, "source": "elsewhere"}, 5, "cgroup") == []
        assert self.steps(self.MOUNT, 5) == [], "no cgroup namespace of its own"
        assert self.steps(self.MOUNT, 5000, "cgroup", "user") == [], "a user that is not mapped"
        assert self.steps(self.MOUNT, 5, "cgroup", joined="user") == []
        assert self.steps(self.MOUNT, 0, "cgroup") == [], "root owns it already"


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
        with pytest.raises(InvalidConfig, match="is not a list of numbers") as raised:
            process.number_list(bad, "/p")
        assert raised.value.pointer == "/p"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../x", "must not contain '\\.\\.'"),
        ("/a/../../x", "must not contain '\\.\\.'"),
        ("/a/../x", "must not contain '\\.\\.'"),
        ("/", "names no cgroup below the root"),
        (".", "names no cgroup below the root"),
        ("//", "names no cgroup below the root"),
    ],
)
def test_cgroup_paths_that_lead_out_are_refused(path: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        cgroup.locate(path, "c1")


@pytest.mark.parametrize(("path", "found"), [("", "/pyruntime/c1"), ("a/./b//", "/a/b"), ("/a", "/a")])
def test_where_a_cgroup_is(path: str, found: str) -> None:
    assert cgroup.locate(path, "c1") == found


def resource_steps(config: dict[str, Any], place: Place) -> list[Step]:
    return resources.resource_steps(config, plans.host_for(config), place)


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
    names = [(action, name, len(conditions)) for action, name, conditions in profile.rules()]
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
        wishes = Wishes("c1", "/bundle", console_size=of_caller)
        steps = console.terminal_steps({"terminal": True, "consoleSize": of_config}, wishes, root=False, outside=True)
        assert [step.args[1:] for step in steps if step.call == "set_window_size"] == size


@pytest.mark.parametrize("given, wanted", [(0o27, "umask(027)"), (0o7777, "umask(0777)"), (2**32 - 1, "umask(0777)")])
def test_umask_has_nine_bits(given: int, wanted: str) -> None:
    """umask(2) passes over the others, and takes a C int."""
    steps = process.umask_steps({"user": {"umask": given}}, Octal(0o22))
    assert [step.describe() for step in steps] == [wanted]
