"""Log lines in the two formats that engines read: text, and JSON objects, one per line and one write(2) each."""

from __future__ import annotations

import posix
import sys
import time

from .errors import Failure, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Where lines go: a file opened for append (shared by many processes), and stderr with --debug."""

    __slots__ = ("debug", "fd", "json", "level")

    def __init__(self) -> None:
        self.fd = -1
        self.json = False
        self.debug = False
        self.level = LEVELS.index("info")


_log = Log()


def setup(path: str | None, log_format: str, level: str, debug: bool) -> None:
    """Open the log file; raise Failure when it can't be opened."""
    _log.json = log_format == "json"
    _log.debug = debug
    _log.level = 0 if debug else LEVELS.index(level if level in LEVELS else "info")
    if path:
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
        try:
            _log.fd = posix.open(path, flags, 0o644)
        except OSError as error:
            raise Failure(f"open log file {path}", error) from None


def warning(text: str) -> None:
    """Tell something that went not quite as asked. stderr stays empty unless --debug: callers read it as an answer."""
    write("warning", text)
    if _log.debug:
        sys.stderr.write(f"pyruntime: warning: {one_line(text)}\n")


def error(text: str) -> None:
    """Tell the one error of a command in the log file."""
    write("error", text)


def write(level: str, text: str) -> None:
    """Append one line; a log that can't be written must not change what the command does."""
    if _log.fd < 0 or LEVELS.index(level) < _log.level:
        return
    text = one_line(text)
    line = json_line(level, text) if _log.json else text_line(level, text)
    try:
        posix.write(_log.fd, line.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def json_line(level: str, text: str) -> str:
    return f'{{"level":{quote(level)},"msg":{quote(text)},"time":{quote(now())}}}\n'


def text_line(level: str, text: str) -> str:
    return f"time={quote(now())} level={level} msg={quote(text)}\n"


def quote(text: str) -> str:
    """Return text as a JSON string."""
    from _json import encode_basestring_ascii

    quoted: Any = encode_basestring_ascii(text)
    return str(quoted)


def now() -> str:
    """Return the time in RFC 3339, with nanoseconds, UTC."""
    ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09}Z"
