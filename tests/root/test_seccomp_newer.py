"""Calls that are newer than the profile, in a container: ENOSYS, so that the C library takes an older one."""

import json
from pathlib import Path

import pytest
from support import attacks, paths
from support.bundle import Bundle
from support.fixtures import Inside, Make

DOCKER = json.loads((paths.REPO / "tests/data/configs/docker-plain.json").read_text())["linux"]["seccomp"]


@pytest.fixture
def newest(bundle: Bundle) -> Path:
    bundle.linux["seccomp"] = DOCKER
    return attacks.place("newest", bundle.rootfs / "newest")


@pytest.mark.usefixtures("newest")
class TestNewerThanTheProfile:
    @pytest.mark.parametrize("no_new_privileges", [True, False])
    def test_of_the_program(self, inside: Inside, bundle: Bundle, no_new_privileges: bool) -> None:
        bundle.process["noNewPrivileges"] = no_new_privileges
        assert inside("/newest 520 999 1000 246").split() == ["ENOSYS", "ENOSYS", "ENOSYS", "EPERM"]

    def test_of_what_exec_adds(self, container: Make) -> None:
        box = container()
        assert box.sh("/newest 999 246").split() == ["ENOSYS", "EPERM"]

    def test_a_default_that_kills(self, inside: Inside, bundle: Bundle) -> None:
        rules = [rule for rule in DOCKER["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": rules}
        assert inside("exec 2>&-; /newest 999; /newest 246; echo $?").split() == ["ENOSYS", "159"]
