"""The faults of each command, one after the other, with what must be there afterwards."""

import errno
import os
from typing import TYPE_CHECKING, Any

from support.faults import inject, world
from support.faults.cases import REUSE_EVERY, call_faults, create_argv, make_device, position_released, step_faults
from support.faults.inject import Fault

if TYPE_CHECKING:
    from support.faults.cases import Check
    from support.faults.driver import Outcome


RECORDINGS = 4
"""How often a delete is recorded, of which the shortest counts."""
TRIES = 8
"""How often a delete is repeated that was done before it came to the call: what it does depends on whether init, which
it has killed, is gone when it looks."""
MISSED = 4
"""So many calls of a recording may be none of the later runs': those for an init that was gone, or was not."""


def recorded(check: "Check", *argv: str) -> Any:
    """Run a command without a fault; return its steps or its calls."""
    check.what = f"{argv[0]} without a fault"
    outcome = check.run(*argv, record=True)
    if outcome.status != 0 or outcome.err:
        raise RuntimeError(f"{check.what}: {outcome}")
    return inject.shared.get() or {}


def name_of(check: "Check", fault: Fault, entries: list[list[Any]]) -> tuple[str, str]:
    """Return what a fault hits, for people, and the key by which its toleration is looked up."""
    entry = entries[fault.at] if fault.at < len(entries) else ["?", "?", "?"]
    if fault.level == "limit":
        return f"{fault}", "limit"
    if fault.level == "step":
        return f"{fault} = {entry[0]}: {entry[2]}", f"{entry[1]}"
    return f"{fault} = {entry[0]}{entry[2]} in {entry[1]}", entry[1]


def begin(check: "Check", command: str, fault: Fault, entries: list[list[Any]]) -> str:
    check.count += 1
    text, key = name_of(check, fault, entries)
    check.what = f"{command}, config {check.job['config']}, {text}"
    return key


def is_tolerated(check: "Check", key: str) -> bool:
    """Whether one of the functions on the way to the call copes with its failure by design."""
    found = set(key.split(" < ")) & set(check.job["tolerated"])
    check.tolerated |= found
    return bool(found)


def reached(check: "Check", outcome: "Outcome") -> None:
    """Check that the fault was reached."""
    if not outcome.reached:
        check.problem(f"the fault was not reached: {outcome}")


def failed_as_expected(check: "Check", fault: Fault, key: str, outcome: "Outcome", status: int, text: str) -> None:
    """Check a command that met an errno: it names what failed and why, or succeeds where that is tolerated."""
    if fault.level == "limit" and outcome.status == 0:
        return
    if is_tolerated(check, key):
        if outcome.status != 0:
            check.problem(f"success expected, because this is tolerated: {outcome}")
        return
    words = [errno.errorcode[fault.number]]
    if fault.level == "step":
        words.append(f"{text}(")
    check.refused(outcome, status, *words)


def create(check: "Check") -> None:
    """create: on failure nothing is left, at once; after a death nothing that delete --force does not remove."""
    driver, job = check.driver, check.job
    argv = create_argv(job)
    check.what = "warm up"
    check.run(*argv)
    check.quiet("delete", "--force", check.id)
    driver.drop_terminals()
    check.alone()
    make_device(job)
    clear_pid_files(job)
    before = world.World(job)
    found = recorded(check, *argv)
    settled(check, before)
    if job["level"] == "step":
        steps = found["steps"]
        end = next(at for at, step in enumerate(steps) if step[1] == "await_start")
        faults = list(step_faults(steps, 0, end, job["kinds"]))
    else:
        steps = found["calls"]
        faults = list(call_faults(steps, job["kinds"]))
    faults = faults[-job["only"] :] if "only" in job else faults
    released = position_released(steps) if job["level"] == "step" else len(steps)
    for number, fault in enumerate(faults):
        key = begin(check, "create", fault, steps)
        outcome = check.run(*argv, fault=fault)
        reached(check, outcome)
        driver.take_terminals()
        free = fault.level == "call" or fault.at > released or (fault.at == released and fault.when == "after")
        if fault.kind == "errno":
            failed_as_expected(check, fault, key, outcome, 1, steps[fault.at][1] if fault.at < len(steps) else "")
            if outcome.status == 0:
                check.quiet("delete", "--force", check.id)
        elif fault.kind == "host":
            host_died(check, outcome, free=free)
        elif outcome.status == 0 and free:
            if driver.state().get("status") != "stopped":
                check.problem(f"init was killed, but the container is not stopped: {driver.state()}")
            check.quiet("delete", check.id)
        else:
            check.refused(outcome, 1, "died")
        driver.drop_terminals()
        check.alone()
        # A virtual device goes with its namespace when there is nobody left to give it back.
        left_out = ["network devices"] if fault.kind == "host" or outcome.status == 0 else []
        if fault.kind == "host" and "write_pid_file" in key:
            left_out.append("files")  # the temporary one, whose name nobody can know later
        if fault.kind == "host" or outcome.status == 0:
            clear_pid_files(job, "pid")  # which is the caller's
        check.same(before, *left_out)
        clear_pid_files(job)
        make_device(job)
        if number % REUSE_EVERY == 0 or fault is faults[-1]:
            check.what += ", then once more without it"
            check.quiet(*argv)
            settled(check, before)


