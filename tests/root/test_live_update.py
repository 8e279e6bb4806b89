"""`update` where few controllers are: what it refuses, what it puts back, and the device filter in force."""

import json
from pathlib import Path
from typing import Any

from support import session
from support.bundle import Bundle, dict_of
from support.cgroup import Group
from support.fixtures import Make
from support.runtime import Container, Runtime, says

from pyruntime import kernel

MIB = 1 << 20
RESERVED = "hugetlb.2MB.rsvd.max"
"""A file of the one controller that is everywhere, in bytes."""
DENY = {"allow": False, "access": "rwm"}
FUSE = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
OPENED = "true 2>&1 </dev/fuse-of-ours && echo opened || echo refused"


def update(box: Container, document: Any) -> None:
    """Update it by a document on standard input."""
    box.runtime.ok("update", "--resources=-", box.id, stdin=json.dumps(document))


def refused(box: Container, document: Any) -> str:
    return box.runtime.fails("update", "--resources", "-", box.id, stdin=json.dumps(document))


def files(group: Group) -> dict[str, str]:
    """Return the content of all files of the cgroup that hold limits."""
    names = [path.name for path in group.path.iterdir() if path.name.endswith((".max", ".weight", ".cpus", ".low"))]
    return {name: limit(group.read(name)) for name in names}


def limit(text: str) -> str:
    """Return the text of a limit; a new hugetlb cgroup shows no limit as the largest number of whole huge pages."""
    return "max" if text.isdecimal() and int(text) >= 1 << 62 else text


def filters(group: Group) -> list[int]:
    """Return the ids of the device filters on the cgroup."""
    fd = kernel.open(str(group.path), kernel.flags("O_RDONLY|O_DIRECTORY"))
    try:
        return kernel.bpf_prog_query(fd)
    finally:
        kernel.close(fd)


def with_fuse(bundle: Bundle, *rules: dict[str, Any]) -> None:
    bundle.linux["devices"] = [{"path": "/dev/fuse-of-ours", "type": "c", "major": 10, "minor": 229}]
    dict_of(bundle.linux, "resources")["devices"] = list(rules)


