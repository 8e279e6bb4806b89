"""`ps`: the processes of a container. Without options for ps(1) it reads /proc itself, and needs no PATH."""

from __future__ import annotations

import posix
import sys
import time

from ..container import cgroup
from ..container.status import owner_name
from ..errors import Failure, UsageFailure, one_line
from ..lifecycle.state import processes
from ..spec.jsontext import dumps
from ..text import quoted, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
LINE = "{:<8} {:>7} {:>7} {:>2} {:>5} {:<8} {:>8} {}\n"
"""The columns of `ps -ef`."""


def ps(options: Options) -> int:
    """`ps [-f table|json] ID [ps options]`: print host pids as JSON, or a table; ps options go to ps(1)."""
    if options.format not in (None, "table", "json"):
        raise UsageFailure(f"invalid format option: {quoted(options.format)} is neither table nor json")
    pids = processes(options.root, options.args[0])
    arguments = options.args[1:]
    if options.format == "json":
        text = dumps(pids) + "\n"
    elif arguments:
        text = selected(listing(arguments), set(pids))
    else:
        text = "".join(LINE.format(*cells) for cells in (TITLES, *map(describe, pids)) if cells)
    sys.stdout.write(text)
    return 0


def describe(pid: int) -> tuple[str, ...] | None:
    """Return the cells of a process, None when it is gone; proc_pid_stat(5)."""
    try:
        uid = posix.stat(f"/proc/{pid}").st_uid
        stat = show(cgroup.read_file(f"/proc/{pid}/stat"))
        words = cgroup.read_file(f"/proc/{pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ")
        uptime = float(cgroup.read_file("/proc/uptime").split()[0])
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(") ")
    fields = rest.split()
    ticks = posix.sysconf("SC_CLK_TCK")
    age = max(uptime - int(fields[19]) / ticks, 1)
    used = (int(fields[11]) + int(fields[12])) // ticks
    command = show(words) or f"[{name}]"
    return (
        owner_name(uid),
        str(pid),
        fields[1],
        str(min(int(100 * used / age), 99)),
        began(time.time() - age),
        terminal_name(int(fields[4])),
        f"{used // 3600:02}:{used // 60 % 60:02}:{used % 60:02}",
        one_line(command),
    )


def began(moment: float) -> str:
    """Return when a process began, as in ps(1): the time if today, the day if this year, else the year."""
    now, then = time.localtime(), time.localtime(moment)
    return time.strftime("%H:%M" if now[:3] == then[:3] else "%b%d" if now[0] == then[0] else "%Y", then)


def terminal_name(device: int) -> str:
    """Return the name of a controlling terminal by its device number (proc_pid_stat(5), tty_nr), `?` for none."""
    major, minor = posix.major(device), posix.minor(device)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return f"tty{minor}" if major == 4 else "console" if (major, minor) == (5, 1) else "?"


def listing(arguments: list[str]) -> str:
    """Return the output of ps(1); callers may run us without PATH."""
    import subprocess

    try:
        result = subprocess.run(["ps", *arguments], env={"PATH": SEARCHED}, capture_output=True, check=False)
    except OSError as error:
        raise Failure("execute ps", error, hint="without options, and with --format json, ps is not needed") from None
    if result.returncode != 0:
        said = show(result.stderr.strip().split(b"\n")[0]) or "no message"
        raise Failure(f"ps {' '.join(arguments)}: exit status {result.returncode}: {said}")
    return show(result.stdout)


def selected(text: str, pids: set[int]) -> str:
    """Return the header and the lines whose PID is one of pids."""
    head, *lines = text.removesuffix("\n").split("\n")
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
