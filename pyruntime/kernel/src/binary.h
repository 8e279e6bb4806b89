/* What the kernel reports about the binary of this process; for the launcher and the kernel layer. */
#ifndef PYRUNTIME_BINARY_H
#define PYRUNTIME_BINARY_H

#include <stddef.h>

/* How the running binary is protected against being written through /proc, if it is. */
enum protection { UNPROTECTED, READ_ONLY_CLONE, SEALED_COPY };

/* Copy the target of /proc/self/exe into `link`; return how the binary is protected, -1 with errno without a link. */
int protection_of_binary(char *link, size_t size);

#endif
