"""The build: everything that turns the sources into an installable pyruntime, one job per file.

| file | job |
| --- | --- |
| `commit.py` | which commit is built |
| `compiler.py` | the C compiler's flags: warnings, hardening, sanitizers |
| `freeze.py` | turns the Python modules into C data |
| `options.py` | writes the launcher's tables of commands and options |
| `launcher.py` | compiles and links the command `pyruntime` |
| `snapshot.py` | makes the launcher start from a snapshot of its own memory |
| `commands.py` | the setuptools commands that call the above, and the extension modules |
| `__main__.py` | `python -m building`: the launcher alone, without setuptools |

docs/launcher.md explains how they work together. Nothing here is installed.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The source tree to build; generated files go below its build/."""
