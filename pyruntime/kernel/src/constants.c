/* Constants by name, from the headers: plans use names of flags, and this table has their numbers. */
#include "common.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* In Debian 12, <sys/mount.h> conflicts with <linux/mount.h>; only the former has these two. */
#define MNT_DETACH 2
#define UMOUNT_NOFOLLOW 8

/* From the kernel's ABI; newer than Debian 12's headers. */
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
/* Permissions of a key from keyctl_setperm(3); the kernel's headers do not export them. */
#define KEY_POS_ALL 0x3f000000
#define KEY_USR_SEARCH 0x00080000
#ifndef IOPRIO_CLASS_SHIFT
#define IOPRIO_CLASS_SHIFT 13
#endif
#ifndef SCHED_EXT
#define SCHED_EXT 7
#endif
#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5
#endif
#ifndef MPOL_WEIGHTED_INTERLEAVE
#define MPOL_WEIGHTED_INTERLEAVE 6
#endif

struct constant {
	const char *name;
	unsigned long long value;
};

#define C(name) {#name, (unsigned long long)(name)}

static const struct constant constants[] = {
    /* namespaces */
    C(CLONE_NEWUSER), C(CLONE_NEWNS), C(CLONE_NEWNET), C(CLONE_NEWUTS), C(CLONE_NEWIPC), C(CLONE_NEWPID),
    C(CLONE_NEWCGROUP), C(CLONE_NEWTIME), C(CLONE_PARENT), C(CLONE_FILES),
    /* mount(2), umount(2) */
    C(MS_RDONLY), C(MS_NOSUID), C(MS_NODEV), C(MS_NOEXEC), C(MS_REMOUNT), C(MS_BIND), C(MS_MOVE), C(MS_REC),
    C(MS_PRIVATE), C(MS_SLAVE), C(MS_SHARED), C(MS_UNBINDABLE), C(MS_SYNCHRONOUS), C(MS_DIRSYNC), C(MS_LAZYTIME),
    C(MNT_DETACH), C(UMOUNT_NOFOLLOW),
    /* descriptor-based mounts */
    C(OPEN_TREE_CLONE), C(OPEN_TREE_CLOEXEC), C(MOVE_MOUNT_F_EMPTY_PATH), C(MOVE_MOUNT_T_EMPTY_PATH),
    C(FSOPEN_CLOEXEC), C(FSMOUNT_CLOEXEC), C(FSPICK_CLOEXEC), C(FSPICK_EMPTY_PATH), C(FSPICK_NO_AUTOMOUNT),
    C(FSCONFIG_SET_FLAG), C(FSCONFIG_SET_STRING), C(FSCONFIG_SET_FD), C(FSCONFIG_CMD_CREATE),
    C(FSCONFIG_CMD_RECONFIGURE), C(MOUNT_ATTR_RDONLY), C(MOUNT_ATTR_NOSUID), C(MOUNT_ATTR_NODEV),
    C(MOUNT_ATTR_NOEXEC), C(MOUNT_ATTR__ATIME), C(MOUNT_ATTR_RELATIME), C(MOUNT_ATTR_NOATIME),
    C(MOUNT_ATTR_STRICTATIME), C(MOUNT_ATTR_NODIRATIME), C(MOUNT_ATTR_NOSYMFOLLOW), C(MOUNT_ATTR_IDMAP),
    /* paths */
    C(AT_EMPTY_PATH), C(AT_SYMLINK_NOFOLLOW), C(AT_RECURSIVE), C(AT_NO_AUTOMOUNT), C(O_RDONLY), C(O_WRONLY), C(O_RDWR),
    C(O_CREAT), C(O_EXCL), C(O_TRUNC), C(O_APPEND), C(O_CLOEXEC), C(O_DIRECTORY), C(O_NOFOLLOW), C(O_NOCTTY),
    C(O_NONBLOCK), C(O_PATH), C(RESOLVE_IN_ROOT), C(RESOLVE_BENEATH), C(RESOLVE_NO_SYMLINKS),
    C(RESOLVE_NO_MAGICLINKS), C(RESOLVE_NO_XDEV), C(CLOSE_RANGE_CLOEXEC), C(UINT_MAX), C(S_IFCHR), C(S_IFBLK),
    C(S_IFIFO), C(S_IFREG), C(S_IFDIR), C(S_IFLNK), C(S_IFMT), C(PROC_SUPER_MAGIC), C(SYSFS_MAGIC),
    C(DEVPTS_SUPER_MAGIC), C(CGROUP2_SUPER_MAGIC), C(LOCK_SH), C(LOCK_EX), C(LOCK_NB), C(LOCK_UN),
    /* processes */
    C(SIGKILL), C(SIGTERM), C(SIGCHLD), C(POLLIN), C(POLLERR), C(POLLHUP), C(PER_LINUX), C(PER_LINUX32),
    C(RLIMIT_AS), C(RLIMIT_CORE), C(RLIMIT_CPU), C(RLIMIT_DATA), C(RLIMIT_FSIZE), C(RLIMIT_LOCKS), C(RLIMIT_MEMLOCK),
    C(RLIMIT_MSGQUEUE), C(RLIMIT_NICE), C(RLIMIT_NOFILE), C(RLIMIT_NPROC), C(RLIMIT_RSS), C(RLIMIT_RTPRIO),
    C(RLIMIT_RTTIME), C(RLIMIT_SIGPENDING), C(RLIMIT_STACK),
    /* scheduling: sched_setattr(2), ioprio_set(2), set_mempolicy(2) */
    C(SCHED_NORMAL), C(SCHED_FIFO), C(SCHED_RR), C(SCHED_BATCH), C(SCHED_IDLE), C(SCHED_DEADLINE), C(SCHED_EXT),
    {"SCHED_OTHER", SCHED_NORMAL}, {"SCHED_ISO", 4},
    C(SCHED_FLAG_RESET_ON_FORK), C(SCHED_FLAG_RECLAIM), C(SCHED_FLAG_DL_OVERRUN), C(SCHED_FLAG_KEEP_POLICY),
    C(SCHED_FLAG_KEEP_PARAMS), C(SCHED_FLAG_UTIL_CLAMP_MIN), C(SCHED_FLAG_UTIL_CLAMP_MAX),
    {"IOPRIO_CLASS_RT", 1 << IOPRIO_CLASS_SHIFT}, {"IOPRIO_CLASS_BE", 2 << IOPRIO_CLASS_SHIFT},
    {"IOPRIO_CLASS_IDLE", 3 << IOPRIO_CLASS_SHIFT}, {"IOPRIO_WHO_PROCESS", 1},
    C(MPOL_DEFAULT), C(MPOL_BIND), C(MPOL_INTERLEAVE), C(MPOL_WEIGHTED_INTERLEAVE), C(MPOL_PREFERRED),
    C(MPOL_PREFERRED_MANY), C(MPOL_LOCAL), C(MPOL_F_NUMA_BALANCING), C(MPOL_F_RELATIVE_NODES),
    C(MPOL_F_STATIC_NODES),
    /* keyctl(2) */
    C(KEY_POS_ALL), C(KEY_USR_SEARCH),
    /* bpf(2), seccomp(2) */
    C(BPF_F_ALLOW_MULTI), C(BPF_F_REPLACE), C(SECCOMP_FILTER_FLAG_TSYNC), C(SECCOMP_FILTER_FLAG_LOG),
    C(SECCOMP_FILTER_FLAG_SPEC_ALLOW), C(SECCOMP_FILTER_FLAG_NEW_LISTENER),
    C(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
};

static int has_prefix(const char *name, const char *prefixes)
{
	while (*prefixes != '\0') {
		size_t length = strcspn(prefixes, " ");
		if (strncmp(name, prefixes, length) == 0)
			return 1;
		prefixes += length + (prefixes[length] == ' ');
	}
	return 0;
}

static void append(struct names *names, const char *word)
{
	size_t used = strlen(names->text);
	snprintf(names->text + used, sizeof names->text - used, "%s%s", used == 0 ? "" : "|", word);
}

const char *flag_names(struct names *names, const char *prefixes, unsigned long long value)
{
	/* Only open(2) has a name for the absence of flags. */
	const char *none = strcmp(prefixes, "O_") == 0 ? "O_RDONLY" : "0";
	char rest[32];
	names->text[0] = '\0';
	for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
		unsigned long long bit = constants[i].value;
		/* Masks of several bits, such as MOUNT_ATTR__ATIME, would hide the flags inside them. */
		if ((bit & (bit - 1)) == 0 && (value & bit) != 0 && has_prefix(constants[i].name, prefixes)) {
			append(names, constants[i].name);
			value &= ~bit;
		}
	}
	if (value != 0) {
		snprintf(rest, sizeof rest, "%#llx", value);
		append(names, rest);
	} else if (names->text[0] == '\0') {
		append(names, none);
	}
	return names->text;
}

