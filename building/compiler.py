"""How own C code is compiled and linked: warnings, hardening and, on request, sanitizers."""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

from . import ROOT

FLAGS = [
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type", f"-ffile-prefix-map={ROOT}=.",
    "-Werror=implicit-function-declaration",  # as compilers since GCC 14 have it by themselves
]  # fmt: skip
HARDENING = (
    ["-fstack-protector-strong"],
    ["-fstack-clash-protection"],
    ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"],
    ["-fcf-protection=full"],
    ["-mbranch-protection=standard"],
)
"""What makes a bug in C harder to exploit; each is used where the compiler supports it on this machine."""
LINK_HARDENING = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
SANITIZE = os.environ.get("PYRUNTIME_SANITIZE")
"""Sanitizers to build with, such as address,undefined (scripts/sanitize); there is no snapshot then."""
SANITIZER_OPTIONS = os.environ.get("PYRUNTIME_SANITIZER_OPTIONS", "")
"""Compiled into a launcher with sanitizers: tests choose the environment of the command under test."""


def compiler() -> list[str]:
    """Return the command of the C compiler that the interpreter was built with."""
    return shlex.split(sysconfig.get_config_var("CC").split()[0])


def accepts(flags: list[str]) -> bool:
    """Return whether the compiler takes these flags without a warning."""
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


def link_hardening() -> list[str]:
    """Return the flags that own C code is linked with."""
    return [f"-fsanitize={SANITIZE}"] if SANITIZE else LINK_HARDENING


def sanitizer_defaults() -> list[str]:
    """Write the source file that gives a launcher with sanitizers their options; return its name, if any."""
    if not SANITIZE:
        return []
    file = ROOT / "build/sanitizer_defaults.c"
    names = ("__asan_default_options", "__ubsan_default_options")
    lines = [
        f'const char *{name}(void);\nconst char *{name}(void) {{ return "{SANITIZER_OPTIONS}"; }}\n' for name in names
    ]
    file.write_text("".join(lines))
    return [str(file.relative_to(ROOT))]


def libraries(line: str) -> list[str]:
    """Return linker options, with the static form of libraries that every start would load, where there is one.

    line: of Python's Makefile, in which Debian's 3.14 also has words of nothing but spaces.
    """
    options = []
    for option in filter(str.strip, shlex.split(line)):
        name = f"lib{option.removeprefix('-l')}.a"
        folder = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")
        options.append(f"-l:{name}" if option in ("-lz", "-lexpat") and (folder / name).is_file() else option)
    return options
