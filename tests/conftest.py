"""Tiers of tests, and what each needs.

unit      tests/unit      no privilege
root      tests/root      root; containers of the busybox bundle
fuzz      tests/fuzz      root; mutated configs of engines, in containers of a place of their own
engines   tests/engines   root; real Docker and Podman daemons from Debian's packages
machine   tests/machine   root; an emulated machine
defences  tests/defences  root; runs tests of the first two on programs without a defence (its test here is one of many)

A tier whose needs are not met is skipped, loudly; with CI=true that is a failure. The tiers that start containers run
in surroundings of their own (support.session), and what they leave behind fails the session (support.leaks).
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import leaks, paths, peers, session
from support.machine import boot, guest, host

TIERS = {
    "unit": "needs no privilege",
    "root": "starts containers as root",
    "fuzz": "starts containers of mutated configs as root",
    "engines": "drives Docker and Podman daemons as root",
    "machine": "runs in an emulated machine",
    "defences": "starts a container as root, with a defence taken out",
}
IN_OWN_SURROUNDINGS = ("root", "fuzz", "engines", "defences", *(("machine",) if guest.KIND else ()))

pytest_plugins = ["support.fixtures", "support.engines"]

_sender = host.Sender()
_begin = pytest.StashKey[leaks.Snapshot]()
_unmet: pytest.StashKey[dict[str, str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update", action="store_true", help="write plans as they are now (tests/unit/test_golden_plans.py)"
    )


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup(1) ignores it, and so would all that tests start
    for tier, meaning in TIERS.items():
        config.addinivalue_line("markers", f"{tier}: {meaning} (set by the folder)")
    config.addinivalue_line("markers", "systemd: needs systemd as pid 1 of the emulated machine")
    config.stash[_unmet] = {}
    config.pluginmanager.register(guest.Teller(config) if guest.KIND else _sender)


def tier_of(item: pytest.Item) -> str | None:
    """Return the tier of a test: the folder below tests/ that it stands in."""
    try:
        return item.path.relative_to(Path(__file__).parent).parts[0]
    except ValueError:
        return None


def unmet_need(tier: str) -> str | None:
    """Return why a tier cannot run here, None if it can."""
    if tier != "unit":
        if os.geteuid() != 0:
            return "not root: run scripts/test with sudo"
        if not Path(paths.RUNTIME_BIN).exists():
            return f"{paths.RUNTIME_BIN} is missing: run scripts/setup"
        if not (paths.BUSYBOX_BUNDLE / "rootfs").exists():
            return "no busybox root file system: run bundles/busybox/build"
    if tier == "machine" and not guest.KIND:
        return boot.unmet_need()
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        tier = tier_of(item)
        if tier not in TIERS:
            continue
        item.add_marker(tier)
        reason = unmet_need(tier)
        if reason is not None:
            config.stash[_unmet][tier] = reason
            item.add_marker(pytest.mark.skip(reason=f"the {tier} tests cannot run here: {reason}"))
        for mark in peers.marks(item):
            item.add_marker(mark)


def pytest_collection_finish(session: pytest.Session) -> None:
    unmet = session.config.stash[_unmet]
    tiers = {tier for tier in map(tier_of, session.items) if tier not in unmet}
    if tiers & set(IN_OWN_SURROUNDINGS) and not session.config.option.collectonly:
        _enter(session.config)


def _enter(config: pytest.Config) -> None:
    session.enter()
    config.stash[_begin] = leaks.Snapshot.take()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    problems = _leaks(session.config) + _sender.problems
    if os.environ.get("CI") == "true":
        problems += [f"tier {tier} did not run: {why}" for tier, why in session.config.stash[_unmet].items()]
    session.config.stash[guest.PROBLEMS] = problems
    if (
        problems
        and paths.PEER is None
        and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _leaks(config: pytest.Config) -> list[str]:
    if _begin not in config.stash:
        return []
    leaks.settle()
    found = config.stash[_begin].leaks()
    leaks.end_processes()
    leaks.remove_cgroups()
    session.leave()
    return [f"left behind: {line}" for line in found]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for tier, why in config.stash[_unmet].items():
        terminalreporter.section(f"the {tier} tests were NOT run: {why}", sep="!", red=True)
    problems = config.stash.get(guest.PROBLEMS, [])
    if problems:
        terminalreporter.section("the session fails", sep="!", red=True)
        for line in problems:
            terminalreporter.line(line, red=True)


def _descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that listdir itself had open
            continue
    return found


def _mountinfo() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.fixture(autouse=True)
def _the_mounts_of_the_host_stay(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a root test after which the host has other mounts, or the same with another propagation."""
    if request.node.get_closest_marker("root") is None or paths.PEER is not None:
        yield
        return
    before = _mountinfo()
    yield
    after = _mountinfo()
    assert after == before, f"gone: {sorted(before - after)}; new: {sorted(after - before)}"


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open() -> Iterator[None]:
    """Fail a test that leaves a descriptor open in pytest."""
    before = _descriptors()
    yield
    left = {name: target for name, target in _descriptors().items() if name not in before}
    assert not left, f"descriptors left open by the test: {left}"
