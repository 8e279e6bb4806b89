"""What a mount covers, and whose /dev it is, is decided by what is found there, not by the name it is asked by.

Names lead anywhere: by `..`, by doubled slashes, and by the links of an image. runtime-spec config.md "Mounts".
"""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import session
from support.apart import apart, call_in_python, refusal
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import Runtime, new_id, says
from support.terminal import console_socket

from pyruntime import kernel

NAMES = ("fd", "stdin", "stdout", "stderr", "ptmx", "null", "mine")
SPELLINGS = ["/dev", "//dev", "/dev/", "/dev/.", "/x/../dev", "/./dev", "/hostdev", "/deep/hostdev"]
"""The last two are links of the image."""


def only_mounts(bundle: Bundle, *kept: str) -> None:
    bundle.config["mounts"] = [mount for mount in bundle.mounts if mount["destination"] in kept]
    bundle.config["root"]["readonly"] = False


def link(bundle: Bundle, name: str, target: str) -> None:
    """Put a symbolic link into the image, in place of what is there."""
    place = bundle.rootfs / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        for each in place.iterdir():
            each.unlink()
        place.rmdir()
    elif place.is_symlink() or place.exists():
        place.unlink()
    place.symlink_to(target)


def content(folder: Path) -> dict[str, tuple[int, str]]:
    """Return what is in a directory: kind and mode of each file, and its text or where it leads."""
    found = {}
    for each in folder.iterdir():
        status = each.lstat()
        text = each.read_text() if stat.S_ISREG(status.st_mode) else ""
        found[each.name] = (status.st_mode, os.readlink(each) if each.is_symlink() else text)
    return found


@pytest.fixture
def volume(workdir: Path) -> Path:
    """A directory of the host, whose files have the names of what the runtime makes in /dev."""
    path = workdir / "volume"
    path.mkdir()
    for name in NAMES:
        (path / name).write_text("the host's")
    return path


class TestDev:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_nothing_is_made_or_unlinked_in_a_volume(
        self, inside: Inside, bundle: Bundle, volume: Path, spelling: str
    ) -> None:
        only_mounts(bundle, "/proc")
        link(bundle, "hostdev", "/dev")
        link(bundle, "deep/hostdev", "../hostdev")
        bundle.linux["devices"] = [{"path": "/dev/other", "type": "c", "major": 1, "minor": 3}]
        bundle.mount(spelling, "bind", str(volume), "rbind")
        before = content(volume)
        assert sorted(inside("ls /dev").split()) == sorted(NAMES)
        assert content(volume) == before

    def test_a_volume_behind_a_link_of_the_image(self, inside: Inside, bundle: Bundle, volume: Path) -> None:
        only_mounts(bundle, "/proc")
        link(bundle, "dev", "/vol")
        bundle.mount("/vol", "bind", str(volume), "bind")
        before = content(volume)
        assert sorted(inside("ls /dev").split()) == sorted(NAMES)
        assert content(volume) == before

    def test_below_a_volume(self, inside: Inside, bundle: Bundle, volume: Path) -> None:
        """The volume is mounted elsewhere, and /dev is a directory in it."""
        only_mounts(bundle, "/proc")
        link(bundle, "dev", "/vol/below")
        (volume / "below").mkdir()
        bundle.mount("/vol", "bind", str(volume), "bind")
        assert inside("ls /dev") == "" and list((volume / "below").iterdir()) == []

    def test_a_volume_in_a_user_namespace(self, inside: Inside, bundle: Bundle, volume: Path) -> None:
        """Where devices are bound and not made, the places to bind them on are not made either."""
        only_mounts(bundle, "/proc")
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        bundle.mount("//dev", "bind", str(volume), "bind")
        before = content(volume)
        inside("ls /dev")
        assert content(volume) == before

    @pytest.mark.parametrize("spelling", SPELLINGS[:-2])
    def test_a_new_file_system_gets_its_devices(self, inside: Inside, bundle: Bundle, spelling: str) -> None:
        only_mounts(bundle, "/proc")
        bundle.mount(spelling, "tmpfs", "tmpfs")
        assert inside("echo x > /dev/null; stat -c %F /dev/null; readlink /dev/fd").splitlines() == [
            "character special file", "/proc/self/fd",
        ]  # fmt: skip

    def test_the_images_own_dev_gets_its_devices(self, inside: Inside, bundle: Bundle) -> None:
        only_mounts(bundle, "/proc")
        assert inside("stat -c %F /dev/null; readlink /dev/fd").splitlines() == [
            "character special file", "/proc/self/fd",
        ]  # fmt: skip

    def test_files_of_the_image_stay(self, inside: Inside, bundle: Bundle) -> None:
        only_mounts(bundle, "/proc")
        dev = bundle.rootfs / "dev"
        for each in list(dev.iterdir()):
            each.unlink()
        (dev / "fd").write_text("a file")
        (dev / "stdin").mkdir()
        (dev / "stdout").symlink_to("/tmp/elsewhere")
        inside("true")
        assert not (dev / "fd").is_symlink() and not (dev / "stdin").is_symlink()
        assert (dev / "fd").read_text() == "a file" and (dev / "stdin").is_dir()
        assert os.readlink(dev / "stdout") == "/proc/self/fd/1", "a link that says something else is replaced"
        assert os.readlink(dev / "stderr") == "/proc/self/fd/2"

    def test_one_device_of_the_host(self, inside: Inside, bundle: Bundle) -> None:
        bundle.mount("/dev/mine", "bind", "/dev/null", "bind")
        assert inside("stat -c '%t,%T' /dev/mine; stat -c %F /dev/zero") == "1,3\ncharacter special file"


