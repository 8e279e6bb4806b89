"""The launcher's start: an interpreter of which only the core is set up does all that a command needs."""

import os
import shutil
import subprocess
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


@pytest.mark.skipif(paths.PEER is not None, reason="pyruntime's own launcher")
def test_what_belongs_to_a_process_is_its_own(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    """A snapshot has the environment, the place and the thread of the process that the build had run."""
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"env > {workdir}/found"]}]}
    bundle.args("true")
    bundle.save()
    for value in ("one", "two=2\nlines"):
        given = {"PATH": "/usr/bin:/bin", "GIVEN": value}
        command = [*runtime.command("run", "--bundle", bundle.path, new_id())]
        subprocess.run(command, env=given, check=True, timeout=60)
        found = (workdir / "found").read_text()
        assert f"GIVEN={value}\n" in found
        assert {line.partition("=")[0] for line in found.splitlines()} - {"lines", "PWD", "SHLVL", "_"} == given.keys()


@pytest.mark.skipif(paths.PEER is not None, reason="pyruntime's own launcher")
def test_another_copy_of_the_installation_uses_its_own_files(workdir: Path) -> None:
    """Where the launcher's modules and extensions are is found out by each process, not by the build."""
    prefix = Path(paths.RUNTIME_BIN).resolve().parents[1]
    packages = next(prefix.glob("lib/python3*/site-packages"))
    copy = workdir / "elsewhere"
    there = copy / packages.relative_to(prefix)
    shutil.copytree(packages / "pyruntime/kernel", there / "pyruntime/kernel")
    (copy / "bin").mkdir()
    shutil.copy(paths.RUNTIME_BIN, copy / "bin/pyruntime")
    trace = ["/usr/bin/strace", "-e", "trace=openat", str(copy / "bin/pyruntime"), "--version"]
    done = subprocess.run(trace, capture_output=True, text=True, check=True, timeout=60)
    assert "libseccomp: " in done.stdout
    opened = [line.split('"')[1] for line in done.stderr.splitlines() if line.startswith("openat")]
    assert [path for path in opened if str(there) in path]
    assert not [path for path in opened if str(packages) in path]


WITNESS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stddef.h>
#include <unistd.h>

int PyGILState_Check(void);
static pthread_key_t key;

__attribute__((constructor)) static void begin(void)
{
	pthread_key_create(&key, NULL);
	pthread_setspecific(key, &key);
}

uid_t geteuid(void)
{
	dprintf(2, "witness: %d %d\n", PyGILState_Check(), pthread_getspecific(key) == &key);
	return 0;
}
"""


@pytest.mark.skipif(paths.PEER is not None, reason="pyruntime's own launcher")
def test_the_thread_of_a_snapshot_is_known_to_the_c_library(workdir: Path) -> None:
    """Extension modules that ask for the GIL would wait for ever for a thread that has lost its state. And the key that
    the build's process had may be somebody else's here."""
    library = workdir / "witness.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=WITNESS, text=True, check=True)
    environment = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": str(library)}
    command = [paths.RUNTIME_BIN, "state", "none"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[0] == "witness: 1 1"
