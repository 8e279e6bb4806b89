"""A command in a mount namespace for it alone: whatever it does to mounts there, the session's stay as they are."""

import subprocess
from pathlib import Path

from support.runtime import ENVIRONMENT, SLOWNESS


def apart(workdir: Path, *command: str | Path) -> tuple[int, str]:
    """Run a command; return its exit status, and what it wrote to standard output and error."""
    with (workdir / "apart.txt").open("w+b") as output:
        whole = ["timeout", str(20 * SLOWNESS), "unshare", "--mount", "--propagation", "private", *map(str, command)]
        status = subprocess.call(whole, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ENVIRONMENT)
        output.seek(0)
        return status, output.read().decode(errors="backslashreplace")
