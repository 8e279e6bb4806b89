"""kernel.cgroups without a cgroup: directories will do."""

import errno
import os
import posix
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.recording import Recorder, fake

from pyruntime.errors import Failure
from pyruntime.kernel import _linux, cgroups


def test_parents_that_are_gone_again_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a delete removes them that has just found them empty."""
    removed: list[Path] = []

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(_linux, name)

        def mkdir(self, path: str, mode: int) -> None:
            if path.endswith("/own") and not removed:
                removed.append(tmp_path / "a/b")
                removed[0].rmdir()
            _linux.mkdir(path, mode)

    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.setattr(cgroups, "_linux", Racing())
    try:
        cgroups.make_cgroup(f"{tmp_path}/a/b/own")
    except Failure as failure:
        pytest.fail(str(failure))
    assert removed and (tmp_path / "a/b/own").is_dir()


def test_somebody_else_was_faster(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(Failure, match="own was made by another process at the same time"):
        cgroups.make_cgroup(f"{tmp_path}/own")


def test_a_name_that_is_a_file_of_the_kernels(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    with pytest.raises(Failure, match=r"cgroup\.procs is a file of the kernel"):
        cgroups.make_cgroup(f"{tmp_path}/cgroup.procs")


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


class TestMake:
    def test_all_parents_that_are_missing(self, tmp_path: Path) -> None:
        cgroups.make_cgroup(f"{tmp_path}/a/b/c/own")
        assert (tmp_path / "a/b/c/own").is_dir()

    def test_it_gives_up_when_others_always_are_faster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        linux = fake(monkeypatch, cgroups, mkdir=FileNotFoundError(2, "gone"))
        monkeypatch.setattr(cgroups, "make_cgroup_parents", lambda path: linux.calls.append(("parents", path)))
        with pytest.raises(FileNotFoundError):
            cgroups.make_cgroup("/x/own")
        assert len(linux.named("mkdir")) == cgroups.RACES + 1
        assert linux.named("parents") == [("/x/own",)] * cgroups.RACES

    def test_there_is_an_end_of_the_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        linux = fake(monkeypatch, cgroups, mkdir=FileNotFoundError(2, "gone"))
        cgroups.make_cgroup_parents("/a/b/c")
        assert [path for path, _ in linux.named("mkdir")] == ["/a/b", "/a"]

    def test_one_that_is_gone_again_was_somebody_elses(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        fake(monkeypatch, cgroups, mkdir=FileExistsError(17, "there"))
        with pytest.raises(Failure, match="was made by another process at the same time; choose another cgroupsPath"):
            cgroups.make_cgroup(f"{tmp_path}/gone")

    def test_a_parent_is_noted_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        noted: list[Any] = []
        monkeypatch.setattr(posix, "setxattr", lambda *args: noted.append(args))
        for _ in range(2):
            cgroups.make_parent_cgroup(f"{tmp_path}/p")
        assert noted == [(f"{tmp_path}/p", "trusted.pyruntime.parent", b"1")]

    @pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EPERM, errno.ENOENT])
    def test_a_note_may_be_impossible(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int) -> None:
        monkeypatch.setattr(posix, "setxattr", Recorder(x=OSError(number, "no")).x)
        cgroups.make_parent_cgroup(f"{tmp_path}/p")
        assert (tmp_path / "p").is_dir()

    def test_another_reason_is_an_error(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(posix, "setxattr", Recorder(x=OSError(errno.EIO, "broken")).x)
        with pytest.raises(OSError) as caught:
            cgroups.make_parent_cgroup(f"{tmp_path}/p")
        call = f'setxattr("{tmp_path}/p", "trusted.pyruntime.parent", "1")'
        assert caught.value.call == call  # type: ignore[attr-defined]


class TestMoveBelow:
    def test_names_are_made_and_the_process_moved(self, cgroup: int, tmp_path: Path) -> None:
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/cgroup.procs").touch()
        fd = cgroups.move_below(cgroup, "a/b", 4711)
        assert os.readlink(f"/proc/self/fd/{fd}") == f"{tmp_path}/a/b"
        assert (tmp_path / "a/b/cgroup.procs").read_text() == "4711"
        assert os.fstat(cgroup), "the container's own stays open"
        os.close(fd)

    def test_a_process_that_can_not_be_moved(self, cgroup: int, tmp_path: Path) -> None:
        """It may be gone; here the file is missing. What was opened on the way is closed (a fixture looks)."""
        with pytest.raises(FileNotFoundError):
            cgroups.move_below(cgroup, "new", 1)
        assert (tmp_path / "new").is_dir()

    def test_what_can_not_be_made(self, cgroup: int, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OSError) as caught:
            cgroups.move_below(cgroup, "file/x", 1)
        assert caught.value.call == 'mkdirat("file/x", "file")'  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ("populated 1\nfrozen 0\n", "^cgroup /c already has processes$"),
        ("populated 0\nfrozen 1\n", "^cgroup /c is frozen$"),
        ("populated 0\nfrozen 0\n", None),
        ("", None),
    ],
)
def test_a_cgroup_that_is_in_use(cgroup: int, tmp_path: Path, events: str, words: str | None) -> None:
    (tmp_path / "cgroup.events").write_text(events)
    if words is None:
        cgroups.check_cgroup_free(cgroup, "/c")
    else:
        with pytest.raises(Failure, match=words):
            cgroups.check_cgroup_free(cgroup, "/c")


def test_a_file_that_is_not_there_is_named(cgroup: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        cgroups.check_cgroup_free(cgroup, "/c")
    assert caught.value.call == 'openat("cgroup.events", O_RDONLY)'  # type: ignore[attr-defined]


class TestControllers:
    def enable(
        self, monkeypatch: pytest.MonkeyPatch, answers: list[int], needed: str = ""
    ) -> tuple[list[tuple[str, str]], OSError | None]:
        """Enable cpu, io and memory; return what is written, of which each fails with the next errno, and the error."""
        written: list[tuple[str, str]] = []

        def write_file(path: str, text: str) -> None:
            written.append((path, text))
            number = answers.pop(0)
            if number:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(cgroups, "write_file", write_file)
        try:
            cgroups.enable_controllers("/cg", "cpu io memory", needed)
        except OSError as error:
            return written, error
        return written, None

    FILE = "/cg/cgroup.subtree_control"

    def test_all_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.enable(monkeypatch, [0]) == ([(self.FILE, "+cpu +io +memory")], None)

    def test_one_by_one_where_one_can_not_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written, error = self.enable(monkeypatch, [errno.ENOENT, 0, errno.ENOENT, 0], "cpu memory")
        assert [text for _, text in written[1:]] == ["+cpu", "+io", "+memory"] and error is None

    def test_one_that_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written, error = self.enable(monkeypatch, [errno.ENOENT, 0, errno.ENOENT], "io")
        assert written[-1] == (self.FILE, "+io")
        assert error is not None
        assert error.kernel_message == "the parent cgroup does not pass it on"  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("number", "words"), [(errno.EBUSY, "it has processes of its own"), (errno.EOPNOTSUPP, "it is in a threaded")]
    )
    def test_what_would_make_it_threaded_is_not_tried(
        self, monkeypatch: pytest.MonkeyPatch, number: int, words: str
    ) -> None:
        written, error = self.enable(monkeypatch, [number, number], "memory")
        assert [text for _, text in written] == ["+cpu +io +memory", "+memory"]
        assert error is not None and error.kernel_message.startswith(words)  # type: ignore[attr-defined]
        assert self.enable(monkeypatch, [number]) == ([(self.FILE, "+cpu +io +memory")], None)


@pytest.mark.parametrize(
    ("kind", "domain", "after"),
    [
        ("domain", "memory", "domain\n"),
        ("domain threaded", "memory", "domain threaded\n"),
        ("threaded", "", "threaded\n"),
        ("domain invalid", "", "threadednvalid\n"),
    ],
)
def test_the_type(cgroup: int, tmp_path: Path, kind: str, domain: str, after: str) -> None:
    """It is written over what is there: a file of the test, unlike the kernel's, keeps the rest."""
    (tmp_path / "cgroup.type").write_text(f"{kind}\n")
    cgroups.settle_cgroup_type(cgroup, "/c", domain)
    assert (tmp_path / "cgroup.type").read_text() == after