class TestLimits:
    def test_the_controller_is_enabled_first(self, container: Make, bundle: Bundle) -> None:
        """It was not there when the container was made."""
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-bare/box"
        box = container()
        group = Group(box)
        (group.path.parent / "cgroup.subtree_control").write_text("-hugetlb")
        assert "hugetlb.2MB.max" not in files(group)
        update(box, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
        assert group.read("hugetlb.2MB.max") == str(4 * MIB)
        assert group.read("hugetlb.2MB.rsvd.max") == str(4 * MIB)
        assert limit(group.read("hugetlb.1GB.max")) == "max"
        assert "hugetlb" in (group.path.parent / "cgroup.subtree_control").read_text().split()

    def test_only_what_is_given_changes(self, container: Make, bundle: Bundle) -> None:
        limits = [{"pageSize": "2MB", "limit": 4 * MIB}, {"pageSize": "1GB", "limit": 1 << 30}]
        dict_of(bundle.linux, "resources")["hugepageLimits"] = limits
        box = container()
        group = Group(box)
        before = files(group)
        update(box, {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]})
        changed = {"hugetlb.2MB.max": str(2 * MIB), "hugetlb.2MB.rsvd.max": str(2 * MIB)}
        assert files(group) == {**before, **changed}

    def test_from_a_file(self, container: Make, workdir: Path) -> None:
        box = container()
        file = workdir / "resources.json"
        file.write_text('{"hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}]}')
        box.runtime.ok("update", "-r", file, box.id)
        assert Group(box).read("hugetlb.2MB.max") == "2097152"

    def test_created_and_paused_containers(self, container: Make) -> None:
        box = container(start=False)
        update(box, {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]})
        box.start()
        box.runtime.ok("pause", box.id)
        update(box, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
        assert Group(box).read("hugetlb.2MB.max") == str(4 * MIB)
        assert box.status == "paused"
        box.runtime.ok("resume", box.id)

    def test_nothing_asked_changes_nothing(self, container: Make) -> None:
        """What Docker sends for "not set"."""
        box = container()
        group = Group(box)
        before = files(group)
        update(
            box, {"memory": {"limit": 0, "reservation": 0}, "cpu": {"shares": 0, "cpus": ""}, "blockIO": {"weight": 0}}
        )
        update(box, {})
        assert files(group) == before

    def test_unified(self, container: Make) -> None:
        box = container()
        update(box, {"unified": {RESERVED: str(6 * MIB)}})
        assert Group(box).read(RESERVED) == str(6 * MIB)


class TestPuttingBack:
    def test_the_cgroup_is_as_before(self, container: Make, bundle: Bundle) -> None:
        """The last file does not exist; those written before it say again what they said."""
        dict_of(bundle.linux, "resources")["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 * MIB}]
        with_fuse(bundle, DENY)
        box = container()
        group = Group(box)
        before, attached = files(group), filters(group)
        error = refused(
            box,
            {
                "hugepageLimits": [{"pageSize": "1GB", "limit": 1 << 30}, {"pageSize": "2MB", "limit": 2 * MIB}],
                "unified": {RESERVED: str(6 * MIB), "hugetlb.nosuch": "1"},
                "devices": [FUSE],
            },
        )
        says(error, "hugetlb.nosuch", "ENOENT", "[standard input#/unified/hugetlb.nosuch]")
        assert files(group) == before
        assert filters(group) == attached
        assert box.sh(OPENED).endswith("refused")

    def test_a_value_that_the_kernel_refuses(self, container: Make) -> None:
        box = container()
        group = Group(box)
        error = refused(box, {"unified": {"hugetlb.2MB.max": str(4 * MIB), RESERVED: "deep"}})
        says(error, f'"{RESERVED}", "deep"', "EINVAL", f"#/unified/{RESERVED}", str(group.path.name))
        assert limit(group.read("hugetlb.2MB.max")) == "max"

    def test_a_later_update_knows_nothing_of_it(self, container: Make) -> None:
        box = container()
        update(box, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
        noted = (box.runtime.root / box.id / "resources.json").read_text()
        refused(box, {"unified": {"hugetlb.nosuch": "1"}})
        assert (box.runtime.root / box.id / "resources.json").read_text() == noted

    def test_what_can_not_be_noted_is_put_back(self, container: Make, bundle: Bundle) -> None:
        with_fuse(bundle, DENY)
        box = container()
        group = Group(box)
        attached = filters(group)
        (box.runtime.root / box.id / "resources.json.tmp").mkdir()
        error = refused(box, {"unified": {RESERVED: str(6 * MIB)}, "devices": [FUSE]})
        (box.runtime.root / box.id / "resources.json.tmp").rmdir()
        says(error, "resources.json", "EISDIR")
        assert limit(group.read(RESERVED)) == "max"
        assert filters(group) == attached


class TestDevices:
    def test_the_filter_is_replaced(self, container: Make, bundle: Bundle) -> None:
        with_fuse(bundle, DENY)
        box = container()
        group = Group(box)
        assert box.sh(OPENED).endswith("refused")
        update(box, {"devices": [DENY, FUSE]})
        assert box.sh(OPENED) == "opened"
        update(box, {"devices": [DENY]})
        assert box.sh(OPENED).endswith("refused")
        assert len(filters(group)) == 1
        assert box.sh("head -c 1 /dev/zero | wc -c") == "1", "the default devices always"

    def test_without_devices_it_stays(self, container: Make, bundle: Bundle) -> None:
        with_fuse(bundle, DENY, FUSE)
        box = container()
        before = filters(Group(box))
        update(box, {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]})
        assert filters(Group(box)) == before
        assert box.sh(OPENED) == "opened"

    def test_the_same_rules_again(self, container: Make, bundle: Bundle) -> None:
        """Engines that send the whole document don't disturb a filter that somebody has exchanged."""
        with_fuse(bundle, DENY, FUSE)
        box = container()
        before = filters(Group(box))
        update(box, {"devices": [DENY, FUSE]})
        assert filters(Group(box)) == before

    def test_anothers_filter_stays(self, container: Make, bundle: Bundle) -> None:
        """Both must allow: systemd, say, has one of its own on the cgroup."""
        with_fuse(bundle, DENY)
        box = container()
        group = Group(box)
        allow_all = bytes.fromhex("b4000000010000009500000000000000")
        cgroup = kernel.open(str(group.path), kernel.flags("O_RDONLY|O_DIRECTORY"))
        own, other = kernel.bpf_prog_get_fd_by_id(filters(group)[0]), kernel.bpf_prog_load(allow_all, "other_dev")
        try:
            # The other one is found first.
            kernel.bpf_prog_detach(cgroup, own)
            kernel.bpf_prog_attach(cgroup, other, kernel.flags("BPF_F_ALLOW_MULTI"))
            kernel.bpf_prog_attach(cgroup, own, kernel.flags("BPF_F_ALLOW_MULTI"))
            first, second = filters(group)
            update(box, {"devices": [DENY, FUSE]})
            assert first in filters(group) and second not in filters(group) and len(filters(group)) == 2
        finally:
            for fd in (own, other, cgroup):
                kernel.close(fd)


class TestRefused:
    def test_a_controller_that_is_not_there(self, container: Make) -> None:
        box = container()
        available = (session.CGROUP_ROOT / "cgroup.controllers").read_text().split()
        if "memory" not in available:
            error = box.runtime.fails("update", "--memory", "64m", box.id)
            says(error, "memory is not available", "hugetlb", "[--memory]")

    def test_wrong_documents(self, container: Make) -> None:
        box = container()
        says(refused(box, {"memory": {"limit": "5"}}), "expected an integer", "[standard input#/memory/limit]")
        says(refused(box, {"memory": {"limit": 5, "swap": 3}}), "below the limit 5", "[standard input#/memory/swap]")
        says(refused(box, {"cpu": {"quota": 5, "burst": 9}}), "[standard input#/cpu/burst]")
        says(refused(box, {"cpu": {"realtimeRuntime": 9}}), "realtime", "[standard input#/cpu/realtimeRuntime]")
        says(refused(box, {"memory": {"kernel": 9}}), "cgroup v2", "[standard input#/memory/kernel]")
        says(refused(box, []), "expected an object", "list")
        error = box.runtime.fails("update", "--resources", "-", box.id, stdin='{"memory": ')
        says(error, "standard input", "line 1", "column")
        says(box.runtime.fails("update", "-r", "/no/such/file", box.id), "/no/such/file", "ENOENT")

    def test_a_stopped_container(self, container: Make) -> None:
        box = container()
        box.kill()
        box.wait_stopped()
        says(refused(box, {}), "container not running", "stopped")

    def test_no_container(self, runtime: Runtime) -> None:
        says(runtime.fails("update", "--pids-limit", "5", "nobody"), "does not exist")
