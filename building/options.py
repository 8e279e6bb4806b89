"""Generates the launcher's tables of options and commands from pyruntime/options.py, at build time."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1] / "pyruntime/options.py"


def header(source: Path = SOURCE) -> str:
    """Return options.h, by which pyruntime/launcher/commandline.c parses command lines."""
    options = runpy.run_path(str(source))
    with_value: list[str] = []
    without: list[str] = []
    for name, (kind, short, _) in options["GLOBAL"].items():
        names = without if kind in (options["FLAG"], options["SWITCH"]) else with_value
        names += [name, short] if short else [name]
    outside = [name for name, command in options["COMMANDS"].items() if not command.enters]
    tables: dict[str, Any] = {
        "options_with_value": with_value,
        "options_without_value": without,
        "commands_outside": outside,
    }
    lines = ["/* Generated from pyruntime/options.py by building/options.py. */"]
    for table, words in tables.items():
        quoted = "".join(f'"{word}", ' for word in sorted(words))
        lines.append(f"static const char *const {table}[] = {{{quoted}NULL}};")
    return "\n".join(lines) + "\n"
