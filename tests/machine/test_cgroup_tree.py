"""Where limits meet the tree: controllers on the way down, processes in the way, threaded subtrees, delegation."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import leaks, session
from support.bundle import Bundle, dict_of
from support.cgroup import Group
from support.fixtures import Make
from support.runtime import Runtime, new_id, says, wait_for

DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


@pytest.fixture
def parent() -> Iterator[Path]:
    """A cgroup of the test's own, for containers to be made in."""
    path = session.CGROUP_ROOT / f"parent-of-tests-{os.getpid()}"
    path.mkdir()
    yield path
    leaks.remove_cgroup(path)


@pytest.fixture
def resident(parent: Path) -> Iterator[int]:
    """A process in the parent itself."""
    process = subprocess.Popen(["sleep", "1000"])
    (parent / "cgroup.procs").write_text(str(process.pid))
    yield process.pid
    process.kill()
    process.wait()


def put_below(bundle: Bundle, parent: Path, **resources: object) -> None:
    bundle.linux["cgroupsPath"] = f"/{parent.name}/box"
    dict_of(bundle.linux, "resources").update(resources)


def test_every_controller_is_there_without_a_limit(container: Make, bundle: Bundle, parent: Path) -> None:
    """Statistics need it: `docker stats` of a container without limits shows its memory."""
    put_below(bundle, parent)
    group = Group(container())
    all_of_them = set((session.CGROUP_ROOT / "cgroup.controllers").read_text().split())
    assert set(group.read("cgroup.controllers").split()) == all_of_them
    assert int(group.read("memory.current")) > 0


def test_a_limit_where_processes_are_in_the_way(runtime: Runtime, bundle: Bundle, parent: Path, resident: int) -> None:
    """cgroup-v2.rst "No Internal Process Constraint"."""
    put_below(bundle, parent, memory={"limit": 64 << 20})
    error = runtime.fails("create", "--bundle", bundle.save(), new_id())
    says(error, str(parent / "cgroup.subtree_control"), "+memory", "processes of its own", "EBUSY")
    says(error, "[config.json#/linux/resources/memory/limit]")
    assert [path.name for path in parent.iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("resident")
def test_without_limits_they_are_not(container: Make, bundle: Bundle, parent: Path) -> None:
    put_below(bundle, parent)
    box = container()
    assert box.sh("echo fine") == "fine"
    box.delete("--force")
    assert [path.name for path in parent.iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("resident")
def test_controllers_of_threads_do_not_mind_processes(container: Make, bundle: Bundle, parent: Path) -> None:
    """cpu and pids can be had beside processes; the container's cgroup is threaded then."""
    (parent / "cgroup.subtree_control").write_text("+pids +cpu")
    put_below(bundle, parent, pids={"limit": 9}, cpu={"quota": 50000})
    box = container()
    group = parent / "box"
    assert (group / "cgroup.type").read_text() == "threaded\n"
    assert (group / "pids.max").read_text() == "9\n"
    assert (group / "cpu.max").read_text() == "50000 100000\n"
    assert Path(f"/proc/{box.pid}/cgroup").read_text() == f"0::/{parent.name}/box\n"
    assert box.sh("echo fine") == "fine"
    box.kill()
    wait_for(lambda: box.status == "stopped", "it stops")
    box.delete()
    assert not group.exists()


@pytest.mark.usefixtures("resident")
def test_memory_in_a_threaded_subtree(runtime: Runtime, bundle: Bundle, parent: Path) -> None:
    (parent / "cgroup.subtree_control").write_text("+pids")
    put_below(bundle, parent, memory={"limit": 64 << 20})
    error = runtime.fails("create", "--bundle", bundle.save(), new_id())
    says(error, "memory", "[config.json#/linux/resources/memory/limit]")
    assert [path.name for path in parent.iterdir() if path.is_dir()] == []


class TestOwner:
    """config-linux.md "Cgroup ownership"."""

    @pytest.fixture
    def owned(self, bundle: Bundle) -> Bundle:
        bundle.namespaces(user="", cgroup="")
        maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = maps
        for path in [bundle.rootfs, *bundle.rootfs.rglob("*")]:
            os.chown(path, 100000, 100000, follow_symlinks=False)
        bundle.mounts[:] = [mount for mount in bundle.mounts if mount["destination"] != "/sys/fs/cgroup"]
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw")
        return bundle

    def test_the_user_can_make_cgroups_and_share_out(self, container: Make, owned: Bundle) -> None:
        box = container()
        group = Group(box).path
        owners = {name: (group / name).stat().st_uid for name in DELEGATED}
        assert owners == dict.fromkeys(DELEGATED, 100000)
        assert (group.stat().st_uid, (group / "pids.max").stat().st_uid) == (100000, 0)
        said = box.sh(
            "cd /sys/fs/cgroup && mkdir inner;"
            " for pid in $(cat cgroup.procs); do echo $pid 2>/dev/null >inner/cgroup.procs; done;"
            " echo +pids >cgroup.subtree_control && cat inner/cgroup.controllers"
        )
        assert "pids" in said.split()
        assert "denied" in box.sh("echo 5 2>&1 >/sys/fs/cgroup/pids.max || true")

    def test_a_read_only_mount_gives_nothing(self, container: Make, owned: Bundle) -> None:
        owned.mounts[-1]["options"] = ["ro"]
        assert Group(container()).path.stat().st_uid == 0
