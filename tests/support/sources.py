"""Copies of what a build needs, to build somewhere else."""

import os
import shutil
from pathlib import Path

from support import paths

NAMES = (
    "pyruntime",
    "building",
    "specs",
    "scripts",
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
)
BUILD_VARIABLES = ("PYRUNTIME_LIVE", "PYRUNTIME_SANITIZE", "PYRUNTIME_COMMIT", "PYRUNTIME_HASH_KEY", "PYTHONPATH")


def copy(target: Path, source: Path = paths.REPO) -> Path:
    """Copy the sources without what earlier builds have left; return the target."""
    leave = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", "_build.py")
    target.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=leave)
        else:
            shutil.copy2(source / name, target / name)
    return target


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what changes a build, and with what is given."""
    return {name: value for name, value in os.environ.items() if name not in BUILD_VARIABLES} | more
