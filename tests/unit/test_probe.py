"""host.probe and lifecycle.place against files of the test: what is found, what is missing, what can't be read."""

from __future__ import annotations

import errno
import os
import posix
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import Failure, InvalidConfig
from pyruntime.host import probe
from pyruntime.host.data import Namespaces
from pyruntime.lifecycle import place


def listing(*entries: tuple[str, str]) -> dict[str, Any]:
    return {
        "linux": {"namespaces": [{"type": kind, "path": path} if path else {"type": kind} for kind, path in entries]}
    }


class TestNamespaces:
    def test_look(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ours are shared, those of process 1 protected, and others, or what can't be examined, neither."""
        link = tmp_path / "link"
        link.symlink_to("/proc/self/ns/net")
        places = {"/proc/self/ns/net": (1, 1), "/proc/1/ns/ipc": (1, 2), "/x": (1, 2), str(link): (1, 1)}
        monkeypatch.setattr(probe, "identity_of", places.get)
        found = probe.HostNamespaces()
        config = listing(("network", str(link)), ("ipc", "/x"), ("uts", "/x"), ("mount", ""), ("pid", "/none"))
        assert found.look(config) == {"network", "ipc"}
        assert found.own == {"network"} and found.protected == {"network", "ipc"}
        sorted_out = probe.namespaces(config, found)
        assert sorted_out.new == {"mount"} and sorted_out.shared == {"network"}
        assert sorted_out.host == {"network", "ipc"}
        assert sorted_out.joined == {"ipc": "/x", "uts": "/x", "pid": "/none"}

    def test_without_a_look(self) -> None:
        sorted_out = probe.namespaces(listing(("network", "/proc/self/ns/net"), ("user", "")))
        assert (sorted_out.new, sorted_out.joined) == ({"user"}, {"network": "/proc/self/ns/net"})
        assert (sorted_out.shared, sorted_out.host, sorted_out.has_user) == (frozenset(), frozenset(), True)
        assert probe.namespaces({}).new == set() and probe.HostNamespaces().look({"linux": {}}) == frozenset()

    def test_identity(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        here = tmp_path.stat()
        assert probe.identity_of(f"{tmp_path}/link") == (here.st_dev, here.st_ino)
        assert probe.identity_of(f"{tmp_path}/none") is None


class TestHost:
    def test_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "capabilities", lambda: (0b101, 2))
        monkeypatch.setattr(posix, "geteuid", lambda: 7)
        listed = Namespaces(set(), {})
        host = probe.host("/r", listed, frozenset({3}))
        assert (host.euid, host.rootless, host.bounding_caps, host.last_cap) == (7, True, 0b101, 2)
        assert host.rootfs == "/r" and host.namespaces is listed and host.inner_sources == {3}

    def test_capabilities(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {probe.STATUS: "Name:\tx\nCapBnd:\t00000000a80425fb\nCapAmb:\t0\n", probe.LAST_CAP: "39\n"}
        monkeypatch.setattr(probe, "read_text", files.__getitem__)
        assert probe.capabilities() == (0xA80425FB, 39)
        for file, text in ((probe.LAST_CAP, ""), (probe.STATUS, ""), (probe.STATUS, "Name:\tx\n")):
            monkeypatch.setattr(probe, "read_text", {**files, file: text}.__getitem__)
            with pytest.raises(Failure, match=f"^{file} does not list capabilities; is procfs mounted"):
                probe.capabilities()


class TestRootfs:
    def test_found(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        for path in ("link", "real", f"{tmp_path}/link", "./real/../link"):
            assert probe.find_rootfs({"root": {"path": path}}, str(tmp_path)) == f"{tmp_path}/real"

    def test_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InvalidConfig) as raised:
            probe.find_rootfs({"root": {"path": "none"}}, str(tmp_path))
        assert str(raised.value).startswith(f"root file system {tmp_path}/none: ")
        assert str(raised.value).endswith("no such file or directory (ENOENT) [config.json#/root/path]")
        with pytest.raises(InvalidConfig) as raised:
            probe.find_rootfs({"root": {"path": "file"}}, str(tmp_path))
        assert str(raised.value) == f"root file system {tmp_path}/file is not a directory [config.json#/root/path]"

    def test_inner_sources(self, tmp_path: Path) -> None:
        """By links, through the root and out of it again, or past what is missing."""
        root = tmp_path / "root"
        (root / "d").mkdir(parents=True)
        (tmp_path / "beside").mkdir()
        (tmp_path / "rootless").mkdir()
        (tmp_path / "link").symlink_to(root / "d")
        (root / "out").symlink_to("/usr")
        sources = {
            0: f"{root}/d", 1: f"{tmp_path}/beside", 2: f"{tmp_path}/link/none", 3: f"{root}/out", 4: str(root),
            5: f"{tmp_path}/rootless", 6: "/no-such/x", 7: str(tmp_path),
        }  # fmt: skip
        assert probe.inner_sources(str(root), sources) == {0, 2, 3, 4}
        assert probe.inner_sources("", {0: "/"}) == {0}
        assert probe.paths_above("/a/b/c") == ["/a", "/a/b", "/a/b/c"]


class TestCgroups:
    @pytest.fixture
    def mount(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(probe, "CGROUP_MOUNTS", (f"{tmp_path}/first", f"{tmp_path}/second"))
        for name, text in {"": "cpu memory pids", "a": "memory", "a/b": ""}.items():
            directory = tmp_path / "second" / name
            directory.mkdir()
            (directory / "cgroup.subtree_control").write_text(f"{text}\n")
        (tmp_path / "second" / "cgroup.controllers").write_text("cpu memory pids io\n")
        return tmp_path / "second"

    def test_mount(self, mount: Path) -> None:
        assert probe.cgroup_mount() == (str(mount), ("cpu", "memory", "pids", "io"))
        (mount.parent / "first").mkdir()
        (mount.parent / "first" / "cgroup.controllers").touch()
        assert probe.cgroup_mount() == (f"{mount.parent}/first", ())

    def test_no_mount(self, mount: Path) -> None:
        (mount / "cgroup.controllers").unlink()
        assert (probe.cgroup_mount(), probe.controllers(str(mount))) == ((None, ()), None)

    def test_missing(self, mount: Path) -> None:
        assert probe.missing_cgroups(str(mount), "/a/b") == []
        assert probe.missing_cgroups(str(mount), "/a/x/y") == ["/a/x", "/a/x/y"]
        assert probe.missing_cgroups(str(mount), "/x") == ["/x"]
        with pytest.raises(InvalidConfig) as raised:
            probe.missing_cgroups(str(mount), "/cgroup.controllers/x")
        assert str(raised.value).startswith("cgroup /cgroup.controllers/x: ")
        assert str(raised.value).endswith("not a directory (ENOTDIR) [config.json#/linux/cgroupsPath]")

    def test_shared_controllers(self, mount: Path) -> None:
        assert probe.shared_controllers(str(mount), "/a/x/y", ["/a/x", "/a/x/y"]) == {
            "": ("cpu", "memory", "pids"),
            "/a": ("memory",),
        }
        assert probe.shared_controllers(str(mount), "/a/b/c", ["/a/b/c"])["/a/b"] == ()

    def test_place(self, mount: Path) -> None:
        found = place.place({"linux": {"cgroupsPath": "/a/new/c"}}, "c", 0, systemd=False)
        assert (found.mount, found.path, found.missing) == (str(mount), "/a/new/c", ["/a/new", "/a/new/c"])
        assert found.controllers == ("cpu", "memory", "pids", "io")
        assert found.shared == {"": ("cpu", "memory", "pids"), "/a": ("memory",)}
        assert (found.unit, found.slice, found.subgroup, found.directory) == ("", "", "", f"{mount}/a/new/c")

    def test_place_of_systemd(self, mount: Path) -> None:
        """Nothing of it is for us to make."""
        found = place.place({"linux": {"cgroupsPath": "a.slice:p:n"}}, "c", 0, systemd=True)
        assert (found.path, found.unit, found.slice) == ("/a.slice/p-n.scope", "p-n.scope", "a.slice")
        assert (found.missing, found.shared) == ([], {"": ("cpu", "memory", "pids"), "/a.slice": ()})

    def test_no_place(self, mount: Path) -> None:
        (mount / "cgroup.controllers").unlink()
        found = place.place({}, "c", 0, systemd=False)
        assert (found.mount, found.controllers, found.missing, found.shared) == (None, (), [], {})

    def test_place_of_a_record(self, mount: Path) -> None:
        found = place.of_record({"cgroup_mount": str(mount), "cgroup": "/a/b", "systemd_unit": "b.scope"})
        assert (found.mount, found.path, found.unit, found.missing) == (str(mount), "/a/b", "b.scope", [])
        assert found.shared == {"": ("cpu", "memory", "pids"), "/a": ("memory",)}
        assert found.controllers == ("cpu", "memory", "pids", "io")
        assert place.of_record({"cgroup_mount": "/none", "cgroup": "/a"}).controllers == ()


class TestBlockDevices:
    @pytest.fixture
    def devices(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(probe, "BLOCK_DEVICES", str(tmp_path))
        (tmp_path / "8:0").touch()
        return tmp_path

    def test_found_or_not(self, devices: Path) -> None:
        assert probe.lacks_block_device(8, 1) is True
        assert probe.lacks_block_device(8, 0) is False

    @pytest.mark.parametrize(("major", "minor"), [("8", 1), (8, None), (True, 1), (8, 1.0)])
    def test_no_numbers(self, devices: Path, major: Any, minor: Any) -> None:
        assert probe.lacks_block_device(major, minor) is False

    def test_unknown(self, devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "BLOCK_DEVICES", f"{devices}/none")
        assert probe.lacks_block_device(8, 1) is False
        monkeypatch.setattr(probe, "BLOCK_DEVICES", f"{devices}/8:0")
        assert probe.lacks_block_device(8, 1) is False, "no directory"


class TestFiles:
    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1\xff\n")
        assert probe.read_text(f"{tmp_path}/a") == "1\udcff\n"
        assert (probe.read_text(f"{tmp_path}/b"), probe.read_text(f"{tmp_path}/b", missing=None)) == ("", None)
        assert probe.read_files(str(tmp_path), ["a", "b"]) == {"a": "1\udcff\n", "b": None}

    @pytest.mark.parametrize("number", probe.UNREADABLE)
    def test_without_content(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(posix, "read", fail)
        assert probe.read_text("/dev/null", missing="none") == "none"

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
    def test_other_reasons(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, "full")

        monkeypatch.setattr(posix, "open", fail)
        with pytest.raises(Failure, match=rf"^read /x: full \({errno.errorcode[number]}\)$"):
            probe.read_text("/x")
