"""Making and opening paths beneath a root that is a directory of the test: links lead nowhere else, others may race."""

import errno
import os
import posix
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.recording import Recorder, fake

from pyruntime.errors import Failure
from pyruntime.kernel import _linux, paths
from pyruntime.kernel.procfs import PROCFS

C = paths.C


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH)
    before = os.umask(0o022)
    yield fd
    os.umask(before)
    os.close(fd)


@pytest.fixture
def folder(root: int, tmp_path: Path) -> Path:
    return tmp_path / "root"


def path_of(fd: int) -> str:
    """Return what a descriptor is of, and close it."""
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return path


class TestMakeDirectories:
    @pytest.mark.parametrize(
        ("links", "path", "made"),
        [
            ({}, "/a/b", "a/b"),
            ({}, "a//./b/", "a/b"),
            ({}, "/a/../../../b", "b"),
            ({"link": "/x/y"}, "/link/z", "x/y/z"),
            ({"link": "x"}, "/link", "x"),
            ({"link": "../../../outside"}, "/link/z", "outside/z"),
            ({"link": "/", "d/up": ".."}, "/link/d/up/e", "e"),
            ({"d/link": "below"}, "/d/link/z", "d/below/z"),
            ({"d/link": "/other"}, "/d/link/z", "other/z"),
            ({"one": "two", "two": "/three"}, "/one/z", "three/z"),
        ],
    )
    def test_links_stay_beneath(self, root: int, folder: Path, links: dict[str, str], path: str, made: str) -> None:
        for name, target in links.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).symlink_to(target)
        assert path_of(paths.mkdir_in_root(root, path, 0o750)) == str(folder / made)
        assert stat.S_IMODE((folder / made).stat().st_mode) == 0o750
        assert list((folder.parent / "outside").iterdir()) == []

    def test_what_is_there_stays(self, root: int, folder: Path) -> None:
        (folder / "a").mkdir(mode=0o711)
        assert path_of(paths.mkdir_in_root(root, "/a", 0o755)) == str(folder / "a")
        assert path_of(paths.mkdir_in_root(root, "/", 0o755)) == str(folder)
        assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o711

    def test_a_file_in_the_way(self, root: int, folder: Path) -> None:
        (folder / "file").touch()
        with pytest.raises(NotADirectoryError):
            paths.mkdir_in_root(root, "/file/a", 0o755)
        with pytest.raises(NotADirectoryError):
            paths.mkdir_in_root(root, "/file", 0o755)

    @pytest.mark.parametrize(("count", "fits"), [(39, True), (41, False)])
    def test_a_long_chain_of_links(self, root: int, folder: Path, count: int, fits: bool) -> None:
        for number in range(count):
            (folder / f"l{number}").symlink_to(f"l{number + 1}")
        if fits:
            assert path_of(paths.mkdir_in_root(root, "/l0", 0o755)) == str(folder / f"l{count}")
        else:
            with pytest.raises(OSError) as caught:
                paths.mkdir_in_root(root, "/l0", 0o755)
            assert caught.value.errno == errno.ELOOP

    def test_a_circle(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where openat2 has seen a path without one: while it was exchanged."""
        (folder / "a").symlink_to("a")
        with pytest.raises(OSError) as caught:
            paths.make_missing(root, "/a", 0o755, lambda *_: None)
        assert caught.value.errno == errno.ELOOP
        assert caught.value.call == 'mkdir("/a")'  # type: ignore[attr-defined]

    def test_others_make_and_remove_the_same(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real, times = _linux.mkdirat, []

        def mkdirat(parent: int, name: str, mode: int) -> None:
            times.append(name)
            if len(times) == 1:
                real(parent, name, mode)
                raise FileExistsError(errno.EEXIST, "there")
            if len(times) == 2:
                (folder / "a").rmdir()
                raise FileNotFoundError(errno.ENOENT, "gone")
            real(parent, name, mode)

        fake(monkeypatch, paths, mkdirat=mkdirat)
        assert path_of(paths.mkdir_in_root(root, "/a/b", 0o755)) == str(folder / "a/b")
        assert times == ["a", "b", "a", "b"]

    def test_it_gives_up(self, root: int, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = fake(monkeypatch, paths, mkdirat=FileNotFoundError(errno.ENOENT, "gone"))
        with pytest.raises(FileNotFoundError):
            paths.mkdir_in_root(root, "/a", 0o755)
        assert len(recorder.calls) == paths.ATTEMPTS


class TestOpen:
    def test_beneath(self, root: int, folder: Path) -> None:
        (folder / "d").mkdir()
        (folder / "up").symlink_to("../../d")
        assert path_of(paths.open_in_root(root, "up", C["O_PATH"])) == str(folder / "d")
        assert path_of(paths.open_below_root(root, "up", C["O_PATH"])) == str(folder / "d")

    @pytest.mark.parametrize("path", ["/", ".", "d/..", "link"])
    def test_the_root_itself_is_no_place(self, root: int, folder: Path, path: str) -> None:
        (folder / "d").mkdir()
        (folder / "link").symlink_to("/d/../..")
        with pytest.raises(Failure) as caught:
            paths.open_below_root(root, path, C["O_PATH"])
        assert str(caught.value) == f'"{path}" is the root itself: nothing can be mounted over it'

    def test_a_mount_of_the_root_below_itself_is_another_place(
        self, root: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake(monkeypatch, paths, statx_mount=lambda fd: (1 if fd == root else 2, True))
        fd = os.dup(root)
        assert paths.below_root(root, fd, "/bind") == fd
        os.close(fd)

    def test_split(self) -> None:
        assert paths.split("/a/b/") == ("/a", "b")
        assert paths.split("/b") == ("/", "b")
        assert paths.split("b") == ("/", "b")


class TestMountpoint:
    def test_a_directory(self, root: int, folder: Path) -> None:
        assert path_of(paths.make_mountpoint(root, "/a/b", None)) == str(folder / "a/b")
        assert (folder / "a/b").is_dir()

    def test_as_its_source_is(self, root: int, folder: Path, tmp_path: Path) -> None:
        """Whatever `directory` says."""
        (tmp_path / "file").touch()
        file, directory = os.open(tmp_path / "file", os.O_PATH), os.open(tmp_path, os.O_PATH)
        assert path_of(paths.make_mountpoint(root, "/d", directory, directory=False)) == str(folder / "d")
        assert path_of(paths.make_mountpoint(root, "/x/f", file)) == str(folder / "x/f")
        assert (folder / "d").is_dir() and (folder / "x/f").is_file() and (folder / "x/f").stat().st_size == 0
        assert stat.S_IMODE((folder / "x/f").stat().st_mode) == 0o644
        os.close(file)
        os.close(directory)

    def test_a_file_that_is_there_stays(self, root: int, folder: Path) -> None:
        (folder / "f").write_text("content")
        (folder / "link").symlink_to("f")
        assert path_of(paths.make_mountpoint(root, "/link", None, directory=False)) == str(folder / "f")
        assert (folder / "f").read_text() == "content"

    def test_a_directory_is_no_place_for_a_file(self, root: int, folder: Path) -> None:
        (folder / "d").mkdir()
        with pytest.raises(NotADirectoryError) as caught:
            paths.make_mountpoint(root, "/d", None, directory=False)
        assert caught.value.call == 'mount(a file, "/d", a directory)'  # type: ignore[attr-defined]

    def test_a_link_to_nothing_has_its_target_made(self, root: int, folder: Path) -> None:
        (folder / "link").symlink_to("/etc/real")
        assert path_of(paths.make_mountpoint(root, "/link", None, directory=False)) == str(folder / "etc/real")


class TestOnProcfs:
    """A directory of the test passes for a procfs."""

    @pytest.fixture
    def procfs(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
        (folder / "proc/1").mkdir(parents=True)
        (folder / "proc/1/file").touch()
        (folder / "proc/other").touch()

        def kind(fd: int) -> int:
            return PROCFS if "/root/proc" in os.readlink(f"/proc/self/fd/{fd}") else 0

        return fake(monkeypatch, paths, fstatfs_type=kind)

    @pytest.mark.parametrize("path", ["/proc", "/proc/1", "/proc/1/file"])
    def test_nothing_may_be_mounted(self, root: int, procfs: Recorder, path: str) -> None:
        words = f'^nothing can be mounted on "{path}": it leads to a place on procfs$'
        with pytest.raises(Failure, match=words):
            paths.make_mountpoint(root, path, None, directory="file" not in path)
        with pytest.raises(Failure, match=words):
            paths.make_mountpoint(root, path, None, "other", directory="file" not in path)

    def test_but_the_one_file_that_is_named(self, root: int, folder: Path, procfs: Recorder) -> None:
        """By whatever name the target is reached."""
        (folder / "link").symlink_to("proc/1/file")
        for path in ("/proc/1/file", "/link"):
            target = paths.make_mountpoint(root, path, None, "1/file", directory=False)
            assert path_of(target) == str(folder / "proc/1/file")

    def test_only_of_a_procfs_on_proc(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "proc").mkdir()
        (folder / "proc/file").touch()
        fake(
            monkeypatch,
            paths,
            fstatfs_type=lambda fd: PROCFS if os.readlink(f"/proc/self/fd/{fd}")[-4:] == "file" else 0,
        )
        with pytest.raises(Failure, match="it leads to a place on procfs"):
            paths.make_mountpoint(root, "/proc/file", None, "file", directory=False)

    @pytest.mark.parametrize(("is_root", "fits"), [(True, True), (False, False)])
    def test_and_another_procfs_on_its_root(
        self, root: int, folder: Path, procfs: Recorder, is_root: bool, fits: bool
    ) -> None:
        procfs.answers["statx_mount"] = lambda fd: (os.fstat(fd).st_ino, is_root)
        source = os.open(folder / "proc/1", os.O_PATH)
        try:
            if fits:
                assert path_of(paths.make_mountpoint(root, "/proc", source)) == str(folder / "proc")
            else:
                with pytest.raises(Failure, match="it leads to a place on procfs"):
                    paths.make_mountpoint(root, "/proc", source)
        finally:
            os.close(source)

    def test_what_is_on_proc_in_the_end(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        paths.check_proc(root)  # there is none
        (folder / "proc").mkdir()
        paths.check_proc(root)  # on the root's own mount
        fake(monkeypatch, paths, statx_mount=lambda fd: (1 if fd == root else 2, fd != root))
        with pytest.raises(Failure, match=r"^only procfs can be mounted on /proc, through any path$"):
            paths.check_proc(root)
        fake(monkeypatch, paths, statx_mount=lambda fd: (fd, True), fstatfs_type=PROCFS)
        paths.check_proc(root)

    def test_it_looks_at_proc_and_not_where_a_link_leads(
        self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "proc").symlink_to("nowhere")
        paths.check_proc(root)


class TestRealDirectory:
    def test_no_link_leads_there(self, root: int, folder: Path) -> None:
        (folder / "real").mkdir()
        (folder / "proc").symlink_to("real")
        with pytest.raises(OSError) as caught:
            paths.make_real_directory(root, "/proc")
        assert caught.value.errno == errno.ELOOP
        (folder / "dangling").symlink_to("nothing")
        with pytest.raises(OSError) as caught:
            paths.make_real_directory(root, "/dangling")
        assert caught.value.errno == errno.ELOOP

    def test_it_is_made(self, root: int, folder: Path) -> None:
        assert path_of(paths.make_real_directory(root, "/a/proc")) == str(folder / "a/proc")
        assert path_of(paths.make_real_directory(root, "/a/proc")) == str(folder / "a/proc")
        with pytest.raises(Failure, match="is the root itself"):
            paths.make_real_directory(root, "/")


class TestSymlink:
    def test_it_is_made_with_its_parents(self, root: int, folder: Path) -> None:
        paths.make_symlink(root, "/proc/self/fd", "/dev/fd")
        paths.make_symlink(root, "/proc/self/fd", "/dev/fd")
        assert os.readlink(folder / "dev/fd") == "/proc/self/fd"

    def test_another_one_is_replaced(self, root: int, folder: Path) -> None:
        (folder / "l").symlink_to("/other")
        paths.make_symlink(root, "/this", "/l")
        assert os.readlink(folder / "l") == "/this"

    def test_a_file_stays(self, root: int, folder: Path) -> None:
        (folder / "f").write_text("content")
        paths.make_symlink(root, "/this", "/f")
        assert (folder / "f").read_text() == "content"

    def test_one_that_leads_to_a_mount_stays(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "mounted").mkdir()
        (folder / "l").symlink_to("mounted")
        fake(monkeypatch, paths, statx_mount=lambda fd: (1, path_ends(fd, "mounted")))
        paths.make_symlink(root, "/this", "/l")
        assert os.readlink(folder / "l") == "mounted"
        assert paths.leads_to_mount(root, "/nothing") is False

    def test_others_remove_it_meanwhile(self, root: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "l").symlink_to("/other")
        real: Callable[..., None] = os.unlink

        def unlink(name: str, dir_fd: int) -> None:
            real(name, dir_fd=dir_fd)
            raise FileNotFoundError(errno.ENOENT, "gone")

        monkeypatch.setattr(posix, "unlink", unlink)
        paths.make_symlink(root, "/this", "/l")
        assert os.readlink(folder / "l") == "/this"


def path_ends(fd: int, end: str) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").endswith(end)
