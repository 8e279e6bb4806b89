"""Builds what is not Python: the kernel extension, the seccomp compiler and the launcher."""

import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SOURCES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "pyruntime/kernel/src").glob("*.c"))
SECCOMP = "pyruntime/kernel/src/seccomp.c"
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type"]
LAUNCHER = "build/bin/pyruntime"


def build_launcher() -> None:
    """Compile the launcher against the interpreter that runs this: with its static library when there is one.

    A static, non-relocated interpreter starts about a millisecond sooner than the shared one.
    """
    get = sysconfig.get_config_var
    library = Path(get("LIBPL") or "/nonexistent") / (get("LIBRARY") or "")
    command = [*shlex.split(get("CC").split()[0]), *FLAGS, f"-I{sysconfig.get_path('include')}"]
    command += [
        f'-DSTDLIB="{sysconfig.get_path("stdlib")}"',
        f'-DDYNLOAD="{get("DESTSHARED")}"',
        f'-DBASE_PREFIX="{get("prefix")}"',
        f'-DVERSION="{get("py_version_short")}"',
        str(ROOT / "pyruntime/launcher/launcher.c"),
        "-o",
        str(ROOT / LAUNCHER),
    ]
    if library.suffix == ".a" and library.is_file():
        command += ["-no-pie", str(library), "-Wl,-E"]
    else:
        where = get("LIBDIR")
        command += [f"-L{where}", f"-Wl,-rpath,{where}", f"-lpython{get('LDVERSION')}"]
    command += [*shlex.split(f"{get('LIBS') or ''} {get('SYSLIBS') or ''} {get('MODLIBS') or ''}"), "-lm"]
    (ROOT / LAUNCHER).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, check=True)


def commit() -> str:
    """Return the commit that is built, "unknown" outside a checkout."""
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
        (Path(self.build_lib) / "pyruntime/_build.py").write_text(f'"""Made at build time."""\n\nCOMMIT = "{commit()}"\n')
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
