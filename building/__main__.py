"""Builds only the launcher, as build/bin/pyruntime: run `python -m building` in the source tree.

With PYRUNTIME_LIVE set, the launcher contains no modules and imports them from the source tree (scripts/dev-link).
"""

import subprocess
import sys

from . import launcher

if __name__ == "__main__":
    try:
        launcher.build()
    except subprocess.CalledProcessError as error:  # the compiler has already printed why
        sys.exit(f"{error.cmd[0]} failed with status {error.returncode}")
