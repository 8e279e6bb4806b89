"""Commands that are recognised, with their options, but not implemented yet."""

from __future__ import annotations

from ..errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Options


def unimplemented(options: Options) -> int:
    """Raise Failure: the command is not implemented."""
    raise Failure(f"{options.command} is not implemented yet")
