/*
 * The embedded interpreter. It is either started with a complete configuration, so that it neither searches for itself
 * nor reads the environment, and at first only with its core (bootstrap.py); or resumed from a snapshot of that state.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The modules of pyruntime, made by building/freeze.py; no files are read for them at start. */
#include "frozen.h"
#include "launcher.h"

extern char **environ;
const PyConfig *_Py_GetConfig(void);
PyMODINIT_FUNC PyInit__linux(void);

/* Extension modules that commands need and that are not linked in; they are found without a search. */
static const struct {
	const char *name, *file;
	int is_standard;
} extension_modules[] = {
    {"_json", "_json", 1},
    {"_prctl", "_prctl", 0},
    {"pyruntime.kernel._seccomp", "pyruntime/kernel/_seccomp", 0},
};

/* This program's file, and site-packages, which has the modules of pyruntime that are not frozen. */
static char program[4096], packages[4200];

/* <prefix>/bin/pyruntime and <prefix>/lib/python3.11/site-packages. */
static void locate(const char *path)
{
	char prefix[4096];
	snprintf(program, sizeof program, "%s", path);
	snprintf(prefix, sizeof prefix, "%s", path);
	for (int i = 0; i < 2; i++) {
		char *slash = strrchr(prefix, '/');
		if (slash != NULL)
			*slash = 0;
	}
	snprintf(packages, sizeof packages, "%.4000s/lib/python" VERSION "/site-packages", prefix);
}

static void check(PyStatus status)
{
	if (PyStatus_Exception(status))
		Py_ExitStatusException(status);
}

static void set(PyConfig *config, wchar_t **field, const char *text)
{
	check(PyConfig_SetBytesString(config, field, text));
}

static void add_path(PyConfig *config, const char *path)
{
	wchar_t *wide = Py_DecodeLocale(path, NULL);
	if (wide == NULL)
		die("decode path");
	check(PyWideStringList_Append(&config->module_search_paths, wide));
	PyMem_RawFree(wide);
}

static void set_places(PyConfig *config)
{
	set(config, &config->program_name, program);
	set(config, &config->executable, program);
	add_path(config, packages);
}

/* _Py_InitializeMain() is documented as provisional: check later versions before using it there. */
#define CORE_ONLY (frozen_modules[0].name != NULL && PY_VERSION_HEX < 0x030e0000)

static int is_complete = !CORE_ONLY;

#ifdef WITHOUT_DEEPFREEZE
/*
 * The library contains the modules of every Python start (os, site, io, ...) as ready-made objects, and enters all
 * their names into the table of interned strings when it starts. Ours would then be spread among them over many pages.
 * The linker redirects the library's call here (--wrap); the names follow when the interpreter is completed.
 */
extern int __real__Py_Deepfreeze_Init(void);
extern int _PyStaticCode_InternStrings(PyCodeObject *);
extern PyObject *_Py_get_importlib__bootstrap_toplevel(void);

int __wrap__Py_Deepfreeze_Init(void);
int __wrap__Py_Deepfreeze_Init(void)
{
	return _PyStaticCode_InternStrings((PyCodeObject *)_Py_get_importlib__bootstrap_toplevel());
}

static void intern_the_rest(void)
{
	if (__real__Py_Deepfreeze_Init() < 0)
		die("intern the names of frozen modules");
}
#else
static void intern_the_rest(void)
{
}
#endif

static PyObject *launcher_is_complete(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	return PyBool_FromLong(is_complete);
}

static PyObject *launcher_is_making_snapshot(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	return PyBool_FromLong(is_making_snapshot());
}

/* Completing the interpreter can't be undone, and Python aborts when it runs out of descriptors halfway. */
static int has_descriptors(void)
{
	int found[4], count = 0;
	while (count < 4 && (found[count] = fcntl(0, F_DUPFD_CLOEXEC, 3)) >= 0)
		count++;
	int error = errno;
	for (int i = 0; i < count; i++)
		close(found[i]);
	errno = error;
	return count == 4;
}

