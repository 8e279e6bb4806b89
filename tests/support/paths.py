"""Where things are, and which runtime is tested."""

import os
import shutil
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUSYBOX_BUNDLE = REPO / "bundles" / "busybox"

RUNTIME_BIN = os.environ.get("PYRUNTIME_BIN") or str(REPO / ".venv" / "bin" / "pyruntime")
"""The command under test. PYRUNTIME_BIN=/usr/sbin/runc or /usr/bin/crun runs the same tests against a peer."""

PEER = Path(RUNTIME_BIN).name if Path(RUNTIME_BIN).name in ("runc", "crun") else None
"""The name of the peer under test, None for pyruntime."""

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def system_command(name: str) -> str | None:
    """Return Debian's own command of that name, not what stands earlier in the caller's PATH."""
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
