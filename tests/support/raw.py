"""Commands and what they say as bytes: for names that are no text."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.runtime import WARNING, Runtime, call


class Said(NamedTuple):
    """What a command gave: exit status, standard output and standard error as bytes."""

    status: int
    out: bytes
    err: bytes

    @property
    def error(self) -> str:
        """The one line of standard error of a command that refused; it must be UTF-8 without control characters."""
        assert self.status in (1, 255), self
        return self.line

    @property
    def line(self) -> str:
        """The one line of standard error beside warnings; all must be UTF-8 without control characters."""
        lines = self.err.split(b"\n")
        while len(lines) > 2 and lines[0].startswith(WARNING.encode()):
            warning = lines.pop(0).decode()
            assert warning.isprintable(), f"control characters on standard error: {self}"
        assert len(lines) == 2 and lines[1] == b"", f"one line on standard error expected: {self}"
        text = lines[0].decode()
        assert text.isprintable(), f"control characters on standard error: {self}"
        assert text.startswith("pyruntime: "), self
        for word in ("internal error", "Traceback", "can't be completed", "load a module", "codec", "\\udc"):
            assert word not in text, self
        return text


def run(runtime: Runtime, *args: str | Path, **options: Any) -> Said:
    """Run a command to its end."""
    return run_command(runtime.command(*args), **options)


def run_command(command: Sequence[str], **options: Any) -> Said:
    """Run a whole command line to its end. Output goes through files: a container that lives on may keep them open."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        status = call(command, given, out, err, **options)
        out.seek(0)
        err.seek(0)
        return Said(status, out.read(), err.read())


def ok(runtime: Runtime, *args: str | Path, **options: Any) -> bytes:
    """Run a command that must succeed without a word on standard error; return its standard output."""
    said = run(runtime, *args, **options)
    assert said.status == 0 and said.err == b"", said
    return said.out
