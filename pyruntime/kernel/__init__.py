"""The kernel layer: one thin wrapper per system call that Python lacks, and safe operations below a root directory.

Functions are named after their system calls; `_linux.pyi` lists those in C, `operations` provides the rest.
Descriptors are close-on-exec. A call that fails raises OSError (or its subclass for the errno) with the
attribute `call`, the call and its main arguments as text.
"""

from __future__ import annotations

import errno as _errno
from posix import close as close
from posix import dup2, fchown, getpid, setsid, umask  # noqa: F401 - calls of steps

from ._linux import *  # noqa: F403
from ._linux import constants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .operations import *  # noqa: F403

_flags: dict[str, int] = {"": 0}


def flags(names: str) -> int:
    """Return the value of constants joined with `|`, from the system's headers; raise KeyError for an unknown name."""
    value = _flags.get(names)
    if value is None:
        value = 0
        for name in names.split("|"):
            value |= constants[name]
        _flags[names] = value
    return value


def errno_name(number: int | None) -> str:
    """Return the name of an errno, such as "ENOENT" for 2."""
    return _errno.errorcode.get(number or 0, str(number))


def __getattr__(name: str) -> Any:
    """Return a function of `operations`, which is imported lazily because half of the commands never need it."""
    from .operations import find

    return find(name)
