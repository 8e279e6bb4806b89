"""The container's file system, seen from inside: config.md "Mounts", config-linux.md "Default Filesystems"."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import mountinfo, session
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.mountinfo import Mount
from support.runtime import Runtime, new_id


def mounts_inside(inside: Inside, *options: str) -> list[Mount]:
    return mountinfo.parse(inside("cat /proc/self/mountinfo", *options))


def test_only_the_containers_mounts(inside: Inside, bundle: Bundle) -> None:
    found = mounts_inside(inside)
    asked = ["/", *(mount["destination"] for mount in bundle.mounts)]
    on_top = {*bundle.linux["maskedPaths"], *bundle.linux["readonlyPaths"], "/dev/console"}
    points = [mount.point for mount in found]
    assert points[: len(asked)] == asked, "the root, then the mounts in the order of the list"
    assert set(points[len(asked) :]) <= on_top
    types = {mount.point: mount.fstype for mount in found[1 : len(asked)]}
    assert types == {mount["destination"]: mount["type"].replace("cgroup", "cgroup2") for mount in bundle.mounts}


def test_nothing_of_the_host_is_reachable(inside: Inside, bundle: Bundle) -> None:
    assert not any(str(session.temporary) in mount.point for mount in mounts_inside(inside))
    (bundle.path / "secret").write_text("secret")
    assert inside("ls /../../secret /proc/1/root/../secret 2>/dev/null; ls -d /.. /*").split() == [
        "/..", *(f"/{name}" for name in sorted(entry.name for entry in bundle.rootfs.iterdir())),
    ]  # fmt: skip


class TestRoot:
    def test_read_only(self, inside: Inside, bundle: Bundle) -> None:
        bundle.config["root"]["readonly"] = True
        assert "Read-only file system" in inside("touch /file 2>&1; true")

    def test_writable(self, inside: Inside, bundle: Bundle) -> None:
        bundle.config["root"]["readonly"] = False
        inside("echo text > /file")
        assert (bundle.rootfs / "file").read_text() == "text\n"

    def test_absolute_path(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        bundle.rootfs.rename(workdir / "elsewhere")
        bundle.config["root"]["path"] = str(workdir / "elsewhere")
        assert inside("echo fine") == "fine"

    def test_path_that_is_a_link(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        bundle.rootfs.rename(workdir / "elsewhere")
        bundle.rootfs.symlink_to(workdir / "elsewhere")
        assert inside("echo fine") == "fine"

    def test_no_pivot(self, inside: Inside) -> None:
        assert inside("ls -d /proc/1 /etc/passwd", "--no-pivot").split() == ["/etc/passwd", "/proc/1"]

    @pytest.mark.parametrize("wanted", ["private", "slave", "shared", "unbindable"])
    def test_propagation(self, inside: Inside, bundle: Bundle, wanted: str) -> None:
        bundle.linux["rootfsPropagation"] = wanted
        tags = mounts_inside(inside)[0].propagation
        kinds = {tag.partition(":")[0] for tag in tags}
        allowed = {"private": set(), "shared": {"shared"}, "slave": {"master"}, "unbindable": {"unbindable"}}[wanted]
        assert kinds <= allowed, "a slave of a private mount is private"
        assert wanted == "slave" or kinds == allowed


FLAGS = [
    (["ro"], {"ro"}, {"rw"}),
    (["rw"], {"rw"}, {"ro"}),
    (["ro", "rw"], {"rw"}, {"ro"}),
    (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
    (["nosuid", "nodev", "noexec", "suid", "dev", "exec"], set(), {"nosuid", "nodev", "noexec"}),
    (["noatime"], {"noatime"}, {"relatime"}),
    (["relatime"], {"relatime"}, set()),
    (["strictatime"], set(), {"relatime", "noatime"}),
    (["nodiratime"], {"nodiratime"}, set()),
    (["nosymfollow"], {"nosymfollow"}, set()),
    (["defaults"], {"rw"}, {"ro"}),
]


class TestOptions:
    @pytest.mark.parametrize("options, there, absent", FLAGS, ids=[",".join(flags[0]) for flags in FLAGS])
    @pytest.mark.parametrize("kind", ["tmpfs", "bind"])
    def test_flags(
        self,
        inside: Inside,
        bundle: Bundle,
        workdir: Path,
        kind: str,
        options: list[str],
        there: set[str],
        absent: set[str],
    ) -> None:
        (workdir / "data").mkdir()
        if kind == "tmpfs":
            bundle.mount("/mnt", "tmpfs", "tmpfs", *options)
        else:
            bundle.mount("/mnt", "bind", str(workdir / "data"), "bind", *options)
        found = mountinfo.at(mounts_inside(inside), "/mnt").options
        assert there <= found and not absent & found

    def test_data(self, inside: Inside, bundle: Bundle) -> None:
        bundle.mount("/mnt", "tmpfs", "name", "size=1024k", "mode=1750", "uid=7", "gid=8", "nr_inodes=100")
        found = mountinfo.at(mounts_inside(inside), "/mnt")
        assert {"size=1024k", "mode=1750", "uid=7", "gid=8", "nr_inodes=100"} <= set(found.data)
        assert found.source == "name"
        assert inside("stat -c '%a %u %g' /mnt") == "1750 7 8"

    @pytest.mark.parametrize("options, mode", [([], "2750"), (["ro"], "2750"), (["mode=700"], "700")], ids=str)
    def test_mode_of_a_tmpfs(self, inside: Inside, bundle: Bundle, options: list[str], mode: str) -> None:
        """Without an option it is that of the directory it covers."""
        (bundle.rootfs / "mnt").mkdir(exist_ok=True)
        (bundle.rootfs / "mnt").chmod(0o2750)
        bundle.mount("/mnt", "tmpfs", "tmpfs", *options)
        assert inside("stat -c %a /mnt") == mode

    def test_mode_of_a_tmpfs_that_covers_nothing(self, inside: Inside, bundle: Bundle) -> None:
        bundle.mount("/run/new/place", "tmpfs", "tmpfs")
        assert inside("stat -c %a /run/new/place") == "1777"

    @pytest.mark.parametrize("option, stays", [("ro", True), ("rro", False)])
    def test_recursive_attributes(self, inside: Inside, bundle: Bundle, shared: Path, option: str, stays: bool) -> None:
        (shared / "sub").mkdir()
        session.mount("below", str(shared / "sub"), "tmpfs", 0)
        bundle.mount("/mnt", "bind", str(shared), "rbind", option)
        try:
            shown = inside("touch /mnt/x 2>&1; touch /mnt/sub/x 2>&1; true").splitlines()
            assert len(shown) == (1 if stays else 2) and all("Read-only" in line for line in shown)
            assert (shared / "sub" / "x").exists() == stays
        finally:
            session.umount(str(shared / "sub"))

    def test_remount(self, inside: Inside, bundle: Bundle) -> None:
        bundle.mount("/mnt", "tmpfs", "tmpfs")
        bundle.mount("/mnt", "", "", "remount", "ro", "nosuid")
        found = mountinfo.at(mounts_inside(inside), "/mnt").options
        assert {"ro", "nosuid"} <= found
        assert "Read-only" in inside("touch /mnt/x 2>&1; true")

    def test_copy_up(self, inside: Inside, bundle: Bundle) -> None:
        place = bundle.rootfs / "opt" / "data"
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "file").write_text("text\n")
        (place / "deep" / "file").chmod(0o640)
        os.chown(place / "deep" / "file", 7, 8)
        (place / "link").symlink_to("/etc/passwd")
        bundle.mount("/opt/data", "tmpfs", "tmpfs", "tmpcopyup")
        shown = inside("cd /opt/data; cat deep/file; stat -c '%a %u %g' deep/file; readlink link; echo new > deep/file")
        assert shown.splitlines() == ["text", "640 7 8", "/etc/passwd"]
        assert (place / "deep" / "file").read_text() == "text\n", "the image is as it was"

    def test_a_relative_destination(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """Deprecated since 1.2: it is relative to the root, with a warning."""
        bundle.mount("mnt/relative", "tmpfs", "tmpfs")
        bundle.args("grep", "-c", " /mnt/relative ", "/proc/mounts")
        log = workdir / "log"
        assert runtime.ok("--log", log, "run", "-b", bundle.save(), new_id()) == "1\n"
        assert "level=warning" in log.read_text() and "mnt/relative" in log.read_text()

    def test_a_read_only_mount_cannot_be_written(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        (workdir / "data").mkdir()
        bundle.mount("/mnt", "bind", str(workdir / "data"), "rbind", "ro")
        assert "Read-only file system" in inside("touch /mnt/file 2>&1; true")
        assert list((workdir / "data").iterdir()) == []

    @pytest.mark.parametrize(
        "wanted, kinds",
        [
            ("private", set()),
            ("rprivate", set()),
            # What the host mounts in the source arrives ("master"), and what the container does does not go back.
            ("shared", {"shared", "master"}),
            ("rshared", {"shared", "master"}),
            ("unbindable", {"unbindable"}),
        ],
    )
    def test_propagation(self, inside: Inside, bundle: Bundle, workdir: Path, wanted: str, kinds: set[str]) -> None:
        (workdir / "data").mkdir()
        bundle.mount("/mnt", "bind", str(workdir / "data"), "bind", wanted)
        tags = mountinfo.at(mounts_inside(inside), "/mnt").propagation
        assert {tag.partition(":")[0] for tag in tags} == kinds

    @pytest.mark.parametrize("wanted, seen", [("rslave", True), ("rshared", True), ("rprivate", False)])
    def test_mounts_of_the_host_come_through(
        self, container: Make, bundle: Bundle, shared: Path, wanted: str, seen: bool
    ) -> None:
        (shared / "sub").mkdir()
        bundle.linux["rootfsPropagation"] = "slave" if wanted != "rshared" else "shared"
        bundle.mount("/mnt", "bind", str(shared), "rbind", wanted)
        box = container()
        session.mount("later", str(shared / "sub"), "tmpfs", 0)
        points = [mount.point for mount in mountinfo.parse(Path(f"/proc/{box.pid}/mountinfo").read_text())]
        session.umount(str(shared / "sub"))
        assert ("/mnt/sub" in points) == seen


@pytest.fixture
def shared(workdir: Path) -> Iterator[Path]:
    """A shared mount of the host."""
    path = workdir / "shared"
    path.mkdir()
    session.mount("shared", str(path), "tmpfs", 0)
    session.mount("none", str(path), "", 1 << 20)
    yield path
    session.umount(str(path), session.MNT_DETACH)


class TestBind:
    def test_directory(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        (workdir / "data").mkdir()
        (workdir / "data" / "in").write_text("from the host\n")
        bundle.mount("/mnt", "bind", str(workdir / "data"), "bind", "rw")
        assert inside("cat /mnt/in; echo from inside > /mnt/out") == "from the host"
        assert (workdir / "data" / "out").read_text() == "from inside\n"

    def test_file_on_a_path_that_is_made(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        (workdir / "file").write_text("text\n")
        bundle.mount("/opt/deep/file", "bind", str(workdir / "file"), "bind", "ro")
        assert inside("cat /opt/deep/file") == "text"

    def test_source_relative_to_the_bundle(self, inside: Inside, bundle: Bundle) -> None:
        (bundle.path / "data").mkdir()
        (bundle.path / "data" / "file").write_text("text\n")
        bundle.mount("/mnt", "bind", "data", "bind")
        assert inside("cat /mnt/file") == "text"

    @pytest.mark.parametrize("option, seen", [("bind", False), ("rbind", True)])
    def test_submounts(self, inside: Inside, bundle: Bundle, shared: Path, option: str, seen: bool) -> None:
        (shared / "sub").mkdir()
        session.mount("sub", str(shared / "sub"), "tmpfs", 0)
        (shared / "sub" / "file").touch()
        bundle.mount("/mnt", "none", str(shared), option)
        found = inside("ls /mnt/sub")
        session.umount(str(shared / "sub"), session.MNT_DETACH)
        assert found == ("file" if seen else "")

    def test_a_later_mount_lies_in_an_earlier_one(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        (workdir / "file").write_text("text\n")
        bundle.mount("/mnt", "tmpfs", "tmpfs")
        bundle.mount("/mnt/a/b", "bind", str(workdir / "file"), "bind")
        assert inside("cat /mnt/a/b") == "text"

    def test_a_link_in_the_destination_stays_in_the_root(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        (workdir / "data").mkdir()
        (workdir / "data" / "file").write_text("text\n")
        outside = workdir / "outside"
        (bundle.rootfs / "link").symlink_to(outside)
        bundle.mount("/link/mnt", "bind", str(workdir / "data"), "bind")
        assert inside(f"cat {outside}/mnt/file") == "text"
        assert not outside.exists()


TRY = '( eval "true $way" ) 2>/dev/null && echo 0 || echo 1'
"""Shell code that opens what $way says and prints 0 when that works."""


DEFAULT_DEVICES = {"null": "1,3", "zero": "1,5", "full": "1,7", "random": "1,8", "urandom": "1,9", "tty": "5,0"}
DEVICE_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}  # fmt: skip


class TestDevices:
    def test_default_devices(self, inside: Inside) -> None:
        found = inside("cd /dev; for d in null zero full random urandom tty; do stat -c '%n %t,%T %a %F' $d; done")
        assert found.splitlines() == [
            f"{name} {number} 666 character special file" for name, number in DEFAULT_DEVICES.items()
        ]

    def test_links(self, inside: Inside) -> None:
        found = inside("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done").split()
        assert found[:4] == list(DEVICE_LINKS.values())[:4]
        assert found[4] in ("pts/ptmx", "/dev/pts/ptmx")

    def test_devices_work(self, inside: Inside) -> None:
        command = (
            "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; echo y 2>&1 > /dev/full"
        )
        assert inside(f"{{ {command}; }} 2>&1; true").split("\n")[:2] == ["3", "5"]
        assert "No space left" in inside(f"{{ {command}; }} 2>&1; true")

    def test_given_devices(self, inside: Inside, bundle: Bundle) -> None:
        bundle.linux["devices"] = [
            {"path": "/dev/deep/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/block", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        ]
        found = inside("stat -c '%n %t,%T %a %u %g %F' /dev/deep/mine /dev/block /dev/pipe").splitlines()
        assert found == [
            "/dev/deep/mine a,e5 640 7 8 character special file",
            "/dev/block 7,9 600 0 0 block special file",
            "/dev/pipe 0,0 622 0 0 fifo",
        ]

    def test_device_rules(self, inside: Inside, bundle: Bundle) -> None:
        """A node alone gives no access: the cgroup's rules decide."""
        bundle.linux["devices"] = [
            {"path": "/dev/one", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666},
            {"path": "/dev/two", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666},
        ]
        rules = [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "w"},
        ]
        bundle.linux["resources"] = {"devices": rules}
        found = inside(f"for way in '> /dev/one' '< /dev/one' '< /dev/two' '> /dev/null'; do {TRY}; done").split()
        assert found == ["0", "1", "1", "0"], "write to one, not read it; nothing of two; the default devices always"

    def test_making_nodes_is_not_using_them(self, inside: Inside, bundle: Bundle) -> None:
        bundle.config["root"]["readonly"] = False
        bundle.linux["resources"] = {
            "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "access": "m"}]
        }
        assert "Operation not permitted" in inside("mknod /kmsg c 1 11 && head -c 1 /kmsg 2>&1; true")


