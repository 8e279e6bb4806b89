"""pytest in the machine: tells each report, as data, to pytest on the host."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

KIND = os.environ.get("PYRUNTIME_MACHINE")
"""How the machine was booted (plain, systemd); None on a host."""
PORT = os.environ.get("PYRUNTIME_MACHINE_PORT", "")
"""The serial port whose other end is the host's."""
PROBLEMS = pytest.StashKey[list[str]]()
"""What fails a session although no test failed, known once it is finished."""


class Teller:
    """Writes one message a line to the host."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._port = os.open(PORT, os.O_WRONLY | os.O_CLOEXEC)

    def tell(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._port, data) :]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tell({"collected": len(session.items)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.tell({"uncollected": f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1]}"})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self.tell({"report": data})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        yield
        problems = self._config.stash.get(PROBLEMS, [])
        self.tell({"end": int(session.exitstatus), "problems": problems})
