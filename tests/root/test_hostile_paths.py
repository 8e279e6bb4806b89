"""Hostile names of files: bundle, state directory, files of the caller, programs, directories and sockets."""

import json
import os
import shutil
from pathlib import Path

import pytest
from support import leaks, raw
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.hostile import LONG, RAW, bytes_of, file_names, names
from support.runtime import Runtime, new_id, wait_for
from support.terminal import console_socket


class TestWholeLife:
    """A container whose bundle or state directory has such a path."""

    def life(self, runtime: Runtime, path: Path, workdir: Path) -> None:
        name = new_id()
        footprint = leaks.Footprint(runtime.root)
        raw.ok(runtime, "create", "--bundle", path, name)
        state = json.loads(raw.ok(runtime, "state", name))
        assert os.fsencode(state["bundle"]) == os.fsencode(path)
        assert os.fsencode(state["rootfs"]) == os.fsencode(path / "rootfs")
        assert name.encode() in raw.ok(runtime, "list")
        assert json.loads(raw.ok(runtime, "list", "--format", "json"))[0]["bundle"] == str(path)
        raw.ok(runtime, "list").decode()
        raw.ok(runtime, "start", name)
        assert raw.ok(runtime, "exec", name, "cat", "/mnt/file") == b"content"
        for command in ("ps", "pause", "resume"):
            raw.ok(runtime, command, name)
        raw.ok(runtime, "events", "--stats", name)
        raw.ok(runtime, "kill", name, "KILL")
        wait_for(lambda: json.loads(raw.ok(runtime, "state", name))["status"] == "stopped", "it stops")
        raw.ok(runtime, "delete", name)
        assert os.fsencode(json.loads((workdir / "state").read_bytes())["bundle"]) == os.fsencode(path)
        footprint.check()
        assert runtime.ids() == []

    def prepared(self, bundle: Bundle, workdir: Path, path: Path) -> None:
        """Give the container a mount from its bundle, and a hook that keeps the state it is given."""
        (bundle.path / "file").write_bytes(b"content")
        bundle.mount("/mnt/file", "bind", "file", "bind", "ro")
        script = f"cat > {workdir}/state"
        dict_of(bundle.config, "hooks")["poststop"] = [{"path": "/bin/sh", "args": ["sh", "-c", script]}]
        bundle.save()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(bundle.path, path)
        bundle.path = path

    @file_names()
    def test_bundle(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        self.prepared(bundle, workdir, workdir / name)
        self.life(runtime, bundle.path, workdir)

    def test_long_bundle(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """As long as a path can be whose files still have paths."""
        path = workdir
        while len(str(path)) < 3700:
            path /= RAW * 40
        self.prepared(bundle, workdir, path)
        self.life(runtime, bundle.path, workdir)

    @file_names()
    def test_root(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        self.prepared(bundle, workdir, workdir / "plain")
        tested = Runtime(workdir / name / "root")
        self.life(tested, bundle.path, workdir)
        assert os.listdir(workdir / name) == ["root"]

    @file_names()
    def test_from_the_working_directory(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        self.prepared(bundle, workdir, workdir / name)
        box = new_id()
        command = [runtime.binary, "--root", "../root", "create", "--pid-file", "pid", box]
        said = raw.run_command(command, cwd=bundle.path)
        assert (said.status, said.err) == (0, b"")
        assert (bundle.path / "pid").read_text().isdecimal()

    @names()
    def test_a_bundle_that_is_none(self, runtime: Runtime, name: str) -> None:
        error = raw.run(runtime, "create", "--bundle", f"/{name}", new_id()).error
        assert error.startswith("pyruntime: bundle /") and ("ENOENT" in error or "ENAMETOOLONG" in error)
        assert r"a\xff\xc3b" in error or name != RAW


class TestFilesOfTheCaller:
    @file_names()
    def test_pid_file(self, container: Make, workdir: Path, name: str) -> None:
        (workdir / "d").mkdir()
        path = workdir / "d" / name[:200]
        box = container("--pid-file", str(path), start=False)
        assert int(path.read_text()) == box.pid
        assert os.listdir(workdir / "d") == [name[:200]]

    @file_names()
    def test_console_socket(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        folder = workdir / name[:40]
        folder.mkdir()
        bundle.process["terminal"] = True
        with console_socket(folder) as console:
            raw.ok(runtime, "create", "--bundle", bundle.save(), "--console-socket", console.path, new_id())

    @names()
    @pytest.mark.parametrize("option", ["pid-file", "console-socket", "pidfd-socket", "log", "trace"])
    def test_one_that_is_not_there(
        self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str, option: str
    ) -> None:
        bundle.process["terminal"] = option == "console-socket"
        path = f"{workdir}/nowhere/{name}"
        command = [f"--{option}", path, "create"] if option == "log" else ["create", f"--{option}", path]
        footprint = leaks.Footprint(runtime.root)
        error = raw.run(runtime, *command, "--bundle", bundle.save(), new_id()).error
        assert "ENOENT" in error or "ENAMETOOLONG" in error
        footprint.check()
        assert runtime.ids() == []

    @file_names()
    def test_process_document(self, container: Make, workdir: Path, name: str) -> None:
        (workdir / name).write_text(
            json.dumps({"args": ["/bin/echo", "done"], "cwd": "/", "user": {"uid": 0, "gid": 0}})
        )
        box = container()
        assert raw.ok(box.runtime, "exec", "--process", workdir / name, box.id) == b"done\n"


class TestInside:
    @file_names()
    def test_program_and_working_directory(self, container: Make, bundle: Bundle, name: str) -> None:
        folder = bundle.rootfs / "d" / name
        folder.mkdir(parents=True)
        shutil.copy(bundle.rootfs / "bin/busybox", folder / "pwd")
        box = container()
        seen = raw.ok(box.runtime, "exec", "--cwd", f"/d/{name}", "--env", f"PATH=/d/{name}", box.id, "pwd")
        assert seen == b"/d/" + bytes_of(name) + b"\n"
        assert raw.ok(box.runtime, "exec", box.id, f"/d/{name}/pwd") == b"/\n"
        assert raw.ok(box.runtime, "exec", box.id, "printf", "%s", name) == bytes_of(name)

    @names()
    def test_ones_that_are_not_there(self, container: Make, bundle: Bundle, name: str) -> None:
        (bundle.rootfs / "noexec").write_text("#!/nowhere\n")
        box = container()
        commands = (
            [box.id, name],
            [box.id, f"/{name}"],
            ["--cwd", f"/{name}", box.id, "true"],
            ["--env", f"PATH=/{name}", box.id, "true-or-not"],
            ["--cgroup", name, box.id, "true"],
            ["--apparmor", name, box.id, "true"],
        )
        for command in commands:
            said = raw.run(box.runtime, "exec", *command)
            assert said.status == 255
            assert said.line
        assert box.status == "running"

    def test_an_interpreter_that_is_not_there(self, container: Make, bundle: Bundle) -> None:
        """What execve(2) itself refuses is told from below the seccomp filter."""
        script = bundle.rootfs / "\udcff\n"
        script.write_bytes(b"#!/\xff\xfe\n")
        script.chmod(0o755)
        box = container()
        said = raw.run(box.runtime, "exec", box.id, "/\udcff\n")
        assert said.status == 255
        assert r'execve("/\xff\n")' in said.line and "ENOENT" in said.line

    def test_home_is_the_images_byte_for_byte(self, container: Make, bundle: Bundle) -> None:
        """And a line ends where the C library says, not where Unicode has one more kind of line break."""
        line = b"x:x:7:7:\xff:/h\xff\xe2\x80\xa8\x0c\x1e\n"
        (bundle.rootfs / "etc/passwd").write_bytes(b"\xfe:x:8:8:a\xc2\x85x:x:7:7::/forged:\n" + line)
        bundle.process["env"] = ["PATH=/bin"]
        box = container()
        seen = raw.ok(box.runtime, "exec", "--user", "7:7", box.id, "cat", "/proc/self/environ")
        assert b"HOME=/h\xff\xe2\x80\xa8\x0c\x1e" in seen.split(b"\0")

    @file_names()
    def test_a_volume(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        """With --no-pivot the runtime reads in mountinfo what else is mounted."""
        (bundle.rootfs / name).mkdir()
        try:
            text = name.encode().decode()
        except UnicodeEncodeError:
            text = "\u2028\x0c\u00a0"
        bundle.mount(f"/mnt/{text}", "tmpfs", "a b\tc\\", "size=64k")
        bundle.args("true")
        for options in ([], ["--no-pivot"]):
            said = raw.run(runtime, "run", *options, "--bundle", bundle.save(), new_id())
            assert (said.status, said.err) == (0, b""), options


def test_long_is_longer_than_a_path() -> None:
    assert len(LONG) >= os.pathconf("/", "PC_PATH_MAX")
