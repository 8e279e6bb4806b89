"""Commands in a mount namespace for them alone, whatever they do to mounts there; and what a call refuses with."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyruntime import kernel
from pyruntime.errors import Failure
from support.runtime import ENVIRONMENT, SLOWNESS


def apart(workdir: Path, *command: str | Path) -> tuple[int, str]:
    """Run a command; return its exit status, and what it wrote to standard output and error."""
    with (workdir / "apart.txt").open("w+b") as output:
        whole = ["timeout", str(20 * SLOWNESS), "unshare", "--mount", "--propagation", "private", *map(str, command)]
        status = subprocess.call(whole, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ENVIRONMENT)
        output.seek(0)
        return status, output.read().decode(errors="backslashreplace")


def call_in_python(function: str, arguments: str) -> str:
    """Return a program for `python3 -I -c`: it calls a function of the kernel layer and prints its refusal."""
    return (
        f"import os, sys; sys.path.insert(0, {str(Path(kernel.__file__).parents[2])!r})\n"
        f"from pyruntime import kernel\ntry:\n    kernel.{function}({arguments})\n"
        "except OSError as error:\n    print(kernel.errno_name(error.errno))\n"
        "except Exception as error:\n    print(error)\n"
    )


def refusal(function: Callable[..., Any], *arguments: Any) -> str:
    """Call a function; return the name of the errno or the words that it refuses with, "" when it does not.

    A descriptor that it returns is closed.
    """
    try:
        result = function(*arguments)
    except OSError as error:
        return kernel.errno_name(error.errno)
    except Failure as failure:
        return str(failure)
    if isinstance(result, int):
        os.close(result)
    return ""
