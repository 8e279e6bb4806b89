"""How the project's C code is compiled and linked: warnings, hardening and, on request, sanitizers."""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

from . import ROOT

FLAGS = [
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type", f"-ffile-prefix-map={ROOT}=.",
    "-Werror=implicit-function-declaration",  # the default since GCC 14
]  # fmt: skip
HARDENING = (
    ["-fstack-protector-strong"],
    ["-fstack-clash-protection"],
    ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"],
    ["-fcf-protection=full"],
    ["-mbranch-protection=standard"],
)
"""Flags that make a bug in C harder to exploit; each group is used if the compiler supports it on this machine."""
LINK_HARDENING = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
SANITIZE = os.environ.get("PYRUNTIME_SANITIZE")
"""Sanitizers to build with, such as address,undefined (scripts/sanitize); no snapshot is made then."""
SANITIZER_OPTIONS = os.environ.get("PYRUNTIME_SANITIZER_OPTIONS", "")
"""Options compiled into a launcher with sanitizers, because tests replace the environment of the command under test."""


def compiler() -> list[str]:
    """Return the command of the C compiler that the interpreter was built with."""
    return shlex.split(sysconfig.get_config_var("CC").split()[0])


def accepts(flags: list[str]) -> bool:
    """Return whether the compiler accepts these flags without a warning."""
    command = [*compiler(), "-Werror", "-O2", *flags, "-x", "c", "-", "-c", "-o", os.devnull]
    program = "#include <stdio.h>\nint main(void) { return getchar(); }\n"
    return subprocess.run(command, input=program, text=True, capture_output=True, check=False).returncode == 0


def hardening() -> list[str]:
    """Return the flags for compiling the project's C code in addition to FLAGS."""
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
    """Return the flags for linking the project's C code."""
    return [f"-fsanitize={SANITIZE}"] if SANITIZE else LINK_HARDENING


def sanitizer_defaults() -> list[str]:
    """Write the source file with the options of the sanitizers, if there are any; return a list with its name."""
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
    """Return the linker options of a line, preferring static versions of libraries that every start would load.

    line: from Python's Makefile, where Debian's 3.14 also has words that consist only of spaces.
    """
    options = []
    for option in filter(str.strip, shlex.split(line)):
        name = f"lib{option.removeprefix('-l')}.a"
        folder = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")
        options.append(f"-l:{name}" if option in ("-lz", "-lexpat") and (folder / name).is_file() else option)
    return options
