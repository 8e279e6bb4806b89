"""What continuous integration runs."""

import shutil
import subprocess
from pathlib import Path

from support import paths


def test_every_tier_has_to_run_and_nothing_is_read(tmp_path: Path) -> None:
    """CI=true is set here, and not only where .ci/run is started: else a tier without its needs would be skipped."""
    shutil.copytree(paths.REPO / ".ci", tmp_path / ".ci")
    (tmp_path / "scripts").mkdir()
    stand_in = tmp_path / "scripts/test"
    stand_in.write_text('#!/bin/bash\nread -r line || echo "CI=$CI, $# arguments, nothing to read"\nexit 3\n')
    stand_in.chmod(0o755)
    command = ["bash", f"{tmp_path}/.ci/run"]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin"}, input="y\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "CI=true, 0 arguments, nothing to read\n")
