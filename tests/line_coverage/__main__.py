"""Measures the unit tier: which lines of the program does no unit test run?

    .venv/bin/python tests/line_coverage engine kernel      line coverage, file by file
    .venv/bin/python tests/line_coverage --missing engine   and the lines that nothing runs
    .venv/bin/python tests/line_coverage host cli           a module beside the packages is named without suffix
    .venv/bin/python tests/line_coverage engine -- -k hook  what follows -- goes to pytest

It exits with 1 when a package is below --least. What runs with answers of the tests in the kernel's place counts as
run; docs/hacking.md lists it.

Processes that tests fork are measured too; they end by _exit, so their lines are written just before (forks.py).
It takes coverage.py, which scripts/setup installs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import coverage
from coverage.parser import PythonParser

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent


def run_tests(folder: str, options: list[str]) -> dict[str, set[int]]:
    """Run the unit tests; return the lines of each file that they ran, in all processes."""
    settings = Path(folder, "coveragerc")
    settings.write_text(
        f"[run]\nsource = {REPO}/pyruntime\nparallel = true\ndata_file = {folder}/data\ndisable_warnings = no-sysmon\n"
    )
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q", "-p", "forks"]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run([*command, *(options or ["tests/unit"])], cwd=REPO, env=environment, check=False)
    if done.returncode:
        sys.exit("the tests must pass")
    measured = coverage.Coverage(config_file=str(settings), data_suffix=None)
    measured.combine([folder])
    data = measured.get_data()
    return {file: set(data.lines(file) or []) for file in data.measured_files()}


def files_of(name: str) -> list[Path]:
    """Return the files of a package, or the one of a module; exit if there is neither."""
    place = REPO / "pyruntime" / name
    found = sorted(place.rglob("*.py")) or [file for file in [place.with_suffix(".py")] if file.exists()]
    if not found:
        sys.exit(f"pyruntime has neither a package nor a module {name}")
    return found


def statements(file: Path) -> set[int]:
    """Return the lines that hold a statement; what only type checkers read does not count."""
    parser = PythonParser(text=file.read_text(), filename=str(file), exclude=r"^if TYPE_CHECKING:")
    parser.parse_source()
    return set(parser.statements)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/line_coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", nargs="*", default=["engine", "kernel"])
    parser.add_argument("--least", type=int, default=90, help="per cent of each that must be run (90)")
    parser.add_argument("--missing", action="store_true", help="print the lines that nothing runs")
    own, tests = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, tests = own[:at], own[at + 1 :]
    options = parser.parse_args(own)
    options.tests = tests
    return options


def main() -> int:
    options = arguments()
    measured = {name: files_of(name) for name in options.packages}
    with tempfile.TemporaryDirectory(prefix="pyrt-") as folder:
        lines_run = run_tests(folder, options.tests)
    below = []
    for package, files in measured.items():
        all_lines = all_run = 0
        for file in files:
            counted = statements(file)
            run = counted & lines_run.get(str(file), set())
            all_lines += len(counted)
            all_run += len(run)
            print(f"{share(len(run), len(counted)):6.1f} %  {file.relative_to(REPO)}")
            if options.missing and counted - run:
                print("          ", *sorted(counted - run))
        total = share(all_run, all_lines)
        print(f"{total:6.1f} %  {package}: {all_run} of {all_lines} lines")
        if total < options.least:
            below.append(package)
    if below:
        print(f"below {options.least} %: {', '.join(below)}")
    return 1 if below else 0


def share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


if __name__ == "__main__":
    sys.exit(main())
