"""config.json: read, validated, and told where it is wrong."""

from __future__ import annotations

import errno
import posix

from ..errors import Failure, InvalidConfig
from .jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load_config(bundle: str, config_path: str | None = None) -> tuple[bytes, dict[str, Any]]:
    """Return a bundle's config.json as it is written and as a value; config_path names another file.

    Raises InvalidConfig when there is no bundle, no config, or it is not a JSON object.
    """
    try:
        mode = posix.stat(bundle).st_mode
    except OSError as error:
        raise InvalidConfig(f"bundle {bundle}", error) from None
    if mode & 0o170000 != 0o040000:
        raise InvalidConfig(f"bundle {bundle} is not a directory")
    path = config_path or f"{bundle.rstrip('/')}/config.json"
    raw = read_file(path)
    config = loads(raw, path)
    if not isinstance(config, dict):
        raise InvalidConfig(f"{path} holds {kind_of(config)}, not an object")
    return raw, config


def load_process(path: str) -> dict[str, Any]:
    """Return the process document of `exec --process`."""
    process = loads(read_file(path), path)
    if not isinstance(process, dict):
        raise InvalidConfig(f"{path} holds {kind_of(process)}, not an object")
    return process


def read_file(path: str) -> bytes:
    """Return a whole file; raise InvalidConfig when it can't be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        hint = (
            "a bundle is a directory with config.json; `pyruntime spec` writes one"
            if error.errno == errno.ENOENT
            else None
        )
        raise InvalidConfig(f"open {path}", error, hint=hint) from None
    try:
        data = b""
        while part := posix.read(fd, 1 << 20):
            data += part
        return data
    except OSError as error:
        raise InvalidConfig(f"read {path}", error) from None
    finally:
        posix.close(fd)


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    return {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}.get(
        type(value), "an object"
    )


def validate(config: dict[str, Any]) -> list[str]:
    """Check a config against the schema and the spec's rules; return warnings. Raises InvalidConfig."""
    from . import _validator, checks

    if not _validator.is_valid(config):
        refuse(config, "config")
    return checks.check(config)


def validate_process(process: dict[str, Any]) -> None:
    """Check a process document of exec. Raises InvalidConfig."""
    from . import _validator, checks

    if not _validator.is_valid_process(process):
        refuse(process, "process")
    checks.check_process(process, "")


def refuse(document: Any, kind: str) -> None:
    """Raise the InvalidConfig that says why a document is not valid."""
    from .schema import explain

    explain(document, kind)
    raise Failure("internal error: the fast validator and the schema disagree on a document; please report it")