def host_died(check: "Check", outcome: "Outcome", *, free: bool) -> None:
    """After the command was killed: what it made ends by itself unless it was let go, and can be removed."""
    if outcome.status != -9 or outcome.out or outcome.err:
        check.problem(f"a command that was killed in silence expected: {outcome}")
    left = world.wait_alone(check.driver.keep)
    if left and not free:
        check.problem(f"outlives the command: process {', '.join(map(world.describe, left))}")
    elif left:
        status = check.driver.state().get("status")
        if status != "created":
            check.problem(f"a process outlives the command, and the container is {status}")
    check.quiet("delete", "--force", check.id)


def clear_pid_files(job: dict[str, Any], only: str = "") -> None:
    for name in os.listdir(f"{job['own']}pid"):
        if only in ("", name):
            os.unlink(f"{job['own']}pid/{name}")


def settled(check: "Check", before: world.World) -> None:
    """Remove the container; nothing may be left then."""
    check.quiet("delete", "--force", check.id)
    check.driver.drop_terminals()
    check.alone()
    clear_pid_files(check.job)
    check.same(before, "network devices")
    make_device(check.job)


def started(check: "Check") -> int:
    """Make the container that commands work on; return the pid of its init, which is kept."""
    check.driver.keep.clear()
    check.quiet(*create_argv(check.job))
    check.driver.take_terminals()
    check.quiet("start", check.id)
    pid = int(check.driver.state().get("pid", 0))
    check.driver.keep.add(pid)
    return pid


def exec_(check: "Check") -> None:
    """exec: whatever happens, the container runs on, and nothing of the new process is left."""
    driver, job = check.driver, check.job
    check.what = "make the container"
    init = started(check)
    argv = ["exec", *job["options"], check.id, "touch", "/shared/witness"]
    check.quiet(*argv)
    witnessed(check, True)
    before = world.World(job)
    found = recorded(check, *argv)
    witnessed(check, True)
    if job["level"] == "step":
        steps = found["steps"]
        faults = list(step_faults(steps, 0, len(steps), job["kinds"]))
    else:
        steps = found["calls"]
        faults = list(call_faults(steps, job["kinds"]))
    released = position_released(steps) if job["level"] == "step" else len(steps)
    for number, fault in enumerate(faults):
        key = begin(check, "exec", fault, steps)
        # After the host's last step nothing keeps the process back: on a busy machine it may be the program by the time
        # that it, or the host, has been killed.
        free = fault.when == "after" and all(side != "host" for side, *_ in steps[fault.at + 1 :])
        outcome = check.run(*argv, fault=fault)
        reached(check, outcome)
        if fault.kind == "errno":
            failed_as_expected(check, fault, key, outcome, 255, steps[fault.at][1] if fault.at < len(steps) else "")
        elif fault.kind == "host":
            if outcome.status != -9 or outcome.out or outcome.err:
                check.problem(f"a command that was killed in silence expected: {outcome}")
        elif not (free and outcome.status == 137):
            check.refused(outcome, 255, "died")
        check.alone()
        check.same(before)
        # Only a process that was let go of may have become the program although its exec failed.
        inside = fault.level == "step" and not free and (fault.kind != "host" or fault.at < released)
        witnessed(check, False if inside else None)
        if world.state_of(init) in "ZX":
            check.problem("the container has ended")
            check.driver.run("delete", "--force", check.id)
            init = started(check)
        if number % REUSE_EVERY == 0 or fault is faults[-1]:
            check.what += ", then once more without it"
            check.quiet(*argv)
            witnessed(check, True)
            check.alone()
    driver.keep.clear()
    check.quiet("delete", "--force", check.id)


def witnessed(check: "Check", wanted: bool | None) -> None:
    """Check whether the program of an exec has run; None: it may have or not."""
    path = f"{check.job['own']}shared/witness"
    has_run = os.path.exists(path)
    if has_run:
        os.unlink(path)
    if wanted is not None and wanted != has_run:
        check.problem("the program has run" if has_run else "the program has not run")


