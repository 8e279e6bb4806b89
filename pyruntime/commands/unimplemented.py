"""Commands that are known, with their options, and not there yet."""

from __future__ import annotations

from ..errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def unimplemented(options: Options) -> int:
    """Say so."""
    raise Failure(f"{options.command} is not implemented yet")
