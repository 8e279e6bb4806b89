/* Starts a hook, a process with its own directory, stdio and seccomp filter; posix_spawn(3) can't set a filter. */
#include "program.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

struct wanted {
	const char *path;
	char **argv, **envp;
	int directory_fd, input, output, errors;
	const char *directory;
	const void *filter;
	size_t filter_length;
	unsigned long filter_flags;
};

enum stage { SETPGID, STDIO, DIRECTORY, FILTER, EXECVE };

/* The child's report of a failure; it shares the parent's memory. */
struct outcome {
	volatile int number;
	volatile enum stage stage;
};

static void give_up(struct outcome *outcome, enum stage stage)
{
	outcome->stage = stage;
	outcome->number = errno;
	_exit(127);
}

/* In the child of vfork(2), which may only make system calls. The filter comes last, so it need only allow execve. */
static void become_hook(const struct wanted *wanted, struct outcome *outcome)
{
	int input = wanted->input, output = wanted->output, errors = wanted->errors;
	reset_signals();
	if (setpgid(0, 0) < 0)
		give_up(outcome, SETPGID);
	/* If the caller had no stdio, these may be among the descriptors that dup2 overwrites. */
	if ((input <= STDERR_FILENO && (input = fcntl(input, F_DUPFD_CLOEXEC, 3)) < 0) ||
	    (output <= STDERR_FILENO && (output = fcntl(output, F_DUPFD_CLOEXEC, 3)) < 0) ||
	    (errors <= STDERR_FILENO && (errors = fcntl(errors, F_DUPFD_CLOEXEC, 3)) < 0) ||
	    dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0)
		give_up(outcome, STDIO);
	if ((wanted->directory_fd >= 0 && fchdir(wanted->directory_fd) < 0) ||
	    (wanted->directory != NULL && chdir(wanted->directory) < 0))
		give_up(outcome, DIRECTORY);
	if (wanted->filter != NULL && load_filter(wanted->filter, wanted->filter_length, wanted->filter_flags) < 0)
		give_up(outcome, FILTER);
	execve(wanted->path, wanted->argv, wanted->envp);
	give_up(outcome, EXECVE);
}

/* Use vfork(2), as the runtime may be large, and block all signals, so that no handler runs in the child. */
static pid_t __attribute__((noinline)) make_child(const struct wanted *wanted, struct outcome *outcome)
{
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = vfork();
	if (pid == 0)
		become_hook(wanted, outcome);
	int number = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = number;
	return pid;
}

static PyObject *raise_outcome(const struct wanted *wanted, const struct outcome *outcome)
{
	errno = outcome->number;
	switch (outcome->stage) {
	case SETPGID: return raise_errno("setpgid(0, 0)");
	case STDIO: return raise_errno("dup2(%d, %d)", wanted->output, STDOUT_FILENO);
	case DIRECTORY:
		if (wanted->directory == NULL)
			return raise_errno("fchdir(%d)", wanted->directory_fd);
		return raise_errno("chdir(\"%s\")", wanted->directory);
	case FILTER: return raise_errno("seccomp(SECCOMP_SET_MODE_FILTER, %#lx)", wanted->filter_flags);
	default: return raise_errno("execve(\"%s\")", wanted->path);
	}
}

static PyObject *start(struct wanted *wanted, PyObject *arguments, PyObject *environment)
{
	PyObject *keep_arguments = NULL, *keep_environment = NULL, *result = NULL;
	struct outcome outcome = {0};
	wanted->argv = string_array(arguments, &keep_arguments);
	wanted->envp = string_array(environment, &keep_environment);
	if (wanted->argv != NULL && wanted->envp != NULL) {
		pid_t pid = make_child(wanted, &outcome);
		if (pid < 0) {
			raise_errno("vfork()");
		} else if (outcome.number != 0) {
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
			raise_outcome(wanted, &outcome);
		} else {
			result = PyLong_FromLong(pid);
		}
	}
	PyMem_Free(wanted->argv);
	PyMem_Free(wanted->envp);
	Py_XDECREF(keep_arguments);
	Py_XDECREF(keep_environment);
	return result;
}

static PyObject *linux_spawn(PyObject *self, PyObject *args)
{
	(void)self;
	struct text path, directory;
	struct wanted wanted = {0};
	PyObject *arguments, *environment, *result = NULL;
	Py_buffer filter = {0};
	if (!PyArg_ParseTuple(args, "O&O!O!iO&iiiz*k:spawn", text_or_null, &path, &PyList_Type, &arguments, &PyList_Type,
			      &environment, &wanted.directory_fd, text_or_null, &directory, &wanted.input,
			      &wanted.output, &wanted.errors, &filter, &wanted.filter_flags))
		return NULL;
	wanted.path = path.value;
	wanted.directory = directory.value;
	wanted.filter = filter.buf;
	wanted.filter_length = (size_t)filter.len;
	if (wanted.path == NULL)
		PyErr_SetString(PyExc_TypeError, "path must be str");
	else
		result = start(&wanted, arguments, environment);
	text_clear(&path);
	text_clear(&directory);
	PyBuffer_Release(&filter);
	return result;
}

PyMethodDef spawn_methods[] = {
    {"spawn", linux_spawn, METH_VARARGS,
     "spawn(path, argv, envp, directory_fd, directory or None, input, output, errors, filter or None, filter_flags) -> pid\n\n"
     "Execute a program in a new process and process group, with default signals, the descriptors input, output and\n"
     "errors as its stdio, in a directory (-1 and None: the caller's), under a seccomp filter that it loads last.\n"
     "Raise OSError with the call that failed in the child, which is then gone."},
    {NULL, NULL, 0, NULL},
};
