"""What a command costs, in numbers that do not depend on the machine: modules it imports, system calls it makes."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

from support.runtime import ENVIRONMENT, SECONDS, Runtime, wait_for

MARGIN, LEAST = 0.03, 8
"""How far a number of system calls may be from its budget, as a part of it and at least: malloc's calls depend on
addresses, the C library's on the time zone, a cgroup's on its controllers."""
CALL = re.compile(r"^(\d+) +([a-z_0-9]+)\(")


def modules(runtime: Runtime, file: Path, *args: str | Path) -> list[str]:
    """Run a command with --trace, and return the modules that it has imported itself, beyond those of the snapshot."""
    command, *rest = args
    runtime.ok(command, "--trace", file, *rest)
    found: list[str] = json.loads(file.read_text())["otherData"]["modules"]
    return found


def system_calls(runtime: Runtime, file: Path, *args: str | Path) -> Counter[str]:
    """Run a command under strace; return its calls and those of init up to the program's execve, by name.

    strace follows init as long as it lives: a container that is only created is started, so that its program ends it.
    """
    command = ["/usr/bin/strace", "-f", "-qq", "-o", str(file), *runtime.command(*args)]
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=ENVIRONMENT) as strace:
        try:
            if args[0] == "create":
                pid_file = Path(args[args.index("--pid-file") + 1])
                wait_for(pid_file.exists, "the container is created")
                runtime.ok("start", args[-1])
            assert strace.wait(SECONDS) == 0
        finally:
            strace.kill()
    return count(file.read_text(errors="replace").splitlines())


def count(lines: list[str]) -> Counter[str]:
    """Count the calls of strace's lines; a process that is not the first counts until it executes its program."""
    found: Counter[str] = Counter()
    first, done = "", set()
    for line in lines:
        match = CALL.match(line)
        if match is None:  # the end of a call that was interrupted in the listing, a signal, an exit
            continue
        pid, name = match.groups()
        first = first or pid
        if pid in done:
            continue
        found[name] += 1
        if name == "execve" and pid != first:
            done.add(pid)
    return found


def difference(found: Counter[str], budget: dict[str, int]) -> str:
    """Return the calls that are more or less often made, one a line."""
    names = sorted(found.keys() | budget.keys())
    return "\n".join(
        f"  {name}: {budget.get(name, 0)} -> {found[name]}" for name in names if found[name] != budget.get(name, 0)
    )
