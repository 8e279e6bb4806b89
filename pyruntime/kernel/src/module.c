/* The module: the method tables of all files, and the code that they share. */
#include "common.h"

#include <stdarg.h>

/* Whether a decoded text contains bytes that were not UTF-8 (surrogateescape). */
static int has_raw_bytes(PyObject *text)
{
	for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(text); i++) {
		Py_UCS4 character = PyUnicode_READ_CHAR(text, i);
		if (character >= 0xdc80 && character <= 0xdcff)
			return 1;
	}
	return 0;
}

/*
 * Decode UTF-8. In a text that is not UTF-8, or was cut within a character, show all non-ASCII bytes by number.
 * Python's own function for that looks up a codec, which init can't do.
 */
static PyObject *decode(const char *text)
{
	char shown[4 * 512 + 1];
	size_t length = 0;
	PyObject *result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "surrogateescape");
	if (result == NULL || !has_raw_bytes(result))
		return result;
	Py_DECREF(result);
	for (; *text != 0 && length + 4 < sizeof shown; text++) {
		unsigned char byte = (unsigned char)*text;
		length += (size_t)snprintf(shown + length, 5, byte < 128 ? "%c" : "\\x%02x", byte);
	}
	return PyUnicode_DecodeUTF8(shown, (Py_ssize_t)length, NULL);
}

static PyObject *raise_va(int number, const char *message, const char *format, va_list arguments)
{
	char text[512];
	vsnprintf(text, sizeof text, format, arguments);
	PyObject *call = decode(text);
	if (call == NULL)
		return NULL;
	PyObject *error = PyObject_CallFunction(PyExc_OSError, "is", number, strerror(number));
	if (error == NULL) {
		Py_DECREF(call);
		return NULL;
	}
	if (PyObject_SetAttrString(error, "call", call) == 0 && message != NULL) {
		PyObject *words = decode(message);
		if (words != NULL) {
			PyObject_SetAttrString(error, "kernel_message", words);
			Py_DECREF(words);
		}
	}
	Py_DECREF(call);
	if (!PyErr_Occurred())
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
	Py_DECREF(error);
	return NULL;
}

PyObject *raise_error(int number, const char *message, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	raise_va(number, message, format, arguments);
	va_end(arguments);
	return NULL;
}

PyObject *raise_errno(const char *format, ...)
{
	int number = errno;
	va_list arguments;
	va_start(arguments, format);
	raise_va(number, NULL, format, arguments);
	va_end(arguments);
	return NULL;
}

int text_or_null(PyObject *object, void *target)
{
	struct text *text = target;
	if (object == NULL) {
		text_clear(text);
		return 1;
	}
	text->owner = NULL;
	text->value = NULL;
	if (object == Py_None)
		return 1;
	if (PyUnicode_Check(object)) {
		/* Like os.fsencode() in UTF-8 mode, but with the codec that is built into C. */
		text->owner = PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape");
	} else if (PyBytes_Check(object)) {
		text->owner = Py_NewRef(object);
	} else {
		PyErr_Format(PyExc_TypeError, "expected str, bytes or None, not %s", Py_TYPE(object)->tp_name);
	}
	if (text->owner == NULL)
		return 0;
	if ((size_t)PyBytes_GET_SIZE(text->owner) != strlen(PyBytes_AS_STRING(text->owner))) {
		PyErr_SetString(PyExc_ValueError, "embedded null byte");
		text_clear(text);
		return 0;
	}
	text->value = PyBytes_AS_STRING(text->owner);
	return Py_CLEANUP_SUPPORTED;
}

void text_clear(struct text *text)
{
	Py_CLEAR(text->owner);
	text->value = NULL;
}

const char *text_show(const struct text *text)
{
	return text->value == NULL ? "NULL" : text->value;
}

static int add_methods(PyObject *module)
{
	PyMethodDef *tables[] = {process_methods, credential_methods, mount_methods, path_methods,
				 socket_methods,  terminal_methods,   bpf_methods,   program_methods,
				 signal_methods,  filter_methods,     procfs_methods, binary_methods, spawn_methods};
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		if (PyModule_AddFunctions(module, tables[i]) < 0)
			return -1;
	return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_methods}, {Py_mod_exec, add_constants}, {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "pyruntime.kernel._linux",
    .m_doc = "Linux system calls that Python lacks; every OSError has the attribute `call`.",
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__linux(void)
{
	return PyModuleDef_Init(&definition);
}
