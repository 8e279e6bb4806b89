/* What the kernel says about the binary of this process; for the launcher and for the kernel layer. */
#ifndef PYRUNTIME_BINARY_H
#define PYRUNTIME_BINARY_H

#include <stddef.h>

/* How the running binary is out of the reach of whoever finds it in /proc, if it is. */
enum protection { UNPROTECTED, READ_ONLY_CLONE, SEALED_COPY };

/* Copy what /proc/self/exe leads to into `link` and ask how it is protected; -1 with errno where there is no such link. */
int protection_of_binary(char *link, size_t size);

#endif