class TestHidden:
    def test_masked_file_and_directory(self, inside: Inside, bundle: Bundle) -> None:
        (bundle.rootfs / "opt" / "dir").mkdir(parents=True)
        (bundle.rootfs / "opt" / "dir" / "secret").touch()
        (bundle.rootfs / "opt" / "file").write_text("secret")
        bundle.linux["maskedPaths"] = ["/opt/dir", "/opt/file", "/opt/nosuch", "/etc/group/below", "/proc/version"]
        assert inside("ls /opt/dir; cat /opt/file; cat /proc/version; ls -d /opt/*").split() == [
            "/opt/dir",
            "/opt/file",
        ]
        assert "Read-only" in inside("touch /opt/dir/x 2>&1; true")

    def test_read_only_paths(self, inside: Inside, bundle: Bundle) -> None:
        bundle.config["root"]["readonly"] = False
        (bundle.rootfs / "opt" / "dir").mkdir(parents=True)
        bundle.linux["readonlyPaths"] = ["/opt/dir", "/proc/sys", "/opt/nosuch", "/etc/group/below"]
        assert "Read-only" in inside("touch /opt/dir/x 2>&1; true")
        assert "Read-only" in inside("{ echo 1 > /proc/sys/net/ipv4/ip_forward; } 2>&1; true")
        inside("touch /opt/x")

    def test_what_is_mounted_below_a_read_only_path(self, inside: Inside, bundle: Bundle) -> None:
        bundle.mount("/opt/dir/sub", "tmpfs", "tmpfs")
        bundle.linux["readonlyPaths"] = ["/opt/dir"]
        assert "Read-only" in inside("touch /opt/dir/sub/x 2>&1; true")

    @pytest.mark.parametrize("target", ["/etc", "../../../../../../etc"])
    def test_through_a_link(self, inside: Inside, bundle: Bundle, target: str) -> None:
        """The link leads to the container's /etc, wherever it points to on the host."""
        (bundle.rootfs / "opt").mkdir()
        (bundle.rootfs / "opt" / "link").symlink_to(target)
        bundle.config["root"]["readonly"] = False
        bundle.linux["maskedPaths"] = ["/opt/link/passwd"]
        bundle.linux["readonlyPaths"] = ["/opt/link/group"]
        shown = inside("wc -c < /etc/passwd; { echo x >> /etc/group; } 2>&1; echo x >> /etc/hostname && echo fine")
        assert shown.split()[0] == "0"
        assert "Read-only" in shown and shown.endswith("fine")

    def test_without_lists_nothing_is_hidden(self, inside: Inside, bundle: Bundle) -> None:
        del bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"]
        found = mounts_inside(inside)
        assert not [mount for mount in found if mount.point.startswith("/proc/")]


def test_cgroup_mount(inside: Inside) -> None:
    found = mountinfo.at(mounts_inside(inside), "/sys/fs/cgroup")
    assert found.fstype == "cgroup2" and "ro" in found.options
    assert inside("cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | head -1").split()[-2:] == ["0::/", "1"]


def test_shared_memory_is_the_containers_own(inside: Inside) -> None:
    inside("touch /dev/shm/inside")
    assert os.listdir("/dev/shm") == []


def test_nothing_is_mounted_in_the_hosts_namespace(container: Make) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    box = container()
    assert Path("/proc/self/mountinfo").read_text() == before
    box.delete("--force")
    assert Path("/proc/self/mountinfo").read_text() == before
