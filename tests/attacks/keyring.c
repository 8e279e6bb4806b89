/* Keys of the session keyring, without libkeyutils; keyctl(2).
 *
 *	keyring add NAME TEXT		add a key to the session keyring
 *	keyring read NAME		search the session keyring, and print the key's text
 *	keyring with NAME TEXT CMD...	run a command with a new session keyring that has this key
 *	keyring plant RING NAME TEXT	make a session keyring of that name, open to everybody, with a key; print a line, wait
 *	keyring grab RING		find the keyring in /proc/keys and link it into the own one
 *	keyring fill			add keys until the user may have no more; print a line, wait
 *
 * A call that fails: its name and the errno's text on standard error, exit status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVERYBODY 0x3f3f3f3f

static long check(long result, const char *call)
{
	if (result >= 0)
		return result;
	fprintf(stderr, "%s: %s\n", call, strerror(errno));
	exit(1);
}

static long add(const char *name, const char *text)
{
	return check(syscall(SYS_add_key, "user", name, text, strlen(text), KEY_SPEC_SESSION_KEYRING), "add_key");
}

static int read_key(const char *name)
{
	char text[4096];
	long key = check(syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name, 0), "search");
	long length = check(syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text), "read");
	return printf("%.*s\n", (int)length, text) < 0;
}

static void join(const char *ring)
{
	check(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ring), "join");
}

static int plant(const char *ring, const char *name, const char *text)
{
	join(ring);
	add(name, text);
	check(syscall(SYS_keyctl, KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING, EVERYBODY), "setperm");
	puts("planted");
	fflush(stdout);
	pause();
	return 0;
}

/* All keyrings whose name begins so, as far as they can be seen and linked. */
static int grab(const char *ring)
{
	char line[4096];
	int found = 0;
	FILE *keys = fopen("/proc/keys", "r");
	check(keys == NULL ? -1 : 0, "/proc/keys");
	join(NULL);
	while (fgets(line, sizeof line, keys) != NULL) {
		char *name = strstr(line, ring);
		long key = (long)strtoul(line, NULL, 16);
		if (name == NULL)
			continue;
		found++;
		check(syscall(SYS_keyctl, KEYCTL_LINK, key, KEY_SPEC_SESSION_KEYRING), "link");
	}
	fclose(keys);
	printf("%d\n", found);
	return 0;
}

/* The kernel gives keys back a moment after their last user: full is what stays full for a while. */
static int fill(void)
{
	char name[32];
	join(NULL);
	for (int added = 0, refused = 0; refused < 30;) {
		snprintf(name, sizeof name, "fill%d", added);
		if (syscall(SYS_add_key, "user", name, "x", 1, KEY_SPEC_SESSION_KEYRING) >= 0) {
			added++;
			refused = 0;
		} else {
			refused++;
			usleep(10000);
		}
	}
	puts(strerror(errno));
	fflush(stdout);
	pause();
	return 0;
}

int main(int count, char **words)
{
	if (count == 4 && strcmp(words[1], "add") == 0)
		return add(words[2], words[3]) < 0;
	if (count == 3 && strcmp(words[1], "read") == 0)
		return read_key(words[2]);
	if (count == 5 && strcmp(words[1], "plant") == 0)
		return plant(words[2], words[3], words[4]);
	if (count == 3 && strcmp(words[1], "grab") == 0)
		return grab(words[2]);
	if (count == 2 && strcmp(words[1], "fill") == 0)
		return fill();
	if (count > 4 && strcmp(words[1], "with") == 0) {
		join(NULL);
		add(words[2], words[3]);
		execv(words[4], words + 4);
		check(-1, words[4]);
	}
	fprintf(stderr, "usage: see the source\n");
	return 2;
}
