"""Measures the unit tier: how many small changes of the program does no unit test notice?

    scripts/test mutation -- plan engine          100 mutants of these packages, or of modules such as plan/mounts
    scripts/test mutation -- --count 20 --seed 7 spec
    scripts/test mutation -- --list container     what there is, without running it

Each mutant is one change (mutants.py) in a copy of the program, on which the unit tests run until the first fails.
One that survives is a missing test, or no other program: then it goes to equivalent.toml, with the reason. The same
seed makes the same choice as long as the sources are the same. It exits with 1 when more survive than --allow (a
share, 0.05).
"""

import argparse
import concurrent.futures
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from mutation.mutants import Mutant, mutants_of  # noqa: E402
from support import paths  # noqa: E402
from support.defences import mutant as copies  # noqa: E402

PYTEST = Path(sys.executable).parent / "pytest"
LEAST = 180.0
"""Seconds, at least, after which tests hang, which is noticed; three times what they take without a mutant."""
LEFT_OUT = ("test_build.py", "test_defences.py", "test_snapshot.py", "test_launcher_options.py")
"""Unit tests of the build and of other data, which take long and look at no copy."""


def equivalent() -> dict[tuple[str, str, str, str], str]:
    """Return the mutants that are no other program, with the reason. Raises KeyError for an entry without one."""
    with open(HERE / "equivalent.toml", "rb") as file:
        entries = tomllib.load(file).get("equivalent", [])
    return {(each["file"], each["function"], each["was"], each["becomes"]): each["reason"] for each in entries}


def tests_for(mutant: Mutant | None) -> list[str]:
    """Return the unit tests' files: first those that name the mutant's module, or its package."""
    files = [path for path in sorted((paths.REPO / "tests/unit").glob("test_*.py")) if path.name not in LEFT_OUT]
    if mutant is None:
        return list(map(str, files))
    module = mutant.file.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]
    package = mutant.file.split("/")[1].removesuffix(".py")

    def distance(path: Path) -> tuple[bool, bool, bool]:
        text = path.read_text()
        return module not in path.name, module not in text, package not in text

    return [str(path) for path in sorted(files, key=distance)]


def noticed(mutant: Mutant | None, base: copies.Prefix, scratch: Path, limit: float | None = None) -> str | None:
    """Run the unit tests on a copy with the change; return how the first fails, None when all of them pass.

    Without a mutant: on a copy as it is.
    """
    place = copies.Prefix(Path(tempfile.mkdtemp(dir=scratch)))
    try:
        shutil.copytree(base.packages, place.packages, symlinks=True, copy_function=os.link)
        place.launcher.parent.mkdir()
        os.link(base.launcher, place.launcher)
        if mutant is None:
            return run_tests(place, tests_for(None), limit)
        copies.replace(place.packages / mutant.file, mutant.apply((paths.REPO / mutant.file).read_text()))
        return run_tests(place, tests_for(mutant), limit)
    finally:
        shutil.rmtree(place.path, ignore_errors=True)


def run_tests(place: copies.Prefix, files: list[str], limit: float | None) -> str | None:
    """Run unit tests on a copy until the first fails; return what pytest says then, None when all of them pass."""
    command = [str(PYTEST), "-x", "-q", "--tb=short", "-p", "no:cacheprovider", *files]
    environment = {**place.environment(), "TMPDIR": str(place.path.parent)}
    environment.pop("CI", None)
    running = subprocess.Popen(
        command, cwd=paths.REPO, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = running.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return f"no end after {limit:.0f} s"
    finally:
        end(running)
    # A mutant may end pytest itself, and with 0: by an _exit that is meant for a process that it has forked.
    return None if running.returncode == 0 and " passed" in output else output[-3000:] or "pytest itself ended"


def end(running: subprocess.Popen[str]) -> None:
    """End the tests, and what a mutant has left behind of the processes that they made: all are in one group."""
    try:
        os.killpg(running.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    running.wait()
    if running.stdout is not None:
        running.stdout.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/test mutation --", description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="*", default=["spec", "plan", "container", "engine"])
    parser.add_argument("--count", type=int, default=100, help="how many mutants, 0 for all (100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--allow", type=float, default=0.05, help="which share may survive (0.05)")
    parser.add_argument("--list", action="store_true", help="list the mutants that would be run")
    parser.add_argument("--verbose", action="store_true", help="say which test noticed a mutant")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    every = mutants_of(paths.REPO, options.packages)
    known = equivalent()
    every = [mutant for mutant in every if mutant.key() not in known]
    count = min(options.count or len(every), len(every))
    chosen = random.Random(options.seed).sample(every, count)
    print(f"{count} of {len(every)} mutants of {', '.join(options.packages)}, seed {options.seed}", flush=True)
    if options.list:
        print(*chosen, sep="\n")
        return 0
    survivors = []
    with tempfile.TemporaryDirectory(prefix="pyrt-") as folder:
        scratch = Path(folder)
        base = copies.make_base(scratch / "base")
        began = time.monotonic()
        failure = noticed(None, base, scratch)
        if failure is not None:
            print(f"the tests must pass on the program as it is:\n{failure}")
            return 1
        limit = max(LEAST, 3 * (time.monotonic() - began))
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for mutant, failure in zip(
                chosen, pool.map(lambda each: noticed(each, base, scratch, limit), chosen), strict=True
            ):
                if failure is None:
                    survivors.append(mutant)
                    print(f"survives: {mutant}", flush=True)
                elif options.verbose:
                    failed = [line for line in failure.splitlines() if line.startswith(("FAILED", "ERROR"))]
                    print(f"noticed:  {mutant}\n          {failed[0] if failed else failure[-300:]}", flush=True)
    share = len(survivors) / count
    print(f"{len(survivors)} of {count} survive: {share:.1%} (allowed: {options.allow:.0%})")
    return 0 if share <= options.allow else 1


if __name__ == "__main__":
    sys.exit(main())
