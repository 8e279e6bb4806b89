"""`delete`: remove everything that create made."""

from __future__ import annotations

from ..lifecycle import delete as lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def delete(options: Options) -> int:
    """`delete [--force] ID`: a container that is not stopped is deleted only with --force."""
    remove = lifecycle.delete_matching if options.regex else lifecycle.delete
    remove(options.root, options.args[0], force=options.force)
    return 0
