"""The client of systemd without systemd: addresses, starting, stopping, removing, and what is said of refusals."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyruntime.container import systemd as client
from pyruntime.container.dbus import CallFailed
from pyruntime.errors import Failure
from pyruntime.plan import unit_properties

if TYPE_CHECKING:
    from pyruntime.container.record import Record


class TestAddresses:
    @pytest.fixture
    def environ(self, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
        values: dict[bytes, bytes] = {}
        monkeypatch.setattr("posix.environ", values)
        return values

    def test_root(self, environ: dict[bytes, bytes]) -> None:
        assert client.addresses(user=False) == [
            ("unix:path=/run/systemd/private", False),
            ("unix:path=/run/dbus/system_bus_socket", True),
        ]
        environ[b"DBUS_SYSTEM_BUS_ADDRESS"] = b"unix:path=/x"
        assert client.addresses(user=False)[1] == ("unix:path=/x", True)

    def test_user(self, environ: dict[bytes, bytes]) -> None:
        assert client.addresses(user=True) == []
        environ[b"XDG_RUNTIME_DIR"] = b"/run/user/1 0"
        assert client.addresses(user=True) == [
            ("unix:path=/run/user/1%200/systemd/private", False),
            ("unix:path=/run/user/1%200/bus", True),
        ]
        environ[b"DBUS_SESSION_BUS_ADDRESS"] = b"unix:abstract=/tmp/x"
        assert client.addresses(user=True)[1:] == [("unix:abstract=/tmp/x", True)]

    def test_nothing_there(self, environ: dict[bytes, bytes]) -> None:
        with pytest.raises(Failure, match=r"the user's systemd can't be reached: XDG_RUNTIME_DIR and .* are not set"):
            client.connect(user=True)
        environ[b"XDG_RUNTIME_DIR"] = b"/no/such"
        with pytest.raises(Failure) as raised:
            client.connect(user=True)
        assert str(raised.value) == (
            "the user's systemd can't be reached: /no/such/systemd/private: no such file or directory (ENOENT); "
            "/no/such/bus: no such file or directory (ENOENT); without systemd, leave out --systemd-cgroup"
        )


class Fake:
    """Answers the manager's calls from a list: values, or an error to raise; notes what was called."""

    def __init__(self, *answers: Any, jobs: tuple[tuple[str, str], ...] = ()) -> None:
        self.answers = list(answers)
        self.jobs = list(jobs)
        self.called: list[tuple[Any, ...]] = []

    def call(self, destination: str, path: str, interface: str, member: str, signature: str = "", *args: Any) -> Any:
        self.called.append((member, *args))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def next_signal(self, member: str, deadline: float) -> list[Any]:
        assert member == "JobRemoved"
        if not self.jobs:
            raise Failure("systemd did not answer within 30 s")
        job, result = self.jobs.pop(0)
        return [1, job, "x.scope", result]

    def close(self) -> None:
        pass


def manager(fake: Any) -> client.Manager:
    return client.Manager(fake, bus=False)


def error(name: str, text: str) -> CallFailed:
    return CallFailed(f"org.freedesktop.{name}", text)


GIVEN = [
    unit_properties.Property("Slice", "s", "x.slice", "/linux/cgroupsPath"),
    unit_properties.Property("MemoryMax", "t", 5, "/linux/resources/memory/limit", derived=True),
]


