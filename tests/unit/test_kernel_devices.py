"""Devices, fifos and the console beneath a root; nodes that need root to be made are answered by the test."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.recording import Recorder, fake

from pyruntime.errors import Failure
from pyruntime.kernel import _linux, device_filter, device_nodes, paths, terminal

C = paths.C


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def root(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_PATH)
    yield fd
    os.close(fd)


def path_of(fd: int) -> str:
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return path


class TestMake:
    def test_a_fifo_has_exactly_its_mode(self, root: int, folder: Path) -> None:
        before = os.umask(0o077)
        try:
            paths.make_device(root, "/dev/x/pipe", "p", 0, 0, 0o666, 0, 0)
            paths.make_device(root, "/dev/x/pipe", "p", 9, 9, 0o600, 0, 0)  # it is there: its mode stays
        finally:
            assert os.umask(before) == 0o077
        assert (folder / "dev/x/pipe").is_fifo()
        assert stat.S_IMODE((folder / "dev/x/pipe").stat().st_mode) == 0o666

    @pytest.mark.parametrize(("uid", "gid"), [(5, 6), (0, 6), (5, 0)])
    def test_its_owner(self, root: int, monkeypatch: pytest.MonkeyPatch, uid: int, gid: int) -> None:
        recorder = fake(monkeypatch, paths, mknodat=None, fchownat=None)
        paths.make_device(root, "/dev/null", "c", 1, 3, 0o666, uid, gid)
        ((_, *node),) = recorder.named("mknodat")
        ((_, *owner),) = recorder.named("fchownat")
        assert node == ["null", stat.S_IFCHR | 0o666, 1, 3]
        assert owner == ["null", uid, gid, C["AT_SYMLINK_NOFOLLOW"]]

    def test_roots_own_needs_no_other(self, root: int, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = fake(monkeypatch, paths, mknodat=None, fchownat=None)
        paths.make_device(root, "/dev/sda", "b", 8, 0, 0o660, 0, 0)
        assert recorder.named("mknodat")[0][2] == stat.S_IFBLK | 0o660
        assert recorder.named("fchownat") == []

    def test_something_else_is_there(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "dev").mkdir()
        (folder / "dev/null").touch()
        with pytest.raises(FileExistsError):
            paths.make_device(root, "/dev/null", "p", 1, 3, 0o666, 0, 0)
        fake(monkeypatch, paths, statx_mount=lambda fd: (1, True))
        with pytest.raises(OSError) as caught:
            paths.make_device(root, "/dev/null", "p", 1, 3, 0o666, 0, 0)
        assert caught.value.errno == errno.EBUSY
        assert caught.value.call == 'something else is mounted on "/dev/null"'  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("device", "answer"),
        [
            (("c", 1, 3), True), (("u", 1, 3), True), (("c", 1, 5), False), (("c", 2, 3), False),
            (("b", 1, 3), False), (("p", 0, 0), False),
        ],
    )  # fmt: skip
    def test_which_device_it_is(self, device: tuple[str, int, int], answer: bool) -> None:
        assert paths.is_device(os.stat("/dev/null"), *device) is answer

    def test_a_place_to_bind_on(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert path_of(paths.make_device_place(root, "/dev/null", "c", 1, 3)) == str(folder / "dev/null")
        assert (folder / "dev/null").is_file()
        assert path_of(paths.make_device_place(root, "/dev/null", "c", 1, 3)) == str(folder / "dev/null")
        fake(monkeypatch, paths, statx_mount=lambda fd: (1, True))
        with pytest.raises(OSError, match="busy"):
            paths.make_device_place(root, "/dev/null", "c", 1, 3)

    def test_the_hosts_device(self, root: int, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = fake(monkeypatch, paths, open_tree=lambda *_: os.open("/dev/null", os.O_PATH))
        os.close(paths.open_device(root, "/dev/null", "c", 1, 3))
        with pytest.raises(OSError) as caught:
            paths.open_device(root, "/dev/null", "c", 1, 5)
        assert caught.value.errno == errno.ENODEV
        assert caught.value.call == 'the host has another device at "/dev/null" than c 1:5'  # type: ignore[attr-defined]
        assert recorder.named("open_tree")[0] == (C["AT_FDCWD"], "/dev/null", C["OPEN_TREE_CLONE"])


class TestOwnDev:
    def test_on_the_roots_own_mount(self, root: int, folder: Path) -> None:
        assert path_of(paths.open_own_dev(root)) == str(folder)
        assert (folder / "dev").is_dir()
        fd = os.open("/proc", os.O_PATH)
        assert paths.mount_id(fd) == _linux.statx_mount(fd)[0] != paths.mount_id(root)
        os.close(fd)

    def test_on_a_mount_of_the_containers(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fake(monkeypatch, paths, statx_mount=lambda fd: (1 if fd == root else 2, True))
        assert path_of(paths.open_own_dev(root, 3, 2)) == str(folder)
        with pytest.raises(OSError) as caught:
            paths.open_own_dev(root, 3)
        assert caught.value.errno == errno.EXDEV
        assert caught.value.call == 'the mount of "/dev" is not the container\'s own'  # type: ignore[attr-defined]


class TestConsole:
    def test_it_is_made(self, root: int, folder: Path) -> None:
        for _ in range(2):
            assert path_of(paths.make_console(root)) == str(folder / "dev/console")
        assert (folder / "dev/console").is_file()

    def test_a_link_is_not_followed(self, root: int, folder: Path) -> None:
        (folder / "dev").mkdir()
        (folder / "dev/console").symlink_to("/target")
        (folder / "target").touch()
        with pytest.raises(OSError) as caught:
            paths.make_console(root)
        assert caught.value.errno == errno.ELOOP
        assert caught.value.call == 'open("/dev/console", O_NOFOLLOW)'  # type: ignore[attr-defined]


class TestNodes:
    """Nodes for a user namespace."""

    @pytest.fixture
    def linux(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
        def something(*_: Any) -> int:
            return os.open(tmp_path, os.O_PATH)

        return fake(monkeypatch, device_nodes, fsopen=something, fsconfig=None, fsmount=something, mknodat=None,
                    fchownat=None, open_tree=something)  # fmt: skip

    def make(self) -> int:
        before = os.umask(0o077)
        try:
            return device_nodes.make_device_node("/dev/x", "c", 1, 3, 0o640, 5, 6)
        finally:
            assert os.umask(before) == 0o077

    def test_mode_and_owner(self, linux: Recorder) -> None:
        os.close(self.make())
        assert linux.named("fsopen") == [("tmpfs", 0)]
        assert linux.named("fsmount")[0][1:] == (
            C["FSMOUNT_CLOEXEC"], C["MOUNT_ATTR_NOSUID"] | C["MOUNT_ATTR_NOEXEC"],
        )  # fmt: skip
        ((folder, *node),), ((_, *owner),), ((_, *tree),) = map(linux.named, ("mknodat", "fchownat", "open_tree"))
        assert node == ["node", stat.S_IFCHR | 0o640, 1, 3]
        assert owner == ["node", 5, 6, C["AT_SYMLINK_NOFOLLOW"]]
        assert tree == ["node", C["OPEN_TREE_CLONE"] | C["OPEN_TREE_CLOEXEC"]]
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(folder)

    def test_the_hosts_node_where_none_can_be_made(self, linux: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
        linux.answers["mknodat"] = PermissionError(1, "no")
        recorder = Recorder(open_device=77)
        monkeypatch.setattr(device_nodes, "open_device", recorder.open_device)
        assert self.make() == 77
        assert [args[1:] for args in recorder.named("open_device")] == [("/dev/x", "c", 1, 3)]
        assert linux.named("fchownat") == []

    def test_an_old_kernel_and_another_error(self, linux: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device_nodes, "clone_attached", lambda _: 78)
        linux.answers["open_tree"] = OSError(errno.EINVAL, "no")
        assert self.make() == 78
        linux.answers["open_tree"] = OSError(errno.EMFILE, "too many")
        with pytest.raises(OSError, match="too many"):
            self.make()

    def test_a_child_that_attaches(self, linux: Recorder, tmp_path: Path) -> None:
        """In a real child, whose namespace is the test's: what it calls is answered."""
        linux.answers.update(
            clone3=lambda _: linux.real.clone3(0), mount_setattr=None, move_mount=None,
        )  # fmt: skip
        assert path_of(device_nodes.clone_attached(3)) == str(tmp_path)
        assert linux.named("clone3") == [(C["CLONE_NEWNS"],)]

    @pytest.mark.parametrize("number", [errno.EPERM, None])
    def test_a_child_that_can_not(self, linux: Recorder, number: int | None) -> None:
        def refuse(*_: Any) -> None:
            if number is None:
                os._exit(1)
            raise OSError(number, "no")

        linux.answers.update(clone3=lambda _: linux.real.clone3(0), mount_setattr=refuse)
        with pytest.raises(OSError) as caught:
            device_nodes.clone_attached(3)
        assert caught.value.errno == (number or errno.ECHILD)
        assert caught.value.call == 'open_tree(<a new tmpfs>, "node", OPEN_TREE_CLONE)'  # type: ignore[attr-defined]
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


