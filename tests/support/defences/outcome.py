"""What became of the tests of one pytest process: a plugin that writes it down (-p), and the judgement on it.

A test counts as failed only when it failed by an assertion of its own: not when it was not collected, when a fixture or
another exception stopped it, when it was skipped, or when the program that it tests had an internal error. Another
exception counts where the entry names its words (`says`).
"""

import json
import os
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.defences.data import Defence

FILE = "PYRUNTIME_DEFENCES_REPORT"
"""The environment variable that names the file of the report."""
BROKEN = ("internal error:", "Traceback (most recent call last)")
"""Words of a program that is broken, which is no defence taken out."""
ENDLESS = "no end after"
"""How the tests' own helpers say that a command did not end."""


def _write(**fields: object) -> None:
    with open(os.environ[FILE], "a") as file:
        file.write(json.dumps(fields) + "\n")


def pytest_collection_finish(session: pytest.Session) -> None:
    import pyruntime
    from support.session import TOKEN

    _write(package=pyruntime.__file__, token=TOKEN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    own = call.excinfo is not None and issubclass(call.excinfo.type, AssertionError | pytest.fail.Exception)
    text = "" if call.excinfo is None else f"{call.excinfo.typename}: {call.excinfo.value}"
    _write(test=item.nodeid, when=report.when, outcome=report.outcome, own=own, text=text[:4000])
    return report


@dataclass
class Ran:
    """What became of one test: each stage's outcome, and what stopped it."""

    passed: bool = False
    skipped: bool = False
    stopped: dict[str, tuple[bool, str]] = field(default_factory=dict)
    """stage -> was it an assertion, and its text"""


@dataclass
class Report:
    """What a pytest process has written. package: the file of the package that its tests import."""

    package: str = ""
    token: str = ""
    tests: dict[str, Ran] = field(default_factory=dict)

    def of(self, test: str) -> list[Ran]:
        """Return what became of a test; without its parameters named, of all its variants."""
        return [ran for name, ran in self.tests.items() if name == test or name.startswith(f"{test}[")]


def read(file: Path) -> Report:
    """Return what a pytest process has written so far; its last line may be half a one when it was killed."""
    report = Report()
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        report.package = fields.get("package", report.package)
        report.token = fields.get("token", report.token)
        if "test" in fields:
            ran = report.tests.setdefault(fields["test"], Ran())
            if fields["outcome"] == "failed":
                ran.stopped[fields["when"]] = (fields["own"], fields["text"])
            elif fields["outcome"] == "skipped":
                ran.skipped = True
            elif fields["when"] == "call":
                ran.passed = True
    return report


def why_not_passed(report: Report, test: str) -> str | None:
    """Return what is wrong with a test that should have passed, None when it has."""
    runs = report.of(test)
    if not runs:
        return f"{test} did not run"
    for ran in runs:
        if ran.stopped or ran.skipped or not ran.passed:
            return f"{test}: {next((text for _, text in ran.stopped.values()), 'skipped or not run to its end')}"
    return None


def why_not_failed(defence: Defence, report: Report, test: str) -> str | None:
    """Return why a test proves nothing, None when it failed as it should: one of its variants by its own assertion."""
    runs = report.of(test)
    if not runs:
        return f"{test} did not run"
    reasons = [_why_no_proof(defence, ran) for ran in runs]
    return None if None in reasons else f"{test}: {reasons[0]}"


def _why_no_proof(defence: Defence, ran: Ran) -> str | None:
    if ran.skipped:
        return "skipped"
    if "setup" in ran.stopped:
        return f"stopped before it began: {ran.stopped['setup'][1]}"
    stopped = ran.stopped.get("call") or (ran.stopped.get("teardown") if defence.leak else None)
    if stopped is None:
        if "teardown" in ran.stopped:
            return f"passes, and only leaves something behind: {ran.stopped['teardown'][1]}"
        return "passes without the defence" if ran.passed else "was not run to its end"
    own, text = stopped
    if not own and not defence.says:
        return f"stopped by another exception than an assertion: {text}"
    if any(words in text for words in BROKEN):
        return f"the program is broken: {text}"
    if ENDLESS in text and not defence.hangs:
        return f"a command does not end: {text}"
    if defence.says not in text:
        return f"{defence.says!r} is not in: {text}"
    return None
