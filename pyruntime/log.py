"""Log lines in the two formats that engines read: text, and JSON objects, one per line and one write(2) each."""

from __future__ import annotations

import posix

from .text import encode_shown, one_line, shown

LEVELS = ("debug", "info", "warning", "error")
ALIASES = {"trace": "debug", "warn": "warning", "fatal": "error", "panic": "error"}
"""What runc and crun call levels beside these."""
STDERR = 2


class Log:
    """Where lines go: a file opened for append (shared by many processes), else stderr with --debug.

    held: warnings that are not written yet. Podman reads the whole JSON file of a failed command as one object, so
    that the error must be alone in it. shows_warnings: they go to stderr where there is no file.
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
    """From now on warnings go to stderr where there is no log file: for a command whose stderr nobody parses."""
    _log.shows_warnings = True


def wants_debug() -> bool:
    """Whether lines of the lowest level are written: ask before making a costly one."""
    return _log.level == 0


def debug(text: str) -> None:
    """Tell what is being done: with --debug, or --log-level debug. Without a log file it goes to stderr, as runc's."""
    if _log.level == 0:
        write("debug", text)


def warning(text: str) -> None:
    """Tell something that went not quite as asked.

    Without a log file it goes to stderr with --debug, and as a line for people where show_warnings has been called: of
    other commands callers read stderr as the answer.
    """
    if _log.fd < 0 and _log.shows_warnings and not _log.debug:
        if _log.level <= LEVELS.index("warning"):
            put(STDERR, f"pyruntime: warning: {one_line(text)}\n")
    elif _log.json and not _log.debug:
        _log.held.append(text)
    else:
        write("warning", text)


def error(text: str) -> None:
    """Tell the one error of a command in the log file; warnings that were held back are dropped for it."""
    _log.held.clear()
    write("error", text)


def success() -> None:
    """Write the warnings that were held back, now that no error follows them."""
    for text in _log.held:
        write("warning", text)
    _log.held.clear()


def write(level: str, text: str) -> None:
    """Append one line; a log that can't be written must not change what the command does."""
    fd = _log.fd
    if fd < 0 and _log.debug and level != "error":  # an error reaches stderr in any case
        fd = STDERR
    if fd < 0 or LEVELS.index(level) < _log.level:
        return
    put(fd, json_line(level, text) if _log.json else text_line(level, text))


def put(fd: int, line: str) -> None:
    """Write a line in one write(2); one that can't be written is left out."""
    try:
        posix.write(fd, encode_shown(line))
    except OSError:
        return


def json_line(level: str, text: str) -> str:
    return f'{{"level":{quote(level)},"msg":{quote(text)},"time":{quote(now())}}}\n'


def text_line(level: str, text: str) -> str:
    return f"time={quote(now())} level={level} msg={quote(text)}\n"


def quote(text: str) -> str:
    """Return text as a JSON string: also in the text format, where it keeps one message on one line."""
    from _json import encode_basestring_ascii

    return str(encode_basestring_ascii(shown(text)))


def now() -> str:
    """Return the time in RFC 3339, with nanoseconds, UTC."""
    import time

    ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09}Z"
