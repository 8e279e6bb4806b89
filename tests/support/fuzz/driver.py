"""The program that runs the cases: `driver.py JOB`, a JSON file that `jobs` writes; the report goes to standard output.

It imports the installed runtime once, and runs every command in a child of its own (support.faults.driver).
"""

import gc
import json
import os
import re
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pyruntime.commands.kill  # noqa: F401
from pyruntime import kernel
from pyruntime.errors import Failure
from pyruntime.plan.capabilities import NUMBER
from pyruntime.spec import jsontext
from support import session
from support.faults import cases as faults
from support.faults import driver as commands
from support.faults import inject, world
from support.fuzz import cases, edits, guard, look, place

SMALLEST = 12
"""How many kinds of problems are made smaller; the rest is counted."""
FOREIGN = ("Traceback", "internal error", "codec", "can't be completed", "load a module", "\\udc", "clean-up failed")
"""Words that no message may have."""
LONGEST = 1 << 18
"""Characters of a message: what a config has in a string is told as it is."""
STARTED = ("running", "stopped")


class Runner(commands.Driver):
    """Runs commands as the driver of faults does, but from the bundle, as engines do; and sleeps while it waits."""

    def run(self, *argv: str, **more: Any) -> commands.Outcome:
        """Run one command; what a container's program says later goes where that of its create went."""
        for fd in (self.out, self.err):
            os.close(fd)
        self.out, self.err = os.memfd_create("out"), os.memfd_create("err")
        return super().run(*argv, **more)

    def _become_command(self, argv: list[str], fault: Any, record: bool) -> None:
        bundle = f"{self.job['case']}/bundle"
        if os.path.isdir(bundle):
            os.chdir(bundle)
        super()._become_command(argv, fault, record)

    def _wait(self, child: int, fault: Any) -> int | None:
        pidfd = os.pidfd_open(child)
        ended = kernel.poll([(pidfd, 1)], int(commands.LIMIT * 1000))
        os.close(pidfd)
        if ended:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return super()._wait(child, fault)


