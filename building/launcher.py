"""Compiles and links the launcher, the native command `pyruntime` with an embedded interpreter."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from . import ROOT, compiler, freeze, options, snapshot

LAUNCHER = "build/bin/pyruntime"
KERNEL_SOURCES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pyruntime/kernel/src").glob("*.c"))
SECCOMP_SOURCES = ["pyruntime/kernel/src/enosys.c", "pyruntime/kernel/src/seccomp.c"]
"""Sources of a separate extension module that needs libseccomp: only commands that compile a profile load it."""
SNAPSHOT_PYTHONS = ((3, 11), (3, 13))
"""The first and last version of CPython that snapshot.c and interpreter.c support (docs/launcher.md)."""
WRAPPED = ("malloc", "calloc", "realloc", "free", "_Py_HashRandomization_Init")
"""Functions that snapshot.c replaces."""


def build() -> None:
    """Write LAUNCHER, built against the interpreter that runs this, with its static library if there is one.

    A static, non-relocated interpreter starts about a millisecond faster than the shared one, and can become a
    snapshot. The kernel extension is linked in, which saves loading it. With PYRUNTIME_LIVE set, the launcher has no
    modules, and imports them from the source tree (scripts/dev-link). When no snapshot can be made, a warning says why.
    Raises CalledProcessError when the compiler fails.
    """
    key = snapshot.hash_key()
    library = static_library()
    modules = {} if os.environ.get("PYRUNTIME_LIVE") else freeze.modules()
    (ROOT / LAUNCHER).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / "build/frozen.h").write_text(freeze.header(modules))
    (ROOT / "build/options.h").write_text(options.header())
    if modules and not compiler.SANITIZE:
        try:
            if library is None:
                raise snapshot.Refused("Python's static library is missing or incomplete (libpython3-dev of Debian)")
            if not SNAPSHOT_PYTHONS[0] <= sys.version_info[:2] <= SNAPSHOT_PYTHONS[1]:
                raise snapshot.Refused(f"not known how to make one with Python {sysconfig.get_python_version()}")
            compile_and_link(library, with_snapshot=True)
            snapshot.take(ROOT / LAUNCHER, key)
            return
        except (snapshot.Refused, subprocess.CalledProcessError, OSError) as error:
            sys.stderr.write(f"WARNING: no snapshot, every command will take 2 ms longer: {error}\n")
    compile_and_link(library, with_snapshot=False)


def static_library() -> Path | None:
    """Return the interpreter's static library; None if it is not installed or incomplete (Debian's of 3.14)."""
    get = sysconfig.get_config_var
    library = Path(get("LIBPL") or "/nonexistent") / (get("LIBRARY") or "")
    if library.suffix != ".a" or not library.is_file():
        return None
    program = "int Py_BytesMain(int, char **);\nint main(int argc, char **argv) { return Py_BytesMain(argc, argv); }\n"
    command = [*compiler.compiler(), "-no-pie", "-x", "c", "-", "-x", "none", "-o", os.devnull]
    command += [str(library), *needed_libraries()]
    done = subprocess.run(command, input=program, text=True, capture_output=True, check=False)
    return library if done.returncode == 0 else None


def needed_libraries() -> list[str]:
    """Return linker options for the libraries that the interpreter's static library needs."""
    get = sysconfig.get_config_var
    return [*compiler.libraries(f"{get('LIBS') or ''} {get('SYSLIBS') or ''} {get('MODLIBS') or ''}"), "-lm"]


def compile_and_link(library: Path | None, *, with_snapshot: bool) -> None:
    """Build LAUNCHER. library: the interpreter's static library; None for the shared one."""
    get = sysconfig.get_config_var
    # File names are relative, so that the build directory does not get into the output.
    command = [*compiler.compiler(), *compiler.FLAGS, *compiler.hardening(), *compiler.link_hardening()]
    command += [*definitions(), *sources(), "-o", LAUNCHER]
    if library is not None:
        command += ["-no-pie", str(library), "-Wl,-E"]
        if with_snapshot:
            if sys.version_info[:2] == (3, 11):
                command += ["-DWITHOUT_DEEPFREEZE", "-Wl,--wrap=_Py_Deepfreeze_Init"]
            command += ["-DWITH_SNAPSHOT", *(f"-Wl,--wrap={name}" for name in WRAPPED)]
    else:
        where = get("LIBDIR")
        command += [f"-L{where}", f"-Wl,-rpath,{where}", f"-lpython{get('LDVERSION')}"]
    command += needed_libraries()
    subprocess.run(command, cwd=ROOT, check=True)


def definitions() -> list[str]:
    """Return options for the include directories, and for the paths of this Python that are compiled in."""
    get = sysconfig.get_config_var
    include = sysconfig.get_path("include")
    return [
        f"-I{include}",
        f"-I{include}/internal",
        f'-DSTDLIB="{sysconfig.get_path("stdlib")}"',
        f'-DDYNLOAD="{get("DESTSHARED")}"',
        f'-DBASE_PREFIX="{sys.base_prefix}"',  # since Python 3.14 the variable prefix is the venv's
        f'-DVERSION="{get("py_version_short")}"',
        f'-DSUFFIX="{get("EXT_SUFFIX")}"',
        "-Ibuild",
    ]


def sources() -> list[str]:
    """Return the C files of the launcher, including those of the kernel extension, which is linked in."""
    return [
        *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "pyruntime/launcher").glob("*.c"))),
        *(source for source in KERNEL_SOURCES if source not in SECCOMP_SOURCES),
        *compiler.sanitizer_defaults(),
    ]
