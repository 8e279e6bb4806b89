/*
 * Whether a command line has to run from a protected binary. It is parsed with the tables of options.py, from which the
 * build makes options.h; anything that is not in them is assumed to enter a container.
 */
#include "launcher.h"
#include "options.h"

#include <string.h>

static int is_one_of(const char *word, size_t length, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strncmp(word, *words, length) == 0 && (*words)[length] == 0)
			return 1;
	return 0;
}

int enters_a_container(int argc, char **argv)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-' && argv[i][1] != 0; i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
		size_t length = strcspn(name, "=");
		if (is_one_of(name, length, options_with_value))
			i += name[length] == 0;
		else if (!is_one_of(name, length, options_without_value))
			return 1; /* an unknown option: the next word may be its value or the command */
	}
	return i < argc && !is_one_of(argv[i], strlen(argv[i]), commands_outside);
}
