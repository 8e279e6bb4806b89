"""Compiled seccomp profiles are kept by root, found again by content, and never taken from anybody else."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import paths

from pyruntime.kernel import seccomp
from pyruntime.plan.seccomp import Profile

DOCKER = json.loads((paths.REPO / "tests/data/configs/docker-plain.json").read_text())["linux"]["seccomp"]


@pytest.fixture
def cache(workdir: Path) -> Iterator[Path]:
    yield workdir / "cache"


def no_compiler(_profile: object) -> bytes:
    raise AssertionError("compiled although it is in the cache")


def test_the_second_time_it_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = seccomp.seccomp_compile(Profile(DOCKER), str(cache))
    assert len(first) % 8 == 0
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(seccomp, "compile_profile", no_compiler)
    assert seccomp.seccomp_compile(Profile(DOCKER), str(cache)) == first


def test_another_profile_is_another_program(cache: Path) -> None:
    docker = seccomp.seccomp_compile(Profile(DOCKER), str(cache))
    changed = {**DOCKER, "defaultErrnoRet": 38}
    other = seccomp.seccomp_compile(Profile(changed), str(cache))
    assert other != docker
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(("uid", "mode"), [(1000, 0o700), (0, 0o770), (0, 0o707)])
def test_a_directory_that_others_could_write_is_not_believed(cache: Path, uid: int, mode: int) -> None:
    name = seccomp.cache_name(Profile(DOCKER))
    cache.mkdir()
    (cache / name).write_bytes(b"\x06\0\0\0\0\0\xff\x7f")  # return SECCOMP_RET_ALLOW
    os.chown(cache, uid, 0)
    cache.chmod(mode)
    assert len(seccomp.seccomp_compile(Profile(DOCKER), str(cache))) > 8


def test_a_link_is_not_followed(cache: Path, workdir: Path) -> None:
    elsewhere = workdir / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    cache.symlink_to(elsewhere)
    assert len(seccomp.seccomp_compile(Profile(DOCKER), str(cache))) > 8
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"1234567", b"x" * (4097 * 8)], ids=["empty", "cut", "too long"])
def test_what_is_no_program_is_made_again(cache: Path, content: bytes) -> None:
    good = seccomp.seccomp_compile(Profile(DOCKER), str(cache))
    (kept,) = cache.iterdir()
    kept.write_bytes(content)
    assert seccomp.seccomp_compile(Profile(DOCKER), str(cache)) == good
    assert kept.read_bytes() == good


def test_a_cache_that_can_not_be_made_costs_only_time(workdir: Path) -> None:
    (workdir / "file").write_text("")
    assert seccomp.seccomp_compile(Profile(DOCKER), str(workdir / "file" / "cache"))


def test_it_does_not_grow_without_end(cache: Path) -> None:
    seccomp.seccomp_compile(Profile(DOCKER), str(cache))
    for number in range(seccomp.MOST):
        (cache / str(number)).write_bytes(b"")
    before = len(list(cache.iterdir()))
    seccomp.seccomp_compile(Profile({**DOCKER, "defaultErrnoRet": 38}), str(cache))
    assert len(list(cache.iterdir())) == before


def test_a_profile_too_deep_to_be_looked_up_is_compiled(cache: Path) -> None:
    deep: list[object] = []
    for _ in range(2500):
        deep = [deep]
    entry = {"names": ["getcwd"], "action": "SCMP_ACT_KILL", "comment": deep}
    assert len(seccomp.seccomp_compile(Profile({**DOCKER, "syscalls": [entry]}), str(cache))) > 8
    assert list(cache.iterdir()) == []