#define CAP(name) {#name, name}

static const struct constant capabilities[] = {
    CAP(CAP_CHOWN), CAP(CAP_DAC_OVERRIDE), CAP(CAP_DAC_READ_SEARCH), CAP(CAP_FOWNER), CAP(CAP_FSETID), CAP(CAP_KILL),
    CAP(CAP_SETGID), CAP(CAP_SETUID), CAP(CAP_SETPCAP), CAP(CAP_LINUX_IMMUTABLE), CAP(CAP_NET_BIND_SERVICE),
    CAP(CAP_NET_BROADCAST), CAP(CAP_NET_ADMIN), CAP(CAP_NET_RAW), CAP(CAP_IPC_LOCK), CAP(CAP_IPC_OWNER),
    CAP(CAP_SYS_MODULE), CAP(CAP_SYS_RAWIO), CAP(CAP_SYS_CHROOT), CAP(CAP_SYS_PTRACE), CAP(CAP_SYS_PACCT),
    CAP(CAP_SYS_ADMIN), CAP(CAP_SYS_BOOT), CAP(CAP_SYS_NICE), CAP(CAP_SYS_RESOURCE), CAP(CAP_SYS_TIME),
    CAP(CAP_SYS_TTY_CONFIG), CAP(CAP_MKNOD), CAP(CAP_LEASE), CAP(CAP_AUDIT_WRITE), CAP(CAP_AUDIT_CONTROL),
    CAP(CAP_SETFCAP), CAP(CAP_MAC_OVERRIDE), CAP(CAP_MAC_ADMIN), CAP(CAP_SYSLOG), CAP(CAP_WAKE_ALARM),
    CAP(CAP_BLOCK_SUSPEND), CAP(CAP_AUDIT_READ), CAP(CAP_PERFMON), CAP(CAP_BPF), CAP(CAP_CHECKPOINT_RESTORE),
};

static int add_table(PyObject *module, const char *name, const struct constant *table, size_t count)
{
	PyObject *numbers = PyDict_New();
	if (numbers == NULL)
		return -1;
	for (size_t i = 0; i < count; i++) {
		PyObject *value = PyLong_FromUnsignedLongLong(table[i].value);
		if (value == NULL || PyDict_SetItemString(numbers, table[i].name, value) < 0)
			return -1;
		Py_DECREF(value);
	}
	return PyModule_AddObjectRef(module, name, numbers);
}

int add_constants(PyObject *module)
{
	if (add_table(module, "constants", constants, sizeof constants / sizeof *constants) < 0 ||
	    add_table(module, "capabilities", capabilities, sizeof capabilities / sizeof *capabilities) < 0)
		return -1;
	PyObject *table = PyObject_GetAttrString(module, "constants"), *cwd = PyLong_FromLong(AT_FDCWD);
	int result = table == NULL || cwd == NULL ? -1 : PyDict_SetItemString(table, "AT_FDCWD", cwd);
	Py_XDECREF(table);
	Py_XDECREF(cwd);
	return result;
}
