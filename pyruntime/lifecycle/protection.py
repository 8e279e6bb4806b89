"""Refuses to enter a container with a binary that the container could overwrite (CVE-2019-5736)."""

from __future__ import annotations

from .. import kernel
from ..errors import Failure

passed = False
"""Whether the check has passed; the binary of a process does not change."""


def check(name: str, status: int = 1) -> None:
    """Raise Failure, with that exit status, if the running binary could be overwritten through /proc.

    The launcher ensures that it can't. Other programs, `python -m pyruntime`, and a launcher that did not recognise the
    command are detected by asking the kernel, not by what the caller claims.
    """
    global passed  # noqa: PLW0603
    if not (passed or kernel.is_binary_protected()):
        hint = "run the installed command pyruntime, which runs from a read-only copy of itself"
        what = f"{name}: the binary of this process could be overwritten from the container"
        raise Failure(what, hint=hint, status=status)
    passed = True
