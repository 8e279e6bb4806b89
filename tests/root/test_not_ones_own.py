"""What a config or a damaged record may name, and nobody may touch: core files of the cgroup, and what is others'."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import leaks, session
from support.apart import refusal
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import Container, Runtime, new_id, process_runs, says, wait_for

from pyruntime import kernel
from pyruntime.container import cgroup, ownership
from pyruntime.container.record import read_record
from pyruntime.container.store import Container as State
from pyruntime.container.store import Store
from pyruntime.errors import Failure
from pyruntime.lifecycle import delete

if TYPE_CHECKING:
    from pyruntime.container.record import Record

ROOT = session.CGROUP_ROOT


class Bystander:
    """A process in a cgroup of its own, which no runtime has made: it must be there when all is over."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / f"{session.TOKEN}-{name}"
        self.path.mkdir()
        self.process = subprocess.Popen(["sleep", "1000"])
        (self.path / "cgroup.procs").write_text(str(self.process.pid))

    @property
    def name(self) -> str:
        return str(self.path).removeprefix(str(ROOT))

    def check(self) -> None:
        """Fail unless the process runs, where it was."""
        assert process_runs(self.process.pid), "killed"
        assert f"0::{self.name}\n" in Path(f"/proc/{self.process.pid}/cgroup").read_text(), "moved"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        leaks.remove_cgroup(self.path)


@pytest.fixture
def bystander() -> Iterator[Bystander]:
    made = Bystander("bystander")
    yield made
    made.end()


CORE: dict[str, str | None] = {
    "cgroup.procs": None,
    "cgroup.threads": None,
    "cgroup.kill": "1",
    "cgroup.freeze": "1",
    "cgroup.type": "threaded",
    "cgroup.subtree_control": "+pids",
    "cgroup.max.depth": "1",
    "cgroup.max.descendants": "1",
    "cgroup.pressure": "0",
}
"""Core files of a cgroup, and what to write; None: the pid of the bystander."""
ELSEWHERE = ["../cgroup.procs", "..", ".", "", "/sys/fs/cgroup/cgroup.procs", "memory.max/../cgroup.kill"]


class TestUnified:
    """linux.resources.unified has limits of controllers, and only those (config-linux.md "Unified")."""

    @pytest.mark.parametrize("name", CORE)
    def test_core_files_in_a_config(self, runtime: Runtime, bundle: Bundle, bystander: Bystander, name: str) -> None:
        text = CORE[name] or str(bystander.process.pid)
        dict_of(bundle.linux, "resources")["unified"] = {name: text}
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, f'"{name}" is a core file of the cgroup', f"config.json#/linux/resources/unified/{name}")
        bystander.check()

    @pytest.mark.parametrize("name", ELSEWHERE)
    def test_other_files(self, runtime: Runtime, bundle: Bundle, bystander: Bystander, name: str) -> None:
        dict_of(bundle.linux, "resources")["unified"] = {name: str(bystander.process.pid)}
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, f'"{name}" is not a file of a cgroup', "config.json#/linux/resources/unified/")
        bystander.check()

    @pytest.mark.parametrize("name", CORE)
    def test_core_files_in_an_update(self, container: Make, bystander: Bystander, name: str) -> None:
        box = container()
        document = {"unified": {name: CORE[name] or str(bystander.process.pid)}}
        error = box.runtime.fails("update", "--resources=-", box.id, stdin=json.dumps(document))
        says(error, f'"{name}" is a core file of the cgroup', f"[standard input#/unified/{name}]")
        bystander.check()
        assert box.status == "running"

    @pytest.mark.parametrize("name", ["cgroup.freeze", "cgroup.max.depth", "../cgroup.procs", ".."])
    def test_the_write_itself_refuses(self, bystander: Bystander, name: str) -> None:
        fd = os.open(bystander.path, os.O_RDONLY)
        try:
            assert refusal(kernel.write_at, fd, name, "1") == f'"{name}" is not a file for a limit of a cgroup'
        finally:
            os.close(fd)
        assert (bystander.path / "cgroup.freeze").read_text() == "0\n"
        assert (bystander.path / "cgroup.max.depth").read_text() == "max\n"


