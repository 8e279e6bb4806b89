"""`events` and out-of-memory errors where memory is counted: kills are told, and the numbers are those of the files."""

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import paths, session
from support.bundle import Bundle, dict_of
from support.cgroup import Group
from support.fixtures import Make
from support.runtime import ENVIRONMENT, SECONDS, Container, Runtime, new_id, says, wait_for

MIB = 1 << 20
ALLOCATE = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null"


def limit(bundle: Bundle, **resources: object) -> None:
    dict_of(bundle.linux, "resources").update(resources)


def statistics(box: Container) -> dict[str, Any]:
    data = json.loads(box.runtime.ok("events", "--stats", box.id))["data"]
    assert isinstance(data, dict)
    return data


def stream(box: Container, interval: str = "1h") -> "subprocess.Popen[str]":
    """Start `events`, whose statistics are far away unless another interval is given; the caller ends it."""
    return subprocess.Popen(
        box.runtime.command("events", "--interval", interval, box.id),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def watches(process: "subprocess.Popen[str]") -> bool:
    """Whether a stream has got as far as waiting for events."""
    folder = Path(f"/proc/{process.pid}/fd")
    for link in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it closes others meanwhile
            if os.readlink(link).endswith("/memory.events"):
                return True
    return False


class TestOutOfMemory:
    def test_each_kill_is_an_event(self, container: Make, bundle: Bundle) -> None:
        limit(bundle, memory={"limit": 24 * MIB, "swap": 24 * MIB})
        bundle.args("sleep", "1000")
        box = container()
        with stream(box) as process:
            try:
                wait_for(lambda: watches(process), "it watches")
                for _ in range(2):
                    assert box.exec("--", "sh", "-c", ALLOCATE).status == 137
                    assert process.stdout is not None
                    assert json.loads(process.stdout.readline()) == {"type": "oom", "id": box.id}
                box.kill()
                out, err = process.communicate(timeout=SECONDS)
                assert (process.returncode, out, err) == (0, "", "")
            finally:
                process.kill()

    def test_a_limit_that_comes_later(self, container: Make, bundle: Bundle) -> None:
        """Memory is not counted when the stream begins."""
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-late/box"
        bundle.args("sleep", "1000")
        box = container()
        (Group(box).path.parent / "cgroup.subtree_control").write_text("-memory")
        with stream(box, "500ms") as process:
            try:
                assert process.stdout is not None
                assert "raw" not in json.loads(process.stdout.readline())["data"]["memory"]
                box.runtime.ok("update", "--memory", "24m", "--memory-swap", "24m", box.id)
                wait_for(lambda: watches(process), "it watches")
                assert box.exec("--", "sh", "-c", ALLOCATE).status == 137
                told = [json.loads(process.stdout.readline()) for _ in range(20)]
                assert [event["type"] for event in told].count("oom") == 1
                assert told[-1]["data"]["memory"]["usage"]["limit"] == 24 * MIB
            finally:
                process.kill()

    def test_the_kill_that_ends_it(self, container: Make, bundle: Bundle) -> None:
        limit(bundle, memory={"limit": 24 * MIB, "swap": 24 * MIB})
        bundle.sh(f"read -r line </go; exec {ALLOCATE}")
        os.mkfifo(bundle.rootfs / "go")
        box = container()
        with stream(box) as process:
            try:
                wait_for(lambda: watches(process), "it watches")
                with (bundle.rootfs / "go").open("w") as go:
                    go.write("now\n")
                out, err = process.communicate(timeout=SECONDS)
                assert (process.returncode, err) == (0, "")
                assert [json.loads(line)["type"] for line in out.splitlines()] == ["oom"]
            finally:
                process.kill()


class TestStatistics:
    def test_the_numbers_are_those_of_the_files(self, container: Make, bundle: Bundle) -> None:
        device = os.stat("/dev/vdc").st_rdev
        numbers = {"major": os.major(device), "minor": os.minor(device)}
        limit(
            bundle,
            memory={"limit": 64 * MIB, "swap": 96 * MIB},
            pids={"limit": 33},
            cpu={"quota": 50000, "period": 100000},
            devices=[{"allow": True, "type": "b", "access": "rwm", **numbers}],
        )
        bundle.linux["devices"] = [{"path": "/dev/scratch", "type": "b", **numbers}]
        bundle.mount("/held", "tmpfs", "tmpfs", "size=64m")
        bundle.args("sleep", "1000")
        box = container()
        group = Group(box)
        box.sh("head -c 8m /dev/zero > /held/file; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
        box.sh("dd if=/dev/zero of=/dev/scratch bs=1M count=2 oflag=direct 2>/dev/null")
        found = statistics(box)
        memory = found["memory"]
        assert memory["usage"]["limit"] == 64 * MIB
        assert memory["swap"]["limit"] == 96 * MIB
        assert memory["usage"]["usage"] == pytest.approx(int(group.read("memory.current")), rel=0.2)
        assert memory["usage"]["usage"] > 8 * MIB
        assert memory["usage"]["max"] >= memory["usage"]["usage"]
        assert memory["raw"]["shmem"] == group.number("memory.stat", "shmem") > 8 * MIB - 1
        assert memory["cache"] == memory["raw"]["file"]
        assert found["pids"] == {"current": int(group.read("pids.current")), "limit": 33}
        usage = found["cpu"]["usage"]
        assert usage["total"] <= group.number("cpu.stat", "usage_usec") * 1000
        assert usage["total"] >= group.number("cpu.stat", "usage_usec") * 1000 * 0.5
        assert usage["kernel"] + usage["user"] == pytest.approx(usage["total"], rel=0.05)
        assert found["cpu"]["throttling"]["periods"] >= 1
        # Written past the page cache: what the kernel writes back on its own is not the container's.
        written = [
            entry["value"]
            for entry in found["blkio"]["ioServiceBytesRecursive"]
            if (entry["op"], entry["major"], entry.get("minor", 0)) == ("Write", numbers["major"], numbers["minor"])
        ]
        assert written and written[0] >= 2 * MIB
        assert set(found["hugetlb"]) >= {"2MB"}

    def test_failcnt_counts_the_limit(self, container: Make, bundle: Bundle) -> None:
        limit(bundle, memory={"limit": 24 * MIB, "swap": 24 * MIB})
        bundle.args("sleep", "1000")
        box = container()
        box.exec("--", "sh", "-c", ALLOCATE)
        assert statistics(box)["memory"]["usage"]["failcnt"] == Group(box).number("memory.events", "max") > 0

    def test_the_layout_is_runcs(self, container: Make, bundle: Bundle, workdir: Path) -> None:
        """Debian's runc says the same of a container of the same config, but for what its version does not know."""
        limit(bundle, memory={"limit": 64 * MIB, "swap": 96 * MIB}, pids={"limit": 33})
        bundle.args("sleep", "1000")
        ours = statistics(container())
        bundle.config["ociVersion"] = "1.0.2"
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-runc"
        runtime = Runtime(workdir / "runc", paths.system_command("runc") or "runc")
        peer = Container(runtime, bundle.save(), new_id("runc"))
        try:
            peer.create()
            peer.start()
            theirs = statistics(peer)
        finally:
            peer.runtime.run("delete", "--force", peer.id)
            peer.close()
        # Since runc 1.2.
        newer = {"cpu/psi", "memory/psi", "blkio/psi", "memory/usage/max"}
        assert shape(theirs) - shape(ours) == set()
        assert {path for path in shape(ours) - shape(theirs) if not path.startswith(tuple(newer))} == set()
        for part, key in (("memory", "usage"), ("memory", "swap")):
            assert ours[part][key]["limit"] == theirs[part][key]["limit"]
        assert ours["pids"] == theirs["pids"]


CHANGING = ("memory/cache", "memory/raw/", "cpu/throttling/", "blkio/")
"""What is left out while it is 0, or depends on the disk."""


def shape(value: object, path: str = "") -> set[str]:
    """Return the paths of all keys of a document, but of those that come and go with the load."""
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        here = f"{path}/{key}".lstrip("/")
        if not here.startswith(CHANGING):
            found |= {here} | shape(inner, here)
    return found


class TestErrors:
    """Hazard 16: an error of create, start or exec says that memory ran out."""

    def test_create(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-small"
        limit(bundle, memory={"limit": MIB // 4, "swap": MIB // 4})
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        says(error, "out of memory", f"memory.max is {MIB // 4} bytes", "[config.json#/linux/resources/memory/limit]")
        assert error.endswith("; raise the limit") and error.count("[config.json") == 1, error
        assert runtime.ids() == []
        assert not (session.CGROUP_ROOT / f"{session.TOKEN}-small").exists()

    @pytest.mark.parametrize("whole", [False, True], ids=["the hook", "init too"])
    def test_start(self, container: Make, bundle: Bundle, whole: bool) -> None:
        """A startContainer hook takes too much; with memory.oom.group it takes init with it."""
        limit(bundle, memory={"limit": 64 * MIB, "swap": 64 * MIB}, unified={"memory.oom.group": str(int(whole))})
        arguments = ["dd", "if=/dev/zero", "of=/dev/null", "bs=96M", "count=1"]
        bundle.config["hooks"] = {"startContainer": [{"path": "/bin/dd", "args": arguments}]}
        box = container(start=False)
        error = box.runtime.fails("start", box.id)
        says(
            error, "init died" if whole else "hook", f"out of memory: memory.max is {64 * MIB} bytes", "raise the limit"
        )
        wait_for(lambda: box.status == "stopped", "it has stopped")
        again = box.runtime.fails("start", box.id)
        says(again, "a container that has stopped", "memory.events counts", "killed for lack of memory")

    def test_exec(self, container: Make, bundle: Bundle) -> None:
        limit(bundle, memory={"limit": 64 * MIB, "swap": 64 * MIB})
        bundle.args("sleep", "1000")
        box = container()
        group = Group(box)
        # What the program has, and nothing more.
        (group.path / "memory.max").write_text(group.read("memory.current"))
        result = box.exec("--", "true")
        assert result.status == 255, result
        says(result.stderr, "out of memory", f"memory.max is {group.read('memory.max')} bytes", "raise the limit")

    def test_a_kill_of_before_is_not_blamed(self, container: Make, bundle: Bundle) -> None:
        limit(bundle, memory={"limit": 24 * MIB, "swap": 24 * MIB})
        bundle.args("sleep", "1000")
        box = container()
        assert box.exec("--", "sh", "-c", ALLOCATE).status == 137
        result = box.exec("--", "/no/such/program")
        assert result.status == 255 and "out of memory" not in result.stderr, result
