"""The launcher's start: an interpreter of which only the core is set up does all that a command needs."""

import os
import shutil
from pathlib import Path

import pytest
from support import paths
from support.bundle import Bundle
from support.runtime import Runtime, new_id, says


@pytest.mark.parametrize("name", [b"b\xc3\xbcndel", b"b\xfcndel"])
def test_paths_beyond_ascii(runtime: Runtime, bundle: Bundle, workdir: Path, name: bytes) -> None:
    """Names of files are bytes: UTF-8, or anything else. No codec is looked up for them."""
    bundle.sh("echo grüße; cat /etc/hostname 2>/dev/null; exit 5")
    bundle.save()
    there = workdir / os.fsdecode(name)
    shutil.move(bundle.path, there)
    result = runtime.run("run", "--bundle", there, new_id())
    assert (result.status, result.stdout.splitlines()[0], result.stderr) == (5, "grüße", "")


def test_an_argument_that_is_no_utf8_is_told_in_one_line(runtime: Runtime) -> None:
    says(runtime.fails("state", os.fsdecode(b"a\xff")), "invalid container")


def test_what_is_not_in_the_launcher_is_imported_as_ever(runtime: Runtime, bundle: Bundle) -> None:
    """The schema's own words come from jsonschema, which needs a complete interpreter."""
    bundle.config["hostname"] = 5
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), "/hostname")


@pytest.mark.skipif(paths.PEER is not None, reason="pyruntime's own variables")
def test_nothing_of_the_launcher_reaches_the_program(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    bundle.args("env")
    out = runtime.ok("run", "--trace", workdir / "t.json", "--bundle", bundle.save(), new_id())
    assert "PYRUNTIME" not in out and "PATH=" in out


@pytest.mark.skipif(paths.PEER is not None, reason="pyruntime's own variables")
def test_nothing_of_the_launcher_reaches_a_hook(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    file = workdir / "environment"
    script = f"env > {file}"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["A=1"]}]}
    bundle.args("true")
    runtime.ok("run", "--trace", workdir / "t.json", "--bundle", bundle.save(), new_id())
    assert "A=1" in file.read_text() and "PYRUNTIME" not in file.read_text()
