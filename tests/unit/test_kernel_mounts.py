"""Bind mounts, masks and the mounts around the root: which calls are made, on what, and what is refused.

The kernel's answers are the test's: none of these calls works without root.
"""

import errno
import os
import posix
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.recording import Recorder, fake

from pyruntime.errors import Failure
from pyruntime.kernel import binds, rootfs

C = binds.C
EMPTY = C["AT_EMPTY_PATH"]
RO, NOSUID, NOEXEC = C["MOUNT_ATTR_RDONLY"], C["MOUNT_ATTR_NOSUID"], C["MOUNT_ATTR_NOEXEC"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


class TestBindAttributes:
    def set(
        self, monkeypatch: pytest.MonkeyPatch, flags: list[int], answers: Any, to_clear: int = 0, userns: bool = True
    ) -> list[tuple[Any, ...]]:
        """Set with noexec asked for and nosuid inherited; flags: what fstatvfs says, one call after the other."""
        linux = fake(monkeypatch, binds, mount_setattr=answers)
        monkeypatch.setattr(posix, "fstatvfs", lambda _: SimpleNamespace(f_flag=flags.pop(0)))
        self.linux = linux
        binds.set_bind_attributes(5, EMPTY, NOEXEC, to_clear, NOSUID, userns)
        assert flags == []
        return linux.named("mount_setattr")

    def test_on_the_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.set(monkeypatch, [], None, RO, False) == [(5, "", EMPTY, NOEXEC, RO | NOSUID, 0)]

    def test_what_is_locked_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The kernel refuses to clear it: only what was asked for is done."""
        calls = self.set(monkeypatch, [os.ST_NOSUID], [PermissionError(1, "no"), None], 0, False)
        assert calls == [(5, "", EMPTY, NOEXEC, NOSUID, 0), (5, "", EMPTY, NOEXEC, 0, 0)]

    @pytest.mark.parametrize(
        ("locked", "to_clear", "words"),
        [
            (os.ST_RDONLY, RO, "ro"),
            (os.ST_RDONLY | os.ST_NODEV | os.ST_NOSUID, RO | C["MOUNT_ATTR_NODEV"], "ro, nodev"),
            (os.ST_NOEXEC, NOEXEC, "noexec"),
            (os.ST_NOSUID, NOSUID, "nosuid"),
        ],
    )
    def test_what_is_locked_and_asked_to_go(
        self, monkeypatch: pytest.MonkeyPatch, locked: int, to_clear: int, words: str
    ) -> None:
        with pytest.raises(Failure) as caught:
            self.set(monkeypatch, [locked], PermissionError(1, "no"), to_clear, False)
        assert str(caught.value) == (
            f"the source is mounted {words}, which must stay so in a user namespace; "
            "change how the source is mounted on the host, or drop the option"
        )
        assert len(self.linux.calls) == 1

    def test_in_a_user_namespace_what_would_be_locked_is_set_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It was cloned outside, where nothing is locked yet."""
        before, after = os.ST_NOSUID | os.ST_RDONLY | os.ST_NOATIME, os.ST_NOATIME
        calls = self.set(monkeypatch, [before, after], None)
        assert calls == [(5, "", EMPTY, NOEXEC, NOSUID, 0), (5, "", EMPTY, NOSUID | RO, 0, 0)]
        assert len(self.set(monkeypatch, [before, before], None)) == 1

    @pytest.mark.parametrize(("before", "after"), [(os.ST_NOATIME, os.ST_RELATIME), (0, os.ST_NODIRATIME)])
    def test_access_times_stay(self, monkeypatch: pytest.MonkeyPatch, before: int, after: int) -> None:
        with pytest.raises(Failure, match=r"^the source is mounted with another access-time mode, which must stay so"):
            self.set(monkeypatch, [before, after], None)
        with pytest.raises(Failure, match=r"^the source is mounted ro, with another access-time mode, which"):
            self.set(monkeypatch, [before | os.ST_RDONLY, after], None, RO)


class TestLinks:
    def test_what_a_link_says(self, tmp_path: Path) -> None:
        (tmp_path / "l").symlink_to("/there")
        assert binds.read_link(f"{tmp_path}/l") == "/there"
        with pytest.raises(OSError) as caught:
            binds.read_link(f"{tmp_path}")
        assert caught.value.errno == errno.EINVAL

    def test_a_source_that_must_be_no_link(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "l").symlink_to(tmp_path)
        linux = fake(monkeypatch, binds, open_tree=77)
        with pytest.raises(OSError) as caught:
            binds.clone_unless_link(f"{tmp_path}/l", 4)
        assert (caught.value.errno, caught.value.call) == (errno.ELOOP, f'open_tree("{tmp_path}/l")')  # type: ignore[attr-defined]
        assert binds.clone_unless_link(str(tmp_path), 4) == 77
        ((fd, *rest),) = linux.named("open_tree")
        assert rest == ["", 4 | EMPTY] and is_closed(fd)

    def test_a_link_to_mount_on(self, root: int, tmp_path: Path) -> None:
        (tmp_path / "l").symlink_to("/nowhere")
        fd = binds.open_link_mountpoint(root, "/l", 3)
        assert os.readlink("", dir_fd=fd) == "/nowhere"
        os.close(fd)
        with pytest.raises(FileNotFoundError):
            binds.open_link_mountpoint(root, "/none", 3)
        with pytest.raises(Failure, match="is the root itself"):
            binds.open_link_mountpoint(root, "/", 3)

    @pytest.mark.parametrize("kind", ["PROC_SUPER_MAGIC", "SYSFS_MAGIC", "DEVPTS_SUPER_MAGIC"])
    def test_not_on_file_systems_of_the_kernel(
        self, root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        (tmp_path / "l").symlink_to("/nowhere")
        fake(monkeypatch, binds, fstatfs_type=C[kind])
        with pytest.raises(Failure) as caught:
            binds.open_link_mountpoint(root, "/l", 3)
        words = 'nothing can be mounted on "/l" with dest-nofollow: it is on procfs, sysfs or devpts'
        assert str(caught.value) == words

    def test_the_very_link(self, root: int, tmp_path: Path) -> None:
        for _ in range(2):
            binds.make_same_symlink(root, "/target", "/a/l")
        assert os.readlink(tmp_path / "a/l") == "/target"
        with pytest.raises(FileExistsError):
            binds.make_same_symlink(root, "/other", "/a/l")
        (tmp_path / "f").touch()
        with pytest.raises(FileExistsError):
            binds.make_same_symlink(root, "/other", "/f")


class TestMask:
    @pytest.fixture
    def some(self, tmp_path: Path) -> Iterator[Callable[..., int]]:
        made: list[int] = []

        def something(*_: Any) -> int:
            made.append(os.open(tmp_path, os.O_PATH))
            return made[-1]

        yield something
        for fd in made:
            if not is_closed(fd):
                os.close(fd)

    @pytest.fixture
    def linux(self, monkeypatch: pytest.MonkeyPatch, some: Callable[..., int]) -> Recorder:
        return fake(monkeypatch, rootfs, fsopen=some, fsconfig=None, fsmount=some, open_tree=some, mount_setattr=None,
                    move_mount=None)  # fmt: skip

    @pytest.fixture
    def file(self, tmp_path: Path) -> Iterator[int]:
        (tmp_path / "file").touch()
        fd = os.open(tmp_path / "file", os.O_PATH)
        yield fd
        os.close(fd)

    def options(self, linux: Recorder) -> list[tuple[str, str]]:
        return [(args[2], args[3]) for args in linux.named("fsconfig") if args[1] == C["FSCONFIG_SET_STRING"]]

    def test_a_file_by_the_hosts_null(self, linux: Recorder, file: int) -> None:
        covers = rootfs.open_covers()
        rootfs.mask(file, covers)
        ((like, *clone),) = linux.named("open_tree")
        assert (like, clone) == (covers.devnull, ["", C["OPEN_TREE_CLONE"] | EMPTY])
        ((cover, *attributes),) = linux.named("mount_setattr")
        assert attributes == ["", EMPTY, RO | NOSUID | NOEXEC, 0, C["MS_PRIVATE"]]
        assert linux.named("move_mount") == [
            (cover, "", file, "", C["MOVE_MOUNT_F_EMPTY_PATH"] | C["MOVE_MOUNT_T_EMPTY_PATH"])
        ]
        assert is_closed(cover) and linux.named("fsopen") == []
        rootfs.close_covers(covers)
        assert is_closed(covers.devnull or -1)

    def test_something_else_in_its_place(self, linux: Recorder, file: int) -> None:
        """CVE-2025-31133: not the device 1:3, whatever its name; a file, or another device."""
        for path in ("/dev/zero", "/etc/passwd"):
            covers = rootfs.Covers()
            covers.devnull = os.open(path, os.O_PATH)
            with pytest.raises(Failure, match=r"^the host's /dev/null is not the device 1:3; paths can't be masked"):
                rootfs.mask(file, covers)
            rootfs.close_covers(covers)
        assert linux.calls == []

    def test_a_directory_by_an_empty_one(self, linux: Recorder, root: int) -> None:
        """Each mask is a mount of its own; the file system is made once."""
        covers = rootfs.Covers()
        rootfs.mask(root, covers)
        first = covers.directory
        rootfs.mask(root, covers)
        assert self.options(linux) == [("source", "tmpfs"), ("size", "0"), ("nr_inodes", "1"), ("mode", "0555")]
        assert linux.named("fsmount")[0][1:] == (0, RO | NOSUID | NOEXEC | C["MOUNT_ATTR_NODEV"])
        assert linux.named("open_tree")[0][0] == first
        assert len(linux.named("move_mount")) == 2
        assert covers.directory != first and is_closed(first or -1)
        rootfs.close_covers(covers)

    def test_a_host_without_a_null_device(self, linux: Recorder, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
        linux.answers["open"] = FileNotFoundError(2, "no")
        covers = rootfs.open_covers()
        assert covers.devnull is None
        opened: list[Any] = []
        real = os.open

        def create(name: str, *rest: Any, **named: Any) -> int:
            opened.append((name, *rest))
            return real("/dev/null", os.O_PATH)

        monkeypatch.setattr(posix, "open", create)
        rootfs.mask(file, covers)
        rootfs.mask(file, covers)
        assert opened == [("empty", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)]
        assert self.options(linux) == [("source", "tmpfs"), ("size", "0"), ("nr_inodes", "2"), ("mode", "0700")]
        assert linux.named("open_tree")[0][1:] == ("empty", C["OPEN_TREE_CLONE"])
        assert covers.directory is None
        rootfs.close_covers(covers)

    def test_an_old_kernel_without_one(self, linux: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        real = os.open
        monkeypatch.setattr(posix, "open", lambda *_, **named: real(tmp_path, os.O_PATH))
        linux.answers["open_tree"] = OSError(errno.EINVAL, "no")
        with pytest.raises(Failure, match=r"^the host has no /dev/null, which files are masked with on this kernel$"):
            rootfs.empty_file()
        linux.answers["open_tree"] = OSError(errno.EMFILE, "too many")
        with pytest.raises(OSError, match="too many"):
            rootfs.empty_file()

    def test_a_cover_that_can_not_be_cloned(self, linux: Recorder, root: int, some: Callable[..., int]) -> None:
        covers = rootfs.Covers()
        covers.directory = some()
        linux.answers["open_tree"] = OSError(errno.EINVAL, "unbindable")
        rootfs.mask(root, covers)
        assert len(linux.named("fsopen")) == 1
        rootfs.close_covers(covers)
        covers.directory = some()
        linux.answers["open_tree"] = OSError(errno.EMFILE, "too many")
        with pytest.raises(OSError, match="too many"):
            rootfs.mask(root, covers)

    def test_one_that_can_not_be_attached_is_closed(self, linux: Recorder, root: int) -> None:
        linux.answers["move_mount"] = OSError(errno.EPERM, "no")
        with pytest.raises(PermissionError):
            rootfs.mask(root, rootfs.Covers())
        assert is_closed(linux.named("move_mount")[0][0])


class TestModes:
    def test_of_a_directory(self, root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mount").mkdir()
        tmp_path.chmod(0o1751)
        mount = os.open(tmp_path / "mount", os.O_PATH)
        rootfs.copy_mode(mount, root)
        assert os.fstat(mount).st_mode & 0o7777 == 0o1751
        os.close(mount)
        linux = fake(monkeypatch, rootfs, fsconfig=None)
        rootfs.set_mode_of(9, root)
        assert linux.calls == [("fsconfig", 9, C["FSCONFIG_SET_STRING"], "mode", "1751", 0)]


class TestAroundTheRoot:
    def test_the_mount_that_a_path_lies_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Found by going up until there is the root of a mount."""
        (tmp_path / "a/b").mkdir(parents=True)
        seen: list[str] = []

        def statx_mount(fd: int) -> tuple[int, bool]:
            seen.append(os.readlink(f"/proc/self/fd/{fd}"))
            return 1, seen[-1] == str(tmp_path)

        linux = fake(monkeypatch, rootfs, statx_mount=statx_mount, mount_setattr=None)
        rootfs.make_parent_private(f"{tmp_path}/a/b")
        assert seen == [f"{tmp_path}/a/b", f"{tmp_path}/a", str(tmp_path)]
        ((_, *rest),) = linux.named("mount_setattr")
        assert rest == ["", EMPTY, 0, 0, C["MS_PRIVATE"]]

    @pytest.mark.parametrize("may_differ", [True, False])
    def test_the_namespaces_root(self, monkeypatch: pytest.MonkeyPatch, may_differ: bool) -> None:
        linux = fake(monkeypatch, rootfs, setns=None)
        rootfs.enter_namespace_root(may_differ)
        ((own, kind),) = linux.named("setns")
        assert kind == C["CLONE_NEWNS"] and is_closed(own)

    def test_below_a_chroot(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for paths in (["/", str(tmp_path)],):
            left = list(paths)
            fake(monkeypatch, rootfs, setns=None, open=lambda *_: os.open(left.pop(0), os.O_PATH))  # noqa: B023
            with pytest.raises(Failure, match=r"^--no-pivot can't be used below a chroot\(2\); leave it out$"):
                rootfs.enter_namespace_root(False)
            assert left == []

    def test_the_hosts_procfs_goes(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """And sysfs, those mounted last first; what stands in the container's root stays. One that can't is covered."""
        (tmp_path / "mountinfo").write_text(
            "1 0 0:1 / / rw - ext4 /dev/sda rw\n"
            "2 1 0:2 / /proc rw shared:1 - proc proc rw\n"
            "3 1 0:3 / /sys rw - sysfs sysfs rw\n"
            "4 1 0:4 / /a\\040b\\011c\\012d\\134e rw - proc proc rw\n"
            "5 1 0:5 / /tmp rw - tmpfs proc rw\n"
            "6 1 0:6 / /c/root/proc rw - proc proc rw\n"
            "7 1 0:7 / /c/root rw - proc proc rw\n"
            "8 1 0:8 / /c/rootother rw - proc proc rw\n"
        )
        gone: list[str] = []

        def umount2(place: str, flags: int) -> None:
            assert flags == C["MNT_DETACH"]
            gone.append(place)
            if place == "/sys":
                raise OSError(errno.EINVAL, "locked")
            if place == "/c/rootother":
                raise FileNotFoundError(2, "gone")

        linux = fake(monkeypatch, rootfs, open=lambda *_: os.open(tmp_path / "mountinfo", os.O_RDONLY),
                     umount2=umount2, mount=None)  # fmt: skip
        rootfs.detach_host_procfs("/c/root")
        assert gone == ["/c/rootother", "/a b\tc\nd\\e", "/sys", "/proc"]
        assert linux.named("mount") == [("tmpfs", "/sys", "tmpfs", C["MS_RDONLY"], None)]
        assert linux.named("open") == [("/proc/self/mountinfo", C["O_RDONLY"])]
