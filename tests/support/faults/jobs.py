"""The tests' side: writes a job for the driver, runs it and fails with what it has found."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support import paths, session
from support.runtime import ENVIRONMENT, SLOWNESS, new_id

PYTHON = paths.REPO / ".venv" / "bin" / "python"
DRIVER = Path(__file__).parent / "driver.py"
FIRST = "PYRUNTIME_FAULTS_FIRST"
"""The environment variable with which a job ends at its first problem: of a mutant (support.defences) one suffices."""
SECONDS = 600.0 * SLOWNESS


def run(workdir: Path, **job: Any) -> dict[str, Any]:
    """Run a job; return its report: problems, count, tolerated."""
    report = workdir / "report.json"
    file = workdir / "job.json"
    (workdir / "pid").mkdir(exist_ok=True)
    # All of these folders are the session's own.
    full = {
        "root": str(workdir / "root"),
        "own": f"{workdir}/",
        "token": session.TOKEN,
        "id": new_id("fault"),
        "folders": [str(workdir / "pid"), str(workdir / "bundle"), "/dev/shm", "/run", "/run/pyruntime-seccomp"],
        "report": str(report),
        "tolerated": [],
        "create": [],
        "first": FIRST in os.environ,
        **job,
    }
    file.write_text(json.dumps(full))
    # Where pyruntime is imported from, when that is a copy of the program (support.defences).
    copy = os.environ.get("PYTHONPATH")
    environment = {**ENVIRONMENT, "PYTHONPATH": copy} if copy else ENVIRONMENT
    done = subprocess.run(
        [str(PYTHON), str(DRIVER), str(file)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"the driver failed: {done.stdout}{done.stderr}"
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def check(workdir: Path, **job: Any) -> dict[str, Any]:
    """Run a job and fail with its problems."""
    report = run(workdir, **job)
    print(f"{report['count']} faults")
    problems = report["problems"]
    shown = "\n".join(problems[:40])
    assert not problems, f"{len(problems)} problems in {report['count']} faults:\n{shown}"
    assert report["count"] > 0
    met, listed = set(report["tolerated"]), set(job.get("tolerated", ()))
    assert met == listed, f"the table of what is tolerated is out of date: {met ^ listed}"
    return report