class TestDeviceRules:
    @pytest.mark.parametrize("allow", [True, False])
    def test_no_access_is_no_rule(self, runtime: Runtime, bundle: Bundle, allow: bool) -> None:
        rule = {"allow": allow, "type": "c", "major": 10, "minor": 229, "access": ""}
        dict_of(bundle.linux, "resources")["devices"] = [{"allow": False, "access": "rwm"}, rule]
        says(
            runtime.fails("create", "--bundle", bundle.save(), new_id()),
            "access is empty",
            "/linux/resources/devices/1/access",
        )

    def test_nor_in_an_update(self, container: Make) -> None:
        box = container()
        document = {"devices": [{"allow": True, "access": ""}]}
        error = box.runtime.fails("update", "--resources=-", box.id, stdin=json.dumps(document))
        says(error, "access is empty", "[standard input#/devices/0/access]")


Damage = Callable[[dict[str, Any]], None]


def damage(box: Container, change: dict[str, Any]) -> None:
    """Change what the record of a container says."""
    file = box.runtime.root / box.id / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


UNSOUND_VALUES: dict[str, list[Any]] = {
    "cgroup": ["/", "", "/..", ".", "//", "/a/../..", "/./a", "a", 7, None, ["/"]],
    "cgroup_mount": ["/", "", "/sys/../", "sys", 7, None],
    "cgroup_made": ["/", ["/"], ["/.."], [""], [7], [["/a"]], {"a": 1}, ["/elsewhere"]],
    "mounts": ["/", ["/"], [["/no"]], [[7, 7]], [["/no/../such", 1]], [["/no", "1"]], {}],
    "systemd_unit": ["ssh.service", "", 7, "../x.scope", "other.scope"],
    "cgroup_id": [-1, "1", True, None],
    "shared_namespaces": ["mount", [1]],
    "later_hooks": ["poststop", [1]],
}
UNSOUND = [(key, value) for key, values in UNSOUND_VALUES.items() for value in values]


@pytest.mark.parametrize("key, value", UNSOUND, ids=[f"{key}-{at}" for at, (key, _) in enumerate(UNSOUND)])
def test_an_unsound_record(container: Make, bystander: Bystander, key: str, value: Any) -> None:
    """It is told by every command; delete --force goes by the config, and by what the cgroup itself says."""
    box, other = container(), container()
    pid = box.pid
    damage(box, {key: value})
    for command in (["state"], ["kill"], ["delete"]):
        says(box.runtime.fails(*command, box.id), f"has no valid '{key}'", "delete --force removes the container")
    box.delete("--force")
    assert not process_runs(pid)
    assert box.id not in box.runtime.ids()
    bystander.check()
    assert other.status == "running"


def test_the_root_is_no_mount_of_a_container(workdir: Path) -> None:
    """Asked of the reader alone: carried out, it would take the session's root away."""
    texts = dict.fromkeys(("ociVersion", "bundle", "rootfs", "created", "boot_id"), "/x")
    box: dict[str, Any] = {
        **texts,
        "id": "c",
        "cgroup": "/c",
        "cgroup_mount": "/c",
        "cgroup_made": [],
        "annotations": {},
    }
    box |= {"has_process": True, "later_hooks": []}
    fd = os.open(workdir, os.O_RDONLY)
    try:
        for place in ("/", "//", "/a/..", "/.", ""):
            (workdir / "record").write_text(json.dumps({**box, "mounts": [[place, 1]]}))
            with pytest.raises(Failure, match="no valid 'mounts'"):
                read_record(fd, "record", "record", "c")
        (workdir / "record").write_text(json.dumps({**box, "mounts": [["/a/b", 1]]}))
        assert read_record(fd, "record", "record", "c")["mounts"] == [["/a/b", 1]]
    finally:
        os.close(fd)


def cgroup_of(box: Container) -> str:
    return str(json.loads((box.runtime.root / box.id / "state.json").read_text())["cgroup"])


