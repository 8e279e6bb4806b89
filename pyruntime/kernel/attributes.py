"""Attributes of the calling process, through python-prctl. Source: prctl(2)."""

from __future__ import annotations

import prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _call(name: str, function: Callable[..., Any], *args: Any) -> None:
    try:
        function(*args)
    except OSError as error:
        error.call = f"prctl({name}, {', '.join(map(str, args))})"  # type: ignore[attr-defined]
        raise


def set_no_new_privs() -> None:
    """Give up gaining privileges by execve, for ever."""
    _call("PR_SET_NO_NEW_PRIVS", prctl.set_no_new_privs, 1)


def set_keepcaps(keep: int) -> None:
    """Keep the permitted capabilities over a change from root to another user."""
    _call("PR_SET_KEEPCAPS", prctl.set_keepcaps, keep)


def set_dumpable(dumpable: int) -> None:
    """0: nobody without privilege may ptrace this process or open its /proc entries."""
    _call("PR_SET_DUMPABLE", prctl.set_dumpable, dumpable)


def set_pdeathsig(signal: int) -> None:
    """Be sent this signal when the parent dies; 0 for none."""
    _call("PR_SET_PDEATHSIG", prctl.set_pdeathsig, signal)


def set_child_subreaper(reap: int) -> None:
    """Become the parent of orphaned descendants."""
    _call("PR_SET_CHILD_SUBREAPER", prctl.set_child_subreaper, reap)


def set_name(name: str) -> None:
    """Set the name of the process in /proc/<pid>/comm (15 bytes)."""
    _call("PR_SET_NAME", prctl.set_name, name)
