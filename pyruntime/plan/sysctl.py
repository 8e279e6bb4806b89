"""Sysctls of the container's namespaces. Source: runtime-spec config-linux.md "Sysctl"; CVE-2025-52881."""

from __future__ import annotations

from ..spec.linux import escaped
from ..step import INIT, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def path_of(name: str) -> str:
    """Return the file below /proc/sys. In `net.ipv4.conf.eth0/1.x` the first separator decides, as with sysctl(8)."""
    slash, dot = name.find("/"), name.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    return name.translate({ord("."): "/", ord("/"): "."})


def sysctl_steps(config: dict[str, Any]) -> list[Step]:
    """Write each value through the private procfs of slot "procfs"."""
    return [
        Step(INIT, f"/linux/sysctl/{escaped(name)}", "write_procfs", Slot("procfs"), f"sys/{path_of(name)}", str(value))
        for name, value in ((config.get("linux") or {}).get("sysctl") or {}).items()
    ]
