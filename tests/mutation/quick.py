"""Runs tests on a copy of the program in a fork of this process, which has imported pytest and the libraries before.

That saves most of the time of a run of few tests. Nothing of the program is imported here.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

import jsonschema  # noqa: F401
import pytest
from support import paths
from support.defences.mutant import Prefix

OPTIONS = ("-x", "-q", "--tb=short", "-p", "no:cacheprovider")
OWN = ("pyruntime", "support", "conftest")
"""Modules that a fork imports anew, from the copy or for it."""


def run(place: Prefix, files: list[str], seconds: float) -> str | None:
    """Run unit tests on a copy until the first fails; return what pytest says then, None when all of them pass."""
    if not files:
        return None
    with tempfile.TemporaryFile("w+", dir=place.path) as output:
        pid = os.fork()
        if pid == 0:
            status = 3
            try:
                signal.alarm(int(seconds))
                status = child(place, files, output.fileno())
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            return None
        output.seek(0)
        return output.read()[-3000:] if status > 0 else f"ended by signal {-status}"


def child(place: Prefix, files: list[str], output: int) -> int:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.environ.update(place.environment(), TMPDIR=str(place.path.parent))
    os.environ.pop("CI", None)
    tempfile.tempdir = None
    os.chdir(paths.REPO)
    sys.path[:0] = [str(place.packages), str(Path(__file__).parents[1])]
    sys.path_importer_cache.clear()
    sys.dont_write_bytecode = True
    for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
        del sys.modules[name]
    # What is read to collect the others takes longer than most tests, and the first file notices most mutants.
    return int(pytest.main([*OPTIONS, files[0]]) or (pytest.main([*OPTIONS, *files[1:]]) if files[1:] else 0))
