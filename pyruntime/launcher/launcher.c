/* The command `pyruntime`: protects its own binary, then runs the embedded interpreter with a fixed configuration. */
#define _GNU_SOURCE
#include "launcher.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BEGAN "_PYRUNTIME_BEGAN"

int is_traced;
long long times[3];

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Look for --trace or -trace; a similar word of the container's program costs only a few clock readings. */
static void look_for_trace(int argc, char **argv)
{
	for (int i = 1; i < argc && !is_traced; i++)
		is_traced = argv[i][0] == '-' && strncmp(argv[i] + 1 + (argv[i][1] == '-'), "trace", 5) == 0;
	if (is_traced)
		times[0] = times[1] = now();
}

/* Take over the time at which the program began that has executed this one. */
static void take_begin_over(void)
{
	const char *began = secure_getenv(BEGAN);
	if (is_traced && began != NULL)
		times[0] = atoll(began);
}

static void hand_over_begin(void)
{
	char text[32];
	snprintf(text, sizeof text, "%lld", times[0]);
	if (is_traced)
		setenv(BEGAN, text, 1);
}

/* Open closed stdio descriptors: otherwise the next file that is opened would get their number. */
static void open_stdio(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
			die("open /dev/null");
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	look_for_trace(argc, argv);
	open_stdio();
	/* As python3 does: a closed peer, or a file at its size limit, should cause an error that names what failed, not
	 * a silent death. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (find_own_path(path, sizeof path)) {
		take_begin_over();
	} else if (enters_a_container(argc, argv)) {
		hand_over_begin();
		protect(path, argv);
	}
	/* Even if somebody else set these, programs that are started from here must not see them. */
	unsetenv(HANDED_OVER);
	unsetenv(BEGAN);
	start_interpreter(path);
	if (is_traced)
		times[2] = now();
	int status = run_main(argc, argv);
	/* Skip finalisation: the kernel cleans up faster. */
	_exit(status);
}
