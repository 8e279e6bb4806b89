"""The command line: a parser driven by the tables in `options`, and the call of the command.

It accepts what callers of runc and crun send: `--x V`, `--x=V`, `-x=V`, a single dash before a long name,
several short flags in one word, and options after the first positional argument, except where the following words
belong to another program (exec, ps).
"""

from __future__ import annotations

import posix
import sys

from . import caller, log
from .errors import Failure, UsageFailure, one_line, os_error_text
from .options import COMMANDS, FLAG, GLOBAL, MANY, NUMBER, SWITCH, Options
from .text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .options import Command, Table


def main(argv: list[str]) -> int:
    """Run one command line and return its exit status; every failure is one line on stderr and in the log."""
    options = Options()
    options.debug = False
    options.command = ""
    try:
        status = dispatch(argv, options)
        sys.stdout.flush()
        log.success()
        return status
    except Failure as failure:
        is_usage = isinstance(failure, UsageFailure)  # 1 for exec too, as with runc
        status = failure.status if failure.status != 1 or is_usage else failed(options)
        return report(str(failure), status, options, failure)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not hasattr(error, "call"):
            return 1  # the reader of stdout is gone; errors of the kernel layer have `call`
        return report(os_error_text(error), failed(options), options, error)
    except ImportError as error:
        return report(f"load a module of the runtime: {error}", failed(options), options, error)
    except Exception as error:
        hint = "" if options.debug else "; --debug shows the traceback"
        return report(f"internal error: {type(error).__name__}: {error}{hint}", failed(options), options, error)


def failed(options: Options) -> int:
    """Return the exit status of a failed command: for exec one that is not mistaken for the program's."""
    return 255 if options.command == "exec" else 1


def report(text: str, status: int, options: Options, error: BaseException) -> int:
    """Report a failure in the caller's log and on stderr, with --debug including the traceback."""
    text = one_line(text)
    log.error(text)
    try:
        sys.stderr.write(f"pyruntime: {text}\n")
        if options.debug:
            sys.excepthook(type(error), error, error.__traceback__)
    except OSError:
        return status
    return status


def dispatch(argv: list[str], options: Options) -> int:
    """Parse the command line and call the command's function."""
    clear(options, GLOBAL)
    try:
        rest = parse(argv, GLOBAL, options, stop=True)
    finally:
        # Before anything else can fail: callers look for the error in the log file that they named.
        start_log(options)
    if options.version:
        show("version")
        return 0
    if rest[:1] in (["help"], ["h"]) and len(rest) == 2:
        rest = [rest[1], "--help"]
    if options.help or not rest or rest == ["help"]:
        show("overview")
        return 0 if options.help or rest else 1
    name = rest[0]
    command = COMMANDS.get(name)
    if command is None:
        raise UsageFailure(f"unknown command {quoted(name)}; pyruntime --help lists the commands")
    clear(options, command.options)
    options.command = name
    options.args = parse(rest[1:], command.options, options, stop=command.rest)
    if options.help:
        show("help_of", name)
        return 0
    check_count(name, command, options.args)
    settle(options)
    if "trace" in command.options and options.trace:
        from .trace import run

        return run(options.trace, name, lambda: call(command, options))
    return call(command, options)


def call(command: Command, options: Options) -> int:
    """Import the command's module and run its function; raise Failure where it would enter a container unprotected.

    Descriptors that the caller left open are closed in every program that is executed from here on: hooks, the
    container's program (CVE-2024-21626), ps(1).
    """
    from . import kernel

    if command.enters:
        from .lifecycle import protection

        protection.check(options.command, failed(options))
    if command.warns:
        log.show_warnings()
    if ("preserve-fds" in command.options and options.preserve_fds) or b"LISTEN_FDS" in posix.environ:
        options.given_fds = caller.given_fds()
    kernel.close_range(3, kernel.flags("UINT_MAX"), kernel.flags("CLOSE_RANGE_CLOEXEC"))
    module = __import__(f"pyruntime.commands.{command.module}", fromlist=[command.function])
    return int(getattr(module, command.function)(options))


