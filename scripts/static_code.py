"""Writes code objects as C data, at build time: a start then links modules instead of unmarshalling them.

Unmarshalling took half of the time of every import: it makes each string, tuple and code object anew, one at a time.
As data of the launcher they are there when it is mapped, one object for equal strings of all modules, and only the
pages that are written to (reference counts) are copied. CPython does the same to its own start-up modules.

The layout of these objects is CPython 3.11's (Include/cpython/code.h, unicodeobject.h, longintrepr.h, the internal
headers for the singletons); setup.py marshals for any other version.
"""

from __future__ import annotations

import itertools
import opcode
import sys
from types import CodeType

HEADER = r"""
#define Py_BUILD_CORE 1
#undef _PyGC_FINALIZED
#include <internal/pycore_code.h>
#include <internal/pycore_runtime.h>

#define COUNTED(type) {.ob_refcnt = 999999999, .ob_type = &type}
#define SIZED(type, size) {.ob_base = COUNTED(type), .ob_size = (size)}
#define SINGLE(what) ((PyObject *)&_PyRuntime.global_objects.singletons.what)
#define ASCII(size) {.ob_base = COUNTED(PyUnicode_Type), .length = (size), .hash = -1, \
	.state = {.kind = PyUnicode_1BYTE_KIND, .compact = 1, .ascii = 1, .ready = 1}}
#define UNICODE(size, width) {._base = {.ob_base = COUNTED(PyUnicode_Type), .length = (size), .hash = -1, \
	.state = {.kind = (width), .compact = 1, .ascii = 0, .ready = 1}}}
#define TEXT(type, size) struct { type head; char data[size]; }
#define WIDE(size) struct { PyCompactUnicodeObject head; Py_UCS2 data[size]; }
#define BYTES(size) struct { PyVarObject head; Py_hash_t hash; char data[size]; }
#define TUPLE(size) struct { uintptr_t gc[2]; struct { PyVarObject head; PyObject *items[size]; } tuple; }
/* Kept together by how they are used, so that few pages are written to; without the padding of large objects. */
#define KEPT(section_) __attribute__((section(".data.frozen_" #section_), aligned(8)))
#define LONG(size) struct { PyVarObject head; digit digits[size]; }

/* What can't be data: a set of constants, whose order depends on the process's hashes. */
struct later { PyObject **place, *items; };

/* Make a module's code ready: names as the interpreter's own objects where it has them, so that it finds them by
 * identity; then what can't be data. */
static PyObject *ready(PyObject *code, PyTupleObject *const *names, const struct later *sets)
{
	for (; *names != NULL; names++)
		for (Py_ssize_t i = 0; i < Py_SIZE(*names); i++)
			if (!PyUnicode_CHECK_INTERNED((*names)->ob_item[i]))
				PyUnicode_InternInPlace(&(*names)->ob_item[i]);
	for (; sets->place != NULL; sets++)
		if (*sets->place == NULL && (*sets->place = PyFrozenSet_New(sets->items)) == NULL)
			return NULL;
	return Py_NewRef(code);
}
"""

LOCAL, CELL, FREE = 0x20, 0x40, 0x80
"""CO_FAST_*: what a variable of a function is (internal/pycore_code.h)."""
RESUME = opcode.opmap["RESUME"]
"""The opcode at which a function may be traced first."""
SHIFT = sys.int_info.bits_per_digit
SMALLEST, LARGEST = -5, 256
"""The numbers that the interpreter keeps (internal/pycore_global_objects.h)."""


class Unsupported(Exception):
    """A constant that can't be written; its module is marshalled."""


