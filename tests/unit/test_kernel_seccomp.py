"""Compiled seccomp profiles and their cache: only one that nobody else can have written is used."""

import os
import posix
import stat
from pathlib import Path
from typing import Any

import pytest
from support.recording import Recorder

from pyruntime.kernel import seccomp

PROGRAM = b"12345678" * 3


class Profile:
    """As much of plan.seccomp.Profile as compiling takes."""

    def __init__(self, entries: Any = ()) -> None:
        self.default: tuple[str, int] = ("SCMP_ACT_ERRNO", 38)
        self.arches: list[str] = []
        self.entries = entries
        self.strict = True

    def rules(self) -> Any:
        return [(("SCMP_ACT_ALLOW", 0), "read", [(0, "SCMP_CMP_MASKED_EQ", 5, 6), (1, "SCMP_CMP_NE", 7, 0)])]

    def named(self) -> list[str]:
        return ["read"]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was compiled; as root, whoever runs the test."""
    found: list[Any] = []

    def compile_profile(profile: Any) -> bytes:
        found.append(profile)
        return PROGRAM

    monkeypatch.setattr(seccomp, "compile_profile", compile_profile)
    monkeypatch.setattr(posix, "geteuid", lambda: 0)
    monkeypatch.setattr(posix, "fstat", as_of_root)
    return found


def as_of_root(fd: int) -> os.stat_result:
    fields = list(os.stat(f"/proc/self/fd/{fd}"))
    if fields[stat.ST_UID] == os.getuid():
        fields[stat.ST_UID] = 0
    return os.stat_result(fields)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_it_is_compiled_once(compiled: list[Any], cache: Path) -> None:
    for _ in range(3):
        assert seccomp.seccomp_compile(Profile(), str(cache)) == PROGRAM
    assert len(compiled) == 1
    (file,) = cache.iterdir()
    assert file.read_bytes() == PROGRAM
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.name) == 64
    seccomp.seccomp_compile(Profile([("SCMP_ACT_LOG", 0)]), str(cache))
    assert len(compiled) == 2 and len(list(cache.iterdir())) == 2


def test_what_the_name_is_of(compiled: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that makes another program of it."""
    names = {seccomp.cache_name(Profile())}
    for name, value in (("default", ("SCMP_ACT_ALLOW", 0)), ("arches", ["x"]), ("entries", [1]), ("strict", False)):
        profile = Profile()
        setattr(profile, name, value)
        names.add(seccomp.cache_name(profile))
    monkeypatch.setattr(seccomp, "CACHE_FORMAT", 99)
    names.add(seccomp.cache_name(Profile()))
    monkeypatch.setattr("pyruntime.kernel._seccomp.version", lambda: (0, 0, 0))
    names.add(seccomp.cache_name(Profile()))
    assert len(names) == 7


@pytest.mark.parametrize("content", [b"", b"1234567", b"12345678" * 4097])
def test_what_can_be_no_program_is_not_used(compiled: list[Any], cache: Path, content: bytes) -> None:
    seccomp.seccomp_compile(Profile(), str(cache))
    (file,) = cache.iterdir()
    file.write_bytes(content)
    assert seccomp.seccomp_compile(Profile(), str(cache)) == PROGRAM
    assert len(compiled) == 2
    file.write_bytes(b"12345678" * 4096)
    assert len(seccomp.seccomp_compile(Profile(), str(cache))) == 4096 * 8
    assert len(compiled) == 2


def test_a_link_is_not_followed(compiled: list[Any], cache: Path, tmp_path: Path) -> None:
    seccomp.seccomp_compile(Profile(), str(cache))
    (file,) = cache.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    seccomp.seccomp_compile(Profile(), str(cache))
    assert len(compiled) == 2


class TestTrust:
    @pytest.mark.parametrize("mode", [0o701, 0o710, 0o770, 0o755, 0o722])
    def test_a_directory_that_others_may_enter(self, compiled: list[Any], cache: Path, mode: int) -> None:
        cache.mkdir()
        cache.chmod(mode)
        seccomp.seccomp_compile(Profile(), str(cache))
        seccomp.seccomp_compile(Profile(), str(cache))
        assert len(compiled) == 2 and list(cache.iterdir()) == []

    def test_one_of_another_user(self, compiled: list[Any], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache.mkdir(mode=0o700)
        fields = list(os.stat(cache))
        fields[stat.ST_UID] = 1000
        monkeypatch.setattr(posix, "fstat", lambda _: os.stat_result(fields))
        assert seccomp.open_cache(str(cache)) == -1

    def test_what_is_none(self, compiled: list[Any], cache: Path, tmp_path: Path) -> None:
        cache.touch()
        assert seccomp.open_cache(str(cache)) == -1
        (tmp_path / "real").mkdir(mode=0o700)
        (tmp_path / "link").symlink_to("real")
        assert seccomp.open_cache(f"{tmp_path}/link") == -1
        assert seccomp.open_cache(f"{tmp_path}/none/below") == -1

    def test_nobody_but_root(self, compiled: list[Any], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(posix, "geteuid", lambda: 1000)
        assert seccomp.seccomp_compile(Profile(), str(cache)) == PROGRAM
        assert not cache.exists()


class TestKeep:
    def test_no_more_than_so_many(self, compiled: list[Any], cache: Path) -> None:
        cache.mkdir(mode=0o700)
        for number in range(seccomp.MOST):
            (cache / str(number)).touch()
        seccomp.seccomp_compile(Profile(), str(cache))
        assert len(list(cache.iterdir())) == seccomp.MOST
        (cache / "0").unlink()
        seccomp.seccomp_compile(Profile(), str(cache))
        assert len(list(cache.iterdir())) == seccomp.MOST

    def test_a_full_disk(self, compiled: list[Any], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing half stays; and one that is written by somebody else at this moment is no error."""
        monkeypatch.setattr(posix, "write", lambda *_: 8)
        assert seccomp.seccomp_compile(Profile(), str(cache)) == PROGRAM
        assert list(cache.iterdir()) == []
        monkeypatch.setattr(posix, "write", Recorder(x=OSError(28, "No space")).x)
        assert seccomp.seccomp_compile(Profile(), str(cache)) == PROGRAM

    def test_a_profile_that_is_nested_too_deeply(self, compiled: list[Any], cache: Path) -> None:
        nested: list[Any] = []
        for _ in range(5000):
            nested = [nested]
        assert seccomp.seccomp_compile(Profile(nested), str(cache)) == PROGRAM
        assert list(cache.iterdir()) == []


class TestCompile:
    def test_what_libseccomp_gets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        libseccomp = Recorder(compile=PROGRAM)
        monkeypatch.setattr("pyruntime.kernel._seccomp.compile", libseccomp.compile)
        assert seccomp.compile_profile(Profile()) == PROGRAM
        rules = [(0x7FFF0000, "read", [(0, 7, 5, 6), (1, 1, 7, 0)])]
        assert libseccomp.named("compile") == [(0x00050000 | 38, [], rules, ["read"], True)]

    def test_a_real_one(self) -> None:
        program = seccomp.compile_profile(Profile())
        assert program and len(program) % 8 == 0

    def test_numbers_of_actions(self) -> None:
        assert seccomp.number(("SCMP_ACT_TRACE", 0x12345)) == 0x7FF02345
        assert seccomp.number(("SCMP_ACT_KILL_PROCESS", 0)) == 0x80000000
