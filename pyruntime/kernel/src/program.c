/* Becoming the program: load the filter and call execve, with no Python code in between. */
#include "program.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

long load_filter(const void *instructions, size_t length, unsigned long flags)
{
	/* The kernel counts instructions in 16 bits, so only the first part of a longer filter would be loaded. */
	if (length % sizeof(struct sock_filter) != 0 || length / sizeof(struct sock_filter) > USHRT_MAX) {
		errno = EINVAL;
		return -1;
	}
	struct sock_fprog program = {
	    .len = (unsigned short)(length / sizeof(struct sock_filter)),
	    .filter = (struct sock_filter *)instructions,
	};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static PyObject *linux_seccomp_load(PyObject *self, PyObject *args)
{
	(void)self;
	Py_buffer filter;
	unsigned long flags;
	if (!PyArg_ParseTuple(args, "y*k:seccomp_load", &filter, &flags))
		return NULL;
	Py_ssize_t count = filter.len / (Py_ssize_t)sizeof(struct sock_filter);
	long fd = load_filter(filter.buf, (size_t)filter.len, flags);
	PyBuffer_Release(&filter);
	if (fd < 0)
		return raise_errno("seccomp(SECCOMP_SET_MODE_FILTER, %#lx, {%zd instructions})", flags, count);
	return PyLong_FromLong(fd);
}

char **string_array(PyObject *list, PyObject **keep)
{
	Py_ssize_t count = PyList_GET_SIZE(list);
	char **array = PyMem_New(char *, count + 1);
	*keep = PyList_New(0);
	if (array == NULL || *keep == NULL)
		goto failed;
	for (Py_ssize_t i = 0; i < count; i++) {
		struct text text;
		if (!text_or_null(PyList_GET_ITEM(list, i), &text) || text.value == NULL ||
		    PyList_Append(*keep, text.owner) < 0)
			goto failed;
		array[i] = (char *)text.value;
		text_clear(&text);
	}
	array[count] = NULL;
	return array;
failed:
	PyMem_Free(array);
	return NULL;
}

/* Send the listener of a notifying filter, with its payload, in one message. Runs under the filter. */
static int send_listener(int socket_fd, int listener, const char *payload, size_t length)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {(void *)payload, length};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &listener, sizeof listener);
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

static PyObject *linux_seccomp_hand_over(PyObject *self, PyObject *args)
{
	(void)self;
	Py_buffer filter, payload;
	unsigned long flags;
	int notify;
	if (!PyArg_ParseTuple(args, "y*kiy*:seccomp_hand_over", &filter, &flags, &notify, &payload))
		return NULL;
	long listener = load_filter(filter.buf, (size_t)filter.len, flags | SECCOMP_FILTER_FLAG_NEW_LISTENER);
	int sent = listener < 0 ? -1 : send_listener(notify, (int)listener, payload.buf, (size_t)payload.len);
	if (listener < 0)
		raise_errno("seccomp(SECCOMP_SET_MODE_FILTER, %#lx, {%zd instructions})", flags,
			    filter.len / (Py_ssize_t)sizeof(struct sock_filter));
	else if (sent < 0)
		raise_errno("sendmsg(seccomp listener)");
	if (listener >= 0)
		close((int)listener);
	PyBuffer_Release(&filter);
	PyBuffer_Release(&payload);
	return sent < 0 ? NULL : Py_NewRef(Py_None);
}

/* Report an error and exit. Under a filter the report may be refused; then only the exit status shows it. */
static void leave(int report, int number, const char *call)
{
	char words[256];
	int length = snprintf(words, sizeof words, "E%d %s", number, call);
	ssize_t ignored = send(report, words, (size_t)length, MSG_NOSIGNAL);
	(void)ignored;
	_exit(number == ENOENT ? 127 : 126);
}

void reset_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The program's limits. */
struct limits {
	int count, resource[RLIM_NLIMITS];
	struct rlimit value[RLIM_NLIMITS];
};

static int read_limits(PyObject *list, struct limits *limits)
{
	limits->count = 0;
	if (list == NULL)
		return 1;
	if (PyList_GET_SIZE(list) > RLIM_NLIMITS) {
		PyErr_SetString(PyExc_ValueError, "more limits than resources");
		return 0;
	}
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
		unsigned long long soft, hard;
		PyObject *each = PyList_GET_ITEM(list, i);
		if (!PyTuple_Check(each) || !PyArg_ParseTuple(each, "iKK", &limits->resource[i], &soft, &hard)) {
			if (!PyErr_Occurred())
				PyErr_SetString(PyExc_TypeError, "limits must be tuples");
			return 0;
		}
		limits->value[i] = (struct rlimit){.rlim_cur = soft, .rlim_max = hard};
		limits->count++;
	}
	return 1;
}

