"""A real containerd of its own, and `ctr`: started by its test module, stopped by it, by its pid."""

import json
import os
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from support import leaks, mountinfo, paths, session
from support.runtime import ENVIRONMENT, SLOWNESS, Result, call, wait_for

IMAGE = "busybox:test"
NAMESPACE = "tests"
OCI = "application/vnd.oci.image"


class Containerd:
    """containerd without its CRI plugin, and its client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "S"
        self.log = folder / "containerd.log"
        client, daemon = paths.system_command("ctr"), paths.system_command("containerd")
        assert client and daemon, "Debian's containerd is not installed: run scripts/setup"
        self.client = [client, "--address", str(self.socket), "--namespace", NAMESPACE]
        self._daemon = daemon
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        config = self.folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.socket}"\n'
        )
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._daemon, "--config", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT,
            )  # fmt: skip
        wait_for(lambda: self.run("version").status == 0, "containerd answers", 60)

    def import_image(self) -> None:
        """Make the image from the busybox bundle's root file system, as an OCI archive."""
        archive = self.folder / "image.tar"
        layout = self.folder / "layout"
        write_layout(layout, paths.BUSYBOX_BUNDLE / "rootfs")
        with tarfile.open(archive, "w") as tar:
            tar.add(layout, ".")
        self.ok("images", "import", archive)

    def run(self, *args: str | Path, seconds: float = 60 * SLOWNESS) -> Result:
        """Run the client to its end."""
        with (self.folder / "out").open("w+b") as out, (self.folder / "err").open("w+b") as err:
            status = call([*self.client, *map(str, args)], subprocess.DEVNULL, out, err, seconds=seconds)
            out.seek(0)
            err.seek(0)
            return Result(status, out.read().decode(errors="replace"), err.read().decode(errors="replace"))

    def ok(self, *args: str | Path) -> str:
        """Run a client command that must succeed; return its standard output without the last line break."""
        result = self.run(*args)
        log = self.log.read_text(errors="replace")[-800:]
        assert result.status == 0, f"ctr {' '.join(map(str, args))}: {result}; containerd: {log}"
        return result.stdout.removesuffix("\n")

    def pid(self, task: str) -> int:
        """Return the host's pid of a task's first process."""
        lines = [line.split() for line in self.ok("tasks", "list").splitlines()[1:]]
        return next(int(words[1]) for words in lines if words[0] == task)

    def stop(self) -> None:
        """Remove the containers, end the daemon by its pid, and take away what it mounted."""
        for task in self.run("tasks", "list", "-q").stdout.split():
            self.run("tasks", "kill", "-s", "KILL", task)
            self.run("tasks", "delete", "-f", task)
        for container in self.run("containers", "list", "-q").stdout.split():
            self.run("containers", "delete", container)
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30 * SLOWNESS)
        for mount in reversed(mountinfo.parse(Path("/proc/self/mountinfo").read_text())):
            if mount.point.startswith(str(self.folder) + "/"):
                session.umount(mount.point, session.MNT_DETACH)
        leaks.remove_cgroup(session.CGROUP_ROOT / NAMESPACE)


def write_layout(folder: Path, rootfs: Path) -> None:
    """Write an image of one layer in the OCI image layout."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, data: bytes) -> dict[str, Any]:
        digest = sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layer_file = folder / "layer"
    subprocess.run(["tar", "-C", str(rootfs), "-cf", str(layer_file), "."], check=True)
    layer = blob("layer.v1.tar", layer_file.read_bytes())
    layer_file.unlink()
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": blob("config.v1+json", json.dumps(config).encode()),
        "layers": [layer],
    }
    entry = blob("manifest.v1+json", json.dumps(manifest).encode())
    entry["annotations"] = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "test"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
