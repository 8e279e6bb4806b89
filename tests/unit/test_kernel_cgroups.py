"""kernel.cgroups without a cgroup: directories will do."""

from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import Failure
from pyruntime.kernel import cgroups


def test_parents_that_are_gone_again_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a delete removes them that has just found them empty."""
    real = cgroups._linux.mkdir
    removed = []

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(cgroups_linux, name)

        def mkdir(self, path: str, mode: int) -> None:
            if path.endswith("/own") and not removed:
                removed.append((tmp_path / "a/b").rmdir())
            real(path, mode)

    cgroups_linux = cgroups._linux
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.setattr(cgroups, "_linux", Racing())
    try:
        cgroups.make_cgroup(f"{tmp_path}/a/b/own")
    except Failure as failure:
        pytest.fail(str(failure))
    assert removed and (tmp_path / "a/b/own").is_dir()


def test_somebody_else_was_faster(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(Failure, match="own was made by somebody else at this moment"):
        cgroups.make_cgroup(f"{tmp_path}/own")


def test_a_name_that_is_a_file_of_the_kernels(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    with pytest.raises(Failure, match=r"cgroup\.procs is a file of the kernel's"):
        cgroups.make_cgroup(f"{tmp_path}/cgroup.procs")
