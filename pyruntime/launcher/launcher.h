/* What the launcher's files have of each other. */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include <stddef.h>

#define HOME "_PYRUNTIME_HOME"

/* Say that something failed, with errno, and exit with status 1. */
void die(const char *what);

/* Whether the command line's command enters a container, so that the binary has to be protected first. */
int enters_a_container(int argc, char **argv);
/* Whether the running binary can't be written by whoever finds it in /proc: by its mount or by its seals. */
int is_protected(void);
/* Copy the path of this program's file into `path`. */
void own_path(char *path, size_t size);
/* Execute this program again, out of the container's reach; `path` is handed over in HOME, since the clone has none. */
void protect(const char *path, char **argv);

#endif
