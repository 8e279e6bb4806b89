"""Mounts are made in the config's order, and their sources are what they are when their turn comes.

runtime-spec config.md "Mounts": "The runtime MUST mount entries in the listed order". A source may lie below the root
file system, where an earlier mount is by then; also where the host has to open sources, or to map their owners.
"""

from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle
from support.cgroup import cgroup_of
from support.fixtures import Inside, Make
from support.runtime import Runtime, new_id, says

FIRST = 100000


@pytest.fixture(params=["host", "userns", "idmap", "userns-idmap"])
def way(request: pytest.FixtureRequest) -> str:
    """Who opens the sources."""
    return str(request.param)


def bind(bundle: Bundle, destination: str, source: Path | str, way: str, *options: str) -> None:
    """Add a bind mount; with an idmap the host's ids 0... are the container's 7..."""
    bundle.mount(destination, "bind", str(source), *(options or ("bind",)))
    if way.endswith("idmap"):
        first = FIRST if way.startswith("userns") else 0
        for key in ("uidMappings", "gidMappings"):
            bundle.mounts[-1][key] = [{"containerID": 0, "hostID": first + 7, "size": 100}]


def ready(bundle: Bundle, way: str) -> None:
    if way.startswith("userns"):
        bundle.user_namespace(FIRST)


@pytest.fixture
def volume(workdir: Path) -> Path:
    path = workdir / "volume"
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").write_text("of the volume\n")
    return path


class TestSourcesInTheRoot:
    """The kinds of source: the later mount sees what the earlier one has put there."""

    @pytest.mark.parametrize("option", ["bind", "rbind"])
    def test_below_an_earlier_mount(self, inside: Inside, bundle: Bundle, volume: Path, way: str, option: str) -> None:
        (bundle.rootfs / "data/sub").mkdir(parents=True)
        bind(bundle, "/data", volume, "host")
        bind(bundle, "/mnt", bundle.rootfs / "data/sub", way, option)
        ready(bundle, way)
        owner = {"host": 0, "userns": 65534, "idmap": 7, "userns-idmap": 7}[way]
        assert inside("cat /mnt/file; stat -c %u /mnt/file").split("\n") == ["of the volume", str(owner)]

    def test_that_is_not_there_before(self, inside: Inside, bundle: Bundle, volume: Path, way: str) -> None:
        bind(bundle, "/made/here", volume, "host")
        bind(bundle, "/opt/file", bundle.rootfs / "made/here/sub/file", way)
        ready(bundle, way)
        assert inside("cat /opt/file") == "of the volume"

    def test_the_earlier_mount_itself(self, inside: Inside, bundle: Bundle, volume: Path) -> None:
        bundle.mount("/data", "tmpfs", "canary")
        bind(bundle, "/mnt", bundle.rootfs / "data", "userns", "bind", "rw")
        ready(bundle, "userns")
        assert inside("echo text > /data/file; cat /mnt/file") == "text"

    def test_behind_a_link_of_the_host(self, inside: Inside, bundle: Bundle, volume: Path, way: str) -> None:
        (bundle.path / "way").symlink_to("rootfs/data")
        (bundle.rootfs / "data").mkdir()
        bind(bundle, "/data", volume, "host")
        bind(bundle, "/mnt", "way/sub", way)
        ready(bundle, way)
        assert inside("cat /mnt/file") == "of the volume"

    def test_a_link_of_the_image_that_is_covered(
        self, inside: Inside, bundle: Bundle, workdir: Path, volume: Path, way: str
    ) -> None:
        """What the image has there leads to the host, and must not be asked."""
        (workdir / "outside").mkdir()
        (workdir / "outside/file").write_text("of the host\n")
        (bundle.rootfs / "data").mkdir()
        (bundle.rootfs / "data/sub").symlink_to(workdir / "outside")
        bind(bundle, "/data", volume, "host")
        bind(bundle, "/mnt", bundle.rootfs / "data/sub", way)
        ready(bundle, way)
        assert inside("cat /mnt/file") == "of the volume"

    def test_one_that_is_never_there(self, runtime: Runtime, bundle: Bundle, way: str) -> None:
        bind(bundle, "/mnt", bundle.rootfs / "never/there", way)
        ready(bundle, way)
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, f"{bundle.rootfs}/never/there", "ENOENT", f"/mounts/{len(bundle.mounts) - 1}/source")


