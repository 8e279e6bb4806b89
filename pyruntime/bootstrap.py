"""Runs before the command line is parsed, when started from the launcher, and makes imports cheap.

The launcher sets up only the interpreter's core: types, builtins, built-in and frozen modules. The rest - a search for
the standard library, codecs, text streams - takes as long as everything else that a hot command does, and no hot
command needs it. Code that does need it (error messages that use `re`, jsonschema, pyroute2) imports a module that is
not in the launcher: then the rest is set up, once, and the import continues as in any Python.

Modules are loaded here, without importlib's specs, finders, locks and loaders, which often cost more than the module.
Where the launcher is a snapshot (launcher/snapshot.c), the build has already loaded them all.
"""

from __future__ import annotations

import _frozen_importlib
import _imp
import posix
import sys

import _pyruntime

from . import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

importlib: Any = _frozen_importlib
"""The module that implements `import`; type checkers do not know its private names."""
find_and_load = importlib._find_and_load
importer: Any = _imp
Module: Any = type(sys)
NEEDS_ALL = ("_signal", "_socket")
"""Built-in modules that need a complete interpreter: _signal has no handlers before, and the name of an abstract socket
starts with a null byte, which only the codec of file names accepts."""


class Spec:
    """The part of a module's spec that the interpreter needs to create a built-in or an extension module."""

    def __init__(self, name: str, origin: str) -> None:
        self.name = name
        self.origin = origin


def load(name: str, import_: object) -> Any:
    """Import and return a module; replaces importlib._find_and_load.

    importlib still does the work once the import system is sealed (engine/init.py), and for every module that is not in
    the launcher.
    """
    module = sys.modules.get(name)
    if module is not None:
        return module
    if sys.meta_path:
        if _imp.is_builtin(name) and name not in NEEDS_ALL:
            return place(name, importer.create_builtin(Spec(name, "built-in")), _imp.exec_builtin)
        origin = _pyruntime.extension(name)
        if origin is not None:
            return place(name, importer.create_dynamic(Spec(name, origin)), _imp.exec_dynamic)
        if name.startswith("pyruntime.") and _imp.is_frozen(name):
            return place(name, new_module(name), run_frozen)
        complete()
    return find_and_load(name, import_)


def complete() -> None:
    """Set up the rest of the interpreter, unless that is already done."""
    if _pyruntime.is_complete():
        return
    set_paths()
    _pyruntime.complete()
    time: Any = sys.modules.get("time")
    if time is not None:
        time.tzset()  # otherwise timezone, tzname and so on may be those of the build


def set_paths() -> None:
    """Set the path of the loaded packages, on which modules that are not in the launcher are found."""
    for name, module in tuple(sys.modules.items()):
        if name == "pyruntime" or (name.startswith("pyruntime.") and hasattr(module, "__path__")):
            module.__path__ = folder(name)


def folder(package: str) -> list[str]:
    """Return the path of a package's modules that are not in the launcher; empty while the build makes a snapshot."""
    return [] if _pyruntime.is_making_snapshot() else [f"{_pyruntime.packages()}/{package.replace('.', '/')}"]


def place(name: str, module: ModuleType, execute: Any) -> ModuleType:
    """Register a module in sys.modules and in its package, which is loaded first, and execute it."""
    parent, _, child = name.rpartition(".")
    above = (sys.modules.get(parent) or load(parent, None)) if parent else None
    sys.modules[name] = module
    try:
        execute(module)
    except BaseException:
        del sys.modules[name]
        raise
    if above is not None:
        setattr(above, child, module)
    return module


def new_module(name: str) -> ModuleType:
    """Return an empty module; a package also gets the path on disk of its modules that are not frozen."""
    module: ModuleType = Module(name)
    if _imp.is_frozen_package(name):
        module.__path__ = folder(name)
        module.__package__ = name
    else:
        module.__package__ = name.rpartition(".")[0]
    return module


def run_frozen(module: ModuleType) -> None:
    exec(_imp.get_frozen_object(module.__name__), module.__dict__)


class Stream:
    """Writes text to a descriptor, unbuffered: all that a command needs of sys.stdout and sys.stderr."""

    def __init__(self, fd: int, convert: Callable[[str], bytes]) -> None:
        self.fd = fd
        self.convert = convert

    def write(self, words: str) -> int:
        view = memoryview(self.convert(words))
        while view:
            view = view[posix.write(self.fd, view) :]
        return len(words)

    def flush(self) -> None:
        """Do nothing, because nothing is buffered."""


HOT = ("state", "start", "delete", "kill", "create", "run", "exec")
"""Commands whose modules are loaded first into a snapshot, so that memory that is used together is close together."""
preloaded: set[str] = set()
"""Modules that were loaded by the build, not by this process."""


def prepare() -> None:
    """Make an interpreter with only its core usable for commands."""
    importlib._find_and_load = load
    if _pyruntime.is_complete():
        set_paths()
    else:
        sys.path = []  # must exist, so that sealing can clear it (engine/init.py)
        sys.stdout = Stream(1, text.encode)
        sys.stderr = Stream(2, text.encode_shown)


def preload() -> None:
    """Load all modules of pyruntime into a snapshot; raise ImportError for one that needs more than the core."""
    from .options import COMMANDS

    hot = [f"pyruntime.commands.{COMMANDS[name].module}" for name in HOT]
    rest = [name for name in importer._frozen_module_names() if name.startswith("pyruntime.")]
    for name in ("pyruntime.cli", *hot, *sorted(rest)):
        __import__(name)
    preloaded.update(sys.modules)


def main(arguments: list[str]) -> int:
    """Run one command line."""
    sys.argv = ["pyruntime", *arguments]
    if _pyruntime.times():
        from . import trace

        trace.begin()
    from . import cli

    return cli.main(arguments)
