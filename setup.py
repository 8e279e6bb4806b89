"""Builds what is not Python: the kernel extension, the seccomp compiler and the launcher."""

import __future__

import ast
import importlib.util
import marshal
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SOURCES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "pyruntime/kernel/src").glob("*.c"))
SECCOMP = "pyruntime/kernel/src/seccomp.c"
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type"]
LAUNCHER = "build/bin/pyruntime"


FROZEN = "build/frozen.h"
NOT_FROZEN = ("__main__.py", "spec/schema.py", "_build.py")
"""Modules that are found on disk: the source tree's command, what needs its own path, and what the build adds."""
STANDARD = ("encodings", "encodings.aliases", "encodings.utf_8")
"""Modules of the standard library that a completed interpreter needs and does not freeze itself."""


class Strip(ast.NodeTransformer):
    """Takes out of a module what only people and type checkers read: its start unmarshals that much less."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:  # noqa: N802 - the name is ast's
        node.returns = None
        arguments = node.args
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
            if each is not None:
                each.annotation = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:  # noqa: N802
        new = ast.Pass() if node.value is None else ast.Assign(targets=[node.target], value=node.value)
        return ast.copy_location(new, node)

    def visit_If(self, node: ast.If) -> Any:  # noqa: N802
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:  # noqa: N802
        return None if node.module == "__future__" else node

    def visit_Expr(self, node: ast.Expr) -> Any:  # noqa: N802
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def byte_code(path: Path) -> bytes:
    """Return the marshalled code of a module, without docstrings and annotations."""
    shown = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
    tree = ast.parse(path.read_bytes(), shown)
    if path.is_relative_to(ROOT):
        tree = fill(Strip().visit(tree))
    flags = __future__.annotations.compiler_flag
    return marshal.dumps(compile(tree, shown, "exec", flags, dont_inherit=True, optimize=2))


def fill(tree: ast.Module) -> ast.Module:
    """Give a body to functions and classes that had nothing but a docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler | ast.If) and not node.body:
            node.body = [ast.Pass()]
    return ast.fix_missing_locations(tree)


def frozen_modules() -> dict[str, tuple[Path, bool]]:
    """Return what goes into the launcher: name -> (source file, is it a package)."""
    found: dict[str, tuple[Path, bool]] = {}
    for name in STANDARD:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        found[name] = (Path(spec.origin), spec.submodule_search_locations is not None)
    package = ROOT / "pyruntime"
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package)
        if str(where) in NOT_FROZEN:
            continue
        parts = ["pyruntime", *where.parts]
        is_package = parts.pop() == "__init__.py"
        name = ".".join(parts if is_package else [*parts, path.stem])
        found[name] = (path, is_package)
    return found


def write_frozen() -> None:
    """Write the launcher's table of frozen modules: byte code without docstrings, so that a start reads no files.

    With PYRUNTIME_LIVE set the table is empty, and the modules come from the source tree (scripts/dev-link).
    """
    modules = {} if os.environ.get("PYRUNTIME_LIVE") else frozen_modules()
    arrays, rows = [], []
    for number, (name, (path, is_package)) in enumerate(modules.items()):
        code = byte_code(path)
        arrays.append(f"static const unsigned char code{number}[] = {{{','.join(map(str, code))}}};")
        package = "1" if is_package else "0"
        rows.append(f'{{.name = "{name}", .code = code{number}, .size = {len(code)}, .is_package = {package}}},')
    lines = [*arrays, "static const struct _frozen frozen_modules[] = {", *rows, "{0}};"]
    (ROOT / FROZEN).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / FROZEN).write_text("\n".join(lines) + "\n")


def libraries(line: str) -> list[str]:
    """Return linker options, with the static form of libraries that every start would load, where there is one."""
    options = []
    for option in shlex.split(line):
        name = f"lib{option.removeprefix('-l')}.a"
        folder = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")
        options.append(f"-l:{name}" if option in ("-lz", "-lexpat") and (folder / name).is_file() else option)
    return options


def build_launcher() -> None:
    """Compile the launcher against the interpreter that runs this: with its static library when there is one.

    A static, non-relocated interpreter starts about a millisecond sooner than the shared one. The kernel extension
    is linked in, which saves loading it.
    """
    write_frozen()
    get = sysconfig.get_config_var
    library = Path(get("LIBPL") or "/nonexistent") / (get("LIBRARY") or "")
    command = [*shlex.split(get("CC").split()[0]), *FLAGS, f"-I{sysconfig.get_path('include')}"]
    command += [
        f'-DSTDLIB="{sysconfig.get_path("stdlib")}"',
        f'-DDYNLOAD="{get("DESTSHARED")}"',
        f'-DBASE_PREFIX="{get("prefix")}"',
        f'-DVERSION="{get("py_version_short")}"',
        f'-DSUFFIX="{get("EXT_SUFFIX")}"',
        f"-I{ROOT / 'build'}",
        str(ROOT / "pyruntime/launcher/launcher.c"),
        *(str(ROOT / source) for source in SOURCES if source != SECCOMP),
        "-o",
        str(ROOT / LAUNCHER),
    ]
    if library.suffix == ".a" and library.is_file():
        command += ["-no-pie", str(library), "-Wl,-E"]
        if sys.version_info[:2] == (3, 11):
            command += ["-DWITHOUT_DEEPFREEZE", "-Wl,--wrap=_Py_Deepfreeze_Init"]
    else:
        where = get("LIBDIR")
        command += [f"-L{where}", f"-Wl,-rpath,{where}", f"-lpython{get('LDVERSION')}"]
    command += [*libraries(f"{get('LIBS') or ''} {get('SYSLIBS') or ''} {get('MODLIBS') or ''}"), "-lm"]
    (ROOT / LAUNCHER).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, check=True)


def commit() -> str:
    """Return the commit that is built, or "unknown"; scripts/install builds from a copy and names it."""
    if named := os.environ.get("PYRUNTIME_COMMIT"):
        return named
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


class Build(build_py):
    """Also builds the launcher, and puts the schema beside the code that reads it."""

    def run(self) -> None:
        build_launcher()
        super().run()
        (Path(self.build_lib) / "pyruntime/_build.py").write_text(
            f'"""Made at build time."""\n\nCOMMIT = "{commit()}"\n'
        )
        target = Path(self.build_lib) / "pyruntime/spec/config.schema.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "specs/config.schema.json", target)


setup(
    ext_modules=[
        Extension(
            "pyruntime.kernel._linux",
            [source for source in SOURCES if source != SECCOMP],
            depends=["pyruntime/kernel/src/common.h"],
            extra_compile_args=FLAGS,
        ),
        Extension("pyruntime.kernel._seccomp", [SECCOMP], libraries=["seccomp"], extra_compile_args=FLAGS),
    ],
    data_files=[("bin", [LAUNCHER])],
    cmdclass={"build_py": Build},
)
