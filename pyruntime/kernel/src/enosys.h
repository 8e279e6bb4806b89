/* Calls that are newer than a seccomp profile: see enosys.c. */
#ifndef PYRUNTIME_ENOSYS_H
#define PYRUNTIME_ENOSYS_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

/* An architecture by libseccomp's token, and the highest number of a call that the profile names; -1: it names none. */
struct newest {
	uint32_t arch;
	int number;
};

/* Instructions that the prologue may take for so many architectures. */
#define ENOSYS_ROOM(arches) (8 * (arches) + 2)

/* The number as far as it says something about the age of a call: -1 for one that does not. */
int enosys_age(uint32_t arch, int number);
/* Write the prologue that lets calls above the newest fail with ENOSYS; return how many instructions it has. */
size_t enosys_prologue(const struct newest *known, size_t count, struct sock_filter *into);

#endif
