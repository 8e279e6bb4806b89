"""Files of procfs and other directories: written whole, checked to be what they should be, named in the error."""

import ast
import ctypes
import errno
import os
import posix
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.recording import Recorder, fake

from pyruntime import kernel
from pyruntime.errors import Failure
from pyruntime.kernel import idmap, old_mount, operations, prctl, procfs

C = procfs.C


def call_of(caught: Any) -> str:
    return str(caught.value.call)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


class TestWrite:
    def test_an_existing_file(self, tmp_path: Path, folder: int) -> None:
        (tmp_path / "f").touch()
        procfs.write_file(f"{tmp_path}/f", "n\udcff")
        assert (tmp_path / "f").read_bytes() == b"n\xff"
        procfs.write_at(folder, "f", "x")
        assert (tmp_path / "f").read_bytes() == b"x\xff", "it is written to, not made anew"

    def test_none_is_made(self, tmp_path: Path, folder: int) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            procfs.write_file(f"{tmp_path}/none", "x")
        assert call_of(caught) == f'open("{tmp_path}/none", O_WRONLY)'
        with pytest.raises(FileNotFoundError) as caught:
            procfs.write_at(folder, "none", "x")
        assert call_of(caught) == 'openat("none", O_WRONLY)'
        assert list(tmp_path.iterdir()) == []

    def test_a_write_that_fails(self) -> None:
        with pytest.raises(OSError) as caught:
            procfs.write_file("/dev/full", "x" * 100 + "\n")
        assert (caught.value.errno, call_of(caught)) == (errno.ENOSPC, f'write(/dev/full, "{"x" * 64}")')
        with pytest.raises(OSError) as caught:
            procfs.write_file("/dev/full", "short\n")
        assert call_of(caught) == 'write(/dev/full, "short")'


class TestProcfs:
    """On the real /proc of the test."""

    @pytest.fixture
    def proc(self) -> Iterator[int]:
        fd = os.open("/proc", os.O_PATH)
        yield fd
        os.close(fd)

    def test_the_pid(self) -> None:
        assert procfs.host_pid() == os.getpid()

    def test_what_a_process_has(self) -> None:
        fd = procfs.open_proc_pid(os.getpid(), "comm")
        assert os.read(fd, 99) == Path("/proc/self/comm").read_bytes()
        os.close(fd)

    def test_write_to_a_process(self) -> None:
        before = Path("/proc/self/comm").read_text()
        try:
            procfs.write_proc_pid(os.getpid(), "comm", "renamed")
            assert Path("/proc/self/comm").read_text() == "renamed\n"
        finally:
            Path("/proc/self/comm").write_text(before)
        with pytest.raises(OSError) as caught:
            procfs.write_proc_pid(os.getpid(), "oom_score_adj", "5000")
        assert call_of(caught) == f'write(/proc/{os.getpid()}/oom_score_adj, "5000")'

    def test_by_a_descriptor_of_procfs(self, proc: int) -> None:
        before = Path("/proc/self/comm").read_text()
        try:
            procfs.write_procfs(proc, "self/comm", "by self")
            assert Path("/proc/self/comm").read_text() == "by self\n"
            procfs.write_procfs(proc, f"{os.getpid()}/comm", "by pid")
            assert Path("/proc/self/comm").read_text() == "by pid\n"
        finally:
            Path("/proc/self/comm").write_text(before)

    @pytest.mark.parametrize(
        "path", ["self/../self/comm/..", "thread-self/comm", "self/root/etc/passwd", "../etc/passwd"]
    )
    def test_no_link_leads_out(self, proc: int, path: str) -> None:
        with pytest.raises(OSError) as caught:
            procfs.write_procfs(proc, path, "x")
        assert caught.value.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR)

    def test_what_is_no_procfs(self, tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "sys").mkdir()
        (tmp_path / "sys/x").write_text("before")
        with pytest.raises(Failure, match=r"^/proc/sys/x is not a file of procfs$"):
            procfs.write_procfs(folder, "sys/x", "after")
        assert (tmp_path / "sys/x").read_text() == "before"
        fake(monkeypatch, procfs, open=lambda *_: os.open(tmp_path / "sys/x", os.O_WRONLY))
        with pytest.raises(Failure, match=r"^/proc/1/comm is not a file of procfs$"):
            procfs.write_proc_pid(1, "comm", "after")
        assert (tmp_path / "sys/x").read_text() == "before"

    def test_only_a_procfs_may_stand_at_proc(self, proc: int, folder: int) -> None:
        procfs.check_procfs(proc)
        with pytest.raises(Failure, match=r"^only procfs may be mounted on /proc$"):
            procfs.check_procfs(folder)


