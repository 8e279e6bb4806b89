"""`ps`: the processes of a container. Without options of ps(1) it reads /proc itself, and needs no PATH."""

from __future__ import annotations

import posix
import sys
import time

from ..container import cgroup
from ..container.status import owner_name, status_of
from ..container.store import Store
from ..errors import Failure, UsageFailure, one_line
from ..spec.jsontext import dumps
from .listing import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli import Options

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TITLES = ["UID", "PID", "PPID", "STIME", "TIME", "CMD"]


def ps(options: Options) -> int:
    """`ps [-f table|json] ID [ps options]`: host pids as JSON, or a table; ps options ask ps(1) for their own."""
    if options.format not in (None, "table", "json"):
        raise UsageFailure(f"--format {options.format!r} is neither table nor json")
    with Store(options.root).open(options.args[0], lock=False) as container:
        now = status_of(container)
        now.close()
        if now.status == "stopped":
            raise Failure(f'cannot list processes of container "{container.id}": container not running')
        pids = sorted(set(cgroup.of(container.record).processes()))
    arguments = options.args[1:]
    if options.format == "json":
        text = dumps(pids) + "\n"
    elif arguments:
        text = selected(listing(arguments), set(pids))
    else:
        text = columns([TITLES, *filter(None, map(describe, pids))])
    sys.stdout.write(text)
    return 0


def describe(pid: int) -> list[str] | None:
    """Return the line of a process, None when it is gone; proc_pid_stat(5)."""
    try:
        uid = posix.stat(f"/proc/{pid}").st_uid
        stat = cgroup.read_file(f"/proc/{pid}/stat").decode(errors="backslashreplace")
        words = cgroup.read_file(f"/proc/{pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ")
        uptime = float(cgroup.read_file("/proc/uptime").split()[0])
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(") ")
    fields = rest.split()
    ticks = posix.sysconf("SC_CLK_TCK")
    began = time.localtime(time.time() - uptime + int(fields[19]) / ticks)
    used = (int(fields[11]) + int(fields[12])) // ticks
    command = words.decode(errors="backslashreplace") or f"[{name}]"
    return [
        owner_name(uid),
        str(pid),
        fields[1],
        time.strftime("%H:%M:%S" if time.localtime()[:3] == began[:3] else "%Y-%m-%d", began),
        f"{used // 3600:02}:{used // 60 % 60:02}:{used % 60:02}",
        one_line(command),
    ]


def listing(arguments: list[str]) -> str:
    """Return what ps(1) prints; callers may run us without PATH."""
    import subprocess

    try:
        result = subprocess.run(
            ["ps", *arguments], env={"PATH": SEARCHED}, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise Failure("execute ps", error, hint="without options, and with --format json, ps is not needed") from None
    if result.returncode != 0:
        said = (result.stderr.strip().splitlines() or ["no message"])[0]
        raise Failure(f"ps {' '.join(arguments)}: exit status {result.returncode}: {said}")
    return result.stdout


def selected(text: str, pids: set[int]) -> str:
    """Return the head line and the lines whose PID column is one of pids."""
    head, *lines = text.splitlines() or [""]
    titles = head.split()
    if "PID" not in titles:
        raise Failure("ps printed no PID column; its options must keep one")
    column = titles.index("PID")
    kept = [head]
    for line in lines:
        cells = line.split(None, column + 1)
        if len(cells) > column and cells[column].isdecimal() and int(cells[column]) in pids:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)
