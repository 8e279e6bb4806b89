"""`tmpcopyup`: what is copied keeps its kind, mode and owner."""

import os
import posix
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.recording import Recorder

from pyruntime.kernel import _linux, copyup


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


class TestCopyUp:
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[int]:
        (tmp_path / "target").mkdir()
        fd = os.open(tmp_path / "target", os.O_PATH)
        yield fd
        os.close(fd)

    def test_everything_as_it_is(self, tmp_path: Path, folder: int, target: int) -> None:
        source = tmp_path / "image"
        (source / "d/e").mkdir(parents=True)
        (source / "d").chmod(0o2750)
        (source / "d/e/file").write_bytes(b"content" * 500_000)
        (source / "d/e/file").chmod(0o4711)
        (source / "empty").touch(0o600)
        (source / "link").symlink_to("/nowhere")
        (source / "dlink").symlink_to("d")
        os.mkfifo(source / "fifo")
        (source / "fifo").chmod(0o622)
        copyup.copy_up(folder, "/image", target)
        made = tmp_path / "target"
        assert (made / "d/e/file").read_bytes() == b"content" * 500_000
        assert (os.readlink(made / "link"), os.readlink(made / "dlink")) == ("/nowhere", "d")
        assert (made / "fifo").is_fifo()
        for name in ("d", "d/e", "d/e/file", "empty", "fifo"):
            before, after = (source / name).lstat(), (made / name).lstat()
            assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid), name
        assert sorted(each.name for each in made.iterdir()) == ["d", "dlink", "empty", "fifo", "link"]

    def test_there_is_nothing(self, tmp_path: Path, folder: int, target: int) -> None:
        (tmp_path / "file").touch()
        for path in ("/none", "/file", "/none/below"):
            copyup.copy_up(folder, path, target)
        assert list((tmp_path / "target").iterdir()) == []

    def test_a_device(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With its numbers; made without a mode of its own, which comes after the owner."""
        source, target = os.open("/dev", os.O_RDONLY), os.open(tmp_path, os.O_PATH)
        order: list[Any] = []
        linux = Recorder(_linux, mknodat=lambda *args: order.append(("mknodat", *args)))
        monkeypatch.setattr(copyup, "_linux", linux)
        monkeypatch.setattr(posix, "listdir", lambda _: ["null"])
        monkeypatch.setattr(posix, "chown", lambda *args, **named: order.append(("chown", *args)))
        monkeypatch.setattr(posix, "chmod", lambda *args, **named: order.append(("chmod", *args)))
        copyup.copy_directory(source, target)
        status = os.stat("/dev/null")
        assert order == [
            ("mknodat", target, "null", stat.S_IFCHR | 0o600, 1, 3), ("chown", "null", status.st_uid, status.st_gid),
            ("chmod", "null", stat.S_IMODE(status.st_mode)),
        ]  # fmt: skip
        assert linux.calls
        os.close(source)
        os.close(target)
