"""pytest on the host: sends the tests of tests/machine to the emulated machine, and takes over their reports."""

import sys
import time
from collections.abc import Generator
from typing import Any

import pytest

from support.machine import boot

KINDS = ("plain", "systemd")


class Sender:
    """Takes the machine's tests out of the run here, and runs them in one boot of each kind that they need."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        away = [item for item in session.items if item.get_closest_marker("machine")]
        skipped = [item for item in away if item.get_closest_marker("skip")]
        session.items[:] = [item for item in session.items if item not in away or item in skipped]
        result = yield
        if session.config.option.collectonly:
            return result
        for kind in KINDS:
            items = [item for item in away if item not in skipped and kind_of(item) == kind]
            if items and not session.shouldstop and not session.shouldfail:
                self._run(session.config, kind, items)
        return result

    def _run(self, config: pytest.Config, kind: str, items: list[pytest.Item]) -> None:
        waiting = {item.nodeid: item for item in items}
        began = time.monotonic()
        show(config, f"booting the {kind} machine for {len(items)} tests")
        try:
            for message in boot.boot(kind, list(waiting)):
                if "collected" in message:
                    show(config, f"the machine is up after {time.monotonic() - began:.0f} s")
                elif "uncollected" in message:
                    self.problems.append(f"the {kind} machine could not collect {message['uncollected']}")
                elif "report" in message:
                    take(config, message["report"], waiting)
                else:
                    self.problems += [f"in the {kind} machine: {line}" for line in message["problems"]]
            why = "the machine did not run this test"
        except boot.MachineFailed as failure:
            why = str(failure)
        show(config, f"the {kind} machine is done after {time.monotonic() - began:.0f} s")
        for item in waiting.values():
            fail(item, why)
            why = "as above"


def kind_of(item: pytest.Item) -> str:
    return "systemd" if item.get_closest_marker("systemd") else "plain"


def show(config: pytest.Config, text: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.ensure_newline()
        reporter.write_line(f"-- {text}")
    sys.stdout.flush()


def take(config: pytest.Config, data: dict[str, Any], waiting: dict[str, pytest.Item]) -> None:
    """Log a report of the guest as if the test had run here."""
    report = config.hook.pytest_report_from_serializable(config=config, data=data)
    item = waiting.get(report.nodeid)
    if item is None:
        return
    if report.when == "setup":
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item.ihook.pytest_runtest_logreport(report=report)
    if report.when == "teardown":
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        del waiting[report.nodeid]


def fail(item: pytest.Item, why: str) -> None:
    """Log a failure of a test that was sent and not reported."""
    report = pytest.TestReport(
        nodeid=item.nodeid, location=item.location, keywords={}, outcome="failed", longrepr=why, when="call"
    )
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
