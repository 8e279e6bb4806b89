"""Terminals: the pseudo-terminal of the container's own devpts, /dev/console, and the hand-over to the caller.

Source: runtime-spec config.md "Process" (terminal, consoleSize); ioctl_tty(2); CVE-2025-52565.
"""

from __future__ import annotations

from ..step import HOST, INIT, Flags, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wishes import Wishes

POINTER = "/process/terminal"


def wants_terminal(process: dict[str, Any] | None) -> bool:
    return bool((process or {}).get("terminal"))


def connect_steps(process: dict[str, Any] | None, wishes: Wishes) -> list[Step]:
    """Host, before clone: connect to the caller's console socket, so that a missing listener is detected early.

    A foreground run or exec fills the slot "console" itself, with one end of a socket pair.
    """
    if not wants_terminal(process) or wishes.console_socket is None:
        return []
    return [Step(HOST, POINTER, "unix_connect", Flags("AT_FDCWD"), wishes.console_socket, into="console")]


def terminal_steps(process: dict[str, Any] | None, wishes: Wishes, *, root: bool, outside: bool) -> list[Step]:
    """Init: open the terminal, send its master to the caller, and make it the controlling terminal and stdio.

    root: the container is being created, slot "root" holds its root before pivot_root, and /dev/console must be
    mounted. Otherwise the process has joined a container and its root is "/". outside: the process makes another one,
    which becomes session leader and takes the terminal (login_steps).
    """
    if not wants_terminal(process):
        return []
    assert process is not None
    steps = []
    where: Any = Slot("root")
    if not root:
        steps.append(Step(INIT, POINTER, "open", "/", Flags("O_PATH|O_DIRECTORY|O_CLOEXEC"), into="root"))
    steps.append(Step(INIT, POINTER, "open_ptmx", where, into="pty", hint="the container needs a devpts on /dev/pts"))
    steps.append(Step(INIT, POINTER, "open_pty_peer", Slot("pty"), into="tty"))
    steps += _size_steps(process, wishes)
    steps += _line_end_steps(wishes)
    uid = (process.get("user") or {}).get("uid", 0)
    if uid:
        steps.append(Step(INIT, POINTER, "fchown", Slot("tty"), uid, -1))
    if root:
        steps += _mount_console()
    steps.append(Step(INIT, POINTER, "send_terminal", Slot("console"), Slot("pty"), closes=("pty", "console")))
    return steps + (stdio_of_terminal() if outside else login_steps(process))


def login_steps(process: dict[str, Any] | None) -> list[Step]:
    """Init, as session leader: take the controlling terminal."""
    return [Step(INIT, POINTER, "login_tty", Slot("tty"), closes=("tty",))] if wants_terminal(process) else []


def stdio_of_terminal() -> list[Step]:
    """Init: replace the caller's stdin, stdout and stderr."""
    return [Step(INIT, POINTER, "dup2", Slot("tty"), number) for number in range(3)]


def _size_steps(process: dict[str, Any], wishes: Wishes) -> list[Step]:
    """Set the window size: the current one of the caller's own terminal takes precedence over consoleSize."""
    size = process.get("consoleSize")
    if wishes.console_size is not None:
        return [Step(INIT, POINTER, "set_window_size", Slot("pty"), *wishes.console_size)]
    if size:
        return [Step(INIT, "/process/consoleSize", "set_window_size", Slot("pty"), size["height"], size["width"])]
    return []


def _line_end_steps(wishes: Wishes) -> list[Step]:
    """If the runtime itself relays the bytes, keep newlines as they are: a pipe must not get carriage returns.

    The user's terminal adds them (engine/foreground.py). Whoever receives a terminal over a console socket configures
    it.
    """
    return [] if wishes.console_socket is not None else [Step(INIT, POINTER, "clear_onlcr", Slot("pty"))]


def _mount_console() -> list[Step]:
    clone = Flags("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH")
    attach = Flags("MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")
    return [
        Step(INIT, POINTER, "open_tree", Slot("tty"), "", clone, into="console_mount"),
        Step(INIT, POINTER, "make_console", Slot("root"), into="console_target"),
        Step(
            INIT,
            POINTER,
            "move_mount",
            Slot("console_mount"),
            "",
            Slot("console_target"),
            "",
            attach,
            closes=("console_mount", "console_target"),
        ),
    ]


def stdio_steps(process: dict[str, Any] | None) -> list[Step]:
    """Init: give stdio that is not a terminal to the container's user, who can then reopen /dev/stdout."""
    uid = ((process or {}).get("user") or {}).get("uid", 0)
    if not uid or wants_terminal(process):
        return []
    return [Step(INIT, "/process/user/uid", "own_stdio", uid)]
