"""Plans as text, to compare with committed ones: every step whole, with all that the engine heeds."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pyruntime.host import probe
from pyruntime.host.data import Host, Namespaces, Place
from pyruntime.plan import build, update
from pyruntime.plan.seccomp import Profile
from pyruntime.plan.wishes import Wishes
from pyruntime.step import Flags, Octal, Plan, Slot, Step
from support import paths

Config = dict[str, Any]

LONGEST = 2000
"""Characters of a BPF program or of a profile's rules that are shown."""


class Inputs:
    """What a plan is made of beside the config."""

    def __init__(self, host: Host, place: Place, wishes: Wishes) -> None:
        self.host = host
        self.place = place
        self.wishes = wishes

    def create(self, config: Config) -> Plan:
        return build.build_create(config, self.host, self.place, self.wishes)

    def exec(self, program: Config, config: Config, init_pid: int = 9) -> Plan:
        return build.build_exec(program, {**config, "process": program}, self.host, self.wishes, init_pid)


def namespaces_of(config: Config, shared: Iterable[str] = (), host: Iterable[str] = ()) -> Namespaces:
    """Return the namespaces of a config. shared, host: types whose path is the caller's own, and the host's at all."""
    found = probe.HostNamespaces()
    found.own, found.protected = frozenset(shared), frozenset(host)
    return probe.namespaces(config, found)


def host_for(config: Config, *, shared: Iterable[str] = (), host: Iterable[str] = (), **changes: Any) -> Host:
    """Return a host where root has all capabilities."""
    given: dict[str, Any] = {
        "euid": 0,
        "bounding_caps": (1 << 41) - 1,
        "last_cap": 40,
        "rootfs": "/bundle/rootfs",
        "namespaces": namespaces_of(config, shared, host),
        "inner_sources": frozenset(),
    }
    return Host(**{**given, **changes})


def place_for(**changes: Any) -> Place:
    """Return the place of a cgroup that is not there yet, below a cgroup v2 that has all controllers, none enabled."""
    given: dict[str, Any] = {
        "mount": "/sys/fs/cgroup",
        "controllers": ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"),
        "path": "/pyruntime/c1",
        "missing": ["/pyruntime", "/pyruntime/c1"],
        "shared": {"": ()},
    }
    return Place(**{**given, **changes})


def inputs_for(config: Config, case: Config | None = None) -> Inputs:
    """Return what a plan is made of. case: may change each of `namespaces`, `place` and `wishes`."""
    case = case or {}
    place = dict(case.get("place", {}))
    if "shared" in place:
        place["shared"] = {path: tuple(names) for path, names in place["shared"].items()}
    wishes = {"pid_file": "/run/pid", **case.get("wishes", {})}
    if "console_size" in wishes:
        wishes["console_size"] = tuple(wishes["console_size"])
    host = host_for(config, **case.get("namespaces", {}))
    return Inputs(host, place_for(**place), Wishes("c1", "/bundle", **wishes))


def text_of(plan: Plan) -> str:
    """Return a plan as text: one line for each step, and below it what else the engine heeds."""
    warnings = [f"warning: {line}\n" for line in plan.warnings]
    return "".join([*warnings, *map(lines_of, plan)])


def lines_of(step: Step) -> str:
    """Return a step: side, JSON pointer, call with all arguments, result; on lines below what else the engine heeds."""
    result = f" = <{step.into}>" if step.into else ""
    lines = [f"{step.side:4}  {step.pointer or '-'}  {step.call}({', '.join(map(shown, step.args))}){result}"]
    lines += [f"      {name}: {', '.join(getattr(step, name))}" for name in ("ignore", "closes") if getattr(step, name)]
    lines += [f"      {name}" for name in ("share", "meanwhile") if getattr(step, name)]
    if step.hint:
        lines.append(f"      hint: {step.hint}")
    return "".join(f"{line}\n" for line in lines)


def shown(arg: Any) -> str:
    """Return an argument whole, unlike `explain`: nothing that changes may be left out."""
    if isinstance(arg, Slot | Flags | Octal):
        return repr(arg)
    if isinstance(arg, list):
        return f"[{', '.join(map(shown, arg))}]"
    if isinstance(arg, tuple):
        return f"({', '.join(map(shown, arg))})"
    if isinstance(arg, dict):
        return f"{{{', '.join(f'{shown(key)}: {shown(value)}' for key, value in arg.items())}}}"
    if isinstance(arg, frozenset | set):
        return f"{{{', '.join(sorted(map(shown, arg)))}}}"
    if isinstance(arg, bytes):
        return f"bytes({digest(arg.hex())})"
    if arg is None or isinstance(arg, str | int | float):
        return repr(arg)
    if isinstance(arg, Profile):
        return f"Profile({shown(arg.default)}, {shown(arg.arches)}, {digest(shown(arg.rules()))})"
    names = getattr(type(arg), "__slots__", None) or sorted(vars(arg))
    return f"{type(arg).__name__}({', '.join(f'{name}={shown(getattr(arg, name))}' for name in names)})"


def digest(text: str) -> str:
    """Return a text, or of one that nobody would read its length and hash."""
    return (
        text if len(text) <= LONGEST else f"{len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()}"
    )


CONFIGS = paths.REPO / "tests/data/configs"
CASES = paths.REPO / "tests/data/plans"


def config_of(case: Config) -> Config:
    """Return a case's config: its base after a merge patch (RFC 7396), then with what is appended to its lists."""
    base, name = CONFIGS / f"{case['base']}.json", case["base"]
    file = paths.BUSYBOX_BUNDLE / "config.json" if name == "busybox" else base
    config: Config = changed(json.loads(file.read_text()), case.get("change", {}))
    for key, entries in case.get("append", {}).items():
        config[key] = [*config[key], *entries]
    return config


def changed(value: Any, change: Any) -> Any:
    """Return a document after a merge patch (RFC 7396): null takes a member out, a list replaces the whole list."""
    if not isinstance(change, dict):
        return change
    merged = {**value} if isinstance(value, dict) else {}
    for key, entry in change.items():
        if entry is None:
            merged.pop(key, None)
        else:
            merged[key] = changed(merged.get(key), entry)
    return merged


def plan_text(case: Config) -> str:
    """Return the plan of a case as text."""
    config = config_of(case)
    inputs = inputs_for(config, case)
    if case["operation"] == "create":
        return text_of(inputs.create(config))
    if case["operation"] == "exec":
        return text_of(inputs.exec(case["process"], config))
    return update_text(case, inputs.place)


def update_text(case: Config, place: Place) -> str:
    """Return the steps of an update, each change with what takes it back."""
    request = update.Request(case["resources"], case.get("current", {}), "1.3.0", systemd=bool(place.unit))
    plan = update.build_update(request, place, {name: case["files"].get(name) for name in request.files()})
    lines = list(map(lines_of, [*plan.enabling, *plan.loading]))
    for change in plan.changes:
        lines += [lines_of(change.step), *(f"      undo: {lines_of(step)}" for step in change.undo)]
    return "".join(lines)
