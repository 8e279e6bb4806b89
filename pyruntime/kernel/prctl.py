"""Attributes of the calling process, through python-prctl's C module. Source: prctl(2).

Its Python module makes a property for every capability, which costs a millisecond; the calls are the same. It is
imported when it is first used: only commands that enter a container need it, and they preload it before init exists.
"""

from __future__ import annotations


def _set(option: str, value: int) -> None:
    import _prctl

    try:
        _prctl.prctl(getattr(_prctl, option), value)
    except OSError as error:
        error.call = f"prctl({option}, {value})"  # type: ignore[attr-defined]
        raise


def preload() -> None:
    """Import what the functions below need, for a process that will not be able to."""
    import _prctl  # noqa: F401


def set_no_new_privs() -> None:
    """Give up gaining privileges by execve, for ever."""
    _set("PR_SET_NO_NEW_PRIVS", 1)


def set_keepcaps(keep: int) -> None:
    """Keep the permitted capabilities over a change from root to another user."""
    _set("PR_SET_KEEPCAPS", keep)


def set_dumpable(dumpable: int) -> None:
    """0: nobody without privilege may ptrace this process or open its /proc entries."""
    _set("PR_SET_DUMPABLE", dumpable)


def set_pdeathsig(signal: int) -> None:
    """Be sent this signal when the parent dies; 0 for none."""
    _set("PR_SET_PDEATHSIG", signal)
