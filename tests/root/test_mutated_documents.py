"""Documents with random changes, in a state directory, a bundle and for exec: bounded, from fixed seeds."""

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import raw
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, new_id, process_runs, wait_for

KEYS = (
    *("id", "ociVersion", "bundle", "rootfs", "annotations", "cgroup", "cgroup_mount", "cgroup_made", "mounts", "pid"),
    *("own_pid_namespace", "has_process", "later_hooks", "status", "created", "boot_id", "owner_uid", "cgroup_id"),
    *("start_time", "oom_kills", "systemd_unit", "systemd_user", "keyring", "note", "shared_namespaces"),
)


class TestMutations:
    """Bytes changed at random, from fixed seeds: whatever comes out of it, one line at most and a known status."""

    def mutated(self, data: bytes, chance: random.Random) -> bytes:
        new = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            at, kind = chance.randrange(len(new)), chance.randrange(5)
            if kind == 0:
                new[at] = chance.randrange(256)
            elif kind == 1:
                new[at] = chance.choice(b'\x00\x1b\n\x7f\x80\xc3\xed\xff"\\{}[],:0-9')
            elif kind == 2:
                del new[at : at + chance.randint(1, 40)]
            elif kind == 3:
                new[at:at] = new[at : at + chance.randint(1, 40)]
            else:
                new[at:at] = chance.randbytes(chance.randint(1, 4))
            if not new:
                break
        return bytes(new)

    def known(self, said: raw.Said, *statuses: int) -> bool:
        assert said.status in statuses, said
        if said.err:
            assert said.line
        assert said.err or said.status == 0, said
        return said.status == 0

    @pytest.mark.parametrize("file", ["state.json", "config.json"])
    @pytest.mark.parametrize("seed", range(3))
    def test_state_directory(self, container: Make, runtime: Runtime, file: str, seed: int) -> None:
        chance = random.Random(f"{file} {seed}")
        for _ in range(2):
            box = container()
            path = runtime.root / box.id / file
            data = path.read_bytes()
            for _ in range(8):
                path.write_bytes(self.mutated(data, chance))
                self.known(raw.run(runtime, "state", box.id), 0, 1)
                self.known(raw.run(runtime, "list"), 0)
                self.known(raw.run(runtime, "exec", box.id, "true"), 0, 255)
            path.write_bytes(data)
            box.delete("--force")
            assert runtime.ids() == []

    @pytest.mark.parametrize("seed", range(3))
    def test_delete_of_a_damaged_container(self, container: Make, runtime: Runtime, seed: int) -> None:
        """It goes, whatever the record says; what is said of the cgroup may leave that one, and it is told."""
        chance = random.Random(f"delete {seed}")
        for _ in range(10):
            box = container()
            folder = runtime.root / box.id
            sound = {name: (folder / name).read_bytes() for name in ("state.json", "config.json")}
            for name in chance.choice((["state.json"], ["config.json"], ["state.json", "config.json"])):
                (folder / name).write_bytes(self.mutated(sound[name], chance))
            if not self.known(raw.run(runtime, "delete", "--force", box.id), 0, 1) or folder.exists():
                for name, data in sound.items():
                    (folder / name).write_bytes(data)
                box.delete("--force")
            assert runtime.ids() == []

    @pytest.mark.parametrize("seed", range(3))
    def test_bundle(self, runtime: Runtime, bundle: Bundle, seed: int) -> None:
        chance = random.Random(f"bundle {seed}")
        bundle.args("true")
        data = (bundle.save() / "config.json").read_bytes()
        for _ in range(30):
            (bundle.path / "config.json").write_bytes(self.mutated(data, chance))
            name = new_id()
            if self.known(raw.run(runtime, "create", "--bundle", bundle.path, name), 0, 1):
                raw.ok(runtime, "delete", "--force", name)
            assert runtime.ids() == []

    @pytest.mark.parametrize("seed", range(3))
    def test_process_document(self, container: Make, workdir: Path, seed: int) -> None:
        chance = random.Random(f"process {seed}")
        user = {"uid": 0, "gid": 0, "additionalGids": [1, 2]}
        document = {"args": ["true", "\u20ac"], "cwd": "/", "user": user, "env": ["PATH=/bin"], "terminal": False}
        data = json.dumps(document, ensure_ascii=False).encode()
        box = container()
        for _ in range(30):
            (workdir / "process.json").write_bytes(self.mutated(data, chance))
            said = raw.run(box.runtime, "exec", "--process", workdir / "process.json", box.id)
            assert said.status in (0, 255) or not said.err, said
            if said.status == 255:
                assert said.line
        assert box.status == "running"


NUMBERS: tuple[Any, ...] = (True, 0, -1, 1 << 70, 10**400, 1.5)
TEXTS: tuple[Any, ...] = ("", "x", "\x00", "/../..")
STRANGE: tuple[Any, ...] = (None, *NUMBERS, *TEXTS, [], [1], [[]], [["/nowhere", "x"]], {}, {"a": 1})


class TestRecord:
    """A record of well-formed JSON in which one value is another than it can be."""

    @pytest.mark.parametrize("key", KEYS)
    def test_strange_values(self, container: Make, runtime: Runtime, key: str) -> None:
        for value in STRANGE:
            box = container()
            commands = (["state", box.id], 1), (["list"], 0), (["exec", box.id, "true"], 255)
            path = runtime.root / box.id / "state.json"
            record = json.loads(path.read_bytes())
            path.write_text(json.dumps({**record, key: value}))
            for command, status in commands:
                said = raw.run(runtime, *command)
                assert said.status in (0, status), (value, said)
                assert said.err == b"" or said.line, (value, said)
            raw.ok(runtime, "delete", "--force", box.id)
            assert runtime.ids() == [], value
            wait_for(partial(is_gone, record["pid"]), f"init of {value!r} is gone")

    def test_all_keys_are_tried(self, container: Make, runtime: Runtime) -> None:
        box = container()
        record = json.loads((runtime.root / box.id / "state.json").read_bytes())
        assert set(record) <= set(KEYS)


def is_gone(pid: int) -> bool:
    return not process_runs(pid)