class TestOpenProcfs:
    """One that nothing of the container can cover; the next best where the kernel refuses."""

    def open(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> tuple[int, Recorder]:
        recorder = fake(monkeypatch, procfs, **answers)
        return procfs.open_procfs(), recorder

    def test_a_new_one(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        context = os.open(tmp_path, os.O_PATH)
        fd, linux = self.open(monkeypatch, fsopen=context, fsconfig=None, fsmount=77)
        assert fd == 77
        assert linux.calls == [
            ("fsopen", "proc", 0), ("fsconfig", context, C["FSCONFIG_CMD_CREATE"], None, None, 0),
            ("fsmount", context, 0, 0),
        ]  # fmt: skip
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(context)

    def test_a_clone(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        context = os.open(tmp_path, os.O_PATH)
        refused = PermissionError(1, "no")
        fd, linux = self.open(monkeypatch, fsopen=context, fsconfig=refused, open_tree=78)
        assert (fd, linux.named("open_tree")) == (78, [(C["AT_FDCWD"], "/proc", C["OPEN_TREE_CLONE"])])
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(context)

    def test_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refused = PermissionError(1, "no")
        fd, _ = self.open(monkeypatch, fsopen=refused, open_tree=refused)
        assert os.readlink(f"/proc/self/fd/{fd}") == "/proc"
        os.close(fd)

    def test_of_another_pid_namespace(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        context = os.open(tmp_path, os.O_PATH)
        linux = fake(monkeypatch, procfs, fsopen=context, fsconfig=None, fsopen_proc_by_helper=79)
        assert procfs.fsopen_proc(5) == context
        assert linux.named("fsconfig") == [(context, C["FSCONFIG_SET_FD"], "pidns", None, 5)]
        linux.answers["fsconfig"] = OSError(errno.EINVAL, "no")
        assert procfs.fsopen_proc(5) == 79
        assert linux.named("fsopen_proc_by_helper") == [(5,)]
        linux.answers.update(fsopen=os.open(tmp_path, os.O_PATH), fsconfig=OSError(errno.EPERM, "no"))
        with pytest.raises(PermissionError):
            procfs.fsopen_proc(5)


class TestNamespaces:
    def test_the_hosts_own_is_refused(self) -> None:
        with pytest.raises(Failure) as caught:
            procfs.open_namespace("/proc/self/ns/uts", "uts")
        assert str(caught.value) == (
            "/proc/self/ns/uts has become the host's own uts namespace while the container was created"
        )

    def test_another(self, tmp_path: Path) -> None:
        """A file that is no namespace is setns(2)'s to refuse; one of another type as well."""
        (tmp_path / "ns").touch()
        for path in (f"{tmp_path}/ns", "/proc/self/ns/uts"):
            fd = procfs.open_namespace(path, "ipc")
            assert os.fstat(fd).st_ino == os.stat(path).st_ino
            os.close(fd)

    def test_a_fifo_holds_nobody_up(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "ns")
        os.close(procfs.open_namespace(f"{tmp_path}/ns", "net"))

    def test_maps_are_written_to_the_child_that_made_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The child has the test's own user namespace here; it has ended when the descriptor is there."""
        linux = fake(monkeypatch, idmap, clone3=lambda _: kernel.clone3(0))
        written: list[Any] = []
        monkeypatch.setattr(idmap, "write_proc_pid", lambda *args: written.append(args))
        fd = idmap.idmap_userns("0 1 2", "3 4 5")
        assert os.fstat(fd).st_ino == os.stat("/proc/self/ns/user").st_ino
        os.close(fd)
        ((pid, *uids), (same, *gids)) = written
        assert (uids, gids, pid) == (["uid_map", "0 1 2"], ["gid_map", "3 4 5"], same)
        assert linux.named("clone3") == [(C["CLONE_NEWUSER"],)]
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_maps_that_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake(monkeypatch, idmap, clone3=lambda _: kernel.clone3(0))
        with pytest.raises(OSError) as caught:
            idmap.idmap_userns("what is no map", "")
        assert caught.value.errno == errno.EPERM and "uid_map" in call_of(caught), "it has had one since it was made"
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


class TestOldMount:
    """mount(2) in a child that shares descriptors: what it calls is answered."""

    @pytest.fixture
    def linux(self, monkeypatch: pytest.MonkeyPatch) -> Recorder:
        shared = C["CLONE_FILES"]
        return fake(monkeypatch, old_mount, clone3=lambda _: kernel.clone3(shared), mount_setattr=None,
                    mount=None, open_tree=lambda *_: os.open("/proc", os.O_PATH))  # fmt: skip

    def test_its_descriptor_is_the_parents(self, linux: Recorder) -> None:
        fd = old_mount.mount_by_data("src", "fuse", 5, "fd=3")
        assert os.readlink(f"/proc/self/fd/{fd}") == "/proc"
        os.close(fd)
        assert linux.named("clone3") == [(C["CLONE_NEWNS"] | C["CLONE_FILES"],)]

    def test_what_is_refused(self, linux: Recorder) -> None:
        linux.answers["mount"] = OSError(errno.ENODEV, "no")
        with pytest.raises(OSError) as caught:
            old_mount.mount_by_data("src", "nofs", 0, "x" * 70)
        assert (caught.value.errno, call_of(caught)) == (errno.ENODEV, f'mount("src", "nofs", {"x" * 64}...)')

    def test_a_child_that_dies(self, linux: Recorder) -> None:
        linux.answers["mount"] = lambda *_: os.kill(os.getpid(), 9)
        with pytest.raises(OSError) as caught:
            old_mount.mount_by_data("src", "fuse", 0, "")
        assert caught.value.errno == errno.EIO

    def test_what_the_child_calls(self, linux: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
        read_end, write_end = os.pipe()
        monkeypatch.setattr(posix, "_exit", lambda status: linux.calls.append(("_exit", status)))
        linux.answers["open_tree"] = 9
        old_mount._answer(write_end, "src", "fuse", 5, "")
        assert linux.calls == [
            ("mount_setattr", C["AT_FDCWD"], "/", C["AT_RECURSIVE"], 0, 0, C["MS_PRIVATE"]),
            ("mount", "src", "/", "fuse", 5, None), ("open_tree", C["AT_FDCWD"], "/..", C["OPEN_TREE_CLONE"]),
            ("_exit", 0),
        ]  # fmt: skip
        assert os.read(read_end, 9) == b"9"
        os.close(read_end)
        os.close(write_end)


GET_DUMPABLE, GET_KEEPCAPS, GET_NO_NEW_PRIVS = 3, 7, 39


libc = ctypes.CDLL(None)


class TestAttributes:
    """prctl(2), in a fork: what is set stays for ever."""

    def seen(self, *work: Any) -> list[Any]:
        """Run in a child; return what it finds afterwards: dumpable, keepcaps, no_new_privs."""
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                prctl.preload()
                for function, *args in work:
                    function(*args)
                numbers = [libc.prctl(option, 0, 0, 0, 0) for option in (GET_DUMPABLE, GET_KEEPCAPS, GET_NO_NEW_PRIVS)]
                os.write(write_end, repr(numbers).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(write_end)
        found = ast.literal_eval(os.read(read_end, 999).decode())
        os.close(read_end)
        return list(found)

    def test_each(self) -> None:
        assert self.seen((prctl.set_dumpable, 1))[:2] == [1, 0]
        after = self.seen(
            (prctl.set_no_new_privs,), (prctl.set_keepcaps, 1), (prctl.set_pdeathsig, 9), (prctl.set_dumpable, 0),
            (prctl.set_dumpable, 1),
        )  # fmt: skip
        assert after == [1, 1, 1]

    def test_which_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import _prctl

        asked: list[Any] = []
        monkeypatch.setattr(_prctl, "prctl", lambda *args: asked.append(args))
        prctl.set_pdeathsig(9)
        prctl.set_dumpable(0)
        options = (_prctl.PR_SET_PDEATHSIG, 9), (_prctl.PR_SET_DUMPABLE, 0)
        assert asked == list(options)

    def test_an_error_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import _prctl

        def refused(*_: Any) -> None:
            raise PermissionError(1, "no")

        monkeypatch.setattr(_prctl, "prctl", refused)
        with pytest.raises(PermissionError) as caught:
            prctl.set_keepcaps(1)
        assert call_of(caught) == "prctl(PR_SET_KEEPCAPS, 1)"


class TestComposite:
    def test_everything_is_found_and_nothing_else(self) -> None:
        for name in ("mask", "make_mountpoint", "preload", "seccomp_compile", "write_procfs"):
            assert operations.find(name) is getattr(kernel, name) is getattr(operations, name)
        for name in ("no_such", "split", "find"):
            with pytest.raises(AttributeError, match=f"module 'pyruntime.kernel' has no attribute '{name}'"):
                getattr(kernel, name)

    @pytest.mark.parametrize(
        ("module", "name", "args"),
        [
            ("seccomp", "seccomp_compile", ("profile",)),
            ("idmap", "idmap_userns", ("0 1 2", "3 4 5")),
            ("device_nodes", "make_device_node", ("/dev/x", "c", 1, 2, 3, 4, 5)),
            ("copyup", "copy_up", (3, "/x", 4)),
            ("old_mount", "mount_by_data", ("s", "k", 1, "d")),
            ("device_filter", "find_device_filter", (3,)),
            ("device_filter", "replace_device_filter", (3, 4, 5)),
            ("network", "move_net_device", ("eth0", "eth1", 3)),
        ],
    )
    def test_what_is_loaded_late(self, monkeypatch: pytest.MonkeyPatch, module: str, name: str, args: Any) -> None:
        recorder = Recorder(function=7)
        monkeypatch.setattr(f"pyruntime.kernel.{module}.{name}", recorder.function)
        result = operations.find(name)(*args)
        assert recorder.named("function") == [args]
        assert result == (None if name in ("copy_up", "replace_device_filter") else 7)

    def test_affinity(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cpus = os.sched_getaffinity(0)
        operations.sched_setaffinity(0, [min(cpus)])
        try:
            assert os.sched_getaffinity(0) == {min(cpus)}
        finally:
            os.sched_setaffinity(0, cpus)
