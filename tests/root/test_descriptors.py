"""Open descriptors: what the caller leaks, and what the runtime opens, reaches no program.

CVE-2024-21626, CVE-2016-9962.

The callers of these tests leave a directory and a file of the host open, without close-on-exec, as 3 and 4.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import ENVIRONMENT, SECONDS, Container, Result, Runtime, new_id, wait_for
from support.terminal import console_socket

SETTINGS = [
    "plain",
    "userns",
    "joined-userns",
    "terminal",
    "notify",
    "joined",
    "joined-pid",
    "sysctl",
    "hooks",
    "mount-only",
    "log",
]
KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
CANARY = "the host's file"


@pytest.fixture
def leaked(workdir: Path) -> Iterator[list[int]]:
    """Descriptors for the runtime's caller: a directory of the host with a file, and the file."""
    folder = workdir / "leaked"
    folder.mkdir()
    (folder / "canary").write_text(CANARY)
    fds = [os.open(folder, os.O_RDONLY), os.open(folder / "canary", os.O_RDWR)]
    yield fds
    for fd in fds:
        os.close(fd)


def descriptors(pid: int) -> list[str]:
    """Return what a process has open: the path of a file, else the kind, such as "socket"."""
    found = []
    for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        found.append(target.partition(":[")[0] if int(name) > 2 else "stdio")
    return found


