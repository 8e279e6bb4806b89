"""The meaning of crun's annotations that engines and people use. Source: crun(1), "Extensions to OCI".

Annotations for systemd units are in systemd.py.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..spec.linux import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DELEGATE = "run.oci.delegate-cgroup"
SUBGROUP = "run.oci.systemd.subgroup"
SECCOMP_RECEIVER = "run.oci.seccomp.receiver"
PIDFD_RECEIVER = "run.oci.pidfd_receiver"
SECCOMP_STRICT = "run.oci.seccomp_fail_unknown_syscall"
HOOKS_STDOUT = "run.oci.hooks.stdout"
HOOKS_STDERR = "run.oci.hooks.stderr"
KNOWN = (
    DELEGATE, SUBGROUP, SECCOMP_RECEIVER, PIDFD_RECEIVER, SECCOMP_STRICT, HOOKS_STDOUT, HOOKS_STDERR,
)  # fmt: skip
"""The annotations that change the runtime's behaviour, besides systemd's (for `features`)."""


def value_of(config: dict[str, Any], name: str) -> str:
    """Return an annotation's value, "" without one."""
    return str((config.get("annotations") or {}).get(name, ""))


def is_set(config: dict[str, Any], name: str) -> bool:
    """Return whether an annotation is present and not "0", as in crun."""
    return name in (config.get("annotations") or {}) and value_of(config, name) != "0"


def pointer_of(name: str) -> str:
    return f"/annotations/{escaped(name)}"


def path_of(config: dict[str, Any], name: str) -> str:
    """Return the path in an annotation, "" without one. Raises InvalidConfig for a path that is not absolute."""
    path = value_of(config, name)
    if (path and not path.startswith("/")) or "\0" in path:
        raise InvalidConfig(f"{path!r} is not an absolute path", pointer=pointer_of(name))
    return path


def subgroup_of(config: dict[str, Any], name: str) -> str:
    """Return the cgroup below the container's own that an annotation names, "" without one.

    Raises InvalidConfig for a path that is not below it.
    """
    path = value_of(config, name)
    parts = path.split("/")
    if path and (not {"", ".", ".."}.isdisjoint(parts) or any(not part.isprintable() for part in parts)):
        raise InvalidConfig(f"{path!r} is not a cgroup below the container's own", pointer=pointer_of(name))
    return path


def apply(config: dict[str, Any]) -> None:
    """Set the properties of a config, valid or not, that its annotations stand for, unless they are set already."""
    linux, given = config.get("linux"), config.get("annotations")
    seccomp = linux.get("seccomp") if isinstance(linux, dict) else None
    if not isinstance(seccomp, dict) or not isinstance(given, dict) or SECCOMP_RECEIVER not in given:
        return
    receiver = path_of(config, SECCOMP_RECEIVER)
    if receiver and not seccomp.get("listenerPath"):
        seccomp["listenerPath"] = receiver
