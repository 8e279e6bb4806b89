"""`list`: all containers below the root directory."""

from __future__ import annotations

import sys

from ..container.status import state_document, status_of
from ..container.store import Store
from ..errors import Failure, NotFound, UsageFailure
from ..spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cli import Options

COLUMNS = (("ID", "id"), ("PID", "pid"), ("STATUS", "status"), ("BUNDLE", "bundle"), ("CREATED", "created"))


def list_(options: Options) -> int:
    """`list [-q] [-f table|json]`: containers that come or go meanwhile are shown or not, but never an error."""
    if options.format not in (None, "table", "json"):
        raise UsageFailure(f"--format {options.format!r} is neither table nor json")
    documents = []
    for container_id in Store(options.root).ids():
        document = describe(options, container_id)
        if document is not None:
            documents.append(document)
    if options.quiet:
        sys.stdout.write("".join(f"{document['id']}\n" for document in documents))
    elif options.format == "json":
        sys.stdout.write(dumps(documents) + "\n")
    else:
        sys.stdout.write(table(documents))
    return 0


def describe(options: Options, container_id: str) -> dict[str, Any] | None:
    """Return a container's state, None when it is gone; a damaged record is told on stderr and the others follow."""
    try:
        container = Store(options.root).open(container_id, lock=False)
    except NotFound:
        return None
    except Failure as failure:
        sys.stderr.write(f"pyruntime: {failure}\n")
        return None
    try:
        now = status_of(container)
        document = state_document(container, now)
        now.close()
        return document
    except Failure as failure:
        if container.gone() or container.damage is None:
            return None
        sys.stderr.write(f"pyruntime: {failure}\n")
        return None
    finally:
        container.close()


def table(documents: list[dict[str, Any]]) -> str:
    """Return the documents in columns, headed."""
    rows = [[title for title, _ in COLUMNS], *([str(document[key]) for _, key in COLUMNS] for document in documents)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in lines)
