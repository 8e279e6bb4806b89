"""What users of runc and crun rely on: the words of errors, the layout of tables, the environment's part."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import mountinfo, paths, session
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import Runtime, new_id, says, wait_for

pytestmark = pytest.mark.skipif(paths.PEER is not None, reason="words and layouts are the runtime's own")


class TestWords:
    """Callers look for these words of runc."""

    def test_of_an_unknown_container(self, runtime: Runtime) -> None:
        for command in ("state", "start", "kill", "delete", "pause", "resume", "ps"):
            assert 'container does not exist: "nosuch"' in runtime.fails(command, "nosuch")
        result = runtime.run("exec", "nosuch", "ls")
        assert result.status == 255
        assert 'exec failed: container does not exist: "nosuch"' in result.stderr

    def test_of_ids(self, container: Make, runtime: Runtime) -> None:
        box = container(start=False)
        says(runtime.fails("create", "-b", box.bundle, box.id), "container with given ID already exists", box.id)
        says(runtime.fails("create", "-b", box.bundle, "a/b"), "invalid container ID format")
        says(runtime.fails("create", "-b", box.bundle, ""), "container id cannot be empty")

    def test_of_a_running_container(self, container: Make) -> None:
        box = container()
        says(box.runtime.fails("start", box.id), "cannot start an already running container")
        says(box.runtime.fails("delete", box.id), f"cannot delete container {box.id} that is not stopped: running")
        says(box.runtime.fails("resume", box.id), "container not paused")

    def test_of_a_paused_container(self, container: Make) -> None:
        box = container()
        box.runtime.ok("pause", box.id)
        says(box.runtime.fails("pause", box.id), "container not running")
        says(box.runtime.fails("start", box.id), "cannot start a container in the paused state")
        result = box.exec("ls")
        assert result.status == 255
        says(result.stderr, "exec failed: cannot exec in a paused container (use --ignore-paused to override)")
        box.runtime.ok("resume", box.id)
        assert box.exec("true").status == 0

    def test_of_a_stopped_container(self, container: Make) -> None:
        box = container()
        box.kill()
        box.wait_stopped()
        says(box.runtime.fails("start", box.id), "cannot start a container that has stopped")
        for command in ("kill", "pause", "ps"):
            says(box.runtime.fails(command, box.id), "container not running")
        result = box.exec("ls")
        assert result.status == 255
        says(result.stderr, "exec failed: cannot exec in a stopped container", "container not running")

    def test_of_terminals(self, container: Make, bundle: Bundle) -> None:
        box = container()
        says(box.exec("-d", "-t", "--", "ls").stderr, "cannot allocate tty")
        says(box.exec("--console-socket", "/s", "--", "ls").stderr, "cannot use console socket")
        says(box.runtime.fails("create", "-b", bundle.path, "--console-socket", "/s", new_id()), "use console socket")
        bundle.process["terminal"] = True
        says(box.runtime.fails("create", "-b", bundle.save(), new_id()), "cannot allocate tty")

    def test_of_formats(self, container: Make) -> None:
        box = container(start=False)
        says(box.runtime.fails("list", "-f", "x"), "invalid format option")
        says(box.runtime.fails("ps", "-f", "x", box.id), "invalid format option")


class TestTables:
    def test_list(self, container: Make) -> None:
        """The columns begin where runc's do: each is at least 12 wide, and 3 wider than its widest cell."""
        assert (
            container(create=False).runtime.ok("list")
            == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        )
        box = container(start=False)
        header, line = box.runtime.ok("list").splitlines()
        state = box.state()
        widths = [max(12, len(str(cell)) + 3) for cell in (box.id, box.pid, "created", box.bundle, state["created"])]
        starts = [sum(widths[:column]) for column in range(6)]
        assert [match.start() for match in re.finditer(r"\S+", header)] == starts
        assert [match.start() for match in re.finditer(r"\S+", line)] == starts
        assert line.split() == [box.id, str(box.pid), "created", str(box.bundle), state["created"], "root"]

    def test_ps(self, container: Make) -> None:
        """The columns of `ps -ef`."""
        box = container()
        header, *lines = box.runtime.ok("ps", box.id).splitlines()
        assert header.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        shown = {int(line.split()[1]): line.split(None, 7) for line in lines}
        assert box.pid in shown
        user, _, parent, used, began, terminal, time, command = shown[box.pid]
        assert (user, terminal, time) == ("root", "?", "00:00:00") and used.isdecimal() and parent.isdecimal()
        assert re.fullmatch(r"\d\d:\d\d", began) and command.startswith("sh -c ")
        told = box.runtime.ok("ps", box.id, "-ef").splitlines()
        assert told[0].split() == header.split()
        assert told[1].split()[:2] == ["root", str(box.pid)]

    def test_ps_names_the_terminal(self, container: Make, bundle: Bundle) -> None:
        bundle.process["terminal"] = True
        bundle.args("sleep", "100")
        box = container(create=False)
        command = box.runtime.command("run", "-b", bundle.path, box.id)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: box.id in box.runtime.ids() and box.status == "running", "it runs")
            assert box.runtime.ok("ps", box.id).splitlines()[1].split()[5] == "pts/0"
        finally:
            box.runtime.ok("delete", "--force", box.id)
            process.wait(10)


