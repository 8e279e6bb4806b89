"""`ps`: the processes of a container."""

from __future__ import annotations

import sys

from ..container import cgroup
from ..container.status import status_of
from ..container.store import Store
from ..errors import Failure, UsageFailure
from ..spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli import Options

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ps(options: Options) -> int:
    """`ps [-f table|json] ID [ps options]`: host pids as JSON, or the lines of ps(1) that belong to the container."""
    if options.format not in (None, "table", "json"):
        raise UsageFailure(f"--format {options.format!r} is neither table nor json")
    container = Store(options.root).open(options.args[0], lock=False)
    now = status_of(container)
    if now.status == "stopped":
        raise Failure(f'cannot list processes of container "{container.id}": container not running')
    pids = sorted(set(cgroup.of(container.record).processes()))
    if options.format == "json":
        sys.stdout.write(dumps(pids) + "\n")
    else:
        sys.stdout.write(selected(listing(options.args[1:] or ["-ef"]), set(pids)))
    return 0


def listing(arguments: list[str]) -> str:
    """Return what ps(1) prints; callers may run us without PATH."""
    import subprocess

    try:
        result = subprocess.run(
            ["ps", *arguments], env={"PATH": SEARCHED}, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise Failure("execute ps", error, hint="--format json needs no ps") from None
    if result.returncode != 0:
        raise Failure(f"ps {' '.join(arguments)}: {result.stderr.strip().splitlines()[-1:]}")
    return result.stdout


def selected(text: str, pids: set[int]) -> str:
    """Return the head line and the lines whose PID column is one of pids."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Failure("ps printed no PID column; its options must keep one")
    column = titles.index("PID")
    kept = [line for line in lines[1:] if line.split()[column].isdecimal() and int(line.split()[column]) in pids]
    return "\n".join([lines[0], *kept]) + "\n"
