"""The texts of --help and --version, made from the tables of the command line."""

from __future__ import annotations

from .. import SPEC_VERSION, __version__
from ..options import COMMANDS, FLAG, GLOBAL, SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import Table


def version() -> str:
    """Return the version text; engines parse its first line, `pyruntime version X`."""
    from .features import libseccomp_version

    libseccomp = libseccomp_version()
    last = f"libseccomp: {libseccomp}\n" if libseccomp else ""
    return f"pyruntime version {__version__}\ncommit: {commit()}\nspec: {SPEC_VERSION}\n{last}"


def commit() -> str:
    """Return the commit of the build; a source tree has none."""
    try:
        from .._build import COMMIT  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return "unknown"
    return str(COMMIT)


def overview() -> str:
    """Return the help of the whole command."""
    commands = "".join(f"  {name:11} {command.what}\n" for name, command in COMMANDS.items())
    return (
        "pyruntime: an OCI container runtime\n\n"
        "usage: pyruntime [global options] COMMAND [options] [arguments]\n\n"
        f"commands:\n{commands}\nglobal options:\n{option_lines(GLOBAL)}\n"
        "pyruntime COMMAND --help shows the options of a command.\n"
    )


def help_of(name: str) -> str:
    """Return the help of one command."""
    command = COMMANDS[name]
    return (
        f"pyruntime {name}: {command.what}\n\nusage: pyruntime {name} [options] {command.usage}\n\n"
        f"options:\n{option_lines(command.options)}"
    )


def option_lines(table: Table) -> str:
    lines = []
    for name, (kind, short, text) in table.items():
        left = f"--{name}" + ("" if kind in (FLAG, SWITCH) else " VALUE") + (f", -{short}" if short else "")
        lines.append(f"  {left:28} {text}\n")
    return "".join(lines)
