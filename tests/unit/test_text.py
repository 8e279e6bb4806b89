"""Bytes and text: conversions that need no codec, and nothing else anywhere."""

import ast
import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest

import pyruntime
from pyruntime import text

ROOT = Path(pyruntime.__file__).parent
SOURCES = sorted(path for path in ROOT.rglob("*.py") if path.name != "_build.py")

# What a conversion is given here has every byte, every cut of a character, surrogates in UTF-8, and much beside.
SAMPLES = [
    *(bytes((byte,)) for byte in range(256)),
    *("a\u20ac\U0001f600".encode()[:size] for size in range(9)),
    b"\xed\xa0\x80\xed\xb2\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    *(random.Random(seed).randbytes(64) for seed in range(200)),
]


class TestConversions:
    @pytest.mark.parametrize("data", SAMPLES, ids=range(len(SAMPLES)))
    def test_what_travels_arrives(self, data: bytes) -> None:
        assert text.encode(text.decode(data)) == data
        assert text.is_raw(text.decode(data)) is not is_utf8(data)

    @pytest.mark.parametrize("data", SAMPLES, ids=range(len(SAMPLES)))
    def test_what_is_shown_is_text(self, data: bytes) -> None:
        assert text.show(data) == data.decode(errors="backslashreplace")
        assert text.encode_shown(text.decode(data)).decode() == text.show(data)

    def test_any_text_can_be_shown(self) -> None:
        assert text.encode_shown("\ud800\udcff\u20ac") == b"\\ud800\\xff\xe2\x82\xac"

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("plain", "'plain'"),
            ("a\udcffb", r"'a\xffb'"),
            ("\\udcff", r"'\\udcff'"),
            ("\\\udc80\n", r"'\\\x80\n'"),
            ("\udc7f\udcc3", r"'\udc7f\xc3'"),
            ("it's \udcff", r'''"it's \xff"'''),
            (["\udcff", b"\xff\\udcff"], r"['\xff', b'\xff\\udcff']"),
            ("\\udc", r"'\\udc'"),
        ],
    )
    def test_quoted(self, value: object, said: str) -> None:
        assert text.quoted(value) == said


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


FORBIDDEN = ("decode", "encode", "fsdecode", "fsencode", "read_text", "write_text")
WITH_ENCODING = {"str": 2, "bytes": 2, "bytearray": 2, "open": 1, "print": 1}
"""Functions that make text or bytes with so many arguments."""
ALLOWED = {
    "text.py": {"decode", "encode", "str"},  # here they stand, and nowhere else
    "spec/schema.py": {
        "read_text"
    },  # the schema that explains a mistake: found on disk, read by a complete interpreter
}


def conversions(source: str) -> list[tuple[int, str]]:
    """Return the line and the name of whatever converts bytes or text, or writes a text that is not fit to be shown."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name, keywords = called(node), {keyword.arg for keyword in node.keywords}
            if isinstance(node.func, ast.Attribute) and name in FORBIDDEN:
                found.append((node.lineno, name))
            elif isinstance(node.func, ast.Name) and name in WITH_ENCODING:
                if len(node.args) >= WITH_ENCODING[name] or keywords & {"encoding", "errors"}:
                    found.append((node.lineno, name))
            elif keywords & {"encoding", "errors", "universal_newlines"} or ("text" in keywords and name == "run"):
                found.append((node.lineno, name))
        elif isinstance(node, ast.FormattedValue) and node.conversion == ord("r"):
            found.append((node.lineno, "!r"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and has_surrogates(node.value):
            found.append((node.lineno, "surrogate"))  # the launcher would need a codec to load the module
    return found


def has_surrogates(value: str) -> bool:
    return any(0xD800 <= ord(character) <= 0xDFFF for character in value)


def called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


FROM_THE_CONFIG = ("plan/", "spec/", "container/dbus_wire.py", "container/systemd.py", "container/record.py")
"""Where `!r` shows what is UTF-8, having been read from JSON, or what is the program's own."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_else_converts(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    allowed = ALLOWED.get(name, set()) | (
        {"!r"} if name.startswith((*FROM_THE_CONFIG, "kernel/operations.py")) else set()
    )
    assert [place for place in conversions(path.read_text()) if place[1] not in allowed] == []


BAD = (
    "data.decode()",
    "data.decode('utf-8', 'surrogateescape')",
    "text.encode()",
    "str(data, 'utf-8')",
    "str(data, encoding='utf-8')",
    "bytes(text, 'utf-8')",
    "bytearray(text, 'utf-8')",
    "os.fsdecode(data)",
    "open('/etc/passwd')",
    "Path('x').read_text()",
    "print(data, errors='strict')",
    "subprocess.run(['ps'], text=True)",
    "f'{data!r}'",
    r"'\udcff'",
)


@pytest.mark.parametrize("source", BAD)
def test_the_test_sees_it(source: str) -> None:
    assert len(conversions(source)) == 1


C_SOURCES = sorted(path for path in (Path(__file__).parents[2] / "pyruntime").rglob("*.c"))
C_FORBIDDEN = (
    "PyErr_Print",
    "PyErr_WriteUnraisable",
    "PyUnicode_FromStringAndSize",
    "PyUnicode_Decode(",
    "_DecodeLocale",
)


@pytest.mark.parametrize("path", C_SOURCES, ids=lambda path: path.name)
def test_nothing_in_c(path: Path) -> None:
    """Decoding in C has the handler that needs no look-up, and nobody prints Python's traceback of several lines."""
    source = path.read_text()
    if path.name == "interpreter.c":  # what only the build can run into
        source = source.replace("\t\tPyErr_Print();\n\t\texit(1);", "")
    found = [word for word in C_FORBIDDEN if word in source.replace("Py_DecodeLocale", "")]
    strict = [
        line for line in source.splitlines() if "PyUnicode_DecodeUTF8(" in line and '"surrogateescape"' not in line
    ]
    assert found == []
    assert [line for line in strict if "shown" not in line] == []


SEALED = """
import sys, _codecs
sys.path[:0] = [{folder!r}]
import pyruntime.text as text
from pyruntime import errors, step, log
import pyruntime.engine.channel, pyruntime.engine.hooks, pyruntime.spec.jsontext as jsontext
jsontext.dumps([])
asked = []
_codecs.lookup = _codecs.lookup_error = None
for name in ("strict", "ignore", "replace", "backslashreplace", "surrogateescape"):
    _codecs.register_error(name, lambda error: asked.append(error) or ("", error.end))
for data in {samples!r}:
    text.encode(text.decode(data)); text.show(data)
    text.encode_shown(text.decode(data)); text.quoted(text.decode(data))
    errors.one_line(text.decode(data)); step.quote(text.decode(data)); log.quote(text.decode(data))
    try:
        jsontext.loads(data, "x")
    except errors.InvalidConfig:
        pass
print(asked)
"""


def test_no_error_handler_is_asked() -> None:
    """Whoever asks for a handler has the registry of codecs made, which imports."""
    folder = str(ROOT.parent)
    code = SEALED.format(folder=folder, samples=SAMPLES)
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_the_test_sees_a_handler_that_is_asked() -> None:
    code = (
        "import _codecs; _codecs.register_error('strict', lambda e: print('asked') or ('', e.end)); b'\\xff'.decode()"
    )
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "asked\n"


def test_samples_cover_both_kinds() -> None:
    assert len(set(itertools.compress(SAMPLES, map(is_utf8, SAMPLES)))) > 100
    assert sum(not is_utf8(data) for data in SAMPLES) > 300
