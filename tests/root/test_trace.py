"""`--trace FILE`: Chrome's trace format, every step of the plan on its side, in the plan's order."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, new_id, says

Event = dict[str, Any]


@pytest.fixture
def file(workdir: Path) -> Path:
    return workdir / "trace.json"


def events_of(file: Path) -> list[Event]:
    """Return the events that have a duration; checks what a viewer needs of each."""
    document = json.loads(file.read_text())
    assert document["displayTimeUnit"] == "ms"
    found = [event for event in document["traceEvents"] if event["ph"] == "X"]
    named = {event["pid"] for event in document["traceEvents"] if event["ph"] == "M"}
    for event in found:
        assert {"name", "cat", "ph", "ts", "dur", "pid", "tid"} <= event.keys()
        assert event["ts"] >= 0 and event["dur"] >= 0, event
        assert event["pid"] in named
    return found


def steps_of(events: list[Event], side: str) -> list[Event]:
    return [event for event in events if event["cat"] == "step" and event["args"]["side"] == side]


def planned(runtime: Runtime, bundle: Path, name: str, side: str) -> list[str]:
    """Return the descriptions that `explain` prints for one side."""
    rows = [line.split(maxsplit=2) for line in runtime.ok("explain", "--bundle", bundle, name).splitlines()]
    return [row[2] for row in rows if len(row) == 3 and row[0].isdecimal() and row[1] == side]


class TestRun:
    @pytest.fixture
    def events(self, runtime: Runtime, bundle: Bundle, file: Path) -> list[Event]:
        bundle.args("true")
        self.name = new_id()
        # As explain, before there is a container: what is to be made depends on what is there.
        self.plan = {side: planned(runtime, bundle.save(), self.name, side) for side in ("host", "init")}
        runtime.ok("run", "--trace", file, "--bundle", bundle.path, self.name)
        return events_of(file)

    @pytest.mark.parametrize("side", ["host", "init"])
    def test_every_step_of_the_plan_in_its_order(self, events: list[Event], side: str) -> None:
        names = [event["name"] for event in sorted(steps_of(events, side), key=lambda event: event["ts"])]
        assert len(names) > 10
        # The columns of explain: pointer, then the description.
        assert len(names) == len(self.plan[side])
        for name, row in zip(names, self.plan[side], strict=True):
            assert row.endswith(name)

    @pytest.mark.parametrize("side", ["host", "init"])
    def test_one_step_of_a_side_after_the_other(self, events: list[Event], side: str) -> None:
        steps = sorted(steps_of(events, side), key=lambda event: event["ts"])
        for before, after in itertools.pairwise(steps):
            assert before["ts"] + before["dur"] <= after["ts"] + 0.001, (before, after)

    def test_the_two_sides_share_a_clock(self, events: list[Event]) -> None:
        """Init is born after the host has made the cgroup, and the record is written before the program starts."""
        at = {event["name"].partition("(")[0]: event for event in events if event["cat"] == "step"}
        assert at["make_cgroup"]["ts"] < at["pivot_root"]["ts"] < at["save_record"]["ts"] < at["exec_program"]["ts"]
        assert at["make_cgroup"]["pid"] != at["pivot_root"]["pid"]

    def test_start_imports_and_phases(self, events: list[Event]) -> None:
        by_category: dict[str, set[str]] = {}
        for event in events:
            by_category.setdefault(event["cat"], set()).add(event["name"])
        assert by_category["command"] == {"run"}
        assert "_prctl" in by_category["import"]
        assert {"spec.validate", "plan.build.build_create", "engine.launch.launch"} <= by_category["phase"]
        assert {"protect the binary, execve", "interpreter's core"} <= by_category["start"]

    def test_the_program_runs_as_without(self, runtime: Runtime, bundle: Bundle, file: Path) -> None:
        bundle.sh("echo out; exit 3")
        result = runtime.run("run", "--trace", file, "--bundle", bundle.save(), new_id())
        assert (result.status, result.stdout, result.stderr) == (3, "out\n", "")


def test_a_step_that_fails_is_the_last_of_its_side(runtime: Runtime, bundle: Bundle, file: Path) -> None:
    bundle.mount("/tmp/x", "tmpfs", "tmpfs", "size=nonsense")
    error = runtime.fails("create", "--trace", file, "--bundle", bundle.save(), new_id())
    says(error, "nonsense")
    last = max(steps_of(events_of(file), "init"), key=lambda event: event["ts"])
    assert "nonsense" in last["name"] or "FSCONFIG_CMD_CREATE" in last["name"]
    assert last["args"]["config.json"].startswith("/mounts/")


@pytest.mark.parametrize("command", ["create", "start", "state", "exec", "kill", "delete"])
def test_every_hot_command(container: Make, runtime: Runtime, bundle: Bundle, file: Path, command: str) -> None:
    if command == "create":
        runtime.ok("create", "--trace", file, "--bundle", bundle.save(), new_id())
    else:
        box = container(start=command in ("state", "exec", "kill"))
        if command == "delete":
            box.kill()
            box.wait_stopped()
        more = {"exec": ["true"], "kill": ["KILL"]}.get(command, [])
        runtime.run(command, "--trace", file, box.id, *more)
    events = events_of(file)
    assert [event["name"] for event in events if event["cat"] == "command"] == [command]
    assert bool(steps_of(events, "init")) == (command in ("create", "exec"))


def test_in_a_new_time_namespace_the_clock_is_the_same(runtime: Runtime, bundle: Bundle, file: Path) -> None:
    bundle.namespaces(time="")
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 100000}, "boottime": {"secs": 100000}}
    bundle.args("true")
    runtime.ok("run", "--trace", file, "--bundle", bundle.save(), new_id())
    events = events_of(file)
    assert max(event["ts"] + event["dur"] for event in events) < 60e6, "microseconds: less than a minute"


def test_a_file_that_cannot_be_written_is_told_before_anything_is_made(
    runtime: Runtime, bundle: Bundle, workdir: Path
) -> None:
    error = runtime.fails("create", "--trace", workdir / "none/trace.json", "--bundle", bundle.save(), new_id())
    says(error, "none/trace.json", "ENOENT")
    assert runtime.ids() == []
