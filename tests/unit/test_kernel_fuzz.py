"""The extension modules given whatever Python can give: they raise, and nothing more. scripts/sanitize runs this on
modules that report every access beside an object.

Seeded: what fails once fails again. Only calls that can do no harm with any arguments are made.
"""

import array
import os
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyruntime import kernel
from pyruntime.kernel import _linux, _seccomp

ROUNDS = 3000
linux: Any = _linux
HARMLESS = (
    *("fsconfig", "fstatfs_type", "flock", "recv_message", "send_message", "accept", "unix_connect"),
    *("openat2", "open_tree", "statx_mount", "pidfd_open", "pty_number", "bpf_prog_name", "fspick", "move_mount"),
)
"""Calls of the extension that only read, or act on a descriptor that they are given, which is never a real one."""


class Hostile:
    """An object whose conversions fail or lie."""

    def __index__(self) -> int:
        raise ZeroDivisionError

    def __len__(self) -> int:
        raise ZeroDivisionError

    def __getitem__(self, index: int) -> int:
        raise KeyError(index)


WORDS = ("", "a", "a\0b", "\udcff" * 300, "ä" * 5000, "%s%n", "/" * 4096, "tmpfs")
NUMBERS = (-1, -100, 1 << 30, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62, -(1 << 63), 1 << 64, 1 << 80)
"""None is that of a descriptor which is open."""
PLAIN = (
    *(*WORDS, *map(os.fsencode, WORDS), *NUMBERS, *NUMBERS, None, 1.5, Hostile()),
    *(array.array("i", [1, 2]), memoryview(b"data"), bytearray(b"x")),
)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return something that an argument may be."""
    if depth == 2 or rng.random() < 0.8:
        return rng.choice(PLAIN)
    some = [value(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 3, 70 if depth == 0 else 4]))]
    return rng.choice([some, tuple(some)])


@pytest.mark.parametrize("name", [name for name in HARMLESS if hasattr(_linux, name)])
def test_any_arguments(name: str) -> None:
    rng = random.Random(name)
    call: Callable[..., Any] = getattr(_linux, name)
    for _ in range(ROUNDS):
        arguments = [value(rng) for _ in range(rng.randint(0, 6))]
        try:
            found = call(*arguments)
        except Exception as error:
            assert not isinstance(error, SystemError), (name, arguments, error)
        else:
            if name in ("open_tree", "openat2"):
                os.close(found)


def test_poll_of_anything() -> None:
    rng = random.Random(4)
    for _ in range(ROUNDS):
        watched = rng.choice(
            [value(rng), [value(rng)], [(-1, 1)] * rng.choice([0, 64, 65]), [(value(rng), value(rng))]]
        )
        try:
            linux.poll(watched, 0)
        except Exception as error:
            assert not isinstance(error, SystemError), (watched, error)


def test_the_list_is_not_empty() -> None:
    assert len([name for name in HARMLESS if hasattr(_linux, name)]) > 12


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    right.setblocking(False)
    yield left, right
    left.close()
    right.close()


def test_messages_of_all_sizes_with_any_descriptors(pair: tuple[socket.socket, socket.socket]) -> None:
    """What comes arrives whole or is an error; no descriptor of a message that was refused stays open."""
    rng = random.Random(9)
    left, right = pair
    before = os.listdir("/proc/self/fd")
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        refused = 0
        for _ in range(1500):
            data, fds = rng.randbytes(rng.randint(1, 300)), [null] * rng.choice([0, 0, 1, 2, 5, 253])
            most, most_fds = rng.choice([0, 1, 100, 300, 5000]), rng.choice([0, 1, 3, 253])
            socket.send_fds(left, [data], fds)
            try:
                got, opened = linux.recv_message(right.fileno(), most, most_fds)
            except OSError:
                refused += 1
                assert len(data) > most or len(fds) > most_fds
                continue
            for fd in opened:
                os.close(fd)
            assert (got, len(opened)) == (data, len(fds))
        assert 300 < refused < 1400
    finally:
        os.close(null)
    assert os.listdir("/proc/self/fd") == before


def test_credentials_beside_descriptors_are_passed_over(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    socket.send_fds(left, [b"data"], [0])
    data, fds = linux.recv_message(right.fileno(), 100, 20)
    for fd in fds:
        os.close(fd)
    assert data == b"data" and len(fds) == 1


@pytest.mark.parametrize("size", [8 * 65537, 8 * 65536, 8 * 131073, 8 * 3 + 1, 7])
def test_a_filter_that_is_cut_off_is_never_loaded(size: int) -> None:
    """sock_fprog counts instructions in 16 bits: of 65537 only the first would be loaded, here one that allows all."""
    allow = bytes.fromhex("060000000000ff7f")
    filter_ = (allow * (size // 8 + 1))[:size]
    child = os.fork()
    if child == 0:
        try:
            kernel.set_no_new_privs()
            linux.seccomp_load(filter_, 0)
            os._exit(1)
        except OSError as error:
            os._exit(0 if error.errno == 22 else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_seccomp_profiles_of_anything() -> None:
    rng = random.Random(5)
    compiled = 0
    for _ in range(ROUNDS):
        arches: Any = rng.choice([[], ["x86_64"], ["no"], [value(rng)], [None]])
        condition = (rng.choice([0, 5, 6, 1 << 31]), rng.choice([0, 4, 7, 99, -1]), 1, rng.choice([0, 1 << 63]))
        conditions = rng.choice([[], [condition], [condition] * 8, [value(rng)], value(rng)])
        name = rng.choice(["read", "no_such_call", "", "a\0b", value(rng)])
        rules: Any = rng.choice([[], [(0x7FFF0000, name, conditions)], [value(rng)], value(rng)])
        try:
            named = rng.choice([None, [], ["read", "clone3", "no_such_call"], [value(rng)], value(rng)])
            _seccomp.compile(rng.choice([0x7FFF0000, 0, 0x00050001]), arches, rules, named)
            compiled += 1
        except Exception as error:
            assert not isinstance(error, SystemError), (arches, rules, error)
    assert compiled > 100


def test_hooks_of_anything_are_refused_or_started() -> None:
    """spawn names the call that failed in the child, and leaves nothing of it."""
    rng = random.Random(7)
    null = os.open("/dev/null", os.O_RDWR)
    refused = 0
    for _ in range(200):
        argv = rng.choice([["x"], [], ["x" * 200_000], [value(rng)], value(rng)])
        environment = rng.choice([["A=1"], [""], [value(rng)], value(rng)])
        path = rng.choice([None, "/nowhere/at/all", "/bin/true", "/", "a\0b", value(rng)])
        directory = rng.choice([(-1, None), (-1, "/nowhere"), (null, None), (-1, value(rng))])
        filter_ = rng.choice([None, b"", b"x" * 8, bytes.fromhex("060000000000ff7f")])
        stdio = [null, null, null]
        stdio[rng.randrange(3)] = rng.choice([null, null, -1, 1 << 20])
        try:
            os.waitpid(linux.spawn(path, argv, environment, *directory, *stdio, filter_, 0), 0)
        except OSError as error:
            refused += 1
            assert error.call.split("(")[0] in ("execve", "dup2", "chdir", "fchdir", "seccomp"), error.call  # type: ignore[attr-defined]
        except (TypeError, ValueError, OverflowError):
            continue
    os.close(null)
    assert refused > 20
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_programs_of_anything_are_refused_or_executed() -> None:
    """exec_program with broken lists raises before it changes anything; in a child, for one that is well formed."""
    rng = random.Random(3)
    for _ in range(60):
        argv = rng.choice([["x"], [], [value(rng)], value(rng)])
        environment = rng.choice([["A=1"], [value(rng)], value(rng)])
        path = rng.choice([None, "/nowhere/at/all", "a\0b", value(rng)])
        child = os.fork()
        if child == 0:
            try:
                linux.exec_program(path, argv, environment, None, 0, -1, None, -1)
            except Exception as error:
                os._exit(9 if isinstance(error, SystemError) else 1)
            finally:
                os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (1, 126, 127)


@pytest.mark.skipif(os.geteuid() != 0, reason="fsopen needs privilege")
@pytest.mark.parametrize("length", [1, 100, 250, 255, 256, 257, 4000])
def test_what_the_kernel_says_of_a_file_system_is_cut_and_never_written_beside(length: int) -> None:
    fd = linux.fsopen("tmpfs", 0)
    try:
        for key, text in (("size", "x" * min(length, 250)), ("k" * min(length, 250), "v"), ("mode", "\udcff" * 60)):
            with pytest.raises(OSError) as raised:
                linux.fsconfig(fd, linux.constants["FSCONFIG_SET_STRING"], key, text, 0)
            assert len(getattr(raised.value, "kernel_message", "")) < 1100
    finally:
        os.close(fd)
