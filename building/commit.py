"""Finds the commit that is built, which `pyruntime --version` prints."""

import os
import subprocess
from pathlib import Path

from . import ROOT

RECORDED = "COMMIT"
"""The file of a source distribution that names its commit, because there is no repository to ask."""


def commit(root: Path = ROOT) -> str:
    """Return the commit of the source tree, with -dirty when files have changed since, or "unknown".

    PYRUNTIME_COMMIT overrides it, because scripts/install builds a copy of the tree. Only a repository at the root of
    the tree counts, not one further up, into which a source distribution happens to be unpacked.
    """
    if named := os.environ.get("PYRUNTIME_COMMIT"):
        return named
    if (root / ".git").exists():
        command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        try:
            result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        return result.stdout.strip()
    try:
        return (root / RECORDED).read_text().strip()
    except OSError:
        return "unknown"


def write_module(file: Path) -> Path:
    """Write `pyruntime._build`, the module that contains the commit; return its file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'"""Made at build time."""\n\nCOMMIT = "{commit()}"\n')
    return file
