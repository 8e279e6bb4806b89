"""Bind mounts whose files have other owners inside: config.md "Mounts" (idmap, ridmap, uidMappings, gidMappings)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import session
from support.bundle import Bundle
from support.fixtures import Inside
from support.runtime import Runtime, namespace, new_id, says, wait_for

OWNERS = "stat -c '%u:%g' /mnt/of-root /mnt/of-seven"


@pytest.fixture
def data(workdir: Path) -> Path:
    """A directory (of a tmpfs) with a file of 0:0 and one of 7:8."""
    path = workdir / "data"
    path.mkdir()
    path.chmod(0o777)
    for name, uid, gid in (("of-root", 0, 0), ("of-seven", 7, 8)):
        (path / name).touch()
        os.chown(path / name, uid, gid)
    return path


def maps(inside: int, outside: int, size: int = 100) -> dict[str, list[dict[str, int]]]:
    """Return both mappings, alike."""
    entry = {"containerID": inside, "hostID": outside, "size": size}
    return {"uidMappings": [entry], "gidMappings": [entry]}


def bind(bundle: Bundle, source: Path, *options: str, **mappings: Any) -> None:
    bundle.mount("/mnt", "none", str(source), *options)
    bundle.mounts[-1].update(mappings)


def with_user_namespace(bundle: Bundle, first: int = 100000) -> None:
    bundle.namespaces(user="")
    bundle.linux.update(maps(0, first, 65536))
    for path in [bundle.rootfs, *bundle.rootfs.rglob("*")]:
        os.chown(path, first, first, follow_symlinks=False)


@pytest.fixture
def user_namespace() -> Iterator[int]:
    """The pid of a process in a user namespace whose 0 is the host's 100000."""
    own = namespace("self", "user")
    process = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
    wait_for(lambda: namespace(process.pid, "user") != own, "the namespace is made")
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{process.pid}/{name}").write_text("0 100000 65536\n")
    yield process.pid
    process.kill()
    process.wait()


class TestOwnMappings:
    def test_owners_inside(self, inside: Inside, bundle: Bundle, data: Path) -> None:
        bind(bundle, data, "bind", "idmap", **maps(0, 1000))
        assert inside(OWNERS).split() == ["1000:1000", "1007:1008"]

    def test_files_made_inside(self, inside: Inside, bundle: Bundle, data: Path) -> None:
        bind(bundle, data, "bind", "idmap", **maps(0, 1000))
        bundle.process["user"] = {"uid": 1003, "gid": 1004}
        assert inside("touch /mnt/new; stat -c '%u:%g' /mnt/new") == "1003:1004"
        made = (data / "new").stat()
        assert (made.st_uid, made.st_gid) == (3, 4)

    def test_without_the_option(self, inside: Inside, bundle: Bundle, data: Path) -> None:
        """The option only says whether it is recursive; the mappings alone ask for it."""
        bind(bundle, data, "bind", **maps(0, 1000))
        assert inside(OWNERS).split() == ["1000:1000", "1007:1008"]

    def test_they_go_before_those_of_the_user_namespace(self, inside: Inside, bundle: Bundle, data: Path) -> None:
        with_user_namespace(bundle)
        bind(bundle, data, "bind", "idmap", **maps(0, 100050))
        assert inside(OWNERS).split() == ["50:50", "57:58"]

    def test_what_the_host_sees_is_as_before(self, inside: Inside, bundle: Bundle, data: Path) -> None:
        bind(bundle, data, "bind", "idmap", **maps(0, 1000))
        inside("true")
        assert (data / "of-seven").stat().st_uid == 7


class TestMappingsOfTheUserNamespace:
    def test_without_idmap_the_owners_are_unknown(self, inside: Inside, bundle: Bundle, data: Path) -> None:
        with_user_namespace(bundle)
        bind(bundle, data, "bind")
        assert inside(OWNERS).split() == ["65534:65534"] * 2

    def test_of_a_new_one(self, inside: Inside, bundle: Bundle, data: Path) -> None:
        with_user_namespace(bundle)
        bind(bundle, data, "bind", "idmap")
        assert inside(f"{OWNERS}; touch /mnt/new").split() == ["0:0", "7:8"]
        assert (data / "new").stat().st_uid == 0

    def test_of_a_joined_one(self, inside: Inside, bundle: Bundle, data: Path, user_namespace: int) -> None:
        with_user_namespace(bundle)
        pid = user_namespace
        bundle.namespaces(user=f"/proc/{pid}/ns/user")
        del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
        bind(bundle, data, "bind", "idmap")
        assert inside(f"readlink /proc/self/ns/user; {OWNERS}").split() == [namespace(pid, "user"), "0:0", "7:8"]


@pytest.mark.parametrize("option, owner", [("idmap", "0:0"), ("ridmap", "1000:1000")])
def test_mounts_below(inside: Inside, bundle: Bundle, data: Path, option: str, owner: str) -> None:
    (data / "sub").mkdir()
    session.mount("below", str(data / "sub"), "tmpfs", 0)
    try:
        (data / "sub" / "file").touch()
        bind(bundle, data, "rbind", option, **maps(0, 1000))
        assert inside("stat -c '%u:%g' /mnt/of-root /mnt/sub/file").split() == ["1000:1000", owner]
    finally:
        session.umount(str(data / "sub"))


class TestRefused:
    def refused(self, runtime: Runtime, bundle: Bundle, *words: str) -> None:
        says(runtime.fails("create", "--bundle", bundle.save(), new_id()), f"/mounts/{len(bundle.mounts) - 1}", *words)
        assert runtime.ids() == []

    def test_nothing_to_map_by(self, runtime: Runtime, bundle: Bundle, data: Path) -> None:
        bind(bundle, data, "bind", "idmap")
        self.refused(runtime, bundle, "needs a user namespace")

    def test_no_bind_mount(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.mount("/mnt", "tmpfs", "tmpfs")
        bundle.mounts[-1].update(maps(0, 1000))
        self.refused(runtime, bundle, "bind")

    def test_a_file_system_that_can_not(self, runtime: Runtime, bundle: Bundle) -> None:
        bind(bundle, Path("/proc/self/net"), "bind", "idmap", **maps(0, 1000))
        self.refused(runtime, bundle, "mount_setattr", "MOUNT_ATTR_IDMAP", "EINVAL", "file system")
