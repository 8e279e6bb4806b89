"""The state directory: exactly one creator, complete records, locks, and nothing left of what failed."""

import ast
import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyruntime.container import record as record_module
from pyruntime.container import store as store_module
from pyruntime.container.record import NEEDED, OPTIONAL, write_file
from pyruntime.container.store import Container, Store
from pyruntime.errors import Failure, NotFound

if TYPE_CHECKING:
    from pyruntime.container.record import Record

CONFIG = b'{"ociVersion": "1.2.0", "x": [1]}'


def record(container_id: str = "c") -> "Record":
    """Return what create puts into the record."""
    return {
        "id": container_id,
        "ociVersion": "1.2.0",
        "bundle": "/b",
        "rootfs": "/b/rootfs",
        "annotations": {"a": "b"},
        "cgroup": f"/no-such/{container_id}",
        "cgroup_mount": "/sys/fs/cgroup",
        "cgroup_made": [],
        "has_process": True,
        "later_hooks": [],
        "mounts": [],
        "own_pid_namespace": True,
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"{tmp_path}/a/root")


def entries(store: Store) -> list[str]:
    return sorted(os.listdir(store.root)) if os.path.exists(store.root) else []


def made(store: Store, container_id: str = "c") -> None:
    store.create(container_id, record(container_id), CONFIG).close()


