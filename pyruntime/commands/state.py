"""`state`: the current state of a container."""

from __future__ import annotations

import sys

from ..lifecycle import state as lifecycle
from ..spec.jsontext import dumps, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def state(options: Options) -> int:
    """`state ID`: print the state document as JSON, one property per line (runtime.md "Query State")."""
    document = lifecycle.state(options.root, options.args[0])
    lines = [f"  {quote(key)}: {dumps(value)}" for key, value in document.items()]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
    return 0
