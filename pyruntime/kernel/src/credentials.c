/* Credentials: capabilities and prctl. */
#include "common.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static PyObject *linux_capset(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned long long effective, permitted, inheritable;
	if (!PyArg_ParseTuple(args, "KKK:capset", &effective, &permitted, &inheritable))
		return NULL;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
	    {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
	    {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
	};
	if (syscall(SYS_capset, &header, data) < 0)
		return raise_errno("capset({effective=%#llx, permitted=%#llx, inheritable=%#llx})", effective,
				   permitted, inheritable);
	Py_RETURN_NONE;
}

/* The C library's setres*id and setgroups signal every thread; init has one thread and needs only the plain call. */
static PyObject *linux_setresuid(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned int real, effective, saved;
	if (!PyArg_ParseTuple(args, "III:setresuid", &real, &effective, &saved))
		return NULL;
	if (syscall(SYS_setresuid, real, effective, saved) < 0)
		return raise_errno("setresuid(%u, %u, %u)", real, effective, saved);
	Py_RETURN_NONE;
}

static PyObject *linux_setresgid(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned int real, effective, saved;
	if (!PyArg_ParseTuple(args, "III:setresgid", &real, &effective, &saved))
		return NULL;
	if (syscall(SYS_setresgid, real, effective, saved) < 0)
		return raise_errno("setresgid(%u, %u, %u)", real, effective, saved);
	Py_RETURN_NONE;
}

static PyObject *linux_setgroups(PyObject *self, PyObject *args)
{
	(void)self;
	PyObject *list;
	if (!PyArg_ParseTuple(args, "O!:setgroups", &PyList_Type, &list))
		return NULL;
	Py_ssize_t count = PyList_GET_SIZE(list);
	gid_t *groups = PyMem_New(gid_t, count ? count : 1);
	if (groups == NULL)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < count; i++)
		groups[i] = (gid_t)PyLong_AsUnsignedLong(PyList_GET_ITEM(list, i));
	long result = PyErr_Occurred() ? 0 : syscall(SYS_setgroups, count, groups);
	PyMem_Free(groups);
	if (PyErr_Occurred())
		return NULL;
	if (result < 0)
		return raise_errno("setgroups(%zd groups)", count);
	Py_RETURN_NONE;
}

static PyObject *linux_drop_bounding(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned long long keep;
	int last;
	if (!PyArg_ParseTuple(args, "Ki:drop_bounding", &keep, &last))
		return NULL;
	for (int cap = 0; cap <= last; cap++) {
		if (keep >> cap & 1 || prctl(PR_CAPBSET_READ, cap) <= 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap) < 0)
			return raise_errno("prctl(PR_CAPBSET_DROP, %d)", cap);
	}
	Py_RETURN_NONE;
}

static PyObject *linux_cap_ambient_clear_all(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return raise_errno("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)");
	Py_RETURN_NONE;
}

static PyObject *linux_cap_ambient_raise(PyObject *self, PyObject *args)
{
	(void)self;
	int cap;
	if (!PyArg_ParseTuple(args, "i:cap_ambient_raise", &cap))
		return NULL;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
		return raise_errno("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, %d)", cap);
	Py_RETURN_NONE;
}

PyMethodDef credential_methods[] = {
    {"capset", linux_capset, METH_VARARGS, "capset(effective, permitted, inheritable) as bit masks; capset(2)"},
    {"setresuid", linux_setresuid, METH_VARARGS, "setresuid(real, effective, saved); setresuid(2)"},
    {"setresgid", linux_setresgid, METH_VARARGS, "setresgid(real, effective, saved); setresgid(2)"},
    {"setgroups", linux_setgroups, METH_VARARGS, "setgroups([gid, ...]); setgroups(2)"},
    {"drop_bounding", linux_drop_bounding, METH_VARARGS,
     "drop_bounding(keep, last): drop every capability up to last that is not in the mask; capabilities(7)"},
    {"cap_ambient_clear_all", linux_cap_ambient_clear_all, METH_NOARGS, "Empty the ambient set; capabilities(7)"},
    {"cap_ambient_raise", linux_cap_ambient_raise, METH_VARARGS, "cap_ambient_raise(cap); capabilities(7)"},
    {NULL, NULL, 0, NULL},
};
