"""Pause and resume: the cgroup's freezer."""

from __future__ import annotations

from ..container import cgroup
from ..container.status import status_of
from ..container.store import Store
from ..errors import Failure


def pause(root: str, container_id: str) -> None:
    """Freeze all processes of a created or running container; on failure they all keep running."""
    with Store(root).open(container_id) as container:
        now = status_of(container)
        now.close()
        if now.status == "paused":
            raise Failure(f'cannot pause container "{container.id}": container not running (it is paused already)')
        if now.status not in ("created", "running"):
            raise Failure(f'cannot pause container "{container.id}": container not running (it is {now.status})')
        cgroup.of(container.record).freeze()


def resume(root: str, container_id: str) -> None:
    """Let the processes of a paused container continue."""
    with Store(root).open(container_id) as container:
        now = status_of(container)
        now.close()
        if now.status != "paused":
            raise Failure(f'cannot resume container "{container.id}": container not paused (it is {now.status})')
        cgroup.of(container.record).thaw()
