"""Run: create and start; in the foreground also wait and delete."""

from __future__ import annotations

from .. import kernel
from ..engine import foreground
from ..errors import InvalidConfig
from . import create, protection, start
from .delete import clean_up, destroy
from .terminal import take_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..step import Slots


def run(root: str, container_id: str, asked: create.Creation, *, keep: bool = False) -> int:
    """Create and start a container. With asked.foreground, wait for its program, delete it unless `keep` is set, and
    return the program's exit status; otherwise return 0 at once. Raises Failure; then nothing is left behind."""
    protection.check("run")
    request = create.prepare(root, container_id, asked)
    own_terminal = create.check_terminal(asked, request.config)
    if not request.config.get("process"):
        raise InvalidConfig("there is no process to run", pointer="/process")
    slots: Slots = {}
    ours = -1
    if own_terminal:
        ours, slots["console"] = kernel.socketpair()
    signals = foreground.Signals() if asked.foreground else None
    container, launched = create.make(root, request, slots)
    with container:
        try:
            terminal = take_terminal(ours, slots) if own_terminal else None
            notify = start.listen(container, asked.notify_socket)
            start.start_created(container, launched.pid, launched.pidfd)
            if signals is None:
                launched.close()
                start.wait_ready(container, notify)
                return 0
            container.unlock()
            status = foreground.wait(launched.pid, launched.pidfd, signals, terminal, notify)
            signals.restore()
        except BaseException as error:
            launched.kill()
            clean_up(container, error)
            raise
        finally:
            launched.close()
        if not keep:
            container.lock()
            if not container.gone():
                destroy(container)
    return status
