"""What the launcher's interpreter does with an import, its core only being there; the launcher itself is played."""

import subprocess
import sys
from pathlib import Path

import pyruntime

PROGRAM = """
import sys, types
sys.path.append({folder!r})
import _imp
launcher = types.ModuleType("_pyruntime")
launcher.is_complete = lambda: False
launcher.is_making_snapshot = lambda: False
launcher.packages = lambda: {folder!r}
launcher.extension = lambda name: asked.append(name)
launcher.complete = lambda: said.append("completed")
asked, said = [], []
sys.modules["_pyruntime"] = launcher
from pyruntime import bootstrap
from pyruntime.engine import init
bootstrap.prepare()
sys.stdout = sys.__stdout__
{code}
print(asked, said)
"""


def run(code: str) -> str:
    program = PROGRAM.format(folder=str(Path(pyruntime.__file__).parents[1]), code=code)
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout


def test_what_is_not_in_the_launcher_completes_the_interpreter() -> None:
    assert run("try: import colorsys\nexcept ImportError: pass") == "['colorsys'] ['completed']\n"


def test_sealed_nothing_is_looked_for() -> None:
    """Neither a module on disk, nor a built-in or an extension module, nor the rest of the interpreter."""
    code = "init.seal()\nfor name in ('colorsys', '_json', '_signal', 'encodings.idna'):\n"
    code += "    sys.modules.pop(name, None)\n    try: __import__(name)\n    except ImportError: print('none')"
    assert run(code) == "none\n" * 4 + "[] []\n"


def test_streams_take_any_text() -> None:
    code = "bootstrap.Stream(1, bootstrap.text.encode).write('a\\udcff\\n')\n"
    code += "bootstrap.Stream(1, bootstrap.text.encode_shown).write('\\udcff\\ud800\\n')"
    program = PROGRAM.format(folder=str(Path(pyruntime.__file__).parents[1]), code=code)
    said = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True).stdout
    assert said == b"a\xff\n\\xff\\ud800\n[] []\n"
