/*
 * Error handlers for bytes that don't fit their encoding, while the interpreter has no codecs.
 *
 * Python's registry of codecs also holds the error handlers (strict, replace, ...). Its first use creates it, which
 * imports `encodings`: in the middle of a decoding, with an incomplete interpreter, or inside a container whose files
 * can't be trusted. A snapshot therefore has a registry with these handlers and no codecs: a decoding error raises an
 * exception, as it should, and codecs that are not built into Python are not found.
 */
#define Py_BUILD_CORE 1
#include <Python.h>

#undef _PyGC_FINALIZED
#include <internal/pycore_interp.h>

#include "launcher.h"

#if PY_VERSION_HEX < 0x030d0000
#define CODECS(name) interpreter->codec_##name
#define IS_MADE interpreter->codecs_initialized
#else
#define CODECS(name) interpreter->codecs.name
#define IS_MADE interpreter->codecs.initialized
#endif

static PyObject *be_strict(PyObject *self, PyObject *error)
{
	(void)self;
	return PyCodec_StrictErrors(error);
}

static PyObject *ignore(PyObject *self, PyObject *error)
{
	(void)self;
	return PyCodec_IgnoreErrors(error);
}

static PyObject *replace(PyObject *self, PyObject *error)
{
	(void)self;
	return PyCodec_ReplaceErrors(error);
}

static PyObject *show(PyObject *self, PyObject *error)
{
	(void)self;
	return PyCodec_BackslashReplaceErrors(error);
}

static PyMethodDef handlers[] = {
    {"strict", be_strict, METH_O, NULL},
    {"ignore", ignore, METH_O, NULL},
    {"replace", replace, METH_O, NULL},
    {"backslashreplace", show, METH_O, NULL},
    /* Called only for what it can't handle: the codecs handle the rest themselves. */
    {"surrogateescape", be_strict, METH_O, NULL},
};

void set_error_handlers(void)
{
	PyInterpreterState *interpreter = PyInterpreterState_Get();
	if (CODECS(search_path) != NULL)
		return;
	CODECS(search_path) = PyList_New(0);
	CODECS(search_cache) = PyDict_New();
	PyObject *registry = CODECS(error_registry) = PyDict_New();
	if (CODECS(search_path) == NULL || CODECS(search_cache) == NULL || registry == NULL)
		die("make the registry of codecs");
	for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
		PyObject *function = PyCFunction_New(&handlers[i], NULL);
		if (function == NULL || PyDict_SetItemString(registry, handlers[i].ml_name, function) < 0)
			die("make the registry of codecs");
		Py_DECREF(function);
	}
	IS_MADE = 1;
}

void forget_error_handlers(void)
{
	PyInterpreterState *interpreter = PyInterpreterState_Get();
	Py_CLEAR(CODECS(search_path));
	Py_CLEAR(CODECS(search_cache));
	Py_CLEAR(CODECS(error_registry));
	IS_MADE = 0;
}
