"""Compiles a seccomp profile to BPF with libseccomp, and caches the result.

libseccomp takes about ten milliseconds to compile Docker's profile, and engines send the same one every time. So for
root, compiled programs are kept in CACHE, a directory that only root can write, under a hash of everything they depend
on. The cache may be removed at any time; without it everything works, only slower.
"""

from __future__ import annotations

import marshal
import posix

from .. import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Profile(Protocol):
        """A profile as plan.seccomp builds it from the config; see there."""

        strict: bool
        default: tuple[str, int]
        arches: list[str]
        entries: list[dict[str, Any]]

        def rules(self) -> list[tuple[tuple[str, int], str, list[tuple[int, str, int, int]]]]: ...
        def named(self) -> list[str] | None: ...


CACHE = "/run/pyruntime-seccomp"
CACHE_FORMAT = 3
"""Incremented when the same profile compiles to a different program."""
MOST = 64
"""The most programs to keep; a host uses a handful of profiles, and a cache of more would not help."""
INSTRUCTION = 8
LONGEST = 4096 * INSTRUCTION
"""BPF_MAXINSNS, as bytes."""

# libseccomp's stable ABI (seccomp.h); the kernel's own headers have no names for the comparisons.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}


def seccomp_compile(profile: Profile, cache: str = CACHE) -> bytes:
    """Return the BPF program of a plan.seccomp.Profile, from the cache if possible.

    Raises OSError with the libseccomp call that failed.
    """
    directory = open_cache(cache)
    if directory < 0:
        return compile_profile(profile)
    try:
        try:
            name = cache_name(profile)
        except ValueError:  # nested too deeply for marshal, in a field that is not used
            return compile_profile(profile)
        program = read_program(directory, name)
        if program is None:
            program = compile_profile(profile)
            keep_program(directory, name, program)
        return program
    finally:
        posix.close(directory)


def compile_profile(profile: Profile) -> bytes:
    """Compile with libseccomp."""
    from ._seccomp import compile as compile_rules

    rules = [
        (number(action), name, [(index, OPERATORS[op], value, two) for index, op, value, two in conditions])
        for action, name, conditions in profile.rules()
    ]
    return compile_rules(number(profile.default), profile.arches, rules, profile.named(), profile.strict)


def number(action: tuple[str, int]) -> int:
    name, value = action
    return ACTIONS[name] | (value & 0xFFFF)


def open_cache(path: str) -> int:
    """Return a descriptor of the cache directory, made when missing; -1 when it can't be opened or trusted.

    Only root uses it, and only when no other user can have written there: a forged filter would protect nothing.
    """
    if posix.geteuid() != 0:
        return -1
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        try:
            directory = posix.open(path, flags)
        except FileNotFoundError:
            posix.mkdir(path, 0o700)
            directory = posix.open(path, flags)
    except OSError:
        return -1
    status = posix.fstat(directory)
    if status.st_uid != 0 or status.st_mode & 0o077:
        posix.close(directory)
        return -1
    return directory


def cache_name(profile: Profile) -> str:
    """Return the file's name: a hash of the profile, of libseccomp's version and of how libseccomp is used here."""
    from _blake2 import blake2b

    from ._seccomp import version

    how = (CACHE_FORMAT, version(), posix.uname().machine, profile.strict)
    everything = (*how, profile.default, profile.arches, profile.entries)
    # Version 2 of the format does not record object identity, so equal profiles have equal bytes.
    return str(blake2b(marshal.dumps(everything, 2), digest_size=32).hexdigest())


def read_program(directory: int, name: str) -> bytes | None:
    """Return a cached program, None when there is none or it can't be valid."""
    try:
        program = files.read_head(name, LONGEST + 1, dir_fd=directory, flags=files.READ | posix.O_NOFOLLOW)
    except OSError:
        return None
    if not program or len(program) > LONGEST or len(program) % INSTRUCTION:
        return None
    return program


def keep_program(directory: int, name: str, program: bytes) -> None:
    """Write a complete program or none: a full disk only costs the time to compile again."""
    temporary = f"{name}.{posix.getpid()}"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        if len(posix.listdir(directory)) >= MOST:
            return
        fd = posix.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            written = posix.write(fd, program)
        finally:
            posix.close(fd)
        if written == len(program):
            posix.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            posix.unlink(temporary, dir_fd=directory)
    except OSError:
        return
