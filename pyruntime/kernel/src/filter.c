/* Runs a seccomp filter to find out what it would decide, for a process that still has work to do before it can load
 * the filter. Source: seccomp(2), linux/filter.h; only instructions that the kernel accepts in a filter are covered. */
#include "common.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define ARCH AUDIT_ARCH_S390X
#endif

#ifdef ARCH

/* Compute an arithmetic instruction; 0 when it ends the filter, for a division by zero or an unknown operation. */
static int compute(uint32_t *a, uint16_t code, uint32_t value)
{
	switch (BPF_OP(code)) {
	case BPF_ADD: *a += value; return 1;
	case BPF_SUB: *a -= value; return 1;
	case BPF_MUL: *a *= value; return 1;
	case BPF_OR: *a |= value; return 1;
	case BPF_AND: *a &= value; return 1;
	case BPF_XOR: *a ^= value; return 1;
	case BPF_LSH: *a = value < 32 ? *a << value : 0; return 1;
	case BPF_RSH: *a = value < 32 ? *a >> value : 0; return 1;
	case BPF_NEG: *a = -*a; return 1;
	case BPF_DIV:
		if (value == 0)
			return 0;
		*a /= value;
		return 1;
	}
	return 0;
}

static int holds(uint16_t code, uint32_t a, uint32_t value)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ: return a == value;
	case BPF_JGT: return a > value;
	case BPF_JGE: return a >= value;
	default: return (a & value) != 0;
	}
}

/* Return the verdict; SECCOMP_RET_KILL_PROCESS when the filter divides by zero or has an unknown instruction. */
static uint32_t verdict(const struct sock_filter *program, size_t count, const struct seccomp_data *data)
{
	uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
	for (size_t at = 0; at < count; at++) {
		const struct sock_filter *step = &program[at];
		uint32_t operand = BPF_SRC(step->code) == BPF_X ? x : step->k;
		switch (BPF_CLASS(step->code)) {
		case BPF_LD:
			if (BPF_MODE(step->code) == BPF_ABS && step->k + 4 <= sizeof *data)
				memcpy(&a, (const char *)data + step->k, sizeof a);
			else if (BPF_MODE(step->code) == BPF_MEM && step->k < BPF_MEMWORDS)
				a = memory[step->k];
			else
				a = BPF_MODE(step->code) == BPF_LEN ? sizeof *data : step->k;
			break;
		case BPF_LDX:
			if (BPF_MODE(step->code) == BPF_MEM && step->k < BPF_MEMWORDS)
				x = memory[step->k];
			else
				x = BPF_MODE(step->code) == BPF_LEN ? sizeof *data : step->k;
			break;
		case BPF_ST:
		case BPF_STX:
			if (step->k < BPF_MEMWORDS)
				memory[step->k] = BPF_CLASS(step->code) == BPF_ST ? a : x;
			break;
		case BPF_ALU:
			if (!compute(&a, step->code, operand))
				return SECCOMP_RET_KILL_PROCESS;
			break;
		case BPF_JMP:
			if (BPF_OP(step->code) == BPF_JA)
				at += step->k;
			else
				at += holds(step->code, a, operand) ? step->jt : step->jf;
			break;
		case BPF_RET: return BPF_RVAL(step->code) == BPF_A ? a : step->k;
		default:
			if (BPF_MISCOP(step->code) == BPF_TAX)
				x = a;
			else
				a = x;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static int lets(const Py_buffer *filter, long number, unsigned long long first, unsigned long long second)
{
	struct seccomp_data data = {.nr = (int)number, .arch = ARCH, .args = {first, second}};
	uint32_t action = verdict(filter->buf, (size_t)filter->len / sizeof(struct sock_filter), &data);
	action &= SECCOMP_RET_ACTION_FULL;
	return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

/* The calls that a process may make from here to its program's execve: ours, the interpreter's and malloc's. */
static const long needed[] = {
    SYS_accept4,  SYS_brk,	    SYS_capset,	       SYS_chdir,     SYS_close,   SYS_close_range, SYS_dup3,	  SYS_execve,
    SYS_exit_group, SYS_faccessat,  SYS_fcntl,	       SYS_fstat,     SYS_futex,   SYS_getcwd,	    SYS_getpid,	  SYS_gettid,
    SYS_madvise,  SYS_mmap,	    SYS_mprotect,      SYS_mremap,    SYS_munmap,  SYS_newfstatat,  SYS_openat,	  SYS_pipe2,
    SYS_ppoll,	  SYS_read,	    SYS_recvmsg,       SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sendmsg,
    SYS_sendto,	  SYS_setsid,	    SYS_umask,	       SYS_write,
#ifdef SYS_dup2
    SYS_dup2,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
};

static PyObject *linux_seccomp_permits_exec(PyObject *self, PyObject *args)
{
	(void)self;
	Py_buffer filter;
	if (!PyArg_ParseTuple(args, "y*:seccomp_permits_exec", &filter))
		return NULL;
	int result = lets(&filter, SYS_prctl, PR_SET_PDEATHSIG, SIGKILL) && lets(&filter, SYS_ioctl, 0, TIOCSCTTY) &&
		     lets(&filter, SYS_ioctl, 0, FIONCLEX) &&
		     lets(&filter, SYS_clone, CLONE_PARENT | CLONE_PIDFD | SIGCHLD, 0);
	for (size_t i = 0; result && i < sizeof needed / sizeof *needed; i++)
		result = lets(&filter, needed[i], 0, 0);
	PyBuffer_Release(&filter);
	return PyBool_FromLong(result);
}

#else

/* The seccomp number of this architecture is not known here, so the answer is always no. */
static PyObject *linux_seccomp_permits_exec(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	Py_RETURN_FALSE;
}

#endif

PyMethodDef filter_methods[] = {
    {"seccomp_permits_exec", linux_seccomp_permits_exec, METH_VARARGS,
     "seccomp_permits_exec(filter) -> whether a process under it can still clone, wait for `start` and execute its\n"
     "program. The filter is not loaded, but run on each of these calls; seccomp(2)"},
    {NULL, NULL, 0, NULL},
};
