"""What the container's modules do at their edges: descriptor 0, limits to the byte, answers that are bool, links."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyruntime import files, kernel
from pyruntime.container import cgroup, ownership, root, stats, status
from pyruntime.container import record as records
from pyruntime.container import store as stores
from pyruntime.container import systemd as client
from pyruntime.container.dbus import CallFailed
from pyruntime.container.store import Container, Store
from pyruntime.errors import Failure, NotFound
from pyruntime.plan.unit_properties import Property

if TYPE_CHECKING:
    from pyruntime.container.record import Record

RECORD: Record = {
    "id": "c",
    "ociVersion": "1.2.0",
    "bundle": "/b",
    "rootfs": "/b/r",
    "created": "",
    "boot_id": "b",
    "cgroup": "/no-such/c",
    "cgroup_mount": "/sys/fs/cgroup",
    "cgroup_made": [],
    "mounts": [],
    "annotations": {},
    "has_process": True,
    "later_hooks": [],
}


class TestDescriptors:
    @pytest.mark.parametrize(
        ("make", "name"),
        [(lambda fd: Container("/r", "c", fd), "dirfd"), (lambda fd: status.Status("running", 7, fd), "pidfd")],
        ids=["container", "status"],
    )
    def test_each_is_closed_once(self, monkeypatch: pytest.MonkeyPatch, make: Callable[[int], Any], name: str) -> None:
        closed: list[int] = []
        monkeypatch.setattr("posix.close", closed.append)
        made = make(0)
        made.close()
        made.close()
        assert closed == [0] and getattr(made, name) == -1

    def test_a_pidfd_may_be_0(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        with store.create("c", RECORD, b"{}") as container:
            container.save_created(os.getpid())
            monkeypatch.setattr(status, "open_init", lambda record: (7, 0, "S"))
            found = status.status_of(container)
        assert (found.status, found.pid, found.pidfd) == ("running", 7, 0)

    def test_a_root_is_looked_at_without_opening_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A directory that cannot be read is as good, and a FIFO would block."""
        flags: list[int] = []
        real = os.open

        def note(path: str, given: int) -> int:
            flags.append(given)
            return real(path, given)

        monkeypatch.setattr("posix.open", note)
        root.trusted(str(tmp_path))
        assert flags[0] == os.O_PATH | os.O_CLOEXEC