class Fuzz:
    """All cases of a job, one after the other."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.place = place.Place(Path(job["work"]))
        console = f"{job['work']}/console.sock"
        self.runner = Runner({**job, "root": str(self.place.root), "case": str(self.place.case), "console": console})
        self.console = console
        self.pods = {word: self.start_pod(word) for word in ("POD", "USERPOD")}
        self.runner.keep = set(self.pods.values())
        self.guard = guard.Guard(str(self.place.case), tuple(self.pods.values()))
        self.state_root = str(self.place.root)
        self.words = {f"@{word}@": str(pid) for word, pid in self.pods.items()}
        self.words |= {"@CASE@": str(self.place.case), "@GONE@": "4000000"}
        self.counts = {"cases": 0, "created": 0, "started": 0, "looked": 0}
        self.refused: dict[str, int] = {}
        self.number = 0

    def start_pod(self, word: str) -> int:
        """Start a container whose namespaces cases join; its state is kept apart from theirs."""
        work = Path(self.job["work"])
        config = place.pod_config(user=word == "USERPOD")
        path = work / f"{word}.json"
        path.write_text(json.dumps(config))
        self.runner.job["root"] = str(work / "pods")
        for command in (["create", "--bundle", str(work), "--config", str(path), word], ["start", word]):
            outcome = self.runner.run(*command)
            if outcome.status != 0:
                raise RuntimeError(f"{' '.join(command)}: {outcome}")
        pid = int(json.loads(self.runner.run("state", word).out)["pid"])
        self.runner.job["root"] = str(self.place.root)
        return pid

    def check(self, case: cases.Case) -> list[str]:
        """Run one case; return its problems."""
        config = edits.replaced(case.document(), self.words)
        data = edits.encoded(config)
        self.place.open(data.decode(errors="replace"))
        try:
            data = edits.encoded(self.guard.tame(config))
            self.check_tame(data)
            (self.place.case / "bundle/config.json").write_bytes(data)
            return Check(self, case, data).run()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            return [f"the fuzz itself: {type(error).__name__}: {error} in {where.name}, line {where.lineno}"]
        finally:
            self.place.close()

    def check_tame(self, data: bytes) -> None:
        """Raise RuntimeError when the text, as the runtime reads it, is not what the guard has let pass."""
        try:
            config = jsontext.loads(data, "config")
        except Failure:
            return
        text = jsontext.dumps(config)
        if jsontext.dumps(self.guard.tame(json.loads(text))) != text:
            raise RuntimeError(f"the guard has been got around: {data!r:.2000}")

    def smaller(self, case: cases.Case, kind: str) -> tuple[cases.Case, str]:
        """Leave out of a case what its problem does not need; return it with the problem."""
        problem, again = "", True
        while again:
            again = False
            for at in range(len(case.edits) - 1, -1, -1):
                less = case.with_edits(case.edits[:at] + case.edits[at + 1 :])
                found = [each for each in self.check(less) if kind_of(each) == kind]
                if found:
                    case, problem, again = less, found[0], True
        return case, problem

    def run(self) -> dict[str, Any]:
        given = self.job.get("case_text")
        numbers = range(self.job["first"], self.job["count"], self.job["step"])
        found: dict[str, dict[str, Any]] = {}
        todo = [cases.parsed(given)] if given else (cases.made(self.job["seed"], number) for number in numbers)
        for case in todo:
            self.counts["cases"] += 1
            for problem in self.check(case):
                kind = kind_of(problem)
                if kind in found:
                    found[kind]["count"] += 1
                    continue
                entry = {"problem": problem, "case": case.name, "text": case.text(), "count": 1, "kind": kind}
                found[kind] = entry
                if len(found) <= SMALLEST or self.job.get("smaller_all"):
                    less, said = self.smaller(case, kind)
                    entry.update(text=less.text(), problem=said or problem, smaller=True)
        return {"problems": list(found.values()), "counts": self.counts, "refused": self.refused}


def kind_of(problem: str) -> str:
    """Return what problems of one kind have in common: their words without numbers and quoted names."""
    text = re.sub(r'"[^"]*"|\'[^\']*\'|\[[^\]]*\]|<[^>]*>', "_", problem)
    return re.sub(r"[0-9]+", "N", re.sub(r"/[^ :,;)]*", "/", text))[:160]


class Check:
    """One case, from create to delete."""

    def __init__(self, fuzz: Fuzz, case: cases.Case, data: bytes) -> None:
        self.fuzz = fuzz
        self.case = case
        self.data = data
        self.id = f"fuzz-{fuzz.counts['cases']}-{fuzz.number}"
        fuzz.number += 1
        self.problems: list[str] = []
        self.root_path = ""
        self.config: Any = None

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def command(self, *argv: str, fails: bool = True) -> commands.Outcome:
        """Run a command and judge how it ended and what it said."""
        outcome = self.fuzz.runner.run(*argv)
        name = argv[0] if argv[0] != "--systemd-cgroup" else argv[1]
        for text in judged(outcome):
            self.problem(f"{name}: {text}")
        if outcome.status not in (0, None) and not fails:
            self.problem(f"{name} fails: {outcome.err.strip()}")
        return outcome

    def run(self) -> list[str]:
        config = self.config = self.parsed()
        path = edits.value_at(config, "/root/path")
        self.root_path = path if isinstance(path, str) and "\0" not in path else ""
        before = self.now()
        asks_terminal = isinstance(config, dict) and bool(edits.value_at(config, "/process/terminal"))
        options = edits.replaced(self.case.options, self.fuzz.words)
        head = ["--systemd-cgroup"] if "--systemd-cgroup" in options else []
        options = [word for word in options if word not in head]
        if asks_terminal and "--console-socket" not in options:
            options += ["--console-socket", self.fuzz.console]
        argv = [*head, "create", "--bundle", f"{self.fuzz.place.case}/bundle", *options, self.id]
        outcome = self.command(*argv)
        if outcome.status == 0:
            self.fuzz.counts["created"] += 1
            try:
                self.live(config)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                self.problem(f"the fuzz itself: {type(error).__name__}: {error} in {where.name}, line {where.lineno}")
        else:
            kind = kind_of(outcome.err) + ("" if "config.json" in outcome.err else " WITHOUT A PLACE")
            self.fuzz.refused[kind] = self.fuzz.refused.get(kind, 0) + 1
            self.alone()
            self.same(before, "create")
        self.fuzz.runner.drop_terminals()
        if outcome.status == 0 or self.problems:
            self.command("delete", "--force", self.id, fails=False)
        for path in (self.fuzz.place.case / "pid").iterdir():
            path.unlink()
        self.alone()
        self.same(before, "delete")
        for path in Path("/dev/shm").iterdir():  # mount points that were made in a bind of it
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self.problems

    def parsed(self) -> Any:
        try:
            return jsontext.loads(self.data, "config")
        except Failure:
            return None

    def live(self, config: dict[str, Any]) -> None:
        """Start the container and look at it, while it runs."""
        self.fuzz.runner.take_terminals()
        outcome = self.command("start", self.id) if config.get("process") else self.fuzz.runner.run("start", self.id)
        document = self.state()
        pid = document.get("pid", 0)
        if outcome.status == 0:
            self.fuzz.counts["started"] += 1
            if document.get("status") not in STARTED:
                self.problem(f"after start the container is {document.get('status')!r}")
            if pid and config.get("process") and config.get("linux"):
                self.fuzz.counts["looked"] += 1
                for line in look.differences(config, pid, NUMBER):
                    self.problem(line)
        elif document.get("status") not in ("stopped", None):
            self.problem(f"after a start that failed the container is {document.get('status')!r}")

    def state(self) -> dict[str, Any]:
        outcome = self.fuzz.runner.run("state", self.id)
        if outcome.status is None:
            self.problem("state hangs")
        if outcome.status != 0:
            for text in judged(outcome):
                self.problem(f"state: {text}")
            return {}
        document: dict[str, Any] = json.loads(outcome.out)
        return document

    def alone(self) -> None:
        left = world.wait_alone(self.fuzz.runner.keep)
        if left:
            self.problem(f"left behind: process {', '.join(map(world.describe, left))}")
            for pid in left:
                os.kill(pid, 9)
            world.wait_alone(self.fuzz.runner.keep)

    def now(self) -> dict[str, set[str]]:
        """Return what a command may leave behind or change, as it is now."""
        case = str(self.fuzz.place.case)
        cgroups = {folder for folder, _, _ in os.walk(world.CGROUPS)} - {f"{world.CGROUPS}/pyruntime"}
        folders = [case, f"{case}/pid", "/run", "/tmp"]
        if b"/dev/shm" not in self.data:
            folders.append("/dev/shm")
        sources = edits.list_at(self.config, "/mounts")
        bound = [os.path.join(case, "bundle", str(each.get("source"))) for each in sources if isinstance(each, dict)]
        if f"{case}/bundle" not in map(os.path.normpath, [f"{case}/bundle/{self.root_path}", *bound]):
            folders.append(f"{case}/bundle")  # nothing has made mount points in it
        return {
            "state": world.listed(self.fuzz.state_root),
            "cgroups": cgroups,
            "mounts": set(Path("/proc/self/mountinfo").read_text(errors="backslashreplace").split("\n")),
            "files": set().union(*map(world.listed, folders)) - self.kept(),
            "network devices": world.names(),
            "names": {f"{os.uname().nodename} {Path('/proc/sys/kernel/domainname').read_text().strip()}"},
        }

    def kept(self) -> set[str]:
        """Return files that are meant to stay: a cache, and those that annotations name for the output of hooks."""
        given = self.config.get("annotations") if isinstance(self.config, dict) else None
        names = [given.get(f"run.oci.hooks.{name}") for name in ("stdout", "stderr")] if isinstance(given, dict) else []
        return {"/run/pyruntime-seccomp", *(name for name in names if isinstance(name, str))}

    def same(self, before: dict[str, set[str]], when: str) -> None:
        now = self.now()
        for kind, things in now.items():
            left, gone = sorted(things - before[kind]), sorted(before[kind] - things)
            if when == "delete" or kind != "files":
                self.problems += [f"left behind by {when}: {kind}: {thing}" for thing in left[:3]]
            self.problems += [f"gone after {when}: {kind}: {thing}" for thing in gone[:3]]
            if kind == "cgroups":
                for folder in reversed(left):
                    os.rmdir(folder)
            if kind == "state":
                for path in left:
                    shutil.rmtree(path)
            if kind == "mounts" and when == "delete":
                self.unmount(left)

    def unmount(self, lines: list[str]) -> None:
        """Take away what is mounted outside of the case's own folder, which goes as a whole."""
        for line in lines:
            path = line.split()[4]
            if not path.startswith(str(self.fuzz.place.case)):
                session.umount(path, session.MNT_DETACH)


