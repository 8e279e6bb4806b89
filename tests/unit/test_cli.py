"""The command line: what callers send is understood, what is wrong is told in one line, and little is imported."""

import errno
import json
import os
import posix
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pyruntime
from pyruntime import cli, kernel, log, options
from pyruntime.errors import Failure
from pyruntime.options import Options

CRIU_CREATE = (
    "--image-path /i --work-path /w --parent-path ../p --tcp-established --ext-unix-sk --shell-job"
    " --page-server 1.2.3.4:5 --file-locks --manage-cgroups-mode soft --empty-ns network --lazy-pages --status-fd 3"
)
CONTAINERD = "--root /r/k8s.io --log /b/log.json --log-format json"
CALLERS: dict[str, dict[str, Any]] = {
    # containerd's shim, through go-runc
    f"{CONTAINERD} create --bundle /b --pid-file /b/init.pid --console-socket /s --pidfd-socket /p --no-pivot"
    " --no-new-keyring --preserve-fds 2 id": {"bundle": "/b", "preserve_fds": 2, "no_pivot": True, "args": ["id"]},
    f"{CONTAINERD} start id": {"root": "/r/k8s.io", "log_format": "json", "args": ["id"]},
    f"{CONTAINERD} state id": {"args": ["id"]},
    f"{CONTAINERD} pause id": {},
    f"{CONTAINERD} resume id": {},
    f"{CONTAINERD} kill --all id 9": {"all": True, "args": ["id", "9"]},
    f"{CONTAINERD} kill id 15": {"all": False, "args": ["id", "15"]},
    f"{CONTAINERD} delete --force id": {"force": True},
    f"{CONTAINERD} delete id": {"force": False},
    f"{CONTAINERD} exec --process /p.json --console-socket /s --detach --pid-file /p id": {
        "process": "/p.json",
        "detach": True,
        "args": ["id"],
    },
    f"{CONTAINERD} update --resources=- id": {"resources": "-"},
    f"{CONTAINERD} checkpoint {CRIU_CREATE} --leave-running --pre-dump id": {"leave_running": True, "status_fd": "3"},
    f"{CONTAINERD} restore {CRIU_CREATE} --detach --pid-file /p --console-socket /s --no-pivot -no-subreaper"
    " --bundle /b id": {"no_subreaper": True, "detach": True, "bundle": "/b"},
    f"{CONTAINERD} list --format=json": {"format": "json"},
    f"{CONTAINERD} ps --format json id": {"format": "json"},
    f"{CONTAINERD} events --stats id": {"stats": True},
    f"{CONTAINERD} events --interval=5s id": {"interval": "5s"},
    f"{CONTAINERD} features": {},
    # conmon
    "create --bundle /b --pid-file /p --no-pivot --no-new-keyring --preserve-fds 1 --console-socket /s id": {},
    "exec --pid-file /p --process /f --detach --console-socket /s id": {"process": "/f"},
    # Podman
    "kill --all id 9": {},
    "update --resources=/f id": {"resources": "/f"},
    # CRI-O
    "exec --process /f id": {"detach": False},
    "kill id SIGTERM": {"args": ["id", "SIGTERM"]},
    "kill -a id 9": {"all": True},
    "update --resources - id": {"resources": "-", "args": ["id"]},
    "checkpoint --file-locks --image-path /i --work-path /w id": {"file_locks": True},
    # BuildKit
    "--log /l run --bundle /b --no-pivot --keep id": {"keep": True, "detach": False},
    "exec --process /f --pid-file /p id": {},
    # runtime-tools
    "create --pid-file /p --bundle /b id": {},
    "kill id TERM": {},
    # people, runc style
    "run -d -b /b id": {"detach": True, "bundle": "/b"},
    "exec -t -d -e K=V -e L=W=X -u 1:2 --cwd /d -g 3 -g 4 --cap CAP_A --no-new-privs --process-label l --apparmor p"
    " --cgroup sub --ignore-paused --preserve-fds 3 id sh -c -x": {
        "tty": True,
        "env": ["K=V", "L=W=X"],
        "user": "1:2",
        "additional_gids": ["3", "4"],
        "cap": ["CAP_A"],
        "cgroup": ["sub"],
        "ignore_paused": True,
        "preserve_fds": 3,
        "args": ["id", "sh", "-c", "-x"],
    },
    "exec -td id sh": {"tty": True, "detach": True},
    "list -q": {"quiet": True},
    "list -f table": {"format": "table"},
    "ps id -o pid,args": {"args": ["id", "-o", "pid,args"]},
    "spec -b /b --rootless": {"bundle": "/b"},
    "update --memory 1 --cpu-quota 2 --cpu-period 3 --cpu-share 4 --cpuset-cpus 0 --pids-limit 5 -r /f id": {
        "cpuset_cpus": "0",
        "resources": "/f",
    },
    "kill id": {"args": ["id"]},
    # people, crun style
    "--cgroup-manager cgroupfs --rootless=false run --config /f id": {"config": "/f"},
    "create --config=/f id": {"config": "/f"},
    "delete --regex a.*": {"regex": True, "args": ["a.*"]},
    "kill --regex a.* KILL": {"regex": True, "args": ["a.*", "KILL"]},
    "spec -f /f": {"file": "/f"},
    "exec --no-new-privs=false id sh": {"no_new_privs": False},
    "exec id sh": {"no_new_privs": None},
    "mounts add id m": {},
    "explain": {"args": []},
    # options behind the id
    "kill id --all 9": {"all": True, "args": ["id", "9"]},
    "delete id --force": {"force": True},
}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The options that commands were called with; the commands themselves do nothing."""
    seen: list[Options] = []

    def load(name: str, fromlist: list[str]) -> Any:
        def command(options: Options) -> int:
            seen.append(options)
            return 0

        assert (Path(pyruntime.__file__).parents[1] / (name.replace(".", "/") + ".py")).exists()
        return SimpleNamespace(**dict.fromkeys(fromlist, command))

    monkeypatch.setattr(cli, "__import__", load, raising=False)
    monkeypatch.setattr(kernel, "is_binary_protected", lambda: True)
    return seen


@pytest.fixture(autouse=True)
def new_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A log of its own for each test, which closes its file."""
    monkeypatch.setattr(log, "_log", log.Log())
    yield
    if log._log.fd >= 0:
        os.close(log._log.fd)


