/* Processes: clone3, namespaces, pidfds, scheduling, limits. */
#include "common.h"

#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>

static PyObject *linux_clone3(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned long long flags;
	int cgroup = -1, pidfd = -1;
	if (!PyArg_ParseTuple(args, "K|i:clone3", &flags, &cgroup))
		return NULL;
	struct clone_args clone = {
	    .flags = flags | CLONE_PIDFD,
	    .pidfd = (uint64_t)(uintptr_t)&pidfd,
	    /* With CLONE_PARENT the exit signal is the one that the parent chose for the calling process (clone(2)). */
	    .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
	};
	if (cgroup >= 0) {
		clone.flags |= CLONE_INTO_CGROUP;
		clone.cgroup = (uint64_t)cgroup;
	}
	struct names words;
	PyOS_BeforeFork();
	long pid = syscall(SYS_clone3, &clone, sizeof clone);
	/* Some seccomp filters fail clone3 with ENOSYS, because they can't inspect its arguments. */
	if (pid < 0 && errno == ENOSYS && cgroup < 0)
		pid = raw_clone(clone.flags | clone.exit_signal, &pidfd);
	int number = errno;
	if (pid == 0)
		PyOS_AfterFork_Child();
	else
		PyOS_AfterFork_Parent();
	if (pid < 0)
		return raise_error(number, NULL, "clone3(%s, cgroup=%d)", flag_names(&words, "CLONE_", flags), cgroup);
	return Py_BuildValue("li", pid, pid == 0 ? -1 : pidfd);
}

static PyObject *linux_setns(PyObject *self, PyObject *args)
{
	(void)self;
	struct names words;
	int fd, type, result;
	if (!PyArg_ParseTuple(args, "ii:setns", &fd, &type))
		return NULL;
	CALL(result, setns(fd, type));
	if (result < 0)
		return raise_errno("setns(%d, %s)", fd, flag_names(&words, "CLONE_", (unsigned int)type));
	Py_RETURN_NONE;
}

static PyObject *linux_unshare(PyObject *self, PyObject *args)
{
	(void)self;
	struct names words;
	int flags, result;
	if (!PyArg_ParseTuple(args, "i:unshare", &flags))
		return NULL;
	CALL(result, unshare(flags));
	if (result < 0)
		return raise_errno("unshare(%s)", flag_names(&words, "CLONE_", (unsigned int)flags));
	Py_RETURN_NONE;
}

static PyObject *linux_pidfd_open(PyObject *self, PyObject *args)
{
	(void)self;
	int pid;
	if (!PyArg_ParseTuple(args, "i:pidfd_open", &pid))
		return NULL;
	long fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return raise_errno("pidfd_open(%d)", pid);
	return PyLong_FromLong(fd);
}

static PyObject *linux_pidfd_send_signal(PyObject *self, PyObject *args)
{
	(void)self;
	int fd, number;
	if (!PyArg_ParseTuple(args, "ii:pidfd_send_signal", &fd, &number))
		return NULL;
	if (syscall(SYS_pidfd_send_signal, fd, number, NULL, 0) < 0)
		return raise_errno("pidfd_send_signal(%d, %d)", fd, number);
	Py_RETURN_NONE;
}

static PyObject *linux_prlimit(PyObject *self, PyObject *args)
{
	(void)self;
	int pid, resource;
	unsigned long long soft, hard;
	if (!PyArg_ParseTuple(args, "iiKK:prlimit", &pid, &resource, &soft, &hard))
		return NULL;
	struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
	if (prlimit(pid, resource, &limit, NULL) < 0)
		return raise_errno("prlimit(%d, %d, {soft=%llu, hard=%llu})", pid, resource, soft, hard);
	Py_RETURN_NONE;
}

