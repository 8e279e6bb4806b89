"""`state`: what a container is now."""

from __future__ import annotations

import sys

from ..container.status import state_document, status_of
from ..container.store import Store
from ..spec.jsontext import dumps, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli import Options


def state(options: Options) -> int:
    """`state ID`: print the state document as JSON, a property on each line (runtime.md "Query State")."""
    with Store(options.root).open(options.args[0], lock=False) as container:
        now = status_of(container)
        now.close()
        lines = [f"  {quote(key)}: {dumps(value)}" for key, value in state_document(container, now).items()]
        sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
    return 0
