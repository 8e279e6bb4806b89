"""config.json as real Docker and containerd wrote them: each creates, starts and is deleted.

What a test host can't have is taken out here, visibly: files of the machine they were written on, its daemon's hook and
its network namespace.
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


def adapt(config: dict[str, Any], bundle: Bundle) -> list[str]:
    """Take out what belongs to the machine that wrote the config; return what was taken."""
    taken = []
    if config.get("hooks", {}).pop("prestart", None):
        taken.append("hook of the Docker daemon")
    for mount in config["mounts"]:
        if mount["type"] == "bind" and mount["source"].startswith(("/var/lib/docker", "/usr/bin/docker-init")):
            taken.append(f"source {mount['source']}")
            mount["source"] = stand_in(mount, bundle)
    for namespace in config["linux"]["namespaces"]:
        if namespace.get("path", "").startswith("/var/run/docker/netns/"):
            taken.append(f"namespace {namespace['path']}")
            namespace["path"] = "/proc/self/ns/net"
    resources = config["linux"]["resources"]
    if resources.get("cpu", {}).get("shares"):
        taken.append("cpu.shares: the cpu controller is not there")
        del resources["cpu"]["shares"]
    config["process"]["args"] = ["/bin/sleep", "1000"]
    return taken


def stand_in(mount: dict[str, Any], bundle: Bundle) -> str:
    """Return a file or directory that stands for a bind mount's source."""
    path = bundle.path / Path(mount["destination"]).name
    if mount["destination"] == "/data":
        path.mkdir()
    else:
        path.write_text("stand-in\n")
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
    assert len(CONFIGS) >= 6