ON_PROCFS = [
    *(
        (kind, where)
        for kind in ("bind", "tmpfs")
        for where in ("/proc", "/proc/self/attr", "/proc/1/ns", "/proc/sys/net")
    ),
    ("bind", "/proc/cpuinfo"),
    ("bind", "/proc/self/attr/exec"),
]


class TestProc:
    @pytest.mark.parametrize("kind, where", ON_PROCFS)
    def test_links_of_the_image(self, runtime: Runtime, bundle: Bundle, volume: Path, kind: str, where: str) -> None:
        is_file = where.endswith(("cpuinfo", "exec"))
        link(bundle, "data", where)
        source = volume / "mine" if is_file else volume
        bundle.mount("/data", kind, str(source) if kind == "bind" else "tmpfs", *(["bind"] if kind == "bind" else []))
        at = len(bundle.mounts) - 1
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, 'nothing can be mounted on "/data": it leads to a place on procfs', f"/mounts/{at}/destination")

    def test_a_link_that_is_made_on_the_way(self, runtime: Runtime, bundle: Bundle, volume: Path) -> None:
        """The link is in a volume: no look at the image can find it."""
        (volume / "way").symlink_to("/proc")
        bundle.mount("/vol", "bind", str(volume), "bind")
        bundle.mount("/vol/way/self/attr", "bind", str(volume), "bind")
        says(
            runtime.fails("create", "--bundle", bundle.save(), new_id()),
            'nothing can be mounted on "/vol/way/self/attr": it leads to a place on procfs',
        )

    @pytest.mark.parametrize("kind", ["bind", "tmpfs"])
    def test_a_false_proc(self, runtime: Runtime, bundle: Bundle, volume: Path, kind: str) -> None:
        """Without any procfs: what is on /proc when all is mounted counts, and not the name it was mounted by."""
        only_mounts(bundle)
        link(bundle, "data", "/proc")
        bundle.mount("/data", kind, str(volume) if kind == "bind" else "tmpfs", *(["bind"] if kind == "bind" else []))
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, "only procfs can be mounted on /proc, through any path", "config.json#/mounts]")

    @pytest.mark.parametrize("spelling", ["//proc", "/proc/.", "/x/../proc", "proc"])
    def test_spellings(self, runtime: Runtime, bundle: Bundle, volume: Path, spelling: str) -> None:
        only_mounts(bundle)
        bundle.mount(spelling, "bind", str(volume), "bind")
        says(runtime.fails("create", "--bundle", bundle.save(), new_id()), "only procfs may be mounted on /proc")

    @pytest.mark.parametrize("name", ["cpuinfo", "uptime", "sys/kernel/ns_last_pid"])
    @pytest.mark.parametrize("before", ["/proc/", "//proc/./"])
    def test_what_may_be_faked(self, inside: Inside, bundle: Bundle, volume: Path, name: str, before: str) -> None:
        """As lxcfs does."""
        if not Path("/proc", name).exists():
            pytest.skip(f"this kernel has no /proc/{name}")
        bundle.mount(f"{before}{name}", "bind", str(volume / "mine"), "bind", "ro")
        assert inside(f"cat /proc/{name}") == "the host's"

    def test_a_false_name_of_what_may_be_faked(self, runtime: Runtime, bundle: Bundle, volume: Path) -> None:
        """/proc is the image's, and its file of a harmless name leads to one of another procfs."""
        only_mounts(bundle)
        bundle.mount("/other", "proc", "proc")
        link(bundle, "proc/cpuinfo", "/other/self/attr/exec")
        bundle.mount("/proc/cpuinfo", "bind", str(volume / "mine"), "bind")
        says(
            runtime.fails("create", "--bundle", bundle.save(), new_id()),
            'nothing can be mounted on "/proc/cpuinfo": it leads to a place on procfs',
            "/mounts/1/destination",
        )

    def test_the_hosts_procfs(self, inside: Inside, bundle: Bundle) -> None:
        only_mounts(bundle)
        bundle.mount("/proc", "bind", "/proc", "rbind")
        for key in ("maskedPaths", "readonlyPaths"):
            del bundle.linux[key]
        bundle.namespaces(pid=None)
        assert inside("ls -d /proc/self/ns") == "/proc/self/ns"

    def test_links_that_lead_elsewhere(self, inside: Inside, bundle: Bundle) -> None:
        link(bundle, "var/run", "/run")
        bundle.mount("/var/run/below", "tmpfs", "tmpfs")
        assert inside("grep -c ' /run/below ' /proc/mounts") == "1"


