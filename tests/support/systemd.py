"""systemd of the emulated machine, asked through systemctl; and runtimes that use it as cgroup driver."""

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from support import paths, session
from support.runtime import ENVIRONMENT, Runtime, wait_for


def systemctl(*args: str) -> str:
    """Run systemctl; it must succeed. Return what it printed, without the last line break."""
    done = subprocess.run(["systemctl", "--no-pager", *args], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, f"systemctl {' '.join(args)}: {done.stderr}"
    return done.stdout.removesuffix("\n")


def show(unit: str, *names: str) -> dict[str, str]:
    """Return properties of a unit by name."""
    lines = systemctl("show", unit, *(f"--property={name}" for name in names)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def units(word: str = session.TOKEN) -> list[str]:
    """Return the units in systemd's memory, in whatever state, whose name holds a word."""
    listing = systemctl("list-units", "--all", "--plain", "--no-legend", "--full", f"*{word}*")
    return [line.split()[0] for line in listing.splitlines()]


def scopes(word: str = session.TOKEN) -> list[str]:
    """Return the scopes among the units."""
    return [unit for unit in units(word) if unit.endswith(".scope")]


def wait_no_scopes() -> None:
    """Wait until systemd has forgotten every scope of this session."""
    wait_for(lambda: not scopes(), f"no scope is left: {scopes()}")


def slice_of(*parts: str) -> str:
    """Return the name of a slice of this session, nested as deep as there are more parts."""
    return "-".join((session.TOKEN, *parts)) + ".slice"


def path_of_slice(name: str) -> Path:
    """Return the cgroup of a slice, computed another way than the runtime does: systemd is asked."""
    return Path(f"{session.CGROUP_ROOT}{show(name, 'ControlGroup')['ControlGroup']}")


def stop_slices(names: Iterable[str] = ()) -> None:
    """Stop the slices of this session, which systemd made for scopes and keeps."""
    for name in [*names, *(unit for unit in units() if unit.endswith(".slice"))]:
        systemctl("stop", name)


def peer(name: str) -> str:
    """Return Debian's runc or crun."""
    found = paths.system_command(name)
    assert found is not None, f"Debian's {name} is not installed"
    return found


def scope_of(name: str) -> str:
    """Return the scope of a container without cgroupsPath."""
    return f"pyruntime-{name}.scope"


def as_driver(runtime: Runtime) -> Iterator[Runtime]:
    """Let a runtime use systemd; afterwards delete its containers, and fail when one has left a scope."""
    runtime.options.append("--systemd-cgroup")
    yield runtime
    for name in runtime.ids():
        runtime.ok("delete", "--force", name)
    left = scopes()
    stop_slices()
    assert not left, f"scopes left behind: {left}"