/* Set the limits. From here on we may be out of memory and descriptors, so nothing may allocate or open any. */
static void set_limits(const struct limits *limits, int report)
{
	for (int i = 0; i < limits->count; i++) {
		char call[128];
		if (prlimit(0, limits->resource[i], &limits->value[i], NULL) == 0)
			continue;
		snprintf(call, sizeof call, "prlimit(0, %d, {soft=%llu, hard=%llu})", limits->resource[i],
			 (unsigned long long)limits->value[i].rlim_cur, (unsigned long long)limits->value[i].rlim_max);
		leave(report, errno, call);
	}
}

static PyObject *linux_exec_program(PyObject *self, PyObject *args)
{
	(void)self;
	struct text path;
	PyObject *arguments, *environment, *keep_arguments = NULL, *keep_environment = NULL;
	Py_buffer filter = {0}, payload = {0};
	unsigned long flags;
	int notify, report;
	char call[192];
	PyObject *limit_list = NULL;
	struct limits limits;
	if (!PyArg_ParseTuple(args, "O&O!O!z*kiz*i|O!:exec_program", text_or_null, &path, &PyList_Type, &arguments,
			      &PyList_Type, &environment, &filter, &flags, &notify, &payload, &report, &PyList_Type,
			      &limit_list))
		return NULL;
	if (!read_limits(limit_list, &limits))
		return NULL;
	char **argv = string_array(arguments, &keep_arguments), **envp = string_array(environment, &keep_environment);
	if (path.value == NULL || argv == NULL || envp == NULL) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_TypeError, "path must be str, argv and envp lists of str");
		return NULL;
	}
	snprintf(call, sizeof call, "execve(\"%.128s\")", text_show(&path));
	reset_signals();
	if (report >= 0 && send(report, "x", 1, MSG_NOSIGNAL) < 0)
		return raise_errno("send(%d, \"x\")", report);
	set_limits(&limits, report);
	if (filter.buf != NULL) {
		if (notify >= 0)
			flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
		long listener = load_filter(filter.buf, (size_t)filter.len, flags);
		if (listener < 0 && limits.count > 0)
			leave(report, errno, "seccomp(SECCOMP_SET_MODE_FILTER)");
		if (listener < 0)
			return raise_errno("seccomp(SECCOMP_SET_MODE_FILTER, %#lx, {%zd instructions})", flags,
					   filter.len / (Py_ssize_t)sizeof(struct sock_filter));
		if (notify >= 0 && send_listener(notify, (int)listener, payload.buf, (size_t)payload.len) < 0)
			leave(report, errno, "sendmsg(seccomp listener)");
		if (notify >= 0)
			close(notify);
	}
	execve(path.value, argv, envp);
	leave(report, errno, call);
	return NULL;
}

static PyObject *linux_execveat(PyObject *self, PyObject *args)
{
	(void)self;
	int fd, flags;
	struct text path;
	struct names words;
	PyObject *arguments, *environment, *keep_arguments = NULL, *keep_environment = NULL;
	if (!PyArg_ParseTuple(args, "iO&O!O!i:execveat", &fd, text_or_null, &path, &PyList_Type, &arguments,
			      &PyList_Type, &environment, &flags))
		return NULL;
	char **argv = string_array(arguments, &keep_arguments), **envp = string_array(environment, &keep_environment);
	if (argv != NULL && envp != NULL) {
		syscall(SYS_execveat, fd, path.value, argv, envp, flags);
		raise_errno("execveat(%d, \"%s\", %s)", fd, text_show(&path),
			    flag_names(&words, "AT_", (unsigned int)flags));
	} else if (!PyErr_Occurred()) {
		PyErr_SetString(PyExc_TypeError, "argv and envp must be lists of str");
	}
	PyMem_Free(argv);
	PyMem_Free(envp);
	Py_XDECREF(keep_arguments);
	Py_XDECREF(keep_environment);
	text_clear(&path);
	return NULL;
}

PyMethodDef program_methods[] = {
    {"execveat", linux_execveat, METH_VARARGS, "execveat(dirfd, path, argv, envp, flags): does not return; execveat(2)"},
    {"seccomp_load", linux_seccomp_load, METH_VARARGS, "seccomp_load(filter, flags) -> listener or 0; seccomp(2)"},
    {"seccomp_hand_over", linux_seccomp_hand_over, METH_VARARGS,
     "seccomp_hand_over(filter, flags, notify_fd, payload): load a filter that notifies, and send its listener to the\n"
     "agent in one message; seccomp_unotify(2)"},
    {"exec_program", linux_exec_program, METH_VARARGS,
     "exec_program(path, argv, envp, filter or None, filter_flags, notify_fd, notify_payload or None, report_fd,\n"
     "             [(resource, soft, hard), ...])\n\n"
     "Become the program: reset all signals, send `x` on the socket report_fd, set the limits, load the seccomp\n"
     "filter and call execve(2), so that the filter need not allow more than execve. With notify_fd >= 0 send the\n"
     "filter's listener there in one message. Before limits and filter are set, raise OSError; afterwards send\n"
     "`E<errno> <call>` on report_fd, if the filter permits that, and exit with 127 (no such file) or 126."},
    {NULL, NULL, 0, NULL},
};
