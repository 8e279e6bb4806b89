"""Refuses to enter a container with a binary that the container could write (CVE-2019-5736)."""

from __future__ import annotations

from .. import kernel
from ..errors import Failure

passed = False
"""Whether this process has been looked at: its binary stays what it is."""


def check(name: str, status: int = 1) -> None:
    """Raise Failure, with that exit status, unless the running binary can't be written by whoever finds it in /proc.

    The launcher has seen to that. A program of somebody's own, `python -m pyruntime`, or a launcher that has not
    recognised the command are told apart by the kernel, and not by what anybody says.
    """
    global passed  # noqa: PLW0603
    if not (passed or kernel.is_binary_protected()):
        hint = "run the installed command pyruntime, which runs from a read-only copy of itself"
        what = f"{name}: the binary of this process could be overwritten from the container"
        raise Failure(what, hint=hint, status=status)
    passed = True
