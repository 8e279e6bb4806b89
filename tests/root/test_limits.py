"""Limits: of tasks by the version of the spec."""

import pytest
from support import session
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import Runtime, new_id, says


@pytest.mark.parametrize("version", ["1.0.2-dev", "1.2.1"])
def test_no_tasks_means_unlimited_before_1_3(container: Make, bundle: Bundle, version: str) -> None:
    """What Podman 4.3 sends for Docker's clients; a shell can fork."""
    bundle.config["ociVersion"] = version
    dict_of(bundle.linux, "resources")["pids"] = {"limit": 0}
    bundle.sh("true | echo forked; sleep 100")
    box = container()
    box.runtime.ok("update", "--pids-limit", "0", box.id)
    assert box.sh("true | echo forked") == "forked"


def test_no_tasks_is_a_limit_since_1_3(runtime: Runtime, bundle: Bundle) -> None:
    """Which asks for the controller, where there is none."""
    bundle.config["ociVersion"] = "1.3.0"
    dict_of(bundle.linux, "resources")["pids"] = {"limit": 0}
    bundle.sh("true | echo forked")
    result = runtime.run("run", "--bundle", bundle.save(), new_id())
    assert result.status != 0 and "forked" not in result.stdout
    if "pids" not in (session.CGROUP_ROOT / "cgroup.controllers").read_text().split():
        says(result.stderr, "controller pids is not available", "/linux/resources/pids/limit")
