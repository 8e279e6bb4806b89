/* Shared by all files of the kernel layer: errors that name the call and its arguments, and the retry after EINTR. */
#ifndef PYRUNTIME_COMMON_H
#define PYRUNTIME_COMMON_H

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Raise OSError for errno (or its subclass) with the attribute `call`, made from a printf format. Return NULL. */
PyObject *raise_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Do the same for a given error number; `message`, when not NULL, becomes the attribute `kernel_message`. */
PyObject *raise_error(int number, const char *message, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Run, without the GIL, an expression that returns -1 and sets errno; after EINTR run signal handlers and retry. */
#define CALL(result, expression)                                                                                       \
	do {                                                                                                           \
		int call_errno_;                                                                                       \
		for (;;) {                                                                                             \
			Py_BEGIN_ALLOW_THREADS (result) = (expression);                                                \
			call_errno_ = errno;                                                                           \
			Py_END_ALLOW_THREADS if ((result) != -1 || call_errno_ != EINTR) break;                        \
			if (PyErr_CheckSignals() < 0)                                                                  \
				return NULL;                                                                           \
		}                                                                                                      \
		errno = call_errno_;                                                                                   \
	} while (0)

/* For PyArg_ParseTuple ("O&"): convert str (surrogateescape), bytes or None to a char pointer; owner keeps it alive. */
struct text {
	PyObject *owner;
	const char *value;
};
int text_or_null(PyObject *object, void *target);
void text_clear(struct text *text);
/* For messages: the text, or "NULL". */
const char *text_show(const struct text *text);
/* For messages: flags by name, using constants that begin with one of the prefixes ("O_", or "OPEN_TREE_ AT_"); bits
 * without a name are shown in hexadecimal. */
struct names {
	char text[256];
};
const char *flag_names(struct names *names, const char *prefixes, unsigned long long value);

/* clone(2) without the C library, with pidfd as parent_tid; the order of arguments depends on the architecture. */
static inline long raw_clone(unsigned long long flags, int *pidfd)
{
#ifdef __s390x__
	return syscall(SYS_clone, 0, (unsigned long)flags, pidfd, 0, 0);
#else
	return syscall(SYS_clone, (unsigned long)flags, 0, pidfd, 0, 0);
#endif
}

extern PyMethodDef process_methods[], credential_methods[], mount_methods[], path_methods[], socket_methods[],
    terminal_methods[], bpf_methods[], program_methods[], signal_methods[], filter_methods[], procfs_methods[],
    binary_methods[], spawn_methods[];
int add_constants(PyObject *module);

#endif
