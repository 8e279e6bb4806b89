"""The results as JSON, as a Markdown text and as charts."""

from collections.abc import Iterator

import growth
import plot
from operations import OPERATIONS
from samples import Samples, Table

OURS, REFERENCE = "pyruntime", "runc"
GOALS = {
    "create": (0.60, 0.50),
    "run": (0.60, 0.50),
    "exec": (0.65, 0.55),
    "start": (1.40, 1.10),
    "state": (1.40, 1.10),
    "kill": (1.40, 1.10),
    "delete": (1.40, 1.10),
    "life": (0.85, 0.70),
    "peak memory": (1.20, 1.00),
    "waiting init": (1.00, 0.60),
    "containers per second": (1.20, 1.60),
}
"""Quantity -> (at most, aimed at) as a ratio to runc; more is better for the last."""
UNITS = {"peak memory": "MB", "waiting init": "MB", "containers per second": "1/s"}
NAMES = {"life": "create+start+kill+delete", "waiting init": "PSS of the waiting init"}


class Results:
    """Everything that was measured; what was not asked for is empty."""

    def __init__(self, machine: dict[str, str], versions: dict[str, str]) -> None:
        self.machine = machine
        self.versions = versions
        self.times: Table = {}
        self.peaks: Table = {}
        self.waiting: Table = {}
        self.throughput: Table = {}
        self.growth: dict[str, dict[int, Table]] = {}
        self.seconds = 0.0

    def document(self) -> dict[str, object]:
        """Return the results for JSON: medians, minima and quartiles; times in ms, memory in MB."""
        return {
            "machine": self.machine,
            "versions": self.versions,
            "seconds": round(self.seconds),
            "times": figures(self.times),
            "peak memory": figures(self.peaks),
            "waiting init": figures(self.waiting),
            "throughput": figures(self.throughput),
            "growth": {
                name: {str(level): figures(table) for level, table in levels.items()}
                for name, levels in self.growth.items()
            },
        }

    def goals(self) -> dict[str, dict[str, Samples]]:
        """Return the quantities that have goals, by runtime."""
        found = {operation: self.times[operation] for operation in OPERATIONS if operation in self.times}
        if self.peaks:
            largest = {
                name: max((t[name] for t in self.peaks.values()), key=lambda s: s.median) for name in self.versions
            }
            found["peak memory"] = largest
        if self.waiting:
            found["waiting init"] = self.waiting["alone"]
        return found | self.throughput


def figures(table: Table) -> dict[str, dict[str, dict[str, float | int]]]:
    return {quantity: {name: s.document() for name, s in row.items()} for quantity, row in table.items()}


def markdown(results: Results, charts: str) -> str:
    """Return the report; charts: where the SVG files are, as seen from it."""
    parts = [*description(results), *goal_table(results), *memory_table(results)]
    for name, levels in results.growth.items():
        parts += growth_table(name, levels, list(results.versions), charts)
    return "\n".join(parts)


def description(results: Results) -> Iterator[str]:
    machine = results.machine
    yield f"- machine: {machine['processor']}; {machine['memory']}; {machine['system']}, Linux {machine['kernel']}, "
    yield f"  Python {machine['python']}; load average before: {machine['load before']}"
    yield "- runtimes: " + ", ".join(f"{name} {version}" for name, version in results.versions.items())
    rounds = max((len(s.values) for row in results.times.values() for s in row.values()), default=0)
    yield f"- rounds of the operations: {rounds}; time of the whole benchmark: {results.seconds:.0f} s"
    yield ""


def goal_table(results: Results) -> Iterator[str]:
    """One row per goal: the median and the middle half of the samples, the ratio to runc, whether the goal is met."""
    quantities = results.goals()
    if not quantities:
        return
    names = list(results.versions)
    compared = REFERENCE in names
    yield "| | " + " | ".join(names) + (" | of runc | by minima | at most | aim | |" if compared else " |")
    yield "| --- |" + " --- |" * (len(names) + (5 if compared else 0))
    for quantity, row in quantities.items():
        unit = UNITS.get(quantity, "ms")
        cells = [f"{NAMES.get(quantity, quantity)}, {unit}", *(cell(row[name]) for name in names)]
        if compared:
            cells += judged(quantity, row)
        yield "| " + " | ".join(cells) + " |"
    yield ""


def cell(samples: Samples) -> str:
    low, high = samples.quartiles
    return f"{samples.median:.1f} ({low:.1f}-{high:.1f})"


def judged(quantity: str, row: dict[str, Samples]) -> list[str]:
    """Return ratio, ratio of the minima, goal, aim, and the verdict of one quantity."""
    most, aim = GOALS[quantity]
    ratio = row[OURS].median / row[REFERENCE].median
    by_least = row[OURS].least / row[REFERENCE].least
    if quantity == "containers per second":
        met, sign = (ratio >= aim, ratio >= most), "≥ "
    else:
        met, sign = (ratio <= aim, ratio <= most), ""
    verdict = "aim" if met[0] else "met" if met[1] else "**missed**"
    return [f"{ratio:.2f}", f"{by_least:.2f}", f"{sign}{most:.2f}", f"{sign}{aim:.2f}", verdict]


def memory_table(results: Results) -> Iterator[str]:
    """Peak memory by command, and the waiting init among others."""
    names = list(results.versions)
    rows = [(f"peak of `{operation}`", row) for operation, row in results.peaks.items()]
    rows += [(f"PSS of a waiting init, {how}", row) for how, row in results.waiting.items()]
    if rows:
        yield "| memory, MB | " + " | ".join(names) + " |"
        yield "| --- |" + " --- |" * len(names)
        for title, row in rows:
            yield f"| {title} | " + " | ".join(f"{row[name].median:.1f}" for name in names) + " |"
        yield ""


def growth_table(name: str, levels: dict[int, Table], names: list[str], charts: str) -> Iterator[str]:
    """The medians and, in parentheses, the best times by level, and what one more costs by the best times."""
    subject = growth.SUBJECTS[name]
    yield f"### {subject.title}"
    yield ""
    yield f"![{subject.title}]({charts}/{name}.svg)"
    yield ""
    yield f"| ms, by {subject.axis} | | " + " | ".join(map(str, levels)) + " | each one more, µs |"
    yield "| --- | --- |" + " --- |" * (len(levels) + 1)
    for operation in ("create", "start", "kill", "delete"):
        for runtime in names:
            found = [table.get(operation, {}).get(runtime) for table in levels.values()]
            medians = [f"{samples.median:.1f} ({samples.least:.1f})" if samples else "fails" for samples in found]
            more = growth.slope(levels, operation, runtime) * 1000
            yield f"| {operation} | {runtime} | " + " | ".join(medians) + f" | {more:.1f} |"
    yield ""


def charts(results: Results) -> dict[str, str]:
    """Return the charts: file name -> SVG."""
    found = {}
    names = list(results.versions)
    if results.times:
        medians = {name: [results.times[o][name].median for o in OPERATIONS] for name in names}
        found["operations.svg"] = plot.bars("Time of each operation (medians)", "ms", OPERATIONS, medians)
    for name, levels in results.growth.items():
        subject = growth.SUBJECTS[name]
        series = {
            runtime: [
                point(level, table["create"][runtime]) for level, table in levels.items() if runtime in table["create"]
            ]
            for runtime in names
        }
        found[f"{name}.svg"] = plot.lines(f"create: {subject.title}", subject.axis, "ms", series)
    return found


def point(level: int, samples: Samples) -> tuple[float, float, float, float]:
    low, high = samples.quartiles
    return level, samples.median, low, high
