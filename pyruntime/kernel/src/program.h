/* What becoming a program takes, for those who do it themselves and those who make a process that does. */
#ifndef PYRUNTIME_PROGRAM_H
#define PYRUNTIME_PROGRAM_H

#include "common.h"

/* Return a NULL-ended array of the list's strings, which live as long as *keep; NULL with an exception set. The array is
 * freed with PyMem_Free. */
char **string_array(PyObject *list, PyObject **keep);
/* seccomp(2); -1 and EINVAL for what is no filter or a longer one than the kernel counts. */
long load_filter(const void *instructions, size_t length, unsigned long flags);
/* Default handlers, and no signal blocked. */
void reset_signals(void);

#endif