class Writer:
    """The C text of any number of modules; equal strings, bytes, numbers and tuples are one object."""

    def __init__(self) -> None:
        self.lines = [HEADER]
        self._known: dict[tuple[object, ...], str] = {}
        self._numbers = itertools.count()
        self._identifiers: set[str] = set()
        self._names: dict[str, None] = {}
        self._sets: list[str] = []

    def module(self, code: CodeType) -> str:
        """Write a module's code; return the name of the function that gives it to the interpreter.

        Raises Unsupported; nothing of the module is in the text then.
        """
        length, known = len(self.lines), dict(self._known)
        self._names, self._sets = {}, []
        self._note_names(code)
        try:
            written = self._code(code)
        except Unsupported:
            self._known = known
            del self.lines[length:]
            raise
        number = next(self._numbers)
        names = "".join(f"(PyTupleObject *){name}, " for name in self._names)
        sets = "".join(f"{each}, " for each in self._sets)
        self.lines += [
            f"static PyTupleObject *const names{number}[] = {{{names}NULL}};",
            f"static const struct later sets{number}[] = {{{sets}{{NULL, NULL}}}};",
            f"static PyObject *module{number}(void) {{ return ready({written}, names{number}, sets{number}); }}",
        ]
        return f"module{number}"

    def _note_names(self, code: CodeType) -> None:
        self._identifiers.update(code.co_names)
        for each in code.co_consts:
            if isinstance(each, CodeType):
                self._note_names(each)

    def _object(self, value: object) -> str:
        """Return the C expression of the pointer to a constant."""
        if value is None or isinstance(value, bool) or value is ...:
            return f"Py_{value!r}"
        if isinstance(value, CodeType):
            return self._code(value)
        if isinstance(value, tuple):
            return self._tuple(value)
        # By representation, because 0.0 is not -0.0.
        key = (type(value), repr(value))
        if key not in self._known:
            self._known[key] = self._scalar(value)
        return self._known[key]

    def _scalar(self, value: object) -> str:
        if isinstance(value, str):
            return self._str(value)
        if isinstance(value, bytes):
            return self._bytes(value)
        if isinstance(value, int):
            return self._int(value)
        if isinstance(value, float):
            return self._define("number", "PyFloatObject", f"COUNTED(PyFloat_Type), {value.hex()}")
        raise Unsupported(repr(value))

    def _define(self, section: str, kind: str, fields: str) -> str:
        """Write one object; return the pointer to it."""
        name = f"{section}{next(self._numbers)}"
        self.lines.append(f"static {kind} {name} KEPT({section}) = {{{fields}}};")
        return f"(PyObject *)&{name}"

    def _str(self, value: str) -> str:
        section = "name" if value in self._identifiers else "text"
        if len(value) == 1 and value.isascii():
            return f"SINGLE(strings.ascii[{ord(value)}])"
        if value.isascii():
            fields = f"ASCII({len(value)}), {quoted(value.encode())}"
            return self._define(section, f"TEXT(PyASCIIObject, {len(value) + 1})", fields)
        if max(value) < "\u0100":
            fields = f"UNICODE({len(value)}, PyUnicode_1BYTE_KIND), {quoted(value.encode('latin-1'))}"
            return self._define(section, f"TEXT(PyCompactUnicodeObject, {len(value) + 1})", fields)
        if max(value) < "\U00010000":
            fields = f"UNICODE({len(value)}, PyUnicode_2BYTE_KIND), {{{', '.join(str(ord(each)) for each in value)}}}"
            return self._define(section, f"WIDE({len(value) + 1})", fields)
        raise Unsupported(repr(value))

    def _bytes(self, value: bytes) -> str:
        if not value:
            return "SINGLE(bytes_empty)"
        fields = f"SIZED(PyBytes_Type, {len(value)}), -1, {quoted(value)}"
        return self._define("bytes", f"BYTES({len(value) + 1})", fields)

    def _int(self, value: int) -> str:
        if SMALLEST <= value <= LARGEST:
            return f"SINGLE(small_ints[_PY_NSMALLNEGINTS + {value}])"
        left, digits = abs(value), []
        while left:
            digits.append(left & ((1 << SHIFT) - 1))
            left >>= SHIFT
        size = len(digits) if value > 0 else -len(digits)
        fields = f"SIZED(PyLong_Type, {size}), {{{', '.join(map(str, digits))}}}"
        return self._define("number", f"LONG({len(digits)})", fields)

    def _tuple(self, value: tuple[object, ...], section: str = "tuple") -> str:
        if not value:
            return "SINGLE(tuple_empty)"
        sets = [(i, self._tuple(tuple(each))) for i, each in enumerate(value) if isinstance(each, frozenset)]
        items = ["NULL" if isinstance(each, frozenset) else self._object(each) for each in value]
        # A tuple with a set in it is its own: the set is put there later.
        key = (tuple, *items, *sets)
        if key not in self._known:
            fields = f"{{0, 0}}, {{SIZED(PyTuple_Type, {len(items)}), {{{', '.join(items)}}}}}"
            whole = self._define(section, f"TUPLE({len(items)})", fields)
            self._known[key] = f"{whole}.tuple"
        name = self._known[key].removeprefix("(PyObject *)&")
        self._sets += [f"{{&{name}.items[{i}], {items_of}}}" for i, items_of in sets]
        return self._known[key]

    def _code(self, code: CodeType) -> str:
        kinds: dict[str, int] = {}
        for bit, variables in ((LOCAL, code.co_varnames), (CELL, code.co_cellvars), (FREE, code.co_freevars)):
            for name in variables:
                kinds[name] = kinds.get(name, 0) | bit
        names = self._tuple(code.co_names, "names")
        if code.co_names:
            self._names[names] = None
        instructions = code.co_code
        fields = {
            "co_consts": self._tuple(code.co_consts),
            "co_names": names,
            "co_exceptiontable": self._object(code.co_exceptiontable),
            "co_flags": code.co_flags,
            "co_warmup": "QUICKENING_INITIAL_WARMUP_VALUE",
            "co_argcount": code.co_argcount,
            "co_posonlyargcount": code.co_posonlyargcount,
            "co_kwonlyargcount": code.co_kwonlyargcount,
            "co_stacksize": code.co_stacksize,
            "co_firstlineno": code.co_firstlineno,
            "co_nlocalsplus": len(kinds),
            "co_nlocals": code.co_nlocals,
            "co_nplaincellvars": sum(kind == CELL for kind in kinds.values()),
            "co_ncellvars": len(code.co_cellvars),
            "co_nfreevars": len(code.co_freevars),
            "co_localsplusnames": self._tuple(tuple(kinds)),
            "co_localspluskinds": self._object(bytes(kinds.values())),
            "co_filename": self._object(code.co_filename),
            "co_name": self._object(code.co_name),
            "co_qualname": self._object(code.co_qualname),
            "co_linetable": self._object(code.co_linetable),
            "_co_firsttraceable": instructions[::2].index(RESUME),
            "co_code_adaptive": quoted(instructions),
        }
        head = f".ob_base = SIZED(PyCode_Type, {len(instructions) // 2})"
        text = ", ".join([head, *(f".{name} = {value}" for name, value in fields.items())])
        return self._define("code", f"struct _PyCode_DEF({len(instructions)})", text)


def quoted(data: bytes) -> str:
    """Return bytes as a C string."""
    plain = frozenset(b" !#$%&'()*+,-./0123456789:;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in data) + '"'
