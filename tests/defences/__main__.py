"""The tier of defences: `python tests/defences [--list] [-v] [-k TEXT] [NAME…]`.

Without a name all of them: each defence is taken out of a copy of the program, and its tests must fail then.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.defences import data


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test defences --")
    parser.add_argument("-k", metavar="TEXT", help="those whose file, name or subject has this text in it")
    parser.add_argument("--list", action="store_true", help="print what there is and run nothing")
    parser.add_argument("-v", action="store_true", help="show how the tests failed")
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these")
    options = parser.parse_args()
    try:
        found = data.load()
        for defence in found:
            data.check_tests(defence)
    except data.Unsound as error:
        print(error, file=sys.stderr)
        return 2
    unknown = set(options.names) - {each.name for each in found}
    if unknown:
        parser.error(f"no such defence: {', '.join(sorted(unknown))}")
    if options.names:
        found = [each for each in found if each.name in options.names]
    if options.k:
        found = [each for each in found if options.k in f"{each} {each.defends}"]
    if options.list:
        show(found)
        return 0
    from support.defences import runner

    return 1 if runner.run(found, verbose=options.v) else 0


def show(defences: list[data.Defence]) -> None:
    """Print a table: name, what it defends, the tests."""
    for each in defences:
        print(f"{each.name}\n    {each.defends}")
        for test in each.tests:
            print(f"    {test}")
    print(f"{len(defences)} defences")


if __name__ == "__main__":
    sys.exit(main())
