"""What a start from the launcher does before the command line is looked at: it makes imports cheap.

The launcher sets up no more than the interpreter's core: types, builtins, built-in and frozen modules. The rest - a
search for the standard library, codecs, text streams - takes as long as all else that a hot command does, and none of
them needs it. What does (a message that is made by `re`, jsonschema, pyroute2) imports a module that is not in the
launcher: then the rest is set up, once, and the import goes on as in any Python.

Modules are loaded here, without importlib's specs, finders, locks and loaders, which cost more than many a module
itself. Where the launcher is a snapshot (launcher/snapshot.c), the build has done that: a start has them all.
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
"""What `import` is written in; its own names are no part of its types."""
find_and_load = importlib._find_and_load
importer: Any = _imp
Module: Any = type(sys)
NEEDS_ALL = ("_signal", "_socket")
"""Built-in modules that need a complete interpreter: _signal has no handlers before, and the name of an abstract socket
begins with a null byte, which only the codec of file names takes."""


class Spec:
    """All that the interpreter asks of a module's spec when it makes a built-in or an extension module."""

    def __init__(self, name: str, origin: str) -> None:
        self.name = name
        self.origin = origin


def load(name: str, import_: object) -> Any:
    """Return a module that is not imported yet; takes the place of importlib's function of the same job.

    Once the import system is sealed (engine/init.py), and for everything that is not in the launcher, importlib does
    the work.
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
    """Set up the rest of the interpreter, if that is not done."""
    if _pyruntime.is_complete():
        return
    set_paths()
    _pyruntime.complete()
    time: Any = sys.modules.get("time")
    if time is not None:
        time.tzset()  # timezone, tzname and the like may be those of the build


def set_paths() -> None:
    """Tell the packages that are loaded where the modules are that are not in the launcher."""
    for name, module in tuple(sys.modules.items()):
        if name == "pyruntime" or (name.startswith("pyruntime.") and hasattr(module, "__path__")):
            module.__path__ = folder(name)


def folder(package: str) -> list[str]:
    """Return where the modules of a package are that are not in the launcher; the build's own place is nobody's."""
    return [] if _pyruntime.is_making_snapshot() else [f"{_pyruntime.packages()}/{package.replace('.', '/')}"]


def place(name: str, module: ModuleType, execute: Any) -> ModuleType:
    """Enter a module where imports look for it, below its package (loaded first), and execute it."""
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
    """Return an empty module; a package can also be looked up on disk, where the modules are that are not frozen."""
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
    """Text to a descriptor, at once: all that a command needs of sys.stdout and sys.stderr."""

    def __init__(self, fd: int, convert: Callable[[str], bytes]) -> None:
        self.fd = fd
        self.convert = convert

    def write(self, words: str) -> int:
        view = memoryview(self.convert(words))
        while view:
            view = view[posix.write(self.fd, view) :]
        return len(words)

    def flush(self) -> None:
        """Nothing is held back."""


HOT = ("state", "start", "delete", "kill", "create", "run", "exec")
"""Commands whose modules are loaded first into a snapshot, so that what is used together lies together."""
preloaded: set[str] = set()
"""Modules that this process did not load itself."""


def prepare() -> None:
    """Make the interpreter usable as far as it is set up."""
    importlib._find_and_load = load
    if _pyruntime.is_complete():
        set_paths()
    else:
        sys.path = []  # until there is one: what is sealed must be there to be cleared (engine/init.py)
        sys.stdout = Stream(1, text.encode)
        sys.stderr = Stream(2, text.encode_shown)


def preload() -> None:
    """Load all modules of pyruntime, for a snapshot; raises ImportError for one that needs more than the core."""
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
