"""Any bytes, where text is expected: in records, configs, process names and what hooks print.

The installed command is a snapshot of an interpreter without codecs: a byte that is not UTF-8 must not ask for one.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import leaks, raw
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import Container, Runtime, new_id, wait_for

FF = b"\xff"


def spoil(path: Path, find: bytes = b'"id"', put: bytes = b'"\xff"') -> None:
    """Put bytes that are no UTF-8 into a file."""
    data = path.read_bytes()
    assert find in data
    path.write_bytes(data.replace(find, put, 1))


class TestRecord:
    @pytest.fixture
    def box(self, container: Make) -> Container:
        box = container()
        spoil(box.runtime.root / box.id / "state.json")
        return box

    def test_state(self, box: Container) -> None:
        error = raw.run(box.runtime, "state", box.id).error
        assert "state.json, is not valid JSON: line 1, column 3: it is not UTF-8: byte 0xff" in error
        assert "delete --force removes the container" in error

    def test_list_shows_the_others(self, box: Container, container: Make) -> None:
        other = container()
        said = raw.run(box.runtime, "list")
        assert said.status == 0
        assert "not UTF-8: byte 0xff" in said.line
        assert other.id.encode() in said.out and box.id.encode() not in said.out

    def test_it_is_deleted_and_the_id_free(self, box: Container, runtime: Runtime) -> None:
        box.delete("--force")
        assert runtime.ids() == []
        runtime.ok("create", "--bundle", box.bundle, box.id)

    @pytest.mark.parametrize(
        "command", [["kill"], ["start"], ["exec", "true"], ["ps"], ["pause"], ["events", "--stats"]]
    )
    def test_other_commands(self, box: Container, command: list[str]) -> None:
        name, *rest = command
        options = [word for word in rest if word.startswith("-")]
        said = raw.run(box.runtime, name, *options, box.id, *(word for word in rest if word not in options))
        assert "not UTF-8: byte 0xff" in said.error
        assert said.status == (255 if name == "exec" else 1)

    @pytest.mark.parametrize("name", ["config.json", "resources.json"])
    def test_the_other_files(self, container: Make, runtime: Runtime, name: str) -> None:
        box = container()
        (runtime.root / box.id / name).write_bytes(b'{"\xff')
        command = ["exec", box.id, "true"] if name == "config.json" else ["update", "--pids-limit", "50", box.id]
        error = raw.run(runtime, *command).error
        assert name in error and "not UTF-8: byte 0xff" in error
        box.delete("--force")
        assert runtime.ids() == []

    def test_names_in_the_state_directory(self, container: Make, runtime: Runtime) -> None:
        """A directory that is no container's, and files that are nobody's."""
        box = container()
        (runtime.root / "\udcff").mkdir()
        (runtime.root / "\udcff/state.json").write_bytes(FF)
        (runtime.root / box.id / "\udcff\n").write_bytes(FF)
        (runtime.root / box.id / "\x1b\udcfe").mkdir()
        (runtime.root / box.id / "\x1b\udcfe/\udcfd").touch()
        shown = raw.ok(runtime, "list")
        assert box.id.encode() in shown and FF not in shown
        box.delete("--force")
        assert runtime.ids() == ["\udcff"]
        (runtime.root / "\udcff/state.json").unlink()
        (runtime.root / "\udcff").rmdir()


ENCODINGS = [
    ("latin-1", "it looks like ISO 8859-1 (Latin-1)"),
    ("windows-1252", "it looks like windows-1252"),
    ("utf-16", "it looks like UTF-16"),
    ("utf-16-le", "it looks like UTF-16"),
    ("utf-16-be", "it looks like UTF-16"),
    ("utf-32", "it looks like UTF-32"),
    ("utf-32-le", "it looks like UTF-32"),
    ("utf-32-be", "it looks like UTF-32"),
]


class TestConfig:
    @pytest.mark.parametrize("encoding, words", ENCODINGS)
    def test_another_encoding(self, runtime: Runtime, bundle: Bundle, encoding: str, words: str) -> None:
        bundle.config["annotations"] = {"word": "naïve\u20ac" if encoding == "windows-1252" else "naïve"}
        text = json.dumps(bundle.config, ensure_ascii=False, indent=1)
        if encoding == "windows-1252":
            text = text.replace("ï", "")
        (bundle.path / "config.json").write_bytes(text.encode(encoding))
        error = raw.run(runtime, "create", "--bundle", bundle.path, new_id()).error
        assert "config.json is not valid JSON: line " in error and "it is not UTF-8" in error
        assert words in error
        if encoding == "latin-1":
            line = next(number for number, line in enumerate(text.splitlines(), 1) if "ï" in line)
            assert f"line {line}, column {text.splitlines()[line - 1].index('ï') + 1}: " in error
            assert "byte 0xef" in error
        assert runtime.ids() == []

    def test_utf_8_with_a_byte_order_mark_is_read(self, runtime: Runtime, bundle: Bundle) -> None:
        (bundle.path / "config.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(bundle.config).encode())
        runtime.ok("create", "--bundle", bundle.path, new_id())

    @pytest.mark.parametrize("data", [b"{\xff}", b"\xed\xa0\x80", b'"\xc3', b"\x80", b"{}\xfe"])
    def test_process_of_exec(self, container: Make, workdir: Path, data: bytes) -> None:
        file = workdir / "process.json"
        file.write_bytes(data)
        box = container()
        said = raw.run(box.runtime, "exec", "--process", file, box.id)
        assert said.status == 255
        assert (
            "process.json is not valid JSON: line 1, column " in said.error and "it is not UTF-8: byte 0x" in said.error
        )

    def test_resources_of_update(self, container: Make, workdir: Path) -> None:
        file = workdir / "resources.json"
        file.write_bytes(b'{"pids": {"limit": \xff}}')
        box = container()
        assert "it is not UTF-8: byte 0xff" in raw.run(box.runtime, "update", "--resources", file, box.id).error


class TestProcesses:
    def test_a_name_in_ps(self, container: Make, bundle: Bundle) -> None:
        """What docker top shows."""
        bundle.sh("printf 'a\\377b) R 1\\n' > /proc/self/comm; while :; do sleep 100; done")
        box = container()
        wait_for(lambda: FF in Path(f"/proc/{box.pid}/comm").read_bytes(), "the process has its name")
        assert f" {box.pid} ".encode() in raw.ok(box.runtime, "ps", box.id)
        assert raw.ok(box.runtime, "ps", "--format", "json", box.id).decode().startswith("[")
        assert f" {box.pid} ".encode() in raw.ok(box.runtime, "ps", box.id, "-e", "-o", "uid,pid,comm")

    def test_a_kernel_threads_like_name(self, container: Make, bundle: Bundle) -> None:
        """A process that has no arguments is shown by its name."""
        bundle.sh("printf '\\377\\033x' > /proc/self/comm; sleep 0.1; exec sleep 100")
        box = container()
        box.exec(
            "--detach", "--", "sh", "-c", "printf 'z\\377\\033' > /proc/self/comm; while :; do sleep 1; done", "\udcff"
        )
        wait_for(lambda: rb"\xff" in raw.ok(box.runtime, "ps", box.id), "the process is shown")
        shown = raw.ok(box.runtime, "ps", box.id)
        assert FF not in shown and b"\x1b" not in shown
        shown.decode()

    @pytest.mark.parametrize("name", ["x\udcff", "x\u2028y", "x\x0by", "x\x1b", "x" * 250])
    def test_a_child_cgroup(self, container: Make, bundle: Bundle, name: str, workdir: Path) -> None:
        """Made by the container, with its init in it."""
        for mount in bundle.mounts:
            if mount["type"].startswith("cgroup"):
                mount["options"] = [option for option in mount["options"] if option != "ro"]
        box = container()
        text = 'cd /sys/fs/cgroup && mkdir "$0" && echo 1 > "$0/cgroup.procs" && echo $$ > "$0/cgroup.procs"'
        result = box.exec("--", "sh", "-c", text, name)
        assert result.status == 0, result
        own = Path(f"/proc/{box.pid}/cgroup").read_bytes()
        assert own.endswith(f"/{name}\n".encode("utf-8", "surrogateescape"))
        inside = box.exec("--", "cat", "/proc/self/cgroup")
        assert inside.status == 0, inside
        assert f" {box.pid} ".encode() in raw.ok(box.runtime, "ps", box.id)
        json.loads(raw.ok(box.runtime, "events", "--stats", box.id))
        box.runtime.ok("pause", box.id)
        box.runtime.ok("resume", box.id)
        box.kill()
        box.wait_stopped()
        box.delete()
        assert box.runtime.ids() == []


KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
AddHook = Callable[..., None]


class TestHooks:
    """A hook prints what is no text, and fails. The words: what stands in the error."""

    @pytest.fixture
    def hook(self, bundle: Bundle) -> AddHook:
        def add(kind: str, command: str, **more: Any) -> None:
            entry = {"path": "/bin/sh", "args": ["sh", "-c", command], "env": ["PATH=/usr/bin:/bin"], **more}
            dict_of(bundle.config, "hooks").setdefault(kind, []).append(entry)

        return add

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_it_says_is_told(
        self, runtime: Runtime, bundle: Bundle, hook: AddHook, kind: str, workdir: Path
    ) -> None:
        hook(kind, "printf 'no \\377 \\303 \\033[1m\\n\\342\\200\\250end'; exit 3")
        name, log = new_id(), workdir / "log"
        footprint = leaks.Footprint(runtime.root)
        command = ["--log", str(log), "--log-format", "json"]
        tested = Runtime(runtime.root, options=command)
        said = raw.run(tested, "create", "--bundle", bundle.save(), name)
        if kind in ("startContainer", "poststart", "poststop"):
            assert said.status == 0, said
            said = raw.run(tested, "start", name)
        if kind == "poststop":
            assert said.status == 0, said
            said = raw.run(tested, "delete", "--force", name)
            assert said.status == 0 and said.err == b"", "a poststop hook that fails is a warning"
        else:
            assert "exit status 3, output: no \\xff \\xc3 \\x1b[1m / end" in said.error
        told = [json.loads(line) for line in log.read_bytes().decode().splitlines()]
        assert any("exit status 3, output: no \\xff \\xc3 \\x1b[1m / end" in line["msg"] for line in told)
        assert all(line["msg"].isprintable() for line in told)
        raw.ok(runtime, "delete", "--force", name)
        footprint.check()
        assert runtime.ids() == []

    @pytest.mark.parametrize("size", [1023, 1024, 1025, 4096, 100_000])
    def test_cut_within_a_character(self, runtime: Runtime, bundle: Bundle, hook: AddHook, size: int) -> None:
        hook("createRuntime", f"head -c {size} /dev/zero | sed 's/\\x00/\u20ac/g'; printf '\\377'; exit 1")
        error = raw.run(runtime, "create", "--bundle", bundle.save(), new_id()).error
        assert error.count("\u20ac") > 300 and "\\xff" in error
        assert runtime.ids() == []
