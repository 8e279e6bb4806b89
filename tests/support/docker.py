"""A real Docker daemon of its own: started by its test module, stopped by it, by its pid."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support import leaks, mountinfo, paths, session
from support.runtime import ENVIRONMENT, SLOWNESS, Result, call, wait_for

DOCKERD = "dockerd"
RUNTIME_NAME = "tested"
IMAGE = "busybox:test"

SERVE = "trap 'echo got term; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
"""A shell program that runs until it is told to end."""
# Docker sets the size once the program runs.
PRINT_SIZE = 'until size=$(stty size 2>/dev/null); [ -n "$size" ]; do sleep 0.05; done; echo size $size'
"""Shell code that prints the terminal's size."""


class Docker:
    """dockerd with the runtime under test, and its client. driver: that of cgroups, cgroupfs or systemd."""

    def __init__(self, folder: Path, driver: str = "cgroupfs") -> None:
        self.driver = driver
        self.folder = folder
        self.socket = folder / "S"
        self.log = folder / "dockerd.log"
        self.cgroup = f"/{session.TOKEN}-docker" if driver == "cgroupfs" else f"{session.TOKEN}.slice"
        self.own_cgroup = session.CGROUP_ROOT / f"{session.TOKEN}-dockerd"
        client, daemon = paths.system_command("docker"), paths.system_command(DOCKERD)
        assert client and daemon, "Debian's docker.io is not installed: run scripts/setup"
        self.client = [client, "-H", f"unix://{self.socket}"]
        self._daemon = daemon
        self._process: subprocess.Popen[bytes] | None = None
        self._mounts = set(leaks.mounts())

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        command = [
            self._daemon, "-H", f"unix://{self.socket}", "--data-root", str(self.folder / "data"),
            "--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid"),
            "--add-runtime", f"{RUNTIME_NAME}={paths.RUNTIME_BIN}", "--cgroup-parent", self.cgroup,
            "--exec-opt", f"native.cgroupdriver={self.driver}", "--bridge", "none", "--iptables=false",
            "--ip6tables=false", "--config-file", str(self._config()),
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                preexec_fn=self._enter_cgroup,
            )
        wait_for(self._answers, f"dockerd answers; its log ends with {self._log_end()}", 60)

    def _enter_cgroup(self) -> None:
        """Leave the root cgroup: from there Docker can't see that swap can be limited."""
        if self.driver == "cgroupfs" and "memory" in (session.CGROUP_ROOT / "cgroup.controllers").read_text().split():
            (session.CGROUP_ROOT / "cgroup.subtree_control").write_text("+memory")
            self.own_cgroup.mkdir()
            (self.own_cgroup / "cgroup.procs").write_text("0")

    def _config(self) -> Path:
        # An empty one: the machine's own /etc/docker/daemon.json is none of the test's business.
        file = self.folder / "daemon.json"
        file.write_text("{}")
        return file

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, f"dockerd ended: {self._log_end()}"
        return self.run("version", seconds=20).status == 0

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def import_image(self) -> None:
        """Make the image from the busybox bundle's root file system; no registry is asked."""
        archive = self.folder / "image.tar"
        subprocess.run(["tar", "-C", str(paths.BUSYBOX_BUNDLE / "rootfs"), "-cf", str(archive), "."], check=True)
        self.ok("import", "--change", 'CMD ["sh"]', archive, IMAGE)
        archive.unlink()

    def run(self, *args: str | Path, seconds: float = 60 * SLOWNESS, stdin: str | None = None) -> Result:
        """Run the client to its end."""
        with (self.folder / "out").open("w+b") as out, (self.folder / "err").open("w+b") as err:
            given = subprocess.DEVNULL
            if stdin is not None:
                (self.folder / "in").write_text(stdin)
                given = os.open(self.folder / "in", os.O_RDONLY)
            try:
                status = call([*self.client, *map(str, args)], given, out, err, seconds=seconds)
            finally:
                if stdin is not None:
                    os.close(given)
            out.seek(0)
            err.seek(0)
            return Result(status, out.read().decode(errors="replace"), err.read().decode(errors="replace"))

    def ok(self, *args: str | Path, **options: Any) -> str:
        """Run a client command that must succeed; return its standard output without the last line break."""
        result = self.run(*args, **options)
        assert result.status == 0, f"docker {' '.join(map(str, args))}: {result}; dockerd: {self._log_end()[-800:]}"
        return result.stdout.removesuffix("\n")

    def once(self, *args: str | Path, **options: Any) -> str:
        """`docker run --rm` with the runtime under test: options, then the command; must succeed."""
        return self.ok(*self.run_command(*args), **options)

    def run_command(self, *args: str | Path) -> list[str]:
        """Return `run --rm --runtime … OPTIONS IMAGE COMMAND`: options stand before "--", the command after it."""
        at = args.index("--")
        return ["run", "--rm", "--runtime", RUNTIME_NAME, *map(str, args[:at]), IMAGE, *map(str, args[at + 1 :])]

    def background(self, *args: str | Path) -> str:
        """Start a container in the background; return its id."""
        at = args.index("--")
        return self.ok("run", "-d", "--runtime", RUNTIME_NAME, *args[:at], IMAGE, *args[at + 1 :])

    def ready(self, container: str) -> str:
        """Wait until a container has said that it is ready; return its id."""
        wait_for(lambda: "ready" in self.ok("logs", container), "the program runs")
        return container

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what Docker knows of a container."""
        found = json.loads(self.ok("inspect", container))[0]
        assert isinstance(found, dict)
        return found

    def pid(self, container: str) -> int:
        """Return the host's pid of a container's first process."""
        return int(self.inspect(container)["State"]["Pid"])

    def stop(self) -> None:
        """Remove the containers, end the daemon by its pid, and take away what it mounted and made."""
        left = self.run("ps", "-aq")
        if left.status == 0 and left.stdout.split():
            self.run("rm", "-f", *left.stdout.split())
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for mount in reversed(mountinfo.parse(Path("/proc/self/mountinfo").read_text())):
            if mount.point.startswith((str(self.folder) + "/", "/run/docker/")):
                session.umount(mount.point, session.MNT_DETACH)
        leaks.remove_cgroup(self.own_cgroup)
        own = session.CGROUP_ROOT / self.cgroup.lstrip("/")
        if own.exists() and self.driver == "cgroupfs":
            left_inside = [path.name for path in own.iterdir() if path.is_dir()]
            leaks.remove_cgroup(own)
            assert not left_inside, f"cgroups of containers left behind: {left_inside}"


KNOWN_CAPABILITIES = (1 << 38) - 1
"""What Debian 12's Docker asks for with --privileged: everything up to CAP_AUDIT_READ."""


def privileged_capabilities(own: str) -> str:
    """Return the CapEff of a privileged container, given the test's own: one that can't be granted is left out."""
    return f"{int(own, 16) & KNOWN_CAPABILITIES:016x}"
