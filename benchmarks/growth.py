"""How cost grows: with mounts, existing containers, seccomp rules, the config's size, hooks."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from operations import LIFE, MS, Progress, shuffled
from runtimes import BenchmarkError, Life, Runtime
from samples import Table, put
from surroundings import TOKEN

import bundles

Grow = Callable[[bundles.Config, int], bundles.Config]


class Subject:
    """What grows. levels: how much of it; grow: a config with so much of it, None when the config does not change."""

    def __init__(
        self, title: str, axis: str, levels: tuple[int, ...], grow: Grow | None, quick: tuple[int, ...]
    ) -> None:
        self.title = title
        self.axis = axis
        self.levels = levels
        self.grow = grow
        self.quick = quick


SUBJECTS = {
    "mounts": Subject("Mounts", "mounts", (10, 100, 1000), bundles.with_mounts, (10, 100)),
    "containers": Subject("Existing containers", "existing containers", (0, 50, 500), None, (0, 20)),
    "seccomp": Subject("Seccomp rules", "rules", (0, 400, 2000), bundles.with_seccomp, (0, 400)),
    "config": Subject(
        "Size of config.json", "KB of config.json", (10, 100, 1000, 5000), lambda c, n: bundles.with_size(c, n * 1000),
        (10, 1000),
    ),
    "hooks": Subject("Hooks", "createRuntime hooks", (1, 10, 50), bundles.with_hooks, (1, 10)),
}  # fmt: skip


def measure(name: str, runtimes: list[Runtime], rounds: int, quick: bool, progress: Progress) -> dict[int, Table]:
    """Return, by level, the times in ms of create, start, kill and delete."""
    subject = SUBJECTS[name]
    found: dict[int, Table] = {}
    for level in subject.quick if quick else subject.levels:
        found[level] = {}
        if subject.grow is None:
            with existing(runtimes, level, progress):
                lives(subject, level, runtimes, rounds, found[level], progress)
        else:
            lives(subject, level, runtimes, rounds, found[level], progress)
    return found


def lives(subject: Subject, level: int, runtimes: list[Runtime], rounds: int, table: Table, progress: Progress) -> None:
    """Take containers from create to delete, and note the times; the first of each runtime warms up.

    A runtime that fails is left out of this level.
    """
    places = {}
    for runtime in runtimes:
        config = bundles.waiting(runtime)
        places[runtime.name] = bundles.save(runtime, "growth", subject.grow(config, level) if subject.grow else config)
    left = list(runtimes)
    for number in range(-1, rounds):
        progress(f"{subject.title}: {level}, round {max(number, 0) + 1} of {rounds}")
        for runtime in shuffled(left):
            life = Life(runtime, places[runtime.name], f"{TOKEN}-growth")
            try:
                took = {"create": life.create(), "start": life.start(), "kill": life.kill(), "delete": life.delete()}
            except BenchmarkError as error:
                # A peer's limit is a result; the others go on.
                progress(f"{subject.title}: {level}: {error}")
                left.remove(runtime)
                runtime.delete(life.id)
                continue
            took["life"] = sum(took[operation] for operation in LIFE)
            if number >= 0:
                for operation, value in took.items():
                    put(table, operation, runtime.name, value / MS)


@contextmanager
def existing(runtimes: list[Runtime], count: int, progress: Progress) -> Iterator[None]:
    """While the block runs, every runtime has that many created containers."""
    made: list[Life] = []
    try:
        for number in range(count):
            progress(f"making existing containers: {number + 1} of {count}")
            for runtime in runtimes:
                config = copy.deepcopy(bundles.waiting(runtime))
                life = Life(runtime, bundles.save(runtime, f"existing{number}", config), f"{TOKEN}-existing-{number}")
                life.create()
                made.append(life)
        yield
    finally:
        for number, life in enumerate(made):
            progress(f"removing existing containers: {number + 1} of {len(made)}")
            life.remove()


def slope(samples: dict[int, Table], operation: str, runtime: str) -> float:
    """Return the cost of one more (ms), from the lowest to the highest level, by the best times.

    The levels are measured one after the other, and what else the machine does changes meanwhile: medians tell it too.
    """
    levels = [level for level in sorted(samples) if runtime in samples[level].get(operation, {})]
    if len(levels) < 2:
        return 0.0
    first, last = (samples[level][operation][runtime].least for level in (levels[0], levels[-1]))
    return (last - first) / (levels[-1] - levels[0])
