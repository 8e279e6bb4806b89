"""Mount options by their effect in the container, read from mountinfo; docs/mount-options.md.

The table of what joins and what replaces was measured beside runc 1.1.5 and crun 1.8.1.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import mountinfo, session
from support.bundle import Bundle
from support.fixtures import Inside
from support.runtime import Runtime, new_id, says

WORDS = {"ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow"}
MS_NOATIME, MS_NODIRATIME, MS_RDONLY = 1024, 2048, 1


@pytest.fixture
def source(workdir: Path) -> Iterator[Path]:
    """A mount with nosuid, noatime and nodiratime, and one with noexec and relatime in its directory `sub`."""
    path = workdir / "source"
    path.mkdir()
    session.mount("source", str(path), "tmpfs", session.MS_NOSUID | MS_NOATIME | MS_NODIRATIME)
    (path / "sub").mkdir()
    session.mount("sub", str(path / "sub"), "tmpfs", session.MS_NOEXEC)
    yield path
    session.umount(str(path), session.MNT_DETACH)


def below(inside: Inside, *points: str) -> list[set[str]]:
    """Return the attributes of the mounts on some paths, in order, an empty set for what is no mount."""
    found = {mount.point: set(mount.options) & WORDS for mount in mountinfo.parse(inside("cat /proc/self/mountinfo"))}
    return [found.get(point, set()) for point in points]


INHERITED = "rw nosuid noatime nodiratime"
BELOW = "rw noexec relatime"
BINDS = [
    (["bind"], INHERITED, ""),
    (["rbind"], INHERITED, BELOW),
    (["rbind", "bind"], INHERITED, BELOW),
    (["rbind", "rprivate", "ro", "bind"], "ro noatime nodiratime", BELOW),
    (["rbind,ro,nosuid"], "ro nosuid noatime nodiratime", BELOW),
    (["bind", "ro", "rw"], "rw noatime nodiratime", ""),
    (["bind", "nodev"], "rw nodev noatime nodiratime", ""),
    (["bind", "suid"], "rw noatime nodiratime", ""),
    (["bind", "relatime"], "rw relatime", ""),
    (["bind", "nodiratime"], "rw nodiratime relatime", ""),
    (["bind", "relatime", "noatime"], "rw noatime", ""),
    (["bind", "strictatime", "noatime"], "rw", ""),
    (["bind", "atime"], "rw relatime", ""),
    (["bind", "norelatime"], INHERITED, ""),
    (["rbind", "rro", "rw"], "ro noatime nodiratime", "ro noexec relatime"),
    (["rbind", "ro", "rrw"], "rw noatime nodiratime", BELOW),
    (["rbind", "rnodev"], "rw nosuid nodev noatime nodiratime", "rw nodev noexec relatime"),
    (["rbind", "rnorelatime"], INHERITED, BELOW),
]


@pytest.mark.parametrize("options, top, sub", BINDS, ids=[",".join(row[0]) for row in BINDS])
def test_bind(inside: Inside, bundle: Bundle, source: Path, options: list[str], top: str, sub: str) -> None:
    bundle.mount("/mnt", "none", str(source), *options)
    assert below(inside, "/mnt", "/mnt/sub") == [set(top.split()), set(sub.split())]


TMPFS = [
    (["size=1m,mode=700"], "rw relatime", {"size=1024k", "mode=700"}),
    (["ro,size=1m"], "ro relatime", {"rw", "size=1024k"}),
    (["nosuid,ro"], "ro nosuid relatime", set()),
    (["noatime", "relatime"], "rw noatime", set()),
    (["norelatime"], "rw relatime", set()),
    (["rro"], "ro relatime", set()),
    (["rsync"], "rw relatime", {"sync"}),
    (["sync", "rasync"], "rw relatime", set()),
    (["rdirsync"], "rw relatime", {"dirsync"}),
    (["mand", "rmand", "silent", "iversion", "_netdev"], "rw relatime", set()),
]


@pytest.mark.parametrize("options, wanted, data", TMPFS, ids=[",".join(row[0]) for row in TMPFS])
def test_new(inside: Inside, bundle: Bundle, options: list[str], wanted: str, data: set[str]) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", *options)
    found = mountinfo.at(mountinfo.parse(inside("cat /proc/self/mountinfo")), "/mnt")
    assert set(found.options) & WORDS == set(wanted.split())
    assert data <= set(found.data) and ("sync" in data or "sync" not in found.data)


@pytest.mark.parametrize("option", ["acl", "x-systemd.automount", "mode=x", "nosuchoption"])
def test_what_the_file_system_does_not_know(runtime: Runtime, bundle: Bundle, option: str) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", option)
    said = runtime.fails("create", "--bundle", bundle.save(), new_id())
    says(said, "tmpfs: ", option.partition("=")[0], "EINVAL", f"/mounts/{len(bundle.mounts) - 1}/options")


def test_a_remount_changes_the_file_system(inside: Inside, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", "size=1m")
    bundle.mount("/mnt", "tmpfs", "tmpfs", "remount", "size=2m", "nosuid")
    found = mountinfo.at(mountinfo.parse(inside("cat /proc/self/mountinfo")), "/mnt")
    assert "size=2048k" in found.data and "nosuid" in found.options


class TestReadOnlyInTheEnd:
    """A read-only mount gets its content first."""

    def test_dev(self, inside: Inside, bundle: Bundle) -> None:
        (dev,) = [mount for mount in bundle.mounts if mount["destination"] == "/dev"]
        dev["options"].append("ro")
        shown = inside("touch /dev/x 2>&1; echo a > /dev/null && ls /dev/shm /dev/pts/ptmx /dev/fd/0 && echo fine")
        assert "Read-only" in shown and shown.endswith("fine")
        assert "ro" in below(inside, "/dev")[0]

    @pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
    def test_a_mount_inside(self, inside: Inside, bundle: Bundle, workdir: Path, kind: str) -> None:
        (workdir / "file").write_text("text\n")
        bundle.mount("/a", kind, kind, "ro")
        bundle.mount("/a/b/c", "tmpfs", "tmpfs")
        bundle.mount("/a/file", "bind", str(workdir / "file"), "bind")
        bundle.process["cwd"] = "/a/cwd"
        shown = inside("pwd; touch /a/b/c/new; cat /a/file; touch /a/new 2>&1; true")
        assert shown.splitlines()[:2] == ["/a/cwd", "text"] and "/a/new: Read-only" in shown

    @pytest.mark.parametrize("option", ["ro", "rro"])
    def test_copy_up(self, inside: Inside, bundle: Bundle, option: str) -> None:
        (bundle.rootfs / "opt").mkdir()
        (bundle.rootfs / "opt" / "file").write_text("text\n")
        bundle.mount("/opt", "tmpfs", "tmpfs", option, "tmpcopyup")
        shown = inside("cat /opt/file; touch /opt/new 2>&1; true")
        assert shown.startswith("text\n") and "/opt/new: Read-only" in shown

    def test_a_hook_may_write_before(self, inside: Inside, bundle: Bundle) -> None:
        bundle.mount("/a", "tmpfs", "tmpfs", "ro")
        command = f"echo text > {bundle.rootfs}/a/file"
        bundle.config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", command]}]}
        assert inside("cat /a/file") == "text"


LAYER = "layer" + "y" * 100


class TestLongValues:
    """fsconfig(2) takes 255 bytes; overlayfs has more."""

    def overlay(self, bundle: Bundle, workdir: Path, count: int) -> None:
        layers = [workdir / "layers" / f"{number:03}-{LAYER}" for number in range(count)]
        for number, layer in enumerate(layers):
            layer.mkdir(parents=True)
            (layer / f"file{number}").touch()
        for name in ("upper", "work"):
            (workdir / "layers" / name).mkdir()
        lower = ":".join(map(str, layers))
        data = [f"lowerdir={lower}", f"upperdir={workdir}/layers/upper", f"workdir={workdir}/layers/work"]
        bundle.mount("/mnt", "overlay", "overlay", *data, "nosuid")
        bundle.linux["rootfsPropagation"] = "shared"

    @pytest.mark.parametrize("count", [3, 60], ids=["mount(2)", "lowerdir+"])
    def test_layers(self, inside: Inside, bundle: Bundle, workdir: Path, count: int) -> None:
        self.overlay(bundle, workdir, count)
        before = Path("/proc/self/mountinfo").read_text()
        shown = inside("touch /mnt/new; ls /mnt | wc -l; grep ' /mnt ' /proc/mounts")
        assert shown.split()[0] == str(count + 1)
        assert "overlay /mnt overlay rw,nosuid,relatime" in shown
        assert (workdir / "layers" / "upper" / "new").exists()
        assert Path("/proc/self/mountinfo").read_text() == before, "nothing has come to the host"

    def test_a_layer_that_is_not_there(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        self.overlay(bundle, workdir, 3)
        os.rmdir(workdir / "layers" / "work")
        said = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(said, 'mount("overlay", "overlay", lowerdir=', "ENOENT", f"/mounts/{len(bundle.mounts) - 1}")

    def test_a_long_source_of_a_tmpfs(self, inside: Inside, bundle: Bundle) -> None:
        (bundle.rootfs / "mnt").mkdir(exist_ok=True)
        (bundle.rootfs / "mnt").chmod(0o2750)
        bundle.mount("/mnt", "tmpfs", "s" * 300, "ro", "size=1m")
        shown = inside("stat -c %a /mnt; grep ' /mnt ' /proc/mounts").split()
        assert shown[:3] == ["2750", "s" * 300, "/mnt"] and shown[4].startswith("ro,") and "size=1024k" in shown[4]


class TestLinks:
    """crun's options for symbolic links."""

    @pytest.fixture(autouse=True)
    def link(self, workdir: Path) -> Path:
        (workdir / "file").write_text("text\n")
        (workdir / "link").symlink_to("file")
        return workdir / "link"

    def test_copy_symlink(self, inside: Inside, bundle: Bundle, link: Path) -> None:
        bundle.mount("/opt/made/link", "bind", str(link), "rbind", "ro", "copy-symlink")
        assert inside("readlink /opt/made/link; grep -c /opt/made /proc/mounts || true") == "file\n0"

    def test_copy_symlink_of_a_file(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        bundle.mount("/opt/file", "bind", str(workdir / "file"), "rbind", "ro", "copy-symlink")
        assert inside("cat /opt/file; grep -c ' /opt/file ' /proc/mounts") == "text\n1"

    @pytest.mark.parametrize("there, fine", [("file", True), ("other", False)])
    def test_copy_symlink_on_a_link(self, runtime: Runtime, bundle: Bundle, link: Path, there: str, fine: bool) -> None:
        (bundle.rootfs / "link").symlink_to(there)
        bundle.mount("/link", "bind", str(link), "bind", "copy-symlink")
        bundle.args("readlink", "/link")
        if fine:
            assert runtime.ok("run", "--bundle", bundle.save(), new_id()) == "file\n"
        else:
            says(
                runtime.fails("create", "--bundle", bundle.save(), new_id()), "EEXIST", "/mounts/", "make_same_symlink"
            )
            assert os.readlink(bundle.rootfs / "link") == "other"

    def test_src_nofollow(self, inside: Inside, bundle: Bundle, link: Path) -> None:
        bundle.mount("/opt/link", "bind", str(link), "bind", "src-nofollow")
        assert inside("readlink /opt/link") == "file"

    def test_dest_nofollow(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        (bundle.rootfs / "link").symlink_to("/etc/passwd")
        bundle.mount("/link", "bind", str(workdir / "file"), "bind", "dest-nofollow")
        assert inside("cat /link") == "text"
        assert stat.S_ISLNK((bundle.rootfs / "link").lstat().st_mode)

    def test_dest_nofollow_on_procfs(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        (bundle.rootfs / "way").symlink_to("proc")
        bundle.mount("/way/mounts", "bind", str(workdir / "file"), "bind", "dest-nofollow")
        says(runtime.fails("create", "--bundle", bundle.save(), new_id()), '"/way/mounts" with dest-nofollow', "procfs")


def test_idmap_with_its_own_mappings(inside: Inside, bundle: Bundle, workdir: Path) -> None:
    (workdir / "data").mkdir()
    (workdir / "data" / "file").touch()
    os.chown(workdir / "data" / "file", 7, 8)
    bundle.mount("/mnt", "bind", str(workdir / "data"), "rbind", "idmap=uids=0-1000-5#5-2000-5;gids=0-3000-10")
    assert inside("stat -c '%u:%g' /mnt /mnt/file").split() == ["1000:3000", "2002:3008"]


class TestLockedAttributes:
    """What a container in a user namespace must keep of a source, as the kernel locks it; runc 1.5's rules."""

    @pytest.fixture(autouse=True)
    def userns(self, bundle: Bundle) -> None:
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": 0, "hostID": 0, "size": 65536}]

    @pytest.fixture
    def locked(self, workdir: Path) -> Iterator[str]:
        """A mount with nosuid, nodev, noexec, noatime and ro."""
        path = workdir / "locked"
        path.mkdir()
        flags = session.MS_NOSUID | session.MS_NODEV | session.MS_NOEXEC | MS_NOATIME
        session.mount("locked", str(path), "tmpfs", flags)
        session.mount("none", str(path), "", flags | MS_RDONLY | session.MS_BIND | 32)
        yield str(path)
        session.umount(str(path), session.MNT_DETACH)

    KEPT = "ro nosuid nodev noexec noatime"

    @pytest.mark.parametrize("options", [[], ["nosymfollow"], ["ro"], ["nodev", "noatime"]], ids=str)
    def test_kept(self, inside: Inside, bundle: Bundle, locked: str, options: list[str]) -> None:
        bundle.mount("/mnt", "bind", locked, "bind", *options)
        assert below(inside, "/mnt")[0] - {"nosymfollow"} == set(self.KEPT.split())

    @pytest.mark.parametrize(
        "option, word",
        [
            ("rw", "ro"), ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("rrw", "ro"),
            ("relatime", "access-time"), ("strictatime", "access-time"), ("nodiratime", "access-time"),
        ],
    )  # fmt: skip
    def test_refused(self, runtime: Runtime, bundle: Bundle, locked: str, option: str, word: str) -> None:
        bundle.mount("/mnt", "bind", locked, "rbind", option)
        said = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(said, "the source is mounted", word, "user namespace", f"/mounts/{len(bundle.mounts) - 1}/options")

    def test_what_can_be_given(self, inside: Inside, bundle: Bundle, workdir: Path) -> None:
        """A file system that is read-only itself is no read-only mount; rw asks for nothing that is locked."""
        path = workdir / "data"
        path.mkdir()
        session.mount("data", str(path), "tmpfs", MS_RDONLY)
        session.mount("none", str(path), "", session.MS_BIND | 32)
        bundle.mount("/mnt", "bind", str(path), "bind", "rw", "nosuid")
        found = below(inside, "/mnt")[0]
        session.umount(str(path))
        assert found == {"rw", "nosuid", "relatime"}


def test_without_a_user_namespace_nothing_is_locked(inside: Inside, bundle: Bundle, source: Path) -> None:
    session.mount("none", str(source), "", session.MS_NOSUID | MS_RDONLY | session.MS_BIND | 32)
    bundle.mount("/mnt", "bind", str(source), "bind", "rw", "relatime")
    assert below(inside, "/mnt") == [{"rw", "relatime"}]