class TestStart:
    def test_own_job_is_waited_for(self) -> None:
        fake = Fake(["/job/7"], jobs=(("/job/6", "failed"), ("/job/7", "done")))
        manager(fake).start_scope("x.scope", GIVEN, 42)
        values = [("Slice", ("s", "x.slice")), ("MemoryMax", ("t", 5)), ("PIDs", ("au", [42]))]
        assert fake.called == [("StartTransientUnit", "x.scope", "replace", values, [])]
        assert fake.jobs == []

    def test_job_that_fails(self) -> None:
        fake = Fake(["/job/7"], [], jobs=(("/job/7", "timeout"),))
        with pytest.raises(Failure, match=r'could not start x\.scope: its job ended with "timeout"'):
            manager(fake).start_scope("x.scope", GIVEN, 42)
        assert fake.called[-1] == ("ResetFailedUnit", "x.scope")

    def test_job_that_does_not_end(self) -> None:
        with pytest.raises(Failure, match=r"job for x\.scope: systemd did not answer"):
            manager(Fake(["/job/7"])).start_scope("x.scope", GIVEN, 42)

    def test_a_failed_unit_of_the_name_is_forgotten(self) -> None:
        exists = error("systemd1.UnitExists", "Unit x.scope already exists.")
        fake = Fake(exists, [], ["/job/7"], jobs=(("/job/7", "done"),))
        manager(fake).start_scope("x.scope", GIVEN, 42)
        assert [each[0] for each in fake.called] == ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]

    def test_a_unit_that_runs_is_left_alone(self) -> None:
        exists = error("systemd1.UnitExists", "Unit x.scope already exists.")
        with pytest.raises(client.UnitExists, match=r"already has a unit x\.scope"):
            manager(Fake(exists, [], exists)).start_scope("x.scope", GIVEN, 42)

    def test_a_systemd_that_is_too_old_goes_without(self) -> None:
        unknown = error("DBus.Error.PropertyReadOnly", "Cannot set property MemoryMax, or unknown property.")
        fake = Fake(unknown, ["/job/7"], jobs=(("/job/7", "done"),))
        manager(fake).start_scope("x.scope", GIVEN, 42)
        assert [name for name, _ in fake.called[1][3]] == ["Slice", "PIDs"]

    def test_a_property_that_must_be(self) -> None:
        unknown = error("DBus.Error.PropertyReadOnly", "Cannot set property Slice, or unknown property.")
        with pytest.raises(Failure) as raised:
            manager(Fake(unknown)).start_scope("x.scope", GIVEN, 42)
        assert str(raised.value) == (
            "systemd refused to start x.scope: Slice=x.slice: Cannot set property Slice, or unknown property. "
            "[config.json#/linux/cgroupsPath]"
        )

    def test_a_value_that_is_refused(self) -> None:
        bad = error("DBus.Error.InvalidArgs", "MemoryMax= is out of range")
        with pytest.raises(Failure) as raised:
            manager(Fake(bad)).start_scope("x.scope", GIVEN, 42)
        assert "MemoryMax=5: MemoryMax= is out of range" in str(raised.value)
        assert raised.value.pointer == "/linux/resources/memory/limit"

    def test_any_other_refusal(self) -> None:
        with pytest.raises(Failure, match=r"refused to start x\.scope: Access denied \(AccessDenied\)"):
            manager(Fake(error("DBus.Error.AccessDenied", "Access denied"))).start_scope("x.scope", GIVEN, 42)


class TestStop:
    def test_stop(self) -> None:
        fake = Fake(["/job/9"], jobs=(("/job/9", "done"),))
        manager(fake).stop("x.scope")
        assert fake.called == [("StopUnit", "x.scope", "replace")]

    def test_a_unit_that_is_gone(self) -> None:
        fake = Fake(error("systemd1.NoSuchUnit", "Unit x.scope not loaded."))
        manager(fake).stop("x.scope")
        assert fake.called == [("StopUnit", "x.scope", "replace")], "no job is waited for"

    def test_wait_until_gone(self) -> None:
        gone = error("systemd1.NoSuchUnit", "Unit x.scope not loaded.")
        assert manager(Fake(["/u"], ["/u"], gone)).wait_until_gone("x.scope")
        assert not manager(Fake(["/u"])).wait_until_gone("x.scope", -1)


def test_set_properties() -> None:
    unknown = error("DBus.Error.PropertyReadOnly", "Cannot set property MemoryMax, or unknown property.")
    fake = Fake(unknown, [])
    manager(fake).set_properties("x.scope", GIVEN)
    assert fake.called[0] == (
        "SetUnitProperties",
        "x.scope",
        True,
        [("Slice", ("s", "x.slice")), ("MemoryMax", ("t", 5))],
    )
    assert fake.called[1][3] == [("Slice", ("s", "x.slice"))]
    with pytest.raises(Failure, match=r"refused to change x\.scope: MemoryMax=5: MemoryMax no"):
        manager(Fake(error("DBus.Error.InvalidArgs", "MemoryMax no"))).set_properties("x.scope", GIVEN)


