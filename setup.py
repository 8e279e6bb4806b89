"""What pyproject.toml can't say: the C code and the launcher. The work is done by the package `building`."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent))

from building import commands, launcher  # noqa: E402

setup(ext_modules=commands.extensions(), data_files=[("bin", [launcher.LAUNCHER])], cmdclass=commands.COMMANDS)
