"""`list`: all containers below the root directory."""

from __future__ import annotations

import sys

from ..errors import Failure, UsageFailure, one_line
from ..lifecycle import state
from ..spec.jsontext import dumps
from ..text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options

KEYS = ("id", "pid", "status", "bundle", "created", "owner")
NARROWEST = 12
"""Characters of the narrowest column of a table."""


def list_(options: Options) -> int:
    """`list [-q] [-f table|json]`: a container created or deleted meanwhile may or may not be listed, but is no error.

    One with a damaged record is reported on stderr, and the others are listed.
    """
    if options.format not in (None, "table", "json"):
        raise UsageFailure(f"invalid format option: {quoted(options.format)} is neither table nor json")
    if options.quiet:
        sys.stdout.write("".join(f"{container_id}\n" for container_id in state.ids(options.root)))
        return 0
    documents = state.states(options.root, report)
    if options.format == "json":
        sys.stdout.write(dumps(documents) + "\n")
    else:
        rows = [[one_line(str(document[key])) for key in KEYS] for document in documents]
        sys.stdout.write(columns([[key.upper() for key in KEYS], *rows]))
    return 0


def report(failure: Failure) -> None:
    sys.stderr.write(f"pyruntime: {failure}\n")


def columns(rows: list[list[str]]) -> str:
    """Format rows as lines, each column as wide as its widest cell plus three spaces, as in runc's tables."""
    widths = [max(NARROWEST, 3 + max(map(len, column))) for column in zip(*rows, strict=True)]
    lines = ("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)
