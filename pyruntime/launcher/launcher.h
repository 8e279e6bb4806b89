/* What the launcher's files have of each other. */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include <stddef.h>

/* What the program tells the one that it executes in its place: its pid, and the descriptor of its file. */
#define HANDED_OVER "_PYRUNTIME_HANDED_OVER"

/* Say that something failed, with errno, and exit with status 1. */
void die(const char *what);

/* commandline.c */

/* Whether the command line's command may enter a container, so that the binary has to be protected first. */
int enters_a_container(int argc, char **argv);

/* protect.c */

/* Copy the path of this program's file into `path`; whether this is the program that protect() has executed. */
int find_own_path(char *path, size_t size);
/* Execute this program again, out of the container's reach. */
void protect(const char *path, char **argv);

/* interpreter.c */

/* Make the interpreter ready for commands; `path` is that of the program. */
void start_interpreter(const char *path);
/* Call the command line's function and return its status. */
int run_main(int argc, char **argv);

/* handlers.c */

/* Give an interpreter that has its core only what deals with coding errors; nothing is imported then. */
void set_error_handlers(void);
/* Let the interpreter make its own registry of codecs. */
void forget_error_handlers(void);

/* snapshot.c */

/* From now on all of the interpreter's memory is part of the snapshot, if the build asks for one; whether it does. */
int begin_snapshot(void);
/* Write the snapshot and exit. */
void end_snapshot(void);
int is_making_snapshot(void);
/* Whether this program began with the data of a snapshot. */
int is_snapshot(void);
/* Give to the interpreter of a snapshot what belongs to this process. */
void resume_snapshot(void);

/* launcher.c, for --trace */

extern int is_traced;
/* When this program began, when it began again, when the interpreter was ready; ns since the epoch. */
extern long long times[3];

#endif