class TestFilter:
    def programs(self, names: dict[int, str]) -> dict[str, Any]:
        """Programs on a cgroup by number; one without a name has gone. The descriptor of N is a file of that name."""

        def by_id(number: int) -> int:
            if not names[number]:
                raise FileNotFoundError(2, "gone")
            fd = os.open("/", os.O_PATH)
            self.opened[fd] = names[number]
            return fd

        self.opened: dict[int, str] = {}
        return {
            "bpf_prog_query": lambda _: list(names), "bpf_prog_get_fd_by_id": by_id,
            "bpf_prog_name": lambda fd: self.opened[fd],
        }  # fmt: skip

    def test_the_runtimes_own_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = self.programs({1: "", 2: "sd_devices", 3: "pyruntime_dev", 4: "pyruntime_dev"})
        recorder = fake(monkeypatch, device_filter, **answers)
        found = device_filter.find_device_filter(9)
        assert self.opened[found] == "pyruntime_dev"
        assert recorder.named("bpf_prog_query") == [(9,)]
        assert recorder.named("bpf_prog_get_fd_by_id") == [(1,), (2,), (3,)]
        os.close(found)

    def test_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake(monkeypatch, device_filter, **self.programs({1: "other"}))
        assert device_filter.find_device_filter(9) == -1

    @pytest.mark.parametrize(
        ("old", "new", "calls"),
        [
            (3, 4, [("bpf_prog_attach", 9, 4, C["BPF_F_ALLOW_MULTI"], 3)]),
            (-1, 4, [("bpf_prog_attach", 9, 4, C["BPF_F_ALLOW_MULTI"], -1)]),
            (0, -1, [("bpf_prog_detach", 9, 0)]),
            (-1, -1, []),
        ],
    )
    def test_one_for_another(self, monkeypatch: pytest.MonkeyPatch, old: int, new: int, calls: Any) -> None:
        recorder = fake(monkeypatch, device_filter, bpf_prog_attach=None, bpf_prog_detach=None)
        device_filter.replace_device_filter(9, old, new)
        assert recorder.calls == calls


