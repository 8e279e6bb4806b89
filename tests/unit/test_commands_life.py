"""The commands of a container's life: what they ask of the lifecycle, what they print, and the status they return."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from support.containers import options_of
from support.recording import Recorder

from pyruntime import caller
from pyruntime.commands import (
    arguments,
    create,
    delete,
    events,
    exec,
    explain,
    kill,
    listing,
    pause,
    start,
    state,
    unimplemented,
    update,
)
from pyruntime.errors import Failure, InvalidConfig, UsageFailure
from pyruntime.lifecycle import create as creating
from pyruntime.lifecycle import exec as executing
from pyruntime.lifecycle import run as running
from pyruntime.step import HOST, INIT, Plan, Step


def fields(thing: Any) -> dict[str, Any]:
    """Return the parameters that are not empty."""
    return {name: getattr(thing, name) for name in thing.__slots__ if getattr(thing, name)}


class Asked:
    """Stands in for a lifecycle function, whose keywords count too."""

    def __init__(self, answer: Any = None) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.answer = answer

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.calls.append((args, named))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
    variables: dict[bytes, bytes] = {}
    monkeypatch.setattr("posix.environ", variables)
    monkeypatch.setattr(caller, "working_directory", lambda: "/here")
    monkeypatch.setattr(arguments, "working_directory", lambda: "/here")
    return variables


class TestCreation:
    def test_nothing_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = Asked()
        monkeypatch.setattr(creating, "create", asked)
        assert create.create(options_of("create", "c")) == 0
        (root, name, creation), named = asked.calls[0]
        assert (root, name, named, fields(creation)) == ("/r", "c", {}, {"bundle": "/here"})

    def test_everything_asked(self, environment: dict[bytes, bytes]) -> None:
        environment[b"NOTIFY_SOCKET"] = b"/run/n\xff"
        options = options_of(
            "create", "--bundle=b", "--config=x.json", "--console-socket=s", "--pidfd-socket=/p", "--pid-file=f",
            "--no-pivot", "--no-new-keyring", "--preserve-fds=2", "c",
        )  # fmt: skip
        options.given_fds = 2
        options.systemd_cgroup = True
        assert fields(arguments.creation(options)) == {
            "bundle": "b", "config_file": "x.json", "console_socket": "/here/s", "pidfd_socket": "/p",
            "pid_file": "/here/f", "no_pivot": True, "no_new_keyring": True, "preserve_fds": 2,
            "systemd_cgroup": True, "notify_socket": "/run/n\udcff",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("words", "foreground", "keep"), [((), True, False), (("-d",), False, False), (("--keep",), True, True)]
    )
    def test_run(self, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], foreground: bool, keep: bool) -> None:
        asked = Asked(7)
        monkeypatch.setattr(running, "run", asked)
        assert create.run(options_of("run", *words, "c")) == 7
        (root, name, creation), named = asked.calls[0]
        assert (root, name, creation.foreground, named) == ("/r", "c", foreground, {"keep": keep})

    def test_start(self, monkeypatch: pytest.MonkeyPatch, environment: dict[bytes, bytes]) -> None:
        asked = Asked()
        monkeypatch.setattr("pyruntime.lifecycle.start.start", asked)
        assert start.start(options_of("start", "c")) == 0
        environment[b"NOTIFY_SOCKET"] = b"@n"
        start.start(options_of("start", "d"))
        assert asked.calls == [(("/r", "c", None), {}), (("/r", "d", "@n"), {})]


class TestDescriptors:
    def passed(self, environment: dict[bytes, bytes], given: int, *words: str) -> tuple[int, int, list[str]]:
        """Return preserve_fds, listen_fds and the warnings, for a caller that passes that many descriptors."""
        options = options_of("create", *words, "c")
        options.given_fds = given
        creation = arguments.creation(options)
        return creation.preserve_fds, creation.listen_fds, creation.warnings

    @pytest.mark.parametrize("pid", [None, b"", b"%d" % os.getpid()])
    def test_sockets(self, environment: dict[bytes, bytes], pid: bytes | None) -> None:
        environment[b"LISTEN_FDS"] = b"2"
        if pid is not None:
            environment[b"LISTEN_PID"] = pid
        assert self.passed(environment, 3, "--preserve-fds=1") == (3, 2, [])

    def test_meant_for_another(self, environment: dict[bytes, bytes]) -> None:
        environment.update({b"LISTEN_FDS": b"2", b"LISTEN_PID": b"1"})
        assert self.passed(environment, 3) == (0, 0, [])

    def test_not_open(self, environment: dict[bytes, bytes]) -> None:
        environment[b"LISTEN_FDS"] = b"2"
        ignored = "LISTEN_FDS=2 is ignored, without LISTEN_PID: descriptor"
        assert self.passed(environment, 1) == (0, 0, [f"{ignored} 4 is not open"])
        assert self.passed(environment, 2, "--preserve-fds=1") == (1, 0, [f"{ignored} 5 is not open"])

    def test_not_open_but_meant(self, environment: dict[bytes, bytes]) -> None:
        own = b"%d" % os.getpid()
        environment.update({b"LISTEN_FDS": b"2", b"LISTEN_PID": own})
        with pytest.raises(Failure) as raised:
            self.passed(environment, 1)
        assert str(raised.value) == f"LISTEN_FDS=2 with LISTEN_PID={own.decode()}: descriptor 4 is not open"

    @pytest.mark.parametrize("text", [b"two", b"-1", b"1234567890", b"\xff"])
    def test_no_number(self, environment: dict[bytes, bytes], text: bytes) -> None:
        environment[b"LISTEN_FDS"] = text
        word = text.decode("latin1").replace("\xff", "\\xff")
        assert self.passed(environment, 9) == (
            0, 0, [f"LISTEN_FDS={word} is ignored: it is not a number of descriptors"],
        )  # fmt: skip

    def test_preserved_but_not_open(self, environment: dict[bytes, bytes]) -> None:
        with pytest.raises(Failure, match=r"^--preserve-fds: descriptor 4 is not open$"):
            self.passed(environment, 1, "--preserve-fds=2")


class TestExec:
    def asked_of(self, *words: str) -> dict[str, Any]:
        return fields(exec.execution(options_of("exec", *words)))

    def test_everything(self) -> None:
        assert self.asked_of("--process=p.json", "-d", "c") == {"process_file": "p.json"}
        assert self.asked_of(
            "-t", "--cwd=/d", "-e", "A=1", "-e", "B=2", "-u", "5:6", "-g", "7", "-g", "8", "--cap=CAP_X",
            "--no-new-privs", "--apparmor=a", "--process-label=l", "--cgroup=sub", "--ignore-paused",
            "--console-socket=s", "--pidfd-socket=p", "--pid-file=f", "c", "sh", "-c", "x",
        ) == {
            "args": ["sh", "-c", "x"], "terminal": True, "cwd": "/d", "env": ["A=1", "B=2"], "uid": 5, "gid": 6,
            "additional_gids": [7, 8], "capabilities": ["CAP_X"], "no_new_privileges": True, "apparmor": "a",
            "process_label": "l", "cgroups": ["sub"], "ignore_paused": True, "foreground": True,
            "console_socket": "/here/s", "pidfd_socket": "p", "pid_file": "f",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "ids"), [(None, (None, None)), ("0", (0, None)), ("4294967294:1", (4294967294, 1))]
    )
    def test_user(self, text: str | None, ids: tuple[int | None, int | None]) -> None:
        assert exec.read_user(text) == ids

    @pytest.mark.parametrize("text", ["root", "4294967295", "-1", "\u0661", "99999999999", "", "1:", "1:staff"])
    def test_no_user(self, text: str) -> None:
        with pytest.raises(UsageFailure, match=r"^--user: '.*' is not a numeric id between 0 and 4294967294$"):
            exec.read_user(text)

    def test_status_of_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = Asked(3)
        monkeypatch.setattr(executing, "exec_", asked)
        assert exec.exec_(options_of("exec", "c", "true")) == 3
        assert asked.calls[0][0][:2] == ("/r", "c")

    def test_a_wrong_command_line(self) -> None:
        with pytest.raises(Failure) as raised:
            exec.exec_(options_of("exec", "-g", "x", "c", "true"))
        assert raised.value.status == 255
        assert str(raised.value).startswith("exec failed: --additional-gids: 'x' is not a numeric id")


class TestKill:
    @pytest.mark.parametrize(
        ("words", "function", "number", "everything"),
        [
            (("c",), "kill", 15, False),
            (("c", "9"), "kill", 9, False),
            (("--all", "c", "HUP"), "kill", 1, True),
            (("--regex", "c.*", "SIGRTMIN+3"), "kill_matching", 37, False),
        ],
    )
    def test_asked(
        self, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], function: str, number: int, everything: bool
    ) -> None:
        asked = Asked()
        monkeypatch.setattr(f"pyruntime.lifecycle.kill.{function}", asked)
        assert kill.kill(options_of("kill", *words)) == 0
        name = next(word for word in words if word.startswith("c"))
        assert asked.calls == [(("/r", name, number), {"everything": everything})]

    @pytest.mark.parametrize(
        ("text", "number"),
        [("0", 0), ("64", 64), ("sigterm", 15), ("RTMAX-1", 63), ("RTMAX", 64), ("RTMIN", 34), ("RTMIN+30", 64)],
    )
    def test_signals(self, text: str, number: int) -> None:
        assert kill.read_signal(text) == number

    @pytest.mark.parametrize(
        "text", ["65", "0009", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMAX-31", "NONE", "-1", "", "\u0661", "TER M"]
    )
    def test_no_signals(self, text: str) -> None:
        with pytest.raises(UsageFailure) as raised:
            kill.read_signal(text)
        assert str(raised.value) == f"unknown signal {text!r}"


def test_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    one, matching = Asked(), Asked()
    monkeypatch.setattr("pyruntime.lifecycle.delete.delete", one)
    monkeypatch.setattr("pyruntime.lifecycle.delete.delete_matching", matching)
    assert delete.delete(options_of("delete", "c")) == delete.delete(options_of("delete", "-f", "c")) == 0
    assert delete.delete(options_of("delete", "-f", "--regex", "c.")) == 0
    assert one.calls == [(("/r", "c"), {"force": False}), (("/r", "c"), {"force": True})]
    assert matching.calls == [(("/r", "c."), {"force": True})]


def test_pause_and_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(pause=None, resume=None)
    monkeypatch.setattr(pause, "lifecycle", recorder)
    assert pause.pause(options_of("pause", "c")) == pause.resume(options_of("resume", "d")) == 0
    assert recorder.calls == [("pause", "/r", "c"), ("resume", "/r", "d")]


def test_state(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(state={"id": "c", "pid": 5, "annotations": {"a": 'b"'}})
    monkeypatch.setattr(state, "lifecycle", recorder)
    assert state.state(options_of("state", "c")) == 0
    assert capsys.readouterr().out == '{\n  "id": "c",\n  "pid": 5,\n  "annotations": {"a":"b\\""}\n}\n'
    assert recorder.calls == [("state", "/r", "c")]


class TestList:
    DOCUMENTS = (
        {"id": "one", "pid": 5, "status": "running", "bundle": "/a\nb", "created": "now", "owner": "root"},
        {"id": "another-long-one", "pid": 0, "status": "stopped", "bundle": "/", "created": "then", "owner": "#7"},
    )

    def listed(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
    ) -> tuple[str, str]:
        def states(_root: str, report: Any) -> list[dict[str, Any]]:
            report(Failure("damaged"))
            return list(self.DOCUMENTS)

        recorder = Recorder(states=states, ids=[["one", "two"]])
        monkeypatch.setattr(listing, "state", recorder)
        assert listing.list_(options_of("list", *words)) == 0
        assert recorder.calls[0][1] == "/r"
        said = capsys.readouterr()
        return said.out, said.err

    @pytest.mark.parametrize("words", [(), ("-f", "table")])
    def test_table(self, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: tuple[str, ...]) -> None:
        out, err = self.listed(monkeypatch, capsys, *words)
        assert out.splitlines() == [
            "ID                 PID         STATUS      BUNDLE      CREATED     OWNER",
            "one                5           running     /a\\nb       now         root",
            "another-long-one   0           stopped     /           then        #7",
        ]
        assert err == "pyruntime: damaged\n"

    def test_json(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        out, err = self.listed(monkeypatch, capsys, "--format=json")
        assert out.startswith('[{"id":"one","pid":5,"status":"running","bundle":"/a\\nb"')
        assert out.endswith('"owner":"#7"}]\n') and err == "pyruntime: damaged\n"

    def test_quiet(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        assert self.listed(monkeypatch, capsys, "-q") == ("one\ntwo\n", "")

    def test_another_format(self) -> None:
        with pytest.raises(UsageFailure, match=r"^invalid format option: 'yaml' is neither table nor json$"):
            listing.list_(options_of("list", "-f", "yaml"))


class TestEvents:
    def test_stats(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        recorder = Recorder(stats={"pids": 1})
        monkeypatch.setattr(events, "lifecycle", recorder)
        assert events.events(options_of("events", "--stats", "c")) == 0
        assert capsys.readouterr().out == '{"type":"stats","id":"c","data":{"pids":1}}\n'
        assert recorder.calls == [("stats", "/r", "c")]

    @pytest.mark.parametrize(("words", "interval"), [((), 5 * 10**9), (("--interval=1m30s",), 90 * 10**9)])
    def test_stream(self, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: tuple[str, ...], interval: int) -> None:
        asked: list[Any] = []

        def watch(root: str, name: str, every: int, emit: Any, reader: int) -> None:
            asked.extend([root, name, every, reader])
            emit("oom", None)

        monkeypatch.setattr(events, "lifecycle", Recorder(watch=watch))
        assert events.events(options_of("events", *words, "c")) == 0
        assert capsys.readouterr().out == '{"type":"oom","id":"c"}\n'
        assert asked == ["/r", "c", interval, 1]


class TestExplain:
    PLAN = (
        Step(HOST, "/mounts/0", "one", 1),
        Step(INIT, "", "two", "x"),
        Step(INIT, "", "await_start"),
        Step(HOST, "", "three"),
    )

    def test_text(self) -> None:
        assert explain.render(Plan(list(self.PLAN), [])).splitlines() == [
            "# host: the runtime, in the namespaces of its caller",
            "   1 host  /mounts/0  one(1)",
            "# init: the container's first process, in its own namespaces",
            '   2 init             two("x")',
            "# init, from here on when `start` is called",
            "   3 init             await_start()",
            "# host",
            "   4 host             three()",
        ]
        assert explain.render(Plan([], [])) == ""

    @pytest.mark.parametrize(("words", "name"), [(("c",), "c"), ((), "example")])
    def test_command(self, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: tuple[str, ...], name: str) -> None:
        asked: list[Any] = []

        def prepare(root: str, container_id: str, creation: Any) -> Any:
            asked.extend([root, container_id, fields(creation)])
            return SimpleNamespace(warnings=["odd"], plan=Plan([Step(HOST, "", "one")], []))

        monkeypatch.setattr(creating, "prepare", prepare)
        assert explain.explain(options_of("explain", "-b", "/b", *words)) == 0
        said = capsys.readouterr()
        assert asked == ["/r", name, {"bundle": "/b"}]
        assert said.err == "warning: odd\n" and said.out.endswith("   1 host    one()\n")


class TestUpdate:
    def test_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = Recorder(update=None)
        monkeypatch.setattr(update, "lifecycle", recorder)
        assert update.update(options_of("update", "--memory=1k", "--cpuset-cpus=0", "c")) == 0
        assert recorder.calls == [("update", "/r", "c", {"memory": {"limit": 1024}, "cpu": {"cpus": "0"}})]

    def test_a_failure_names_the_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusal = InvalidConfig("no", pointer="/linux/resources/memory/limit")
        monkeypatch.setattr(update, "lifecycle", Recorder(update=refusal))
        with pytest.raises(Failure) as raised:
            update.update(options_of("update", "--memory=1k", "c"))
        assert str(raised.value) == "no [--memory]"

    @pytest.mark.parametrize(("name", "what"), [("-", "standard input"), ("/f", "/f")])
    def test_a_document(self, monkeypatch: pytest.MonkeyPatch, name: str, what: str) -> None:
        recorder = Recorder(load_resources={"pids": {"limit": 1}})
        monkeypatch.setattr(update, "spec", recorder)
        assert update.read_request(options_of("update", f"--resources={name}", "c")) == (
            {"pids": {"limit": 1}},
            {"": what},
        )
        assert recorder.calls == [("load_resources", name)]

    def test_no_place(self) -> None:
        without = Failure("no")
        assert update.located(without, {"": "f"}) is without and str(without) == "no"
        assert str(update.located(Failure("no", pointer="/linux/resources/x"), {"/y": "--y"})) == "no"


def test_not_implemented() -> None:
    with pytest.raises(Failure, match=r"^checkpoint is not implemented yet$"):
        unimplemented.unimplemented(options_of("checkpoint", "c"))
