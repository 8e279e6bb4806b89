"""create: what is asked of the plan, what the record says, and what is taken back when the plan fails."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.containers import World
from support.recording import Recorder

from pyruntime.container import cgroup
from pyruntime.container.store import Container
from pyruntime.engine import foreground, launch
from pyruntime.errors import Failure, InvalidConfig
from pyruntime.host import probe
from pyruntime.lifecycle import create, delete, notify, protection

CONFIG: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
    "hooks": {"poststop": [{"path": "/x"}], "poststart": []},
    "annotations": {"a": "b"},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "cgroupsPath": "/g/c"},
}


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """With the kernel's limits, and a bundle; this process is root."""
    monkeypatch.setattr(probe, "CGROUP_MOUNTS", (str(world.mount),))
    monkeypatch.setattr("posix.geteuid", lambda: 0)
    monkeypatch.setattr(protection, "passed", True)
    world.mount.mkdir()
    (world.mount / "cgroup.controllers").write_text("memory pids\n")
    (world.place / "bundle" / "rootfs").mkdir(parents=True)
    return world


def asked(world: World, config: dict[str, Any] = CONFIG, **parameters: Any) -> create.Creation:
    (world.place / "bundle" / "config.json").write_text(json.dumps(config))
    return create.Creation(f"{world.place}/bundle", **parameters)


def prepared(world: World, config: dict[str, Any] = CONFIG, **parameters: Any) -> create.Request:
    return create.prepare(world.root, "c", asked(world, config, **parameters))


class Launch:
    """Stands in for the engine: notes the slots, adds some, and fails if told to."""

    def __init__(self, failure: BaseException | None = None, **slots: Any) -> None:
        self.failure, self.slots = failure, slots
        self.given: dict[str, Any] = {}
        self.closed = False

    def __call__(self, _plan: Any, slots: dict[str, Any]) -> Any:
        self.given = dict(slots)
        slots.update(self.slots)
        if self.failure is not None:
            raise self.failure
        return self

    def close(self) -> None:
        self.closed = True


