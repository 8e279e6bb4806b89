"""create with a fault at every step of its plan: an error, or the death of either side."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bundle import Bundle
from support.faults import configs, jobs
from support.fixtures import Make

KINDS = ["errno", "host", "init"]
ALONE = [
    configs.plain, configs.docker, configs.terminal, configs.userns, configs.hooks, configs.no_pivot,
    configs.no_mount_namespace, configs.idmapped,
]  # fmt: skip


def create(workdir: Path, bundle: Bundle, config: str, more: dict[str, Any]) -> None:
    configs.own_cgroup(bundle)
    job = {"kinds": KINDS, **more}
    jobs.check(workdir, command="create", config=config, level="step", bundle=str(bundle.save()), **job)


@pytest.mark.parametrize("config", ALONE, ids=lambda config: config.__name__)
def test_create(workdir: Path, bundle: Bundle, config: Callable[[Bundle, Path], dict[str, Any]]) -> None:
    create(workdir, bundle, config.__name__, config(bundle, workdir))


def test_create_in_a_joined_pid_namespace(workdir: Path, bundle: Bundle, container: Make) -> None:
    other = container()
    create(workdir, bundle, "joined_pid", configs.joined_pid(bundle, workdir, other.pid))


def test_create_in_a_joined_user_namespace(workdir: Path, bundle: Bundle, container: Make) -> None:
    configs.userns(bundle, workdir)
    other = container()
    fresh = Bundle(workdir / "joining")
    create(workdir, fresh, "joined_userns", configs.joined_userns(fresh, workdir, other.pid))


def test_create_with_a_network_device(workdir: Path, bundle: Bundle) -> None:
    """Whoever fails or dies, but for the command itself: that loses the device with the namespace, as it must."""
    create(workdir, bundle, "net_device", {**configs.net_device(bundle, workdir), "kinds": ["errno", "init"]})
