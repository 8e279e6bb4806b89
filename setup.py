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
from types import CodeType
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "scripts"))

import launcher_options  # noqa: E402
import snapshot  # noqa: E402

SOURCES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "pyruntime/kernel/src").glob("*.c"))
SECCOMP = ["pyruntime/kernel/src/enosys.c", "pyruntime/kernel/src/seccomp.c"]
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type", f"-ffile-prefix-map={ROOT}=."]
HARDENING = (
    ["-fstack-protector-strong"],
    ["-fstack-clash-protection"],
    ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"],
    ["-fcf-protection=full"],
    ["-mbranch-protection=standard"],
)
"""What makes a fault of C harder to use, each where the compiler has it for this machine."""
LINK_HARDENING = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
SANITIZE = os.environ.get("PYRUNTIME_SANITIZE")
"""Sanitizers to build with, such as address,undefined (scripts/sanitize); then there is no snapshot."""
SANITIZER_OPTIONS = os.environ.get("PYRUNTIME_SANITIZER_OPTIONS", "")
"""What a launcher with sanitizers has built in: the environment of a command under test is the test's."""
LAUNCHER = "build/bin/pyruntime"


FROZEN = "build/frozen.h"
OPTIONS = "build/options.h"
NOT_FROZEN = ("__main__.py", "spec/schema.py", "_build.py")
"""Modules that are found on disk: the source tree's command, what needs its own path, and what the build adds."""
STANDARD = ("encodings", "encodings.aliases", "encodings.utf_8")
"""Modules of the standard library that a completed interpreter needs and does not freeze itself."""


WRAPPED = ("malloc", "calloc", "realloc", "free", "_Py_HashRandomization_Init")
"""Functions that snapshot.c takes the place of."""


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


def byte_code(path: Path) -> CodeType:
    """Return the code of a module, without docstrings and annotations.

    Its file's name is in angle brackets: whoever prints a traceback does not look for the source then, which would be
    looked for in the caller's working directory.
    """
    shown = f"<{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}>"
    tree = ast.parse(path.read_bytes(), shown)
    if path.is_relative_to(ROOT):
        tree = fill(Strip().visit(tree))
    flags = __future__.annotations.compiler_flag
    code: CodeType = compile(tree, shown, "exec", flags, dont_inherit=True, optimize=2)
    return code


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
    found["pyruntime._build"] = (write_commit(ROOT / "build/_build.py"), False)
    return found


def write_frozen(modules: dict[str, tuple[Path, bool]]) -> None:
    """Write the launcher's table of frozen modules: code without docstrings, so that a start reads no files."""
    arrays, rows = [], []
    for number, (name, (path, is_package)) in enumerate(modules.items()):
        data = marshal.dumps(byte_code(path))
        arrays.append(f"static const unsigned char code{number}[] = {{{','.join(map(str, data))}}};")
        where = f".code = code{number}, .size = {len(data)}"
        rows.append(f'{{.name = "{name}", {where}, .is_package = {int(is_package)}}},')
    lines = [*arrays, "static const struct _frozen frozen_modules[] = {", *rows, "{0}};"]
    (ROOT / FROZEN).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / FROZEN).write_text("\n".join(lines) + "\n")


def compiler() -> list[str]:
    """Return the command of the C compiler that the interpreter was built with."""
    return shlex.split(sysconfig.get_config_var("CC").split()[0])


def accepts(flags: list[str]) -> bool:
    """Tell whether the compiler takes these flags without a word."""
    command = [*compiler(), "-Werror", "-O2", *flags, "-x", "c", "-", "-c", "-o", os.devnull]
    program = "#include <stdio.h>\nint main(void) { return getchar(); }\n"
    return subprocess.run(command, input=program, text=True, capture_output=True, check=False).returncode == 0


def hardening() -> list[str]:
    """Return the flags that own C code is compiled with beyond FLAGS."""
    if SANITIZE:
        return [
            f"-fsanitize={SANITIZE}",
            "-fno-sanitize-recover=all",
            "-fno-omit-frame-pointer",
            "-U_FORTIFY_SOURCE",
            "-g",
        ]
    return [flag for flags in HARDENING if accepts(flags) for flag in flags]


def sanitizer_defaults() -> list[str]:
    """Return the source file that a launcher with sanitizers has its options from."""
    if not SANITIZE:
        return []
    file = ROOT / "build/sanitizer_defaults.c"
    names = ("__asan_default_options", "__ubsan_default_options")
    lines = [
        f'const char *{name}(void);\nconst char *{name}(void) {{ return "{SANITIZER_OPTIONS}"; }}\n' for name in names
    ]
    file.write_text("".join(lines))
    return [str(file.relative_to(ROOT))]


def link_hardening() -> list[str]:
    """Return the flags that own C code is linked with."""
    return [f"-fsanitize={SANITIZE}"] if SANITIZE else LINK_HARDENING


