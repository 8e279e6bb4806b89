"""The attackers: programs in C that run in containers, or beside them, against the runtime."""

import functools
import subprocess
import tempfile
from pathlib import Path

from support import paths

SOURCES = paths.REPO / "tests" / "attacks"


@functools.cache
def _code(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / name
        subprocess.run(["gcc", "-O2", "-Wall", "-static", "-o", program, SOURCES / f"{name}.c"], check=True)
        return program.read_bytes()


def place(name: str, where: Path) -> Path:
    """Put an attacker, built statically, into a file that everybody may execute; return the file."""
    where.write_bytes(_code(name))
    where.chmod(0o755)
    return where
