"""Reads and validates config.json, and reports where it is wrong.

    raw, config = load_config(bundle)
    warnings = validate(config)

A document is checked first against the schema (`_validator`, generated from specs/config.schema.json), then against the
spec's rules (`checks`). Functions import what they need: every command loads this module, but not all read a config.
"""

from __future__ import annotations

import posix

from .. import observer
from ..errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

LARGEST = 64 << 20
"""The maximum size of a document, in bytes."""


@observer.phase
def load_config(bundle: str, config_path: str | None = None) -> tuple[bytes, dict[str, Any]]:
    """Return a bundle's config.json, both raw and parsed; config_path names a file to read in its place.

    Raises InvalidConfig when the bundle or the config does not exist, or when the config is not a JSON object.
    """
    try:
        is_directory = posix.stat(bundle).st_mode & 0o170000 == 0o040000
    except OSError as error:
        raise _unreadable(f"bundle {bundle}", error) from None
    if not is_directory:
        raise InvalidConfig(f"bundle {bundle}: not a directory")
    path = config_path or f"{bundle.rstrip('/')}/config.json"
    raw = read_file(path)
    return raw, _object(raw, path)


@observer.phase
def load_process(path: str) -> dict[str, Any]:
    """Return the process document of `exec --process`; raise InvalidConfig when it can't be read or isn't an object."""
    return _object(read_file(path), path)


def load_resources(path: str) -> dict[str, Any]:
    """Return the document of `update --resources`, from standard input for `-`; raise InvalidConfig as load_process."""
    if path == "-":
        return _object(_read_all(0, "standard input"), "standard input")
    return _object(read_file(path), path)


def _object(raw: bytes, path: str) -> dict[str, Any]:
    from .jsontext import load_document

    value = load_document(raw, path)
    if type(value) is not dict:
        from .schema import found

        raise InvalidConfig(f"{path}: expected an object, found {found(value)}")
    return value


def read_file(path: str) -> bytes:
    """Return the contents of a file or pipe; raise InvalidConfig when it can't be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(f"open {path}", error) from None
    try:
        return _read_all(fd, path)
    finally:
        posix.close(fd)


def _read_all(fd: int, what: str) -> bytes:
    try:
        data = posix.read(fd, 1 << 20)
        while data and len(data) <= LARGEST:
            part = posix.read(fd, 1 << 20)
            if not part:
                break
            data += part
    except OSError as error:
        raise _unreadable(f"read {what}", error) from None
    if len(data) > LARGEST:
        raise InvalidConfig(f"{what} is larger than {LARGEST >> 20} MiB")
    return data


def _unreadable(what: str, error: OSError) -> InvalidConfig:
    """Return the failure for a file that `what` already names."""
    plain = OSError(error.errno, posix.strerror(error.errno or 0))
    return InvalidConfig(what, plain)


@observer.phase
def validate(config: Mapping[str, Any], host_namespaces: Callable[[Any], frozenset[str]] | None = None) -> list[str]:
    """Check a config against the schema and the spec's rules; return warnings to log. Raises InvalidConfig.

    host_namespaces: called with a config that is valid by the schema, returns the types of the host's namespaces that
    it joins by path. The rules treat these as not listed.
    """
    from . import _validator, checks, names

    if not _validator.is_valid(config):
        _refuse(config, "config")
    warnings = checks.check(config, host_namespaces(config) if host_namespaces is not None else frozenset())
    return warnings + names.near_misses(config)


@observer.phase
def validate_process(process: Mapping[str, Any], what: str = "process") -> list[str]:
    """Check a process document of `exec`; return warnings to log. what: its name, for errors. Raises InvalidConfig."""
    from . import _validator, checks, names

    try:
        if not _validator.is_valid_process(process):
            _refuse(process, "process")
        checks.check_process(process, "")
    except InvalidConfig as error:
        raise _elsewhere(error, what) from None
    return names.near_misses(process, what)


def validate_resources(resources: Mapping[str, Any], what: str | None = "resources") -> list[str]:
    """Check a document of `update --resources`; return warnings to log. Raises InvalidConfig.

    what: its name, for errors; None leaves the pointer, which is relative to the document, to the caller.
    """
    from . import _validator, linux, names

    try:
        if not _validator.is_valid_resources(resources):
            _refuse(resources, "resources")
        linux.check_resources(resources, "")
    except InvalidConfig as error:
        if what is None:
            raise
        raise _elsewhere(error, what) from None
    return names.near_misses(resources, what or "resources")


def _refuse(document: Any, kind: str) -> NoReturn:
    """Raise InvalidConfig with the reason why a document is not valid."""
    from .schema import explain

    explain(document, kind)
    raise AssertionError(f"the validator and the schema disagree on this {kind} document")


def _elsewhere(error: InvalidConfig, what: str) -> InvalidConfig:
    """Return the failure for a pointer into a document other than config.json."""
    return InvalidConfig(error.what, pointer=error.pointer, hint=error.hint, document=what)
