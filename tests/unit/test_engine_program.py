"""What init looks up for the program: its home, its file, its directory; without root, on files of the tests."""

import errno
import os
import posix
from pathlib import Path
from typing import Any

import pytest

from pyruntime import kernel
from pyruntime.engine import program
from pyruntime.errors import Failure


@pytest.fixture
def passwd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that is opened in place of /etc/passwd."""
    file, real = tmp_path / "passwd", posix.open

    def opened(path: Any, *rest: Any, **named: Any) -> int:
        return real(str(file) if path == "/etc/passwd" else path, *rest, **named)

    monkeypatch.setattr(posix, "open", opened)
    return file


class TestHome:
    @pytest.mark.parametrize(
        ("text", "home"),
        [
            ("root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n", "/home/me"),
            ("me:x:1000:1000::/home/me:/bin/sh", "/home/me"),
            ("one:x:1000:1::/first:\ntwo:x:1000:1::/second:\n", "/first"),
            ("me:x:1000:1000::/home/me\n", "/home/me"),
            ("me:x:1000:1000::/home/m\xe9:x\n", "/home/m\\udce9"),
            ("me:x:1000:1000:::/bin/sh\n", "/"),
            ("me:x:1000:1000:\nme:x:1000:1000::/later:\n", "/later"),
            ("me:x:10000:1000::/home/me:\n", "/"),
            ("me:x:01000:1000::/home/me:\n", "/"),
            ("", "/"),
        ],
    )
    def test_of_a_user(self, passwd: Path, text: str, home: str) -> None:
        passwd.write_bytes(text.encode("latin-1"))
        assert program.home_of(1000).encode("ascii", "backslashreplace").decode() == home

    def test_without_a_file(self, passwd: Path) -> None:
        assert program.home_of(0) == "/"

    def test_a_file_that_can_not_be_read(self, passwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(_fd: int, _size: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        passwd.write_text("me:x:0:0::/home/me:\n")
        monkeypatch.setattr(posix, "read", read)
        assert program.home_of(0) == "/"

    def test_what_is_no_file(self, passwd: Path) -> None:
        """A fifo of the image does not hold init up, and a directory is no list of users."""
        os.mkfifo(passwd)
        assert program.home_of(0) == "/"
        passwd.unlink()
        passwd.mkdir()
        assert program.home_of(0) == "/"

    def test_what_is_far_into_a_file_is_not_read(self, passwd: Path) -> None:
        passwd.write_text("x" * program.PASSWD_LIMIT + "\nme:x:1000:1000::/home/me:\n")
        assert program.home_of(1000) == "/"

    def test_it_joins_the_environment(self, passwd: Path) -> None:
        passwd.write_text("me:x:7:7::/home/me:\n")
        given = ["A=1"]
        assert program.with_home(given, 7) == ["A=1", "HOME=/home/me"]
        assert given == ["A=1"]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A file that can't be executed in a, programs in b and c, and a folder in d, all of one name."""
    for name, mode in (("a", 0o644), ("b", 0o755), ("c", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text("#!/bin/sh\n")
        (tmp_path / name / "tool").chmod(mode)
    (tmp_path / "d/tool").mkdir(parents=True)
    return tmp_path


class TestFindProgram:
    def find(self, folders: Path, path: str, name: str = "tool") -> str:
        entries = ":".join(f"{folders}/{each}" if each else "" for each in path.split(":"))
        return program.find_program(name, ["X=1", f"PATH={entries}"]).removeprefix(f"{folders}/")

    @pytest.mark.parametrize("path", ["b", "b:c", ":b", "nowhere:b", "d:b", "a:b", "a/tool:b", "b:"])
    def test_the_first_that_can_be_executed(self, folders: Path, path: str) -> None:
        assert self.find(folders, path) == "b/tool"

    def test_the_last_path_counts(self, folders: Path) -> None:
        env = [f"PATH={folders}/c", "PATHS=x", f"PATH={folders}/b"]
        assert program.find_program("tool", env) == f"{folders}/b/tool"

    def test_what_was_found_before(self) -> None:
        assert program.find_program("tool", [], "/there/tool") == "/there/tool"

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("a", 'exec: "tool": permission denied'),
            ("a:d", 'exec: "tool": permission denied'),
            ("d", 'exec: "tool": executable file not found in $PATH'),
            ("nowhere", 'exec: "tool": executable file not found in $PATH'),
        ],
    )
    def test_none(self, folders: Path, path: str, words: str) -> None:
        with pytest.raises(Failure) as caught:
            self.find(folders, path)
        assert (caught.value.what, caught.value.pointer) == (words, "/process/args/0")

    @pytest.mark.parametrize("env", [[], ["PATH="]])
    def test_no_default(self, env: list[str]) -> None:
        with pytest.raises(Failure, match=r"not found in \$PATH \(process.env has none\)"):
            program.find_program("true", env)

    def test_an_empty_part_is_not_the_working_directory(self, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folders / "b")
        with pytest.raises(Failure, match="not found"):
            program.find_program("tool", ["PATH=:"])
        assert program.find_program("tool", ["PATH=."]) == "./tool"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("{0}/a/tool", 'exec: "{0}/a/tool": permission denied'),
            ("{0}/d/tool", 'exec: "{0}/d/tool": is a directory: permission denied'),
            ("{0}/none", 'exec: "{0}/none": stat {0}/none: no such file or directory'),
            ("{0}/a/tool/x", 'exec: "{0}/a/tool/x": stat {0}/a/tool/x: not a directory'),
            ("/" + "x" * 300, f'exec: "/{"x" * 300}": stat /{"x" * 300}: file name too long'),
        ],
    )
    def test_a_path(self, folders: Path, name: str, words: str) -> None:
        with pytest.raises(Failure) as caught:
            program.find_program(name.format(folders), [f"PATH={folders}/b"])
        assert (caught.value.what, caught.value.pointer) == (words.format(folders), "/process/args/0")

    def test_a_path_that_is_right(self, folders: Path) -> None:
        assert program.find_program(f"{folders}/b/tool", []) == f"{folders}/b/tool"

    @pytest.mark.parametrize("name", ["tool", "{0}/b/tool"])
    def test_whether_this_process_may_as_it_is(self, folders: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """By its effective user: the real one may still be root."""
        asked: list[Any] = []

        def access(*args: Any, **named: Any) -> bool:
            asked.append((*args, named))
            return True

        monkeypatch.setattr(posix, "access", access)
        program.find_program(name.format(folders), [f"PATH={folders}/b"])
        assert asked == [(f"{folders}/b/tool", os.X_OK, {"effective_ids": True})]

    def test_early(self, folders: Path) -> None:
        """Before the pid namespace is entered what is not found is left for later, as is all with the directory."""
        env = [f"PATH={folders}/b"]
        assert program.find_program_early("tool", env, True) == f"{folders}/b/tool"
        assert program.find_program_early("tool", env, False) == ""
        assert program.find_program_early("none", env, True) == ""


class TestDirectory:
    @pytest.fixture(autouse=True)
    def _back(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)

    def test_it_is_entered(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        assert program.enter_directory(f"{tmp_path}/there", False) is True
        assert os.getcwd() == f"{tmp_path}/there"

    def test_one_that_is_missing(self, tmp_path: Path) -> None:
        assert program.enter_directory(f"{tmp_path}/none", True) is False
        with pytest.raises(FileNotFoundError):
            program.enter_directory(f"{tmp_path}/none", False)
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError):
            program.enter_directory(f"{tmp_path}/file", True)
        assert os.getcwd() == str(tmp_path)

    def test_late(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        assert program.enter_directory_late(f"{tmp_path}/none", True) is True, "it was done before"
        assert program.enter_directory_late(f"{tmp_path}/none", False, True) is False
        with pytest.raises(FileNotFoundError):
            program.enter_directory_late(f"{tmp_path}/none", False)
        assert program.enter_directory_late(f"{tmp_path}/there", False) is True

    def test_one_outside_of_the_root(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """CVE-2024-21626: what the kernel calls unreachable."""
        monkeypatch.setattr(kernel, "getcwd_raw", lambda: "(unreachable)/x")
        with pytest.raises(Failure, match=r'working directory ".*" is outside the container'):
            program.enter_directory(str(tmp_path), False)


class TestStdio:
    def changed(self, monkeypatch: pytest.MonkeyPatch, status: Any, number: int = 0) -> list[tuple[int, int, int]]:
        """Return the calls of fchown(2), which fails with the errno."""
        calls: list[tuple[int, int, int]] = []

        def fchown(fd: int, uid: int, gid: int) -> None:
            calls.append((fd, uid, gid))
            if number:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(posix, "fstat", lambda fd: status)
        monkeypatch.setattr(posix, "fchown", fchown)
        program.own_stdio(5)
        return calls

    @staticmethod
    def status(mode: int, uid: int) -> os.stat_result:
        return os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))

    @pytest.mark.parametrize("mode", [0o010600, 0o100600, 0o140600])
    def test_it_is_given(self, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
        assert self.changed(monkeypatch, self.status(mode, 0)) == [(0, 5, -1), (1, 5, -1), (2, 5, -1)]

    @pytest.mark.parametrize(("mode", "uid"), [(0o020666, 0), (0o060600, 0), (0o010600, 5)])
    def test_it_stays(self, monkeypatch: pytest.MonkeyPatch, mode: int, uid: int) -> None:
        assert self.changed(monkeypatch, self.status(mode, uid)) == []

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.EROFS, errno.ENOSYS])
    def test_what_can_not_change_owner(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        assert len(self.changed(monkeypatch, self.status(0o100600, 0), number)) == 3

    def test_another_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(OSError, match="Input/output"):
            self.changed(monkeypatch, self.status(0o100600, 0), errno.EIO)


class TestEarlyFilter:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        monkeypatch.setattr(kernel, "seccomp_load", lambda *args: found.append(("load", *args)))
        monkeypatch.setattr(kernel, "capset", lambda *args: found.append(("capset", *args)))
        return found

    def test_one_that_permits_the_rest(self, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]) -> None:
        monkeypatch.setattr(kernel, "seccomp_permits_exec", lambda filter_: True)
        assert program.load_filter_early(b"f", 3, 1, 2, 4) is None
        assert calls == [("load", b"f", 3), ("capset", 1, 2, 4)]

    def test_one_that_does_not(self, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]) -> None:
        monkeypatch.setattr(kernel, "seccomp_permits_exec", lambda filter_: False)
        assert program.load_filter_early(b"f", 3, 1, 2, 4) == b"f"
        assert calls == []