def start(check: "Check") -> None:
    """start: afterwards the container runs, or does not and can be removed."""
    driver, job = check.driver, check.job
    check.what = "create"
    check.quiet(*create_argv(job))
    check.quiet("delete", "--force", check.id)
    driver.drop_terminals()
    check.alone()
    make_device(job)
    clear_pid_files(job)
    before = world.World(job)
    plan = recorded(check, *create_argv(job))["steps"]
    driver.take_terminals()
    calls = recorded(check, "start", check.id)["calls"]
    settled(check, before)
    if job["level"] == "step":
        steps = plan
        first = next(at for at, step in enumerate(steps) if step[1] == "await_start") + 1
        faults = list(step_faults(steps, first, len(steps), ["errno", "init"]))
    else:
        steps = calls
        faults = list(call_faults(steps, job["kinds"]))
    for fault in faults:
        key = begin(check, "start", fault, steps)
        inside = fault.level == "step"
        outcome = check.run(*create_argv(job), fault=fault if inside else None)
        driver.take_terminals()
        if outcome.status != 0:
            check.problem(f"create: {outcome}")
        outcome = check.run("start", check.id, fault=fault, armed=not inside)
        reached(check, outcome)
        if fault.kind == "errno":
            failed_as_expected(check, fault, key, outcome, 1, steps[fault.at][1] if fault.at < len(steps) else "")
        elif fault.kind == "init":
            check.refused(outcome, 1, "died")
        elif outcome.status != -9 or outcome.err:
            check.problem(f"a command that was killed in silence expected: {outcome}")
        status = driver.state().get("status")
        wanted: list[str | None] = ["stopped"] if inside else ["created", "running", "stopped"]
        if fault.kind == "errno" and "config.json#/hooks/" in outcome.err:
            wanted = [None]  # runtime.md "Lifecycle", 7 and 9: it is destroyed
        if status not in wanted or (outcome.status == 0 and status != "running"):
            check.problem(f"the container is {status}")
        if status == "created":
            check.quiet("start", check.id)
        settled(check, before)


def delete(check: "Check") -> None:
    """delete: what a failed one has left, the next one removes."""
    driver, job = check.driver, check.job
    before = world.World(job)

    def made() -> None:
        check.quiet(*create_argv(job))
        driver.take_terminals()
        if job.get("stopped"):
            check.quiet("kill", check.id, "KILL")
            check.alone()

    argv = ["delete", *([] if job.get("stopped") else ["--force"]), check.id]
    calls: list[Any] = []
    missed: list[Fault] = []
    for _ in range(RECORDINGS):
        check.what = "make the container"
        made()
        found = recorded(check, *argv)["calls"]
        settled(check, before)
        # A cgroup that is still in use is tried again: the shortest has the calls that there always are.
        calls = found if not calls or len(found) < len(calls) else calls
    for fault in call_faults(calls, job["kinds"]):
        key = begin(check, "delete", fault, calls)
        for _ in range(TRIES):
            made()
            outcome = check.run(*argv, fault=fault)
            if outcome.reached:
                break
        else:
            missed.append(fault)
            continue
        reached(check, outcome)
        if fault.kind == "errno":
            failed_as_expected(check, fault, key, outcome, 1, "")
        elif outcome.status != -9 or outcome.err:
            check.problem(f"a command that was killed in silence expected: {outcome}")
        settled(check, before)
    check.what = "delete"
    if len(missed) > MISSED:
        check.problem(f"{len(missed)} faults were not reached: {', '.join(map(str, missed))}")


def limits_of(job: dict[str, Any]) -> dict[str, str]:
    """Return what the files of the container's cgroup say, and what is noted of its resources."""
    found = {}
    for name in sorted(os.listdir(job["cgroup"])):
        if name.endswith((".max", ".depth", ".descendants")):
            with open(f"{job['cgroup']}/{name}") as file:
                found[name] = file.read()
    noted = f"{job['root']}/{job['id']}/resources.json"
    if os.path.exists(noted):
        with open(noted) as file:
            found["noted"] = file.read()
    return found


def update(check: "Check") -> None:
    """update: all of the changes are made or none; after a death the next update makes all."""
    driver, job = check.driver, check.job
    check.what = "make the container"
    started(check)
    there, back = (["update", "--resources", path, check.id] for path in job["documents"])
    check.quiet(*there)
    wanted = limits_of(job)
    check.quiet(*back)
    old = limits_of(job)
    before = world.World(job)
    if wanted == old:
        check.problem("the update changes nothing")
    calls = recorded(check, *there)["calls"]
    check.quiet(*back)
    for fault in call_faults(calls, job["kinds"]):
        key = begin(check, "update", fault, calls)
        outcome = check.run(*there, fault=fault)
        reached(check, outcome)
        if fault.kind == "errno":
            failed_as_expected(check, fault, key, outcome, 1, "")
            expected = wanted if outcome.status == 0 else old
            if limits_of(job) != expected:
                check.problem(f"the limits are {limits_of(job)} and should be {expected}")
        elif outcome.status != -9 or outcome.err:
            check.problem(f"a command that was killed in silence expected: {outcome}")
        check.quiet(*there)
        if limits_of(job) != wanted:
            check.problem(f"after the next update: {limits_of(job)}, not {wanted}")
        check.quiet(*back)
        if limits_of(job) != old:
            check.problem(f"put back: {limits_of(job)}, not {old}")
        check.alone()
        check.same(before)
    driver.keep.clear()
    check.quiet("delete", "--force", check.id)


ALL = {"create": create, "exec": exec_, "start": start, "delete": delete, "update": update}
