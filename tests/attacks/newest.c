/* Prints how the system answers to calls by their numbers: `newest 452 999`, an errno by name each. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		long result = syscall(atol(argv[i]), -1, -1, -1, -1, -1, -1);
		printf("%s\n", result == 0 ? "OK" : strerrorname_np(errno));
	}
	return 0;
}