def configure(setting: str, bundle: Bundle, request: pytest.FixtureRequest) -> None:
    """Change a bundle so that other steps of create open descriptors."""
    if setting == "userns":
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": 0, "hostID": 100_000, "size": 1000}]
        (bundle.rootfs / "volume").mkdir(exist_ok=True)
        bundle.mount("/volume", "bind", str(bundle.path), "rbind", "ro")  # opened by the host
    elif setting == "joined-userns":
        configure("userns", bundle, request)
        other = request.getfixturevalue("container")(start=False)
        bundle.namespaces(user=f"/proc/{other.pid}/ns/user")
        for key in ("uidMappings", "gidMappings"):
            del bundle.linux[key]
    elif setting == "terminal":
        bundle.process["terminal"] = True
    elif setting == "notify":
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(bundle.path / "agent"),
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        }
    elif setting in ("joined", "joined-pid"):
        other = request.getfixturevalue("container")(start=False)
        kinds = {"network": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup"}
        kinds |= {"pid": "pid"} if setting == "joined-pid" else {}
        bundle.namespaces(**{kind: f"/proc/{other.pid}/ns/{link}" for kind, link in kinds.items()})
        bundle.config.pop("hostname", None)
    elif setting == "sysctl":
        bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    elif setting == "hooks":
        entry = {"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}
        bundle.config["hooks"] = {kind: [entry] for kind in ("prestart", "createRuntime", "createContainer")}
    elif setting == "mount-only":
        bundle.linux["namespaces"] = [{"type": "mount"}]
        bundle.config.pop("hostname", None)


class TestWaitingInit:
    """From its birth to `start`, init is a process of the container's with the runtime's memory."""

    @pytest.mark.parametrize("setting", SETTINGS)
    def test_what_it_has_open(
        self,
        container: Make,
        bundle: Bundle,
        workdir: Path,
        leaked: list[int],
        request: pytest.FixtureRequest,
        setting: str,
    ) -> None:
        configure(setting, bundle, request)
        bundle.process["cwd"] = "/tmp"
        box = container(create=False)
        with socket.socket(socket.AF_UNIX) as agent, console_socket(workdir) as console:
            agent.bind(str(bundle.path / "agent"))
            agent.listen()
            if setting == "log":
                box.runtime.options = ["--log", str(workdir / "log"), "--debug"]
            options: list[str | Path] = ["--console-socket", console.path] if setting == "terminal" else []
            box.create(*options, fds=leaked)
            # stdio; the socket on which it waits for `start`; the one to the agent, which is to get the listener then
            self.settles(box, ["stdio"] * 3 + ["socket"] * (2 if setting == "notify" else 1))

    def test_it_keeps_what_its_program_gets(self, container: Make, leaked: list[int]) -> None:
        box = container(create=False)
        box.create("--preserve-fds", "1", fds=leaked)
        folder = os.readlink(f"/proc/self/fd/{leaked[0]}")
        self.settles(box, ["stdio"] * 3 + [folder, "socket"])

    def settles(self, box: Container, wanted: list[str]) -> None:
        pid, deadline = box.pid, time.monotonic() + 5
        while sorted(found := descriptors(pid)) != sorted(wanted) and time.monotonic() < deadline:
            time.sleep(0.01)  # create returns when init is about to wait
        assert sorted(found) == sorted(wanted)


class TestCallerWithoutStdio:
    """A caller who has closed 0, 1 or 2: what the runtime opens first would get the number, and stay with init."""

    @pytest.mark.parametrize("closed", [(0,), (1,), (0, 1, 2)], ids=str)
    def test_create(self, container: Make, workdir: Path, closed: tuple[int, ...]) -> None:
        box = container(create=False)
        log = workdir / "log"
        box.runtime.options = ["--log", str(log)]
        assert self.call(box.runtime.command("create", "--bundle", box.bundle, box.id), closed) == 0
        assert log.read_text() == "", "nothing else was written to the log"
        found = {fd: os.readlink(f"/proc/{box.pid}/fd/{fd}") for fd in closed}
        assert found == dict.fromkeys(closed, "/dev/null")

    def test_exec(self, container: Make, workdir: Path) -> None:
        box = container()
        command = box.runtime.command("exec", "--detach", "--pid-file", workdir / "pid", box.id, "sleep", "1000")
        assert self.call(command, (0, 1, 2)) == 0
        pid = int((workdir / "pid").read_text())
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")] == ["/dev/null"] * 3

    def call(self, command: Sequence[str], closed: tuple[int, ...]) -> int:
        def close() -> None:
            for fd in closed:
                os.close(fd)

        return subprocess.Popen(command, env=ENVIRONMENT, preexec_fn=close).wait(SECONDS)


class TestProgram:
    def test_run(self, runtime: Runtime, bundle: Bundle, leaked: list[int]) -> None:
        bundle.sh("echo $(ls /proc/self/fd)")
        assert runtime.ok("run", "--bundle", bundle.save(), new_id(), fds=leaked) == "0 1 2 3\n", "3 is ls's own"

    def test_start(self, container: Make, bundle: Bundle, leaked: list[int]) -> None:
        bundle.sh("echo $(ls /proc/self/fd); exec sleep 1000")
        box = container(create=False)
        box.create(fds=leaked)
        box.runtime.ok("start", box.id, fds=leaked)
        wait_for(lambda: box.output.endswith("\n"), "it has looked")
        assert box.output == "0 1 2 3\n"

    @pytest.mark.parametrize("setting", ["plain", "userns", "mount-only", "sysctl"])
    def test_exec(
        self,
        container: Make,
        bundle: Bundle,
        workdir: Path,
        leaked: list[int],
        request: pytest.FixtureRequest,
        setting: str,
    ) -> None:
        configure(setting, bundle, request)
        box = container()
        detached: list[str | Path] = ["--detach", "--pid-file", workdir / "pid", "--", "sleep", "1000"]
        assert box.exec(*detached, fds=leaked).status == 0
        assert descriptors(int((workdir / "pid").read_text())) == ["stdio"] * 3

    @pytest.mark.parametrize("command", ["run", "exec"])
    def test_preserved_ones(
        self, container: Make, runtime: Runtime, bundle: Bundle, leaked: list[int], command: str
    ) -> None:
        """It gets what it is to have, and no more."""
        look = "ls /proc/self/fd/3/; readlink /proc/self/fd/4 || echo none"
        if command == "run":
            bundle.sh(look)
            shown = runtime.ok("run", "--preserve-fds", "1", "--bundle", bundle.save(), new_id(), fds=leaked)
        else:
            shown = container().exec("--preserve-fds", "1", "--", "sh", "-c", look, fds=leaked).stdout
        assert shown == "canary\nnone\n"


class TestHooks:
    @pytest.mark.parametrize("options", [[], ["--preserve-fds", "1"]], ids=["leaked", "preserved"])
    def test_what_they_have_open(
        self, container: Make, bundle: Bundle, workdir: Path, leaked: list[int], options: list[str]
    ) -> None:
        """Neither what the caller of any command has leaked, nor what the program is to have."""
        seen = workdir / "seen"
        seen.mkdir()
        bundle.mount(str(seen), "bind", str(seen), "bind", "rw")
        for kind in KINDS:
            command = f"echo $(ls /proc/self/fd) > {seen}/{kind}"
            entry = {"path": "/bin/sh", "args": ["sh", "-c", command], "env": ["PATH=/bin:/usr/bin"]}
            dict_of(bundle.config, "hooks")[kind] = [entry]
        box = container(create=False)
        box.create(*options, fds=leaked)
        box.runtime.ok("start", box.id, fds=leaked)
        box.runtime.ok("kill", box.id, "KILL", fds=leaked)
        box.wait_stopped()
        box.runtime.ok("delete", box.id, fds=leaked)
        assert {kind: (seen / kind).read_text() for kind in KINDS} == dict.fromkeys(KINDS, "0 1 2 3\n")

    @pytest.mark.parametrize("command", ["run", "delete --force"])
    def test_of_commands_that_do_several_things(
        self, container: Make, runtime: Runtime, bundle: Bundle, workdir: Path, leaked: list[int], command: str
    ) -> None:
        seen = workdir / "seen"
        entry = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $(ls /proc/self/fd) > {seen}"]}
        bundle.config["hooks"] = {"poststop": [entry]}
        if command == "run":
            bundle.args("true")
            runtime.ok("run", "--bundle", bundle.save(), new_id(), fds=leaked)
        else:
            runtime.ok("delete", "--force", container().id, fds=leaked)
        assert seen.read_text() == "0 1 2 3\n"


class TestWorkingDirectory:
    """CVE-2024-21626: `cwd` through a descriptor on a directory of the host."""

    PROGRAM = ("--", "cat", "canary")

    def refused(self, result: Result, reason: str) -> None:
        assert (result.status, result.stdout) == (255, "")
        assert reason in result.stderr and len(result.stderr.splitlines()) == 1, result

    @pytest.mark.parametrize("options", [[], ["--preserve-fds", "2"]], ids=["later", "preserved"])
    def test_one_that_leads_out_is_seen(self, container: Make, leaked: list[int], options: list[str]) -> None:
        """Where the descriptor is open, because the program is to have it, its directory is none of the container's."""
        result = container().exec(*options, "--cwd", "/proc/self/fd/3", *self.PROGRAM, fds=leaked)
        self.refused(result, "outside the container" if options else "ENOENT")

    def test_no_descriptor_of_the_runtime_leads_out(self, container: Make, leaked: list[int]) -> None:
        """Each number is that of no directory: closed, or a socket."""
        box = container()
        for number in range(3, 30):
            result = box.exec("--cwd", f"/proc/self/fd/{number}", *self.PROGRAM, fds=leaked)
            self.refused(result, f'"/proc/self/fd/{number}"')
            assert "ENOENT" in result.stderr or "ENOTDIR" in result.stderr, result

    @pytest.mark.parametrize("number", range(3, 13))
    def test_create(self, runtime: Runtime, bundle: Bundle, leaked: list[int], number: int) -> None:
        bundle.process["cwd"] = f"/proc/self/fd/{number}"
        bundle.args("cat", "canary")
        error = runtime.fails("run", "--bundle", bundle.save(), new_id(), fds=leaked)
        assert f'"/proc/self/fd/{number}"' in error
