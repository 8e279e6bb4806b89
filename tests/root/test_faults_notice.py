"""The tests of faults bite: with one clean-up taken out in the driver they report what it would have removed."""

from pathlib import Path

import pytest
from support.bundle import Bundle
from support.faults import configs, jobs

CASES: list[tuple[str, configs.Config, str]] = [
    ("no_clean_up", configs.plain, "left behind: state"),
    ("no_parents", configs.plain, "left behind: cgroups"),
    ("no_unmount", configs.no_mount_namespace, "left behind: mounts"),
    ("devices_lost", configs.net_device, "gone: network devices"),
]
"""The clean-up that is missing, a config that needs it, and what must be reported of the last fault."""


@pytest.mark.parametrize(("sabotage", "config", "words"), CASES, ids=[case[0] for case in CASES])
def test_a_clean_up_is_missing(
    workdir: Path, bundle: Bundle, sabotage: str, config: configs.Config, words: str
) -> None:
    more = config(bundle, workdir)
    configs.own_cgroup(bundle)
    report = jobs.run(
        workdir, command="create", config="sabotaged", level="step", kinds=["errno"], bundle=str(bundle.save()),
        sabotage=sabotage, only=1, **more,
    )  # fmt: skip
    found = [text for text in report["problems"] if text.startswith("create, config sabotaged, ENOANO at step ")]
    assert any(words in text for text in found), report["problems"][:5]
