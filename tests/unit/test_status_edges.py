"""Status and statistics: letters, errnos and lines at the edge of what is taken."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.recording import failing

from pyruntime import kernel
from pyruntime.container import record as records
from pyruntime.container import stats, status
from pyruntime.container.cgroup import Cgroup
from pyruntime.container.store import Store
from pyruntime.errors import Failure

if TYPE_CHECKING:
    from pyruntime.container.record import Record

RECORD: Record = {
    "id": "c",
    "ociVersion": "1.2.0",
    "bundle": "/",
    "rootfs": "/b/../r",
    "created": "",
    "boot_id": "b",
    "cgroup": "/a/c.scope",
    "cgroup_mount": "/sys/fs/cgroup/",
    "cgroup_made": ["/a", "/a/c.scope"],
    "mounts": [["/x", 0]],
    "annotations": {"a": "b"},
    "has_process": False,
    "later_hooks": ["poststop"],
}


class TestStatus:
    def test_stat(self) -> None:
        fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
        assert status.stat_of(os.getpid()) == ("R", int(fields[19]))
        assert status.start_time(os.getpid()) == int(fields[19])
        assert status.parent_of(os.getpid()) == os.getppid() and status.parent_of(1) == 0
        assert status.stat_fields(1 << 22) == []
        assert (status.stat_of(1 << 22), status.parent_of(1 << 22)) == (("X", -1), 0)

    def test_what_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("posix.open", failing(errno.EMFILE))
            with pytest.raises(Failure, match=r"^read /proc/7/stat: too many open files \(EMFILE\)$"):
                status.stat_of(7)
        with monkeypatch.context() as patch:
            patch.setattr("posix.read", failing(errno.ESRCH))
            assert status.stat_of(os.getpid()) == ("X", -1), "it ended when it was open"

    @pytest.mark.parametrize(("number", "gone"), [(errno.ESRCH, True), (errno.EINVAL, True), (errno.EMFILE, False)])
    def test_no_pidfd(self, monkeypatch: pytest.MonkeyPatch, number: int, gone: bool) -> None:
        monkeypatch.setattr(kernel, "pidfd_open", failing(number))
        record: Record = {"pid": 5, "boot_id": records.boot_id()}
        if gone:
            assert status.open_init(record) == (0, -1, "X")
        else:
            with pytest.raises(OSError, match=os.strerror(number)):
                status.open_init(record)

    @pytest.mark.parametrize("pid", [None, "5", True, 1, 1 << 31])
    def test_no_pid(self, monkeypatch: pytest.MonkeyPatch, pid: Any) -> None:
        monkeypatch.setattr(kernel, "pidfd_open", lambda _: pytest.fail("it is not asked for"))
        assert status.open_init({"pid": pid, "boot_id": records.boot_id()}) == (0, -1, "X")

    @pytest.mark.parametrize("letter", ["Z", "X", "x", "S", "T"])
    def test_letters(self, monkeypatch: pytest.MonkeyPatch, letter: str) -> None:
        monkeypatch.setattr(status, "stat_of", lambda _: (letter, 7))
        record: Record = {"pid": os.getpid(), "boot_id": records.boot_id(), "start_time": 7}
        pid, pidfd, found = status.open_init(record)
        if pidfd >= 0:
            os.close(pidfd)
        assert (pid, found) == ((os.getpid(), letter) if letter in "ST" else (0, "X"))

    def test_errors_close_the_pidfd(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """The descriptors are counted after the test."""
        with store.create("c", RECORD, b"{}") as container:
            container.save_created(os.getpid())
            monkeypatch.setattr(Cgroup, "frozen", failing(errno.EIO))
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                status.status_of(container)
            monkeypatch.setattr(status, "stat_of", failing(errno.EIO))
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                status.open_init(container.record)

    @pytest.mark.parametrize("letter", ["T", "t", "S"])
    def test_the_socket_of_a_held_init_is_not_asked(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, letter: str
    ) -> None:
        asked: list[Any] = []

        def connect(*given: Any) -> int:
            asked.append(given)
            return os.open("/dev/null", os.O_RDONLY)

        monkeypatch.setattr(kernel, "unix_connect", connect)
        with store.create("c", RECORD, b"{}") as container:
            container.save_created(os.getpid())
            Path(container.path, "start.sock").touch()
            monkeypatch.setattr(status, "stat_of", lambda _: (letter, container.record["start_time"]))
            found = status.status_of(container)
            found.close()
            assert found.status == "created"
            assert asked == ([(container.dirfd, "start.sock")] if letter == "S" else [])

    @pytest.mark.parametrize("held", [False, True])
    def test_other_errors_of_the_socket(self, store: Store, monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
        with store.create("c", RECORD, b"{}") as container:
            assert status.waits_for_start(container, held=held) is False
            monkeypatch.setattr(kernel, "unix_connect", failing(errno.EMFILE))
            monkeypatch.setattr("posix.stat", failing(errno.EMFILE))
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                status.waits_for_start(container, held=held)

    def test_names_of_owners(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "passwd").write_bytes(b"short:x\n\xe4:x:0:0\nann:x:1000:10:\x0b\nbob:x:1000:1\n2000:x:3000:1:::\n")
        real = os.open
        monkeypatch.setattr(
            "posix.open", lambda path, flags, **_: real(str(path).replace("/etc", str(tmp_path)), flags)
        )
        names = {uid: status.owner_name(uid) for uid in (0, 1000, 2000, 3000, None)}
        assert names == {0: "root", 1000: "ann", 2000: "2000", 3000: "2000", None: "None"}
        monkeypatch.setattr("posix.open", failing(errno.ENOENT))
        assert status.owner_name(1000) == "1000"

    def test_document_without_annotations(self, store: Store) -> None:
        with store.create("c", {**RECORD, "annotations": {}}, b"{}") as container:
            container.record["owner_uid"] = 0
            now = status.Status("stopped")
            assert (now.pid, now.pidfd) == (0, -1)
            document = status.state_document(container, now)
            assert (document["annotations"], document["owner"], document["pid"]) == ({}, "root", 0)


class TestStatistics:
    @pytest.mark.parametrize(
        ("text", "value"), [("max\n", (1 << 64) - 1), ("7\n", 7), ("-1\n", 0), ("", 0), ("x", 0), (" 5 ", 5)]
    )
    def test_number(self, text: str, value: int) -> None:
        assert stats.number(text) == value

    def test_lines_of_other_forms_are_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "io.stat").write_text("8:x rbytes=1\nx:8 rbytes=1\n(unknown) rbytes=1\n8:1 rbytes=3 x=1 rbytes2\n")
        group = Cgroup(str(tmp_path))
        assert stats.block_io(group) == {
            "ioServiceBytesRecursive": [{"major": 8, "minor": 1, "op": "Read", "value": 3}]
        }
        assert stats.keyed("a 1\nb\nc 1 2\nd max\n") == {"a": 1, "d": (1 << 64) - 1}

    def test_sizes_of_huge_pages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("hugetlb.2MB.current", "hugetlb.2MB.rsvd.current", "hugetlb.1GB.max", "x.hugetlb.3MB.current"):
            (tmp_path / name).touch()
        group = Cgroup(str(tmp_path))
        assert stats.page_sizes(group) == ["2MB"]
        monkeypatch.setattr("posix.listdir", failing(errno.ENODEV))
        assert stats.page_sizes(group) == []
        monkeypatch.setattr("posix.listdir", failing(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            stats.page_sizes(group)

    def test_errors_but_of_what_is_switched_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Cgroup, "read", failing(errno.EOPNOTSUPP))
        assert stats.read(Cgroup("/x"), "x") == ""
        monkeypatch.setattr(Cgroup, "read", failing(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            stats.read(Cgroup("/x"), "x")

    def test_a_threaded_cgroup_counts_threads(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.threads").write_text("1\n2\n3\n")
        assert stats.pids(Cgroup(str(tmp_path))) == {"current": 3}

    def test_swap_counts_with_memory(self, tmp_path: Path) -> None:
        for name, text in {"memory.swap.current": "0", "memory.current": "7", "memory.swap.max": "5"}.items():
            (tmp_path / name).write_text(f"{text}\n")
        assert stats.memory(Cgroup(str(tmp_path)))["swap"] == {"limit": 5, "usage": 7, "failcnt": 0}
        (tmp_path / "memory.swap.current").write_text("3\n")
        (tmp_path / "memory.current").unlink()
        found = stats.memory(Cgroup(str(tmp_path)))
        assert found["swap"] == {"limit": 5, "usage": 3, "failcnt": 0}
        assert found["usage"] == {"limit": 0, "failcnt": 0} and "cache" not in found and "raw" not in found

    def test_all_names(self) -> None:
        found = stats.statistics(Cgroup("/no/such"))
        assert list(found["cpuset"].items()) == [
            *((name, 0) for name in ("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate")),
            *((name, 0) for name in ("memory_spread_page", "memory_spread_slab", "memory_pressure")),
            *((name, 0) for name in ("sched_load_balance", "sched_relax_domain_level")),
        ]
