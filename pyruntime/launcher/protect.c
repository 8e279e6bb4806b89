/*
 * Keeps the command's own binary out of the container's reach.
 *
 * A container's program can reach the binary of the process that executed it through /proc/self/exe, and overwrite the
 * binary when it is writable (CVE-2019-5736). So every command that enters a container first executes itself again from
 * a read-only detached clone of its mount, or from a sealed copy in memory where clones are refused.
 *
 * Neither has a path, but the program must know its own: it loads modules from directories next to it. A copy contains
 * the path, protected by its seals. A clone gets a descriptor of the running file from the program that executes it;
 * it checks that this is the file it runs from, and the kernel reports the path, so that the caller's environment never
 * decides where modules come from.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include "../kernel/src/binary.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's name for the running file; it leads to the file only when it is followed as a link. */
#define OWN "/proc/self/exe"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define CANT_PROTECT "can't protect the runtime's binary from the container (CVE-2019-5736)"
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

extern char **environ;

/* The end of a sealed copy; the path is right before it. */
struct trailer {
	char mark[24];
	size_t length;
};
static const char mark[24] = "\177pyruntime's own path\n";

void die(const char *what)
{
	fprintf(stderr, "pyruntime: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void die_with(const char *what, int error)
{
	errno = error;
	die(what);
}

/* Copy the path that a descriptor was opened by into `path`; return whether the kernel knows it. */
static int path_of(int fd, char *path, size_t size)
{
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, size - 1);
	path[length < 0 ? 0 : length] = 0;
	return length > 0;
}

/* Remove the kernel's mark " (deleted)": an upgrade may have unlinked or replaced the file that runs. */
static void forget_that_it_is_deleted(char *path)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(path), rest = sizeof deleted - 1;
	struct stat status;
	if (length > rest && strcmp(path + length - rest, deleted) == 0 && lstat(path, &status) < 0)
		path[length - rest] = 0;
}

/* Get the path from the program whose clone this is. */
static void take_path_over(char *path, size_t size)
{
	struct stat own, named;
	const char *text = secure_getenv(HANDED_OVER);
	int pid, fd;
	if (text == NULL || sscanf(text, "%d %d", &pid, &fd) != 2 || pid != getpid() || fd < 3)
		die_with("find the runtime's own path: it was not handed over", EINVAL);
	if (stat(OWN, &own) < 0 || fstat(fd, &named) < 0 || !path_of(fd, path, size))
		die("find the runtime's own path");
	/* The path "/" would be that of a clone again. */
	if (own.st_dev != named.st_dev || own.st_ino != named.st_ino || path[0] != '/' || path[1] == 0 || path[1] == ' ')
		die_with("find the runtime's own path: another file was handed over", EINVAL);
	close(fd);
}

/* Read the path that a sealed copy contains; return whether it contains one. */
static int read_carried_path(char *path, size_t size)
{
	struct trailer trailer;
	int fd = open(OWN, O_RDONLY | O_CLOEXEC), is_found = 0;
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (end > (off_t)sizeof trailer &&
	    pread(fd, &trailer, sizeof trailer, end - (off_t)sizeof trailer) == (ssize_t)sizeof trailer &&
	    memcmp(trailer.mark, mark, sizeof mark) == 0 && trailer.length < size) {
		off_t begin = end - (off_t)sizeof trailer - (off_t)trailer.length;
		is_found = begin > 0 && pread(fd, path, trailer.length, begin) == (ssize_t)trailer.length;
		path[is_found ? trailer.length : 0] = 0;
	}
	if (fd >= 0)
		close(fd);
	return is_found;
}

int find_own_path(char *path, size_t size)
{
	int protection = protection_of_binary(path, size), is_ours = 0;
	if (protection < 0)
		die("readlink " OWN);
	if (protection == READ_ONLY_CLONE) {
		take_path_over(path, size);
		is_ours = 1;
	} else if (protection == SEALED_COPY) {
		char carried[PATH_MAX];
		is_ours = read_carried_path(carried, sizeof carried); /* otherwise somebody else made the copy */
		if (is_ours)
			snprintf(path, size, "%s", carried);
	}
	forget_that_it_is_deleted(path);
	return is_ours;
}

static int read_only_clone(void)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, OWN, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd >= 0 &&
	    syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int executable_memory(void)
{
	/* With vm.memfd_noexec set, executable memory needs MFD_EXEC, which kernels before Linux 6.3 do not know. */
	int fd = memfd_create("pyruntime", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	return fd < 0 && errno == EINVAL ? memfd_create("pyruntime", MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

static int append(int fd, const void *data, size_t size)
{
	ssize_t written = write(fd, data, size);
	if (written >= 0 && (size_t)written != size)
		errno = EIO;
	return written == (ssize_t)size ? 0 : -1;
}

static int sealed_copy(const char *path)
{
	struct stat status;
	struct trailer trailer = {.length = strlen(path)};
	memcpy(trailer.mark, mark, sizeof mark);
	int source = open(OWN, O_RDONLY | O_CLOEXEC), copy = executable_memory();
	if (source < 0 || copy < 0 || fstat(source, &status) < 0)
		return -1;
	for (off_t left = status.st_size; left > 0;) {
		ssize_t sent = sendfile(copy, source, NULL, (size_t)left);
		if (sent == 0)
			errno = EIO;
		if (sent <= 0)
			return -1;
		left -= sent;
	}
	close(source);
	if (append(copy, path, trailer.length) < 0 || append(copy, &trailer, sizeof trailer) < 0)
		return -1;
	return fcntl(copy, F_ADD_SEALS, SEALS) < 0 ? -1 : copy;
}

/* Execute a descriptor, or, where that is refused (valgrind, qemu-user, old sandboxes), its name in /proc. */
static void execute(int fd, char **argv)
{
	char name[64];
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	execve(name, argv, environ);
}

void protect(const char *path, char **argv)
{
	char text[64] = "";
	const char *before = secure_getenv(HANDED_OVER);
	int pid = -1, fd = read_only_clone(), own = -1;
	/* It has already executed itself in this process, but still runs from the original file, as under an emulator. */
	if (before != NULL && sscanf(before, "%d", &pid) == 1 && pid == getpid())
		die_with(CANT_PROTECT, ELOOP);
	if (fd >= 0 && (own = open(OWN, O_PATH)) < 0)
		die("open " OWN);
	if (fd < 0)
		fd = sealed_copy(path);
	if (fd < 0)
		die(CANT_PROTECT);
	snprintf(text, sizeof text, "%d %d", (int)getpid(), own);
	if (setenv(HANDED_OVER, text, 1) < 0)
		die("setenv");
	execute(fd, argv);
	die("execute the protected binary");
}
