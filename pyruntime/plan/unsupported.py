"""Properties of the config that pyruntime does not support yet: rejected, because the spec forbids ignoring them.

Source: runtime-spec config.md "Extensibility" and spec.md: a property that can't be applied is an error. Each row
leaves this table in the change that implements it.
"""

from __future__ import annotations

from ..errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNSUPPORTED = ((("linux", "intelRdt"), "Intel RDT"), (("linux", "mountLabel"), "SELinux labels on mounts"))


def check(config: dict[str, Any]) -> None:
    """Raise InvalidConfig for the first property that is set but not supported."""
    for path, words in UNSUPPORTED:
        value: Any = config
        for key in path:
            value = (value or {}).get(key)
        if value:
            raise InvalidConfig(f"{words} is not supported", pointer="/" + "/".join(path))
