"""Where exec's process is born: in init's own cgroup, or in the one that --cgroup names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyruntime.container import exec_cgroup as module
from pyruntime.container.exec_cgroup import exec_cgroup, own_cgroup
from pyruntime.errors import Failure, UsageFailure

if TYPE_CHECKING:
    from pyruntime.container.record import Record

RECORD: Record = {"cgroup_mount": "/sys/fs/cgroup", "cgroup": "/a/c"}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("/", "/sys/fs/cgroup/a/c"),
        ("x", "/sys/fs/cgroup/a/c/x"),
        ("/x/y/", "/sys/fs/cgroup/a/c/x/y"),
        ("memory:x", "/sys/fs/cgroup/a/c/x"),
        (":/x", "/sys/fs/cgroup/a/c/x"),
        ("x..y", "/sys/fs/cgroup/a/c/x..y"),
    ],
)
def test_given(given: str, place: str) -> None:
    assert exec_cgroup(1, RECORD, [given]) == place
    assert exec_cgroup(1, {**RECORD, "cgroup": "/a/c/"}, [given]) == place


@pytest.mark.parametrize("given", ["", "..", "/x/../..", "memory:.."])
def test_not_below(given: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        exec_cgroup(1, RECORD, [given])
    assert str(caught.value) == f"--cgroup '{given}' is not a cgroup below the container's"


def test_more_than_one() -> None:
    with pytest.raises(UsageFailure, match="--cgroup is given more than once; a container is in one hierarchy only"):
        exec_cgroup(1, RECORD, ["/", "/"])


class TestOwn:
    @pytest.fixture
    def proc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The file /proc/7/cgroup."""
        file = tmp_path / "cgroup"

        def read_file(path: str) -> bytes:
            assert path == "/proc/7/cgroup"
            return file.read_bytes()

        monkeypatch.setattr(module, "read_file", read_file)
        return file

    @pytest.mark.parametrize("text", ["0::/a/c/x\n", "12:memory:/m\n1:name=systemd:/s\n0::/a/c/x\n", "0::/a/c/x"])
    def test_the_second_version_counts(self, proc: Path, text: str) -> None:
        proc.write_text(text)
        assert exec_cgroup(7, RECORD, []) == "/sys/fs/cgroup/a/c/x"

    def test_a_name_of_any_bytes(self, proc: Path) -> None:
        proc.write_bytes(b"0::/a\r\xff\n")
        assert own_cgroup(7, "/m") == "/m/a\r\udcff"

    @pytest.mark.parametrize("path", ["/../x", "/a (deleted)", "x", ""])
    def test_out_of_sight(self, proc: Path, path: str) -> None:
        proc.write_text(f"0::{path}\n")
        with pytest.raises(Failure) as caught:
            own_cgroup(7, "/m")
        assert str(caught.value) == f"the cgroup of process 7, '{path}', can't be reached from here"

    def test_none_of_the_second_version(self, proc: Path) -> None:
        proc.write_text("1:name=systemd:/s\n")
        with pytest.raises(Failure, match="the cgroup of process 7, '', can't be reached"):
            own_cgroup(7, "/m")

    def test_gone(self) -> None:
        with pytest.raises(Failure, match=r"container not running: its init 4194304 is gone \(.*\(ENOENT\)\)"):
            own_cgroup(1 << 22, "/m")

    def test_a_process(self) -> None:
        own = Path("/proc/self/cgroup").read_text().splitlines()[-1]
        if own.startswith("0::/") and not own.startswith("0::/.."):
            assert own_cgroup(os.getpid(), "/m") == f"/m{own[3:]}"
