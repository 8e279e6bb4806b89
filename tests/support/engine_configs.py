"""config.json as real engines wrote them (tests/data/configs), made fit for a host that is not theirs.

Replaced, and only that: bind sources and namespaces of the machine they were written on, Docker's hook, limits whose
controller is not there, and the program.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import paths

FOLDER = paths.REPO / "tests/data/configs"
FILES = ("resolv.conf", "hostname", "hosts", ".containerenv", "docker-init", "otel-grpc.sock")
"""Bind mounts of these names are files; all others are directories."""
CONTROLLERS = {"cpu": "cpu", "memory": "memory", "pids": "pids", "blockIO": "io", "unified": "memory"}
"""Key of linux.resources -> the controller that its limits in these configs need."""

Source = Callable[[str, bool], str]
"""(name, whether it is a file) -> what stands for a bind mount's source."""


def names() -> list[str]:
    """Return the names of the configs, such as "docker-plain"."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """Return a config as its engine wrote it."""
    config = json.loads((FOLDER / f"{name}.json").read_text())
    assert isinstance(config, dict)
    return config


def adapt(
    config: dict[str, Any],
    source: Source,
    namespace: Callable[[str], str],
    controllers: frozenset[str] = frozenset(),
    *,
    may_lower: bool = False,
) -> list[str]:
    """Replace what belongs to the machine that wrote the config; return what was replaced.

    namespace: type -> the path of a namespace that stands for a joined one. controllers: those that the host has.
    may_lower: whether an oom_score_adj may be negative, which takes CAP_SYS_RESOURCE.
    """
    taken = []
    if config["process"].get("oomScoreAdj", 0) < 0 and not may_lower:
        taken.append(f"oomScoreAdj {config['process'].pop('oomScoreAdj')}: there is no CAP_SYS_RESOURCE")
    if config.get("hooks", {}).pop("prestart", None):
        taken.append("hook of the Docker daemon")
    if "uts" not in {entry["type"] for entry in config["linux"]["namespaces"]} and config.pop("hostname", None):
        taken.append("hostname: without a uts namespace it is refused, by runc too; kubelet sends none then")
    for mount in config["mounts"]:
        if mount["type"] == "bind" and mount["source"] != "/dev/shm":
            taken.append(f"source {mount['source']}")
            name = Path(mount["destination"]).name
            mount["source"] = source(name, name in FILES)
    for entry in config["linux"]["namespaces"]:
        if entry.get("path"):
            taken.append(f"namespace {entry['path']}")
            entry["path"] = namespace(entry["type"])
    resources = config["linux"]["resources"]
    for key, controller in CONTROLLERS.items():
        if any((resources.get(key) or {}).values()) and controller not in controllers:
            taken.append(f"resources.{key}: there is no controller {controller}")
            del resources[key]
    config["root"]["path"] = "rootfs"
    config["process"]["args"] = ["/bin/sleep", "1000"]
    return taken


def may_lower_oom_score() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, which root lacks in some virtual machines."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> 24 & 1)


def of_a_pod(pid: int) -> Callable[[str], str]:
    """Return where the namespaces of a process are, by their types."""
    files = {"network": "net", "mount": "mnt"}
    return lambda kind: f"/proc/{pid}/ns/{files.get(kind, kind)}"


def stand_ins(folder: Path) -> Source:
    """Return a source that makes what it returns, in a folder."""

    def make(name: str, is_file: bool) -> str:
        path = folder / name
        if is_file:
            path.write_text("stand-in\n")
        else:
            path.mkdir(exist_ok=True)
        return str(path)

    return make
