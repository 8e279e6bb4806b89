"""LSM labels of the program: AppArmor profile and SELinux label, written to init's own procfs attributes.

They are written through a private procfs that is opened before any mount of the container is made, so that none of
these can divert them (CVE-2019-16884, CVE-2025-52881). Source: config.md "Linux Process".
"""

from __future__ import annotations

from ..step import INIT, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LSM = "apply_label"


def procfs_steps(config: dict[str, Any]) -> list[Step]:
    """Open the private procfs if a label or sysctl will be written through it."""
    return [Step(INIT, "", "open_procfs", into="procfs")] if needs_procfs(config) else []


def close_procfs_steps(config: dict[str, Any]) -> list[Step]:
    """Close it after the last write: the container must not have it."""
    return [Step(INIT, "", "close", Slot("procfs"))] if needs_procfs(config) else []


def needs_procfs(config: dict[str, Any]) -> bool:
    program = config.get("process") or {}
    linux = config.get("linux") or {}
    return bool(program.get("apparmorProfile") or program.get("selinuxLabel") or linux.get("sysctl"))


def label_steps(program: dict[str, Any]) -> list[Step]:
    """Set the label that the next execve applies."""
    steps = []
    profile, label = program.get("apparmorProfile"), program.get("selinuxLabel")
    if profile and profile != "unconfined":
        steps.append(_write("/process/apparmorProfile", "self/attr/apparmor/exec", f"exec {profile}", "AppArmor"))
    if label:
        steps.append(_write("/process/selinuxLabel", "self/attr/exec", label, "SELinux"))
    return steps


def _write(pointer: str, path: str, text: str, lsm: str) -> Step:
    return Step(
        INIT, pointer, "write_procfs", Slot("procfs"), path, text, hint=f"is {lsm} enabled, and the name loaded?"
    )
