/* Signals: their numbers by name, and reading them from a descriptor, for a process that forwards them. */
#include "common.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

static PyObject *linux_signal_number(PyObject *self, PyObject *args)
{
	(void)self;
	static const struct {
		const char *name;
		int number;
	} others[] = {{"CLD", SIGCHLD}, {"IOT", SIGABRT}, {"IO", SIGIO}, {"POLL", SIGPOLL}};
	const char *name;
	if (!PyArg_ParseTuple(args, "s:signal_number", &name))
		return NULL;
	for (int number = 1; number < SIGRTMIN; number++) {
		const char *known = sigabbrev_np(number);
		if (known != NULL && strcmp(known, name) == 0)
			return PyLong_FromLong(number);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (strcmp(others[i].name, name) == 0)
			return PyLong_FromLong(others[i].number);
	if (strcmp(name, "RTMIN") == 0)
		return PyLong_FromLong(SIGRTMIN);
	if (strcmp(name, "RTMAX") == 0)
		return PyLong_FromLong(SIGRTMAX);
	Py_RETURN_NONE;
}

/* Fill a set from a tuple of signal numbers. */
static int set_of(PyObject *numbers, sigset_t *set)
{
	sigemptyset(set);
	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(numbers); i++) {
		long number = PyLong_AsLong(PyTuple_GET_ITEM(numbers, i));
		if (number == -1 && PyErr_Occurred())
			return 0;
		sigaddset(set, (int)number);
	}
	return 1;
}

static PyObject *linux_signal_fd(PyObject *self, PyObject *args)
{
	(void)self;
	PyObject *numbers;
	sigset_t set;
	if (!PyArg_ParseTuple(args, "O!:signal_fd", &PyTuple_Type, &numbers) || !set_of(numbers, &set))
		return NULL;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return raise_errno("signalfd(-1, %zd signals)", PyTuple_GET_SIZE(numbers));
	sigprocmask(SIG_BLOCK, &set, NULL);
	return PyLong_FromLong(fd);
}

static PyObject *linux_read_signals(PyObject *self, PyObject *args)
{
	(void)self;
	struct signalfd_siginfo found[16];
	char numbers[16];
	int fd;
	if (!PyArg_ParseTuple(args, "i:read_signals", &fd))
		return NULL;
	ssize_t length = read(fd, found, sizeof found);
	if (length < 0 && errno != EAGAIN && errno != EINTR)
		return raise_errno("read(signalfd %d)", fd);
	Py_ssize_t count = length < 0 ? 0 : length / (Py_ssize_t)sizeof *found;
	for (Py_ssize_t i = 0; i < count; i++)
		numbers[i] = (char)found[i].ssi_signo;
	return PyBytes_FromStringAndSize(numbers, count);
}

static PyObject *linux_unblock_signals(PyObject *self, PyObject *args)
{
	(void)self;
	PyObject *numbers;
	sigset_t set;
	if (!PyArg_ParseTuple(args, "O!:unblock_signals", &PyTuple_Type, &numbers) || !set_of(numbers, &set))
		return NULL;
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	Py_RETURN_NONE;
}

PyMethodDef signal_methods[] = {
    {"signal_number", linux_signal_number, METH_VARARGS,
     "signal_number(name) -> the number of \"TERM\", \"RTMIN\", ...; None when there is no such signal"},
    {"signal_fd", linux_signal_fd, METH_VARARGS,
     "signal_fd((number, ...)) -> descriptor: block the signals and receive them there; signalfd(2)"},
    {"read_signals", linux_read_signals, METH_VARARGS, "read_signals(fd) -> numbers of received signals, a byte each"},
    {"unblock_signals", linux_unblock_signals, METH_VARARGS, "unblock_signals((number, ...)); sigprocmask(2)"},
    {NULL, NULL, 0, NULL},
};
