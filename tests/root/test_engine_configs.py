"""config.json as Docker, containerd (1.6 and 2), CRI-O and BuildKit wrote them: each creates, starts and is deleted.

What a test host can't have is taken out here, visibly: files of the machine they were written on, its daemon's hook,
namespaces that other containers had there, and limits of controllers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import paths
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime
from support.terminal import ConsoleSocket, console_socket

CONFIGS = sorted((paths.REPO / "tests/data/configs").glob("*.json"))
NO_CONTROLLER = ("memory", "cpu", "unified")
"""Limits that need controllers, which the tests' cgroup2 may not have; the machine tier has them."""


def adapt(config: dict[str, Any], bundle: Bundle) -> list[str]:
    """Take out what belongs to the machine that wrote the config; return what was taken."""
    taken = []
    if config.get("hooks", {}).pop("prestart", None):
        taken.append("hook of the Docker daemon")
    for mount in config["mounts"]:
        if mount["type"] == "bind" and mount["source"] != "/dev/shm":
            taken.append(f"source {mount['source']}")
            mount["source"] = stand_in(mount, bundle)
    for namespace in config["linux"]["namespaces"]:
        path = namespace.pop("path", "")
        if path.startswith("/var/run/docker/netns/"):
            namespace["path"] = "/proc/self/ns/net"
        if path:
            taken.append(f"namespace {path}")
    resources = config["linux"].get("resources", {})
    taken += [f"{name} {resources.pop(name)}" for name in NO_CONTROLLER if name in resources]
    if {"type": "uts"} not in config["linux"]["namespaces"] and config.pop("hostname", None):
        taken.append("a hostname without a uts namespace, which runc refuses as well")
    if config["process"].get("oomScoreAdj", 0) < 0:
        # It takes CAP_SYS_RESOURCE, which the tests may not have.
        taken.append(f"oomScoreAdj {config['process'].pop('oomScoreAdj')}")
    config["root"]["path"] = "rootfs"
    config["process"]["args"] = ["/bin/sleep", "1000"]
    return taken


def stand_in(mount: dict[str, Any], bundle: Bundle) -> str:
    """Return a file or directory that stands for a bind mount's source."""
    source = Path(mount["source"])
    path = bundle.path / f"source-{source.name}"
    if source.suffix or source.name in ("hosts", "hostname", "docker-init"):
        path.write_text("stand-in\n")
    else:
        path.mkdir(exist_ok=True)
    return str(path)


@pytest.fixture
def console(workdir: Path) -> Iterator[ConsoleSocket]:
    """A console socket that takes the terminal."""
    with console_socket(workdir) as socket:
        yield socket


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_of_an_engine(
    path: Path, container: Make, runtime: Runtime, bundle: Bundle, console: ConsoleSocket
) -> None:
    config = json.loads(path.read_text())
    print("taken out:", adapt(config, bundle))
    bundle.config.clear()
    bundle.config.update(config)
    options = ["--console-socket", str(console.path)] if config["process"].get("terminal") else []
    box = container(*options)
    assert box.status == "running"
    status = Path(f"/proc/{box.pid}/status").read_text()
    assert ("Seccomp:\t2" in status) == ("seccomp" in config["linux"])
    assert Path(f"/proc/{box.pid}/cmdline").read_bytes() == b"/bin/sleep\x001000\x00"
    box.kill("KILL")
    box.wait_stopped()
    box.delete()
    assert runtime.ids() == []


def test_there_are_configs() -> None:
    assert len(CONFIGS) >= 18
