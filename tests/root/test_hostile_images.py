"""Images and volumes that are made to fool the runtime: odd files, links, and names that are exchanged meanwhile."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import mountinfo, session
from support.bundle import Bundle
from support.cgroup import cgroup_of
from support.fixtures import Inside, Make
from support.runtime import Runtime, new_id, says

ROUNDS = 40
SWAP = "import ctypes, sys\nc = ctypes.CDLL(None)\n" + (
    "while True: c.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)"
)


@pytest.fixture
def outside(workdir: Path) -> Path:
    """A directory of the host that no container has to do with."""
    path = workdir / "outside"
    path.mkdir()
    return path


def link(bundle: Bundle, name: str, target: Path | str) -> None:
    """Put a symbolic link into the image in the place of what is there."""
    place = bundle.rootfs / name
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        subprocess.run(["rm", "-r", place], check=True)
    place.symlink_to(target)


class TestPasswd:
    """CVE-2016-3697: it is read for HOME only, and whatever it is, the container starts."""

    @pytest.fixture(autouse=True)
    def _without_home(self, bundle: Bundle) -> None:
        bundle.process["env"] = ["PATH=/bin:/usr/bin"]
        (bundle.rootfs / "etc/passwd").unlink()

    def home(self, runtime: Runtime, bundle: Bundle) -> str:
        """Return HOME as the program has it; busybox's shell would read the file itself."""
        bundle.args("env")
        shown = runtime.ok("run", "--bundle", bundle.save(), new_id())
        (home,) = [line for line in shown.splitlines() if line.startswith("HOME=")]
        return home

    @pytest.mark.parametrize("kind", ["fifo", "zero", "directory", "loop", "terminal"])
    def test_what_is_no_plain_file(self, runtime: Runtime, bundle: Bundle, kind: str) -> None:
        place = bundle.rootfs / "etc/passwd"
        if kind == "fifo":
            os.mkfifo(place)
        elif kind == "directory":
            place.mkdir()
        else:
            place.symlink_to({"zero": "/dev/zero", "loop": "passwd", "terminal": "/dev/tty"}[kind])
        assert self.home(runtime, bundle) == "HOME=/"

    def test_of_a_gigabyte(self, runtime: Runtime, bundle: Bundle) -> None:
        """What is far behind is not found, and the memory of the runtime is not the image's to fill."""
        with open(bundle.rootfs / "etc/passwd", "wb") as file:
            file.write(b"other:x:7:7::/other:/bin/sh\n")
            file.seek(1 << 29)
            file.write(b"\nroot:x:0:0::/far:/bin/sh\n")
        assert self.home(runtime, bundle) == "HOME=/"

    def test_hostile_lines(self, runtime: Runtime, bundle: Bundle) -> None:
        lines = [
            b"0", b":::::", b"0:0:0", b"x:0:5:5:0:/a:/b", b"y:x:00:0::/b:", b"z:x:+0:0::/c:", b"\xff\xfe:x: 0:0::/d:",
            b"long:" + b"x" * 100_000, b"v:0:1:1::/e:", b"root:x:0:0::/right:/bin/sh", b"root:x:0:0::/second:/bin/sh",
        ]  # fmt: skip
        (bundle.rootfs / "etc/passwd").write_bytes(b"\n".join(lines))
        assert self.home(runtime, bundle) == "HOME=/right"


