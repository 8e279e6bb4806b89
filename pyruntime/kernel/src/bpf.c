/* BPF: the device filter of a cgroup. */
#include "common.h"

#include <linux/bpf.h>
#include <string.h>

static long bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

/* Return the last line of the verifier's log that is not empty and not part of its closing statistics. */
static char *last_line(char *log)
{
	char *found = NULL;
	for (char *line = strtok(log, "\n"); line != NULL; line = strtok(NULL, "\n"))
		if (strncmp(line, "processed ", 10) != 0)
			found = line;
	return found;
}

static PyObject *linux_bpf_prog_load(PyObject *self, PyObject *args)
{
	(void)self;
	Py_buffer program;
	const char *name = "pyruntime_dev";
	static char log[65536];
	if (!PyArg_ParseTuple(args, "y*|s:bpf_prog_load", &program, &name))
		return NULL;
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uint64_t)(uintptr_t)program.buf;
	attributes.insn_cnt = (uint32_t)(program.len / (Py_ssize_t)sizeof(struct bpf_insn));
	attributes.license = (uint64_t)(uintptr_t) "GPL";
	strncpy(attributes.prog_name, name, sizeof attributes.prog_name - 1);
	long fd = bpf(BPF_PROG_LOAD, &attributes);
	int number = errno;
	log[0] = 0;
	if (fd < 0 && number != EPERM) {
		/* Load again to get the reason: the verifier writes its log only on request. */
		attributes.log_buf = (uint64_t)(uintptr_t)log;
		attributes.log_size = sizeof log;
		attributes.log_level = 1;
		fd = bpf(BPF_PROG_LOAD, &attributes);
		number = errno;
	}
	PyBuffer_Release(&program);
	if (fd < 0)
		return raise_error(number, last_line(log), "bpf(BPF_PROG_LOAD, {BPF_PROG_TYPE_CGROUP_DEVICE, %u insns})",
				   attributes.insn_cnt);
	return PyLong_FromLong(fd);
}

static PyObject *linux_bpf_prog_attach(PyObject *self, PyObject *args)
{
	(void)self;
	int cgroup, program, replaced = -1;
	unsigned int flags;
	if (!PyArg_ParseTuple(args, "iiI|i:bpf_prog_attach", &cgroup, &program, &flags, &replaced))
		return NULL;
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.target_fd = (uint32_t)cgroup;
	attributes.attach_bpf_fd = (uint32_t)program;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	attributes.attach_flags = flags;
	if (replaced >= 0) {
		attributes.attach_flags |= BPF_F_REPLACE;
		attributes.replace_bpf_fd = (uint32_t)replaced;
	}
	if (bpf(BPF_PROG_ATTACH, &attributes) < 0)
		return raise_errno("bpf(BPF_PROG_ATTACH, {cgroup=%d, BPF_CGROUP_DEVICE, %#x})", cgroup, flags);
	Py_RETURN_NONE;
}

static PyObject *linux_bpf_prog_detach(PyObject *self, PyObject *args)
{
	(void)self;
	int cgroup, program;
	if (!PyArg_ParseTuple(args, "ii:bpf_prog_detach", &cgroup, &program))
		return NULL;
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.target_fd = (uint32_t)cgroup;
	attributes.attach_bpf_fd = (uint32_t)program;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	if (bpf(BPF_PROG_DETACH, &attributes) < 0)
		return raise_errno("bpf(BPF_PROG_DETACH, {cgroup=%d, BPF_CGROUP_DEVICE})", cgroup);
	Py_RETURN_NONE;
}

static PyObject *linux_bpf_prog_query(PyObject *self, PyObject *args)
{
	(void)self;
	int cgroup;
	uint32_t ids[64];
	if (!PyArg_ParseTuple(args, "i:bpf_prog_query", &cgroup))
		return NULL;
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.query.target_fd = (uint32_t)cgroup;
	attributes.query.attach_type = BPF_CGROUP_DEVICE;
	attributes.query.prog_ids = (uint64_t)(uintptr_t)ids;
	attributes.query.prog_cnt = 64;
	if (bpf(BPF_PROG_QUERY, &attributes) < 0)
		return raise_errno("bpf(BPF_PROG_QUERY, {cgroup=%d, BPF_CGROUP_DEVICE})", cgroup);
	PyObject *list = PyList_New(0);
	for (uint32_t i = 0; list != NULL && i < attributes.query.prog_cnt; i++) {
		PyObject *id = PyLong_FromUnsignedLong(ids[i]);
		if (id == NULL || PyList_Append(list, id) < 0)
			Py_CLEAR(list);
		Py_XDECREF(id);
	}
	return list;
}

static PyObject *linux_bpf_prog_get_fd_by_id(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned int id;
	if (!PyArg_ParseTuple(args, "I:bpf_prog_get_fd_by_id", &id))
		return NULL;
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_id = id;
	long fd = bpf(BPF_PROG_GET_FD_BY_ID, &attributes);
	if (fd < 0)
		return raise_errno("bpf(BPF_PROG_GET_FD_BY_ID, %u)", id);
	return PyLong_FromLong(fd);
}

static PyObject *linux_bpf_prog_name(PyObject *self, PyObject *args)
{
	(void)self;
	int program;
	if (!PyArg_ParseTuple(args, "i:bpf_prog_name", &program))
		return NULL;
	struct bpf_prog_info info;
	memset(&info, 0, sizeof info);
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.info.bpf_fd = (uint32_t)program;
	attributes.info.info_len = sizeof info;
	attributes.info.info = (uint64_t)(uintptr_t)&info;
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes) < 0)
		return raise_errno("bpf(BPF_OBJ_GET_INFO_BY_FD, %d)", program);
	return PyUnicode_DecodeUTF8(info.name, (Py_ssize_t)strnlen(info.name, sizeof info.name), "surrogateescape");
}

PyMethodDef bpf_methods[] = {
    {"bpf_prog_load", linux_bpf_prog_load, METH_VARARGS,
     "bpf_prog_load(instructions, name='pyruntime_dev') -> fd of a device filter; if refused, `kernel_message` is the "
     "verifier's last line. "
     "Memory is charged to the cgroup (since Linux 5.11), so RLIMIT_MEMLOCK stays as it is; bpf(2)"},
    {"bpf_prog_attach", linux_bpf_prog_attach, METH_VARARGS,
     "bpf_prog_attach(cgroup_fd, prog_fd, flags, replaced_fd=-1): attach, or replace atomically; bpf(2)"},
    {"bpf_prog_detach", linux_bpf_prog_detach, METH_VARARGS, "bpf_prog_detach(cgroup_fd, prog_fd); bpf(2)"},
    {"bpf_prog_query", linux_bpf_prog_query, METH_VARARGS, "bpf_prog_query(cgroup_fd) -> [program id]; bpf(2)"},
    {"bpf_prog_get_fd_by_id", linux_bpf_prog_get_fd_by_id, METH_VARARGS, "bpf_prog_get_fd_by_id(id) -> fd; bpf(2)"},
    {"bpf_prog_name", linux_bpf_prog_name, METH_VARARGS, "bpf_prog_name(prog_fd) -> name given at load; bpf(2)"},
    {NULL, NULL, 0, NULL},
};
