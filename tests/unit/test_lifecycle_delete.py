"""delete: what is ended, unmounted, removed and run, in which order, and what is left alone."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.containers import World
from support.recording import Recorder

from pyruntime import kernel
from pyruntime.container import cgroup
from pyruntime.container.store import Container
from pyruntime.errors import Failure, NotFound
from pyruntime.host.data import Place
from pyruntime.lifecycle import delete, place


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What destroy does, each part by its name."""
    done: list[str] = []
    monkeypatch.setattr(delete, "end_processes", lambda _: done.append("end"))
    monkeypatch.setattr(delete, "unmount", lambda path, before: done.append(f"unmount {path} {before}"))
    monkeypatch.setattr(delete, "remove_cgroup", lambda _: done.append("cgroup"))
    monkeypatch.setattr(delete, "run_poststop", lambda _: done.append("poststop"))
    monkeypatch.setattr(Container, "remove", lambda _: done.append("remove"))
    return done


class TestOne:
    def test_stopped(self, world: World) -> None:
        world.add("stopped")
        delete.delete(world.root, "c")
        assert os.listdir(world.root) == []

    @pytest.mark.parametrize("status", ["created", "running", "paused"])
    def test_not_stopped(self, world: World, status: str) -> None:
        world.add(status)
        with pytest.raises(Failure) as raised:
            delete.delete(world.root, "c")
        said = f"cannot delete container c that is not stopped: {status}; kill it first, or use --force"
        assert str(raised.value) == said and os.listdir(world.root) == ["c"]

    def test_by_force(self, world: World) -> None:
        pid = world.add("running")
        delete.delete(world.root, "c", force=True)
        assert os.listdir(world.root) == [] and world.end(pid) == signal.SIGKILL

    def test_none(self, world: World) -> None:
        with pytest.raises(NotFound, match=r'^container does not exist: "c"$'):
            delete.delete(world.root, "c")
        left = Path(world.root, "~c.1.2")
        left.mkdir(parents=True)
        delete.delete(world.root, "c", force=True)
        assert not left.exists(), "what a killed create has left"

    def test_matching(self, world: World) -> None:
        for name, status in (("a1", "stopped"), ("a2", "running"), ("b", "stopped")):
            world.add(status, name)
        with pytest.raises(Failure, match=r"^cannot delete container a2 that is not stopped: running"):
            delete.delete_matching(world.root, "a.")
        assert sorted(os.listdir(world.root)) == ["a2", "b"]
        delete.delete_matching(world.root, "a.", force=True)
        assert os.listdir(world.root) == ["b"]

    def test_by_force_while_a_command_works_on_it(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its processes are killed, so that the command fails and lets go."""
        world.add("running")
        killed: list[str] = []
        with world.store.open("c") as other:

            def kill_all(container: Container) -> None:
                killed.append(container.id)
                other.unlock()

            monkeypatch.setattr(delete, "kill_all", kill_all)
            delete.open_by_force(world.store, "c").close()
            assert killed == ["c"]
            other.lock()
            monkeypatch.setattr(delete, "kill_all", lambda _: None)
            monkeypatch.setattr(delete, "LOCK_SECONDS", 0.0)
            with pytest.raises(Failure) as raised:
                delete.open_by_force(world.store, "c")
        assert str(raised.value) == 'cannot delete container "c": another command is working on it'


class TestDestroy:
    MOUNTS = (("/b/rootfs", 5), ("/b/rootfs/x", 6), ("/b/rootfs", 7))

    def test_order(self, world: World, order: list[str]) -> None:
        """Mounts of the root file system alone, the last first; the state goes when all the rest has gone."""
        delete.destroy(world.make(mounts=[list(each) for each in self.MOUNTS]))
        assert order == ["end", "unmount /b/rootfs 7", "unmount /b/rootfs 5", "cgroup", "poststop", "remove"]

    def test_mounts_of_another_boot(self, world: World, order: list[str]) -> None:
        container = world.make(mounts=[["/b/rootfs", 5]])
        container.record["boot_id"] = "before"
        delete.destroy(container)
        assert order == ["end", "cgroup", "poststop", "remove"]

    def test_one_that_is_gone(self, world: World, order: list[str]) -> None:
        container = world.make()
        os.rename(container.path, f"{container.path}-elsewhere")
        delete.destroy(container)
        assert (order, container.dirfd) == ([], -1)

    def test_a_damaged_record(self, world: World, order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the rest nothing is known."""
        container = world.make()
        container.damage = Failure("damaged")
        monkeypatch.setattr(delete, "record_from_config", lambda _: {})
        delete.destroy(container)
        assert order == ["end", "poststop", "remove"]

    @pytest.mark.parametrize(("unit", "called"), [({"systemd_unit": "c.scope"}, "systemd"), ({}, "cgroup")])
    def test_cgroup(self, monkeypatch: pytest.MonkeyPatch, unit: dict[str, str], called: str) -> None:
        done: list[Any] = []
        monkeypatch.setattr("pyruntime.container.systemd.remove_scope", lambda record: done.append(("systemd", record)))
        monkeypatch.setattr(cgroup, "remove_made", lambda record: done.append(("cgroup", record)))
        record: Any = {"cgroup": "/c", **unit}
        delete.remove_cgroup(record)
        assert done == [(called, record)]

    @pytest.mark.parametrize(
        ("second", "words"), [(OSError(errno.EIO, "Bad"), "bad (EIO)"), (Failure("busy", hint="wait"), "busy; wait")]
    )
    def test_a_failed_clean_up(self, monkeypatch: pytest.MonkeyPatch, second: Exception, words: str) -> None:
        def fail(_: object) -> None:
            raise second

        monkeypatch.setattr(delete, "destroy", fail)
        first = Failure("create")
        delete.clean_up(None, first)  # type: ignore[arg-type]
        assert str(first) == f"create (and the clean-up failed: {words})"
        delete.clean_up(None, KeyboardInterrupt())  # type: ignore[arg-type]


class TestProcesses:
    def test_of_the_cgroup_too(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        killed: list[str] = []
        monkeypatch.setattr(delete, "kill_all", lambda container: killed.append(container.id))
        world.add("stopped")
        with world.store.open("c") as container:
            delete.end_processes(container)
        assert killed == ["c"]

    def test_an_ancestor_is_never_killed(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        with world.make() as container:
            container.save_created(os.getpid())
            monkeypatch.setattr(delete, "kernel", Recorder(kernel, pidfd_send_signal=lambda *_: pytest.fail("killed")))
            with pytest.raises(Failure) as raised:
                delete.end_processes(container)
        said = f'container "c": its record names process {os.getpid()}, an ancestor of this command'
        assert str(raised.value) == said and os.getppid() in delete.ancestors()

    @pytest.mark.parametrize("gone", [True, False])
    def test_init_ends_before_or_not_at_all(self, world: World, monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
        pid = world.add("running")
        answer = ProcessLookupError(3, "gone") if gone else None
        recorder = Recorder(kernel, pidfd_send_signal=answer, poll=lambda *_: [])
        with world.store.open("c") as container:
            monkeypatch.setattr(delete, "kernel", recorder)
            if gone:
                delete.end_processes(container)
                assert recorder.named("poll") == []
                return
            with pytest.raises(Failure) as raised:
                delete.end_processes(container)
        assert str(raised.value) == f'container "c": init {pid} was killed but does not exit'
        assert [call[1] for call in recorder.named("poll")] == [10000]


class TestMounts:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> Recorder:
        recorder = Recorder(kernel, mount_setattr=None, umount2=None)
        monkeypatch.setattr(delete, "kernel", recorder)
        return recorder

    def test_a_new_one(self, calls: Recorder, tmp_path: Path) -> None:
        """It is made private first, or its peers would lose theirs."""
        delete.unmount(str(tmp_path), delete.mount_id(str(tmp_path)) + 1)
        recursive, private, lazy = 0x8000 | 0x100, 1 << 18, 2 | 8
        assert calls.calls == [
            ("mount_setattr", -100, str(tmp_path), recursive, 0, 0, private),
            ("umount2", str(tmp_path), lazy),
        ]

    def test_an_older_one(self, calls: Recorder, tmp_path: Path) -> None:
        delete.unmount(str(tmp_path), delete.mount_id(str(tmp_path)))
        delete.unmount(f"{tmp_path}/none", 5)
        assert calls.calls == []

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM])
    def test_refused(self, calls: Recorder, number: int) -> None:
        calls.answers["umount2"] = OSError(number, os.strerror(number))
        if number == errno.EINVAL:
            delete.unmount("/", -1)
            return
        with pytest.raises(Failure, match=r"^unmount /: operation not permitted \(EPERM\)$"):
            delete.unmount("/", -1)


class TestDamagedRecord:
    def recovered(
        self, world: World, monkeypatch: pytest.MonkeyPatch, noted: bool, config: bytes, driver: bool = False
    ) -> Any:
        asked: list[Any] = []

        def find(config: Any, container_id: str, euid: int, *, systemd: bool) -> Place:
            asked.append((config, container_id, systemd))
            if systemd is not driver:
                raise Failure("not for this driver")
            unit = "c.scope" if systemd else ""
            return Place(mount=str(world.mount), controllers=(), path="/c", missing=[], shared={}, unit=unit)

        with world.make(config=config) as container:
            monkeypatch.setattr(place, "place", find)
            note = container.note() if noted else "another"
            monkeypatch.setattr(delete, "note_on", lambda path: note if path == f"{world.mount}/c" else None)
            record = delete.record_from_config(container)
            assert all(each[1] == "c" for each in asked)
            return record, [each[0]["linux"]["cgroupsPath"] for each in asked], container.note()

    @pytest.mark.parametrize("systemd", [False, True])
    def test_with_the_note(self, world: World, monkeypatch: pytest.MonkeyPatch, systemd: bool) -> None:
        config = json.dumps({"linux": {"cgroupsPath": "/p"}}).encode()
        record, asked, note = self.recovered(world, monkeypatch, True, config, systemd)
        expected = {
            "cgroup": "/c", "cgroup_mount": str(world.mount), "cgroup_id": os.stat(world.mount / "c").st_ino,
            "note": note,
        }  # fmt: skip
        unit = {"systemd_unit": "c.scope", "systemd_user": os.geteuid() != 0} if systemd else {}
        assert record == {**expected, **unit} and set(asked) == {"/p"}

    def test_of_somebody_else(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.recovered(world, monkeypatch, False, b"{}")[:2] == ({}, [None, None])

    def test_a_config_that_is_none(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """The default place is looked at, where it is not even a JSON document; a wrong one has no place."""
        assert self.recovered(world, monkeypatch, False, b"{")[:2] == ({}, [None, None])

    def test_a_config_with_other_types(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.recovered(world, monkeypatch, True, b'{"linux": 5}')[:2] == ({}, [])


class TestPoststop:
    def config(self, *hooks: object) -> bytes:
        return json.dumps({"ociVersion": "1.2.0", "hooks": {"poststop": hooks}}).encode()

    def test_all_are_run(self, world: World, tmp_path: Path, warnings: list[str]) -> None:
        """With the container's state, stopped, on standard input; those that fail are warnings."""
        script = f"cat > {tmp_path}/out; exit 3"
        config = self.config({"path": "/bin/sh", "args": ["sh", "-c", script]}, {"path": "/no-such/hook"})
        with world.make(config=config, later_hooks=["poststop"], bundle="/") as container:
            delete.run_poststop(container)
        told = json.loads((tmp_path / "out").read_text())
        assert (told["id"], told["status"], told["bundle"]) == ("c", "stopped", "/")
        assert len(warnings) == 2
        assert "exit status 3" in warnings[0] and "[config.json#/hooks/poststop/0]" in warnings[0]
        assert "/no-such/hook" in warnings[1] and "[config.json#/hooks/poststop/1]" in warnings[1]

    def test_there_are_none(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        with world.make() as container:
            assert delete.poststop_steps(container) == []
            monkeypatch.setattr(Container, "config", lambda _: pytest.fail("it need not be read"))
            delete.run_poststop(container)

    @pytest.mark.parametrize(
        ("config", "why"),
        [(b'{"hooks": {"poststop": [{}]}}', "KeyError: 'ociVersion'"), (b"[]", "config.json is not an object")],
    )
    def test_a_config_that_was_changed(self, world: World, warnings: list[str], config: bytes, why: str) -> None:
        with world.make(config=config, later_hooks=["poststop"]) as container:
            delete.run_poststop(container)
        assert len(warnings) == 1
        assert warnings[0].startswith("the poststop hooks are not run: ") and warnings[0].endswith(why)
