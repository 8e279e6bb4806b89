"""Names of a shared volume that are exchanged while a container is created there: CVE-2021-30465 and its kind.

Another container has the volume too, and exchanges a directory for a link to a directory of the host. Beneath the
container's root the link means a directory of the container: the create works, and on the host nothing happens.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import attacks
from support.bundle import Bundle
from support.mountinfo import Mount, parse
from support.runtime import Runtime, new_id

CREATES = 500
BETWEEN_LOOKS = 25
"""Creates after which the host is looked at, and after which the mount point is to be made again."""


class Volume:
    """A volume with one pair of names for each kind of place, and the host's directory to which the links lead."""

    PLACES = ("target", "hidden", "kept")

    def __init__(self, workdir: Path, bundle: Bundle) -> None:
        self.path, self.host = workdir / "volume", workdir / "host"
        # The same path in the container: where the links lead there.
        self.inside = Path(f"{bundle.rootfs}{self.host}")
        self.path.mkdir()
        for place in self.PLACES:
            for folder in (self.host, self.inside):
                (folder / place).mkdir(parents=True)
                (folder / place / "canary").write_text(str(folder))
            (self.path / place).mkdir()
            (self.path / f"{place}-link").symlink_to(self.host / place)
        self.before = self.look()

    def pairs(self) -> list[str]:
        return [f"{self.path}/{name}" for place in self.PLACES for name in (place, f"{place}-link")]

    def take_away_mount_point(self) -> None:
        """Let the next create make it again."""
        for parent in (self.path / "target", self.path / "target-link", self.inside / "target"):
            with contextlib.suppress(OSError):
                (parent / "deep").rmdir()

    def look(self) -> dict[str, str]:
        """Return what is in the host's directory, with times, and which mounts are there."""
        found = {}
        for path in sorted(self.host.rglob("*")):
            status = path.stat()
            found[str(path)] = f"{status.st_mode:o} {status.st_uid} {status.st_mtime_ns} {status.st_nlink}"
        mounts = [mount.point for mount in parse(Path("/proc/self/mountinfo").read_text())]
        return {**found, "mounts": " ".join(point for point in mounts if str(self.host) in point)}


@pytest.fixture
def volume(workdir: Path, bundle: Bundle) -> Iterator[Volume]:
    """The volume, whose names are exchanged for as long as the test lasts."""
    made = Volume(workdir, bundle)
    with subprocess.Popen(
        [attacks.place("exchange", workdir / "exchange"), *made.pairs()], stdout=subprocess.PIPE
    ) as exchanger:
        try:
            assert exchanger.stdout is not None and exchanger.stdout.readline() == b"begun\n"
            yield made
            assert exchanger.poll() is None, "it was at work until the end"
        finally:
            exchanger.kill()


def places(pid: int, volume: Volume) -> dict[str, list[Mount]]:
    """Return the mounts that stand where the names may lead, by place, as the container sees them."""
    mounts = parse(Path(f"/proc/{pid}/mountinfo").read_text())
    return {
        place: [mount for mount in mounts if mount.point.startswith((f"/volume/{place}", f"{volume.host}/{place}"))]
        for place in volume.PLACES
    }


def test_500_creates(runtime: Runtime, bundle: Bundle, volume: Volume, workdir: Path) -> None:
    """Each covers what it has found, where it has found it, or refuses because the place has gone meanwhile."""
    # Where the links lead is the root file system's in the container, not a tmpfs.
    bundle.config["mounts"] = [mount for mount in bundle.mounts if mount["destination"] != "/tmp"]
    bundle.mount("/volume", "bind", str(volume.path), "rbind")
    bundle.mount("/volume/target/deep", "tmpfs", "cover", "size=64k")
    bundle.linux["maskedPaths"] = ["/volume/hidden"]
    bundle.linux["readonlyPaths"] = ["/volume/kept"]
    bundle.args("true")
    path = bundle.save()
    seen: dict[str, set[str]] = {place: set() for place in volume.PLACES}
    for number in range(CREATES):
        name = new_id()
        result = runtime.run("create", "--bundle", path, "--pid-file", workdir / "pid", name)
        if result.status == 0:
            found = places(int((workdir / "pid").read_text()), volume)
            for place, mounts in found.items():
                assert len(mounts) == 1, f"{place}: covered once, in the container: {mounts}"
                seen[place].add("volume" if mounts[0].point.startswith("/volume/") else "link")
            assert found["target"][0].source == "cover"
            assert found["hidden"][0].fstype == "tmpfs" and "ro" in found["hidden"][0].options
            assert "ro" in found["kept"][0].options
            runtime.ok("delete", "--force", name)
        else:
            assert '"/volume/target' in result.error and "ENOENT" in result.error, result
        if number % BETWEEN_LOOKS == 0:
            assert volume.look() == volume.before, "the host's directory"
            volume.take_away_mount_point()
    assert volume.look() == volume.before, "the host's directory"
    assert all(ways == {"volume", "link"} for ways in seen.values()), f"each name was met as both: {seen}"
