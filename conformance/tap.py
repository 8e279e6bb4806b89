"""Reads the output of a runtime-tools validation program (TAP version 13) and judges it.

The programs exit with 0 even when an assertion failed; some make no assertion at all and put their finding into a YAML
block only; and those that print what the tester inside the container printed say nothing when it did not run. So the
verdict is made here, from everything a program says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

ASSERTION = re.compile(r"^(not )?ok\b\s*(\d+)?\s*(?:- )?(.*)$")
DIRECTIVE = re.compile(r"#\s*(SKIP|TODO)\b\s*(.*)$", re.IGNORECASE)
PLAN = re.compile(r"^1\.\.(\d+)\s*(#.*)?$")
YAML_ERROR = re.compile(r'^\s+"?error"?:\s*(.*)$')


@dataclass
class Report:
    """What the lines of one TAP stream say."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    plan: int | None = None

    @property
    def assertions(self) -> int:
        return self.passed + len(self.failed) + len(self.skipped)


@dataclass
class Known:
    """One entry of known.toml: what has to be known to judge a program of the suite.

    diagnostic: text of an `error:` that does not count. silent: no output is the right output.
    attempts: how often to try.
    """

    reason: str
    diagnostic: str = ""
    silent: bool = False
    attempts: int = 1


def parse(text: str) -> Report:
    """Collect assertions, skips, the plan and the `error:` lines of YAML blocks from TAP text."""
    report = Report()
    for line in text.splitlines():
        if plan := PLAN.match(line):
            report.plan = int(plan[1])
        elif assertion := ASSERTION.match(line):
            _add_assertion(report, bool(assertion[1]), assertion[3].strip())
        elif error := YAML_ERROR.match(line):
            report.errors.append(error[1].strip().strip('"'))
    return report


def _add_assertion(report: Report, negative: bool, description: str) -> None:
    directive = DIRECTIVE.search(description)
    if directive:
        report.skipped.append(directive[2] or directive[1].upper())
    elif negative:
        report.failed.append(description)
    else:
        report.passed += 1


def judge(report: Report, exit_status: int, stdout: str, stderr: str, known: Known | None) -> list[str]:
    """Return why the program failed, one line each; an empty list means that it passed.

    exit_status is negative for a program ended by a signal. `known` is the test's entry of known.toml.
    """
    problems = [f"not ok: {line}" for line in report.failed]
    if exit_status:
        how = f"exit status {exit_status}" if exit_status > 0 else f"ended by signal {-exit_status}"
        problems.append(f"{how}: {_last_line(stdout + stderr)}")
    elif not stdout.strip():
        if not (known and known.silent):
            problems.append("no output: the tester inside the container did not run")
    elif report.plan is None:
        problems.append(f"no plan line, the tester ended early: {_last_line(stdout + stderr)}")
    elif report.plan != report.assertions:
        problems.append(f"{report.assertions} assertions, but the plan says {report.plan}")
    elif not report.assertions:
        problems.extend(_silent_errors(report, stderr, known))
    return problems


def _silent_errors(report: Report, stderr: str, known: Known | None) -> list[str]:
    """A program without assertions reports a failure as the `error:` of a YAML block, or as a warning on stderr."""
    allowed = known.diagnostic if known else ""
    warnings = [line for line in stderr.splitlines() if line.startswith("WARNING:")]
    return warnings + [f"error: {line}" for line in report.errors if not (allowed and allowed in line)]


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