class TestAnothersCgroup:
    """The record is sound in form, and names what is not the container's own."""

    def leave(self, box: Container, pid: int) -> None:
        """End what the record no longer names, and so is left."""
        os.kill(pid, 9)
        wait_for(lambda: not process_runs(pid), "it is gone")

    @pytest.mark.parametrize("noted", [False, True])
    def test_a_bystanders(self, container: Make, bystander: Bystander, noted: bool) -> None:
        box = container()
        own, pid = ROOT / cgroup_of(box)[1:], box.pid
        change: dict[str, Any] = {"cgroup": bystander.name, "cgroup_made": [bystander.name]}
        damage(box, change if not noted else {**change, "cgroup_id": bystander.path.stat().st_ino, "pid": 0})
        if noted:
            # Another runtime has made it for its container: the identity in our record is that of somebody else's.
            os.setxattr(bystander.path, "trusted.pyruntime", b"1:1")
        box.delete("--force")
        bystander.check()
        if process_runs(pid):
            self.leave(box, pid)
        leaks.remove_cgroup(own)

    def test_the_parent_of_all_containers(self, container: Make, bundle: Bundle) -> None:
        """Its identity is right, it has no note; but there are containers below."""
        top = ROOT / f"{session.TOKEN}-all"
        bundle.linux["cgroupsPath"] = f"/{top.name}/one"
        box = container()
        bundle.linux["cgroupsPath"] = f"/{top.name}/two"
        other = container()
        pid = box.pid
        damage(box, {"cgroup": f"/{top.name}", "cgroup_made": [], "cgroup_id": top.stat().st_ino, "pid": 0})
        box.delete("--force")
        assert other.status == "running" and process_runs(other.pid)
        self.leave(box, pid)
        other.delete("--force")
        leaks.remove_cgroup(top)

    def test_the_mounts_root(self) -> None:
        """As the mechanism has it, whatever the reader of records lets through."""
        for path in ("", "/", "/..", f"/{session.TOKEN}/.."):
            inode = ROOT.stat().st_ino
            record: Record = {"cgroup_mount": str(ROOT), "cgroup": path, "cgroup_id": inode, "note": "1:1"}
            assert cgroup.owned(record) is None, path
            fd = os.open(ROOT, os.O_RDONLY)
            assert not ownership.is_of(fd, record)
            os.close(fd)

    def test_what_is_no_cgroup(self, workdir: Path) -> None:
        (workdir / "a/b").mkdir(parents=True)
        inode = (workdir / "a/b").stat().st_ino
        record: Record = {"cgroup_mount": str(workdir), "cgroup": "/a/b", "cgroup_id": inode}
        assert cgroup.owned(record) is None
        cgroup.remove_made({**record, "cgroup_made": ["/a", "/a/b"]})
        assert (workdir / "a/b").exists(), "an empty directory of a file system"

    @pytest.mark.parametrize("made", ["/..", "/{}/..", "/{}-other", "/{}/a/../../{}-other", "", "/"])
    def test_what_create_is_said_to_have_made(self, made: str) -> None:
        top, other = ROOT / session.TOKEN, ROOT / f"{session.TOKEN}-other"
        for path in (top, other):
            path.mkdir()
        try:
            record: Record = {
                "cgroup_mount": str(ROOT),
                "cgroup": f"/{top.name}/a",
                "cgroup_made": [made.format(*2 * [top.name])],
            }
            cgroup.remove_made(record)
            assert other.exists() and top.exists()
        finally:
            for path in (top, other):
                leaks.remove_cgroup(path)

    def test_a_cgroup_that_another_container_has_taken_over(
        self, container: Make, bundle: Bundle, workdir: Path
    ) -> None:
        """The first container has ended and left its cgroup; one of another root directory has it now."""
        path = f"/{session.TOKEN}-shared"
        bundle.linux["cgroupsPath"] = path
        first = container()
        first.kill()
        first.wait_stopped()
        second = Container(Runtime(workdir / "root2"), bundle.path, new_id())
        second.create()
        second.start()
        pid = second.pid
        first.delete()
        assert second.status == "running" and process_runs(pid)
        second.delete("--force")
        second.close()