def test_message_queues_are_of_the_containers_root(inside: Inside, bundle: Bundle) -> None:
    """Their file system belongs to whoever makes the ipc namespace."""
    bundle.user_namespace(FIRST)
    assert inside("stat -c '%u:%g %a' /dev/mqueue; touch /dev/mqueue/made && echo made") == "0:0 1777\nmade"


class TestCgroupsWithoutANamespace:
    """/proc/self/cgroup names a path of the host's tree, and /sys/fs/cgroup has it; as with runc and crun."""

    PATH = "sed -n s/^0:://p /proc/self/cgroup"
    OWN = f"/sys/fs/cgroup$({PATH})"

    @pytest.fixture(params=["host", "userns"])
    def user(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def prepare(self, bundle: Bundle, user: str, *options: str) -> None:
        bundle.namespaces(cgroup=None)
        (mount,) = (mount for mount in bundle.mounts if mount["type"] == "cgroup")
        mount["options"] = list(options)
        ready(bundle, user)

    def test_the_own_path_is_there(self, container: Make, bundle: Bundle, user: str) -> None:
        """Docker's userns-remap with --cgroupns=host."""
        self.prepare(bundle, user, "nosuid", "noexec", "nodev", "relatime", "ro")
        box = container()
        assert box.sh(f"cat {self.OWN}/cgroup.procs").split().count("1") == 1
        assert box.sh(self.PATH).strip() == str(cgroup_of(box.pid)).removeprefix(str(session.CGROUP_ROOT))
        assert "Read-only file system" in box.sh(f"mkdir {self.OWN}/new 2>&1; true")

    @pytest.mark.parametrize(
        "options",
        [(), ("rw",), ("rprivate", "nosuid", "rw"), ("rrw",), ("ro", "rrw"), ("rro", "rw", "rrw"), ("rw", "remounted")],
        ids=["none", "rw", "podmans", "rrw", "ro-rrw", "rro-rrw", "remounted"],
    )
    def test_it_is_read_only(
        self, runtime: Runtime, bundle: Bundle, workdir: Path, user: str, options: tuple[str, ...]
    ) -> None:
        """CVE-2023-25809: root of a container could move and kill what is the host's. A warning says so."""
        self.prepare(bundle, user, *(option for option in options if option != "remounted"))
        if "remounted" in options:
            bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "remount", "rw")
        bundle.sh(f"mkdir {self.OWN}/new 2>&1; echo 1 2>&1 > {self.OWN}/cgroup.kill; true")
        log = workdir / "log"
        shown = runtime.run("--log", log, "run", "--bundle", bundle.save(), new_id())
        assert (shown.stdout + shown.stderr).count("Read-only file system") == 2, shown
        at = next(index for index, mount in enumerate(bundle.mounts) if mount["type"] == "cgroup")
        says(log.read_text(), f"the host's cgroups are mounted read-only [config.json#/mounts/{at}]")

    @pytest.mark.parametrize("options, status", [(("rw",), "0"), ((), "0"), (("ro",), "1")], ids=["rw", "none", "ro"])
    def test_a_privileged_program(self, inside: Inside, bundle: Bundle, options: tuple[str, ...], status: str) -> None:
        """With the host's rights it is as the config says."""
        self.prepare(bundle, "host", *options)
        caps = [*bundle.process["capabilities"]["bounding"], "CAP_SYS_ADMIN"]
        bundle.capabilities(bounding=caps, effective=caps, permitted=caps)
        assert inside(f"mkdir {self.OWN}/new 2>/dev/null; echo $?; rmdir {self.OWN}/new 2>/dev/null; true") == status


@pytest.mark.parametrize("propagation", ["rprivate", "rshared", "rslave"])
def test_without_a_mount_namespace_nothing_stays(
    container: Make, bundle: Bundle, workdir: Path, propagation: str
) -> None:
    """What is mounted in the root does not come up in the mount of the image too, where a delete would not find it."""
    bundle.namespaces(mount=None)
    for key in ("maskedPaths", "readonlyPaths", "rootfsPropagation"):
        bundle.linux.pop(key, None)
    source = workdir / "source"
    (source / "below").mkdir(parents=True)
    session.mount("tmpfs", str(source / "below"), "tmpfs", 0)
    bundle.mount("/data", "bind", str(source), "rbind", propagation)
    before = Path("/proc/self/mountinfo").read_text()
    box = container()
    assert f"{bundle.rootfs}/data/below " in Path("/proc/self/mountinfo").read_text()
    box.delete("--force")
    after = Path("/proc/self/mountinfo").read_text()
    if f"{source}/below " in after:
        session.umount(str(source / "below"))
    assert after == before