static PyObject *linux_raise_hard_limit(PyObject *self, PyObject *args)
{
	(void)self;
	int pid, resource;
	unsigned long long hard;
	struct rlimit limit;
	if (!PyArg_ParseTuple(args, "iiK:raise_hard_limit", &pid, &resource, &hard))
		return NULL;
	if (prlimit(pid, resource, NULL, &limit) < 0)
		return raise_errno("prlimit(%d, %d)", pid, resource);
	if (limit.rlim_max < hard)
		limit.rlim_max = hard;
	limit.rlim_cur = limit.rlim_max;
	if (prlimit(pid, resource, &limit, NULL) < 0)
		return raise_errno("prlimit(%d, %d, {soft=%llu, hard=%llu})", pid, resource,
				   (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
	Py_RETURN_NONE;
}

/* The structure of sched_setattr(2), which glibc has only since 2.41. */
struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static PyObject *linux_sched_setattr(PyObject *self, PyObject *args)
{
	(void)self;
	int pid;
	struct scheduling attributes = {.size = sizeof attributes};
	unsigned long long flags, runtime, deadline, period;
	if (!PyArg_ParseTuple(args, "iIKiIKKK:sched_setattr", &pid, &attributes.policy, &flags, &attributes.nice,
			      &attributes.priority, &runtime, &deadline, &period))
		return NULL;
	attributes.flags = flags;
	attributes.runtime = runtime;
	attributes.deadline = deadline;
	attributes.period = period;
	if (syscall(SYS_sched_setattr, pid, &attributes, 0) < 0)
		return raise_errno("sched_setattr(%d, {policy=%u, nice=%d, priority=%u})", pid, attributes.policy,
				   attributes.nice, attributes.priority);
	Py_RETURN_NONE;
}

static PyObject *linux_ioprio_set(PyObject *self, PyObject *args)
{
	(void)self;
	int which, who, priority;
	if (!PyArg_ParseTuple(args, "iii:ioprio_set", &which, &who, &priority))
		return NULL;
	if (syscall(SYS_ioprio_set, which, who, priority) < 0)
		return raise_errno("ioprio_set(%d, %d, %#x)", which, who, priority);
	Py_RETURN_NONE;
}

static PyObject *linux_personality(PyObject *self, PyObject *args)
{
	(void)self;
	unsigned long persona;
	if (!PyArg_ParseTuple(args, "k:personality", &persona))
		return NULL;
	int before = personality(persona);
	if (before < 0)
		return raise_errno("personality(%#lx)", persona);
	return PyLong_FromLong(before);
}

static PyObject *linux_set_mempolicy(PyObject *self, PyObject *args)
{
	(void)self;
	int mode;
	PyObject *nodes;
	/* Room for any node that a config can name (spec/linux.py); the kernel rejects nodes that do not exist. */
	unsigned long mask[1024] = {0}, highest = 0;
	const unsigned long bits = 8 * sizeof *mask, most = bits * (sizeof mask / sizeof *mask);
	if (!PyArg_ParseTuple(args, "iO!:set_mempolicy", &mode, &PyList_Type, &nodes))
		return NULL;
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(nodes); i++) {
		unsigned long node = PyLong_AsUnsignedLong(PyList_GET_ITEM(nodes, i));
		if (PyErr_Occurred())
			return NULL;
		if (node >= most)
			return raise_error(EINVAL, NULL, "set_mempolicy(%#x, node %lu)", mode, node);
		mask[node / bits] |= 1UL << (node % bits);
		highest = node > highest ? node : highest;
	}
	/* The kernel uses one bit less than maxnode. */
	if (syscall(SYS_set_mempolicy, mode, mask, highest + 2) < 0)
		return raise_errno("set_mempolicy(%#x, %zd nodes)", mode, PyList_GET_SIZE(nodes));
	Py_RETURN_NONE;
}

static PyObject *linux_keyctl_join_session_keyring(PyObject *self, PyObject *args)
{
	(void)self;
	const char *name;
	if (!PyArg_ParseTuple(args, "z:keyctl_join_session_keyring", &name))
		return NULL;
	long key = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
	if (key < 0)
		return raise_errno("keyctl(KEYCTL_JOIN_SESSION_KEYRING, %s)", name ? name : "NULL");
	return PyLong_FromLong(key);
}

static PyObject *linux_keyctl_setperm(PyObject *self, PyObject *args)
{
	(void)self;
	int key;
	unsigned int permissions;
	if (!PyArg_ParseTuple(args, "iI:keyctl_setperm", &key, &permissions))
		return NULL;
	if (syscall(SYS_keyctl, KEYCTL_SETPERM, key, permissions) < 0)
		return raise_errno("keyctl(KEYCTL_SETPERM, %d, %#x)", key, permissions);
	Py_RETURN_NONE;
}

static PyObject *linux_shared_memory(PyObject *self, PyObject *args)
{
	(void)self;
	Py_ssize_t size;
	if (!PyArg_ParseTuple(args, "n:shared_memory", &size))
		return NULL;
	void *memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return raise_errno("mmap(NULL, %zd, MAP_SHARED|MAP_ANONYMOUS)", size);
	return PyMemoryView_FromMemory(memory, size, PyBUF_WRITE);
}

static void leave(int number)
{
	_exit(128 + number);
}

/* Signals that mean the end of any program, and signals that are only meant for programs that handle them. */
static const int ending[] = {SIGHUP, SIGINT,  SIGQUIT, SIGILL,	SIGTRAP,   SIGABRT,
			     SIGBUS, SIGFPE, SIGSEGV, SIGTERM, SIGSTKFLT, SIGSYS};
static const int dropped[] = {SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO, SIGPWR};

static PyObject *linux_exit_on_signals(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	struct sigaction end = {.sa_handler = leave}, drop = {.sa_handler = SIG_IGN};
	for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
		sigaction(ending[i], &end, NULL);
	for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
		sigaction(dropped[i], &drop, NULL);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		sigaction(number, &drop, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	Py_RETURN_NONE;
}

PyMethodDef process_methods[] = {
    {"clone3", linux_clone3, METH_VARARGS, "clone3(flags, cgroup=-1) -> (pid, pidfd); (0, -1) in the child; clone3(2)"},
    {"setns", linux_setns, METH_VARARGS, "setns(fd, nstype): join namespaces; setns(2)"},
    {"unshare", linux_unshare, METH_VARARGS, "unshare(flags); unshare(2)"},
    {"pidfd_open", linux_pidfd_open, METH_VARARGS, "pidfd_open(pid) -> fd; pidfd_open(2)"},
    {"pidfd_send_signal", linux_pidfd_send_signal, METH_VARARGS, "pidfd_send_signal(pidfd, signal)"},
    {"prlimit", linux_prlimit, METH_VARARGS, "prlimit(pid, resource, soft, hard); prlimit(2)"},
    {"raise_hard_limit", linux_raise_hard_limit, METH_VARARGS,
     "raise_hard_limit(pid, resource, hard): set both limits to the larger of hard and the current one; prlimit(2)"},
    {"sched_setattr", linux_sched_setattr, METH_VARARGS,
     "sched_setattr(pid, policy, flags, nice, priority, runtime, deadline, period); times in ns; sched_setattr(2)"},
    {"ioprio_set", linux_ioprio_set, METH_VARARGS, "ioprio_set(which, who, priority); ioprio_set(2)"},
    {"personality", linux_personality, METH_VARARGS, "personality(persona) -> the previous one; personality(2)"},
    {"set_mempolicy", linux_set_mempolicy, METH_VARARGS, "set_mempolicy(mode, [node, ...]); set_mempolicy(2)"},
    {"keyctl_join_session_keyring", linux_keyctl_join_session_keyring, METH_VARARGS,
     "keyctl_join_session_keyring(name or None) -> key; None: a new anonymous keyring; keyctl(2)"},
    {"keyctl_setperm", linux_keyctl_setperm, METH_VARARGS, "keyctl_setperm(key, permissions); keyctl(2)"},
    {"shared_memory", linux_shared_memory, METH_VARARGS,
     "shared_memory(size) -> memoryview of zeros that children share, never unmapped; mmap(2)"},
    {"exit_on_signals", linux_exit_on_signals, METH_NOARGS,
     "Unblock all signals. Exit with 128+n on those that end any program, even as pid 1 of a namespace, which would\n"
     "otherwise ignore them; ignore those that are only meant for programs that handle them."},
    {NULL, NULL, 0, NULL},
};
