"""The current state documents and processes of containers."""

from __future__ import annotations

from ..container import cgroup
from ..container.status import state_document, status_of
from ..container.store import Store
from ..errors import Failure, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def state(root: str, container_id: str) -> dict[str, Any]:
    """Return the state document of a container (runtime.md "Query State"). Raises NotFound and other Failures."""
    with Store(root).open(container_id, lock=False) as container:
        now = status_of(container)
        now.close()
        return state_document(container, now)


def ids(root: str) -> list[str]:
    """Return the ids of all containers."""
    return list(Store(root).ids())


def states(root: str, report: Callable[[Failure], object]) -> list[dict[str, Any]]:
    """Return the state documents of all containers; those created or deleted meanwhile may or may not be included.

    report: called with the failure of each damaged container, which is left out.
    """
    store = Store(root)
    documents = (state_if_there(store, container_id, report) for container_id in store.ids())
    return [document for document in documents if document is not None]


def state_if_there(store: Store, container_id: str, report: Callable[[Failure], object]) -> dict[str, Any] | None:
    """Return a container's state document, or None when it is gone or damaged."""
    try:
        with store.open(container_id, lock=False) as container:
            try:
                now = status_of(container)
            except Failure:
                if container.gone():
                    return None
                raise
            now.close()
            return state_document(container, now)
    except NotFound:
        return None
    except Failure as failure:
        report(failure)
        return None


def processes(root: str, container_id: str) -> list[int]:
    """Return the host's pids of a container's processes. Raises Failure when it is stopped."""
    with Store(root).open(container_id, lock=False) as container:
        now = status_of(container)
        now.close()
        if now.status == "stopped":
            raise Failure(f'cannot list processes of container "{container.id}": container not running')
        return sorted(set(cgroup.of(container.record).processes()))
