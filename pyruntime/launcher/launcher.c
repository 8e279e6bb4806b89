/* The command `pyruntime`: protects its own binary, then runs the embedded interpreter with a fixed configuration. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Code objects of the modules that every command needs, made by setup.py: a start reads no files for them. */
#include "frozen.h"
#include "launcher.h"

#define BEGAN "_PYRUNTIME_BEGAN"

PyMODINIT_FUNC PyInit__linux(void);

/* Extension modules that commands need and that are not linked in: found without a search. */
static const struct {
	const char *name, *file;
	int is_standard;
} extension_modules[] = {
    {"_json", "_json", 1},
    {"_prctl", "_prctl", 0},
    {"pyruntime.kernel._seccomp", "pyruntime/kernel/_seccomp", 0},
};

/* site-packages: where modules of pyruntime are that are not frozen. */
static char packages[4200];

/* A closed stdin, stdout or stderr would give its number to the next file that is opened. */
static void open_stdio(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
			die("open /dev/null");
}

/* For --trace: when this program began, when it began again, when the interpreter was ready; ns since the epoch. */
static int is_traced;
static long long times[3];

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Look for --trace or -trace; a word of the container's program that looks like it costs only some clock readings. */
static void begin_trace(int argc, char **argv)
{
	for (int i = 1; i < argc && !is_traced; i++)
		is_traced = argv[i][0] == '-' && strncmp(argv[i] + 1 + (argv[i][1] == '-'), "trace", 5) == 0;
	if (!is_traced)
		return;
	const char *began = getenv(BEGAN);
	times[1] = now();
	times[0] = began == NULL ? times[1] : atoll(began);
	unsetenv(BEGAN);
}