class TestPseudoTerminals:
    def test_only_of_a_devpts(self, root: int, folder: Path) -> None:
        (folder / "dev/pts").mkdir(parents=True)
        (folder / "dev/pts/ptmx").touch()
        with pytest.raises(Failure, match=r"^/dev/pts of the container is not a devpts; a terminal can't be made$"):
            terminal.open_ptmx(root)

    def test_the_multiplexer_of_that_directory(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing leads from there to another: no link, no mount, no `..`."""
        (folder / "dev/pts").mkdir(parents=True)
        (folder / "dev/pts/ptmx").symlink_to("/target")
        (folder / "target").touch()
        recorder = fake(monkeypatch, terminal, fstatfs_type=C["DEVPTS_SUPER_MAGIC"])
        with pytest.raises(OSError) as caught:
            terminal.open_ptmx(root)
        assert caught.value.errno == errno.ELOOP
        (folder / "dev/pts/ptmx").unlink()
        (folder / "dev/pts/ptmx").touch()
        assert path_of(terminal.open_ptmx(root)) == str(folder / "dev/pts/ptmx")
        assert len(recorder.named("fstatfs_type")) == 2

    def test_both_sides(self) -> None:
        master, slave = os.openpty()
        peer = terminal.open_pty_peer(master)
        assert os.ttyname(peer) == terminal.pty_name(master) == os.ttyname(slave)
        for fd in (master, slave, peer):
            os.close(fd)