class TestCreate:
    def test_what_is_there_afterwards(self, store: Store) -> None:
        with store.create("c", record(), CONFIG) as container:
            assert container.locked
            folder = Path(store.root) / "c"
            assert sorted(os.listdir(folder)) == ["config.json", "state.json"]
            assert folder.stat().st_mode & 0o777 == 0o700
            assert (folder / "config.json").read_bytes() == CONFIG
            written = json.loads((folder / "state.json").read_text())
            assert {**record(), **written} == written
            assert written["status"] == "creating"
            assert written["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            assert datetime.now(UTC) - datetime.fromisoformat(written["created"]) < timedelta(seconds=10)
            assert container.config() == json.loads(CONFIG)

    def test_save_created(self, store: Store) -> None:
        with store.create("c", record(), CONFIG) as container:
            container.save_created(os.getpid())
        written = json.loads((Path(store.root) / "c/state.json").read_text())
        stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        assert (written["status"], written["pid"]) == ("created", os.getpid())
        assert written["start_time"] == int(stat[22 - 3])

    def test_the_record_is_on_the_disk_before_it_has_its_name(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        fsync, rename = os.fsync, os.rename

        def synced(fd: int) -> None:
            done.append(f"sync {os.path.basename(os.readlink(f'/proc/self/fd/{fd}'))}")
            fsync(fd)

        def renamed(old: str, new: str, **more: Any) -> None:
            done.append(f"rename {os.path.basename(new)}")
            rename(old, new, **more)

        monkeypatch.setattr("posix.fsync", synced)
        monkeypatch.setattr("posix.rename", renamed)
        with store.create("c", record(), CONFIG) as container:
            assert done == ["rename config.json", "sync state.json.tmp", "rename state.json", "rename c"]
            container.save_created(os.getpid())
            assert done[-2:] == ["sync state.json.tmp", "rename state.json"]

    def test_a_taken_id(self, store: Store) -> None:
        made(store)
        before = (Path(store.root) / "c/state.json").read_bytes()
        with pytest.raises(Failure, match='container with given ID already exists: "c"'):
            store.create("c", record(), b"{}")
        assert entries(store) == ["c"]
        assert (Path(store.root) / "c/state.json").read_bytes() == before

    def test_a_file_of_that_name(self, store: Store) -> None:
        made(store, "other")
        (Path(store.root) / "c").write_text("")
        with pytest.raises(Failure, match="already exists"):
            store.create("c", record(), CONFIG)
        assert entries(store) == ["c", "other"]

    def test_exactly_one_of_many(self, store: Store) -> None:
        os.makedirs(store.root)
        for round_ in range(10):
            begin = time.monotonic() + 0.02
            pids = []
            for _ in range(6):
                pid = os.fork()
                if pid == 0:
                    status = 9
                    try:
                        while time.monotonic() < begin:
                            pass
                        store.create(f"c{round_}", record(f"c{round_}"), CONFIG)
                        status = 0
                    except Failure as failure:
                        status = 1 if "already exists" in str(failure) else 2
                    finally:
                        os._exit(status)
                pids.append(pid)
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
            assert sorted(codes) == [0, 1, 1, 1, 1, 1]
        assert entries(store) == sorted(f"c{number}" for number in range(10))

    @pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a b", "ä", "a\n", "~x", "x" * 256, "a\0b", "a:b"])
    def test_bad_id(self, store: Store, bad: str) -> None:
        calls: list[Callable[[], object]] = [lambda: store.create(bad, record(bad), CONFIG), lambda: store.open(bad)]
        for call in calls:
            with pytest.raises(Failure, match="invalid container ID format" if bad else "container id cannot be empty"):
                call()
        assert entries(store) == []

    @pytest.mark.parametrize("good", ["a", "A_b-c.d+e", "...", ".hidden", "-x", "x" * 255])
    def test_good_id(self, store: Store, good: str) -> None:
        made(store, good)
        assert store.ids() == [good]
        with store.open(good) as container:
            container.remove()
        assert entries(store) == []


@contextmanager
def limit(which: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(which)
    resource.setrlimit(which, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(which, (soft, hard))


@contextmanager
def every_descriptor_below() -> Iterator[int]:
    """Open all descriptors below the highest open one, which it returns."""
    highest = max(map(int, os.listdir("/proc/self/fd")))
    opened = [os.open("/dev/null", os.O_RDONLY)]
    while opened[-1] < highest:
        opened.append(os.open("/dev/null", os.O_RDONLY))
    try:
        yield max(highest, *opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


class TestNothingIsLeft:
    def test_no_descriptors(self, store: Store) -> None:
        os.makedirs(store.root)
        for free in range(4):
            with every_descriptor_below() as highest, limit(resource.RLIMIT_NOFILE, highest + 1 + free):
                try:
                    store.create("c", record(), CONFIG).close()
                except Failure as failure:
                    error = str(failure)
                else:
                    break
            assert "too many open files (EMFILE)" in error and "state " in error
            assert entries(store) == []
        else:
            pytest.fail("the limit was never high enough")

    @pytest.mark.parametrize("size", [0, 10, 200])
    def test_full(self, store: Store, size: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with limit(resource.RLIMIT_FSIZE, size), pytest.raises(Failure, match="make state directory"):
            store.create("c", record(), CONFIG)
        assert entries(store) == []

    @pytest.mark.parametrize("root", ["/proc/no/such", "/dev/null/x"])
    def test_a_root_that_cannot_be_made(self, root: str) -> None:
        with pytest.raises(Failure, match="make state directory"):
            Store(root).create("c", record(), CONFIG)

    def test_an_unexpected_error(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("boom")

        monkeypatch.setattr(Container, "save", fail)
        with pytest.raises(RuntimeError, match="boom"):
            store.create("c", record(), CONFIG)
        assert entries(store) == []

    def test_a_write_that_fails_keeps_the_old_content(self, tmp_path: Path) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            write_file(fd, "f", b"old")
            with limit(resource.RLIMIT_FSIZE, 1), pytest.raises(OSError, match="File too large"):
                write_file(fd, "f", b"newer")
        finally:
            os.close(fd)
        assert os.listdir(tmp_path) == ["f"] and (tmp_path / "f").read_bytes() == b"old"

    def test_a_creator_that_was_killed(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever it has left is no container, keeps nobody from using the id, and is swept."""
        made(store, "other")
        pid = os.fork()
        if pid == 0:
            monkeypatch.setattr(store_module, "write_file", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            store.create("c", record(), CONFIG)
        os.waitpid(pid, 0)
        assert len(entries(store)) == 2 and store.ids() == ["other"]
        with pytest.raises(NotFound):
            store.open("c")
        made(store)
        assert store.ids() == ["c", "other"]
        store.sweep("c")
        assert entries(store) == ["c", "other"]

    def test_sweep_leaves_alone_what_somebody_works_on(self, store: Store) -> None:
        os.makedirs(f"{store.root}/~c.1.2")
        os.makedirs(f"{store.root}/~c.d.1.2")
        fd = os.open(f"{store.root}/~c.1.2", os.O_RDONLY)
        with Container(store.root, "~c.1.2", fd) as other:
            other.lock()
            store.sweep("c")
            assert entries(store) == ["~c.1.2", "~c.d.1.2"]
        store.sweep("c")
        assert entries(store) == ["~c.d.1.2"]


class TestOpen:
    def test_unknown(self, store: Store) -> None:
        with pytest.raises(NotFound, match='container does not exist: "c"'):
            store.open("c")
        made(store, "other")
        with pytest.raises(NotFound, match='container does not exist: "c"'):
            store.open("c")

    def test_a_symbolic_link_is_no_container(self, store: Store) -> None:
        made(store, "other")
        os.symlink("other", f"{store.root}/c")
        with pytest.raises(NotFound):
            store.open("c")

    def test_deleted_while_waiting_for_the_lock(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        made(store)

        def lock(self: Container, *, wait: bool = True) -> bool:
            os.rename(f"{store.root}/c", f"{store.root}/~gone")
            return True

        monkeypatch.setattr(Container, "lock", lock)
        with pytest.raises(NotFound):
            store.open("c")

    def test_replaced_while_waiting_for_the_lock(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        made(store)

        def lock(self: Container, *, wait: bool = True) -> bool:
            os.rename(f"{store.root}/c", f"{store.root}/~gone")
            os.mkdir(f"{store.root}/c")
            return True

        monkeypatch.setattr(Container, "lock", lock)
        with pytest.raises(NotFound):
            store.open("c")

    def test_the_lock_is_exclusive(self, store: Store) -> None:
        made(store)
        with store.open("c"), store.open("c", lock=False) as second:
            assert not second.lock(wait=False)
            assert not second.lock_within(0.01)
        with store.open("c", lock=False) as second:
            assert second.lock(wait=False)

    def test_close_lets_go_also_when_a_child_has_a_copy(self, store: Store) -> None:
        made(store)
        container = store.open("c")
        copy = os.dup(container.dirfd)
        container.close()
        with store.open("c", lock=False) as second:
            assert second.lock(wait=False)
        os.close(copy)


WRONG: tuple[Any, ...] = (None, "1", 1.5, True, [], {})


class TestDamagedRecord:
    @pytest.fixture
    def file(self, store: Store) -> Path:
        with store.create("c", record(), CONFIG) as container:
            container.save_created(os.getpid())
        made(store, "other")
        return Path(store.root) / "c/state.json"

    def refused(self, store: Store) -> str:
        """Check that the container can be opened, but its record not used; return the error."""
        with store.open("c") as container:
            assert container.record == {}
            with pytest.raises(Failure) as caught:
                container.sound()
        text = str(caught.value)
        assert '"c"' in text and "state.json" in text and "delete --force" in text and "\n" not in text
        return text

    def test_truncated_at_every_byte(self, store: Store, file: Path) -> None:
        whole = file.read_bytes()
        assert len(whole) > 100
        for length in range(len(whole)):
            file.write_bytes(whole[:length])
            self.refused(store)
        file.write_bytes(whole)
        with store.open("c") as container:
            assert container.sound().record["pid"] == os.getpid()

    @pytest.mark.parametrize("text", ["[]", "null", "1", '"c"', "{}", '{"id": "c"}', "\xff", "[" * 100000])
    def test_not_a_record(self, store: Store, file: Path, text: str) -> None:
        file.write_bytes(text.encode("latin-1"))
        self.refused(store)

    @pytest.mark.parametrize("key", sorted(NEEDED))
    @pytest.mark.parametrize("value", [None, 7])
    def test_a_member_of_another_type(self, store: Store, file: Path, key: str, value: Any) -> None:
        file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
        assert repr(key) in self.refused(store)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *((key, value) for key in ("pid", "start_time", "cgroup_id", "owner_uid", "oom_kills") for value in WRONG),
            *((key, path) for key in ("bundle", "rootfs", "cgroup", "cgroup_mount") for path in ("", "x", "/a\0b")),
            *(("cgroup", "/a/../b"), ("cgroup_mount", "/.."), ("annotations", {"a": 1}), ("later_hooks", [1])),
            *(("cgroup_made", [path]) for path in (1, "", "x", "/a/..", "/a\0")),
            *(("mounts", [each]) for each in (1, [], ["/x"], ["/x", "y"], [1, 2], ["/a\0", 1], {"a": 1})),
            *(("systemd_unit", value) for value in (1, "x.scope")),
            *(("keyring", value) for value in (None, 1, "a\0b")),
        ],
        ids=repr,
    )
    def test_a_value_that_no_command_writes(self, store: Store, file: Path, key: str, value: Any) -> None:
        file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
        assert f"has no valid {key!r}" in self.refused(store)

    def test_paths_of_any_bytes(self, store: Store, file: Path) -> None:
        """What create has written is read again."""
        file.write_text(
            json.dumps({**json.loads(file.read_text()), "bundle": "/b\udcff", "annotations": {"a": "\u20ac"}})
        )
        with store.open("c") as container:
            assert container.sound().record["bundle"] == "/b\udcff"

    def test_the_record_of_another_container(self, store: Store, file: Path) -> None:
        file.write_bytes((Path(store.root) / "other/state.json").read_bytes())
        self.refused(store)

    def test_missing(self, store: Store, file: Path) -> None:
        file.unlink()
        self.refused(store)
        assert store.ids() == ["other"]

    def test_it_is_a_directory(self, store: Store, file: Path) -> None:
        file.unlink()
        file.mkdir()
        self.refused(store)

    def test_it_can_be_removed(self, store: Store, file: Path) -> None:
        file.write_text("{")
        with store.open("c") as container:
            container.remove()
        assert entries(store) == ["other"]

    @pytest.mark.parametrize("content", [b"{", b"[]", None])
    def test_a_damaged_config(self, store: Store, file: Path, content: bytes | None) -> None:
        config = file.with_name("config.json")
        config.unlink()
        if content is not None:
            config.write_bytes(content)
        with store.open("c") as container, pytest.raises(Failure, match=r"config\.json"):
            container.config()


class TestRemove:
    def test_everything_goes(self, store: Store) -> None:
        made(store)
        with store.open("c") as container:
            (Path(store.root) / "c/start.sock").touch()
            container.remove()
            assert container.gone()
        assert entries(store) == []

    def test_twice(self, store: Store) -> None:
        made(store)
        with store.open("c") as container:
            container.remove()
            container.remove()

    def test_the_id_is_free_from_the_first_moment(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        made(store)
        seen = []
        real = store_module.empty

        def empty(dirfd: int) -> None:
            seen.append(store.ids())
            real(dirfd)

        monkeypatch.setattr(store_module, "empty", empty)
        with store.open("c") as container:
            container.remove()
        assert seen == [[]]

    def test_ids_without_a_root(self, store: Store) -> None:
        assert store.ids() == []


def test_the_type_of_a_record_names_what_is_checked() -> None:
    """The class is for type checkers alone, so it is read, and not imported."""
    tree = ast.parse(Path(record_module.__file__).read_text())
    (record_class,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Record")
    fields = {
        ast.unparse(each.target): ast.unparse(each.annotation)
        for each in record_class.body
        if isinstance(each, ast.AnnAssign)
    }
    checked = {**NEEDED, **OPTIONAL}
    assert fields.keys() - checked.keys() == {"status", "own_pid_namespace"}, "what nobody is led astray by"
    assert checked.keys() <= fields.keys()
    sound = {"str": "/a/x.scope", "int": 3, "bool": True, "list[str]": [], "dict[str, str]": {}, "list[list[Any]]": []}
    for key, is_sound in checked.items():
        wrong = [kind for kind, value in sound.items() if kind != fields[key] and value not in ([], {})]
        if key != "systemd_unit":  # a name without a slash
            assert is_sound(sound[fields[key]]), key
        assert not any(is_sound(sound[kind]) for kind in wrong), key