class TestKill:
    def test_an_empty_signal_is_term(self, container: Make, bundle: Bundle) -> None:
        bundle.sh("trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.05; done")
        box = container()
        wait_for(lambda: "ready" in box.output, "the trap is set")
        box.kill("")
        box.wait_stopped()
        assert box.output == "ready\nterm\n"

    def test_regex(self, container: Make) -> None:
        """Every container that matches and runs; others are not touched, and a stopped one is no error."""
        first, second, stopped, other = container(), container(), container(), container()
        stopped.kill()
        stopped.wait_stopped()
        pattern = "|".join(re.escape(box.id) for box in (first, second, stopped))
        first.runtime.ok("kill", "--regex", pattern, "KILL")
        first.wait_stopped()
        second.wait_stopped()
        assert other.status == "running"
        says(first.runtime.fails("kill", "--regex", "(", "KILL"), "--regex '('")


class TestSocketActivation:
    """sd_listen_fds(3): who starts the runtime may have sockets for the program."""

    @pytest.fixture
    def shown(self, runtime: Runtime, bundle: Bundle) -> str:
        bundle.sh("echo $(ls /proc/self/fd) ${LISTEN_FDS-none} ${LISTEN_PID-none}; [ ! -e /proc/self/fd/3 ] || cat <&3")
        return shlex.join(runtime.command("run", "-b", bundle.save(), new_id()))

    def run(self, command: str, bundle: Bundle) -> str:
        """Run a shell command whose descriptor 3 is a file, as a socket would be."""
        given = bundle.path / "given"
        given.write_text("given\n")
        words = ["sh", "-c", f"exec 3<{given}; {command}"]
        return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=30).stdout

    def test_passed(self, shown: str, bundle: Bundle) -> None:
        said = self.run(f"LISTEN_FDS=1 LISTEN_PID=$$ exec {shown}", bundle)
        assert said == "0 1 2 3 4 1 1\ngiven\n", "4 is ls's own"

    def test_without_a_pid(self, shown: str, bundle: Bundle) -> None:
        assert self.run(f"LISTEN_FDS=1 exec {shown}", bundle) == "0 1 2 3 4 1 1\ngiven\n"

    def test_meant_for_another(self, shown: str, bundle: Bundle) -> None:
        assert self.run(f"LISTEN_FDS=1 LISTEN_PID=1 {shown}", bundle) == "0 1 2 3 none none\n"

    def test_exec_takes_none(self, container: Make) -> None:
        with open("/dev/null") as extra:
            result = container().exec(
                *("sh", "-c", "echo ${LISTEN_FDS-none} ${LISTEN_PID-none}; ls /proc/self/fd"),
                env={"LISTEN_FDS": "1", "PATH": paths.SYSTEM_PATH},
                fds=[extra.fileno()],
            )
        assert result.stdout.split() == ["none", "none", "0", "1", "2", "3"]


def test_exec_in_another_cgroup(container: Make) -> None:
    """--cgroup names one below the container's, and / that one itself, also when init is deeper."""
    box = container()
    top = session.CGROUP_ROOT / Path(f"/proc/{box.pid}/cgroup").read_text().rpartition("0::/")[2].strip()
    for name in ("one", "two"):
        (top / name).mkdir()
    (top / "one/cgroup.procs").write_text(str(box.pid))
    for given, found in (("two", "two"), ("/two", "two"), ("/", ""), (None, "one")):
        options = ["--cgroup", given] if given else []
        result = box.exec(*options, "-d", "--pid-file", f"{box.bundle}/pid", "--", "sleep", "100")
        assert result.status == 0, result
        assert (box.bundle / "pid").read_text() in (top / found / "cgroup.procs").read_text().split()
    result = box.exec("--cgroup", "nosuch", "--", "true")
    assert result.status == 255 and "nosuch" in result.stderr and "ENOENT" in result.stderr, result