class TestTargets:
    def test_proc_is_mounted_on_a_real_directory_only(self, runtime: Runtime, bundle: Bundle) -> None:
        """CVE-2019-19921: the link leads to a directory of the image, which any other mount would take."""
        (bundle.rootfs / "elsewhere").mkdir()
        link(bundle, "proc", "/elsewhere")
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, 'make_real_directory(<root>, "/proc")', "ELOOP", "/mounts/0/destination")

    def test_a_target_has_no_path(self) -> None:
        """It is a place below the descriptor: here one that no path of the host leads to."""
        context = kernel.fsopen("tmpfs", 0)
        kernel.fsconfig(context, kernel.flags("FSCONFIG_CMD_CREATE"), None, None, 0)
        root = kernel.fsmount(context, 0, 0)
        made = [kernel.make_mountpoint(root, "/usr/bin", None), kernel.make_real_directory(root, "/usr/bin")]
        for fd in made:
            assert os.fstat(fd).st_dev == os.fstat(root).st_dev
        for fd in (context, root, *made):
            os.close(fd)

    @pytest.mark.parametrize("target", ["/etc/passwd", "/proc/sysrq-trigger"])
    def test_the_console_is_never_a_link(self, runtime: Runtime, bundle: Bundle, workdir: Path, target: str) -> None:
        """CVE-2025-52565."""
        only_mounts(bundle, "/proc", "/dev/pts")
        bundle.process["terminal"] = True
        link(bundle, "dev/console", target)
        with console_socket(workdir) as console:
            error = runtime.fails("create", "--bundle", bundle.save(), "--console-socket", console.path, new_id())
        says(error, 'open("/dev/console", O_NOFOLLOW)', "ELOOP", "/process/terminal")

    def test_a_false_devpts(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """CVE-2025-52565: the image has a /dev/pts of its own, with a `ptmx` that is something else."""
        only_mounts(bundle, "/proc")
        bundle.process["terminal"] = True
        (bundle.rootfs / "dev/pts").mkdir()
        (bundle.rootfs / "dev/pts/ptmx").write_text("the image's")
        with console_socket(workdir) as console:
            error = runtime.fails("create", "--bundle", bundle.save(), "--console-socket", console.path, new_id())
        says(error, "/dev/pts of the container is not a devpts", "/process/terminal")

    def test_a_ptmx_that_leads_out_of_the_devpts(self, workdir: Path) -> None:
        """Opened are only files of the devpts itself: no other mount on it, and no link in it."""
        (workdir / "dev/pts").mkdir(parents=True)
        (workdir / "false").write_text("")
        session.mount("devpts", str(workdir / "dev/pts"), "devpts", 0, "newinstance,ptmxmode=0666")
        session.mount(str(workdir / "false"), str(workdir / "dev/pts/ptmx"), "", 0x1000)
        root = os.open(workdir, os.O_PATH)
        try:
            assert refusal(kernel.open_ptmx, root) == "EXDEV"
        finally:
            os.close(root)
            session.umount(str(workdir / "dev/pts/ptmx"))
            session.umount(str(workdir / "dev/pts"))


class TestPrivateProcfs:
    """Sysctls and labels are written through a procfs that nothing covers (CVE-2019-16884, CVE-2025-52881)."""

    def test_what_covers_the_callers_own(self, runtime: Runtime, bundle: Bundle, workdir: Path, volume: Path) -> None:
        """Without a mount namespace, all that is mounted in the caller's stays in sight until the end."""
        # A file of one's own ipc namespace is another than the caller's, so that it is its directory that is covered.
        (volume / "msgmax").write_text("8192")
        (volume / "random").mkdir()
        for name in ("random/boot_id", "cap_last_cap"):
            (volume / name).write_text(Path("/proc/sys/kernel", name).read_text())
        bundle.linux["sysctl"] = {"kernel.msgmax": "7777"}
        bundle.args("cat", "/proc/sys/kernel/msgmax")
        bundle.namespaces(mount=None)
        for key in ("maskedPaths", "readonlyPaths"):
            del bundle.linux[key]
        only_mounts(bundle, "/proc")
        call = " ".join(runtime.command("run", "--bundle", bundle.save(), new_id()))
        script = f"mount -n --bind {volume} /proc/sys/kernel && {call}"
        assert apart(workdir, "sh", "-c", script) == (0, "7777\n")
        assert (volume / "msgmax").read_text() == "8192"

    @pytest.fixture
    def false(self, workdir: Path) -> Iterator[int]:
        """A directory that is not procfs, opened; it has a file `sys/a`, and links to what is outside."""
        (workdir / "sys").mkdir()
        (workdir / "sys/a").write_text("as it was")
        (workdir / "sys/link").symlink_to("a")
        fd = os.open(workdir, os.O_PATH)
        yield fd
        os.close(fd)

    def test_only_procfs_is_written(self, workdir: Path, false: int) -> None:
        assert refusal(kernel.write_procfs, false, "sys/a", "written") == "/proc/sys/a is not a file of procfs"
        assert (workdir / "sys/a").read_text() == "as it was"

    def test_no_link_is_followed(self, workdir: Path, false: int) -> None:
        assert refusal(kernel.write_procfs, false, "sys/link", "written") == "ELOOP"
        assert (workdir / "sys/a").read_text() == "as it was"

    def test_no_mount_is_entered(self, workdir: Path) -> None:
        (workdir / "false").write_text("as it was")
        program = call_in_python("write_procfs", 'os.open("/proc", os.O_PATH), "sys/kernel/msgmax", "7777"')
        script = f'mount -n --bind {workdir}/false /proc/sys/kernel/msgmax && exec "$@"'
        found = apart(workdir, "sh", "-c", script, "sh", sys.executable, "-I", "-c", program)
        assert found == (0, "EXDEV\n")
        assert (workdir / "false").read_text() == "as it was"


def test_a_mask_is_the_real_null(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    """The host's /dev/null is another device, in a mount namespace for this command: nothing is masked with it."""
    bundle.args("true")
    call = " ".join(runtime.command("run", "--bundle", bundle.save(), new_id()))
    status, said = apart(workdir, "sh", "-c", f"mount -n --bind /dev/zero /dev/null && {call}")
    assert status == 1, said
    says(said, "the host's /dev/null is not the device 1:3", "/linux/maskedPaths/")


ENTER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
namespace = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
def check(result):
    if result:
        raise OSError(ctypes.get_errno(), "call")
check(libc.setns(namespace, 0x20000))
check(libc.umount2(b"/", 2))
check(libc.setns(namespace, 0x20000))
print("root of the host:", os.path.exists(sys.argv[2]))
print(sorted(os.listdir("/proc")), sorted(os.listdir("/sys")))
"""
"""Takes the container's root away in its mount namespace, and shows what is below."""


def test_below_a_root_that_was_moved_there_is_no_procfs(container: Make, bundle: Bundle, workdir: Path) -> None:
    """With --no-pivot the host's mounts stay below the container's: a procfs there would have no masks."""
    box = container("--no-pivot", start=False)
    assert apart(workdir, "/usr/bin/python3", "-I", "-c", ENTER, str(box.pid), str(bundle.path)) == (
        0, "root of the host: True\n[] []\n",
    )  # fmt: skip


class TestPropagation:
    def test_a_volume_that_the_host_opens(self, container: Make, bundle: Bundle, shared: Path) -> None:
        """What a container with a user namespace mounts in a volume does not come to the host."""
        (shared / "sub").mkdir()
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        caps = [*bundle.process["capabilities"]["bounding"], "CAP_SYS_ADMIN"]
        bundle.capabilities(bounding=caps, effective=caps, permitted=caps)
        bundle.mount("/mnt", "bind", str(shared), "rbind", "rw")
        box = container()
        box.sh("mount -t tmpfs tmpfs /mnt/sub && grep -q ' /mnt/sub ' /proc/mounts")
        assert f"{shared}/sub" not in Path("/proc/self/mountinfo").read_text()

    def test_the_hosts_mounts_stay_when_the_old_root_goes(
        self, runtime: Runtime, bundle: Bundle, workdir: Path
    ) -> None:
        """The container's propagation is shared, and so is the root of its caller, as systemd makes it."""
        bundle.linux["rootfsPropagation"] = "shared"
        bundle.args("true")
        call = " ".join(runtime.command("run", "--bundle", bundle.save(), new_id()))
        points = "cut -d ' ' -f 5 /proc/self/mountinfo | sort"
        script = (
            f"mount -n --make-rshared / && {points} > {workdir}/before && {call} && {points} > {workdir}/after; echo $?"
        )
        assert apart(workdir, "sh", "-c", script) == (0, "0\n")
        assert (workdir / "after").read_text() == (workdir / "before").read_text()


@pytest.fixture
def shared(workdir: Path) -> Iterator[Path]:
    """A shared mount of the host."""
    path = workdir / "shared"
    path.mkdir()
    session.mount("shared", str(path), "tmpfs", 0)
    session.mount("none", str(path), "", 1 << 20)
    yield path
    session.umount(str(path), session.MNT_DETACH)
