"""What a module does when it is imported is done once, by the build that makes the launcher's snapshot.

Nothing of it may depend on the machine, the process or the moment.
"""

import subprocess
import sys
from pathlib import Path

import pyruntime

PACKAGE = Path(__file__).resolve().parents[2] / "pyruntime"
INSTALLED = Path(pyruntime.__file__).resolve().parents[1]
"""Where the modules have the extension modules beside them."""
NOT_IN_THE_SNAPSHOT = ("__main__", "bootstrap", "spec.schema")

PROGRAM = """
import _frozen_importlib_external, builtins, posix, sys, time, types
class Asked(BaseException): pass
def refusing(name):
    def refused(*args, **options):
        raise Asked(name)
    return refused
# The import system itself looks at files: with a posix of its own.
own = types.ModuleType("posix")
own.__dict__.update(posix.__dict__)
_frozen_importlib_external._os = own
LOOKS = (
    (posix, set(dir(posix)) - {"fspath", "register_at_fork"}),
    (time, dir(time)),
    (builtins, ["open"]),
)
for module, names in LOOKS:
    for name in names:
        function = getattr(module, name)
        if not name.startswith("_") and callable(function) and type(function) is not type:
            setattr(module, name, refusing(f"{module.__name__}.{name}"))
class Environment(dict):
    get = __getitem__ = __iter__ = items = keys = refusing("posix.environ")
posix.environ = Environment()
for name in sys.argv[1:]:
    try:
        __import__(name)
    except Asked as asked:
        print(name, "asks", asked)
        for each in [each for each in sys.modules if each.startswith("pyruntime")]:
            del sys.modules[each]
print(len(sys.argv) - 1, "imported")
"""


def names() -> list[str]:
    found = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))]
    return [f"pyruntime.{name.removesuffix('.__init__')}" for name in found if name not in NOT_IN_THE_SNAPSHOT]


def imported(folder: Path, *modules: str) -> list[str]:
    command = [
        sys.executable,
        "-I",
        "-S",
        "-B",
        "-c",
        f"import sys; sys.path[:0] = [{str(folder)!r}]\n{PROGRAM}",
        *modules,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_no_module_asks_for_what_may_be_different() -> None:
    modules = [name.removesuffix(".__init__") for name in names() if name != "pyruntime.__init__"]
    assert len(modules) > 60
    assert imported(INSTALLED, *modules) == [f"{len(modules)} imported"]


def test_one_that_does_is_found(tmp_path: Path) -> None:
    (tmp_path / "process.py").write_text("import posix\nME = posix.getpid()\n")
    (tmp_path / "caller.py").write_text("import posix\nHOME = posix.environ.get(b'HOME')\n")
    (tmp_path / "moment.py").write_text("from time import monotonic\nBEGAN = monotonic()\n")
    (tmp_path / "place.py").write_text("import posix\nHERE = posix.getcwd()\n")
    (tmp_path / "file.py").write_text("with open('/proc/self/stat') as file: pass\n")
    found = imported(tmp_path, "process", "caller", "moment", "place", "file")
    asked = ["posix.getpid", "posix.environ", "time.monotonic", "posix.getcwd", "builtins.open"]
    assert [line.split()[-1] for line in found[:5]] == asked
