/* Calls that are newer than a seccomp profile fail with ENOSYS, as on a kernel without them: the C library then falls
 * back to an older call, which it does for no other errno. libseccomp has no such rule, so a prologue is put before its
 * program.
 * Source: runc's libcontainer/seccomp/patchbpf (behaviour), seccomp(2), linux/filter.h. */
#include "enosys.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#define X32_BIT 0x40000000u
/* Numbers of 32-bit Arm's private calls start here (asm/unistd.h, __ARM_NR_BASE); they are no newer than the others. */
#define ARM_PRIVATE 0x0f0000
/* No number is greater. */
#define NEVER UINT32_MAX

struct program {
	struct sock_filter *at;
	size_t count;
};

static void emit(struct program *program, uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false)
{
	program->at[program->count++] = (struct sock_filter){code, if_true, if_false, value};
}

static uint32_t limit(const struct newest *known, size_t count, uint32_t arch)
{
	for (size_t i = 0; i < count; i++)
		if (known[i].arch == arch && known[i].number >= 0)
			return (uint32_t)known[i].number;
	return NEVER;
}

int enosys_age(uint32_t arch, int number)
{
	return arch == SCMP_ARCH_ARM && number >= ARM_PRIVATE ? -1 : number;
}

/* Emit the section of one architecture, given by its audit number: each path ends at RET or at the JA after it. */
static void section(struct program *program, uint32_t arch, uint32_t newest, uint32_t newest_x32)
{
	emit(program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	if (arch == AUDIT_ARCH_X86_64) {
		/* x32 has the same audit architecture; a bit marks its call numbers. */
		emit(program, BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 1, 0);
		emit(program, BPF_JMP | BPF_JGT | BPF_K, newest, 1, 2);
		newest = newest_x32;
	} else if (arch == AUDIT_ARCH_ARM) {
		emit(program, BPF_JMP | BPF_JGE | BPF_K, ARM_PRIVATE, 2, 0);
	} else if (arch == AUDIT_ARCH_S390 || arch == AUDIT_ARCH_S390X) {
		/* For a number that is too high for this kernel the filter sees 0, which no program calls directly. */
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
	}
	emit(program, BPF_JMP | BPF_JGT | BPF_K, newest, 0, 1);
	emit(program, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
}

size_t enosys_prologue(const struct newest *known, size_t count, struct sock_filter *into)
{
	struct program program = {into, 0};
	emit(&program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	for (size_t i = 0; i < count; i++) {
		uint32_t arch = known[i].arch, x32 = NEVER;
		if (arch == SCMP_ARCH_X32 && limit(known, count, SCMP_ARCH_X86_64) != NEVER)
			continue; /* Covered by the section of x86-64. */
		if (arch == SCMP_ARCH_X32 || arch == SCMP_ARCH_X86_64) {
			arch = SCMP_ARCH_X86_64;
			x32 = limit(known, count, SCMP_ARCH_X32);
		}
		uint32_t newest = limit(known, count, arch);
		if (newest == NEVER && x32 == NEVER)
			continue;
		size_t check = program.count;
		emit(&program, BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 0);
		section(&program, arch, newest, x32);
		into[check].jf = (uint8_t)(program.count - check - 1);
	}
	for (size_t i = 0; i < program.count; i++)
		if (into[i].code == (BPF_JMP | BPF_JA))
			into[i].k = (uint32_t)(program.count - i - 1);
	return program.count > 1 ? program.count : 0;
}