@pytest.mark.parametrize("kind", ["threaded", "domain invalid"])
def test_a_threaded_one_has_no_domain_controller(cgroup: int, tmp_path: Path, kind: str) -> None:
    (tmp_path / "cgroup.type").write_text(f"{kind}\n")
    with pytest.raises(Failure) as caught:
        cgroups.settle_cgroup_type(cgroup, "/c", "memory")
    assert str(caught.value) == f"cgroup /c can't have the controller memory: it is in a threaded subtree ({kind})"
    assert (tmp_path / "cgroup.type").read_text() == f"{kind}\n"


class TestLimits:
    @pytest.mark.parametrize("name", ["cgroup.procs", "cgroup.kill", "a/b", "../memory.max", "", ".", ".."])
    def test_what_is_no_limit(self, cgroup: int, tmp_path: Path, name: str) -> None:
        with pytest.raises(Failure, match="is not a file for a limit of a cgroup"):
            cgroups.write_at(cgroup, name, "1")

    def test_the_first_that_exists(self, cgroup: int, tmp_path: Path) -> None:
        (tmp_path / "two").touch()
        cgroups.write_first_at(cgroup, "one", "1", "two", "2")
        assert (tmp_path / "two").read_text() == "2"
        (tmp_path / "one").touch()
        cgroups.write_first_at(cgroup, "one", "1", "two", "3")
        assert ((tmp_path / "one").read_text(), (tmp_path / "two").read_text()) == ("1", "2")


class TestDelegation:
    @pytest.mark.parametrize("listed", [True, False])
    def test_the_directory_and_what_the_kernel_lists(
        self, monkeypatch: pytest.MonkeyPatch, cgroup: int, tmp_path: Path, listed: bool
    ) -> None:
        """A file of the list that this cgroup has not is passed over."""
        (tmp_path / "list").write_text("cgroup.procs\ngone\nmemory.oom.group\n")
        monkeypatch.setattr(cgroups, "DELEGATE", f"{tmp_path}/list" if listed else f"{tmp_path}/none")
        given: list[Any] = []
        monkeypatch.setattr(posix, "fchown", lambda *args: given.append(args))

        def fchownat(_: int, name: str, *rest: int) -> None:
            if name == "gone":
                raise FileNotFoundError(2, "gone")
            given.append((name, *rest))

        fake(monkeypatch, cgroups, fchownat=fchownat)
        cgroups.chown_cgroup(cgroup, 1000)
        names = ["cgroup.procs", "memory.oom.group"] if listed else list(cgroups.DELEGATED)
        assert given == [(cgroup, 1000, -1), *((name, 1000, -1, 0) for name in names)]
