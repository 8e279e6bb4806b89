"""The steps of hooks: where they run and what they are given, for configs with and without a filter."""

from typing import Any

import pytest

from pyruntime import kernel
from pyruntime.engine import hooks as engine
from pyruntime.plan import hooks, seccomp
from pyruntime.plan.wishes import Wishes
from pyruntime.step import Slot, Step

REFUSING = {"defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
NOTIFYING = {**REFUSING, "listenerPath": "/s", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}


def step(point: str, filter_: dict[str, Any] | None = None, **hook: Any) -> Step:
    wishes = Wishes("c", "/bundle")
    config = {
        "ociVersion": "1.3.0",
        "process": {"env": ["A=1", "HOME=/h"], "args": ["x"]},
        "hooks": {point: [{"path": "/hook", **hook}]},
        "linux": {"seccomp": filter_},
    }
    (found,) = hooks.hook_steps(config, wishes, point)
    return found


@pytest.mark.parametrize("filter_", [None, REFUSING, NOTIFYING])
def test_hooks_with_the_hosts_files_get_a_directory_and_no_filter(filter_: Any) -> None:
    for point in ("prestart", "createRuntime", "poststart", "poststop"):
        assert step(point, filter_).args[3:] == ("/bundle",)
    (root,) = step("createContainer", filter_).args[3:]
    assert isinstance(root, Slot) and root.name == "root"


def test_a_hook_inside_gets_what_the_program_gets() -> None:
    assert step("startContainer").args[3:] == (None, ["A=1", "HOME=/h"])
    directory, env, filter_, flags = step("startContainer", REFUSING).args[3:]
    assert (directory, env, repr(flags)) == (None, ["A=1", "HOME=/h"], "SECCOMP_FILTER_FLAG_LOG")
    assert isinstance(filter_, Slot) and filter_.name == "seccomp_filter"
    assert step("startContainer", NOTIFYING).args[3:] == (None, ["A=1", "HOME=/h"]), "init has it by then"


def test_a_filter_that_notifies_is_loaded_before_hooks_inside_and_once() -> None:
    config = {"ociVersion": "1.3.0", "linux": {"seccomp": NOTIFYING}, "hooks": {"startContainer": [{"path": "/hook"}]}}
    wishes = Wishes("c", "/bundle")
    state, load = seccomp.before_hooks_steps(config, wishes)
    assert (state.call, load.call, load.closes) == ("listener_state", "seccomp_hand_over", ("notify",))
    for other in ({**config, "hooks": {}}, {**config, "linux": {"seccomp": REFUSING}}):
        assert seccomp.before_hooks_steps(other, wishes) == []


@pytest.mark.parametrize("seconds", [1, 2147483, 2147484, 4294968, 9223372036854775807])
def test_a_timeout_of_any_length(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    waits: list[int] = []

    def poll(_fds: Any, milliseconds: int) -> list[Any]:
        assert 0 < milliseconds <= 0x7FFFFFFF
        waits.append(milliseconds)
        return [1] if len(waits) == 5 else []

    monkeypatch.setattr("posix.pidfd_open", lambda _pid: -1)
    monkeypatch.setattr("posix.close", lambda _fd: None)
    monkeypatch.setattr(kernel, "poll", poll)
    in_time = engine.ends_within(1, seconds * 1000)
    assert in_time or sum(waits) == seconds * 1000
    assert in_time == (seconds > 4294968)