def show(what: str, *args: str) -> None:
    """Print a text for people; the texts are in a module of their own."""
    texts = __import__("pyruntime.commands.help", fromlist=[what])
    sys.stdout.write(getattr(texts, what)(*args))


def start_log(options: Options) -> None:
    """Open the log file in the requested format."""
    try:
        log.setup(options.log, options.log_format or "text", options.log_level or "info", options.debug)
    except OSError as error:
        raise Failure("open log file", error) from None
    if options.log_format not in (None, "", "text", "json"):
        raise UsageFailure(f"--log-format {quoted(options.log_format)} is neither text nor json")
    if options.log_level and options.log_level not in (*log.LEVELS, *log.ALIASES):
        raise UsageFailure(f"--log-level {quoted(options.log_level)} is not one of {', '.join(log.LEVELS)}")


def clear(options: Options, table: Table) -> None:
    """Set every option to its empty value."""
    for name, (kind, _, _) in table.items():
        empty: Any = False if kind == FLAG else [] if kind == MANY else None
        setattr(options, name.replace("-", "_"), empty)


def parse(argv: list[str], table: Table, options: Options, *, stop: bool) -> list[str]:
    """Set the options and return the positional arguments; with stop, the first of those ends the options."""
    shorts = {short: name for name, (_, short, _) in table.items() if short}
    positional: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            positional += words
            break
        if word == "-" or not word.startswith("-"):
            positional.append(word)
            if stop:
                positional += words
                break
            continue
        text, equals, value = word[2 if word.startswith("--") else 1 :].partition("=")
        for name in names_of(text, table, shorts):
            if name not in table:
                raise UsageFailure(f"unknown option {quoted(word)}")
            set_option(options, name, table[name][0], value if equals else None, words)
    return positional


def names_of(text: str, table: Table, shorts: dict[str, str]) -> list[str]:
    """Return the name of the option, or several names when the word combines short flags (`-td`)."""
    if text not in table and len(text) > 1 and all(letter in shorts for letter in text):
        names = [shorts[letter] for letter in text]
        if all(table[name][0] in (FLAG, SWITCH) for name in names):
            return names
    return [shorts.get(text, text)]


def set_option(options: Options, name: str, kind: str, value: str | None, words: Iterator[str]) -> None:
    """Set one option. A value that is not joined by `=` is the next word."""
    attribute = name.replace("-", "_")
    if kind in (FLAG, SWITCH):
        if value not in (None, "true", "false"):
            raise UsageFailure(f"option --{name} takes no value but true or false")
        setattr(options, attribute, value != "false")
        return
    if value is None:
        value = next(words, None)
        if value is None:
            raise UsageFailure(f"option --{name} requires an argument")
    if kind == MANY:
        getattr(options, attribute).append(value)
    elif kind == NUMBER:
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise UsageFailure(f"option --{name}: {quoted(value)} is not a whole number between 0 and 999999999")
        setattr(options, attribute, int(value))
    else:
        setattr(options, attribute, value)


def check_count(name: str, command: Command, args: list[str]) -> None:
    """Raise UsageFailure, in runc's words, unless the command accepts that many arguments."""
    if command.least <= len(args) <= command.most:
        return
    if command.least == command.most:
        wanted = f"exactly {command.least}"
    elif len(args) < command.least:
        wanted = f"a minimum of {command.least}"
    else:
        wanted = f"a maximum of {command.most}"
    text = f'"{name}" requires {wanted} argument(s), not {len(args)}; usage: pyruntime {name} {command.usage}'
    raise UsageFailure(text.rstrip())


def settle(options: Options) -> None:
    """Fill in what depends on the caller, and refuse what is not supported."""
    if not options.root:
        options.root = caller.default_root()
    elif not options.root.startswith("/"):
        options.root = f"{caller.working_directory()}/{options.root}"
    if {"", ".", ".."}.issuperset(options.root.split("/")):
        raise UsageFailure("option --root should not be set to /")
    if options.cgroup_manager not in (None, "cgroupfs", "systemd"):
        raise UsageFailure(
            f"--cgroup-manager {quoted(options.cgroup_manager)} is not supported; use cgroupfs or systemd"
        )
    options.systemd_cgroup = options.systemd_cgroup or options.cgroup_manager == "systemd"
