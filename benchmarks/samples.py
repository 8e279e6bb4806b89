"""Samples of one quantity, and what is told of them."""

import statistics
from collections.abc import Iterable


class Samples:
    """Measured values, in the order they were taken."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.values = list(values)

    def add(self, value: float) -> None:
        self.values.append(value)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The values below which a quarter and three quarters of the samples are."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    def document(self) -> dict[str, float | int]:
        """Return the figures for the JSON results."""
        low, high = self.quartiles
        figures = {"median": self.median, "min": self.least, "q1": low, "q3": high}
        return {"n": len(self.values), **{name: round(value, 3) for name, value in figures.items()}}


Table = dict[str, dict[str, Samples]]
"""Quantity -> runtime -> samples."""


def put(table: Table, quantity: str, runtime: str, value: float) -> None:
    table.setdefault(quantity, {}).setdefault(runtime, Samples()).add(value)