class FakeGroup:
    path = "/no/such/cgroup"

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def wait_until_empty(self) -> None:
        self.log.append("wait")

    def remove(self) -> None:
        self.log.append("remove")


class TestRemove:
    GONE = error("systemd1.NoSuchUnit", "Unit x.scope not loaded.")

    def remove(self, monkeypatch: pytest.MonkeyPatch, record: "Record", fake: Any, *, owned: bool) -> list[str]:
        log: list[str] = []
        monkeypatch.setattr("pyruntime.container.cgroup.owned", lambda _: FakeGroup(log) if owned else None)

        def connect(*, user: bool) -> client.Manager:
            if fake is None:
                raise Failure("systemd can't be reached")
            return manager(fake)

        monkeypatch.setattr(client, "connect", connect)
        whole: Record = {"systemd_unit": "x.scope", "systemd_user": False}
        whole.update({"cgroup_mount": "/no/such", "cgroup": "/cgroup"})
        client.remove_scope({**whole, **record})
        return log

    def test_a_scope_is_stopped_when_its_processes_are_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = Fake(["/job/9"], self.GONE, jobs=(("/job/9", "done"),))
        assert self.remove(monkeypatch, {"cgroup_id": 5}, fake, owned=True) == ["wait", "remove"]
        assert [each[0] for each in fake.called] == ["StopUnit", "GetUnit"]

    def test_a_scope_that_has_failed_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = Fake(["/job/9"], ["/u"], [], ["/u"], self.GONE, jobs=(("/job/9", "done"),))
        self.remove(monkeypatch, {"cgroup_id": 5}, fake, owned=True)
        assert [each[0] for each in fake.called] == ["StopUnit", "GetUnit", "ResetFailedUnit", "GetUnit", "GetUnit"]

    def test_without_systemd_the_cgroup_goes_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.remove(monkeypatch, {"cgroup_id": 5}, None, owned=True) == ["remove"]
        assert self.remove(monkeypatch, {"cgroup_id": 5}, None, owned=False) == []

    def test_a_scope_that_has_ended_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = Fake(self.GONE)
        assert self.remove(monkeypatch, {"cgroup_id": 5}, fake, owned=False) == []
        assert fake.called == [("GetUnit", "x.scope")]

    @pytest.fixture
    def cgroup(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Record":
        """A record of a create that was killed before it noted its cgroup, which exists."""
        monkeypatch.setattr(client, "VANISH_SECONDS", 0)
        (tmp_path / "x.scope").mkdir()
        return {"cgroup_mount": str(tmp_path), "cgroup": "/x.scope"}

    def test_a_scope_that_may_be_anothers_is_never_stopped(
        self, monkeypatch: pytest.MonkeyPatch, cgroup: "Record", tmp_path: Path
    ) -> None:
        (tmp_path / "x.scope/cgroup.events").write_text("populated 1\nfrozen 0\n")
        fake = Fake(["/u"], [], self.GONE)
        self.remove(monkeypatch, cgroup, fake, owned=False)
        assert "StopUnit" not in [each[0] for each in fake.called]

    def test_a_scope_that_never_had_a_process_is_stopped(
        self, monkeypatch: pytest.MonkeyPatch, cgroup: "Record", tmp_path: Path
    ) -> None:
        (tmp_path / "x.scope/cgroup.events").write_text("populated 0\nfrozen 0\n")
        fake = Fake(["/job/9"], self.GONE, jobs=(("/job/9", "done"),))
        self.remove(monkeypatch, cgroup, fake, owned=False)
        assert [each[:2] for each in fake.called] == [("StopUnit", "x.scope"), ("GetUnit", "x.scope")]
