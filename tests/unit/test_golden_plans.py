"""Plans as text, compared with those that are committed: tests/data/plans/NAME.json is a case, NAME.txt its plan.

A change of a plan shows in the commit that makes it. To write the plans as they are now, and then read the difference:

    scripts/test unit -- tests/unit/test_golden_plans.py --update
    git diff tests/data/plans
"""

import json

import pytest
from support import plans

from pyruntime import spec

CASES = sorted(path.stem for path in plans.CASES.glob("*.json"))


@pytest.mark.parametrize("name", CASES)
def test_plan(name: str, request: pytest.FixtureRequest) -> None:
    case = json.loads((plans.CASES / f"{name}.json").read_text())
    text = plans.plan_text(case)
    file = plans.CASES / f"{name}.txt"
    if request.config.getoption("--update"):
        file.write_text(text)
    assert text == (file.read_text() if file.exists() else ""), f"the plan of {name} is another (--update writes it)"


def test_every_plan_has_its_case() -> None:
    assert sorted(path.stem for path in plans.CASES.glob("*.txt")) == CASES


@pytest.mark.parametrize("name", CASES)
def test_every_config_is_valid(name: str) -> None:
    """A plan of what no user can ask for proves nothing."""
    case = json.loads((plans.CASES / f"{name}.json").read_text())
    spec.validate(plans.config_of(case), lambda config: frozenset())