def hash_key() -> bytes:
    """Return the key by which a snapshot hashes text: a new one for each build, so that nobody knows what collides.

    PYRUNTIME_HASH_KEY gives it in hexadecimal, for builds that are to be compared.
    """
    if given := os.environ.get("PYRUNTIME_HASH_KEY"):
        key = bytes.fromhex(given)
        if len(key) != snapshot.KEY_SIZE:
            raise SystemExit(f"PYRUNTIME_HASH_KEY: {snapshot.KEY_SIZE} bytes in hexadecimal expected, not {len(key)}")
        return key
    return os.urandom(snapshot.KEY_SIZE)


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

    A static, non-relocated interpreter starts about a millisecond sooner than the shared one, and can be a snapshot of
    itself (scripts/snapshot.py). The kernel extension is linked in, which saves loading it. With PYRUNTIME_LIVE set the
    launcher has no modules, and they come from the source tree (scripts/dev-link).
    """
    get = sysconfig.get_config_var
    library = Path(get("LIBPL") or "/nonexistent") / (get("LIBRARY") or "")
    is_static = library.suffix == ".a" and library.is_file()
    modules = {} if os.environ.get("PYRUNTIME_LIVE") else frozen_modules()
    write_frozen(modules)
    (ROOT / OPTIONS).write_text(launcher_options.header())
    (ROOT / LAUNCHER).parent.mkdir(parents=True, exist_ok=True)
    if modules and is_static and not SANITIZE and (3, 11) <= sys.version_info[:2] <= (3, 13):
        try:
            compile_launcher(library, with_snapshot=True)
            snapshot.take(ROOT / LAUNCHER, hash_key())
            return
        except (snapshot.Refused, subprocess.CalledProcessError, OSError) as error:
            sys.stderr.write(f"WARNING: no snapshot, every command will take 2 ms longer: {error}\n")
    compile_launcher(library if is_static else None, with_snapshot=False)


def compile_launcher(library: Path | None, *, with_snapshot: bool) -> None:
    """Compile and link; library: the static one of the interpreter, None for the shared one."""
    get = sysconfig.get_config_var
    include = sysconfig.get_path("include")
    # Names are relative, so that the folder of the build is not in what is built.
    command = [*compiler(), *FLAGS, *hardening(), *link_hardening(), f"-I{include}", f"-I{include}/internal"]
    command += [
        f'-DSTDLIB="{sysconfig.get_path("stdlib")}"',
        f'-DDYNLOAD="{get("DESTSHARED")}"',
        f'-DBASE_PREFIX="{get("prefix")}"',
        f'-DVERSION="{get("py_version_short")}"',
        f'-DSUFFIX="{get("EXT_SUFFIX")}"',
        "-Ibuild",
        *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "pyruntime/launcher").glob("*.c"))),
        *(source for source in SOURCES if source not in SECCOMP),
        *sanitizer_defaults(),
        "-o",
        LAUNCHER,
    ]
    if library is not None:
        command += ["-no-pie", str(library), "-Wl,-E"]
        if with_snapshot:
            if sys.version_info[:2] == (3, 11):
                command += ["-DWITHOUT_DEEPFREEZE", "-Wl,--wrap=_Py_Deepfreeze_Init"]
            command += ["-DWITH_SNAPSHOT", *(f"-Wl,--wrap={name}" for name in WRAPPED)]
    else:
        where = get("LIBDIR")
        command += [f"-L{where}", f"-Wl,-rpath,{where}", f"-lpython{get('LDVERSION')}"]
    command += [*libraries(f"{get('LIBS') or ''} {get('SYSLIBS') or ''} {get('MODLIBS') or ''}"), "-lm"]
    subprocess.run(command, cwd=ROOT, check=True)


def commit() -> str:
    """Return the commit that is built, or "unknown"; scripts/install builds from a copy and names it."""
    if named := os.environ.get("PYRUNTIME_COMMIT"):
        return named
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def write_commit(file: Path) -> Path:
    """Write the module that says what is built; return its file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'"""Made at build time."""\n\nCOMMIT = "{commit()}"\n')
    return file


class Build(build_py):
    """Also builds the launcher, and puts the schema beside the code that reads it."""

    def run(self) -> None:
        build_launcher()
        super().run()
        write_commit(Path(self.build_lib) / "pyruntime/_build.py")
        target = Path(self.build_lib) / "pyruntime/spec/config.schema.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "specs/config.schema.json", target)


setup(
    ext_modules=[
        Extension(
            "pyruntime.kernel._linux",
            [source for source in SOURCES if source not in SECCOMP],
            depends=[f"pyruntime/kernel/src/{name}.h" for name in ("common", "binary", "program")],
            extra_compile_args=[*FLAGS, *hardening()],
            extra_link_args=link_hardening(),
        ),
        Extension(
            "pyruntime.kernel._seccomp",
            SECCOMP,
            depends=["pyruntime/kernel/src/enosys.h"],
            libraries=["seccomp"],
            extra_compile_args=[*FLAGS, *hardening()],
            extra_link_args=link_hardening(),
        ),
    ],
    data_files=[("bin", [LAUNCHER])],
    cmdclass={"build_py": Build},
)