class TestLinks:
    """Whatever create makes below the root, a link in its place leads nowhere on the host."""

    def test_directory_to_mount_on(self, inside: Inside, bundle: Bundle, outside: Path) -> None:
        bundle.config["root"]["readonly"] = False
        link(bundle, "mnt", outside / "made")
        bundle.mount("/mnt/deep", "tmpfs", "canary")
        inside("true")
        assert list(outside.iterdir()) == []

    def test_file_to_mount_on(self, runtime: Runtime, bundle: Bundle, workdir: Path, outside: Path) -> None:
        (workdir / "file").touch()
        link(bundle, "mnt", outside / "made")
        bundle.mount("/mnt", "bind", str(workdir / "file"), "bind")
        runtime.run("create", "--bundle", bundle.save(), new_id())
        assert list(outside.iterdir()) == []

    def test_dev(self, container: Make, bundle: Bundle, outside: Path) -> None:
        """CVE-2026-41579: nodes and links are made where /dev leads inside of the root."""
        link(bundle, "dev", outside)
        bundle.config["mounts"] = [m for m in bundle.mounts if not m["destination"].startswith(("/dev", "/tmp"))]
        bundle.config["root"]["readonly"] = False
        bundle.linux["devices"] = [{"path": "/dev/deep/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]
        box = container(start=False)
        assert list(outside.iterdir()) == []
        made = Path(f"/proc/{box.pid}/root{outside}")
        assert {"null", "stdin", "ptmx", "deep"} <= {path.name for path in made.iterdir()}

    def test_working_directory(self, container: Make, bundle: Bundle, outside: Path) -> None:
        link(bundle, "mnt", outside)
        bundle.config["root"]["readonly"] = False
        bundle.process["cwd"] = "/mnt/made"
        container(start=False)
        assert list(outside.iterdir()) == []


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Exchange two names all the time; renameat2(2) RENAME_EXCHANGE."""
    swapper = subprocess.Popen([sys.executable, "-c", SWAP, str(one), str(other)])
    try:
        yield
    finally:
        swapper.kill()
        swapper.wait()


class TestExchange:
    """What is looked up stays what was found, although its name is another file's by then."""

    @pytest.fixture
    def volume(self, workdir: Path, bundle: Bundle) -> Path:
        """A volume with a directory `real` and a link, which the test makes."""
        path = workdir / "volume"
        (path / "real").mkdir(parents=True)
        bundle.mount("/volume", "bind", str(path), "rbind")
        return path

    def mounts_of(self, runtime: Runtime, name: str) -> list[mountinfo.Mount]:
        pid = json.loads((runtime.root / name / "state.json").read_text())["pid"]
        return mountinfo.parse(Path(f"/proc/{pid}/mountinfo").read_text())

    def test_mount_destination(self, runtime: Runtime, bundle: Bundle, volume: Path, outside: Path) -> None:
        """CVE-2021-30465: wherever the name led, the mount is in the container, or create has failed; and nothing is
        made outside."""
        for place in (volume / "real", outside):
            (place / "deep").mkdir()
        (volume / "link").symlink_to(outside)
        bundle.mount("/volume/real/deep", "tmpfs", "canary", "size=64k")
        path = bundle.save()
        made = 0
        with exchanging(volume / "real", volume / "link"):
            for _ in range(ROUNDS):
                name = new_id()
                if runtime.run("create", "--bundle", path, name).status == 0:
                    made += 1
                    assert [mount.source for mount in self.mounts_of(runtime, name)].count("canary") == 1
                    runtime.ok("delete", "--force", name)
                assert [path.name for path in outside.iterdir()] == ["deep"]
        assert made > ROUNDS / 4

    def test_masked_directory(self, runtime: Runtime, bundle: Bundle, volume: Path) -> None:
        """GHSA-3q8j-pf29-vwv8: what the path named in the container at one moment is covered, and nothing else."""
        (volume / "link").symlink_to("/opt/inside")
        (bundle.rootfs / "opt/inside").mkdir(parents=True)
        bundle.linux["maskedPaths"] = ["/volume/real"]
        path = bundle.save()
        places = {"/volume/real", "/volume/link", "/opt/inside"}
        with exchanging(volume / "real", volume / "link"):
            for _ in range(2 * ROUNDS):
                name = new_id()
                runtime.ok("create", "--bundle", path, name)
                assert len([mount for mount in self.mounts_of(runtime, name) if mount.point in places]) == 1
                runtime.ok("delete", "--force", name)


def test_a_working_directory_outside_is_told(container: Make, bundle: Bundle) -> None:
    """CVE-2024-21626: the caller itself passes a directory of the host on, and names it as the working directory."""
    box = container()
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        result = box.exec("--preserve-fds", "1", "--cwd", "/proc/self/fd/3", "--", "pwd", fds=[fd])
    finally:
        os.close(fd)
    assert result.status == 255 and result.stdout == ""
    assert 'working directory "/proc/self/fd/3" is outside the container' in result.stderr


def test_clean_up_removes_nothing_below_the_rootfs(runtime: Runtime, bundle: Bundle) -> None:
    """CVE-2024-23652: what create has made there stays after a failure; a link may be in its place by then."""
    bundle.config["root"]["readonly"] = False
    bundle.mount("/mnt/made/by/create", "tmpfs", "canary")
    bundle.mount("/home", "tmpfs", "canary")
    (bundle.rootfs / "home").mkdir(exist_ok=True)
    for pointer in ("/process/args/0", "/hooks/createContainer/0"):
        if pointer.startswith("/process"):
            bundle.args("/no/such/program")
        else:
            bundle.config["hooks"] = {"createContainer": [{"path": "/bin/false"}]}
        says(runtime.fails("create", "--bundle", bundle.save(), new_id()), f"[config.json#{pointer}]")
        for name in ("home", "mnt/made/by/create", "proc", "sys", "dev"):
            assert (bundle.rootfs / name).is_dir(), name


def test_without_a_cgroup_namespace_the_hosts_tree_is_read_only(container: Make, bundle: Bundle) -> None:
    """CVE-2023-25809: it is the host's tree that is seen there, and nothing in it can be changed, whatever the mount's
    options are."""
    bundle.namespaces(cgroup=None)
    (mount,) = (mount for mount in bundle.mounts if mount["type"] == "cgroup")
    mount["options"] = ["rw"]
    box = container()
    own = cgroup_of(box.pid)
    inside = f"/sys/fs/cgroup/{own.relative_to(session.CGROUP_ROOT)}"
    places = f"/sys/fs/cgroup/new {inside}/new"
    shown = box.sh(f"mkdir {places} 2>&1; rmdir {places} 2>/dev/null; true").splitlines()
    assert len(shown) == 2 and all("Read-only file system" in line for line in shown), shown
