"""Attributes of the calling process, set through python-prctl's C module. Source: prctl(2).

The C module makes the same calls as the Python module `prctl`, which takes a millisecond to define a property for every
capability. It is imported on first use: only commands that enter a container need it, and they preload it before init
exists.
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
    """Import what the functions below need, for a process that can't import later."""
    import _prctl  # noqa: F401


def set_no_new_privs() -> None:
    """Give up, permanently, the ability to gain privileges by execve."""
    _set("PR_SET_NO_NEW_PRIVS", 1)


def set_keepcaps(keep: int) -> None:
    """Keep the permitted capabilities across a change from root to another user."""
    _set("PR_SET_KEEPCAPS", keep)


def set_dumpable(dumpable: int) -> None:
    """Set whether the process is dumpable. 0: unprivileged processes may not ptrace it or open its /proc entries."""
    _set("PR_SET_DUMPABLE", dumpable)


def set_pdeathsig(signal: int) -> None:
    """Choose the signal that this process gets when its parent dies; 0 for none."""
    _set("PR_SET_PDEATHSIG", signal)