static void hand_over_begin(void)
{
	char text[32];
	snprintf(text, sizeof text, "%lld", times[0]);
	if (is_traced)
		setenv(BEGAN, text, 1);
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

/* _Py_InitializeMain() is documented as provisional: later versions have to be looked at first. */
#define CORE_ONLY (frozen_modules[0].name != NULL && PY_VERSION_HEX < 0x030e0000)

static int is_complete = !CORE_ONLY;

#ifdef WITHOUT_DEEPFREEZE
/*
 * The library carries the modules of every Python start (os, site, io, ...) as ready-made objects, and enters all their
 * names into the table of interned strings when it starts: half a millisecond for modules that no hot command imports.
 * The linker brings the library's call here (--wrap); the names follow when the interpreter is completed.
 */
extern int __real__Py_Deepfreeze_Init(void);
extern int _PyStaticCode_InternStrings(PyCodeObject *);
extern PyObject *_Py_get_importlib__bootstrap_toplevel(void);

int __wrap__Py_Deepfreeze_Init(void);
int __wrap__Py_Deepfreeze_Init(void)
{
	if (_PyStaticCode_InternStrings((PyCodeObject *)_Py_get_importlib__bootstrap_toplevel()) < 0)
		return -1;
	PyGC_Disable(); /* also while the interpreter's own types are made */
	return 0;
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

static PyObject *launcher_complete(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	if (!is_complete) {
		is_complete = 1; /* what it imports comes by here again */
		intern_the_rest();
#if PY_VERSION_HEX < 0x030e0000
		check(_Py_InitializeMain());
#endif
	}
	Py_RETURN_NONE;
}

static PyObject *launcher_times(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	return is_traced ? Py_BuildValue("LLL", times[0], times[1], times[2]) : PyTuple_New(0);
}

static PyMethodDef launcher_methods[] = {
    {"is_complete", launcher_is_complete, METH_NOARGS, "Whether the interpreter is set up beyond its core."},
    {"complete", launcher_complete, METH_NOARGS, "Set up what is missing: sys.path, codecs, text streams, signals."},
    {"times", launcher_times, METH_NOARGS, "With --trace: when the program began, began again, and was ready; else ()."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef launcher_module = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_pyruntime", .m_size = -1, .m_methods = launcher_methods};

/* Where extension modules are that commands need: name -> path. */
static PyObject *extensions(void)
{
	PyObject *found = PyDict_New();
	for (size_t i = 0; found != NULL && i < sizeof extension_modules / sizeof *extension_modules; i++) {
		const char *folder = extension_modules[i].is_standard ? DYNLOAD : packages;
		PyObject *path = PyUnicode_FromFormat("%s/%s" SUFFIX, folder, extension_modules[i].file);
		if (path == NULL || PyDict_SetItemString(found, extension_modules[i].name, path) < 0)
			Py_CLEAR(found);
		Py_XDECREF(path);
	}
	return found;
}

static PyObject *PyInit__pyruntime(void)
{
	PyObject *module = PyModule_Create(&launcher_module);
	if (module != NULL && (PyModule_AddObject(module, "extensions", extensions()) < 0 ||
			       PyModule_AddStringConstant(module, "packages", packages) < 0))
		Py_CLEAR(module);
	return module;
}

/* Start the interpreter with everything said, so that it neither searches for itself nor reads the environment. */
static void start_python(int argc, char **argv, const char *path)
{
	char prefix[4096];
	PyPreConfig before;
	PyPreConfig_InitIsolatedConfig(&before);
	before.utf8_mode = 1;
	check(Py_PreInitialize(&before));

	snprintf(prefix, sizeof prefix, "%s", path);
	for (int i = 0; i < 2; i++) { /* <prefix>/bin/pyruntime */
		char *slash = strrchr(prefix, '/');
		if (slash != NULL)
			*slash = 0;
	}
	snprintf(packages, sizeof packages, "%.4000s/lib/python" VERSION "/site-packages", prefix);

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
	add_path(&config, packages);
	set(&config, &config.program_name, path);
	set(&config, &config.executable, path);
	set(&config, &config.prefix, BASE_PREFIX);
	set(&config, &config.exec_prefix, BASE_PREFIX);
	set(&config, &config.base_prefix, BASE_PREFIX);
	set(&config, &config.base_exec_prefix, BASE_PREFIX);
	set(&config, &config.stdlib_dir, STDLIB);
	PyImport_FrozenModules = frozen_modules;
	if (PyImport_AppendInittab("pyruntime.kernel._linux", PyInit__linux) < 0 ||
	    PyImport_AppendInittab("_pyruntime", PyInit__pyruntime) < 0)
		die("PyImport_AppendInittab");
	check(PyConfig_SetBytesArgv(&config, argc, argv));
	check(Py_InitializeFromConfig(&config));
	PyConfig_Clear(&config);
	/* A command ends before there is garbage worth looking for. */
	PyGC_Disable();
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

/* Call main(arguments) and return its status. */
static int run_main(int argc, char **argv)
{
	int status = 1;
	PyObject *module = PyImport_ImportModule(frozen_modules[0].name == NULL ? "pyruntime.cli" : "pyruntime.core");
	PyObject *arguments = list_of(argc - 1, argv + 1);
	PyObject *result = module == NULL || arguments == NULL ? NULL : PyObject_CallMethod(module, "main", "O", arguments);
	if (result != NULL)
		status = (int)PyLong_AsLong(result);
	if (PyErr_Occurred()) {
		PyErr_Print();
		status = 1;
	}
	return status;
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

int main(int argc, char **argv)
{
	char path[4096];
	const char *home = getenv(HOME);
	begin_trace(argc, argv);
	open_stdio();
	/* As python3 does: a peer that is gone, or a file that may not grow, is an error that names what failed, not a death
	 * without a word. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* Whoever sets the variable gains nothing: without a protected binary it is not believed. */
	if (home != NULL && home[0] == '/' && is_protected()) {
		snprintf(path, sizeof path, "%s", home);
	} else {
		own_path(path, sizeof path);
		if (enters_a_container(argc, argv)) {
			hand_over_begin();
			protect(path, argv);
		}
	}
	unsetenv(HOME);
	start_python(argc, argv, path);
	times[2] = is_traced ? now() : 0;
	int status = run_main(argc, argv);
	flush("stdout");
	flush("stderr");
	/* Nothing is left to finalise that the kernel doesn't do at once. */
	_exit(status);
}
