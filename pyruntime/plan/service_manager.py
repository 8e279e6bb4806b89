"""Sockets that a service manager passes to the program: those to serve, and one to report that it is ready.

Source: sd_listen_fds(3), sd_notify(3). config.json contains neither, so their steps do not point into it.
"""

from __future__ import annotations

from ..state_files import NOTIFY_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..step import Step
    from .wishes import Wishes

INSIDE = "/run/notify"
"""Where the directory with the socket is mounted in the container."""
MOUNT_OPTIONS = ("bind", "nosuid", "noexec", "nodev", "ro")


def extended(config: dict[str, Any], wishes: Wishes) -> dict[str, Any]:
    """Return a config with the variables and the mount that the wishes ask for; unchanged without a program.

    LISTEN_PID is that of the container's first process, as with runc and crun.
    """
    program = config.get("process")
    if not program or not (wishes.listen_fds or wishes.notify_directory):
        return config
    env, mounts = [*(program.get("env") or ())], [*(config.get("mounts") or ())]
    if wishes.listen_fds:
        env += [f"LISTEN_FDS={wishes.listen_fds}", "LISTEN_PID=1"]
    if wishes.notify_directory:
        env.append(f"NOTIFY_SOCKET={INSIDE}/{NOTIFY_SOCKET}")
        source = {"type": "bind", "source": wishes.notify_directory, "options": list(MOUNT_OPTIONS)}
        mounts.append({"destination": INSIDE, **source})
    return {**config, "process": {**program, "env": env}, "mounts": mounts}


def take_pointers(steps: list[Step], config: dict[str, Any]) -> None:
    """Remove the JSON pointers from the steps of a mount that the config in the file does not have."""
    own = f"/mounts/{len(config.get('mounts') or ())}"
    for step in steps:
        if step.pointer == own or step.pointer.startswith(f"{own}/"):
            step.pointer = ""
