"""Bundles: a copy of the busybox bundle whose config.json a test edits."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from support import paths

Config = dict[str, Any]


class Bundle:
    """A bundle of its own: `config` is written to config.json by `save`, which every user of it calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        subprocess.run(["cp", "-a", str(paths.BUSYBOX_BUNDLE / "rootfs"), str(path)], check=True)
        self.config: Config = json.loads((paths.BUSYBOX_BUNDLE / "config.json").read_text())
        if paths.PEER == "crun":
            # crun 1.8.1 knows no later version, and loads a device filter only where it may raise RLIMIT_MEMLOCK.
            self.config["ociVersion"] = "1.0.2"
            del self.linux["resources"]

    @property
    def rootfs(self) -> Path:
        return self.path / "rootfs"

    @property
    def process(self) -> Config:
        return dict_of(self.config, "process")

    @property
    def linux(self) -> Config:
        return dict_of(self.config, "linux")

    @property
    def mounts(self) -> list[Config]:
        found = self.config["mounts"]
        assert isinstance(found, list)
        return found

    def args(self, *args: str) -> None:
        """Set the program that the container runs."""
        self.process["args"] = list(args)

    def sh(self, command: str) -> None:
        """Let the container run a shell command."""
        self.args("sh", "-c", command)

    def mount(self, destination: str, fstype: str, source: str, *options: str) -> None:
        """Add a mount at the end of the list."""
        self.mounts.append({"destination": destination, "type": fstype, "source": source, "options": list(options)})

    def capabilities(self, **sets: list[str]) -> None:
        """Set the capability sets; a set that is not named is left out."""
        self.process["capabilities"] = sets

    def namespaces(self, **changes: str | None) -> None:
        """Change namespaces: a path joins, "" makes a new one, None takes the entry out (the host's is kept)."""
        entries = {entry["type"]: entry for entry in self.linux["namespaces"]}
        for kind, path in changes.items():
            if path is None:
                entries.pop(kind, None)
            else:
                entries[kind] = {"type": kind, "path": path} if path else {"type": kind}
        self.linux["namespaces"] = list(entries.values())

    def user_namespace(self, first: int) -> None:
        """Give the container a user namespace, in which the host's ids from first on are those from 0 on, and the image
        as it is by now to its root."""
        self.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            self.linux[key] = [{"containerID": 0, "hostID": first, "size": 65536}]
        for path in [self.rootfs, *self.rootfs.rglob("*")]:
            os.chown(path, first, first, follow_symlinks=False)

    def save(self) -> Path:
        """Write config.json; return the bundle's path."""
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self.path

    def remove(self) -> None:
        shutil.rmtree(self.path)


def dict_of(config: Config, key: str) -> Config:
    """Return config[key], made when it is missing."""
    found = config.setdefault(key, {})
    assert isinstance(found, dict)
    return found
