"""config.json as real Docker, containerd, CRI-O and BuildKit wrote them: each creates, starts and is deleted.

What a test host can't have is replaced, visibly (support.engine_configs). A namespace that a config joins is that of
another container, as in a pod.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import engine_configs, session
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Container, Runtime, namespace, new_id
from support.terminal import ConsoleSocket, console_socket

NAMES = engine_configs.names()
ENGINES = ("buildkit", "containerd", "crio", "docker")


@pytest.fixture
def console(workdir: Path) -> Iterator[ConsoleSocket]:
    """A console socket that takes the terminal."""
    with console_socket(workdir) as socket:
        yield socket


@pytest.fixture
def pod(runtime: Runtime, workdir: Path) -> Iterator[Callable[[], Container]]:
    """A function that starts the container whose namespaces the others of a pod join."""
    made: list[Container] = []

    def start() -> Container:
        bundle = Bundle(workdir / "pod")
        bundle.args("sleep", "1000")
        made.append(Container(runtime, bundle.save(), new_id("pod")))
        made[0].create()
        made[0].start()
        return made[0]

    yield start
    for each in made:
        each.delete("--force")
        each.close()


@pytest.mark.parametrize("name", NAMES)
def test_config_of_an_engine(
    name: str, container: Make, runtime: Runtime, bundle: Bundle, console: ConsoleSocket, pod: Callable[[], Container]
) -> None:
    config = engine_configs.load(name)
    joins: list[str] = [entry["type"] for entry in config["linux"]["namespaces"] if entry.get("path")]
    # What Docker calls its default network namespace is the host's.
    other = pod().pid if joins and name != "docker-hostns" else None
    controllers = frozenset((session.CGROUP_ROOT / "cgroup.controllers").read_text().split())
    places = engine_configs.of_a_pod(other) if other else lambda _: "/proc/self/ns/net"
    may_lower = engine_configs.may_lower_oom_score()
    sources = engine_configs.stand_ins(bundle.path)
    print("replaced:", engine_configs.adapt(config, sources, places, controllers, may_lower=may_lower))
    bundle.config.clear()
    bundle.config.update(config)
    options = ["--console-socket", str(console.path)] if config["process"].get("terminal") else []
    box = container(*options)
    assert box.status == "running"
    status = Path(f"/proc/{box.pid}/status").read_text()
    assert ("Seccomp:\t2" in status) == ("seccomp" in config["linux"])
    assert Path(f"/proc/{box.pid}/cmdline").read_bytes() == b"/bin/sleep\x001000\x00"
    files = {"network": "net", "mount": "mnt"}
    for kind in joins:
        file = files.get(kind, kind)
        assert namespace(box.pid, file) == namespace(other or "self", file), kind
    box.kill("KILL")
    box.wait_stopped()
    box.delete()
    assert runtime.ids() == ([] if other is None else [runtime.ids()[0]])


def test_there_are_configs_of_every_engine() -> None:
    assert {name.partition("-")[0] for name in NAMES} == set(ENGINES)
    assert len(NAMES) >= 18
