"""Copies of the program, laid out as an installation, from which a defence is taken out.

    <prefix>/bin/pyruntime                            the launcher, which imports from
    <prefix>/lib/python3.X/site-packages/pyruntime    the edited package
                                         …            links to the other packages of .venv

The launcher is a live one (scripts/dev-link): an edit of Python needs no build.
"""

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from support import paths, sources
from support.defences.data import Defence, edited

LAUNCHER = "bin/pyruntime"
INSTALLED = Path(sysconfig.get_path("purelib"))
PACKAGES = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


class BuildFailed(Exception):
    """The edited program can't be built; the text is the compiler's."""


class Prefix:
    """One copy of the program below a directory: `tree`, the sources, and what an installation would be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = path / "tree"
        self.launcher = path / LAUNCHER
        self.packages = path / PACKAGES
        self.package = self.packages / "pyruntime"

    def environment(self) -> dict[str, str]:
        """Return the environment in which tests run this copy, and import from it."""
        return {
            **os.environ,
            "PYRUNTIME_BIN": str(self.launcher),
            "PYTHONPATH": f"{self.packages}:{paths.REPO / 'tests'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def make_base(path: Path) -> Prefix:
    """Copy the working tree as it is, and build a live launcher for it."""
    base = Prefix(path)
    sources.copy(base.tree)
    base.packages.mkdir(parents=True)
    for entry in INSTALLED.iterdir():
        if not entry.name.startswith(("pyruntime", "__pycache__")):
            (base.packages / entry.name).symlink_to(entry)
    fill_package(base)
    build_launcher(base, live=True)
    return base


def fill_package(prefix: Prefix) -> None:
    """Lay the package out as it is installed, extensions and schema included, with its byte code."""
    leave = shutil.ignore_patterns("*.c", "*.h", "launcher")
    shutil.copytree(prefix.tree / "pyruntime", prefix.package, ignore=leave)
    for extension in (INSTALLED / "pyruntime/kernel").glob(f"*{SUFFIX}"):
        shutil.copy2(extension, prefix.package / "kernel")
    shutil.copy2(prefix.tree / "specs/config.schema.json", prefix.package / "spec")
    (prefix.package / "_build.py").write_text('COMMIT = "unknown"\n')
    compileall.compile_dir(prefix.package, quiet=2)


def build_launcher(prefix: Prefix, *, live: bool) -> None:
    """Build the launcher from the prefix's sources. Raises BuildFailed."""
    environment = sources.environment(PYRUNTIME_COMMIT="unknown")
    if live:
        environment["PYRUNTIME_LIVE"] = "1"
    _build(prefix, [sys.executable, "-m", "building"], environment)
    prefix.launcher.parent.mkdir(exist_ok=True)
    shutil.copy2(prefix.tree / "build/bin/pyruntime", prefix.launcher)


def _build(prefix: Prefix, command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=prefix.tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildFailed(done.stderr.strip()[-2000:])


def make_mutant(base: Prefix, path: Path, defence: Defence) -> Prefix:
    """Copy the base without the defence. Raises Unsound when an edit does not apply, BuildFailed, SyntaxError."""
    mutant = Prefix(path)
    texts = edited(defence, base.tree)
    for file, text in texts.items():
        if file.endswith(".py"):
            compile(text, file, "exec")
    needs_build = defence.snapshot or any(not file.endswith(".py") for file in texts)
    shutil.copytree(base.packages, mutant.packages, symlinks=True, copy_function=os.link)
    mutant.launcher.parent.mkdir()
    os.link(base.launcher, mutant.launcher)
    for file, text in texts.items():
        if file.endswith(".py"):
            replace(mutant.packages / file, text)
    if needs_build:
        shutil.copytree(base.tree, mutant.tree, ignore=shutil.ignore_patterns("build"))
        for file, text in texts.items():
            (mutant.tree / file).write_text(text)
        mutant.launcher.unlink()
        build_launcher(mutant, live=not defence.snapshot)
    if any(file.startswith("pyruntime/kernel/src/") for file in texts):
        _build(mutant, [sys.executable, "setup.py", "-q", "build_ext", "--inplace"])
        for extension in (mutant.tree / "pyruntime/kernel").glob(f"*{SUFFIX}"):
            (mutant.package / "kernel" / extension.name).unlink()
            shutil.copy2(extension, mutant.package / "kernel")
    return mutant


def replace(file: Path, text: str) -> None:
    """Put other text in a file that may be linked elsewhere too, and other byte code beside it."""
    file.unlink()
    for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        stale.unlink()
    file.write_text(text)
    compileall.compile_file(file, quiet=2)