@pytest.mark.parametrize("line", CALLERS)
def test_what_callers_send(called: list[Options], line: str, tmp_path: Path, capfd: Any) -> None:
    words = [f"{tmp_path}/log" if word in ("/b/log.json", "/l") else word for word in line.split()]
    assert cli.main(words) == 0, capfd.readouterr()
    for name, value in CALLERS[line].items():
        assert getattr(called[0], name) == value
    assert capfd.readouterr() == ("", "")


def test_an_option_that_is_not_given_is_empty(called: list[Options]) -> None:
    cli.main(["exec", "id", "sh"])
    options = called[0]
    assert (options.process, options.tty, options.env, options.preserve_fds) == (None, False, [], None)


def test_lists_are_not_shared_between_calls(called: list[Options]) -> None:
    cli.main(["exec", "-e", "A=1", "id", "sh"])
    cli.main(["exec", "id", "sh"])
    assert called[1].env == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nosuch", "unknown command 'nosuch'"),
        ("--nosuch state x", "unknown option '--nosuch'"),
        ("state --nosuch x", "unknown option '--nosuch'"),
        ("state ---debug x", "unknown option '---debug'"),
        ("exec -tx id sh", "unknown option '-tx'"),
        ("state", '"state" requires exactly 1 argument(s), not 0; usage: pyruntime state ID\n'),
        ("state a b", '"state" requires exactly 1 argument(s), not 2'),
        ("list a", '"list" requires exactly 0 argument(s), not 1; usage: pyruntime list\n'),
        ("kill", '"kill" requires a minimum of 1 argument(s), not 0'),
        ("kill a 9 b", '"kill" requires a maximum of 2 argument(s), not 3'),
        ("--root / state x", "--root should not be set to /"),
        ("--root /.. state x", "--root should not be set to /"),
        ("create --bundle", "option --bundle requires an argument"),
        ("restore --lsm-mount-context", "option --lsm-mount-context requires an argument"),
        ("delete --force=maybe x", "option --force takes no value but true or false"),
        ("create --preserve-fds many x", "option --preserve-fds: 'many' is not a whole number between 0 and 999999999"),
        ("create --preserve-fds=-1 x", "option --preserve-fds: '-1' is not a whole number between 0 and 999999999"),
        ("--log-format xml state x", "--log-format 'xml' is neither text nor json"),
        ("--log-level loud state x", "--log-level 'loud'"),
        ("--cgroup-manager disabled state x", "--cgroup-manager 'disabled' is not supported"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(capfd: Any, line: str, said: str) -> None:
    assert cli.main(line.split()) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


@pytest.mark.parametrize("line", ["checkpoint x", "restore x", "mounts add x y"])
def test_what_is_not_there_yet(capfd: Any, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "is_binary_protected", lambda: True)
    assert cli.main(line.split()) == 1
    assert capfd.readouterr().err == f"pyruntime: {line.split()[0]} is not implemented yet\n"


SANITIZERS = ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS")
"""What a process with instrumented extensions needs (scripts/sanitize)."""
ENTERING = ("create", "run", "exec", "restore", "mounts")
UNPROTECTED = (
    "the binary of this process could be overwritten from the container; "
    "run the installed command pyruntime, which runs from a read-only copy of itself\n"
)


@pytest.mark.parametrize("name", options.COMMANDS)
def test_what_enters_a_container_refuses_where_the_binary_is_not_protected(name: str, tmp_path: Path) -> None:
    """The kernel is asked about the binary, here Python's own. Variables and arguments are the caller's to choose."""
    command = [sys.executable, "-P", "-m", "pyruntime", "--root", f"{tmp_path}/root", name, "no-container"]
    environment = {
        "_PYRUNTIME_HANDED_OVER": f"{os.getpid()} 3",
        "_PYRUNTIME_HOME": "/usr/bin/pyruntime",
        "PYTHONPATH": str(Path(pyruntime.__file__).parents[1]),
        **{key: os.environ[key] for key in SANITIZERS if key in os.environ},
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if name in ENTERING:
        assert (done.returncode, done.stdout) == (255 if name == "exec" else 1, "")
        assert done.stderr == f"pyruntime: {name}: {UNPROTECTED}"
    else:
        assert "binary" not in done.stderr


def test_a_sealed_binary_is_protected_and_one_with_fewer_seals_is_not() -> None:
    """The interpreter itself, executed from memory; MFD_ALLOW_SEALING is 2, F_ADD_SEALS 1033, all seals 15."""
    program = """
import fcntl, os, sys
copy = os.memfd_create("python", 2)
os.write(copy, open(sys.executable, "rb").read())
fcntl.fcntl(copy, 1033, int(sys.argv[1]))
os.execve(copy, [sys.executable, "-c", sys.argv[2]], os.environ)
"""
    ask = f"import sys; sys.path[:0] = {sys.path!r}; from pyruntime import kernel; print(kernel.is_binary_protected())"
    for seals, protected in ((15, "True"), (7, "False"), (14, "False")):
        command = [sys.executable, "-c", program, str(seals), ask]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == (f"{protected}\n", ""), seals


def test_a_word_after_two_dashes_is_no_option(called: list[Options]) -> None:
    cli.main(["kill", "--", "--all", "9"])
    assert called[0].args == ["--all", "9"] and called[0].all is False


@pytest.mark.parametrize("value", ["--force=true", "--force=false"])
def test_a_flag_with_a_value(called: list[Options], value: str) -> None:
    cli.main(["delete", value, "x"])
    assert called[0].force is (value == "--force=true")


@pytest.mark.parametrize("word", ["--version", "-v", "-version"])
def test_version(capfd: Any, word: str) -> None:
    assert cli.main([word]) == 0
    first, second, third, *last = capfd.readouterr().out.splitlines()
    assert first == f"pyruntime version {pyruntime.__version__}"
    assert second.startswith("commit: ") and third == "spec: 1.3.0"
    assert all(re.fullmatch(r"libseccomp: 2\.\d+\.\d+", line) for line in last) and len(last) < 2


def test_help_of_a_command_by_the_word(capfd: Any) -> None:
    """As `runc help COMMAND`."""
    assert cli.main(["kill", "--help"]) == 0
    expected = capfd.readouterr().out
    assert cli.main(["help", "kill"]) == 0
    assert capfd.readouterr().out == expected and expected.startswith("pyruntime kill: ")
    assert cli.main(["help", "nothing"]) == 1
    assert "unknown command 'nothing'" in capfd.readouterr().err
    assert cli.main(["--root", "/x", "help", "create"]) == 0


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help(capfd: Any, word: str) -> None:
    assert cli.main([word]) == 0
    text = capfd.readouterr().out
    assert all(f"  {name} " in text for name in options.COMMANDS) and "--root" in text


@pytest.mark.parametrize("name", options.COMMANDS)
def test_help_of_a_command_names_all_its_options(capfd: Any, name: str) -> None:
    for word in ("--help", "-h"):
        assert cli.main([name, word]) == 0
        out, err = capfd.readouterr()
        assert all(f"--{option}" in out for option in options.COMMANDS[name].options) and err == ""


def test_every_command_has_its_function() -> None:
    for command in options.COMMANDS.values():
        module = __import__(f"pyruntime.commands.{command.module}", fromlist=["x"])
        assert callable(getattr(module, command.function)), command.module


def test_no_short_option_is_given_twice() -> None:
    for table in (options.GLOBAL, *(command.options for command in options.COMMANDS.values())):
        shorts = [short for _, short, _ in table.values() if short]
        assert len(shorts) == len(set(shorts))


class TestRoot:
    def test_default(self, called: list[Options], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("posix.geteuid", lambda: 0)
        cli.main(["state", "x"])
        assert called[0].root == "/run/pyruntime"

    def test_default_of_a_user(self, called: list[Options], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("posix.geteuid", lambda: 1000)
        monkeypatch.setitem(posix.environ, b"XDG_RUNTIME_DIR", b"/run/user/1000")
        cli.main(["state", "x"])
        assert called[0].root == "/run/user/1000/pyruntime"

    @pytest.mark.parametrize("theirs", [False, True])
    def test_default_without_a_run_time_directory(
        self, called: list[Options], monkeypatch: pytest.MonkeyPatch, capfd: Any, theirs: bool
    ) -> None:
        """Everybody may write to /tmp: what somebody else has put there is not used."""
        status = SimpleNamespace(st_uid=1000 + theirs, st_mode=0o40755)
        monkeypatch.setattr("posix.geteuid", lambda: 1000)
        monkeypatch.setattr("posix.lstat", lambda _: status)
        monkeypatch.delitem(posix.environ, b"XDG_RUNTIME_DIR", raising=False)
        assert cli.main(["state", "x"]) == theirs
        if theirs:
            assert "not a directory of this user's" in capfd.readouterr().err
        else:
            assert called[0].root == "/tmp/pyruntime-1000"

    def test_relative(self, called: list[Options]) -> None:
        cli.main(["--root", "r", "state", "x"])
        assert called[0].root == f"{os.getcwd()}/r"


class TestFailures:
    """Every failure is one line on stderr, and exactly one error line in the log."""

    def fail(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, *words: str) -> int:
        def command(_: Options) -> int:
            log.warning("something else")
            raise error

        def load(*_: Any, **__: Any) -> Any:
            return SimpleNamespace(state=command)

        monkeypatch.setattr(cli, "__import__", load, raising=False)
        return cli.main([*words, "state", "x"])

    @pytest.mark.parametrize(
        ("error", "said", "status"),
        [
            (Failure("it broke\nbadly", status=255), "it broke\\nbadly", 255),
            (FileNotFoundError(2, "No such file or directory", "/f"), "/f: no such file or directory (ENOENT)", 1),
            (KeyError("x"), "internal error: KeyError: 'x'; --debug shows the traceback", 1),
            (RecursionError("deep"), "internal error: RecursionError: deep", 1),
        ],
    )
    def test_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path, error: Any, said: str, status: int
    ) -> None:
        file = tmp_path / "log"
        assert self.fail(monkeypatch, error, "--log", str(file), "--log-format", "json") == status
        out, err = capfd.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith(f"pyruntime: {said}")
        document = json.loads(file.read_text())  # the whole file is one object
        assert document["level"] == "error" and said.replace("\\n", "\\n") in document["msg"]

    def test_warnings_of_a_command_that_succeeds(
        self, monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
    ) -> None:
        def command(_: Options) -> int:
            log.warning("something else")
            return 0

        def load(*_: Any, **__: Any) -> Any:
            return SimpleNamespace(state=command)

        monkeypatch.setattr(cli, "__import__", load, raising=False)
        assert cli.main(["--log", str(tmp_path / "log"), "--log-format=json", "state", "x"]) == 0
        assert json.loads((tmp_path / "log").read_text())["msg"] == "something else"
        assert capfd.readouterr() == ("", "")

    def test_debug_shows_the_traceback(self, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        self.fail(monkeypatch, KeyError("x"), "--debug")
        assert "Traceback" in capfd.readouterr().err

    def test_a_wrong_command_line_is_logged_too(self, capfd: Any, tmp_path: Path) -> None:
        for words in (["--nosuch"], ["state", "--nosuch"], ["nosuch"], ["state"]):
            file = tmp_path / "log"
            assert cli.main(["--log", str(file), "--log-format=json", *words]) == 1
            assert json.loads(file.read_text())["level"] == "error"
            file.unlink()
            os.close(log._log.fd)
            log._log.fd = -1

    def test_a_log_file_that_cannot_be_opened(self, capfd: Any, tmp_path: Path) -> None:
        assert cli.main(["--log", f"{tmp_path}/no/log", "state", "x"]) == 1
        assert "open log file" in capfd.readouterr().err

    def test_a_reader_that_is_gone(self) -> None:
        program = "from pyruntime.cli import main; import os; os._exit(main(['--help']))"
        read, write = os.pipe()
        os.close(read)
        result = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, check=False)
        os.close(write)
        assert (result.returncode, result.stderr) == (1, b"")

    def test_a_peer_that_is_gone_is_told(self, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        def refused(*_: object) -> int:
            error = BrokenPipeError(errno.EPIPE, "Broken pipe")
            error.call = "sendmsg(5)"  # type: ignore[attr-defined]
            raise error

        monkeypatch.setattr(cli, "dispatch", refused)
        assert cli.main(["create", "x"]) == 1
        assert capfd.readouterr().err == "pyruntime: sendmsg(5): broken pipe (EPIPE)\n"


HEAVY = (
    "argparse",
    "collections",
    "contextlib",
    "ctypes",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "json",
    "jsonschema",
    "logging",
    "os",
    "pathlib",
    "re",
    "signal",
    "socket",
    "subprocess",
    "traceback",
    "typing",
)


HOT = ("state x", "start x", "kill x", "delete x", "delete -f x", "create x", "run x", "exec x sh")


@pytest.mark.parametrize("line", HOT)
def test_hot_commands_import_nothing_heavy(line: str, tmp_path: Path) -> None:
    """design.md, "Start-up is the budget". The interpreter itself, without site, loads none of these."""
    packages = Path(pyruntime.__file__).parents[1]
    program = (
        "import sys; before = set(sys.modules); "
        f"sys.path.append({str(packages)!r}); from pyruntime.cli import main; "
        f"main(['--root', {str(tmp_path)!r}, *{line.split()!r}]); "
        "sys.stdout.write(' '.join(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    loaded = result.stdout.split()
    assert "pyruntime.cli" in loaded, result.stderr
    assert not set(HEAVY) & set(loaded), f"{sorted(set(HEAVY) & set(loaded))} loaded"