class TestCgroup:
    def test_a_value_with_a_blank(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.events").write_text("populated 1 2 3\n")
        assert cgroup.Cgroup(str(tmp_path)).events() == {"populated": "1 2 3"}

    def test_children_after_one_that_is_gone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a").mkdir()
        real = cgroup.children_of
        monkeypatch.setattr(cgroup, "children_of", lambda fd: [*real(fd), "gone"])
        left: list[str] = []
        cgroup.Cgroup(str(tmp_path)).walk(leave=lambda parent, name: left.append(name))
        assert left == ["a"]

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
    def test_children_of_one_that_goes_meanwhile(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def scandir(fd: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("posix.scandir", scandir)
        assert cgroup.children_of(7) == []

    def test_what_is_answered(self, tmp_path: Path) -> None:
        (tmp_path / "a/b").mkdir(parents=True)
        assert cgroup.remove_directory(str(tmp_path / "a")) is False
        assert cgroup.remove_directory(str(tmp_path / "a/b")) is True
        assert cgroup.remove_directory(str(tmp_path / "none")) is True
        assert cgroup.in_use(f"{tmp_path}/none") is False and cgroup.in_use(str(tmp_path)) is False
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            assert cgroup.open_child(fd, "none") == -1
            kernel.flock(fd, kernel.flags("LOCK_EX"))
            assert cgroup.in_use(str(tmp_path)) is True
        finally:
            os.close(fd)

    @pytest.mark.parametrize(("events", "frozen"), [("frozen 0\n", False), ("frozen 1\n", True), ("", True)])
    def test_whether_it_is_frozen(self, tmp_path: Path, events: str, frozen: bool) -> None:
        (tmp_path / "cgroup.events").write_text(events)
        assert cgroup.Cgroup(str(tmp_path))._wait_frozen("1", 0) is frozen

    def test_a_thread_of_process_1(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read_file(path: str, fd: int) -> bytes:
            if path == "cgroup.procs":
                raise OSError(errno.EOPNOTSUPP, "threaded")
            return b"5\n6\n7\n"

        monkeypatch.setattr(cgroup, "read_file", read_file)
        monkeypatch.setattr(cgroup, "leader_of", {5: 1, 6: 0, 7: 7}.get)
        assert cgroup.processes_of(3) == [1, 7]

    def test_huge_pages_without_events(self, tmp_path: Path) -> None:
        (tmp_path / "hugetlb.2MB.current").write_text("0\n")
        assert stats.hugetlb(cgroup.Cgroup(str(tmp_path))) == {"2MB": {"failcnt": 0}}


class TestOwnership:
    def test_only_directories_bear_notes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("posix.getxattr", lambda *_: b"1:2")
        (tmp_path / "a").mkdir()
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to("a")
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            found = {name: ownership.has_note(fd, name) for name in ("a", "file", "link", "none")}
        finally:
            os.close(fd)
        assert [found[name] is (name == "a") for name in found] == [True] * 4

    def test_a_parent_is_no_link(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        monkeypatch.setattr("posix.getxattr", lambda *given, **more: asked.append((*given, more)))
        assert ownership.is_shared("/a", 7) is True
        (path, name, more) = asked[0]
        assert (path, more) == ("/proc/self/fd/7/a", {"follow_symlinks": False}) and b"pyruntime" in os.fsencode(name)

    def test_a_directory_that_is_no_cgroup(self, tmp_path: Path) -> None:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            assert ownership.is_of(fd, {"cgroup_id": tmp_path.stat().st_ino}) is False
        finally:
            os.close(fd)

    def test_a_kernel_without_an_overflow_id(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for text in ("", "x"):
            monkeypatch.setattr(files, "read_head", lambda path, text=text: text.encode())
            assert root.is_unmapped(65534) is False


class TestRecordFiles:
    def test_what_a_killed_command_has_left(self, tmp_path: Path) -> None:
        """A longer temporary file is overwritten whole; a symbolic link is not followed."""
        (tmp_path / "f.tmp").write_bytes(b"x" * 100)
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            records.write_file(fd, "f", b"new")
            assert (tmp_path / "f").read_bytes() == b"new"
            (tmp_path / "f.tmp").symlink_to("other")
            with pytest.raises(OSError, match="symbolic links"):
                records.write_file(fd, "f", b"newer")
        finally:
            os.close(fd)
        assert not (tmp_path / "other").exists() and (tmp_path / "f").read_bytes() == b"new"


class TestStatus:
    def test_several_may_look_at_once(self, store: Store) -> None:
        """A lock that is shared is that of another look, not of a create."""
        with store.create("c", RECORD, b"{}") as container:
            assert status.being_created(container) is False, "this command itself"
            container.unlock()
            assert not container.locked
            fd = os.open(container.path, os.O_RDONLY)
            try:
                kernel.flock(fd, kernel.flags("LOCK_SH"))
                assert status.being_created(container) is False
                kernel.flock(fd, kernel.flags("LOCK_EX"))
                assert status.being_created(container) is True
            finally:
                os.close(fd)

    @pytest.mark.parametrize("pid", [2, (1 << 31) - 1])
    def test_the_smallest_and_the_largest_pid(self, monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
        asked: list[int] = []

        def pidfd_open(given: int) -> int:
            asked.append(given)
            raise ProcessLookupError(errno.ESRCH, "no")

        monkeypatch.setattr(kernel, "pidfd_open", pidfd_open)
        assert status.open_init({"pid": pid, "boot_id": records.boot_id()}) == (0, -1, "X")
        assert asked == [pid]

    def test_waiting_is_true(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kernel, "unix_connect", lambda *_: os.open("/dev/null", os.O_RDONLY))
        with store.create("c", RECORD, b"{}") as container:
            Path(container.path, "start.sock").touch()
            assert status.waits_for_start(container) is True
            assert status.waits_for_start(container, held=True) is True

    def test_a_short_line_of_passwd(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "passwd").write_text("a:x\nthree:x:4000\n")
        real = os.open
        monkeypatch.setattr("posix.open", lambda path, flags, **_: real(tmp_path / "passwd", flags))
        assert status.owner_name(4000) == "three"


class TestStore:
    def test_the_longest_id(self) -> None:
        text = "x" * 254 + ":"
        with pytest.raises(Failure) as caught:
            stores.check_id(text)
        assert str(caught.value).startswith("invalid container ID format: 'xxx")
        with pytest.raises(Failure, match=r"^invalid container ID format: 256 characters, at most 255 are allowed$"):
            stores.check_id(f"x{text}")

    @pytest.mark.parametrize(("links", "gone"), [(0, True), (1, False), (2, False)])
    def test_links_of_the_directory(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, links: int, gone: bool
    ) -> None:
        """A file system without links of directories counts 1."""
        with store.create("c", RECORD, b"{}") as container:
            here = os.stat(container.path)
            fields = list(here)[:10]
            fields[3] = links
            monkeypatch.setattr("posix.fstat", lambda fd: os.stat_result(fields))
            assert container.gone() is gone
            monkeypatch.undo()

    def test_a_file_is_no_container(self, store: Store) -> None:
        store.create("other", {**RECORD, "id": "other"}, b"{}").close()
        Path(store.root, "c").touch()
        with pytest.raises(NotFound, match=r'^container does not exist: "c"$'):
            store.open("c")

    def test_links_in_a_state_directory(self, store: Store) -> None:
        with store.create("c", RECORD, b'{"linux": {"resources": {"pids": {"limit": 7}}}}') as container:
            os.symlink("none", f"{container.path}/resources.json")
            with pytest.raises(Failure, match=rf"^read {container.path}/resources\.json: .*\(ELOOP\)$"):
                container.resources()
            os.unlink(f"{container.path}/state.json")
            assert store.ids() == []
            os.symlink("none", f"{container.path}/state.json")
            assert store.ids() == ["c"], "delete --force can remove it"

    def test_sweep_goes_on(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        long = "x" * 255
        names = [f"~{long[:200]}{end}" for end in (".1.2", ".1.x", ".3.4")]
        for name in names[1:]:
            os.makedirs(f"{store.root}/{name}")
        Path(store.root, names[0]).touch()
        monkeypatch.setattr(Store, "_names", lambda self: names)
        store.sweep(long)
        assert sorted(os.listdir(store.root)) == names[:2]


class TestSystemd:
    def test_the_longest_name_of_a_property(self) -> None:
        given = [Property("Zed", "s", "x", "/z"), Property("Alphabet", "s", "x", "/a"), Property("Y", "s", "x", "/y")]
        assert client.named_property(CallFailed("x", "Zed Alphabet Y"), given) == given[1]

    def test_what_a_manager_answers(self) -> None:
        class Bus:
            def call(self, *_: object) -> None:
                raise CallFailed("org.freedesktop.systemd1.NoSuchUnit", "no")

            def close(self) -> None:
                pass

        bus: Any = Bus()
        made = client.Manager(bus, bus=False)
        with made as same:
            assert same is made and made.knows("u") is False

    def test_an_orphan_with_processes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "VANISH_SECONDS", 0)
        (tmp_path / "cgroup.events").write_text("populated 1\n")
        manager: Any = None
        assert client.end_orphan(manager, "u", cgroup.Cgroup(str(tmp_path))) is False

    @pytest.mark.parametrize(
        ("record", "owned", "orphan", "seconds"),
        [
            ({"cgroup_id": 5}, True, False, 2.0),
            ({"cgroup_id": 5}, False, True, 0),
            ({}, False, True, 2.0),
            ({}, False, False, 0),
        ],
    )
    def test_how_long_a_unit_is_waited_for(
        self, monkeypatch: pytest.MonkeyPatch, record: Record, owned: bool, orphan: bool, seconds: float
    ) -> None:
        done: list[Any] = []

        class Both:
            """The manager and the cgroup."""

            def __enter__(self) -> Both:
                return self

            def __exit__(self, *_: object) -> None:
                done.append("closed")

            def __getattr__(self, name: str) -> Callable[..., bool]:
                def call(*given: Any) -> bool:
                    done.append((name, *given))
                    return True

                return call

        monkeypatch.setattr(cgroup, "owned", lambda _: Both() if owned else None)
        monkeypatch.setattr(client, "connect", lambda *, user: Both())
        monkeypatch.setattr(client, "end_orphan", lambda manager, unit, group: orphan)
        whole: Record = {"systemd_unit": "u", "systemd_user": False, "cgroup_mount": "/m", "cgroup": "/u"}
        client.remove_scope({**whole, **record})
        before = [("wait_until_empty",), ("stop", "u"), ("remove",)] if owned else []
        after = [("knows", "u"), ("reset_failed", "u"), ("wait_until_gone", "u", seconds), "closed"]
        assert done == [*before, *after]
