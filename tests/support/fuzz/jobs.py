"""The tests' side of the fuzz: starts drivers, some at once, and tells what they have found."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support import leaks, session
from support.faults.jobs import PYTHON
from support.runtime import ENVIRONMENT, new_id

DRIVER = Path(__file__).parent / "driver.py"


def run(workdir: Path, **job: Any) -> dict[str, Any]:
    """Run a job on all processors; return the reports' problems and counts in one."""
    workers = 1 if job.get("case_text") else len(os.sched_getaffinity(0))
    running = []
    for number in range(workers):
        folder = workdir / str(number)
        (folder / "work").mkdir(parents=True)
        name = new_id("fuzz")
        full = {"first": number, "step": workers, "work": str(folder / "work"), "cgroup": name, **job}
        (folder / "job.json").write_text(json.dumps(full))
        command = [str(PYTHON), "-I", "-X", "utf8", str(DRIVER), str(folder / "job.json")]
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=ENVIRONMENT)
        running.append((process, folder, session.CGROUP_ROOT / name))
    try:
        return merged([ended(process, folder, job.get("seconds", 1200)) for process, folder, _ in running])
    finally:
        for process, _, cgroup in running:
            process.kill()  # the kernel ends process 1 of its place with it, and with that all the others
            process.wait()
            leaks.remove_cgroup(cgroup)


def ended(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> dict[str, Any]:
    """Wait for a driver; return its report."""
    status = process.wait(seconds)
    said = (folder / "err").read_text(errors="backslashreplace")
    assert status == 0, f"the driver failed with status {status}: {said[-3000:]}"
    found: dict[str, Any] = json.loads((folder / "out").read_text())
    return found


def merged(reports: list[dict[str, Any]]) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {}
    for report in reports:
        for problem in report["problems"]:
            known = kinds.setdefault(problem["kind"], {**problem, "count": 0})
            known["count"] += problem["count"]
    counts = {name: sum(report["counts"][name] for report in reports) for name in reports[0]["counts"]}
    refused: dict[str, int] = {}
    for report in reports:
        for kind, count in report["refused"].items():
            refused[kind] = refused.get(kind, 0) + count
    return {"problems": sorted(kinds.values(), key=lambda each: -each["count"]), "counts": counts, "refused": refused}


def shown(report: dict[str, Any]) -> str:
    """Return the problems as text: each kind with how often it was met, a case that has it, and how to run that."""
    lines = [f"{len(report['problems'])} kinds of problems in {report['counts']}"]
    for problem in report["problems"]:
        lines += [f"{problem['count']} x {problem['problem']}", f"    case {problem['case']}: {problem['text'][:3000]}"]
    lines.append("one case alone: PYRUNTIME_FUZZ_CASE='…the JSON, or SEED:NUMBER…' scripts/test fuzz (docs/hacking.md)")
    return "\n".join(lines)
