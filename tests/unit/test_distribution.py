"""What `python -m build` makes: a source distribution that can be installed, and a wheel that says what it fits."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from support import paths, sources

import pyruntime

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
COMMIT = "0123456789012345678901234567890123456789"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
"""Without isolation and dependencies, so that nothing is fetched."""
OFFLINE = ["--no-index", "--no-build-isolation", "--no-deps"]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    given = sources.environment(**environment)
    done = subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of a tree with a commit, in which something has been built before."""
    tree = sources.copy(tmp_path_factory.mktemp("tree"))
    (tree / "build/bin").mkdir(parents=True)
    (tree / "build/bin/pyruntime").write_text("left by a build before")
    (tree / "pyruntime/_build.py").write_text('COMMIT = "left by a build before"\n')
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", "dist", "."]
    run(*command, cwd=tree, PYRUNTIME_COMMIT=COMMIT)
    (found,) = (tree / "dist").iterdir()
    return found


def members(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def test_it_has_all_sources_and_nothing_that_was_built(sdist: Path, tmp_path: Path) -> None:
    found = members(sdist)
    tree = sources.copy(tmp_path)
    wanted = {str(path.relative_to(tree)) for path in tree.glob("pyruntime/**/*") if path.is_file()}
    wanted |= {str(path.relative_to(tree)) for path in tree.glob("building/*.py")}
    assert wanted <= found, sorted(wanted - found)
    made = {"PKG-INFO", "setup.cfg", "COMMIT"}
    rest = {"setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "specs/config.schema.json"}
    others = {name for name in found - wanted - made - rest if not name.startswith("pyruntime.egg-info/")}
    assert not others


def test_it_can_be_installed(sdist: Path, tmp_path: Path) -> None:
    """By pip, into a prefix of its own; what is installed starts, loads its extension modules, and knows its commit."""
    given = {"PYRUNTIME_HASH_KEY": "00" * 24, "TMPDIR": str(tmp_path)}
    # Else pip would first remove what is installed beside the tests.
    where = ["--ignore-installed", "--prefix", f"{tmp_path}/prefix"]
    run(*PIP, "install", *OFFLINE, *where, sdist, cwd=tmp_path, **given)
    command = tmp_path / "prefix/bin/pyruntime"
    packages = tmp_path / f"prefix/lib/python{sysconfig.get_python_version()}/site-packages"
    assert f"commit: {COMMIT}" in run(command, "--version", cwd=tmp_path)
    assert '"ociVersionMin"' in run(command, "features", cwd=tmp_path)  # asks libseccomp, by an extension module
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/rootfs").mkdir()
    run(command, "spec", "--bundle", tmp_path / "bundle", cwd=tmp_path)
    assert "pivot_root" in run(command, "explain", "--bundle", tmp_path / "bundle", cwd=tmp_path)
    installed = {path.suffix for path in packages.rglob("*") if path.is_file() and "pyruntime" in path.parts}
    assert not installed & {".c", ".h"}
    assert not (packages / "building").exists()


def test_the_wheel_is_for_this_python_only(tmp_path: Path) -> None:
    """The launcher has this Python's library in it, and the places of its modules: py3-none-any would be a lie."""
    tree = sources.copy(tmp_path / "tree")
    # The launcher is not what is looked at: without modules it is built sooner.
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", tmp_path, tree, cwd=tmp_path, PYRUNTIME_LIVE="1")
    (wheel,) = tmp_path.glob("*.whl")
    machine = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-{TAG}-{TAG}-{machine}.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        about = next(name for name in names if name.endswith(".dist-info/WHEEL"))
        words = archive.read(about).decode().splitlines()
    assert f"Tag: {TAG}-{TAG}-{machine}" in words and "Root-Is-Purelib: false" in words
    top = {name.partition("/")[0] for name in names}
    version = wheel.name.split("-")[1]
    assert top == {"pyruntime", f"pyruntime-{version}.dist-info", f"pyruntime-{version}.data"}


def test_the_first_section_of_the_changelog_is_this_version() -> None:
    lines = (paths.REPO / "CHANGELOG.md").read_text().splitlines()
    first = next(line for line in lines if line.startswith("## "))
    assert first.split()[1] == pyruntime.__version__


COMMIT_OF = "import pathlib, sys; from building.commit import commit; print(commit(pathlib.Path(sys.argv[1])))"


def commit_of(tree: Path, **environment: str) -> str:
    return run(sys.executable, "-c", COMMIT_OF, tree, cwd=paths.REPO, **environment).strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_that_is_built(tmp_path: Path) -> None:
    """What is named, else the tree's own repository, else what a source distribution has recorded."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    (tmp_path / "file").write_text("one\n")
    run(*git, "init", "--quiet", cwd=tmp_path, **alone)
    run(*git, "add", "file", cwd=tmp_path, **alone)
    run(*git, "commit", "--quiet", "--message", "x", cwd=tmp_path, **alone)
    head = run(*git, "rev-parse", "HEAD", cwd=tmp_path).strip()
    assert commit_of(tmp_path) == head
    (tmp_path / "file").write_text("two\n")
    assert commit_of(tmp_path) == f"{head}-dirty"
    assert commit_of(tmp_path, PYRUNTIME_COMMIT="named") == "named"
    inside = tmp_path / "unpacked/pyruntime-1"
    inside.mkdir(parents=True)
    assert commit_of(inside) == "unknown"
    (inside / "COMMIT").write_text(f"{COMMIT}\n")
    assert commit_of(inside) == COMMIT
