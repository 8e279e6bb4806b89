"""execveat: a program by its descriptor, and an error that names the call."""

import os
import subprocess
import sys

import pytest

from pyruntime import kernel


def test_execveat_runs_a_program_by_its_descriptor() -> None:
    code = (
        "import os; from pyruntime import kernel\n"
        "fd = os.open('/bin/echo', os.O_PATH | os.O_CLOEXEC)\n"
        "kernel.execveat(fd, '', ['echo', 'by descriptor'], [], kernel.flags('AT_EMPTY_PATH'))"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("by descriptor\n", "")


def test_execveat_names_what_it_could_not_execute() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        kernel.execveat(kernel.flags("AT_FDCWD"), "/no/such/program", ["x"], [], 0)
    assert "/no/such/program" in raised.value.call  # type: ignore[attr-defined]


def test_execveat_leaks_nothing_when_it_fails() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        with pytest.raises(FileNotFoundError):
            kernel.execveat(kernel.flags("AT_FDCWD"), "/no/such/program", ["x"] * 10, ["A=b"], 0)
    assert len(os.listdir("/proc/self/fd")) == before
