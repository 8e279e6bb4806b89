"""Rights that the program must not get: the caller's groups and capabilities, ids that wrap round, what init needed."""

import subprocess
import sys
from typing import Any

import pytest
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import ENVIRONMENT, Runtime, new_id

GROUPS = [4242, 4243]
BEYOND = [4294967295, 4294967296, 1 << 63, -1]
"""The first is no change for setresuid(2) and its like; cut to 32 bits, the others are 0 or the first."""

RAISE_AMBIENT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
data = (ctypes.c_uint32 * 6)()
assert libc.capget(header, data) == 0
data[2] |= 1
assert libc.capset(header, data) == 0
assert libc.prctl(47, 2, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""CAP_CHOWN becomes inheritable (capset(2)) and ambient (PR_CAP_AMBIENT_RAISE), and so does the command's."""


class TestGroupsOfTheCaller:
    """CVE-2023-25173, CVE-2022-2995: a list that is empty or missing means no groups."""

    def as_member(self, command: list[str]) -> str:
        done = subprocess.run(
            command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            extra_groups=GROUPS, check=False, timeout=30,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    @pytest.mark.parametrize("groups", [None, []])
    @pytest.mark.parametrize("uid", [0, 1000])
    def test_run(self, runtime: Runtime, bundle: Bundle, groups: list[int] | None, uid: int) -> None:
        user: dict[str, Any] = {"uid": uid, "gid": 5}
        if groups is not None:
            user["additionalGids"] = groups
        bundle.process["user"] = user
        bundle.args("grep", "Groups:", "/proc/self/status")
        shown = self.as_member(runtime.command("run", "--bundle", bundle.save(), new_id()))
        assert shown.split() == ["Groups:"]

    @pytest.mark.parametrize("options", [[], ["--user", "1000:1000"]])
    def test_exec(self, container: Make, options: list[str]) -> None:
        box = container()
        command = box.runtime.command("exec", *options, box.id, "grep", "Groups:", "/proc/self/status")
        assert self.as_member(command).split() == ["Groups:"]


class TestIds:
    """CVE-2024-40635, CVE-2026-46680."""

    @pytest.mark.parametrize("number", BEYOND)
    @pytest.mark.parametrize("key", ["uid", "gid", "additionalGids"])
    def test_of_the_config(self, runtime: Runtime, bundle: Bundle, key: str, number: int) -> None:
        bundle.process["user"] = {"uid": 1000, "gid": 1000, key: [number] if key == "additionalGids" else number}
        bundle.args("id")
        error = runtime.fails("run", "--bundle", bundle.save(), new_id())
        where = "/process/user/additionalGids/0" if key == "additionalGids" else f"/process/user/{key}"
        assert str(number) in error and f"[config.json#{where}]" in error

    @pytest.mark.parametrize("number", BEYOND)
    @pytest.mark.parametrize("option", ["--user", "--user=7:", "--additional-gids"])
    def test_of_exec(self, container: Make, option: str, number: int) -> None:
        box = container()
        words = [f"{option}{number}"] if option.endswith(":") else [f"{option}={number}"]
        result = box.exec(*words, "--", "id")
        assert result.status == 255 and result.stdout == ""
        assert f"'{number}' is not a numeric id between 0 and 4294967294" in result.stderr

    @pytest.mark.parametrize(("start", "size"), [(4294967295, 2), (1, 4294967295), (4294967296, 1)])
    @pytest.mark.parametrize("side", ["containerID", "hostID"])
    @pytest.mark.parametrize("key", ["uidMappings", "gidMappings"])
    def test_of_maps(
        self, runtime: Runtime, bundle: Bundle, key: str, side: str, start: int, size: int
    ) -> None:  # fmt: skip
        bundle.namespaces(user="")
        whole = {"containerID": 0, "hostID": 100000, "size": 65536}
        bundle.linux.update(uidMappings=[whole], gidMappings=[whole])
        bundle.linux[key] = [{"containerID": 0, "hostID": 0, "size": size, side: start}]
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        assert f"config.json#/linux/{key}/0" in error


def test_no_ambient_capability_of_the_caller(runtime: Runtime, bundle: Bundle) -> None:
    """What the config makes inheritable would stay ambient, if it was so in the caller."""
    bundle.capabilities(
        bounding=["CAP_CHOWN"], permitted=["CAP_CHOWN"], effective=["CAP_CHOWN"], inheritable=["CAP_CHOWN"]
    )
    bundle.args("grep", "^Cap[AI]", "/proc/self/status")
    command = runtime.command("run", "--bundle", bundle.save(), new_id())
    done = subprocess.run(
        [sys.executable, "-c", RAISE_AMBIENT, *command], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["CapInh:", f"{1:016x}", "CapAmb:", f"{0:016x}"]


def test_the_privilege_to_load_a_filter_is_not_the_programs(inside: Inside, bundle: Bundle) -> None:
    """Without no_new_privs init keeps CAP_SYS_ADMIN until execve; whoever the program runs as, it has none of it."""
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    bundle.process["noNewPrivileges"] = False
    for uid in (0, 1000):
        bundle.process["user"]["uid"] = uid
        words = inside("grep ^Cap /proc/self/status").split()
        for name, value in zip(words[::2], words[1::2], strict=True):
            assert not int(value, 16) & 1 << 21, f"{name} of user {uid}"


def test_rlimits_with_a_user_namespace(inside: Inside, bundle: Bundle) -> None:
    """The host sets them: the container's root may not raise a hard limit again, were it to come to that."""
    bundle.namespaces(user="")
    for key in ("uidMappings", "gidMappings"):
        bundle.linux[key] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
    assert inside("ulimit -Sn; ulimit -Hn").split() == ["77", "99"]
