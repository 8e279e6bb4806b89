"""Moments at which a test kills a create: parts of the time that a create takes here and now."""

import random
import time
from pathlib import Path

from support.runtime import Runtime, new_id

MEASURED = 3
AGAIN = 25
"""So many moments come from one measurement: how busy the machine is changes while a test runs."""
REACH = 3
"""The moments reach to that many times the longest measured create: about two of three are done by theirs."""


class Moments:
    """Random moments between the beginning of a create and well behind its end."""

    def __init__(self, runtime: Runtime, bundle: Path, seed: int) -> None:
        self._runtime = runtime
        self._bundle = bundle
        self._chance = random.Random(seed)
        self._taken = 0
        self._whole = 0.0

    def choose(self) -> float:
        """Return the seconds from the beginning of a create to the next moment; no create may be at work by now."""
        if self._taken % AGAIN == 0:
            self._whole = max(self._create() for _ in range(MEASURED))
        self._taken += 1
        return self._chance.random() * self._whole * REACH

    def _create(self) -> float:
        name = new_id("measured")
        began = time.monotonic()
        self._runtime.ok("create", "--bundle", self._bundle, name)
        took = time.monotonic() - began
        self._runtime.ok("delete", "--force", name)
        return took
