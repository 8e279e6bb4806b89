"""explain prints the plan: each step once, in order, under a heading where the side changes."""

from pyruntime.commands.explain import render
from pyruntime.plan.capabilities import NAMES, Mask
from pyruntime.step import HOST, INIT, Plan, Step


def test_sides_and_columns() -> None:
    plan = Plan(
        [
            Step(HOST, "", "a"),
            Step(INIT, "/mounts/0", "b", 1),
            Step(HOST, "", "m", meanwhile=True),
            Step(HOST, "", "c"),
            Step(INIT, "", "await_start", into="s"),
            Step(INIT, "/process", "d"),
        ]
    )
    assert render(plan).splitlines() == [
        "# host: the runtime, in the namespaces of its caller",
        "   1 host             a()",
        "# init: the container's first process, in its own namespaces",
        "   2 init  /mounts/0  b(1)",
        "# host, while init is busy with the steps above",
        "   3 host             m()",
        "# host",
        "   4 host             c()",
        "# init",
        "# init, from here on when `start` is called",
        "   5 init             await_start() = <s>",
        "   6 init  /process   d()",
    ]


def test_capabilities_by_name() -> None:
    everything = (1 << len(NAMES)) - 1
    assert repr(Mask(0)) == "0"
    assert repr(Mask(0b11)) == "CHOWN|DAC_OVERRIDE"
    assert repr(Mask(everything)) == "ALL"
    assert repr(Mask(everything & ~0b10)) == "ALL&~(DAC_OVERRIDE)"