class TestDamagedRecord:
    """Nothing can be read of it: then the config names the cgroup, and the cgroup has to say that it is the one."""

    def test_the_config_names_a_bystanders(self, container: Make, bystander: Bystander) -> None:
        box = container()
        own, pid = ROOT / cgroup_of(box)[1:], box.pid
        folder = box.runtime.root / box.id
        config = json.loads((folder / "config.json").read_text())
        config["linux"]["cgroupsPath"] = bystander.name
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "state.json").write_text("{")
        box.delete("--force")
        bystander.check()
        assert box.id not in box.runtime.ids()
        os.kill(pid, 9)
        wait_for(lambda: not process_runs(pid), "it is gone")
        leaks.remove_cgroup(own)

    @pytest.mark.parametrize("name", ["", ".", "..", "/", "x/.."])
    def test_an_id_that_is_none(self, workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Were it not refused before, its cgroup would be the parent of all containers."""
        parent = ROOT / f"{session.TOKEN}-parent"
        parent.mkdir()
        bystander = Bystander("parent/child")
        monkeypatch.setattr("pyruntime.plan.cgroup.DEFAULT_PARENT", f"/{parent.name}")
        (workdir / "root").mkdir()
        state = State(str(workdir / "root"), name, os.open(workdir / "root", os.O_RDONLY))
        state.damage = Failure("damaged")
        try:
            assert delete.record_from_config(state) == {}
            bystander.check()
        finally:
            state.close()
            bystander.end()
            leaks.remove_cgroup(parent)


class TestProcesses:
    @pytest.mark.parametrize("pid", [0, -1, 1, True, 1 << 31, 1 << 70, "1", None, 2.5])
    def test_pids_that_are_none(self, container: Make, bystander: Bystander, pid: Any) -> None:
        box = container()
        init = box.pid
        damage(box, {"pid": pid})
        box.delete("--force")
        # Nothing names the process that delete could wait for; it was killed by its cgroup.
        wait_for(lambda: not process_runs(init), "it was killed")
        assert box.id not in box.runtime.ids()
        bystander.check()

    def test_process_1(self, container: Make) -> None:
        """Its age is right; it is no container's init all the same."""
        box = container()
        started = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
        init = box.pid
        file = box.runtime.root / box.id / "state.json"
        record: Record = json.loads(file.read_text()) | {"pid": 1, "start_time": started}
        from pyruntime.container.status import GONE, open_init

        assert open_init(record) == GONE
        assert process_runs(init)

    def test_one_that_the_command_descends_from(self, container: Make) -> None:
        box = container()
        init = box.pid
        shell = subprocess.Popen(
            ["sh", "-c", 'read go; "$@"; echo "status $?"', "sh", *box.runtime.command("delete", "--force", box.id)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started = int(Path(f"/proc/{shell.pid}/stat").read_text().rpartition(")")[2].split()[19])
        damage(box, {"pid": shell.pid, "start_time": started})
        out, err = shell.communicate("\n", timeout=30)
        assert (shell.returncode, out) == (0, "status 1\n")
        says(err, f"its record names process {shell.pid}, an ancestor of this command")
        wait_for(lambda: not process_runs(init), "what is in the cgroup was ended before")
        damage(box, {"pid": 0})
        box.delete("--force")


def test_mounts_of_the_record_that_are_not_the_root(container: Make, workdir: Path) -> None:
    box = container()
    place = workdir / "mounted"
    place.mkdir()
    session.mount("bystander", str(place), "tmpfs", 0)
    try:
        damage(box, {"mounts": [[str(place), 1]]})
        box.delete("--force")
        assert place.is_mount()
    finally:
        if place.is_mount():
            session.umount(str(place))


class TestStateRoot:
    """Who can write to the root directory of the states, or rename it, decides what records say."""

    def refused(self, root: Path, *words: str) -> None:
        for command in (["state", "x"], ["delete", "--force", "x"], ["list"], ["kill", "x"]):
            says(Runtime(root).fails(*command), f"the state root {root} can't be trusted", *words)

    def test_somebody_elses_directory(self, workdir: Path, bundle: Bundle) -> None:
        root = workdir / "users"
        root.mkdir()
        os.chown(root, 1000, 1000)
        self.refused(root, f"{root} belongs to user 1000")
        error = Runtime(root).fails("create", "--bundle", bundle.save(), new_id())
        says(error, f"{root} belongs to user 1000", "give a --root that nobody else can write to")
        assert list(root.iterdir()) == []

    def test_below_somebody_elses_directory(self, workdir: Path, bundle: Bundle) -> None:
        above = workdir / "users"
        (above / "root/here").mkdir(parents=True)
        os.chown(above, 1000, 0)
        self.refused(above / "root/here", f"{above} belongs to user 1000")
        self.refused(above / "not/there", f"{above} belongs to user 1000")
        error = Runtime(above / "not/there").fails("create", "--bundle", bundle.save(), new_id())
        says(error, f"{above} belongs to user 1000")
        assert not (above / "not").exists()

    @pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
    def test_that_others_can_write(self, workdir: Path, mode: int) -> None:
        root = workdir / "open"
        root.mkdir()
        root.chmod(mode)
        self.refused(root, f"{root} can be written by others (mode {mode:04o})")

    @pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
    def test_below_what_others_can_write(self, workdir: Path, mode: int) -> None:
        above = workdir / "open"
        (above / "root").mkdir(parents=True)
        above.chmod(mode)
        self.refused(above / "root", f"{above} can be written by others (mode {mode:04o})")

    def test_behind_a_link(self, workdir: Path) -> None:
        """What was opened is looked at, and not what the path looks like."""
        (workdir / "users/root").mkdir(parents=True)
        os.chown(workdir / "users", 1000, 1000)
        (workdir / "link").symlink_to(workdir / "users/root")
        self.refused(workdir / "link", f"{workdir}/users belongs to user 1000")

    def test_a_link_that_somebody_else_can_exchange(self, workdir: Path) -> None:
        """It is resolved once: what is done afterwards is done in the directory that was looked at."""
        (workdir / "real").mkdir()
        (workdir / "users").mkdir()
        (workdir / "users/link").symlink_to(workdir / "real")
        assert Store(str(workdir / "users/link")).root == str(workdir / "real")

    def test_in_a_sticky_directory(self, workdir: Path, bundle: Bundle) -> None:
        """As in /tmp: nobody else can rename what is root's there."""
        above = workdir / "sticky"
        above.mkdir()
        above.chmod(0o1777)
        bundle.args("true")
        Runtime(above / "root").ok("run", "--bundle", bundle.save(), new_id())
        self.refused_user(above / "users")

    def refused_user(self, path: Path) -> None:
        path.mkdir()
        os.chown(path, 1000, 1000)
        self.refused(path, f"{path} belongs to user 1000")

    def test_the_modes_of_what_is_made(self, workdir: Path, bundle: Bundle) -> None:
        """Whatever the caller's umask is: others can neither list nor look into a container's state."""
        root = workdir / "a/b/root"
        runtime = Runtime(root)
        name = new_id()
        command = runtime.command("create", "--bundle", bundle.save(), name)
        with (workdir / "out").open("w") as out:
            call = ["sh", "-c", 'umask 000; exec "$@"', "sh", *command]
            assert subprocess.call(call, stdin=subprocess.DEVNULL, stdout=out, stderr=out) == 0
        try:
            modes = {
                path: path.stat().st_mode & 0o7777 for path in (root, root.parent, root.parent.parent, root / name)
            }
            assert modes == {root: 0o711, root.parent: 0o711, root.parent.parent: 0o711, root / name: 0o700}
            for file in (root / name).iterdir():
                if not file.is_socket():
                    assert file.stat().st_mode & 0o077 == 0, file
        finally:
            runtime.ok("delete", "--force", name)
