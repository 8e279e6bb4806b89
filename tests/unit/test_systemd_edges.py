"""The client of systemd and D-Bus at its edges: a bus in between, refusals by every name, waits, limits of the wire."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyruntime import kernel
from pyruntime.container import cgroup, dbus
from pyruntime.container import dbus_wire as wire
from pyruntime.container import systemd as client
from pyruntime.container.dbus import CallFailed
from pyruntime.errors import Failure
from pyruntime.plan.unit_properties import Property

if TYPE_CHECKING:
    from pyruntime.container.record import Record

NAME = "org.freedesktop.systemd1"
MATCH = f"type='signal',sender='{NAME}',interface='{NAME}.Manager',member='JobRemoved'"


class Bus:
    """A connection whose answers are a list of values or of errors to raise; notes what it was asked."""

    def __init__(self, *answers: Any, signals: tuple[list[Any], ...] = ()) -> None:
        self.answers = list(answers)
        self.signals = list(signals)
        self.called: list[tuple[Any, ...]] = []
        self.closed = 0

    def call(self, *given: Any) -> Any:
        self.called.append(given)
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def next_signal(self, member: str, deadline: float) -> list[Any]:
        self.deadline = deadline
        return self.signals.pop(0)

    def close(self) -> None:
        self.closed += 1


def manager(bus: Any, *, over_bus: bool = False) -> client.Manager:
    return client.Manager(bus, bus=over_bus)


def error(name: str, text: str = "words") -> CallFailed:
    return CallFailed(f"org.freedesktop.{name}", text)


class TestManager:
    def test_over_a_bus(self) -> None:
        bus = Bus()
        with manager(bus, over_bus=True):
            path = "/org/freedesktop/DBus"
            service = "org.freedesktop.DBus"
            assert bus.called == [
                (service, path, service, "Hello"),
                (service, path, service, "AddMatch", "s", MATCH),
                (NAME, "/org/freedesktop/systemd1", f"{NAME}.Manager", "Subscribe", ""),
            ]
            assert bus.closed == 0
        assert bus.closed == 1

    def test_on_the_private_socket(self) -> None:
        bus = Bus()
        manager(bus)
        assert bus.called == []

    @pytest.mark.parametrize("problem", [error("DBus.Error.AccessDenied"), Failure("it hung up")])
    def test_a_bus_that_does_not_let_us(self, problem: Exception) -> None:
        bus = Bus([], problem)
        with pytest.raises(Failure) as caught:
            manager(bus, over_bus=True)
        words = "systemd can't be reached over D-Bus: words (org.freedesktop.DBus.Error.AccessDenied)"
        assert str(caught.value) == ("it hung up" if isinstance(problem, Failure) else words)
        assert bus.closed == 1

    def test_calls(self) -> None:
        bus = Bus(["/job/1"], signals=([1, "/job/1", "u", "done"],))
        given = [Property("Slice", "s", "x.slice", "/p")]
        manager(bus).start_scope("u", given, 7)
        values = [("Slice", ("s", "x.slice")), ("PIDs", ("au", [7]))]
        head = (NAME, "/org/freedesktop/systemd1", f"{NAME}.Manager")
        assert bus.called == [(*head, "StartTransientUnit", "ssa(sv)a(sa(sv))", "u", "replace", values, [])]
        bus = Bus(["/job/1"], signals=([1, "/job/1", "u", "done"],))
        manager(bus).stop("u")
        manager(bus).reset_failed("u")
        assert manager(bus).knows("u") is True
        manager(bus).set_properties("u", given)
        assert [each[3:] for each in bus.called] == [
            ("StopUnit", "ss", "u", "replace"),
            ("ResetFailedUnit", "s", "u"),
            ("GetUnit", "s", "u"),
            ("SetUnitProperties", "sba(sv)", "u", True, values[:1]),
        ]

    def test_nothing_to_change_is_not_sent(self) -> None:
        bus = Bus()
        manager(bus).set_properties("u", [])
        assert bus.called == []

    @pytest.mark.parametrize("result", ["done", "skipped", "failed"])
    def test_the_end_of_a_job(self, monkeypatch: pytest.MonkeyPatch, result: str) -> None:
        monkeypatch.setattr("time.monotonic", lambda: 100.0)
        signals = ([1, "/job/1", "u"], [1, "/job/2", "u", "failed"], [1, "/job/1", "u", result])
        starting, stopping = (Bus(["/job/1"], signals=signals) for _ in range(2))
        if result == "failed":
            with pytest.raises(Failure) as caught:
                manager(starting).start_scope("u", [], 7)
            words = 'systemd could not start u: its job ended with "failed"; see systemctl status u'
            assert str(caught.value) == words
            with pytest.raises(Failure) as caught:
                manager(stopping).stop("u")
            assert str(caught.value) == 'systemd could not stop u: its job ended with "failed"'
        else:
            manager(starting).start_scope("u", [], 7)
            manager(stopping).stop("u")
        assert starting.signals == stopping.signals == [] and starting.deadline == 130.0

    @pytest.mark.parametrize(("name", "gone"), [("NoSuchUnit", True), ("LoadFailed", True), ("Other", False)])
    def test_a_unit_that_is_gone(self, name: str, gone: bool) -> None:
        calls: list[Callable[[client.Manager], object]] = [lambda one: one.stop("u"), lambda one: one.knows("u")]
        for call, what in zip(calls, ("systemd refused to stop u", "ask systemd for u"), strict=True):
            problem = error(f"systemd1.{name}")
            if gone:
                assert not call(manager(Bus(problem)))
            else:
                with pytest.raises(Failure) as caught:
                    call(manager(Bus(problem)))
                assert str(caught.value) == f"{what}: words (Other)"

    def test_a_unit_that_cannot_be_forgotten(self) -> None:
        manager(Bus(error("systemd1.NoSuchUnit"))).reset_failed("u")

    def test_a_number_out_of_its_range(self) -> None:
        with pytest.raises(Failure, match=r"^a property of u is out of the range of its type$"):
            manager(Bus(OverflowError())).start_scope("u", [], 7)

    def test_waiting_until_it_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def attempts(seconds: float, longest: float) -> Any:
            asked.append((seconds, longest))
            return iter([None, None])

        monkeypatch.setattr(cgroup, "attempts", attempts)
        assert manager(Bus(["/u"], error("systemd1.NoSuchUnit"))).wait_until_gone("u") is True
        assert manager(Bus(["/u"], ["/u"])).wait_until_gone("u", 1) is False
        assert asked == [(2.0, 0.05), (1, 0.05)]


class TestRefusal:
    LIMITS = (
        Property("Memory", "t", 5, "/a", derived=True),
        Property("MemoryMax", "t", 6, "/b", derived=True),
        Property("X", "s", "x", "/annotations/x"),
    )

    @pytest.mark.parametrize(
        "text",
        ["MemoryMax, Memory", "'MemoryMax' is", "MemoryMax=9", "bad:MemoryMax:Memory", "x,MemoryMax", "x=MemoryMax"],
    )
    def test_the_longest_name_counts(self, text: str) -> None:
        assert client.named_property(error("x", text), self.LIMITS) == self.LIMITS[1]

    def test_no_name(self) -> None:
        assert client.named_property(error("x", "MemoryMaximum"), self.LIMITS) is None

    def test_only_what_a_limit_repeats_can_be_left_out(self) -> None:
        read_only = "DBus.Error.PropertyReadOnly"
        assert client.unknown_property(error(read_only, "MemoryMax"), self.LIMITS) == self.LIMITS[1]
        assert client.unknown_property(error(read_only, "X"), self.LIMITS) is None
        assert client.unknown_property(error(read_only, "none"), self.LIMITS) is None
        assert client.unknown_property(error("DBus.Error.Other", "MemoryMax"), self.LIMITS) is None

    @pytest.mark.parametrize(
        ("pointers", "line"),
        [
            (["/a"], "what: words (Bad)"),
            (["/a", "/annotations/x"], "what: words (Bad) [config.json#/annotations/x]"),
            (["/annotations/y", "/annotations/x"], "what: words (Bad) [config.json#/annotations]"),
        ],
    )
    def test_a_value_of_the_wrong_type(self, pointers: list[str], line: str) -> None:
        given = [Property("A", "s", "x", pointer) for pointer in pointers]
        assert str(client.refusal("what", error("DBus.Error.Bad"), given)) == line

    def test_another_unit_of_the_name(self) -> None:
        assert str(client.UnitExists("u")) == (
            "systemd already has a unit u [config.json#/linux/cgroupsPath]; "
            "another container or service uses it; delete that one or choose another cgroupsPath"
        )


class TestOfARecord:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Who is connected to, and what is done there; a unit "taken" exists."""
        log: list[Any] = []

        class One:
            def __enter__(self) -> One:
                return self

            def __exit__(self, *_: object) -> None:
                log.append("closed")

            def start_scope(self, unit: str, *given: Any) -> None:
                log.append((unit, *given))
                if unit == "taken":
                    raise client.UnitExists(unit)

            def set_properties(self, *given: Any) -> None:
                log.append(given)

        def connect(*, user: bool) -> One:
            log.append(user)
            return One()

        monkeypatch.setattr(client, "connect", connect)
        return log

    @pytest.mark.parametrize("user", [False, True])
    def test_start_and_change(self, asked: list[Any], user: bool) -> None:
        record: Record = {"systemd_user": user, "systemd_unit": "u"}
        first, second = [Property("p", "s", "", "")], [Property("q", "s", "", "")]
        client.start_scope(record, "u", first, 7)
        client.set_unit_properties(record, second)
        assert asked == [user, ("u", first, 7), "closed", user, ("u", second), "closed"]
        assert record["systemd_unit"] == "u"

    def test_anothers_unit_is_not_noted(self, asked: list[Any]) -> None:
        record: Record = {"systemd_user": False, "systemd_unit": "taken"}
        with pytest.raises(client.UnitExists):
            client.start_scope(record, "taken", [], 7)
        assert record == {"systemd_user": False}


