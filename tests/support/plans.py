"""Plans as text, to compare with committed ones: every step whole, with all that the engine heeds."""

import hashlib
import json
from typing import Any

from pyruntime.plan import build, systemd, unit_properties, update
from pyruntime.plan.facts import Facts, read_namespaces
from pyruntime.plan.seccomp import Profile
from pyruntime.step import Flags, Octal, Plan, Slot, Step
from support import paths

Config = dict[str, Any]

LONGEST = 2000
"""Characters of a BPF program or of a profile's rules that are shown."""


def facts_for(config: Config, **changes: Any) -> Facts:
    """Return facts of a host with cgroup v2 that has all controllers, none of them enabled, and no cgroup yet."""
    facts = Facts()
    facts.id, facts.bundle, facts.rootfs = "c1", "/bundle", "/bundle/rootfs"
    facts.cgroup_path, facts.cgroup_missing = "/pyruntime/c1", ["/pyruntime", "/pyruntime/c1"]
    facts.cgroup_controllers = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
    facts.cgroup_shared = {"": ()}
    facts.pid_file = "/run/pid"
    for name, value in changes.items():
        setattr(facts, name, value)
    read_namespaces(facts, config)
    return facts


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


def facts_of(case: Config, config: Config) -> Facts:
    given = dict(case.get("facts", {}))
    for name, make in (("host_namespaces", frozenset), ("shared_namespaces", frozenset), ("console_size", tuple)):
        if name in given:
            given[name] = make(given[name])
    if "cgroup_shared" in given:
        given["cgroup_shared"] = {path: tuple(names) for path, names in given["cgroup_shared"].items()}
    return facts_for(config, **given)


def plan_text(case: Config) -> str:
    """Return the plan of a case as text."""
    config = config_of(case)
    facts = facts_of(case, config)
    if case["operation"] == "create":
        return text_of(build.build_create(config, facts))
    if case["operation"] == "exec":
        program = case["process"]
        facts.init_pid = 9
        return text_of(build.build_exec(program, {**config, "process": program}, facts))
    return update_text(case, facts)


def update_text(case: Config, facts: Facts) -> str:
    """Return the steps of an update, each change with what takes it back."""
    current, wanted = case.get("current", {}), update.asked(case["resources"])
    merged = update.merge(current, wanted)
    writes = update.writes_of(wanted, merged)
    if facts.systemd_unit:
        writes = unit_properties.rounded(writes)
    update.forget_overwritten(merged, writes)
    facts.cgroup_files = {name: case["files"].get(name) for name in update.files_to_read(writes)}
    lines = list(map(lines_of, [*update.enable_steps(writes, facts), *update.device_steps(wanted)]))
    changes = update.changes(wanted, merged, writes, facts)
    if facts.systemd_unit:
        changes.insert(0, update.Change(*systemd.update_steps(facts.systemd_unit, wanted, current, writes)))
    for change in changes:
        lines += [lines_of(change.step), *(f"      undo: {lines_of(step)}" for step in change.undo)]
    return "".join(lines)
