"""`explain`: print the system calls of a bundle without running them. It builds the same plan as `create`."""

from __future__ import annotations

import sys

from ..step import HOST, INIT, JOIN, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


SIDES = {
    HOST: "the runtime, in the namespaces of its caller",
    JOIN: "an intermediate process, which enters the user namespace to join",
    INIT: "the container's first process, in its own namespaces",
}
"""Description of each side, printed where it comes first."""
MEANWHILE = ", while init is busy with the steps above"


def explain(options: Options) -> int:
    """Print the plan of a bundle: one line per step, with the side that runs it and the config value that caused it."""
    from ..lifecycle.create import prepare
    from .arguments import creation

    request = prepare(options.root, options.args[0] if options.args else "example", creation(options))
    for warning in request.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(render(request.plan))
    return 0


def render(plan: Plan) -> str:
    """Return the plan as text: number, side, config pointer, call; with a `#` line where the side changes, or where it
    begins or stops waiting for the other."""
    width = max((len(step.pointer) for step in plan), default=0)
    lines, last, seen = [], "", set()
    meanwhile = False
    for number, step in enumerate(plan, start=1):
        if step.side != last or step.meanwhile != meanwhile:
            note = f": {SIDES[step.side]}" if step.side not in seen else MEANWHILE if step.meanwhile else ""
            lines.append(f"# {step.side}{note}")
        if step.call == "await_start":
            lines.append("# init, from here on when `start` is called")
        last, meanwhile = step.side, step.meanwhile
        seen.add(last)
        lines.append(f"{number:4} {step.side:4}  {step.pointer:{width}}  {step.describe()}")
    return "".join(f"{line}\n" for line in lines)
