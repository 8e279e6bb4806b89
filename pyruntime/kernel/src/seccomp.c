/* Compiles a seccomp profile with libseccomp. A separate module, because only containers with a new profile need it. */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include "enosys.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

static PyObject *fail(int result, const char *call, const char *argument)
{
	PyObject *error = PyObject_CallFunction(PyExc_OSError, "is", -result, strerror(-result));
	if (error == NULL)
		return NULL;
	PyObject *text = PyUnicode_FromFormat("%s(%s)", call, argument);
	if (text != NULL && PyObject_SetAttrString(error, "call", text) == 0)
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
	Py_XDECREF(text);
	Py_DECREF(error);
	return NULL;
}

static int add_arches(scmp_filter_ctx context, PyObject *arches)
{
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(arches); i++) {
		const char *name = PyUnicode_AsUTF8(PyList_GET_ITEM(arches, i));
		if (name == NULL)
			return -1;
		uint32_t token = seccomp_arch_resolve_name(name);
		int result = token == 0 ? -EINVAL : seccomp_arch_add(context, token);
		if (result < 0 && result != -EEXIST) {
			fail(result, "seccomp_arch_add", name);
			return -1;
		}
	}
	return 0;
}

/* PyArg_ParseTuple would raise SystemError for an object that is not a tuple. */
static int is_tuple(PyObject *object)
{
	if (!PyTuple_Check(object))
		PyErr_Format(PyExc_TypeError, "a tuple expected, not %s", Py_TYPE(object)->tp_name);
	return PyTuple_Check(object);
}

static int add_rule(scmp_filter_ctx context, PyObject *rule, int strict)
{
	unsigned int action, count = 0;
	const char *name;
	PyObject *conditions;
	struct scmp_arg_cmp compare[6];
	if (!is_tuple(rule) || !PyArg_ParseTuple(rule, "IsO!", &action, &name, &PyList_Type, &conditions))
		return -1;
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR && strict) {
		fail(-EINVAL, "seccomp_syscall_resolve_name", name);
		return -1;
	}
	if (number == __NR_SCMP_ERROR)
		return 0; /* This libseccomp does not know the call; the default action applies to it. */
	if (PyList_GET_SIZE(conditions) > 6) {
		/* Without some of its conditions a rule would allow more than the profile does. */
		fail(-E2BIG, "seccomp_rule_add", name);
		return -1;
	}
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(conditions); i++, count++) {
		unsigned int argument;
		int operator;
		unsigned long long value, value_two;
		PyObject *each = PyList_GET_ITEM(conditions, i);
		if (!is_tuple(each) || !PyArg_ParseTuple(each, "IiKK", &argument, &operator, &value, &value_two))
			return -1;
		compare[count] = (struct scmp_arg_cmp){argument, (enum scmp_compare) operator, value, value_two};
	}
	int result = seccomp_rule_add_array(context, action, number, count, compare);
	/* A duplicate rule, or a call that one of the architectures lacks, is not an error. */
	if (result < 0 && result != -EEXIST && result != -EDOM) {
		fail(result, "seccomp_rule_add", name);
		return -1;
	}
	return 0;
}

/* Find the newest of the named calls for one architecture; return 0 with an exception set on failure. */
static int find_newest(struct newest *entry, uint32_t arch, PyObject *names)
{
	*entry = (struct newest){arch, -1};
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(names); i++) {
		const char *name = PyUnicode_AsUTF8(PyList_GET_ITEM(names, i));
		if (name == NULL)
			return 0;
		int number = enosys_age(arch, seccomp_syscall_resolve_name_arch(arch, name));
		if (number > entry->number)
			entry->number = number;
	}
	return 1;
}

