"""Where a mount goes: each kind of destination that an image can have, in a user namespace and without one.

What a link of the image leads to is looked for, and made, beneath the root. runtime-spec config.md "Mounts",
config-linux.md "Devices", "Default Devices".
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from support import session
from support.bundle import Bundle
from support.fixtures import Inside
from support.runtime import Runtime, new_id, says

from pyruntime import kernel
from pyruntime.kernel import device_nodes

FIRST = 100000
"""The host's id of the container's root, in the tests with a user namespace."""


@pytest.fixture(params=["host", "userns"])
def user(request: pytest.FixtureRequest, bundle: Bundle) -> Callable[[], None]:
    """A function that is called when the image is ready."""
    return (lambda: bundle.user_namespace(FIRST)) if request.param == "userns" else lambda: None


class Case(NamedTuple):
    """image: what is there first: name -> where a link leads, "" for a directory, None for a file. seen: where the
    content of the source is found inside, if not at the destination."""

    name: str
    destination: str
    image: dict[str, str | None] | None = None
    kinds: str = "file directory tmpfs"
    seen: str = ""
    warns: bool = False


CASES = [
    Case("missing", "/opt/deep/in/it"),
    Case("existing-file", "/opt/there", {"opt/there": None}, "file"),
    Case("existing-directory", "/opt/there", {"opt/there": ""}, "directory tmpfs"),
    Case("dots", "/opt/./a/../b//c", seen="/opt/b/c"),
    Case("above-the-root", "/../../opt/a", seen="/opt/a"),
    Case("trailing-slash", "/opt/a/", kinds="directory tmpfs"),
    Case("relative", "opt/relative", seen="/opt/relative", warns=True),
    Case("link", "/opt/link", {"opt/link": "/srv/there", "srv/there": None}, "file", "/srv/there"),
    Case("link-in-the-middle", "/opt/link/a", {"opt/link": "../srv", "srv": ""}, seen="/srv/a"),
    Case("dangling", "/opt/link", {"opt/link": "/srv/made"}, seen="/srv/made"),
    # Debian's and systemd's /etc/resolv.conf and /etc/localtime.
    Case("dangling-relative", "/opt/link", {"opt/link": "../run/systemd/resolve/stub.conf"},
         seen="/run/systemd/resolve/stub.conf"),
    Case("dangling-beyond-the-root", "/opt/link", {"opt/link": "../../../../srv/made"}, seen="/srv/made"),
    Case("dangling-chain", "/opt/one", {"opt/one": "two", "opt/two": "/srv/way", "srv/way": "a/b"}, seen="/srv/a/b"),
    Case("dangling-in-a-dangling-directory", "/opt/way/link",
         {"opt/way": "/srv/there", "srv/there": "", "srv/there/link": "../made/here"}, seen="/srv/made/here"),
    Case("below-a-dangling-link", "/opt/link/a", {"opt/link": "/srv/made"}, seen="/srv/made/a"),
    Case("dangling-with-dots", "/opt/link", {"opt/link": "nowhere/../made/."}, "directory tmpfs", "/opt/made"),
    Case("absolute-links-of-the-host", "/opt/link", {"opt/link": "/tmp/outside/made"}, seen="/tmp/outside/made"),
    Case("a-device", "/opt/null", {"opt/null": "/dev/null"}, "file", "/dev/null"),
]  # fmt: skip
VARIANTS = [(case, kind) for case in CASES for kind in case.kinds.split()]


def prepare(bundle: Bundle, case: Case) -> None:
    shutil.rmtree(bundle.rootfs / "opt", ignore_errors=True)
    (bundle.rootfs / "opt").mkdir()
    for name, leads in (case.image or {}).items():
        place = bundle.rootfs / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if leads == "":
            place.mkdir(exist_ok=True)
        elif leads is None:
            place.touch()
        else:
            place.symlink_to(leads)


@pytest.mark.parametrize("case, kind", VARIANTS, ids=[f"{case.name}-{kind}" for case, kind in VARIANTS])
def test_destination(
    runtime: Runtime, bundle: Bundle, workdir: Path, user: Callable[[], None], case: Case, kind: str
) -> None:
    prepare(bundle, case)
    source = workdir / "source"
    if kind == "directory":
        source.mkdir()
        (source / "file").write_text("from the host\n")
    else:
        source.write_text("from the host\n")
    if kind == "tmpfs":
        bundle.mount(case.destination, "tmpfs", "canary")
    else:
        bundle.mount(case.destination, "bind", str(source), "bind")
    links = {name: leads for name, leads in (case.image or {}).items() if leads}
    user()
    place = case.seen or case.destination
    command = "true" if kind == "tmpfs" else f"cat {place}" if kind == "file" else f"cat {place}/file"
    bundle.sh(f"grep -c ' {place.rstrip('/')} ' /proc/mounts; {command}")
    done = runtime.run("run", "--bundle", bundle.save(), new_id())
    assert done.stdout.splitlines() == (["1"] if kind == "tmpfs" else ["1", "from the host"])
    assert done.status == 0 and ("is relative, which is deprecated" in done.stderr if case.warns else done.stderr == "")
    assert {name: os.readlink(bundle.rootfs / name) for name in links} == links, "the image's links are as they were"
    assert not Path("/tmp/outside").exists()


REFUSED = [
    Case("a-loop-of-links", "/opt/a", {"opt/a": "b", "opt/b": "a"}, "file", "ELOOP"),
    Case("a-file-on-the-way", "/opt/a/b", {"opt/a": None}, "file", "ENOTDIR"),
    Case("a-file-on-a-directory", "/opt/a", {"opt/a": ""}, "file", "ENOTDIR"),
    Case("a-file-where-a-link-wants-a-directory", "/opt/a", {"opt/a": "/srv/made/"}, "file", "ENOTDIR"),
    Case("the-root", "/opt/..", {"opt": ""}, "directory", "is the root itself"),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_refused(runtime: Runtime, bundle: Bundle, workdir: Path, user: Callable[[], None], case: Case) -> None:
    prepare(bundle, case)
    source = workdir / "source"
    source.touch() if case.kinds == "file" else source.mkdir()
    bundle.mount(case.destination, "bind", str(source), "bind")
    at = len(bundle.mounts) - 1
    user()
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), case.seen, f"/mounts/{at}/destination")


def test_a_way_of_thousand_directories(inside: Inside, bundle: Bundle) -> None:
    """A link of the image may say whatever fits in a path."""
    (bundle.rootfs / "way").symlink_to("/srv" + "/x" * 1900)
    bundle.mount("/way", "tmpfs", "canary")
    found = inside("grep -c '^canary /srv/x/x' /proc/mounts")
    subprocess.run(["rm", "-r", bundle.rootfs / "srv"], check=True)  # deeper than shutil.rmtree goes
    assert found == "1"


class TestMadeMeanwhile:
    """Containers that start together on one root file system make the same mount points."""

    def test_a_file_and_a_directory(self, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the look and the call that makes it, somebody else makes each of them."""

        def mkdirat(parent: int, name: str, mode: int) -> None:
            os.mkdir(name, dir_fd=parent)
            kernel.mkdirat(parent, name, mode)

        def openat2(dirfd: int, name: str, flags: int, mode: int, resolve: int) -> int:
            if flags & os.O_CREAT:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=dirfd))
            return int(kernel.openat2(dirfd, name, flags, mode, resolve))

        monkeypatch.setattr("pyruntime.kernel._linux.mkdirat", mkdirat)
        monkeypatch.setattr("pyruntime.kernel._linux.openat2", openat2)
        root = os.open(workdir, os.O_PATH)
        made = [kernel.make_mountpoint(root, "/a/b/c", None), kernel.make_device_place(root, "/a/d/e", "c", 1, 3)]
        for fd in (root, *made):
            os.close(fd)
        assert (workdir / "a/b/c").is_dir() and (workdir / "a/d/e").is_file()

    def test_containers(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        (workdir / "source").touch()
        bundle.config["mounts"] = [mount for mount in bundle.mounts if not mount["destination"].startswith("/dev")]
        bundle.config["root"]["readonly"] = False
        for name in ("/opt/a/b/file", "/opt/a/c/file", "/srv/x/y"):
            bundle.mount(name, "bind", str(workdir / "source"), "bind")
        (bundle.rootfs / "opt").mkdir(exist_ok=True)
        (bundle.rootfs / "opt/a").symlink_to("/srv/made")
        bundle.args("true")
        for _ in range(3):
            commands = [runtime.command("run", "--bundle", bundle.save(), new_id()) for _ in range(12)]
            running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
            assert [process.communicate()[1] for process in running] == [""] * len(running)
            for name in ("srv/made", "srv/x", "dev"):
                shutil.rmtree(bundle.rootfs / name)


class TestDefaultDevices:
    """What the config mounts on a default device or link stays there."""

    @pytest.mark.parametrize("with_dev", [True, False], ids=["tmpfs", "image"])
    def test_another_device(self, inside: Inside, bundle: Bundle, user: Callable[[], None], with_dev: bool) -> None:
        if not with_dev:
            bundle.config["mounts"] = [mount for mount in bundle.mounts if not mount["destination"].startswith("/dev")]
        bundle.mount("/dev/random", "bind", "/dev/zero", "bind")
        user()
        assert inside("head -c 2 /dev/random | od -An -tx1; stat -c %t,%T /dev/random /dev/zero").split() == [
            "00", "00", "1,5", "1,5",
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["stdout", "null", "tty", "fd", "ptmx", "stderr"])
    def test_a_file(self, inside: Inside, bundle: Bundle, workdir: Path, user: Callable[[], None], name: str) -> None:
        (workdir / "file").write_text("the host's\n")
        bundle.mount(f"/dev/{name}", "bind", str(workdir / "file"), "bind")
        user()
        assert inside(f"cat /dev/{name}; grep -c ' /dev/{name} ' /proc/mounts").split("\n") == ["the host's", "1"]

    @pytest.mark.parametrize("leads", ["/srv/there", "../srv/there"])
    def test_a_link_of_the_image(
        self, inside: Inside, bundle: Bundle, workdir: Path, user: Callable[[], None], leads: str
    ) -> None:
        """The mount lies where the link leads, and is found by the link's name."""
        bundle.config["mounts"] = [mount for mount in bundle.mounts if not mount["destination"].startswith("/dev")]
        (bundle.rootfs / "dev/stdout").symlink_to(leads)
        (workdir / "file").write_text("the host's\n")
        bundle.mount("/dev/stdout", "bind", str(workdir / "file"), "bind")
        user()
        assert inside("readlink /dev/stdout; head -n 1 < /srv/there").split("\n") == [leads, "the host's"]

    def test_a_directory(self, inside: Inside, bundle: Bundle, user: Callable[[], None]) -> None:
        bundle.mount("/dev/full", "tmpfs", "canary")
        user()
        assert inside("grep '/dev/full ' /proc/mounts").startswith("canary ")

    def test_the_same_device(self, inside: Inside, bundle: Bundle, user: Callable[[], None]) -> None:
        bundle.mount("/dev/zero", "bind", "/dev/zero", "bind")
        user()
        assert inside("stat -c %t,%T /dev/zero") == "1,5"

    def test_one_of_linux_devices(self, runtime: Runtime, bundle: Bundle, user: Callable[[], None]) -> None:
        """config-linux.md "Devices": what is there and is not the requested device is an error."""
        bundle.mount("/dev/mine", "bind", "/dev/zero", "bind")
        bundle.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}]
        user()
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, 'something else is mounted on "/dev/mine"', "EBUSY", "/linux/devices/0")

    def test_a_file_of_the_image(self, runtime: Runtime, bundle: Bundle) -> None:
        """Nobody has asked for it: the default devices are a must."""
        bundle.config["mounts"] = [mount for mount in bundle.mounts if not mount["destination"].startswith("/dev")]
        (bundle.rootfs / "dev/null").write_text("")
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, 'make_device(<dev_root>, "/dev/null"', "EEXIST")


