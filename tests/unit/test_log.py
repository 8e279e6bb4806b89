"""The log file: what engines read from it."""

import datetime
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime import log


@pytest.fixture(autouse=True)
def new_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A log of its own for each test, which closes its file."""
    monkeypatch.setattr(log, "_log", log.Log())
    yield
    if log._log.fd >= 0:
        os.close(log._log.fd)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_json_line(file: Path) -> None:
    log.setup(str(file), "json", "info", False)
    log.error('say "no"\nand a \x1b, ä')
    text = file.read_text()
    assert text.endswith("}\n") and text.count("\n") == 1
    document = json.loads(text)
    assert set(document) == {"level", "msg", "time"}
    assert (document["level"], document["msg"]) == ("error", 'say "no"\nand a \x1b, ä')
    assert datetime.datetime.fromisoformat(document["time"]).tzinfo == datetime.UTC


def test_a_text_line(file: Path) -> None:
    log.setup(str(file), "text", "info", False)
    log.error('say "no"\nmore')
    assert re.fullmatch(r'time="[0-9T:.-]+Z" level=error msg="say \\"no\\"\\nmore"\n', file.read_text())


def test_lines_are_appended_one_write_each(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("of another process\n")
    writes: list[bytes] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        writes.append(data)
        return real(fd, data)

    monkeypatch.setattr("posix.write", write)
    log.setup(str(file), "json", "info", False)
    for text in ("one", "two"):
        log.error(text)
    assert [json.loads(data)["msg"] for data in writes] == ["one", "two"]
    assert file.read_text().startswith("of another process\n")


def test_text_that_is_not_utf8(file: Path) -> None:
    log.setup(str(file), "json", "info", False)
    log.error("a path \udcff")
    assert json.loads(file.read_text())["msg"] == r"a path \xff"


def test_warnings_come_after_success_and_not_before_an_error(file: Path, capfd: Any) -> None:
    log.setup(str(file), "json", "info", False)
    log.warning("first")
    assert file.read_text() == ""
    log.success()
    assert json.loads(file.read_text())["level"] == "warning"
    file.write_text("")
    log.warning("second")
    log.error("it failed")
    log.success()
    assert json.loads(file.read_text())["msg"] == "it failed"
    assert capfd.readouterr() == ("", ""), "stderr is empty on success"


def test_warnings_reach_stderr_with_debug_only(capfd: Any) -> None:
    log.setup(None, "text", "info", True)
    log.warning("two\nlines")
    assert re.fullmatch(r'time="[^"]+" level=warning msg="two\\nlines"\n', capfd.readouterr().err)


@pytest.mark.parametrize(
    ("level", "flag", "there"), [("info", False, False), ("info", True, True), ("debug", False, True)]
)
def test_debug_lines(file: Path, capfd: Any, level: str, flag: bool, there: bool) -> None:
    log.setup(str(file), "text", level, flag)
    log.debug("what is done")
    assert log.wants_debug() is there
    assert ('level=debug msg="what is done"' in file.read_text()) is there
    assert capfd.readouterr() == ("", ""), "the file is enough"


def test_debug_lines_without_a_file(capfd: Any) -> None:
    log.setup(None, "json", "info", True)
    log.debug("what is done")
    log.error("told by the command itself")
    assert json.loads(capfd.readouterr().err)["msg"] == "what is done"


@pytest.mark.parametrize(("level", "kept"), [("error", False), ("warning", True), ("warn", True), ("trace", True)])
def test_levels(file: Path, level: str, kept: bool) -> None:
    log.setup(str(file), "text", level, False)
    log.warning("w")
    log.error("e")
    assert ("level=warning" in file.read_text()) is kept and "level=error" in file.read_text()


def test_without_a_file_nothing_happens(capfd: Any) -> None:
    log.setup(None, "text", "info", False)
    log.warning("w")
    log.error("e")
    assert capfd.readouterr() == ("", "")


def test_a_log_that_cannot_be_written_changes_nothing() -> None:
    log.setup("/dev/full", "text", "info", False)
    log.error("e")


class TestWarningsForPeople:
    """Of a command whose stderr nobody parses, and where there is no file."""

    def test_one_line(self, capfd: Any) -> None:
        log.setup(None, "json", "info", False)
        log.warning("nobody has asked for it")
        log.show_warnings()
        log.warning("two\nlines\x1b\udcff")
        log.success()
        assert capfd.readouterr() == ("", "pyruntime: warning: two\\nlines\\x1b\\xff\n")

    @pytest.mark.parametrize(("level", "shown"), [("debug", True), ("warn", True), ("error", False)])
    def test_the_level_counts(self, capfd: Any, level: str, shown: bool) -> None:
        log.setup(None, "text", level, False)
        log.show_warnings()
        log.warning("words")
        assert ("warning: words" in capfd.readouterr().err) == shown

    def test_a_file_has_them_alone(self, file: Path, capfd: Any) -> None:
        log.setup(str(file), "text", "info", False)
        log.show_warnings()
        log.warning("words")
        assert "level=warning" in file.read_text() and capfd.readouterr() == ("", "")
