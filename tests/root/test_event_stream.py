"""`events`: the layout of the statistics, and a stream that ends with its container or with its reader."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bundle import Bundle
from support.cgroup import Group
from support.fixtures import Make
from support.runtime import ENVIRONMENT, SECONDS, Container, Runtime, says, wait_for

PARTS = {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"}


def statistics(box: Container) -> dict[str, Any]:
    """Return the data of `events --stats`, which is one line."""
    text = box.runtime.ok("events", "--stats", box.id)
    assert text.endswith("\n") and text.count("\n") == 1
    event = json.loads(text)
    assert (event["type"], event["id"]) == ("stats", box.id)
    data = event["data"]
    assert isinstance(data, dict)
    return data


@contextlib.contextmanager
def stream(box: Container, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `events`; end it when the test has not."""
    with subprocess.Popen(
        box.runtime.command("events", *options, box.id),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(process: subprocess.Popen[str], box: Container) -> None:
    """Wait until the stream has begun: it holds the cgroup's file from then on, and waits for a change of it."""
    file = str(Group(box).path / "cgroup.events")

    def begun() -> bool:
        assert process.poll() is None, "the stream has ended"
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(link) == file:
                    return True
        return False

    wait_for(begun, "the stream listens")


def next_event(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    event = json.loads(process.stdout.readline())
    assert isinstance(event, dict)
    return event


def ends(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Wait for the stream's end, which must be a success without a word; return the events up to it."""
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


class TestStatistics:
    def test_layout(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("sleep 1000 & sleep 1000 & wait")
        box = container()
        group = Group(box)
        wait_for(lambda: len(group.read("cgroup.procs").split()) == 3, "the shell has made its processes")
        found = statistics(box)
        assert set(found) == PARTS
        assert {"kernel", "user", "total"} <= set(found["cpu"]["usage"])
        assert {"usage", "swap", "kernel", "kernelTCP"} <= set(found["memory"])
        assert found["pids"]["current"] == 3
        assert set(found["hugetlb"]) <= {"2MB", "1GB", "64KB", "32MB"}
        assert found["network_interfaces"] is None

    def test_cpu_time_is_in_nanoseconds(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("while :; do :; done")
        box = container()
        group = Group(box)
        wait_for(lambda: group.number("cpu.stat", "usage_usec") > 10**5, "it has used a tenth of a second")
        before = group.number("cpu.stat", "usage_usec") * 1000
        found = statistics(box)["cpu"]["usage"]["total"]
        after = group.number("cpu.stat", "usage_usec") * 1000
        assert before <= found <= after

    @pytest.mark.parametrize("state", ["created", "paused"])
    def test_of_a_container_that_does_not_run(self, container: Make, bundle: Bundle, state: str) -> None:
        bundle.args("sleep", "1000")
        box = container(start=state == "paused")
        if state == "paused":
            box.runtime.ok("pause", box.id)
        assert box.status == state
        assert statistics(box)["pids"]["current"] == 1

    def test_stopped(self, container: Make) -> None:
        box = container()
        box.kill()
        box.wait_stopped()
        says(box.runtime.fails("events", "--stats", box.id), "container not running", "stopped")
        says(box.runtime.fails("events", box.id), "container not running", "stopped")

    def test_no_container(self, runtime: Runtime) -> None:
        says(runtime.fails("events", "--stats", "nobody"), "does not exist")


class TestStream:
    def test_at_the_interval(self, container: Make) -> None:
        box = container()
        began = time.monotonic()
        with stream(box, "--interval=200ms") as process:
            found = [next_event(process) for _ in range(4)]
            assert time.monotonic() - began >= 4 * 0.2
            assert {event["type"] for event in found} == {"stats"}
            assert {event["id"] for event in found} == {box.id}
            assert all(set(event["data"]) == PARTS for event in found)

    def test_it_ends_when_the_container_stops(self, container: Make) -> None:
        box = container()
        with stream(box, "--interval", "1h") as process:
            listening(process, box)
            box.kill()
            assert ends(process) == []

    def test_it_ends_although_others_live_on(self, container: Make, bundle: Bundle) -> None:
        """Without a pid namespace of its own a container leaves processes behind."""
        bundle.namespaces(pid=None)
        bundle.sh("trap 'exit 0' USR1; sleep 1000 & echo ready; wait")
        box = container()
        group = Group(box)
        wait_for(lambda: box.output == "ready\n", "it has made the other")
        with stream(box, "--interval", "1h") as process:
            listening(process, box)
            box.kill("USR1")
            assert ends(process) == []
            assert group.number("cgroup.events", "populated") == 1

    def test_it_ends_when_the_container_is_deleted(self, container: Make) -> None:
        box = container()
        with stream(box, "--interval", "1h") as process:
            listening(process, box)
            box.delete("--force")
            assert ends(process) == []

    def test_a_reader_that_goes_ends_it_at_once(self, container: Make) -> None:
        box = container()
        with stream(box, "--interval", "1h") as process:
            listening(process, box)
            assert process.stdout is not None and process.stderr is not None
            process.stdout.close()
            wait_for(lambda: process.poll() is not None, "it ends")
            assert process.stderr.read() == ""
        assert box.status == "running"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_silently(self, container: Make, number: signal.Signals) -> None:
        box = container()
        with stream(box, "--interval", "100ms") as process:
            next_event(process)
            os.kill(process.pid, number)
            assert process.wait(SECONDS) == -number
            assert process.stderr is not None and process.stderr.read() == ""

    @pytest.mark.parametrize("text", ["5", "0s", "-1s", "soon"])
    def test_wrong_interval(self, container: Make, text: str) -> None:
        box = container()
        says(box.runtime.fails("events", f"--interval={text}", box.id), "--interval", text)
