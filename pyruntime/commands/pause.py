"""`pause` and `resume`: the cgroup's freezer."""

from __future__ import annotations

from ..container import cgroup
from ..container.status import status_of
from ..container.store import Store
from ..errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cli import Options


def pause(options: Options) -> int:
    """`pause ID`: stop all processes of a created or running container; on failure they all run on."""
    with Store(options.root).open(options.args[0]) as container:
        now = status_of(container)
        now.close()
        if now.status == "paused":
            raise Failure(f'cannot pause container "{container.id}": container not running (it is paused already)')
        if now.status not in ("created", "running"):
            raise Failure(f'cannot pause container "{container.id}": container not running (it is {now.status})')
        cgroup.of(container.record).freeze()
    return 0


def resume(options: Options) -> int:
    """`resume ID`: let a paused container go on."""
    with Store(options.root).open(options.args[0]) as container:
        now = status_of(container)
        now.close()
        if now.status != "paused":
            raise Failure(f'cannot resume container "{container.id}": container not paused (it is {now.status})')
        cgroup.of(container.record).thaw()
    return 0
