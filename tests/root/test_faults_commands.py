"""exec, start, delete and update with a fault at every step or call, and create at every call of the host's."""

import json
from pathlib import Path

import pytest
from support.bundle import Bundle, dict_of
from support.faults import configs, jobs

CALLS = ["errno", "host", "limit"]
TOLERATED = {
    # Controllers that no limit needs are wanted for statistics only.
    "create": ["enable_controllers"],
    # A poststop hook that can't run is a warning (runtime.md "Lifecycle").
    "delete": ["run_poststop"],
    # The changes are made; whether the kernel killed for them is only told.
    "update": ["kills_after"],
}
"""Functions that cope with the failure of any call in them, by command."""


def test_create_at_every_call(workdir: Path, bundle: Bundle) -> None:
    more = configs.plain(bundle, workdir)
    configs.own_cgroup(bundle)
    jobs.check(
        workdir, command="create", config="plain", level="call", kinds=CALLS, bundle=str(bundle.save()),
        tolerated=TOLERATED["create"], **more,
    )  # fmt: skip


@pytest.mark.parametrize("config", [configs.plain, configs.userns], ids=lambda config: config.__name__)
@pytest.mark.parametrize("options", [[], ["-t"]], ids=["plain", "terminal"])
def test_exec(workdir: Path, bundle: Bundle, config: configs.Config, options: list[str]) -> None:
    more = config(bundle, workdir)
    configs.own_cgroup(bundle)
    configs.shared(bundle, workdir)
    jobs.check(
        workdir, command="exec", config=f"{config.__name__} {options}", level="step", kinds=["errno", "host", "init"],
        options=options, bundle=str(bundle.save()), **more,
    )  # fmt: skip


def test_exec_at_every_call(workdir: Path, bundle: Bundle) -> None:
    configs.own_cgroup(bundle)
    configs.shared(bundle, workdir)
    jobs.check(
        workdir, command="exec", config="plain", level="call", kinds=CALLS, options=[], bundle=str(bundle.save()),
    )  # fmt: skip


@pytest.mark.parametrize("level", ["step", "call"])
@pytest.mark.parametrize(
    "config", [configs.docker, configs.hooks, configs.terminal], ids=lambda config: config.__name__
)
def test_start(workdir: Path, bundle: Bundle, config: configs.Config, level: str) -> None:
    more = config(bundle, workdir)
    configs.own_cgroup(bundle)
    jobs.check(
        workdir, command="start", config=config.__name__, level=level, kinds=CALLS, bundle=str(bundle.save()),
        **more,
    )  # fmt: skip


@pytest.mark.parametrize("stopped", [False, True], ids=["force", "stopped"])
@pytest.mark.parametrize("config", [configs.plain, configs.no_mount_namespace], ids=lambda config: config.__name__)
def test_delete(workdir: Path, bundle: Bundle, config: configs.Config, stopped: bool) -> None:
    more = config(bundle, workdir)
    configs.own_cgroup(bundle)
    bundle.config.setdefault("hooks", {})["poststop"] = [{"path": "/bin/true"}]
    jobs.check(
        workdir, command="delete", config=config.__name__, level="call", kinds=CALLS, bundle=str(bundle.save()),
        stopped=stopped, tolerated=TOLERATED["delete"], **{**more, "create": []},
    )  # fmt: skip


def test_update(workdir: Path, bundle: Bundle) -> None:
    cgroup = configs.own_cgroup(bundle)
    dict_of(bundle.linux, "resources")["hugepageLimits"] = [{"pageSize": "2MB", "limit": 1 << 30}]
    documents = []
    for name, huge, giant, minor in (("there", 4 << 20, "0", 229), ("back", 1 << 30, str(1 << 30), 228)):
        rule = {"allow": True, "type": "c", "major": 10, "minor": minor, "access": "rw"}
        document = {
            "hugepageLimits": [{"pageSize": "2MB", "limit": huge}],
            "unified": {"hugetlb.1GB.max": giant, "hugetlb.1GB.rsvd.max": giant},
            "devices": [rule],
        }
        path = workdir / f"{name}.json"
        path.write_text(json.dumps(document))
        documents.append(str(path))
    jobs.check(
        workdir, command="update", config="plain", level="call", kinds=CALLS, bundle=str(bundle.save()),
        documents=documents, cgroup=cgroup,
        tolerated=TOLERATED["update"],
    )  # fmt: skip
