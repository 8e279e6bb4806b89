"""Log lines in the two formats that engines read, text and JSON: one message per line and per write(2)."""

from __future__ import annotations

import posix

from .text import encode_shown, one_line, shown

LEVELS = ("debug", "info", "warning", "error")
ALIASES = {"trace": "debug", "warn": "warning", "fatal": "error", "panic": "error"}
"""Other names that runc and crun have for these levels."""
STDERR = 2


class Log:
    """Where lines go: a file opened for append (shared by many processes), else stderr with --debug.

    held: warnings that are not written yet. Podman reads the whole JSON file of a failed command as one object, so it
    must contain nothing but the error. shows_warnings: without a file, warnings go to stderr.
    """

    __slots__ = ("debug", "fd", "held", "json", "level", "shows_warnings")

    def __init__(self) -> None:
        self.held: list[str] = []
        self.fd = -1
        self.json = False
        self.debug = False
        self.shows_warnings = False
        self.level = LEVELS.index("info")


_log = Log()


def setup(path: str | None, log_format: str, level: str, debug: bool) -> None:
    """Open the log file. level: one of LEVELS or ALIASES, else info. Raises OSError when the file can't be opened."""
    _log.json = log_format == "json"
    _log.debug = debug
    level = ALIASES.get(level, level)
    _log.level = 0 if debug else LEVELS.index(level if level in LEVELS else "info")
    if path:
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
        _log.fd = posix.open(path, flags, 0o644)


def show_warnings() -> None:
    """Send warnings to stderr when there is no log file: for a command whose stderr nobody parses."""
    _log.shows_warnings = True


def wants_debug() -> bool:
    """Return whether debug lines are written: check this before building a costly one."""
    return _log.level == 0


def debug(text: str) -> None:
    """Log what is being done, with --debug or --log-level debug. Without a log file it goes to stderr, as with runc."""
    if _log.level == 0:
        write("debug", text)


def warning(text: str) -> None:
    """Log that something was not done exactly as requested.

    Without a log file it goes to stderr with --debug, and as a plain line after show_warnings(): callers of other
    commands parse stderr.
    """
    if _log.fd < 0 and _log.shows_warnings and not _log.debug:
        if _log.level <= LEVELS.index("warning"):
            put(STDERR, f"pyruntime: warning: {one_line(text)}\n")
    elif _log.json and not _log.debug:
        _log.held.append(text)
    else:
        write("warning", text)


def error(text: str) -> None:
    """Log the one error of a command; warnings that were held back are dropped."""
    _log.held.clear()
    write("error", text)


def success() -> None:
    """Write the warnings that were held back, now that no error follows them."""
    for text in _log.held:
        write("warning", text)
    _log.held.clear()


def write(level: str, text: str) -> None:
    """Append one line. A log that can't be written must not affect the command."""
    fd = _log.fd
    if fd < 0 and _log.debug and level != "error":  # an error reaches stderr in any case
        fd = STDERR
    if fd < 0 or LEVELS.index(level) < _log.level:
        return
    put(fd, json_line(level, text) if _log.json else text_line(level, text))


def put(fd: int, line: str) -> None:
    """Write a line in one write(2); ignore errors."""
    try:
        posix.write(fd, encode_shown(line))
    except OSError:
        return


def json_line(level: str, text: str) -> str:
    return f'{{"level":{quote(level)},"msg":{quote(text)},"time":{quote(now())}}}\n'


def text_line(level: str, text: str) -> str:
    return f"time={quote(now())} level={level} msg={quote(text)}\n"


def quote(text: str) -> str:
    """Return text as a JSON string. The text format uses it too, to keep a message on one line."""
    from _json import encode_basestring_ascii

    return str(encode_basestring_ascii(shown(text)))


def now() -> str:
    """Return the current time in RFC 3339 format, in UTC with nanoseconds."""
    import time

    ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09}Z"
