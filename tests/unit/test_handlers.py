"""What deals with coding errors in an interpreter that has its core only (pyruntime/launcher/handlers.c): no import."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import pyruntime

PREFIX = Path(pyruntime.__file__).parents[4]
REPO = next(path for path in (PREFIX / "tree", Path(__file__).resolve().parents[2]) if path.is_dir())
"""The sources: those of the copy without a defence (support/defences/mutant.py), where this is about one."""
LAUNCHER = REPO / "pyruntime/launcher"

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="such a Python can't be set up to its core only (docs/launcher.md)"
)


PROGRAM = r"""
#include <Python.h>
#include <stdio.h>
#include <stdlib.h>
#include "launcher.h"

void die(const char *what)
{
	perror(what);
	exit(3);
}

int main(int argc, char **argv)
{
	PyPreConfig before;
	PyPreConfig_InitIsolatedConfig(&before);
	before.utf8_mode = 1;
	Py_PreInitialize(&before);
	PyConfig config;
	PyConfig_InitIsolatedConfig(&config);
	config._init_main = 0;
	config.site_import = 0;
	PyConfig_SetBytesString(&config, &config.program_name, argv[1]);
	PyStatus status = Py_InitializeFromConfig(&config);
	if (PyStatus_Exception(status))
		Py_ExitStatusException(status);
	if (argc > 3)
		set_error_handlers();
	PyObject *names = PyDict_New();
	PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
	if (PyRun_String(argv[2], Py_file_input, names, names) == NULL)
		printf("%s\n", ((PyTypeObject *)PyErr_Occurred())->tp_name);
	if (argc > 4) {
		PyErr_Clear();
		forget_error_handlers();
		status = _Py_InitializeMain();
		printf("%s\n", PyStatus_Exception(status) ? status.err_msg : "complete");
		fflush(stdout);
		PyRun_String("print('\xe2\x82\xac'.encode('cp1252'), flush=True)", Py_file_input, names, names);
	}
	fflush(stdout);
	_exit(0);
}
"""

CODE = r"""
import sys, posix
def say(*words):
    posix.write(1, (" ".join(map(str, words)) + "\n").encode("ascii", "backslashreplace"))
before = set(sys.modules)
bad = b"a\xff\xe2\x82b"
for errors in ("strict", "ignore", "replace", "backslashreplace", "surrogateescape", "no such handler"):
    for convert in (lambda: ascii(bad.decode("utf-8", errors)), lambda: "\ud800\udcff".encode("utf-8", errors),
                    lambda: ascii(bad.decode("ascii", errors)), lambda: "\ud800".encode("latin-1", errors)):
        try:
            said = convert()
        except Exception as error:
            said = type(error).__name__
        say(errors, said)
try:
    bad.decode("cp1252")
except LookupError as error:
    say(error)
say("imported", set(sys.modules) - before)
"""

SAID = r"""
strict UnicodeDecodeError
strict UnicodeEncodeError
strict UnicodeDecodeError
strict UnicodeEncodeError
ignore 'ab'
ignore b''
ignore 'ab'
ignore b''
replace 'a\ufffd\ufffdb'
replace b'??'
replace 'a\ufffd\ufffd\ufffdb'
replace b'?'
backslashreplace 'a\\xff\\xe2\\x82b'
backslashreplace b'\\ud800\\udcff'
backslashreplace 'a\\xff\\xe2\\x82b'
backslashreplace b'\\ud800'
surrogateescape 'a\udcff\udce2\udc82b'
surrogateescape UnicodeEncodeError
surrogateescape 'a\udcff\udce2\udc82b'
surrogateescape UnicodeEncodeError
no such handler LookupError
no such handler LookupError
no such handler LookupError
no such handler LookupError
no codec search functions registered: can't find encoding
imported set()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    (folder / "main.c").write_text(PROGRAM)
    get, include = sysconfig.get_config_var, sysconfig.get_path("include")
    command = ["cc", "-Wall", f"-I{include}", f"-I{include}/internal", f"-I{LAUNCHER}", str(folder / "main.c")]
    command += [str(LAUNCHER / "handlers.c"), "-o", str(folder / "core"), f"-L{get('LIBDIR')}"]
    command += [f"-Wl,-rpath,{get('LIBDIR')}", f"-lpython{get('LDVERSION')}"]
    subprocess.run(command, check=True)
    return folder / "core"


def run(program: Path, code: str, *more: str) -> subprocess.CompletedProcess[str]:
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return subprocess.run([program, base, code, *more], capture_output=True, text=True, check=False)


def test_a_coding_error_imports_nothing(program: Path) -> None:
    said = run(program, CODE, "with")
    assert (said.stdout, said.stderr) == (SAID[1:], "")


def test_without_them_it_does(program: Path) -> None:
    assert run(program, CODE).stdout != SAID[1:]


def test_a_completed_interpreter_has_all_codecs(program: Path) -> None:
    said = run(program, CODE, "with", "complete")
    assert said.stdout == SAID[1:] + "complete\nb'\\x80'\n", said.stderr
