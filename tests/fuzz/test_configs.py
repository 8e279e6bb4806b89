"""Engines' configs with seeded changes: each is created, started and deleted on a real kernel.

Whatever comes of it: one line of error at most, nothing left behind, nothing that can't be deleted, no internal error,
no hang, and no container that is silently another than was asked for. The same seed gives the same cases.
"""

import os
from pathlib import Path

from support.fuzz import jobs

SEED = os.environ.get("PYRUNTIME_FUZZ_SEED", "1")
COUNT = int(os.environ.get("PYRUNTIME_FUZZ_COUNT", "5000"))
CASE = os.environ.get("PYRUNTIME_FUZZ_CASE")


def test_configs(workdir: Path) -> None:
    report = jobs.run(workdir, seed=SEED, count=COUNT, case_text=CASE)
    print(report["counts"])
    for kind, count in sorted(report["refused"].items(), key=lambda each: -each[1])[
        : int(os.environ.get("PYRUNTIME_FUZZ_SHOWN", "40"))
    ]:
        print(f"{count:5} refused: {kind}")
    assert not report["problems"], jobs.shown(report)
    if CASE is None:
        counts = report["counts"]
        assert counts["cases"] == COUNT
        # A fuzz that is refused at the door tests the door.
        assert counts["created"] > COUNT / 4 and counts["looked"] > COUNT / 5
