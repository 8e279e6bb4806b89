"""What a start from the launcher does before the command line is looked at.

The launcher sets up no more than the interpreter's core: types, builtins, built-in and frozen modules. The rest - a
search for the standard library, codecs, text streams - takes as long as all else that a hot command does, and none of
them needs it. What does (a message that is made by `re`, jsonschema, pyroute2) imports a module that is not in the
launcher: then the rest is set up, once, and the import goes on as in any Python.
"""

from __future__ import annotations

import _frozen_importlib
import _imp
import posix
import sys

import _pyruntime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

importlib: Any = _frozen_importlib
"""What `import` is written in; its own names are no part of its types."""
BUILT_IN = "pyruntime.kernel._linux"
"""Linked into the launcher. BuiltinImporter finds only modules without a package by itself."""
NEEDS_ALL = ("_signal",)
"""Built-in modules that can't be used before the interpreter is complete."""


class Extension:
    """Loads an extension module from where the build has found it, without looking anywhere else."""

    def create_module(self, spec: Any) -> ModuleType:
        module: ModuleType = _imp.create_dynamic(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        _imp.exec_dynamic(module)


class Finder:
    """Is asked first for every module; answers for those that are found only by a search, or not at all."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> Any:
        if name == BUILT_IN:
            return importlib.BuiltinImporter.find_spec(name)
        if _imp.is_builtin(name) or _imp.is_frozen(name):
            if name in NEEDS_ALL:
                _pyruntime.complete()
            return None
        place = _pyruntime.extensions.get(name)
        if place is not None:
            return importlib.ModuleSpec(name, Extension(), origin=place)
        _pyruntime.complete()
        if name.startswith("pyruntime."):
            return on_disk(name)
        return None


def on_disk(name: str) -> Any:
    """Find a module of pyruntime that is not in the launcher, in site-packages: the last entry of sys.path."""
    from _frozen_importlib_external import PathFinder

    folder = name.rpartition(".")[0].replace(".", "/")
    return PathFinder.find_spec(name, [f"{sys.path[-1]}/{folder}"])


def load_frozen(name: str, _import: object) -> Any:
    """Load a module of pyruntime from the launcher: what importlib does, without specs, locks and loaders.

    These cost four times as much as the module itself, for each of the sixty modules of `create`. For all other
    modules, and once the import system is sealed, importlib does the work.
    """
    module = sys.modules.get(name)
    if module is not None:
        return module
    parent, _, child = name.rpartition(".")
    if not (parent and sys.meta_path and name.startswith("pyruntime.") and _imp.is_frozen(name)):
        return find_and_load(name, _import)
    above = sys.modules.get(parent) or load_frozen(parent, _import)
    module = Module(name)
    if _imp.is_frozen_package(name):
        module.__path__ = []
        module.__package__ = name
    else:
        module.__package__ = parent
    sys.modules[name] = module
    try:
        exec(_imp.get_frozen_object(name), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    setattr(above, child, module)
    return module


Module: Any = type(sys)
find_and_load = importlib._find_and_load


class Stream:
    """Text to a descriptor, at once: all that a command needs of sys.stdout and sys.stderr."""

    def __init__(self, fd: int, errors: str) -> None:
        self.fd = fd
        self.errors = errors

    def write(self, text: str) -> int:
        view = memoryview(text.encode("utf-8", self.errors))
        while view:
            view = view[posix.write(self.fd, view) :]
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def main(arguments: list[str]) -> int:
    """Make the interpreter usable as far as it is set up, then run one command line."""
    sys.meta_path.insert(0, Finder)
    importlib._find_and_load = load_frozen
    if _pyruntime.times():
        from . import trace

        trace.begin()
    if not _pyruntime.is_complete():
        sys.path = []  # until there is one: what is sealed must be there to be cleared (engine/init.py)
        sys.stdout = Stream(1, "surrogateescape")
        sys.stderr = Stream(2, "backslashreplace")
    from . import cli

    return cli.main(arguments)
