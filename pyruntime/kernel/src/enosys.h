/* Calls that are newer than a seccomp profile: see enosys.c. */
#ifndef PYRUNTIME_ENOSYS_H
#define PYRUNTIME_ENOSYS_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

/* An architecture by libseccomp's token, and the highest call number among the profile's names; -1 when it has none. */
struct newest {
	uint32_t arch;
	int number;
};

/* The most instructions in the prologue for this many architectures. */
#define ENOSYS_ROOM(arches) (8 * (arches) + 2)

/* Return the number if it indicates the age of a call, else -1. */
int enosys_age(uint32_t arch, int number);
/* Write the prologue that makes calls above the newest fail with ENOSYS; return its number of instructions. */
size_t enosys_prologue(const struct newest *known, size_t count, struct sock_filter *into);

#endif