class TestDevicesInAUserNamespace:
    """linux.devices are made by the host, with the mode and owner that are asked for."""

    def test_ones_that_the_host_has_not(self, inside: Inside, bundle: Bundle) -> None:
        bundle.linux["devices"] = [
            {"path": "/dev/deep/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/block", "type": "b", "major": 7, "minor": 9, "fileMode": 0o600},
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o622, "uid": 65537},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        ]
        bundle.user_namespace(FIRST)
        look = "stat -c '%n %t,%T %a %u %g' deep/zero block null pipe; head -c 1 deep/zero | od -An -tx1"
        found = inside(f"cd /dev; {look}")
        assert found.splitlines() == [
            "deep/zero 1,5 640 7 8", "block 7,9 600 0 0", "null 1,3 622 65534 0", "pipe 0,0 622 0 0", " 00",
        ]  # fmt: skip
        assert not Path("/dev/deep").exists() and not Path("/dev/pipe").exists()

    def test_the_device_rules_hold(self, inside: Inside, bundle: Bundle) -> None:
        bundle.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]
        bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
        bundle.user_namespace(FIRST)
        assert "Operation not permitted" in inside("cat /dev/mine 2>&1; true")

    def test_before_linux_6_15(self, workdir: Path) -> None:
        """The file system is attached in a mount namespace of its own: the host's mounts are as they were."""
        before = Path("/proc/self/mountinfo").read_text()
        folder = device_nodes.new_tmpfs()
        os.mknod("node", stat.S_IFCHR | 0o640, os.makedev(1, 5), dir_fd=folder)
        node = device_nodes.clone_attached(folder)
        assert Path("/proc/self/mountinfo").read_text() == before
        place = workdir / "place"
        place.touch()
        at = os.open(place, os.O_PATH)
        kernel.move_mount(node, "", at, "", kernel.flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH"))
        for fd in (folder, node, at):
            os.close(fd)
        found = place.stat()
        session.umount(str(place))
        assert (found.st_rdev, found.st_mode) == (os.makedev(1, 5), stat.S_IFCHR | 0o640)
