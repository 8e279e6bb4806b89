"""Builds the launcher alone, as build/bin/pyruntime: `python -m building`, in the source tree.

With PYRUNTIME_LIVE set it carries no modules and imports them from the source tree (scripts/dev-link).
"""

import subprocess
import sys

from . import launcher

if __name__ == "__main__":
    try:
        launcher.build()
    except subprocess.CalledProcessError as error:  # the compiler has already printed why
        sys.exit(f"{error.cmd[0]} failed with status {error.returncode}")