class TestConnect:
    @pytest.fixture
    def tried(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What was tried; the first way of all leads nowhere."""
        log: list[Any] = []

        def open_address(address: str) -> int:
            log.append(address)
            if len(log) == 1:
                raise OSError(errno.ENOENT, "no")
            return 77

        def connection(*given: Any) -> Bus:
            log.append(given)
            return Bus()

        monkeypatch.setattr("posix.environ", {b"XDG_RUNTIME_DIR": b"/r"})
        monkeypatch.setattr(client, "open_address", open_address)
        monkeypatch.setattr(client, "Connection", connection)
        return log

    @pytest.mark.parametrize("user", [False, True])
    def test_the_second_way(self, tried: list[Any], user: bool) -> None:
        found = client.connect(user=user)
        ways = ("/r/systemd/private", "/r/bus") if user else ("/run/systemd/private", "/run/dbus/system_bus_socket")
        assert tried == [*(f"unix:path={way}" for way in ways), (77, "the D-Bus daemon", 30.0)]
        bus: Any = found.connection
        assert [each[3] for each in bus.called] == ["Hello", "AddMatch", "Subscribe"]

    def test_the_first_way(self, tried: list[Any]) -> None:
        tried.append("before")
        bus: Any = client.connect(user=False).connection
        assert tried[1:] == ["unix:path=/run/systemd/private", (77, "systemd", 30.0)] and bus.called == []

    def test_no_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("posix.environ", {})
        monkeypatch.setattr(client, "SYSTEM_PRIVATE", "/no/such")
        monkeypatch.setattr(client, "SYSTEM_BUS", "unix:path=/no/bus")
        with pytest.raises(Failure, match=r"^systemd can't be reached: /no/such: no such .*; /no/bus: no such .*; wit"):
            client.connect(user=False)

    def test_letters_of_an_address(self) -> None:
        plain = "/aZ09-_."
        assert client.private(f"{plain} \udcff%:\\") == f"unix:path={plain}%20%ff%25%3a%5c"
        assert dbus.unescape(f"{plain}%20%fF%25") == f"{plain} \udcff%"


class TestConnection:
    def connection(self, fd: int) -> dbus.Connection:
        """A connection as it is after the authentication."""
        made = object.__new__(dbus.Connection)
        made.fd, made.peer, made.seconds, made.signals = fd, "the peer", 1.5, []
        made._serial, made._input = 0, b""
        return made

    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.EPIPE, "the peer closed the connection"),
            (errno.ECONNRESET, "the peer closed the connection"),
            (errno.ENOBUFS, "the peer: no buffer space available (ENOBUFS)"),
        ],
    )
    def test_sending(self, monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
        def fail(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(kernel, "send_message", fail)
        with pytest.raises(Failure) as caught:
            self.connection(-1)._send(b"x")
        assert str(caught.value) == words

    @pytest.mark.parametrize(
        ("number", "words"),
        [(errno.ECONNRESET, "the peer closed the connection"), (errno.EIO, "the peer: input/output error (EIO)")],
    )
    def test_receiving(self, monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
        def fail(*_: object) -> bytes:
            raise OSError(number, os.strerror(number))

        polled: list[Any] = []

        def poll(*given: Any) -> list[int]:
            polled.append(given)
            return [1]

        monkeypatch.setattr("time.monotonic", lambda: 10.0)
        monkeypatch.setattr(kernel, "poll", poll)
        monkeypatch.setattr("posix.read", fail)
        with pytest.raises(Failure) as caught:
            self.connection(-1)._receive(10.25)
        monkeypatch.undo()
        assert str(caught.value).lower() == words.lower()
        assert polled == [([(-1, 1)], 251)]

    def test_no_time_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.monotonic", lambda: 10.0)
        monkeypatch.setattr(kernel, "poll", lambda *given: pytest.fail("it is too late"))
        with pytest.raises(Failure, match=r"^the peer did not answer within 1\.5 s$"):
            self.connection(-1)._receive(10.0)


class TestWire:
    @pytest.mark.parametrize("depth", [64, 65])
    def test_depth(self, depth: int) -> None:
        signature = "a" * depth + "y"
        if depth == 64:
            assert wire.types_of(signature) == [signature]
        else:
            with pytest.raises(wire.Malformed, match="bad signature"):
                wire.types_of(signature)

    def test_size(self) -> None:
        def start(body: int, fields: int) -> bytes:
            return b"l\1\0\1" + body.to_bytes(4, "little") + bytes(4) + fields.to_bytes(4, "little")

        assert wire.length_of(start(5, 1)) == 16 + 8 + 5
        assert wire.length_of(start(5, 8)) == 16 + 8 + 5
        assert wire.length_of(start((1 << 27) - 16, 0)) == 1 << 27
        with pytest.raises(wire.Malformed, match=rf"a message of {(1 << 27) + 1} bytes"):
            wire.length_of(start((1 << 27) - 15, 0))

    @pytest.mark.parametrize(
        ("kind", "data", "words"),
        [
            ("s", "01 00 00 00 61 62", "a string without its NUL"),
            ("v", "02 75 75 00 00 00", "a variant of signature 'uu'"),
            ("v", "00 00", "a variant of signature ''"),
            ("au", "08 00 00 00 01 00 00 00", "an array reaches beyond the end of its message"),
            ("as", "05 00 00 00 01 00 00 00 61 00 00 00 00 00 00 00 00", "an array's last element reaches beyond it"),
            ("u", "01 00", "a value reaches beyond the end of its message"),
        ],
    )
    def test_malformed(self, kind: str, data: str, words: str) -> None:
        with pytest.raises(wire.Malformed) as caught:
            wire.Reader(bytes.fromhex(data), "little").read(kind)
        assert str(caught.value) == words

    def test_big_endian(self) -> None:
        assert wire.Reader(bytes.fromhex("3f f0 00 00 00 00 00 00"), "big").read("d") == 1.0
        assert wire.Reader(bytes.fromhex("00 00 00 02 61 62 00"), "big").read("s") == "ab"
        assert wire.Reader(bytes.fromhex("00 00 00 04 ff ff ff fe"), "big").read("ai") == [-2]


def test_a_scope_of_a_create_that_was_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It ends by itself when its init does; that takes a moment."""
    asked = []

    def attempts(seconds: float, longest: float) -> Any:
        asked.append((seconds, longest))
        yield
        tmp_path.joinpath("c").rmdir()
        yield

    (tmp_path / "c").mkdir()
    monkeypatch.setattr(cgroup, "attempts", attempts)
    bus = Bus()
    assert client.end_orphan(manager(bus), "u", cgroup.Cgroup(f"{tmp_path}/c")) is False
    assert asked == [(2.0, 0.01)] and bus.called == []
