"""The state directory and its records: what each check refuses and takes, by its last word and value."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.recording import failing

from pyruntime.container import record as records
from pyruntime.container import store as store_module
from pyruntime.container.store import Container, Store
from pyruntime.errors import Failure, NotFound
from pyruntime.plan.unit_properties import Property

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
OPTIONAL: dict[str, Any] = {
    "pid": -1,
    "start_time": 0,
    "owner_uid": 0,
    "oom_kills": 0,
    "cgroup_id": 0,
    "keyring": "",
    "note": "1:2",
    "systemd_unit": "c.scope",
    "systemd_user": False,
    "shared_namespaces": ["pid"],
}


class TestRecord:
    @pytest.fixture
    def read(self, tmp_path: Path) -> Any:
        """A function that writes a record and reads it as that of the container "c"."""

        def read(record: dict[str, Any]) -> Record:
            (tmp_path / "s").write_text(json.dumps(record))
            fd = os.open(tmp_path, os.O_RDONLY)
            try:
                return records.read_record(fd, "s", "/root/c/s", "c")
            finally:
                os.close(fd)

        return read

    def test_all_members(self, read: Any) -> None:
        assert read(RECORD) == RECORD
        assert read({**RECORD, **OPTIONAL}) == {**RECORD, **OPTIONAL}
        assert read({**RECORD, "cgroup_made": [], "mounts": [], "annotations": {}, "later_hooks": [], "x": 1})["x"] == 1

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("cgroup", path) for path in ("/", "/a/", "/a//b", "/a/.", "/..", "a", "/a\0")),
            *(("cgroup_mount", path) for path in ("/", "/a/./b", "a/", "/a/../b", 1)),
            *(("cgroup_made", each) for each in (["/b"], ["/a/c"], ["/a/c.scope/d"], "/a", [1])),
            *(("mounts", [each]) for each in (["/", 1], ["/x", -1], ["/x", True], ["/x", 1, 2], ["/x/..", 1], "/x")),
            *(("bundle", path) for path in ("b", "/a\0", "", 1)),
            *(("annotations", value) for value in (1, {"a": None})),
            *(("later_hooks", value) for value in ("x", ["a", 1], 1)),
            *(("has_process", value) for value in (0, 1, None)),
            *(("systemd_unit", value) for value in ("c.service", "a/c.scope", "d.scope", None)),
            *(("systemd_user", value) for value in (0, None)),
            *(("shared_namespaces", value) for value in ("x", [1])),
            *(("cgroup_id", value) for value in (-1, True)),
            *(("note", value) for value in ("a\0", 1)),
            *((key, True) for key in ("pid", "start_time", "owner_uid", "oom_kills")),
        ],
        ids=repr,
    )
    def test_unsound(self, read: Any, key: str, value: Any) -> None:
        with pytest.raises(Failure) as caught:
            read({**RECORD, **OPTIONAL, key: value})
        name = "systemd_unit" if key == "cgroup" and value == "/a" else key
        assert str(caught.value) == f'the state record of container "c", /root/c/s, has no valid {name!r}'

    def test_a_unit_without_its_manager(self, read: Any) -> None:
        with pytest.raises(Failure, match="has no valid 'systemd_unit'"):
            read({**RECORD, "systemd_unit": "c.scope"})

    def test_of_another_container(self, read: Any) -> None:
        with pytest.raises(Failure) as caught:
            read({**RECORD, "id": "d"})
        assert str(caught.value) == 'the state record of container "c", /root/c/s, is that of another container, "d"'

    def test_no_record(self, read: Any) -> None:
        with pytest.raises(Failure, match=r"^the state record of container \"c\", /root/c/s, is not an object$"):
            read([])

    def test_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_042)
        assert records.rfc3339() == "2023-11-14T22:13:20.000000042Z"

    def test_a_long_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also when it grows, and when write(2) takes a part at a time."""
        data = os.urandom((1 << 20) + 7)
        real = os.write
        monkeypatch.setattr("posix.write", lambda fd, part: real(fd, bytes(part[:300001])))
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            records.write_file(fd, "f", data, sync=False)
            assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
            monkeypatch.setattr("posix.fstat", lambda fd: os.stat_result((0,) * 10))
            assert records.read_file(fd, "f") == data
            os.symlink("f", tmp_path / "link")
            with pytest.raises(OSError, match="symbolic links"):
                records.read_file(fd, "link")
        finally:
            monkeypatch.undo()
            os.close(fd)

    def test_without_sync(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("posix.fsync", failing(errno.EIO))
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            records.write_file(fd, "f", b"x", sync=False)
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                records.write_file(fd, "f", b"y")
        finally:
            os.close(fd)
        assert (tmp_path / "f").read_bytes() == b"x" and os.listdir(tmp_path) == ["f"]


class TestStore:
    def made(self, store: Store, *ids: str) -> None:
        for each in ids:
            store.create(each, {**RECORD, "id": each}, b'{"linux": {"resources": {"pids": {"limit": 7}}}}').close()

    def test_ids_that_are_told_why(self, store: Store) -> None:
        with pytest.raises(Failure) as caught:
            store.open("x" * 256)
        assert str(caught.value) == "invalid container ID format: 256 characters, at most 255 are allowed"
        with pytest.raises(Failure) as caught:
            store.open("a b")
        assert str(caught.value) == "invalid container ID format: 'a b'; use letters, digits and _ + . -"

    def test_directories_are_made_so_that_users_find_their_own(self, tmp_path: Path) -> None:
        os.umask(os.umask(0o022))
        self.made(Store(f"{tmp_path}/a/b/root"), "c")
        assert {(tmp_path / path).stat().st_mode & 0o7777 for path in ("a", "a/b", "a/b/root")} == {0o711}

    def test_a_root_that_is_exchanged(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_module, "trusted", lambda path: ("/elsewhere", True))
        with pytest.raises(Failure) as caught:
            self.made(store, "c")
        words = "was replaced while its directories were made"
        assert str(caught.value) == f"the state root {store.root} {words}"
        assert os.listdir(store.root) == []

    def test_gone(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made(store, "c")
        with store.open("c") as container:
            assert not container.gone()
            monkeypatch.setattr("posix.stat", failing(errno.EACCES))
            with pytest.raises(Failure, match=rf"^look at state directory {container.path}: .*\(EACCES\)$"):
                container.gone()
            monkeypatch.setattr("posix.stat", failing(errno.ENOTDIR))
            assert container.gone()

    def test_errors_of_the_directory(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made(store, "c")
        with monkeypatch.context() as patch:
            patch.setattr("posix.open", failing(errno.EMFILE))
            with pytest.raises(Failure) as caught:
                store.open("c")
        assert str(caught.value) == f"open state directory {store.root}/c: too many open files (EMFILE)"
        with monkeypatch.context() as patch:
            patch.setattr("posix.listdir", failing(errno.EMFILE))
            with pytest.raises(Failure) as caught:
                store.ids()
        assert str(caught.value) == f"list state directory {store.root}: too many open files (EMFILE)"
        with store.open("c") as container:
            monkeypatch.setattr("posix.rename", failing(errno.EROFS))
            with pytest.raises(Failure) as caught:
                container.remove()
        assert str(caught.value) == f"remove state directory {store.root}/c: read-only file system (EROFS)"

    def test_a_record_that_cannot_be_read_for_now(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made(store, "c")
        monkeypatch.setattr("pyruntime.container.record.read_file", failing(errno.EMFILE))
        with pytest.raises(Failure, match=r"can't be read: too many open files \(EMFILE\)$"):
            store.open("c")

    @pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENXIO, errno.EUCLEAN, errno.EISDIR])
    def test_one_that_never_will(self, store: Store, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.made(store, "c")
        monkeypatch.setattr("pyruntime.container.record.read_file", failing(number))
        with store.open("c") as container:
            assert container.damage is not None and container.damage.errno == number
            assert container.damage.hint == "delete --force removes the container"

    def test_notes(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made(store, "c")
        written: list[Any] = []
        monkeypatch.setattr(store_module, "write_note", lambda fd, note: written.append((fd, note)))
        with store.open("c") as container:
            here = os.stat(container.path)
            note = f"{here.st_dev:x}:{here.st_ino:x}"
            assert container.note() == note == container.record["note"]
            container.save_cgroup(container.dirfd)
            assert written == [(container.dirfd, note)]
        with store.open("c") as container:
            assert container.record["cgroup_id"] == here.st_ino

    def test_resources(self, store: Store) -> None:
        self.made(store, "c")
        with store.open("c") as container:
            assert container.resources() == {"pids": {"limit": 7}}
            container.save_resources({"memory": {"limit": 9}})
            assert container.resources() == {"memory": {"limit": 9}}
            (Path(container.path) / "resources.json").write_text("[]")
            with pytest.raises(Failure) as caught:
                container.resources()
            assert str(caught.value) == f"{container.path}/resources.json is not an object"

    @pytest.mark.parametrize("config", [b"{}", b'{"linux": null}', b'{"linux": {}}'])
    def test_no_resources(self, store: Store, config: bytes) -> None:
        with store.create("c", RECORD, config) as container:
            assert container.resources() == {}

    def test_each_matching(self, store: Store) -> None:
        self.made(store, "a1", "a2", "a3", "b1", "xa1")
        seen: list[str] = []

        def act(container_id: str) -> None:
            seen.append(container_id)
            if container_id == "a1":
                raise NotFound("gone")
            if container_id != "b1":
                raise Failure(f"no {container_id}")

        store.each_matching("b.*", act)
        with pytest.raises(Failure) as caught:
            store.each_matching("a[0-9]", act)
        assert str(caught.value) == "no a2; no a3" and seen == ["b1", "a1", "a2", "a3"]
        with pytest.raises(Failure, match=r"^--regex '\(': missing \), unterminated subpattern"):
            store.each_matching("(", act)

    def test_sweep(self, store: Store) -> None:
        self.made(store, "c")
        left = ["~c.1.x", "~c.x.1", "~c.1", "~cc.1.2", "~d.1.2", "c.1.2"]
        for name in (*left, "~c.1.2", "~c.33.44"):
            os.makedirs(f"{store.root}/{name}/below/it")
            Path(f"{store.root}/{name}/file").touch()
        Path(f"{store.root}/~c.5.6").touch()
        store.sweep("c")
        assert sorted(os.listdir(store.root)) == sorted([*left, "c", "~c.5.6"])

    def test_aside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.monotonic_ns", lambda: 5)
        assert store_module.aside_path("/r", "x" * 255) == f"/r/~{'x' * 200}.{os.getpid()}.5"

    def test_lock_within(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made(store, "c")
        asked = []

        def attempts(seconds: float, longest: float) -> Any:
            asked.append((seconds, longest))
            return iter([None, None])

        monkeypatch.setattr(store_module, "attempts", attempts)
        with store.open("c"), store.open("c", lock=False) as second:
            assert second.lock(wait=False) is False
            assert not second.lock_within(7) and not second.locked
        with store.open("c", lock=False) as second:
            assert second.lock_within(7) and second.locked
        assert asked == [(7, 0.05)] * 2

    def test_systemd_is_asked_with_the_record(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        for name in ("start_scope", "set_unit_properties"):
            monkeypatch.setattr(f"pyruntime.container.systemd.{name}", lambda *given: asked.append(given))
        container = Container("/r", "c", -1)
        first, second = [Property("p", "s", "", "")], [Property("q", "s", "", "")]
        container.start_scope("c.scope", first, 5)
        container.set_unit_properties(second)
        assert asked == [(container.record, "c.scope", first, 5), (container.record, second)]
        container.close()


def test_the_time_of_a_record_is_now() -> None:
    assert records.rfc3339()[:10] in {time.strftime("%Y-%m-%d", time.gmtime(time.time() - each)) for each in (0, 5)}