/* Return the prologue for calls newer than the named ones, for the machine's architecture and those of the profile. */
static PyObject *prologue(PyObject *arches, PyObject *names)
{
	size_t most = (size_t)PyList_GET_SIZE(arches) + 1, count = 0;
	struct newest *known = PyMem_New(struct newest, most);
	struct sock_filter *program = PyMem_New(struct sock_filter, ENOSYS_ROOM(most));
	PyObject *result = NULL;
	if (known == NULL || program == NULL) {
		PyErr_NoMemory();
		goto out;
	}
	for (Py_ssize_t i = -1; i < PyList_GET_SIZE(arches); i++) {
		/* Unknown names of architectures have already been refused. */
		uint32_t arch = i < 0 ? seccomp_arch_native()
				      : seccomp_arch_resolve_name(PyUnicode_AsUTF8(PyList_GET_ITEM(arches, i)));
		size_t before = 0;
		while (before < count && known[before].arch != arch)
			before++;
		if (before == count && !find_newest(&known[count++], arch, names))
			goto out;
	}
	count = enosys_prologue(known, count, program);
	result = PyBytes_FromStringAndSize((const char *)program, (Py_ssize_t)(count * sizeof *program));
out:
	PyMem_Free(known);
	PyMem_Free(program);
	return result;
}

static PyObject *export(scmp_filter_ctx context)
{
	int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return fail(-errno, "memfd_create", "seccomp");
	int result = seccomp_export_bpf(context, fd);
	off_t size = result < 0 ? 0 : lseek(fd, 0, SEEK_END);
	PyObject *program = result < 0 ? fail(result, "seccomp_export_bpf", "") : PyBytes_FromStringAndSize(NULL, size);
	if (program != NULL && pread(fd, PyBytes_AS_STRING(program), (size_t)size, 0) != size) {
		Py_CLEAR(program);
		fail(-EIO, "pread", "seccomp");
	}
	close(fd);
	return program;
}

static PyObject *compile(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned int default_action;
	int strict = 0;
	PyObject *arches, *rules, *named = Py_None, *program = NULL;
	if (!PyArg_ParseTuple(args, "IO!O!|Op:compile", &default_action, &PyList_Type, &arches, &PyList_Type, &rules,
			      &named, &strict))
		return NULL;
	if (named != Py_None && !PyList_Check(named)) {
		PyErr_Format(PyExc_TypeError, "a list or None expected, not %s", Py_TYPE(named)->tp_name);
		return NULL;
	}
	scmp_filter_ctx context = seccomp_init(default_action);
	if (context == NULL)
		return fail(-EINVAL, "seccomp_init", "default action");
	/* Without no_new_privs a process needs CAP_SYS_ADMIN to load the filter; the engine sets no_new_privs itself. */
	seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0);
	/* Use a binary tree instead of a list: profiles have hundreds of calls. libseccomp before 2.5 refuses; harmless. */
	seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (add_arches(context, arches) == 0) {
		Py_ssize_t i = 0;
		while (i < PyList_GET_SIZE(rules) && add_rule(context, PyList_GET_ITEM(rules, i), strict) == 0)
			i++;
		if (i == PyList_GET_SIZE(rules))
			program = export(context);
	}
	if (program != NULL && named != Py_None) {
		PyObject *first = prologue(arches, named);
		if (first != NULL)
			PyBytes_ConcatAndDel(&first, program);
		else
			Py_DECREF(program);
		program = first;
	}
	seccomp_release(context);
	return program;
}

static PyObject *version(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	const struct scmp_version *found = seccomp_version();
	return PyUnicode_FromFormat("%u.%u.%u", found->major, found->minor, found->micro);
}

static PyMethodDef methods[] = {
    {"version", version, METH_NOARGS, "version() -> the version of libseccomp that is loaded"},
    {"compile", compile, METH_VARARGS,
     "compile(default_action, [architecture], [(action, syscall, [(argument, operator, value, value_two)])], named,\n"
     "strict) -> bytes: the program in the machine's byte order. named: a list of calls; a call with a higher number\n"
     "than all of these fails with ENOSYS, regardless of the default action. None: there is no such limit.\n"
     "strict: a call that libseccomp does not know is an error instead of being ignored."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "pyruntime.kernel._seccomp",
    .m_doc = "Seccomp profiles to BPF, by libseccomp.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__seccomp(void)
{
	return PyModuleDef_Init(&definition);
}