def judged(outcome: commands.Outcome) -> list[str]:
    """Return what is wrong with how a command ended: neither success without errors nor one line about a failure."""
    if outcome.status is None:
        return [f"hangs; stderr {outcome.err!r:.300}"]
    lines = outcome.err.split("\n")
    found = []
    if lines.pop() != "":
        found.append(f"the last line has no end: {outcome.err!r:.300}")
    errors = [line for line in lines if "warning" not in line.lower()[:40]]
    if outcome.status not in (0, 1):
        found.append(f"ends with status {outcome.status}: {outcome.err!r:.300}")
    if outcome.status == 0 and errors:
        found.append(f"succeeds and says {errors[0]!r:.300}")
    if outcome.status != 0 and len(errors) != 1:
        found.append(f"fails with {len(errors)} lines: {outcome.err!r:.300}")
    for line in lines:
        if not line.startswith("pyruntime: ") or not line.isprintable():
            found.append(f"not a line for people: {line!r:.300}")
        found += [f"says {word!r}: {line:.300}" for word in FOREIGN if word in line]
        if len(line) > LONGEST:
            found.append(f"says {len(line)} characters: {line:.200}")
    return found


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    if "site-packages" not in str(pyruntime.__file__):
        raise RuntimeError(f"not the installed runtime: {pyruntime.__file__}")
    place.enter(job["cgroup"])
    place.furnish(Path(job["work"]))
    faults.import_network()
    kernel.preload()
    inject.allow_plain_interpreter()
    commands.LIMIT = job.get("limit", 10.0)
    began = time.monotonic()
    fuzz = Fuzz(job)
    gc.collect()
    gc.freeze()
    report = fuzz.run()
    report["seconds"] = time.monotonic() - began
    sys.stdout.write(json.dumps(report))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
