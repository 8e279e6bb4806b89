"""Which faults there are for a command, and what must come out of each."""

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from support import session
from support.faults import inject, world
from support.faults.inject import Fault

if TYPE_CHECKING:
    from support.faults.driver import Driver, Outcome

LIMITS = range(3, 30)
"""How many descriptors a command may have, to see what it does when there are no more."""
REUSE_EVERY = 5
"""After how many faults the id is used once without one."""


class Enough(Exception):
    """The first problem was found, and the job wants no more."""


class Check:
    """The checks of one job, and what they found."""

    def __init__(self, driver: "Driver", job: dict[str, Any]) -> None:
        self.driver = driver
        self.job = job
        self.id = job["id"]
        self.problems: list[str] = []
        self.tolerated: set[str] = set()
        self.count = 0
        self.what = ""
        self.plan: list[list[Any]] = []

    def problem(self, text: str) -> None:
        self.problems.append(f"{self.what}: {text}")
        if self.job.get("first"):
            raise Enough

    def run(self, *argv: str, **more: Any) -> "Outcome":
        outcome = self.driver.run(*argv, **more)
        if outcome.status is None:
            self.problem(f"{argv[0]} hangs; stderr {outcome.err!r}")
        return outcome

    def quiet(self, *argv: str) -> None:
        """Run a command that must succeed without a word."""
        outcome = self.run(*argv)
        if outcome.status != 0 or outcome.out or outcome.err:
            self.problem(f"{' '.join(argv)}: {outcome}")

    def refused(self, outcome: "Outcome", status: int, *words: str) -> None:
        """Check that a command failed with one line that has these words, beside warnings."""
        lines = [line for line in outcome.err.splitlines() if not line.startswith("pyruntime: warning: ")]
        bad = outcome.status != status or outcome.out or len(lines) != 1
        if bad or "Traceback" in outcome.err or "internal error" in outcome.err or "clean-up failed" in outcome.err:
            self.problem(f"one line and exit status {status} expected: {outcome}")
            return
        for word in words:
            if word not in outcome.err:
                self.problem(f"{word!r} is not said: {outcome.err!r}")

    def alone(self) -> bool:
        """Check that no process is left, after the time that those have whose parent was killed."""
        left = world.wait_alone(self.driver.keep)
        if left:
            self.problem(f"left behind: process {', '.join(map(world.describe, left))}")
            self.end(left)
        return not left

    def end(self, pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, 9)
        world.wait_alone(self.driver.keep)

    def same(self, before: world.World, *left_out: str) -> None:
        """Check that nothing is left and nothing is gone; put it right, so that the next case is judged alone."""
        for line in before.difference(*left_out):
            self.problem(line)
            self.clear(line)

    def clear(self, line: str) -> None:
        path = line.rpartition(": ")[2]
        if line.startswith("left behind: state"):
            self.driver.run("delete", "--force", self.id)
            for name in os.listdir(path) if os.path.isdir(path) else ():
                os.unlink(f"{path}/{name}")
            if os.path.isdir(path):
                os.rmdir(path)
        elif line.startswith("left behind: files") and path.startswith(self.job["own"]) and os.path.isfile(path):
            os.unlink(path)
        elif line.startswith("left behind: cgroups"):
            for folder, _, _ in os.walk(path, topdown=False):
                os.rmdir(folder)
        elif line.startswith("left behind: mounts"):
            with contextlib.suppress(OSError):  # it went with the one below
                session.umount(line.split()[7], session.MNT_DETACH)


def create_argv(job: dict[str, Any]) -> list[str]:
    return ["create", "--bundle", job["bundle"], *job["create"], job["id"]]


def import_network() -> None:
    """Import what moves network devices once, not in every child."""
    import pyroute2  # noqa: F401

    import pyruntime.kernel.network  # noqa: F401


def make_device(job: dict[str, Any]) -> None:
    """Make the network device that the container gets, if it is not there (any more)."""
    name = job.get("device")
    if not name or name in world.names():
        return
    from pyroute2 import IPRoute, NetlinkError

    with IPRoute() as ip:
        # The one that was lost goes when the kernel has taken its namespace apart, and its peer with it.
        while f"{name}-peer" in world.names():
            try:
                ip.link("del", ifname=f"{name}-peer")
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    raise
        ip.link("add", ifname=f"{name}-peer", kind="veth", peer=name)


def position_released(steps: list[list[Any]]) -> int:
    """Return the position of the step with which init begins to outlive the command; the number of steps when none."""
    found = [at for at, (side, _, text, _) in enumerate(steps) if side == "init" and text == "set_pdeathsig(0)"]
    return found[-1] if found else len(steps)


def step_faults(steps: list[list[Any]], first: int, end: int, kinds: list[str]) -> Iterator[Fault]:
    """Every step once with an errno; deaths before every step, and after it where the other side comes next."""
    clone = next(at for at, step in enumerate(steps) if step[1] == "clone3")
    for at in range(first, end):
        side = steps[at][0]
        last = at + 1 == end or steps[at + 1][0] != side
        if "errno" in kinds:
            yield Fault("step", at, "before", "errno")
        for kind in ("host", "init"):
            if kind not in kinds:
                continue
            if kind == "host" or at > clone or side == "join":
                yield Fault("step", at, "before", kind)
            if steps[at][1] == "clone_into_pid_namespace":
                yield Fault("step", at, "middle", kind)
            if last and steps[at][1] != "exec_program" and (kind == "host" or at >= clone or side == "join"):
                yield Fault("step", at, "after", kind)


def call_faults(calls: list[list[str]], kinds: list[str]) -> Iterator[Fault]:
    """Every call once with an errno, some with one that a full machine gives, and a death before each."""
    sampled = 0
    seen: Counter[tuple[str, str]] = Counter()
    call: inject.Call | None = None
    for at, (name, callers, *_) in enumerate(calls):
        call = inject.Call(name, callers, seen[name, callers])
        seen[name, callers] += 1
        if "errno" in kinds and name not in inject.NO_ERRNO:
            yield Fault("call", at, "before", "errno", call=call)
            sampled += 1
            if sampled % 3 == 0 and name in inject.DESCRIPTORS:
                yield Fault("call", at, "before", "errno", errno.EMFILE, call)
            if sampled % 2 == 0 and name in inject.WRITES:
                yield Fault("call", at, "before", "errno", errno.ENOSPC, call)
        if "host" in kinds:
            yield Fault("call", at, "before", "host", call=call)
    if "host" in kinds:
        yield Fault("call", len(calls) - 1, "after", "host", call=call)
    if "limit" in kinds:
        yield from (Fault("limit", number, "before", "errno", errno.EMFILE) for number in LIMITS)


def run(driver: "Driver", job: dict[str, Any]) -> dict[str, Any]:
    """Run all faults of a job; return the problems, the number of faults and what was tolerated."""
    from support.faults import commands  # which needs this module

    check = Check(driver, job)
    make_device(job)
    try:
        commands.ALL[job["command"]](check)
    except Enough:
        check.what, job["first"] = "clean up", False
        check.driver.keep.clear()
        check.run("delete", "--force", check.id)
    return {"problems": check.problems, "count": check.count, "tolerated": sorted(check.tolerated)}
