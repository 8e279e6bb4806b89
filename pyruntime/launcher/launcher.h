/* The interfaces between the launcher's files. */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include <stddef.h>

/* The variable in which the program passes its pid and the descriptor of its file to the copy that it executes. */
#define HANDED_OVER "_PYRUNTIME_HANDED_OVER"

/* Report what failed, with errno, and exit with status 1. */
void die(const char *what);

/* commandline.c */

/* Return whether the command may enter a container, so that the binary has to be protected first. */
int enters_a_container(int argc, char **argv);

/* protect.c */

/* Copy the path of this program's file into `path`; return whether this is the program that protect() has executed. */
int find_own_path(char *path, size_t size);
/* Execute this program again, out of the container's reach. */
void protect(const char *path, char **argv);

/* interpreter.c */

/* Make the interpreter ready for commands; `path` is the program's. */
void start_interpreter(const char *path);
/* Call the command line's function and return its status. */
int run_main(int argc, char **argv);

/* handlers.c */

/* Give an interpreter with only its core the handlers of coding errors, so that using one imports nothing. */
void set_error_handlers(void);
/* Let the interpreter create its own registry of codecs. */
void forget_error_handlers(void);

/* snapshot.c */

/* If the build asks for a snapshot, put all of the interpreter's memory into it from now on; return whether it does. */
int begin_snapshot(void);
/* Write the snapshot and exit. */
void end_snapshot(void);
int is_making_snapshot(void);
/* Return whether this program began with the data of a snapshot. */
int is_snapshot(void);
/* Set what in a snapshot's interpreter depends on this process. */
void resume_snapshot(void);

/* launcher.c, for --trace */

extern int is_traced;
/* When the program began, when it began again, and when the interpreter was ready; ns since the epoch. */
extern long long times[3];

#endif