class TestPrepare:
    def test_inputs_of_the_plan(self, world: World) -> None:
        os.symlink("bundle", world.place / "link")
        creation = asked(
            world, console_socket="/s", pidfd_socket="/p", pid_file="/f", preserve_fds=3, listen_fds=2, no_pivot=True,
            no_new_keyring=True, warnings=["w"],
        )  # fmt: skip
        creation.bundle = f"{world.place}/link"
        request = create.prepare(world.root, "c", creation)
        wishes = request.wishes
        assert (wishes.id, wishes.bundle) == ("c", f"{world.place}/bundle"), "without links"
        assert (wishes.console_socket, wishes.pidfd_socket, wishes.pid_file) == ("/s", "/p", "/f")
        assert (wishes.preserve_fds, wishes.listen_fds, wishes.no_pivot, wishes.no_new_keyring) == (3, 2, True, True)
        assert wishes.notify_directory is None and wishes.console_size is None
        assert request.host.rootfs == f"{world.place}/bundle/rootfs" and request.host.namespaces.new == {"mount", "pid"}
        assert (request.place.path, request.place.missing) == ("/g/c", ["/g", "/g/c"])
        assert request.raw == (world.place / "bundle" / "config.json").read_bytes()
        assert request.warnings[0] == "w" and any(step.call == "clone3" for step in request.plan)
        assert not Path(world.root).exists(), "nothing has changed"

    def test_another_config(self, world: World) -> None:
        (world.place / "other.json").write_text(json.dumps({**CONFIG, "annotations": {"other": "1"}}))
        request = prepared(world, config_file=f"{world.place}/other.json")
        assert request.config["annotations"] == {"other": "1"}

    def test_the_callers_terminal(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(foreground, "window_size", lambda: (24, 80))
        assert prepared(world, foreground=True).wishes.console_size == (24, 80)
        assert prepared(world, foreground=True, console_socket="/s").wishes.console_size is None

    def test_a_service_manager(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notify, "problem", lambda address: None if address == "/n" else f"{address} is ignored")
        assert prepared(world, notify_socket="/n").wishes.notify_directory == f"{world.root}/c/notify"
        request = prepared(world, notify_socket="/gone")
        assert request.wishes.notify_directory is None and "/gone is ignored" in request.warnings

    def test_no_bundle(self, world: World) -> None:
        with pytest.raises(InvalidConfig) as raised:
            create.bundle_path(f"{world.place}/none")
        assert str(raised.value).startswith(f"bundle {world.place}/none: ")
        assert str(raised.value).endswith("no such file or directory (ENOENT)")

    def test_no_id(self, world: World) -> None:
        with pytest.raises(Failure, match=r"^invalid container ID format: 'a/b'"):
            create.prepare(world.root, "a/b", create.Creation("/none"))


class TestTerminal:
    TERMINAL: Any = {"process": {"terminal": True}}  # noqa: RUF012

    def test_relayed(self) -> None:
        assert create.check_terminal(create.Creation("/", foreground=True), self.TERMINAL) is True
        assert create.check_terminal(create.Creation("/", console_socket="/s"), self.TERMINAL) is False
        assert create.check_terminal(create.Creation("/", foreground=True), {}) is False

    def test_refused(self) -> None:
        with pytest.raises(Failure) as raised:
            create.check_terminal(create.Creation("/", console_socket="/s"), {"process": None})
        assert str(raised.value) == "cannot use console socket: process.terminal is false in config.json"
        with pytest.raises(InvalidConfig) as raised:
            create.check_terminal(create.Creation("/"), self.TERMINAL)
        assert str(raised.value) == (
            "cannot allocate tty for a container that runs detached without a console socket "
            "[config.json#/process/terminal]; give --console-socket PATH"
        )


class TestRecord:
    def test_all(self, world: World) -> None:
        record = create.record_of(prepared(world))
        assert record.pop("keyring").startswith("_ses.c.")
        assert record == {
            "id": "c", "ociVersion": "1.2.0", "bundle": f"{world.place}/bundle",
            "rootfs": f"{world.place}/bundle/rootfs", "annotations": {"a": "b"}, "cgroup": "/g/c",
            "cgroup_mount": str(world.mount), "cgroup_made": ["/g", "/g/c"], "mounts": [], "own_pid_namespace": True,
            "shared_namespaces": [], "has_process": True, "later_hooks": ["poststop"],
        }  # fmt: skip

    def test_of_systemd(self, world: World) -> None:
        config = {**CONFIG, "linux": {"namespaces": [{"type": "mount"}], "cgroupsPath": "a.slice:p:n"}}
        record = create.record_of(prepared(world, config, systemd_cgroup=True, no_new_keyring=True))
        assert (record["systemd_unit"], record["systemd_user"]) == ("p-n.scope", False)
        assert (record["cgroup"], record["cgroup_made"], record["keyring"]) == ("/a.slice/p-n.scope", [], "")
        assert record["own_pid_namespace"] is False

    def test_without_a_mount_namespace(self, world: World) -> None:
        """delete has to know what was mounted there before."""
        request = prepared(world)
        request.host.namespaces.new.discard("mount")
        rootfs = request.host.rootfs
        assert create.record_of(request)["mounts"] == [[rootfs, delete.mount_id(rootfs)]]
        request.host.rootfs = "/"
        assert create.record_of(request)["mounts"] == []

    def test_shared_namespaces_and_no_process(self, world: World) -> None:
        shared = {"type": "network", "path": "/proc/self/ns/net"}
        config = {**CONFIG, "linux": {"namespaces": [{"type": "mount"}, shared]}}
        del config["process"]
        record = create.record_of(prepared(world, config))
        assert (record["shared_namespaces"], record["has_process"]) == (["network"], False)


class TestMake:
    def test_create(self, world: World, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
        launched = Launch(net_namespace=os.open("/", os.O_RDONLY))
        monkeypatch.setattr(launch, "launch", launched)
        create.create(world.root, "c", asked(world, warnings=["w"]))
        with world.store.open("c") as container:
            assert container.config() == CONFIG
            assert launched.given["keyring_name"] == container.record["keyring"]
            assert "oom_kills" not in launched.given["container"].record, "a new cgroup has none"
        assert launched.given["state_dir"] >= 0 and launched.given["container"].dirfd == -1, "closed by now"
        assert launched.closed and "w" in warnings

    def test_kills_of_an_existing_cgroup(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        (world.mount / "g" / "c").mkdir(parents=True)
        (world.mount / "g" / "c" / "memory.events").write_text("oom_kill 4\n")
        monkeypatch.setattr(launch, "launch", Launch())
        container, _ = create.make(world.root, prepared(world), {})
        assert container.record["oom_kills"] == 4
        container.close()

    def test_the_directory_of_sd_notify(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notify, "problem", lambda _: None)
        monkeypatch.setattr(launch, "launch", Launch())
        container, _ = create.make(world.root, prepared(world, notify_socket="/n"), {})
        assert Path(container.path, "notify").is_dir()
        container.close()

    def test_not_root(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("posix.geteuid", lambda: 7)
        with pytest.raises(Failure) as raised:
            create.make(world.root, prepared(world), {})
        assert str(raised.value) == "containers can only be created by root; pyruntime is not rootless yet"
        assert not Path(world.root).exists()

    def test_the_id_is_taken(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.make().close()
        monkeypatch.setattr(launch, "launch", lambda *_: pytest.fail("nothing may be started"))
        with pytest.raises(Failure, match=r'^container with given ID already exists: "c"$'):
            create.make(world.root, prepared(world), {})

    def test_a_failure_leaves_nothing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        pid_file = world.place / "pid"
        pid_file.write_text("77")
        lock = os.open("/", os.O_RDONLY)
        monkeypatch.setattr(launch, "launch", Launch(Failure("a step"), cgroup=lock, init_pid=77))
        with pytest.raises(Failure, match=r"^a step$"):
            create.make(world.root, prepared(world, pid_file=str(pid_file)), {})
        assert os.listdir(world.root) == [] and not pid_file.exists()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(lock)

    def test_a_limit_is_the_reason(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        (world.mount / "g" / "c").mkdir(parents=True)
        (world.mount / "g" / "c" / "memory.max").write_text("4096\n")
        monkeypatch.setattr(launch, "launch", Launch(Failure("clone3", OSError(errno.ENOMEM, "no"))))
        monkeypatch.setattr(cgroup, "remove_made", lambda _: None)
        with pytest.raises(Failure, match=r"out of memory: memory\.max is 4096 bytes.*ENOMEM"):
            create.make(world.root, prepared(world), {})

    def test_a_failed_clean_up_is_told_too(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launch, "launch", Launch(Failure("a step")))

        def fail(container: Container) -> None:
            container.close()
            raise Failure("busy")

        monkeypatch.setattr(delete, "destroy", fail)
        with pytest.raises(Failure, match=r"^a step \(and the clean-up failed: busy\)$"):
            create.make(world.root, prepared(world), {})


class TestTakeBack:
    @pytest.mark.parametrize(("content", "pid", "left"), [("5", 5, False), ("6", 5, True), ("5", None, True)])
    def test_pid_file(self, tmp_path: Path, content: str, pid: int | None, left: bool) -> None:
        (tmp_path / "pid").write_text(content)
        create.take_pid_file_back(f"{tmp_path}/pid", pid)
        assert (tmp_path / "pid").exists() is left

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("5")
        (tmp_path / "pid").symlink_to("file")
        create.take_pid_file_back(f"{tmp_path}/pid", 5)
        assert (tmp_path / "pid").is_symlink() and (tmp_path / "file").exists()

    @pytest.mark.parametrize(
        ("slots", "namespace"), [({"net_namespace": 9, "ns_network": 8}, 9), ({"ns_network": 8}, 8)]
    )
    def test_devices(self, monkeypatch: pytest.MonkeyPatch, slots: dict[str, Any], namespace: int) -> None:
        """The last first, into the namespace that they come from; one that is lost is named."""
        first, second = SimpleNamespace(name="eth0"), SimpleNamespace(name="eth1")
        answers = [OSError(errno.EBUSY, os.strerror(errno.EBUSY)), None]
        recorder = Recorder(give_back=answers)
        monkeypatch.setattr("pyruntime.kernel.network.give_back", recorder.give_back)
        failure = Failure("a step")
        create.give_back_devices({"net_device0": first, "other": 1, "net_device1": second, **slots}, failure)
        assert recorder.named("give_back") == [(second, namespace), (first, namespace)]
        assert str(failure) == "a step (and network device eth1 is lost: device or resource busy (EBUSY))"
