"""Measures the unit tier: how many small changes of the program does no unit test notice?

    scripts/test mutation -- plan engine          100 mutants of these packages, or of modules such as plan/mounts
    scripts/test mutation -- --count 20 --seed 7 spec
    scripts/test mutation -- --list container     what there is, without running it

Each mutant is one change (mutants.py) in a copy of the program, on which the unit tests run until the first fails: the
files that name the mutant's module, in a fork of this process (quick.py), and, when these pass, all of them in another
process. One that survives is a missing test, or no other program: then it goes to equivalent.toml, with the
reason. The same seed makes the same choice as long as the sources are the same. It exits with 1 when more survive than
--allow (a share, 0.05).
"""

import argparse
import concurrent.futures
import functools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from mutation import quick  # noqa: E402
from mutation.mutants import Mutant, mutants_of  # noqa: E402
from support import paths  # noqa: E402
from support.defences import mutant as copies  # noqa: E402

PYTEST = Path(sys.executable).parent / "pytest"
SECONDS = 180.0
"""After which the tests of a mutant hang, which is noticed."""
LEFT_OUT = (
    *("test_build.py", "test_ci.py", "test_defences.py", "test_dev_link.py", "test_distribution.py"),
    *("test_launcher_options.py", "test_snapshot.py"),
)
"""Unit tests of the build and of other data, which take long and look at no copy."""


def equivalent() -> dict[tuple[str, str, str, str], str]:
    """Return the mutants that are no other program, with the reason. Raises KeyError for an entry without one."""
    with open(HERE / "equivalent.toml", "rb") as file:
        entries = tomllib.load(file).get("equivalent", [])
    return {(each["file"], each["function"], each["was"], each["becomes"]): each["reason"] for each in entries}


def unit_tests() -> list[Path]:
    return [path for path in sorted((paths.REPO / "tests/unit").glob("test_*.py")) if path.name not in LEFT_OUT]


def near(mutant: Mutant) -> list[str]:
    """Return the unit tests' files that name the mutant's module and its package, those first that are called so."""
    module = mutant.file.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]
    package = mutant.file.split("/")[1].removesuffix(".py")
    texts = {path: path.read_text() for path in unit_tests()}
    files = [path for path, text in texts.items() if module in text and package in text]
    if package == "plan":  # whole plans look at every module of it
        files = [*{*files, paths.REPO / "tests/unit/test_golden_plans.py"}]
    return [str(path) for path in sorted(files, key=lambda path: (module not in path.name, package not in path.name))]


def noticed(mutant: Mutant | None, base: copies.Prefix, scratch: Path, *, whole: bool = True) -> str | None:
    """Run the unit tests on a copy with the change; return how the first fails, None when all of them pass.

    Without a mutant: on a copy as it is. whole: not only those that name the mutant's module.
    """
    place = copies.Prefix(Path(tempfile.mkdtemp(dir=scratch)))
    try:
        shutil.copytree(base.packages, place.packages, symlinks=True, copy_function=os.link)
        place.launcher.parent.mkdir()
        os.link(base.launcher, place.launcher)
        every = list(map(str, unit_tests()))
        if mutant is None:
            return quick.run(place, every, 3 * SECONDS)
        copies.replace(place.packages / mutant.file, mutant.apply((paths.REPO / mutant.file).read_text()))
        return quick.run(place, near(mutant), SECONDS / 3) or (run_tests(place, every) if whole else None)
    finally:
        shutil.rmtree(place.path, ignore_errors=True)


def run_tests(place: copies.Prefix, files: list[str]) -> str | None:
    """Run unit tests on a copy until the first fails; return what pytest says then, None when all of them pass."""
    environment = {**place.environment(), "TMPDIR": str(place.path.parent)}
    environment.pop("CI", None)
    running = subprocess.Popen(
        [str(PYTEST), *quick.OPTIONS, *files], cwd=paths.REPO, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = running.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end after {SECONDS:g} s"
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
    parser = argparse.ArgumentParser(prog="scripts/test mutation --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", nargs="*", default=["spec", "plan", "container", "engine"])
    parser.add_argument("--count", type=int, default=100, help="how many mutants, 0 for all (100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--allow", type=float, default=0.05, help="which share may survive (0.05)")
    parser.add_argument("--near", action="store_true", help="run only the tests that name the module: a first look")
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
        failure = None if options.near else noticed(None, base, scratch)
        if failure is not None:
            print(f"the tests must pass on the program as it is:\n{failure}")
            return 1
        with concurrent.futures.ProcessPoolExecutor(options.jobs, multiprocessing.get_context("fork")) as pool:
            for mutant, failure in zip(
                chosen,
                pool.map(functools.partial(noticed, base=base, scratch=scratch, whole=not options.near), chosen),
                strict=True,
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
