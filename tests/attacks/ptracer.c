/*
 * A program of a container that waits for the next process of its pid namespace and takes it over.
 *
 *     ptracer CANARY
 *
 * It seizes whatever appears (PTRACE_SEIZE on the pids that come next) and prints one line for each process that it met:
 *
 *     met PID denied                                    it may not be traced
 *     met PID caught root=N mnt=SAME caps=HEX filters=N comm=NAME fds=TARGET,TARGET
 *
 * root: whether CANARY, a path of the host, can be opened below the process's root (1) or not (0). mnt: whether it is in
 * the mount namespace of this program. filters: how many seccomp filters it has. The process is let go afterwards. A ptracer is as good as its prey: it could as
 * well inject system calls (that is how the fault was found), but what it sees here is what it would inject them into.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void link_of(pid_t pid, const char *name, char *text, size_t size)
{
	char path[128];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	ssize_t length = readlink(path, text, size - 1);
	text[length < 0 ? 0 : length] = 0;
}

static void field(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64], line[512];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	snprintf(text, size, "?");
	FILE *file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
			snprintf(text, size, "%s", line + strlen(name) + 2);
			text[strcspn(text, "\n\t ")] = 0;
		}
	if (file != NULL)
		fclose(file);
}

static int reaches(pid_t pid, const char *canary)
{
	char path[4200];
	snprintf(path, sizeof path, "/proc/%d/root%s", pid, canary);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void print_descriptors(pid_t pid)
{
	char path[64], target[4096];
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	DIR *directory = opendir(path);
	struct dirent *entry;
	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "fd/%.20s", entry->d_name);
		link_of(pid, path, target, sizeof target);
		printf("%s,", target);
	}
	if (directory != NULL)
		closedir(directory);
}

static void look_into(pid_t pid, const char *canary)
{
	char own[64], other[64], caps[64], filters[16], comm[64];
	link_of(getpid(), "ns/mnt", own, sizeof own);
	link_of(pid, "ns/mnt", other, sizeof other);
	field(pid, "CapPrm", caps, sizeof caps);
	field(pid, "Seccomp_filters", filters, sizeof filters);
	field(pid, "Name", comm, sizeof comm);
	printf("met %d caught root=%d mnt=%d caps=%s filters=%s comm=%s fds=", pid, reaches(pid, canary),
	       strcmp(own, other) == 0, caps, filters, comm);
	print_descriptors(pid);
	printf("\n");
	fflush(stdout);
}

static pid_t newest(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static void take(pid_t pid, const char *canary)
{
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, NULL, __WALL);
	look_into(pid, canary);
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	printf("ready\n");
	fflush(stdout);
	for (pid_t next = newest() + 1;;) {
		/* A process that is cloned and has not been met may be followed by others already. */
		for (pid_t pid = next; pid < next + 4; pid++) {
			if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
				take(pid, argv[1]);
				next = pid + 1;
			} else if (errno == EPERM) {
				printf("met %d denied\n", pid);
				fflush(stdout);
				next = pid + 1;
			}
		}
	}
}
