"""The root of the states is believed when nobody else can write to it, or to what leads there."""

import errno
import os
from pathlib import Path

import pytest

from pyruntime import files
from pyruntime.container import root
from pyruntime.container.root import trusted
from pyruntime.errors import Failure


def refused(path: Path | str) -> str:
    with pytest.raises(Failure) as caught:
        trusted(str(path))
    return str(caught.value)


class TestPath:
    def test_one_that_exists(self, tmp_path: Path) -> None:
        assert trusted(str(tmp_path)) == trusted(f"{tmp_path}//") == (str(tmp_path), True)
        assert trusted("/") == trusted("//") == ("", True)

    def test_symbolic_links_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        assert trusted(f"{tmp_path}/link") == (f"{tmp_path}/real", True)
        assert trusted(f"{tmp_path}/link/a/b") == (f"{tmp_path}/real/a/b", False)

    @pytest.mark.parametrize("missing", ["/a", "/a/b", "/a/b/c", "/X"])
    def test_one_that_does_not_exist_yet(self, tmp_path: Path, missing: str) -> None:
        assert trusted(f"{tmp_path}{missing}") == (f"{tmp_path}{missing}", False)

    def test_none_of_it_exists(self) -> None:
        assert trusted("/no-such-directory/a") == ("/no-such-directory/a", False)

    def test_what_nobody_can_use_is_left_to_who_uses_it(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "loop").symlink_to("loop")
        for path in (f"{tmp_path}/file/x/", f"{tmp_path}/loop/x", f"{tmp_path}/{'x' * 300}"):
            assert trusted(path) == (path, False)

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL])
    def test_nor_who_may_not_look(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def fail(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("posix.open", fail)
        assert trusted("/x/") == ("/x/", False)

    def test_other_errors_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with monkeypatch.context() as patch:
            patch.setattr("posix.open", fail)
            line = refused("/x")
        assert line == "open the state root: too many open files (EMFILE)"


class TestWrittenByOthers:
    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
    def test_the_root_itself(self, tmp_path: Path, mode: int) -> None:
        (tmp_path / "root").mkdir()
        (tmp_path / "root").chmod(mode)
        assert refused(tmp_path / "root") == (
            f"the state root {tmp_path}/root can't be trusted: {tmp_path}/root can be written by others "
            f"(mode {mode:04o}); give a --root that nobody else can write to"
        )

    @pytest.mark.parametrize("below", ["root", "root/not/yet"])
    def test_a_directory_above(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "above/root").mkdir(parents=True)
        (tmp_path / "above").chmod(0o777)
        assert f"{tmp_path}/above can be written by others (mode 0777)" in refused(tmp_path / "above" / below)
        (tmp_path / "above").chmod(0o1777)  # nobody can rename what is below
        assert trusted(f"{tmp_path}/above/{below}") == (f"{tmp_path}/above/{below}", below == "root")

    def test_a_root_that_does_not_exist_in_a_sticky_directory(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o1777)
        assert trusted(f"{tmp_path}/new") == (f"{tmp_path}/new", False)

    def test_the_first_directory_of_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.lstat
        monkeypatch.setattr("posix.lstat", lambda path: status(0o040777) if path == "/" else real(path))
        assert "/ can be written by others (mode 0777)" in refused(tmp_path)

    def test_a_file_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "file").chmod(0o666)
        assert trusted(f"{tmp_path}/file") == (f"{tmp_path}/file", True)


def status(mode: int = 0o040755, uid: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, 0, 0, 0, 0, 0))


class TestOwner:
    @pytest.fixture(autouse=True)
    def proc(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """The files of procfs that say what ids there are, by path."""
        said = {"/proc/sys/kernel/overflowuid": "65534\n", "/proc/self/uid_map": "         0          0 4294967295\n"}
        monkeypatch.setattr(files, "read_head", lambda path: said[path].encode())
        return said

    def test_root_and_the_caller(self) -> None:
        assert root.why_not(status(uid=0), 1000, sticky=False) is None
        assert root.why_not(status(uid=1000), 1000, sticky=False) is None

    @pytest.mark.parametrize("uid", [1001, 65534])
    def test_somebody_else(self, uid: int) -> None:
        assert root.why_not(status(uid=uid), 1000, sticky=True) == f"belongs to user {uid}"

    def test_of_a_file_it_does_not_matter(self) -> None:
        assert root.why_not(status(0o100666, 1001), 1000, sticky=False) is None

    def test_in_a_user_namespace_roots_are_of_nobody(self, proc: dict[str, str]) -> None:
        proc["/proc/self/uid_map"] = "         0     100000      65536\n"
        assert root.why_not(status(uid=65534), 1000, sticky=False) is None
        assert root.why_not(status(uid=65533), 1000, sticky=False) == "belongs to user 65533"
        assert root.why_not(status(0o040775, 65534), 1000, sticky=False) == "can be written by others (mode 0775)"

    @pytest.mark.parametrize("text", ["", "x", None])
    def test_what_cannot_be_told_is_somebody_else(
        self, proc: dict[str, str], monkeypatch: pytest.MonkeyPatch, text: str | None
    ) -> None:
        def read(path: str) -> bytes:
            if text is None:
                raise FileNotFoundError
            return text.encode()

        monkeypatch.setattr(files, "read_head", read)
        assert root.is_unmapped(65534) is False


def test_files(tmp_path: Path) -> None:
    """Any bytes; to a size, or whole however often it takes to read; no link where that is asked."""
    (tmp_path / "x").write_bytes(b"a\xff\n" * 9)
    (tmp_path / "link").symlink_to("x")
    path, folder = str(tmp_path / "x"), os.open(tmp_path, os.O_RDONLY)
    try:
        assert files.read_head(path, 4) == b"a\xff\na"
        assert files.read_whole(path, chunk=5) == b"a\xff\n" * 9
        assert files.read_head("x", dir_fd=folder) == files.read_whole("link", dir_fd=folder) == b"a\xff\n" * 9
        for read in (files.read_head, files.read_whole):
            with pytest.raises(OSError, match="Too many levels") as caught:
                read("link", dir_fd=folder, flags=files.READ | os.O_NOFOLLOW)
            assert caught.value.errno == errno.ELOOP
    finally:
        os.close(folder)
