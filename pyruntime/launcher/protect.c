/*
 * The command's own binary, out of the container's reach.
 *
 * A container's program can reach the binary of the process that became it through /proc/self/exe, and overwrite it
 * when it is writable (CVE-2019-5736). So every command that enters a container first executes itself again from a
 * read-only detached clone of its mount, or from a sealed copy in memory where clones are refused.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

extern char **environ;

void die(const char *what)
{
	fprintf(stderr, "pyruntime: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int takes_value(const char *option)
{
	static const char *const names[] = {"root",	 "log",		  "log-format", "log-level", "log-handle",
					    "rootless", "cgroup-manager", "criu",	NULL};
	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(option, names[i]) == 0)
			return 1;
	return 0;
}

/* Return the first word that is no global option (cli.py has the same rules, options.py the names), or "". */
static const char *command_of(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			return argv[i];
		const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
		if (takes_value(name))
			i++;
	}
	return "";
}

static int enters(const char *command)
{
	return strcmp(command, "create") == 0 || strcmp(command, "run") == 0 || strcmp(command, "exec") == 0 ||
	       strcmp(command, "restore") == 0;
}

int enters_a_container(int argc, char **argv)
{
	return enters(command_of(argc, argv));
}

/* Whether the running binary can't be written by whoever finds it in /proc: by its mount or by its seals. */
int is_protected(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct statvfs status;
	if (fd < 0)
		return 0;
	int seals = fcntl(fd, F_GET_SEALS);
	int result = (seals >= 0 && (seals & SEALS) == SEALS) ||
		     (fstatvfs(fd, &status) == 0 && (status.f_flag & ST_RDONLY) != 0);
	close(fd);
	return result;
}

static int read_only_clone(const char *path)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd >= 0 &&
	    syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int sealed_copy(const char *path)
{
	int source = open(path, O_RDONLY | O_CLOEXEC), copy = memfd_create("pyruntime", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat status;
	if (source < 0 || copy < 0 || fstat(source, &status) < 0)
		return -1;
	for (off_t left = status.st_size; left > 0;) {
		ssize_t sent = sendfile(copy, source, NULL, (size_t)left);
		if (sent <= 0)
			return -1;
		left -= sent;
	}
	close(source);
	return fcntl(copy, F_ADD_SEALS, SEALS) < 0 ? -1 : copy;
}

/* Copy the path of this program's file into `path`. */
void own_path(char *path, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", path, size - 1);
	if (length <= 0)
		die("readlink /proc/self/exe");
	path[length] = 0;
}

/* Execute this program again, out of the container's reach; `path` is handed over, since the clone has no path. */
void protect(const char *path, char **argv)
{
	int fd = read_only_clone(path);
	if (fd < 0)
		fd = sealed_copy(path);
	if (fd < 0)
		die("can't protect the runtime's binary from the container (CVE-2019-5736)");
	if (setenv(HOME, path, 1) < 0)
		die("setenv");
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	die("execveat");
}
