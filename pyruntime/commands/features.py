"""`features`: what this runtime supports, independent of the host. Source: runtime-spec features.md, features-linux.md.

Most of it is derived from the code that implements it; the rest is the table below.
"""

from __future__ import annotations

import sys

from .. import SPEC_VERSION
from ..plan import extensions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..options import Options

CGROUP = {"v1": False, "v2": True, "systemd": True, "systemdUser": False, "rdma": True}
APPARMOR = True
LIBSECCOMP_VERSION = "io.github.seccomp.libseccomp.version"
"""The annotation in which runc, crun and youki give that version."""
IDMAP = True
UNSAFE_ANNOTATIONS = ["org.systemd.property.", *extensions.KNOWN]
"""Annotations that change what the runtime does; a trailing dot stands for all with that prefix (features.md)."""
ARCHES_SINCE_LIBSECCOMP_2_6 = {"SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB"}
"""Valid in a config, but Debian 12's libseccomp 2.5 does not know them."""


def features(_options: Options) -> int:
    """`features`: print the features document as JSON."""
    import json

    sys.stdout.write(json.dumps(document(), indent=2) + "\n")
    return 0


def document() -> dict[str, Any]:
    """Return the features document."""
    from ..plan import capabilities, mount_options, namespaces, unsupported
    from ..spec import _validator, checks

    refused = {path[-1] for path, _ in unsupported.UNSUPPORTED}
    rdt = "intelRdt" not in refused
    return {
        "ociVersionMin": checks.OLDEST,
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(checks.HOOKS),
        "mountOptions": sorted(mount_options.OPTIONS),
        "linux": {
            "namespaces": sorted(namespaces.FLAG),
            "capabilities": list(capabilities.NUMBER),
            "cgroup": CGROUP,
            "seccomp": seccomp(),
            "apparmor": {"enabled": APPARMOR},
            "selinux": {"enabled": "mountLabel" not in refused},
            "memoryPolicy": {
                "modes": sorted(_validator.MEMORY_POLICY_MODE),
                "flags": sorted(_validator.MEMORY_POLICY_FLAG),
            },
            "intelRdt": {"enabled": rdt, "schemata": rdt, "monitoring": rdt},
            "mountExtensions": {"idmap": {"enabled": IDMAP}},
            "netDevices": {"enabled": "netDevices" not in refused},
        },
        "annotations": found_versions(),
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    }


def found_versions() -> dict[str, str]:
    """Return versions for which the spec has no property."""
    found = libseccomp_version()
    return {LIBSECCOMP_VERSION: found} if found else {}


def libseccomp_version() -> str | None:
    """Return the version of libseccomp that compiles profiles, or None if there is none."""
    try:
        from ..kernel._seccomp import version
    except ImportError:
        return None
    return version()


def seccomp() -> dict[str, Any]:
    """Return what the compiler of profiles in the kernel layer supports; it needs libseccomp's library."""
    from ..spec import _validator

    try:
        from ..kernel.seccomp import ACTIONS, OPERATORS
    except ImportError:
        return {"enabled": False}
    return {
        "enabled": True,
        "actions": sorted(ACTIONS),
        "operators": sorted(OPERATORS),
        "archs": sorted(_validator.SECCOMP_ARCH - ARCHES_SINCE_LIBSECCOMP_2_6),
        "knownFlags": sorted(_validator.SECCOMP_FLAG),
        "supportedFlags": sorted(_validator.SECCOMP_FLAG),
    }