static PyObject *launcher_complete(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	if (is_making_snapshot()) {
		PyErr_SetString(PyExc_ImportError, "a module in a snapshot must not need a complete interpreter");
		return NULL;
	}
	if (!is_complete) {
		if (!has_descriptors())
			return PyErr_SetFromErrno(PyExc_OSError);
		if (access(STDLIB "/os.py", R_OK) < 0) /* else Python prints two dozen lines */
			return PyErr_Format(PyExc_ImportError, "Python's standard library is not in %s: %s", STDLIB,
					    strerror(errno));
		is_complete = 1; /* set first: the imports below call this again */
		intern_the_rest();
		forget_error_handlers();
#if PY_VERSION_HEX < 0x030e0000
		/* Set the paths in the interpreter's own configuration: a snapshot doesn't know where it is installed. */
		set_places((PyConfig *)_Py_GetConfig());
		PyStatus status = _Py_InitializeMain();
		if (PyStatus_Exception(status))
			return PyErr_Format(PyExc_ImportError, "the interpreter can't be completed: %s",
					    status.err_msg == NULL ? "no reason given" : status.err_msg);
#endif
	}
	Py_RETURN_NONE;
}

static PyObject *launcher_extension(PyObject *self, PyObject *name)
{
	(void)self;
	char file[4400];
	if (!is_making_snapshot() && PyUnicode_Check(name))
		for (size_t i = 0; i < sizeof extension_modules / sizeof *extension_modules; i++)
			if (PyUnicode_CompareWithASCIIString(name, extension_modules[i].name) == 0) {
				snprintf(file, sizeof file, "%s/%s" SUFFIX, extension_modules[i].is_standard ? DYNLOAD : packages,
					 extension_modules[i].file);
				return PyUnicode_DecodeFSDefault(file);
			}
	Py_RETURN_NONE;
}

static PyObject *launcher_packages(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	return PyUnicode_DecodeFSDefault(packages);
}

static PyObject *launcher_times(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	return is_traced ? Py_BuildValue("LLL", times[0], times[1], times[2]) : PyTuple_New(0);
}

