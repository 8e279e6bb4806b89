/*
 * A procfs context of another pid namespace, for a process that is not in it.
 *
 * Since Linux 6.18 the option `pidns` selects the pid namespace. Before, a procfs belongs to the pid namespace of the
 * process that opens its context, so a helper has to be in there for a moment, visible to processes that may trace it
 * (as in CVE-2016-9962). From its first moment the helper has as little as possible: an empty root in a mount namespace
 * of its own, one socket, no capability but CAP_SYS_ADMIN, which fsopen(2) requires, and a filter that permits nothing
 * but opening a context, sending it and exiting. The caller checks what it sent once that is mounted.
 */
#include "common.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SYS_ADMIN 21
#define TREE_DETACH 2

extern int mount(const char *, const char *, const char *, unsigned long, const void *);
extern int umount2(const char *, int);

/* The helper's descriptors; all others are closed. */
enum { SOCKET = 3, NAMESPACE = 4 };

static int empty_root(void)
{
	const unsigned long private_all = 1 << 18 | 1 << 14; /* MS_PRIVATE|MS_REC */
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, private_all, NULL) == 0 &&
	       mount("tmpfs", "/proc", "tmpfs", 0, "size=4k,nr_inodes=1,mode=0555") == 0 && chdir("/proc") == 0 &&
	       syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", TREE_DETACH) == 0 && chdir("/") == 0;
}

static int keep_one_capability(void)
{
	struct {
		uint32_t version;
		int pid;
	} head = {0x20080522, 0};
	struct {
		uint32_t effective, permitted, inheritable;
	} sets[2] = {{1u << SYS_ADMIN, 1u << SYS_ADMIN, 0}, {0, 0, 0}};
	return syscall(SYS_capset, &head, sets) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static int restrict_calls(void)
{
#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    ALLOW(SYS_fsopen),
	    ALLOW(SYS_sendmsg),
	    ALLOW(SYS_exit_group),
	    ALLOW(SYS_wait4),
	    /* clone(2) without namespaces: the call that makes the helper. */
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SIGCHLD, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static int send_descriptor(int fd, int number)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {&number, sizeof number};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof control;
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(head), &fd, sizeof fd);
	}
	return sendmsg(SOCKET, &message, MSG_NOSIGNAL) == sizeof number ? 0 : 1;
}

/* In the process that makes the helper: give up all that it does not need, then clone. Never return. */
static void help(int socket_fd, int namespace_fd)
{
	namespace_fd = fcntl(namespace_fd, F_DUPFD, NAMESPACE + 1);
	socket_fd = fcntl(socket_fd, F_DUPFD, NAMESPACE + 1);
	if (namespace_fd < 0 || dup2(socket_fd, SOCKET) < 0 || dup2(namespace_fd, NAMESPACE) < 0 ||
	    syscall(SYS_close_range, NAMESPACE + 1, ~0u, 0) < 0 || syscall(SYS_close_range, 0, SOCKET - 1, 0) < 0 ||
	    !empty_root() || setns(NAMESPACE, CLONE_NEWPID) < 0 || close(NAMESPACE) < 0 || !keep_one_capability() ||
	    !restrict_calls())
		_exit(send_descriptor(-1, errno));
	/* Call clone by number: the C library's fork makes calls that the filter does not permit. */
	long child = raw_clone(SIGCHLD, NULL);
	if (child < 0)
		_exit(send_descriptor(-1, errno));
	if (child == 0) {
		int context = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
		_exit(send_descriptor(context, context < 0 ? errno : 0));
	}
	syscall(SYS_wait4, child, NULL, 0, NULL);
	_exit(0);
}

/* Return the descriptor that the helper sent, or -1 with errno. */
static int receive(int fd)
{
	int number = EIO, context = -1;
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {&number, sizeof number};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	ssize_t length;
	do
		length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	struct cmsghdr *head = length == sizeof number ? CMSG_FIRSTHDR(&message) : NULL;
	if (head != NULL && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&context, CMSG_DATA(head), sizeof context);
	errno = number;
	return context;
}

static PyObject *linux_fsopen_proc_by_helper(PyObject *self, PyObject *args)
{
	(void)self;
	int namespace_fd, pair[2], status;
	if (!PyArg_ParseTuple(args, "i:fsopen_proc_by_helper", &namespace_fd))
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return raise_errno("socketpair(AF_UNIX, SOCK_SEQPACKET)");
	pid_t child = (pid_t)raw_clone(SIGCHLD, NULL);
	int number = errno;
	if (child == 0)
		help(pair[1], namespace_fd);
	close(pair[1]);
	int context = child < 0 ? -1 : receive(pair[0]);
	if (child >= 0)
		number = errno;
	close(pair[0]);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (context < 0)
		return raise_error(number, NULL, "fsopen(\"proc\") in pid namespace %d", namespace_fd);
	return PyLong_FromLong(context);
}

PyMethodDef procfs_methods[] = {
    {"fsopen_proc_by_helper", linux_fsopen_proc_by_helper, METH_VARARGS,
     "fsopen_proc_by_helper(pid namespace) -> context of a procfs of that namespace, opened by a process inside;\n"
     "check that it is a procfs when it is mounted"},
    {NULL, NULL, 0, NULL},
};
