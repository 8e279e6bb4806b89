"""The pid file: written whole, through nobody's link, in a directory that may be somebody else's."""

from pathlib import Path

import pytest

from pyruntime.engine import calls


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The name of the temporary file, for somebody who can guess it."""
    monkeypatch.setattr("posix.urandom", lambda size: bytes(size))
    return tmp_path / f"pid.{'00' * 8}.tmp"


def test_written(tmp_path: Path, temporary: Path) -> None:
    calls.write_pid_file(str(tmp_path / "pid"), 4711)
    assert (tmp_path / "pid").read_text() == "4711"
    assert not temporary.exists()


@pytest.mark.parametrize("kind", ["link", "link to nothing", "file"])
def test_a_temporary_file_that_is_there_is_left_alone(tmp_path: Path, temporary: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    if kind == "file":
        temporary.write_text("of somebody else")
    else:
        temporary.symlink_to(victim)
    if kind == "link":
        victim.write_text("precious")
    with pytest.raises(FileExistsError):
        calls.write_pid_file(str(tmp_path / "pid"), 4711)
    assert temporary.is_symlink() or temporary.read_text() == "of somebody else"
    assert victim.exists() == (kind == "link")
    assert kind != "link" or victim.read_text() == "precious"
    assert not (tmp_path / "pid").exists()


def test_what_it_made_goes_when_it_fails(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "full").touch()
    with pytest.raises(IsADirectoryError):
        calls.write_pid_file(str(tmp_path / "pid"), 4711)
    assert not temporary.exists()
