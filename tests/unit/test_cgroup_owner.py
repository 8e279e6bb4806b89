"""Whose a cgroup is, and what of it goes with a container: on plain directories, with the notes in a dictionary."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyruntime import kernel
from pyruntime.container import cgroup, ownership
from pyruntime.errors import Failure
from pyruntime.kernel.cgroups import PARENT_NOTE
from pyruntime.lifecycle import delete

if TYPE_CHECKING:
    from pyruntime.container.record import Record

NOTE = b"trusted.pyruntime"


class Notes(dict[tuple[str, str | bytes], bytes]):
    """The extended attributes by path and name; problem: an errno for every call."""

    problem = 0

    def key(self, path: Any, name: str | bytes, follow_symlinks: bool = True) -> tuple[str, str | bytes]:
        if self.problem:
            raise OSError(self.problem, os.strerror(self.problem))
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}"), name
        os.stat(path, follow_symlinks=follow_symlinks)
        return os.path.realpath(path), name

    def get_attribute(self, path: Any, name: str | bytes, **more: Any) -> bytes:
        try:
            return self[self.key(path, name, **more)]
        except KeyError:
            raise OSError(errno.ENODATA, "none") from None

    def set_attribute(self, path: Any, name: str | bytes, value: bytes) -> None:
        self[self.key(path, name)] = value


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """The notes; every file system is cgroup2, and no directory the root of a mount."""
    found = Notes()
    monkeypatch.setattr("posix.getxattr", found.get_attribute)
    monkeypatch.setattr("posix.setxattr", found.set_attribute)
    monkeypatch.setattr(kernel, "fstatfs_type", lambda fd: kernel.flags("CGROUP2_SUPER_MAGIC"))
    monkeypatch.setattr(kernel, "statx_mount", lambda fd: (1, False))
    return found


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """The record of a container whose cgroup is /a/b/c; its create has made all three."""
    path = tmp_path / "a/b/c"
    path.mkdir(parents=True)
    return {
        "cgroup_mount": str(tmp_path),
        "cgroup": "/a/b/c",
        "cgroup_made": ["/a", "/a/b", "/a/b/c"],
        "cgroup_id": path.stat().st_ino,
        "note": "1:2",
    }


def is_owned(record: Record) -> bool:
    group = cgroup.owned(record)
    assert group is None or group.path == f"{record['cgroup_mount']}{record['cgroup']}"
    return group is not None


class TestNote:
    def test_written_and_read(self, tmp_path: Path, notes: Notes) -> None:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            assert ownership.note_on(fd) is None
            ownership.write_note(fd, "fd00:12")
            assert notes == {(str(tmp_path), NOTE): b"fd00:12"}
            assert ownership.note_on(fd) == ownership.note_on(str(tmp_path)) == "fd00:12"
        finally:
            os.close(fd)

    @pytest.mark.parametrize("number", [errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.ENOENT, errno.ENODEV])
    def test_none(self, notes: Notes, number: int) -> None:
        notes.problem = number
        assert ownership.note_on("/") is None
        if number in (errno.ENOENT, errno.ENODEV):
            with pytest.raises(Failure, match="write the owner's note on the cgroup"):
                ownership.write_note(0, "x")
        else:
            ownership.write_note(0, "x")

    def test_what_cannot_be_told(self, notes: Notes) -> None:
        notes.problem = errno.EIO
        with pytest.raises(Failure, match=r"^read the owner's note on the cgroup: input/output error \(EIO\)$"):
            ownership.note_on("/")
        with pytest.raises(Failure, match=r"^write the owner's note on the cgroup: input/output error \(EIO\)$"):
            ownership.write_note(0, "x")


class TestOwned:
    def test_by_its_note(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        notes[f"{tmp_path}/a/b/c", NOTE] = b"1:2"
        assert is_owned(record)
        notes[f"{tmp_path}/a/b/c", NOTE] = b"1:3"
        assert not is_owned(record)

    def test_without_a_note(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        """It is believed, unless a container is below it."""
        (tmp_path / "a/b/c/d").mkdir()
        (tmp_path / "a/b/c/cgroup.procs").touch()
        (tmp_path / "a/b/c/link").symlink_to("d")
        assert is_owned(record)
        notes[f"{tmp_path}/a/b/c/d", NOTE] = b"7:7"
        assert not is_owned(record)

    def test_a_cgroup_below_that_cannot_be_looked_at(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        fd = os.open(tmp_path / "a", os.O_RDONLY)
        try:
            assert not ownership.has_note(fd, "b") and not ownership.has_note(fd, "none")
            with pytest.raises(Failure, match=r"inspect the cgroups below: .*\(ENAMETOOLONG\)"):
                ownership.has_note(fd, "x" * 300)
        finally:
            os.close(fd)

    def test_another_of_the_same_path(self, record: Record, notes: Notes) -> None:
        assert not is_owned({**record, "cgroup_id": record["cgroup_id"] + 1})

    def test_the_root_of_a_mount(self, record: Record, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kernel, "statx_mount", lambda fd: (0, True))
        assert not is_owned(record)

    def test_no_cgroup2(self, record: Record, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kernel, "fstatfs_type", lambda fd: kernel.flags("PROC_SUPER_MAGIC"))
        assert not is_owned(record)

    def test_before_create_has_noted_it(self, record: Record, notes: Notes) -> None:
        del record["cgroup_id"]
        assert not is_owned(record)

    @pytest.mark.parametrize("path", ["/a/../a/b/c", "/none", "/a/file", "/a/link"])
    def test_a_path_that_is_none(self, record: Record, notes: Notes, tmp_path: Path, path: str) -> None:
        (tmp_path / "a/file").touch()
        (tmp_path / "a/link").symlink_to("b/c")
        assert not is_owned({**record, "cgroup": path})

    def test_other_errors_are_told(self, record: Record, notes: Notes) -> None:
        with pytest.raises(OSError, match="too long"):
            is_owned({**record, "cgroup": "/" + "x" * 300})

    def test_identity(self, record: Record, tmp_path: Path) -> None:
        assert cgroup.identity(f"{tmp_path}/a/b/c") == record["cgroup_id"]
        assert cgroup.identity(f"{tmp_path}/none") == -1
        with pytest.raises(OSError, match="too long"):
            cgroup.identity("x" * 300)


class TestInUse:
    def test_while_a_create_holds_the_lock(self, tmp_path: Path) -> None:
        assert not cgroup.in_use(str(tmp_path))
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            kernel.flock(fd, kernel.flags("LOCK_EX"))
            assert cgroup.in_use(str(tmp_path))
        finally:
            os.close(fd)
        assert not cgroup.in_use(str(tmp_path)), "and it has not kept the lock itself"
        assert not cgroup.in_use(f"{tmp_path}/none")


class TestRemovable:
    def removable(self, record: Record, tmp_path: Path) -> list[str]:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            return list(ownership.removable(record, fd))
        finally:
            os.close(fd)

    def test_what_create_made(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        assert self.removable(record, tmp_path) == ["/a/b/c", "/a/b", "/a"]
        assert self.removable({**record, "cgroup_made": ["/a/b/c"]}, tmp_path) == ["/a/b/c"]
        assert self.removable({**record, "cgroup_made": ["/a"]}, tmp_path) == [], "only without a gap"
        assert self.removable({**record, "cgroup_made": ["/a/b"]}, tmp_path) == ["/a/b"]
        del record["cgroup_made"]
        assert self.removable(record, tmp_path) == []

    def test_what_another_create_made_on_the_way(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        notes[f"{tmp_path}/a/b", PARENT_NOTE] = b"1"
        assert self.removable({**record, "cgroup_made": ["/a/b/c"]}, tmp_path) == ["/a/b/c", "/a/b"]

    @pytest.mark.parametrize(
        ("number", "shared"),
        [
            *((each, True) for each in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.ELOOP)),
            *((each, False) for each in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM)),
        ],
    )
    def test_one_without_a_note(self, notes: Notes, number: int, shared: bool) -> None:
        notes.problem = number
        assert ownership.is_shared("/a", 0) is shared

    def test_other_errors_are_told(self, notes: Notes) -> None:
        notes.problem = errno.EIO
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            ownership.is_shared("/a", 0)


class TestRemoveMade:
    def test_its_own_and_what_was_made_for_it(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        (tmp_path / "a/b/c/below").mkdir()
        cgroup.remove_made(record)
        assert os.listdir(tmp_path) == []

    def test_what_is_in_use_stays(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        (tmp_path / "a/other").mkdir()
        cgroup.remove_made(record)
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "other"]

    def test_another_containers_stays(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        """What the record says to have been made is removed when it is empty, not what is in it."""
        (tmp_path / "a/b/c/below").mkdir()
        cgroup.remove_made({**record, "cgroup_id": 1})
        assert (tmp_path / "a/b/c/below").is_dir()

    def test_one_that_a_create_is_about_to_use(self, record: Record, notes: Notes, tmp_path: Path) -> None:
        fd = os.open(tmp_path / "a/b/c", os.O_RDONLY)
        try:
            kernel.flock(fd, kernel.flags("LOCK_EX"))
            cgroup.remove_made({**record, "cgroup_id": 1})
            assert (tmp_path / "a/b/c").is_dir()
        finally:
            os.close(fd)

    def test_no_cgroup2(self, record: Record, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kernel, "fstatfs_type", lambda fd: 1)
        cgroup.remove_made(record)
        assert (tmp_path / "a/b/c").is_dir()

    @pytest.mark.parametrize("mount", ["/no/such", "/dev/null"])
    def test_the_mount_is_gone(self, record: Record, notes: Notes, mount: str) -> None:
        cgroup.remove_made({**record, "cgroup_mount": mount})

    def test_a_mount_that_cannot_be_opened(self, record: Record, notes: Notes) -> None:
        del record["cgroup_id"]
        mount = "/" + "x" * 300
        with pytest.raises(Failure, match=r"^open /x+: .*\(ENAMETOOLONG\)$"):
            cgroup.remove_made({**record, "cgroup_mount": mount})

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO])
    def test_what_is_not_this_users_to_remove(
        self, record: Record, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def rmdir(path: str, dir_fd: int | None = None) -> None:
            raise OSError(number, os.strerror(number))

        del record["cgroup_id"]
        monkeypatch.setattr("posix.rmdir", rmdir)
        if number == errno.EIO:
            with pytest.raises(Failure, match=r"^remove cgroup /a/b/c: input/output error \(EIO\)$"):
                cgroup.remove_made(record)
        else:
            cgroup.remove_made(record)

    def test_a_scope_is_systemds(self, record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked: list[Any] = []
        monkeypatch.setattr("pyruntime.container.systemd.remove_scope", asked.append)
        scope: Record = {**record, "systemd_unit": "c.scope"}
        delete.remove_cgroup(scope)
        assert asked == [scope] and (tmp_path / "a/b/c").is_dir()


class TestRemove:
    def test_children_first(self, tmp_path: Path) -> None:
        (tmp_path / "top/a/b").mkdir(parents=True)
        (tmp_path / "top/c").mkdir()
        cgroup.Cgroup(f"{tmp_path}/top").remove()
        assert os.listdir(tmp_path) == []
        cgroup.Cgroup(f"{tmp_path}/top").remove()

    @pytest.mark.parametrize(
        ("procs", "why"),
        [
            ("3\n", "process 3 is still in it"),
            ("".join(f"{pid}\n" for pid in range(1, 12)), "process 1, 2, 3, 4, 5, 6, 7, 8 is still in it"),
            ("", "it is busy but has no processes"),
        ],
    )
    def test_one_that_is_in_use(self, tmp_path: Path, procs: str, why: str) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/cgroup.procs").write_text(procs)
        with pytest.raises(Failure) as caught:
            cgroup.Cgroup(str(tmp_path)).remove(0)
        assert str(caught.value) == f"cgroup {tmp_path} can't be removed: {why} after 0 s"

    def test_it_is_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        busy, tried = [errno.EBUSY, errno.ENOTEMPTY, errno.EBUSY], []
        asked = []

        def rmdir(path: str, dir_fd: int | None = None) -> None:
            tried.append(path)
            if busy:
                raise OSError(busy.pop(0), "busy")

        def attempts(seconds: float, longest: float) -> Any:
            asked.append((seconds, longest))
            return iter([None, None, None])

        monkeypatch.setattr(cgroup, "attempts", attempts)
        monkeypatch.setattr("posix.rmdir", rmdir)
        cgroup.Cgroup(str(tmp_path)).remove()
        assert len(tried) == 4 and asked == [(5.0, 0.25)]

    def test_other_errors_are_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def rmdir(path: str, dir_fd: int | None = None) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr("posix.rmdir", rmdir)
        with pytest.raises(Failure, match=rf"^remove cgroup {tmp_path}: read-only file system \(EROFS\)$"):
            cgroup.Cgroup(str(tmp_path)).remove()

    def test_wait_until_empty(self, tmp_path: Path) -> None:
        group = cgroup.Cgroup(str(tmp_path))
        (tmp_path / "cgroup.events").write_text("populated 0\n")
        group.wait_until_empty(0)
        (tmp_path / "cgroup.events").write_text("populated 1\n")
        (tmp_path / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in range(1, 12)))
        with pytest.raises(Failure) as caught:
            group.wait_until_empty(0)
        pids = "1, 2, 3, 4, 5, 6, 7, 8"
        assert str(caught.value) == f"cgroup {tmp_path}: process {pids} was killed but does not exit"
