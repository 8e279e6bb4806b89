"""What one command costs: time of every operation, peak memory, memory of a waiting init, containers per second."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from runtimes import BenchmarkError, Life, Runtime
from samples import Table, put
from surroundings import TOKEN, become_subreaper

import bundles

Progress = Callable[[str], None]

MS = 1e6
LIFE = ("create", "start", "kill", "delete")
OPERATIONS = ("create", "start", "state", "kill", "delete", "run", "exec", "life")
STARTERS = 8
AT_ONCE = 10
"""Waiting containers whose memory is shared among them, for the second figure of PSS."""


def shuffled(runtimes: list[Runtime]) -> list[Runtime]:
    """Return the runtimes in a new order: none always follows the same one."""
    return random.sample(runtimes, len(runtimes))


class Pair:
    """The two bundles of a runtime: a program that waits, and one that ends at once."""

    def __init__(self, runtime: Runtime) -> None:
        self.waiting = bundles.save(runtime, "waiting", bundles.waiting(runtime))
        self.ending = bundles.save(runtime, "ending", bundles.base(runtime, "true"))


def times(runtimes: list[Runtime], rounds: int, progress: Progress) -> Table:
    """Return the time of every operation in ms; `life` is create, start, kill and delete of the same container."""
    pairs = {runtime.name: Pair(runtime) for runtime in runtimes}
    table: Table = {}
    for number in range(-1, rounds):
        progress(f"operations: round {max(number, 0) + 1} of {rounds}")
        for runtime in shuffled(runtimes):
            for operation, took in one_round(runtime, pairs[runtime.name], f"{TOKEN}-{number + 1}").items():
                if number >= 0:  # the first round warms up
                    put(table, operation, runtime.name, took / MS)
    return table


def one_round(runtime: Runtime, pair: Pair, name: str) -> dict[str, int]:
    """Run every operation once; return the times in nanoseconds."""
    life = Life(runtime, pair.waiting, name)
    took = {"create": life.create(), "start": life.start(), "state": life.state(), "exec": life.exec()}
    took["kill"] = life.kill()
    took["delete"] = life.delete()
    took["life"] = sum(took[operation] for operation in LIFE)
    took["run"] = runtime.timed("run", "--bundle", pair.ending, f"{name}-run")
    return took


def peaks(runtimes: list[Runtime], rounds: int, progress: Progress) -> Table:
    """Return the peak memory of every command in MB, that of its largest process."""
    pairs = {runtime.name: Pair(runtime) for runtime in runtimes}
    table: Table = {}
    for number in range(rounds):
        progress(f"peak memory: round {number + 1} of {rounds}")
        for runtime in runtimes:
            life = Life(runtime, pairs[runtime.name].waiting, f"{TOKEN}-peak")
            commands: dict[str, list[str | Path]] = {
                "create": life.create_arguments(),
                "start": ["start", life.id],
                "state": ["state", life.id],
                "exec": ["exec", life.id, "true"],
                "kill": ["kill", life.id, "KILL"],
                "delete": ["delete", life.id],
                "run": ["run", "--bundle", pairs[runtime.name].ending, f"{life.id}-run"],
            }
            for operation, command in commands.items():
                put(table, operation, runtime.name, runtime.peak(*command) * 1024 / 1e6)
                if operation == "create":
                    life.created()
                elif operation == "kill":
                    os.waitpid(life.pid, 0)
    return table


def waiting_memory(runtimes: list[Runtime], rounds: int, progress: Progress) -> Table:
    """Return the proportional set size of an init that waits for start, in MB: alone, and as one of AT_ONCE."""
    table: Table = {}
    for number in range(rounds):
        progress(f"waiting init: round {number + 1} of {rounds}")
        for runtime in runtimes:
            pair = Pair(runtime)
            first = Life(runtime, pair.waiting, f"{TOKEN}-pss-0")
            first.create()
            put(table, "alone", runtime.name, pss(first.pid))
            first.remove()
            put(table, f"one of {AT_ONCE}", runtime.name, shared_pss(runtime))
    return table


def shared_pss(runtime: Runtime) -> float:
    """Return the mean proportional set size of several inits that wait at once."""
    config = bundles.waiting(runtime)
    lives = []
    for number in range(AT_ONCE):
        life = Life(runtime, bundles.save(runtime, f"pss{number}", config), f"{TOKEN}-pss-{number}")
        life.create()
        lives.append(life)
    mean = sum(pss(life.pid) for life in lives) / AT_ONCE
    for life in lives:
        life.remove()
    return mean


def pss(pid: int) -> float:
    """Return a process's proportional set size in MB: its private pages and its part of the shared ones; proc(5)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchmarkError(f"process {pid} has no Pss line")


def throughput(runtimes: list[Runtime], rounds: int, lives: int, progress: Progress) -> Table:
    """Return containers per second: STARTERS processes at once, each takes `lives` containers from create to delete."""
    table: Table = {}
    for number in range(rounds):
        progress(f"throughput: round {number + 1} of {rounds}")
        for runtime in shuffled(runtimes):
            config = bundles.waiting(runtime)
            places = [bundles.save(runtime, f"starter{starter}", config) for starter in range(STARTERS)]
            begin = time.perf_counter()
            workers = [starter_process(runtime, place, starter, lives) for starter, place in enumerate(places)]
            statuses = [os.waitpid(pid, 0)[1] for pid in workers]
            took = time.perf_counter() - begin
            if any(statuses):
                raise BenchmarkError(f"{runtime.name}: a starter failed: {runtime.last_words()}")
            put(table, "containers per second", runtime.name, STARTERS * lives / took)
    return table


def starter_process(runtime: Runtime, bundle: Path, starter: int, lives: int) -> int:
    """Start one starter; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        become_subreaper()
        runtime.pid_file = runtime.pid_file.with_name(f"{runtime.name}-pid-{starter}")
        for number in range(lives):
            life = Life(runtime, bundle, f"{TOKEN}-starter-{starter}-{number}")
            life.create()
            life.start()
            life.kill()
            life.delete()
        status = 0
    finally:
        os._exit(status)
