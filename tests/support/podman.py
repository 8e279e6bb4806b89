"""Podman with a store of its own and the runtime under test; it has no daemon."""

import json
import subprocess
from pathlib import Path
from typing import Any

from support import leaks, mountinfo, paths, session
from support.runtime import ENVIRONMENT, Result, call, wait_for

IMAGE = "busybox:test"

# Instead of the machine's configuration. Podman's own defaults ask for more than a machine without CAP_SYS_RESOURCE and
# without the pids controller can give.
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
pids_limit = 0
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman:
    """The command with its own root, runroot and configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cgroup = f"/{session.TOKEN}-podman"
        command = paths.system_command("podman")
        assert command, "Debian's podman is not installed: run scripts/setup"
        self.command = [
            command, "--root", str(folder / "root"), "--runroot", str(folder / "runroot"),
            "--tmpdir", str(folder / "tmp"), "--runtime", paths.RUNTIME_BIN, "--storage-driver", "overlay",
        ]  # fmt: skip
        (folder / "containers.conf").write_text(CONFIGURATION)
        self.environment = ENVIRONMENT | {"CONTAINERS_CONF": str(folder / "containers.conf"), "HOME": str(folder)}

    def start(self) -> None:
        """There is no daemon."""

    def import_image(self) -> None:
        """Make the image from the busybox bundle's root file system; no registry is asked."""
        archive = self.folder / "image.tar"
        subprocess.run(["tar", "-C", str(paths.BUSYBOX_BUNDLE / "rootfs"), "-cf", str(archive), "."], check=True)
        self.run("import", archive, IMAGE)
        archive.unlink()

    def run(self, *args: str | Path, stdin: str | None = None, seconds: float = 60) -> Result:
        """Run the command to its end."""
        (self.folder / "in").write_text(stdin or "")
        with (
            (self.folder / "in").open("rb") as given,
            (self.folder / "out").open("w+b") as out,
            (self.folder / "err").open("w+b") as err,
        ):
            status = call([*self.command, *map(str, args)], given, out, err, env=self.environment, seconds=seconds)
            out.seek(0)
            err.seek(0)
            return Result(status, out.read().decode(errors="replace"), err.read().decode(errors="replace"))

    def ok(self, *args: str | Path, **options: Any) -> str:
        """Run a command that must succeed; return its standard output without the last line break."""
        result = self.run(*args, **options)
        assert result.status == 0, f"podman {' '.join(map(str, args))}: {result}"
        return result.stdout.removesuffix("\n")

    def run_command(self, *args: str) -> list[str]:
        """Return `run OPTIONS IMAGE COMMAND`: options stand before "--", the command after it."""
        at = args.index("--")
        return ["run", "--cgroup-parent", self.cgroup, *args[:at], IMAGE, *args[at + 1 :]]

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what Podman knows of a container."""
        found = json.loads(self.ok("inspect", container))[0]
        assert isinstance(found, dict)
        return found

    def pid(self, container: str) -> int:
        """Return the host's pid of a container's first process."""
        return int(self.inspect(container)["State"]["Pid"])

    def stop(self) -> None:
        """Remove the containers, and take away what was mounted and made."""
        self.run("rm", "--force", "--all", "--time", "0")
        for mount in reversed(mountinfo.parse(Path("/proc/self/mountinfo").read_text())):
            if mount.point.startswith((str(self.folder) + "/", "/run/netns/")):
                session.umount(mount.point, session.MNT_DETACH)
        Path("/dev/shm/libpod_lock").unlink(missing_ok=True)  # Podman keeps its locks there for good
        own = session.CGROUP_ROOT / self.cgroup.lstrip("/")
        if own.exists():
            containers = [path.name for path in own.iterdir() if path.is_dir() and path.name != "conmon"]
            wait_for(
                lambda: not (own / "conmon").exists() or not (own / "conmon/cgroup.procs").read_text(), "conmon ends"
            )
            leaks.remove_cgroup(own)
            assert not containers, f"cgroups of containers left behind: {containers}"
