"""Clean-ups taken out in the driver alone, to see that the tests of faults notice."""

from typing import Any

from pyruntime.container import cgroup
from pyruntime.lifecycle import create, delete


def _nothing(*_: Any) -> None:
    return


nothing: Any = _nothing


def no_clean_up() -> None:
    """A create that fails leaves everything."""
    create.__dict__["clean_up"] = nothing


def no_parents() -> None:
    """The cgroups above the container's own stay."""
    cgroup.remove_parents = nothing


def no_unmount() -> None:
    """What is mounted without a mount namespace stays."""
    delete.unmount = nothing


def devices_lost() -> None:
    """A network device stays with the container that could not be made."""
    create.give_back_devices = nothing
