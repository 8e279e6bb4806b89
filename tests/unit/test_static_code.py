"""Code objects as C data: an extension built from them runs as the source does."""

import importlib.util
import marshal
import subprocess
import sys
import sysconfig
import traceback
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
LAYOUT = (3, 11)
"""The version of CPython whose objects are written."""

SOURCE = '''
from __future__ import annotations
import errno
NUMBERS = (0, -5, -6, 256, 257, -1, 1 << 30, -(1 << 64), (1 << 90) + 7, 0.0, -0.0, 1e300, float("inf"))
TEXTS = ("", "a", "ab", "\\0\\"\\\\?", "\\xe9t\\xe9", "\\u20ac", "x" * 300, b"", b"\\0\\xff\\"", None, True, False, ...)
TUPLES = ((), (1,), ("NUMBERS", ("TEXTS", (b"x",))))
appended = []
appended.append(TEXTS[1])

def is_vowel(letter, *, strict=False):
    return letter in {"a", "e", "i", "o", "u"} if not strict else letter in {"e", "a"}

def outer(first, /, second=2, *rest, third, **more):
    count = 0
    def inner(step):
        nonlocal count
        count += step + second
        return [first + count for _ in rest]
    return inner(third), count, sorted(more)

def generate(limit):
    try:
        for number in range(limit):
            yield number
    finally:
        appended.append("closed")

class Shape:
    """Text."""
    __slots__ = ("side", "_name")
    def __init__(self, side):
        self.side = side
        self.__hidden()
    def __hidden(self):
        self._name = f"{self.side!r:>5}"
    @property
    def area(self):
        return self.side ** 2

def fail(path):
    try:
        return {}[path]
    except KeyError as error:
        raise OSError(errno.ENOENT, path) from error
'''
CALLS = (
    "NUMBERS, TEXTS, TUPLES, appended",
    "[is_vowel(letter, strict=strict) for letter in 'abe' for strict in (False, True)]",
    "outer(1, 2, 3, third=4, b=1, a=2)",
    "list(generate(3)), appended",
    "Shape(3).area, Shape(4)._name, Shape.__slots__",
)


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    path = REPO / "scripts/static_code.py"
    spec = importlib.util.spec_from_file_location("static_code", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(writer: Any, folder: Path, *codes: CodeType) -> Any:
    """Return an extension module whose code(number) gives these code objects, out of data."""
    text = writer.Writer()
    functions = ", ".join(text.module(code) for code in codes)
    source = folder / "holder.c"
    source.write_text(
        "#include <Python.h>\n"
        + "\n".join(text.lines)
        + f"\nstatic PyObject *(*const all[])(void) = {{{functions}}};\n"
        "static PyObject *code(PyObject *self, PyObject *number)\n"
        "{ (void)self; return all[PyLong_AsLong(number)](); }\n"
        'static PyMethodDef methods[] = {{"code", code, METH_O, NULL}, {NULL, NULL, 0, NULL}};\n'
        "static struct PyModuleDef module =\n"
        '{PyModuleDef_HEAD_INIT, "holder", NULL, -1, methods, NULL, NULL, NULL, NULL};\n'
        "PyMODINIT_FUNC PyInit_holder(void) { return PyModule_Create(&module); }\n"
    )
    include = sysconfig.get_path("include")
    library = folder / "holder.so"
    command = ["cc", "-shared", "-fPIC", f"-I{include}", f"-I{include}/internal", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location("holder", library)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def parts(code: CodeType) -> list[tuple[object, ...]]:
    """Return all that a code object says, and those within it; equality of code objects leaves some of it out."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    own = (
        repr([each for each in code.co_consts if not isinstance(each, CodeType | frozenset)]),
        [each for each in code.co_consts if isinstance(each, frozenset)],
        *(
            getattr(code, name)
            for name in dir(code)
            if name.startswith("co_") and name not in ("co_consts", "co_lines") and not callable(getattr(code, name))
        ),
        list(code.co_lines()),
        list(code.co_positions()),
    )
    return [own, *(part for each in inner for part in parts(each))]


def run(code: CodeType) -> list[object]:
    names: dict[str, Any] = {"__name__": "sample"}
    exec(code, names)
    results: list[object] = [repr(eval(call, names)) for call in CALLS]
    with pytest.raises(FileNotFoundError) as caught:
        names["fail"]("x")
    results.append([(frame.name, frame.lineno) for frame in traceback.extract_tb(caught.value.__traceback__)][1:])
    return results


needs_layout = pytest.mark.skipif(sys.version_info[:2] != LAYOUT, reason="setup.py marshals for this version")


@needs_layout
def test_data_is_the_code(writer: Any, tmp_path: Path) -> None:
    sample = compile(SOURCE, "sample.py", "exec", dont_inherit=True)
    other = compile("def closed(ab):\n    return ab.append, 'ab'", "other.py", "exec", dont_inherit=True)
    holder = build(writer, tmp_path, sample, other)
    assert parts(holder.code(0)) == parts(sample)
    assert parts(holder.code(1)) == parts(other)
    # Often enough that the interpreter has made its own faster instructions of it.
    assert [run(holder.code(0)) for _ in range(20)] == [run(sample) for _ in range(20)]
    assert marshal.loads(marshal.dumps(holder.code(0))) == sample


@needs_layout
def test_names_are_the_interpreters(writer: Any, tmp_path: Path) -> None:
    """What it looks up, it looks up by identity first: a name that is another object makes everything slower."""
    code = compile("x.append", "names.py", "exec", dont_inherit=True)
    found = build(writer, tmp_path, code).code(0).co_names
    assert [name is sys.intern(str(name.encode(), "ascii")) for name in found] == [True, True]


def test_what_cant_be_data_is_refused_whole(writer: Any) -> None:
    text = writer.Writer()
    text.module(compile("known = 'kept'", "a.py", "exec"))
    before = list(text.lines)
    for source in ("x = 'new', 1j", "x = 'new', '\U0001f40b'"):
        with pytest.raises(writer.Unsupported):
            text.module(compile(source, "b.py", "exec"))
        assert text.lines == before
    text.module(compile("x = 'new'", "c.py", "exec"))
    assert any('"new"' in line for line in text.lines[len(before) :])
