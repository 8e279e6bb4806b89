"""`explain`: print the system calls of a bundle without running them. It builds the same plan as `create`."""

from __future__ import annotations

import sys

from ..step import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli import Options


def explain(options: Options) -> int:
    """Print the plan of a bundle: one line per step, with the side that runs it and the config that asked for it."""
    from .create import prepare

    request = prepare(options, options.args[0] if options.args else "example")
    for warning in request.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(render(request.plan))
    return 0


def render(plan: Plan) -> str:
    """Return the plan as text, in columns: number, side, config pointer, call."""
    width = max((len(step.pointer) for step in plan), default=0)
    return "".join(
        f"{number:4} {step.side:4}  {step.pointer:{width}}  {step.describe()}\n"
        for number, step in enumerate(plan, start=1)
    )
