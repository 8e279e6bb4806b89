"""The environment of whoever calls the runtime: what it means for a container, and that by itself it fails none.

sd_listen_fds(3), sd_notify(3), environ(7). Each variant names what the program sees of the two protocols, and the words
of the warning that the log has, or none.
"""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import paths
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import ENVIRONMENT, Runtime, new_id, says, wait_for

SHOW = "echo $(ls /proc/self/fd | tr -d '\\n') ${LISTEN_FDS-none} ${LISTEN_PID-none} ${NOTIFY_SOCKET-none} ${NAME-none}"
NOTHING = "0123 none none none none\n"


class Variant(NamedTuple):
    """env: added to a plain environment. options: of the command. fds: how many descriptors are open from 3 on."""

    env: dict[str, str]
    shown: str = NOTHING
    warning: str = ""
    options: tuple[str, ...] = ()
    fds: int = 0


ONE_SOCKET = "01234 1 1 none none\n"
VARIANTS = {
    "sockets without a pid and without descriptors": Variant({"LISTEN_FDS": "1"}, NOTHING, "descriptor 3 is not open"),
    "sockets without a pid": Variant({"LISTEN_FDS": "1"}, ONE_SOCKET, fds=1),
    "fewer sockets than said": Variant({"LISTEN_FDS": "3"}, NOTHING, "descriptor 5 is not open", fds=2),
    "very many sockets": Variant({"LISTEN_FDS": "999999999"}, NOTHING, "descriptor 4 is not open", fds=1),
    "sockets of another process": Variant({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, NOTHING, fds=1),
    "sockets of nobody": Variant({"LISTEN_FDS": "1", "LISTEN_PID": "x"}, NOTHING, fds=1),
    "a pid without sockets": Variant({"LISTEN_PID": "1"}),
    "no number of sockets": Variant({"LISTEN_FDS": "many"}, NOTHING, "is not a number"),
    "a negative number of sockets": Variant({"LISTEN_FDS": "-1"}, NOTHING, "is not a number"),
    "no sockets": Variant({"LISTEN_FDS": "0"}, NOTHING),
    "names of sockets alone": Variant({"LISTEN_FDNAMES": "web:admin"}),
    "sockets beside descriptors that are kept": Variant(
        {"LISTEN_FDS": "1"}, "01234 none none none none\n", "descriptor 4 is not open", ("--preserve-fds", "1"), fds=1
    ),
    "a manager that is not there": Variant({"NOTIFY_SOCKET": "/nowhere/notify"}, NOTHING, "(ENOENT)"),
    "a manager that has gone": Variant({"NOTIFY_SOCKET": "@pyruntime-nobody"}, NOTHING, "(ECONNREFUSED)"),
    "a manager that is a file": Variant({"NOTIFY_SOCKET": "/etc/passwd"}, NOTHING, "(ECONNREFUSED)"),
    "a manager by a relative path": Variant({"NOTIFY_SOCKET": "notify"}, NOTHING, "neither an absolute path"),
    "a manager of another protocol": Variant({"NOTIFY_SOCKET": "vsock:2:1"}, NOTHING, "neither an absolute path"),
    "a manager by a long path": Variant({"NOTIFY_SOCKET": "/" + "x" * 200}, NOTHING, "path too long"),
    "no manager": Variant({"NOTIFY_SOCKET": ""}),
    "a watchdog": Variant({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}),
    "variables of the shell": Variant({"NAME": "x", "PATH": "/nowhere", "SHELL": "/nowhere", "IFS": "e"}),
    "variables of Python": Variant({"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONINSPECT": "1"}),
    "variables of the loader": Variant({"LD_LIBRARY_PATH": "/nowhere", "LD_BIND_NOW": "1"}),
    "a locale that is none": Variant({"LANG": "nowhere", "LC_ALL": "nowhere", "TZ": ":/nowhere", "LOCPATH": "/x"}),
    "directories that are none": Variant({"TMPDIR": "/nowhere", "HOME": "/nowhere", "XDG_RUNTIME_DIR": "/nowhere"}),
    "buses that are none": Variant({"DBUS_SYSTEM_BUS_ADDRESS": "x", "DBUS_SESSION_BUS_ADDRESS": "x"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_of_run(runtime: Runtime, bundle: Bundle, workdir: Path, variant: str) -> None:
    env, shown, warning, options, count = VARIANTS[variant]
    bundle.sh(SHOW)
    log = workdir / "log"
    tested = Runtime(runtime.root, options=["--log", str(log)])
    with open("/dev/null") as null:
        given = [null.fileno()] * count
        said = tested.run("run", *options, "-b", bundle.save(), new_id(), env={**ENVIRONMENT, **env}, fds=given)
    assert (said.status, said.stdout) == (0, shown), said
    logged = log.read_text() if log.exists() else ""
    assert warning in logged and bool(logged) == bool(warning), logged


def test_without_any(runtime: Runtime, bundle: Bundle) -> None:
    bundle.sh(SHOW)
    assert runtime.ok("run", "-b", bundle.save(), new_id(), env={}) == NOTHING


@pytest.mark.parametrize("command", ["run", "exec"])
def test_the_runtimes_own_descriptors_are_not_passed(
    container: Make, bundle: Bundle, workdir: Path, command: str
) -> None:
    """The log is open as 3 where the caller gave nothing; it is not what --preserve-fds asks for."""
    bundle.args("sleep", "100")
    box = container()
    tested = Runtime(box.runtime.root, options=["--log", str(workdir / "log")])
    bundle.sh("ls -l /proc/self/fd")
    rest: tuple[str | Path, ...] = (box.id, "ls", "-l", "/proc/self/fd")
    if command == "run":
        rest = ("-b", bundle.save(), new_id())
    said = tested.run(command, "--preserve-fds", "1", *rest)
    assert said.status != 0 and said.stdout == "", said
    says(said.stderr, "descriptor 3 is not open")


def test_sockets_that_a_manager_promised(runtime: Runtime, bundle: Bundle) -> None:
    """LISTEN_PID says that they are for this very process: a program without them would do something else."""
    words = " ".join(runtime.command("run", "-b", str(bundle.save()), new_id()))
    line = f"LISTEN_FDS=2 LISTEN_PID=$$ exec {words}"
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30)
    assert said.returncode == 1 and said.stdout == ""
    says(said.stderr, "LISTEN_FDS=2 with LISTEN_PID=", "descriptor 3 is not open")
    assert runtime.ids() == []


class TestManagerBetweenCreateAndStart:
    """It is there when the container is created and has gone when it is started, or the other way round."""

    @pytest.fixture
    def manager(self, workdir: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
            found.bind(str(workdir / "manager"))
            yield found

    def env(self, workdir: Path) -> dict[str, str]:
        return {"PATH": paths.SYSTEM_PATH, "NOTIFY_SOCKET": str(workdir / "manager")}

    def test_gone(self, runtime: Runtime, bundle: Bundle, workdir: Path, manager: socket.socket) -> None:
        bundle.args("sleep", "100")
        name, log = new_id(), workdir / "log"
        runtime.ok("create", "-b", bundle.save(), name, env=self.env(workdir))
        manager.close()
        tested = Runtime(runtime.root, options=["--log", str(log)])
        assert tested.run("start", name, env=self.env(workdir)).status == 0, "it does not wait for what can't come"
        wait_for(lambda: '"running"' in runtime.ok("state", name), "it runs")
        says(log.read_text(), f"NOTIFY_SOCKET={workdir}/manager is ignored", "(ECONNREFUSED)")

    def test_come(self, runtime: Runtime, bundle: Bundle, workdir: Path, manager: socket.socket) -> None:
        bundle.args("sleep", "100")
        name = new_id()
        nobody = {**self.env(workdir), "NOTIFY_SOCKET": f"{workdir}/nobody"}
        assert Runtime(runtime.root, options=["--log", "/dev/null"]).run(
            *("create", "-b", bundle.save(), name), env=nobody
        ).status == 0  # fmt: skip
        assert runtime.run("start", name, env=self.env(workdir)).status == 0
        assert '"running"' in runtime.ok("state", name)
