/* Functions for executing a program, in this process or in a child. */
#ifndef PYRUNTIME_PROGRAM_H
#define PYRUNTIME_PROGRAM_H

#include "common.h"

/* Return a NULL-terminated array of the strings, which live as long as *keep; NULL with an exception set. The array is
 * freed with PyMem_Free. */
char **string_array(PyObject *list, PyObject **keep);
/* Load a filter with seccomp(2); -1 with EINVAL for data that is not a filter, or is too long for the kernel. */
long load_filter(const void *instructions, size_t length, unsigned long flags);
/* Restore all default handlers and unblock all signals. */
void reset_signals(void);

#endif