static PyMethodDef launcher_methods[] = {
    {"is_complete", launcher_is_complete, METH_NOARGS, "Whether the interpreter is set up beyond its core."},
    {"is_making_snapshot", launcher_is_making_snapshot, METH_NOARGS, "Whether this process makes the snapshot."},
    {"complete", launcher_complete, METH_NOARGS, "Set up what is missing: sys.path, codecs, text streams, signals."},
    {"extension", launcher_extension, METH_O, "The file of an extension module that commands need, or None."},
    {"packages", launcher_packages, METH_NOARGS, "The folder of modules that are not in the launcher."},
    {"times", launcher_times, METH_NOARGS, "With --trace: when the program began, began again, was ready; else ()."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef launcher_module = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_pyruntime", .m_size = -1, .m_methods = launcher_methods};

static PyObject *PyInit__pyruntime(void)
{
	return PyModule_Create(&launcher_module);
}

static void start_core(void)
{
	PyPreConfig before;
	PyPreConfig_InitIsolatedConfig(&before);
	before.utf8_mode = 1;
	check(Py_PreInitialize(&before));

	PyConfig config;
	PyConfig_InitIsolatedConfig(&config);
#if PY_VERSION_HEX < 0x030e0000
	config._init_main = is_complete;
#endif
	config.site_import = 0;
	config.write_bytecode = 0;
	config.install_signal_handlers = 0;
	config.parse_argv = 0;
	config.pathconfig_warnings = 0;
	config.module_search_paths_set = 1;
	add_path(&config, STDLIB);
	add_path(&config, DYNLOAD);
	if (is_complete)
		set_places(&config);
	set(&config, &config.prefix, BASE_PREFIX);
	set(&config, &config.exec_prefix, BASE_PREFIX);
	set(&config, &config.base_prefix, BASE_PREFIX);
	set(&config, &config.base_exec_prefix, BASE_PREFIX);
	set(&config, &config.stdlib_dir, STDLIB);
	PyImport_FrozenModules = frozen_modules;
	if (PyImport_AppendInittab("pyruntime.kernel._linux", PyInit__linux) < 0 ||
	    PyImport_AppendInittab("_pyruntime", PyInit__pyruntime) < 0)
		die("PyImport_AppendInittab");
	check(Py_InitializeFromConfig(&config));
	PyConfig_Clear(&config);
	if (!is_complete)
		set_error_handlers();
	/* A command ends before there is garbage worth collecting. */
	PyGC_Disable();
}

/* The function main and the dictionary of the environment, looked up once, when the snapshot is made. */
static PyObject *main_function, *known_environment;

static void must(int is_right)
{
	if (!is_right) {
		PyErr_Print();
		exit(1);
	}
}

static PyObject *attribute(const char *module_name, const char *name)
{
	PyObject *module = PyImport_ImportModule(module_name);
	PyObject *found = module == NULL ? NULL : PyObject_GetAttrString(module, name);
	must(found != NULL);
	Py_DECREF(module);
	return found;
}

static void call_core(const char *name)
{
	PyObject *function = attribute("pyruntime.bootstrap", name), *result = PyObject_CallNoArgs(function);
	must(result != NULL);
	Py_DECREF(result);
	Py_DECREF(function);
}

/* Fill posix.environ with the environment of this process, as the module does when it is created. */
static void renew_environment(void)
{
	PyDict_Clear(known_environment);
	for (char **each = environ; *each != NULL; each++) {
		const char *equals = strchr(*each, '=');
		if (equals == NULL)
			continue;
		PyObject *name = PyBytes_FromStringAndSize(*each, equals - *each), *value = PyBytes_FromString(equals + 1);
		must(name != NULL && value != NULL && PyDict_SetDefault(known_environment, name, value) != NULL);
		Py_DECREF(name);
		Py_DECREF(value);
	}
}

void start_interpreter(const char *path)
{
	if (is_snapshot()) {
		locate(path);
		resume_snapshot();
		renew_environment();
		return;
	}
	int makes_snapshot = begin_snapshot();
	if (!makes_snapshot) /* the build's paths must not get into a snapshot */
		locate(path);
	start_core();
	if (frozen_modules[0].name != NULL)
		call_core("prepare");
	if (makes_snapshot)
		call_core("preload");
	known_environment = attribute("posix", "environ");
	main_function = attribute(frozen_modules[0].name == NULL ? "pyruntime.cli" : "pyruntime.bootstrap", "main");
	if (makes_snapshot)
		end_snapshot();
}

static PyObject *list_of(int argc, char **argv)
{
	PyObject *list = PyList_New(0);
	for (int i = 0; list != NULL && i < argc; i++) {
		PyObject *word = PyUnicode_DecodeFSDefault(argv[i]);
		if (word == NULL || PyList_Append(list, word) < 0)
			Py_CLEAR(list);
		Py_XDECREF(word);
	}
	return list;
}

static void flush(const char *name)
{
	PyObject *stream = PySys_GetObject(name);
	if (stream == NULL || stream == Py_None)
		return;
	PyObject *result = PyObject_CallMethod(stream, "flush", NULL);
	if (result == NULL)
		PyErr_Clear();
	Py_XDECREF(result);
}

/* Print an exception that no Python code has caught, as one line; Python's own report would look for source files and
 * codecs. */
static void report_error(void)
{
	PyObject *type, *error, *traceback;
	char line[1024];
	PyErr_Fetch(&type, &error, &traceback);
	PyObject *text = error == NULL ? NULL : PyObject_Str(error);
	PyObject *bytes = text == NULL ? NULL : PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
	int length = snprintf(line, sizeof line, "pyruntime: internal error: %s: %s", ((PyTypeObject *)type)->tp_name,
			      bytes == NULL ? "" : PyBytes_AS_STRING(bytes));
	for (char *each = line; *each != 0; each++)
		if ((unsigned char)*each < ' ')
			*each = ' ';
	length = length < (int)sizeof line ? length : (int)sizeof line - 1;
	line[length] = '\n';
	if (write(2, line, (size_t)length + 1) < 0)
		return;
}

int run_main(int argc, char **argv)
{
	int status = 1;
	PyObject *arguments = list_of(argc - 1, argv + 1);
	PyObject *result = arguments == NULL ? NULL : PyObject_CallOneArg(main_function, arguments);
	if (result != NULL)
		status = (int)PyLong_AsLong(result);
	if (PyErr_Occurred()) {
		report_error();
		status = 1;
	}
	flush("stdout");
	flush("stderr");
	return status;
}