class TestEnvironment:
    """The last value of a name counts; the first would be what getenv(3) finds."""

    def test_of_a_container(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.process["env"] = ["A=1", "PATH=/nowhere", "B=2", "A=3=4", "PATH=/bin:/usr/bin", "HOME="]
        bundle.args("cat", "/proc/self/environ")
        shown = runtime.ok("run", "-b", bundle.save(), new_id())
        assert shown.split("\0") == ["B=2", "A=3=4", "PATH=/bin:/usr/bin", "HOME=/root", ""]

    def test_of_exec(self, container: Make, bundle: Bundle) -> None:
        bundle.process["env"] = ["A=1", "PATH=/bin:/usr/bin"]
        shown = container().exec("-e", "A=2", "-e", "HOME=/h", "-e", "A=3", "--", "cat", "/proc/self/environ").stdout
        assert shown.split("\0") == ["PATH=/bin:/usr/bin", "HOME=/h", "A=3", ""]


class TestUmask:
    """A container has 022 whoever starts it; what exec adds has its caller's, as with runc and crun."""

    def test_of_a_container(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.sh("umask")
        command = shlex.join(runtime.command("run", "-b", bundle.save(), new_id()))
        assert subprocess.check_output(["sh", "-c", f"umask 077; {command}"], text=True) == "0022\n"

    def test_of_exec(self, container: Make) -> None:
        box = container()
        command = shlex.join(box.runtime.command("exec", box.id, "sh", "-c", "umask"))
        assert subprocess.check_output(["sh", "-c", f"umask 077; {command}"], text=True) == "0077\n"


class TestBindMounts:
    @pytest.fixture
    def source(self, workdir: Path) -> Iterator[Path]:
        """A file system whose files can't be executed."""
        path = workdir / "source"
        path.mkdir()
        session.mount("tmpfs", str(path), "tmpfs", session.MS_NOSUID | session.MS_NODEV | session.MS_NOEXEC)
        yield path
        session.umount(str(path))

    @pytest.mark.parametrize(
        ("options", "there", "userns"),
        [
            ([], {"rw", "nosuid", "nodev", "noexec"}, False),
            (["ro"], {"ro"}, False),
            (["rw"], {"rw"}, False),
            (["nosuid", "noatime"], {"rw", "nosuid", "noatime"}, False),
            (["rro"], {"ro", "nosuid", "nodev", "noexec"}, False),
            ([], {"rw", "nosuid", "nodev", "noexec"}, True),
            (["ro"], {"ro", "nosuid", "nodev", "noexec"}, True),
            (["rw"], {"rw", "nosuid", "nodev", "noexec"}, True),
            (["nosuid"], {"rw", "nosuid", "nodev", "noexec"}, True),
            (["rro"], {"ro", "nosuid", "nodev", "noexec"}, True),
        ],
    )
    def test_flags_of_the_source(
        self, inside: Inside, bundle: Bundle, source: Path, options: list[str], there: set[str], userns: bool
    ) -> None:
        """Kept when the mount has none of its own, and in a user namespace; recursive ones change what they name."""
        if userns:
            bundle.namespaces(user="")
            for kind in ("uidMappings", "gidMappings"):
                bundle.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        bundle.mount("/mnt", "bind", str(source), "rbind", *options)
        found = mountinfo.at(mountinfo.parse(inside("cat /proc/self/mountinfo")), "/mnt").options
        assert found - {"relatime"} == there

    def test_a_file_on_a_directory(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """Docker adds its advice to errors that say so."""
        (workdir / "file").touch()
        bundle.mount("/etc", "bind", str(workdir / "file"), "bind")
        error = runtime.fails("run", "-b", bundle.save(), new_id())
        says(error, "not a directory (ENOTDIR)", "/etc", f"config.json#/mounts/{len(bundle.mounts) - 1}")

    def test_a_directory_on_a_file(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        bundle.mount("/etc/passwd", "bind", str(workdir), "bind")
        error = runtime.fails("run", "-b", bundle.save(), new_id())
        says(error, "not a directory (ENOTDIR)", "/etc/passwd", f"config.json#/mounts/{len(bundle.mounts) - 1}")


class TestDebug:
    def test_steps_are_logged(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """Each step of the plan on both sides, in its order, as explain writes it; but no environment."""
        bundle.args("true")
        bundle.process["env"].append("PASSWORD=secret")
        file = workdir / "log"
        options = ("--debug", "--log", str(file))
        Runtime(runtime.root, options=options).ok("run", "-b", bundle.save(), new_id())
        lines = file.read_text().splitlines()
        assert all(re.match(r'time="[^"]+" level=debug msg="(host|init): ', line) for line in lines)
        said = "\n".join(lines)
        places = [said.find(name) for name in ("host: clone3(", "init: mount_setattr", "init: exec_program(")]
        assert -1 not in places and places == sorted(places)
        assert "secret" not in said

    def test_on_standard_error(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.args("true")
        result = Runtime(runtime.root, options=["--debug"]).run("run", "-b", bundle.save(), new_id())
        assert result.status == 0 and 'level=debug msg="host: clone3(' in result.stderr
        assert runtime.run("run", "-b", bundle.path, new_id()).stderr == ""

    def test_as_json(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        file = workdir / "log"
        bundle.args("nosuch")
        options = ["--debug", "--log", str(file), "--log-format", "json"]
        said = Runtime(runtime.root, options=options).run("run", "-b", bundle.save(), new_id())
        assert said.status == 1 and "executable file not found in $PATH" in said.stderr
        documents = [json.loads(line) for line in file.read_text().splitlines()]
        assert {"debug", "error"} == {document["level"] for document in documents}
        assert documents[-1]["level"] == "error"


def test_a_root_directory_is_not_the_root(runtime: Runtime) -> None:
    assert "--root should not be set to /" in Runtime(Path("/")).fails("list")
