"""What a command learns from its caller."""

from __future__ import annotations

import os
import posix
import stat
from pathlib import Path
from typing import Any

import pytest

from pyruntime import caller
from pyruntime.errors import Failure, UsageFailure


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert caller.working_directory() == str(tmp_path)
    assert caller.absolute("a/b") == f"{tmp_path}/a/b"
    assert (caller.absolute("/a"), caller.absolute(""), caller.absolute(None)) == ("/a", None, None)


def test_a_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    monkeypatch.chdir(tmp_path / "d")
    (tmp_path / "d").rmdir()
    with pytest.raises(Failure, match=r"^working directory: no such file or directory \(ENOENT\)$"):
        caller.working_directory()
    with pytest.raises(Failure, match=r"^working directory: no such file or directory \(ENOENT\)$"):
        caller.absolute("x")


@pytest.mark.parametrize(("value", "address"), [(None, None), (b"", None), (b"/n\xff", "/n\udcff")])
def test_notify_socket(monkeypatch: pytest.MonkeyPatch, value: bytes | None, address: str | None) -> None:
    monkeypatch.setattr(posix, "environ", {} if value is None else {b"NOTIFY_SOCKET": value})
    assert caller.notify_socket() == address


@pytest.mark.parametrize(("inherited", "count"), [([], 0), ([True], 1), ([True, True, False, True], 2)])
def test_descriptors(monkeypatch: pytest.MonkeyPatch, inherited: list[bool], count: int) -> None:
    def get(fd: int) -> bool:
        if fd - 3 >= len(inherited):
            raise OSError(9, "Bad file descriptor")
        return inherited[fd - 3]

    monkeypatch.setattr(posix, "get_inheritable", get)
    assert caller.given_fds() == count


class TestRoot:
    def root(self, monkeypatch: pytest.MonkeyPatch, uid: int, status: Any = None, **environment: bytes) -> str:
        def lstat(path: str) -> Any:
            assert path == f"/tmp/pyruntime-{uid}"
            if status is None:
                raise FileNotFoundError(2, "none")
            return os.stat_result([status[0], 0, 0, 0, status[1], 0, 0, 0, 0, 0])

        monkeypatch.setattr(posix, "geteuid", lambda: uid)
        monkeypatch.setattr(posix, "lstat", lstat)
        monkeypatch.setattr(posix, "environ", {name.encode(): value for name, value in environment.items()})
        return caller.default_root()

    def test_places(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.root(monkeypatch, 0, XDG_RUNTIME_DIR=b"/run/user/0") == "/run/pyruntime"
        assert self.root(monkeypatch, 5, XDG_RUNTIME_DIR=b"/run/user/5") == "/run/user/5/pyruntime"
        assert self.root(monkeypatch, 5) == "/tmp/pyruntime-5"
        assert self.root(monkeypatch, 5, (stat.S_IFDIR, 5)) == "/tmp/pyruntime-5"

    @pytest.mark.parametrize("status", [(stat.S_IFDIR, 6), (stat.S_IFLNK, 5), (stat.S_IFREG, 5)])
    def test_somebody_elses(self, monkeypatch: pytest.MonkeyPatch, status: tuple[int, int]) -> None:
        with pytest.raises(UsageFailure) as raised:
            self.root(monkeypatch, 5, status)
        said = "/tmp/pyruntime-5 is not a directory of this user's; set XDG_RUNTIME_DIR, or give --root"
        assert str(raised.value) == said
