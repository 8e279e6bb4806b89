"""container.limits: an error says that memory or tasks ran out when they did, and only then."""

from pathlib import Path

import pytest

from pyruntime.container import limits
from pyruntime.container.cgroup import Cgroup
from pyruntime.errors import Failure


def group(tmp_path: Path, kills: int, limit: str) -> Cgroup:
    (tmp_path / "memory.events").write_text(f"low 0\noom 9\noom_kill {kills}\noom_group_kill 0\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    return Cgroup(str(tmp_path))


@pytest.mark.parametrize(
    ("kills", "before", "limit", "what", "said"),
    [
        (
            1, 0, "1048576", "init died",
            "init died: out of memory: memory.max is 1048576 bytes [config.json#/linux/resources/memory/limit]; "
            "raise the limit",
        ),
        (1, 0, "max", "init died",
         "init died: out of memory, by a limit above the container's cgroup or of the whole machine [config.json#/x]"),
        (3, 3, "1048576", "init died", "init died [config.json#/x]"),
        (
            0, 0, "1048576", "mount: cannot allocate memory (ENOMEM)",
            "mount: cannot allocate memory (ENOMEM): out of memory: memory.max is 1048576 bytes "
            "[config.json#/linux/resources/memory/limit]; raise the limit",
        ),
        (0, 0, "max", "mount: (ENOMEM)", "mount: (ENOMEM) [config.json#/x]"),
    ],
)  # fmt: skip
def test_explain(tmp_path: Path, kills: int, before: int, limit: str, what: str, said: str) -> None:
    failure = Failure(what, pointer="/x")
    limits.explain(failure, group(tmp_path, kills, limit), before)
    assert str(failure) == said


@pytest.mark.parametrize(
    ("used", "limit", "what", "said"),
    [
        (
            4,
            "4",
            "clone3: (EAGAIN)",
            "clone3: (EAGAIN): too many tasks: pids.max is 4 [config.json#/linux/resources/pids/limit]; "
            "raise the limit",
        ),
        (3, "4", "clone3: (EAGAIN)", "clone3: (EAGAIN)"),
        (
            3,
            "4",
            "clone_into_pid_namespace(<channel>): clone3: (EAGAIN)",
            "clone_into_pid_namespace(<channel>): clone3: (EAGAIN): too many tasks: pids.max is 4 "
            "[config.json#/linux/resources/pids/limit]; raise the limit",
        ),
        (2, "4", "clone_into_pid_namespace(<channel>): (EAGAIN)", "clone_into_pid_namespace(<channel>): (EAGAIN)"),
        (4, "max", "clone3: (EAGAIN)", "clone3: (EAGAIN)"),
        (4, "4", "clone3: (EPERM)", "clone3: (EPERM)"),
    ],
)
def test_tasks(tmp_path: Path, used: int, limit: str, what: str, said: str) -> None:
    (tmp_path / "pids.current").write_text(f"{used}\n")
    (tmp_path / "pids.max").write_text(f"{limit}\n")
    failure = Failure(what)
    limits.explain(failure, Cgroup(str(tmp_path)), 0)
    assert str(failure) == said


def test_a_cgroup_that_is_gone_or_counts_nothing(tmp_path: Path) -> None:
    failure = Failure("init died")
    assert Cgroup(str(tmp_path / "none")).oom_kills() == 0
    limits.explain(failure, Cgroup(str(tmp_path)), 0)
    limits.explain(KeyboardInterrupt(), group(tmp_path, 1, "5"), 0)
    assert str(failure) == "init died"
