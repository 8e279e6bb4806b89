"""container.limits: an error says that memory or tasks ran out when they did, and only then."""

import errno
from pathlib import Path

import pytest

from pyruntime.container import limits
from pyruntime.container.cgroup import Cgroup
from pyruntime.engine import hooks
from pyruntime.engine.channel import failure_of
from pyruntime.errors import Failure
from pyruntime.plan.hooks import Hook
from pyruntime.step import INIT, Step


def group(tmp_path: Path, kills: int, limit: str) -> Cgroup:
    (tmp_path / "memory.events").write_text(f"low 0\noom 9\noom_kill {kills}\noom_group_kill 0\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    return Cgroup(str(tmp_path))


@pytest.mark.parametrize(
    ("kills", "before", "limit", "what", "number", "said"),
    [
        (
            1, 0, "1048576", "init died", None,
            "init died: out of memory: memory.max is 1048576 bytes [config.json#/linux/resources/memory/limit]; "
            "raise the limit",
        ),
        (1, 0, "max", "init died", None,
         "init died: out of memory, by a limit above the container's cgroup or of the whole machine [config.json#/x]"),
        (3, 3, "1048576", "init died", None, "init died [config.json#/x]"),
        (
            0, 0, "1048576", "mount: cannot allocate memory (ENOMEM)", errno.ENOMEM,
            "mount: cannot allocate memory (ENOMEM): out of memory: memory.max is 1048576 bytes "
            "[config.json#/linux/resources/memory/limit]; raise the limit",
        ),
        (0, 0, "max", "mount", errno.ENOMEM, "mount [config.json#/x]"),
        (0, 0, "1048576", "mount", errno.ENOSPC, "mount [config.json#/x]"),
        (0, 0, "1048576", 'exec: "(ENOMEM)": not found', None, 'exec: "(ENOMEM)": not found [config.json#/x]'),
    ],
)  # fmt: skip
def test_explain(tmp_path: Path, kills: int, before: int, limit: str, what: str, number: int | None, said: str) -> None:
    """By the errno of the failure: the words may be anybody's."""
    failure = Failure(what, pointer="/x", number=number)
    limits.explain(failure, group(tmp_path, kills, limit), before)
    assert str(failure) == said


SECOND = "clone_into_pid_namespace"
TOO_MANY = "clone3: too many tasks: pids.max is 4 [config.json#/linux/resources/pids/limit]; raise the limit"


@pytest.mark.parametrize(
    ("used", "limit", "call", "number", "said"),
    [
        (4, "4", "clone3", errno.EAGAIN, TOO_MANY),
        (3, "4", "clone3", errno.EAGAIN, "clone3"),
        (3, "4", SECOND, errno.EAGAIN, TOO_MANY),
        (2, "4", SECOND, errno.EAGAIN, "clone3"),
        (4, "max", "clone3", errno.EAGAIN, "clone3"),
        (4, "4", "clone3", errno.EPERM, "clone3"),
        (4, "4", "clone3", None, "clone3"),
    ],
)
def test_tasks(tmp_path: Path, used: int, limit: str, call: str, number: int | None, said: str) -> None:
    (tmp_path / "pids.current").write_text(f"{used}\n")
    (tmp_path / "pids.max").write_text(f"{limit}\n")
    failure = Failure("clone3", number=number)
    failure.call = call
    limits.explain(failure, Cgroup(str(tmp_path)), 0)
    assert str(failure) == said


def test_the_second_clone_is_known_by_its_step(tmp_path: Path) -> None:
    """Not by words, which a failure of another step may have as well."""
    (tmp_path / "pids.current").write_text("3\n")
    (tmp_path / "pids.max").write_text("4\n")
    for call, tells in ((SECOND, True), ("run_hook", False)):
        failure = failure_of(Step(INIT, "", call, f"{SECOND}("), OSError(errno.EAGAIN, ""))
        limits.explain(failure, Cgroup(str(tmp_path)), 0)
        assert ("too many tasks" in str(failure)) is tells


def test_a_cgroup_that_is_gone_or_counts_nothing(tmp_path: Path) -> None:
    failure = Failure("init died", number=errno.ENOMEM)
    assert Cgroup(str(tmp_path / "none")).oom_kills() == 0
    limits.explain(failure, Cgroup(str(tmp_path)), 0)
    limits.explain(KeyboardInterrupt(), group(tmp_path, 1, "5"), 0)
    assert str(failure) == "init died"


def test_the_errno_of_a_hook_that_can_not_be_started() -> None:
    """Which may be that of too many tasks, or of too little memory."""
    hook = Hook({"path": "/is/not/there", "args": ["x"], "env": []})
    with pytest.raises(Failure, match=r'"/is/not/there": it can\'t be executed: .*\(ENOENT\)$') as caught:
        hooks.run(hook, b"{}", "/")
    assert caught.value.errno == errno.ENOENT
