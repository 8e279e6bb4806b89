/*
 * Whether the running binary is protected from the container that the process becomes or enters (CVE-2019-5736).
 *
 * Only the kernel's answer counts; nothing that a caller could forge is trusted. /proc/self/exe leads to "/" exactly
 * when the binary runs from a detached clone of its own mount, because it is then the root of that mount. The mount
 * itself must be read-only: a read-only superblock could be made writable later.
 */
#include "common.h"

#include "binary.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int is_sealed(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
	if (fd >= 0)
		close(fd);
	return seals >= 0 && (seals & SEALS) == SEALS;
}

int protection_of_binary(char *link, size_t size)
{
	struct statvfs status;
	ssize_t length = readlink("/proc/self/exe", link, size - 1);
	if (length < 0)
		return -1;
	link[length] = 0;
	/* An upgrade may have unlinked the binary meanwhile. */
	if (strcmp(link, "/") == 0 || strcmp(link, "/ (deleted)") == 0)
		return statvfs("/proc/self/exe", &status) == 0 && (status.f_flag & ST_RDONLY) ? READ_ONLY_CLONE : UNPROTECTED;
	if (strncmp(link, "/memfd:", 7) == 0 && is_sealed())
		return SEALED_COPY;
	return UNPROTECTED;
}

static PyObject *linux_is_binary_protected(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	char link[4096];
	int found = protection_of_binary(link, sizeof link);
	if (found < 0)
		return raise_errno("readlink(\"/proc/self/exe\")");
	return PyBool_FromLong(found != UNPROTECTED);
}

PyMethodDef binary_methods[] = {
    {"is_binary_protected", linux_is_binary_protected, METH_NOARGS,
     "is_binary_protected(): whether this process's binary can't be written through /proc (CVE-2019-5736): it runs\n"
     "from a read-only detached clone of its mount, or from a sealed memfd."},
    {NULL, NULL, 0, NULL},
};
