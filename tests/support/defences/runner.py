"""Runs the tests of defences: once on the program as it is, where they pass, then on each mutant, where they fail.

The runner moves into surroundings like those of the tests (support.session) and is what adopts the orphans of its
pytest processes there: whatever a mutant leaves behind is found and ended, and its mounts go with the surroundings.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from support import leaks, paths, session
from support.defences import mutant, outcome
from support.defences.data import Defence, Unsound
from support.faults.jobs import FIRST

PYTEST = Path(sys.executable).parent / "pytest"
SMOKE = "tests/defences/test_smoke.py::test_a_container_lives"
"""What every mutant must still do."""
SECONDS = 120.0
"""How long the tests of one defence may take."""
COMMAND_SECONDS = 8.0
"""How long a command of a mutant may take; one that hangs is not waited for as long as on a machine that is busy."""
BASELINE_SECONDS = 900.0


class NotProven(Exception):
    """A defence whose tests do not notice that it is missing, or that fail with all defences in place."""


class Runner:
    """Runs defences one after the other, below a scratch directory of its own. Make it once `session.enter` is done."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.base = mutant.make_base(scratch / "base")
        self.unsound: dict[str, str] = {}
        """test -> why it does not pass on the program as it is"""

    def baseline(self, tests: Sequence[str]) -> None:
        """Run tests on the program as it is, and remember those that do not pass: their failing would mean nothing."""
        report, ended, said = self.pytest(self.base, [SMOKE, *tests], BASELINE_SECONDS)
        if not ended:
            said += f"\nno end after {BASELINE_SECONDS:g} s"
        reasons = {test: outcome.why_not_passed(report, test) for test in (SMOKE, *tests)}
        self.unsound = {test: why for test, why in reasons.items() if why is not None}
        if self.unsound:
            print(said)

    def prove(self, defence: Defence) -> outcome.Report:
        """Take one defence out and run its tests; return what became of them.

        Raises NotProven unless each fails by its own assertion, and containers still run; and when one does not pass
        with the defence.
        """
        unsound = [
            f"with all defences in place: {why}" for test in (SMOKE, *defence.tests) if (why := self.unsound.get(test))
        ]
        if unsound:
            raise NotProven("\n".join(unsound))
        place = self.scratch / "mutant"
        try:
            try:
                copy = mutant.make_mutant(self.base, place, defence)
            except Unsound as error:
                raise NotProven(str(error)) from None
            except (SyntaxError, mutant.BuildFailed) as error:
                raise NotProven(f"the edited program can't be built: {error}") from None
            report, ended, said = self.pytest(copy, [SMOKE, *defence.tests], SECONDS, COMMAND_SECONDS)
            judge(defence, report, ended=ended, said=said)
            return report
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def pytest(
        self, copy: mutant.Prefix, tests: Sequence[str], seconds: float, command_seconds: float | None = None
    ) -> tuple[outcome.Report, bool, str]:
        """Run tests on a copy; return what became of them, whether pytest came to its end, and what it printed.

        seconds: for all of it; command_seconds: for each command of the runtime, None for as long as ever.
        """
        report = self.scratch / "report"
        report.unlink(missing_ok=True)
        environment = {**copy.environment(), outcome.FILE: str(report), "TMPDIR": str(self.scratch)}
        if command_seconds is not None:
            environment["PYRUNTIME_TEST_SECONDS"] = str(command_seconds)
            environment[FIRST] = "1"
        environment.pop("CI", None)  # a mutant may leave things behind, also such as no session owns
        command = [str(PYTEST), "-q", "--color=no", "-p", "no:cacheprovider", "-p", outcome.__name__, *tests]
        with open(self.scratch / "output", "w+b") as output:
            process = subprocess.Popen(
                command, cwd=paths.REPO, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            try:
                process.wait(seconds)
                ended = True
            except subprocess.TimeoutExpired:
                ended = False
            finally:
                process.kill()
                process.wait()
                found = outcome.read(report)
                self.clean_up(found.token)
            output.seek(0)
            said = output.read().decode(errors="replace")
        if found.package and not Path(found.package).is_relative_to(copy.package):
            raise NotProven(f"the tests import {found.package}, not the edited package in {copy.package}")
        return found, ended, said[-3000:]

    def clean_up(self, token: str) -> None:
        """End what is left of a pytest process and of its containers, and remove its files."""
        leaks.end_processes()
        for name in leaks.cgroups() if token else ():
            if token in name:
                leaks.remove_cgroup(session.CGROUP_ROOT / name)
        leaks.end_processes()
        for folder in self.scratch.glob("pyrt-*"):
            shutil.rmtree(folder, ignore_errors=True)
        left = leaks.processes() + [name for name in leaks.cgroups() if token and token in name]
        if left:
            raise RuntimeError(f"can't be ended or removed: {left}")


def judge(defence: Defence, report: outcome.Report, *, ended: bool, said: str = "") -> None:
    """Raise NotProven unless containers ran without the defence, and each of its tests failed by its own assertion."""
    problem = outcome.why_not_passed(report, SMOKE)
    if problem is not None:
        raise NotProven(f"without the defence nothing works: {problem}\n{said}")
    problems = []
    for test in defence.tests:
        runs = report.of(test)
        if not ended and defence.hangs and not (runs and all(ran.passed or ran.stopped for ran in runs)):
            continue  # it is this one that hangs
        problem = outcome.why_not_failed(defence, report, test)
        if problem is not None:
            problems.append(problem)
    if not ended and not defence.hangs:
        problems.append(f"the tests did not end within {SECONDS:g} s")
    if problems:
        raise NotProven("\n".join(problems))


def show(defence: Defence, report: outcome.Report) -> None:
    """Print how the tests of a defence failed, which should be for the reason that the entry has in mind."""
    for test in defence.tests:
        texts = [text for ran in report.of(test) for _, text in ran.stopped.values()]
        print(f"    {test}: {texts[0] if texts else 'no end'}"[:1000])


def run(defences: Sequence[Defence], *, verbose: bool = False) -> int:
    """Prove defences and print what was found, verbose: also how tests failed; return how many are not proven."""
    session.enter()
    assert session.temporary is not None
    runner = Runner(session.temporary)
    began = time.monotonic()
    tests = list(dict.fromkeys(test for each in defences for test in each.tests))
    print(f"{len(tests)} tests on the program as it is", flush=True)
    runner.baseline(tests)
    print(f"the program as it is: {time.monotonic() - began:.0f} s", flush=True)
    failed = 0
    for defence in defences:
        start = time.monotonic()
        try:
            report = runner.prove(defence)
            verdict = "proven"
            if verbose:
                show(defence, report)
        except NotProven as problem:
            failed += 1
            verdict = "NOT PROVEN"
            print(f"{defence}: {problem}")
        print(f"{verdict:10} {time.monotonic() - start:5.1f} s  {defence}", flush=True)
    session.leave()
    print(f"{len(defences) - failed} passed, {failed} failed in {time.monotonic() - began:.0f} s")
    return failed
