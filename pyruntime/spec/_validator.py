# Made by scripts/generate-validator from specs/config.schema.json; do not edit.
"""Says whether a document is valid, and no more: pyruntime.spec.schema says why not."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ABSENT = object()


def _check4(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (type(item) is str):
            return False
    return True


def _check3(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'path' not in value:
        return False
    item = value.get('path', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('args', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('env', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('timeout', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and item >= 1):
        return False
    return True


def _check2(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check3(item)):
            return False
    return True


def _check1(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('prestart', _ABSENT)
    if item is not _ABSENT and not (_check2(item)):
        return False
    item = value.get('createRuntime', _ABSENT)
    if item is not _ABSENT and not (_check2(item)):
        return False
    item = value.get('createContainer', _ABSENT)
    if item is not _ABSENT and not (_check2(item)):
        return False
    item = value.get('startContainer', _ABSENT)
    if item is not _ABSENT and not (_check2(item)):
        return False
    item = value.get('poststart', _ABSENT)
    if item is not _ABSENT and not (_check2(item)):
        return False
    item = value.get('poststop', _ABSENT)
    if item is not _ABSENT and not (_check2(item)):
        return False
    return True


def _check5(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    for item in value.values():
        if not (type(item) is str):
            return False
    return True


def _check9(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'containerID' not in value:
        return False
    if 'hostID' not in value:
        return False
    if 'size' not in value:
        return False
    item = value.get('containerID', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('hostID', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('size', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    return True


def _check8(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check9(item)):
            return False
    return True


def _check7(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'destination' not in value:
        return False
    item = value.get('source', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('destination', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('options', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('type', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('uidMappings', _ABSENT)
    if item is not _ABSENT and not (_check8(item)):
        return False
    item = value.get('gidMappings', _ABSENT)
    if item is not _ABSENT and not (_check8(item)):
        return False
    return True


def _check6(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check7(item)):
            return False
    return True


def _check10(value: Any) -> bool:
    if type(value) is not dict:
        return False
    if 'path' not in value:
        return False
    item = value.get('path', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('readonly', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    return True


def _check12(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'height' not in value:
        return False
    if 'width' not in value:
        return False
    item = value.get('height', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('width', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    return True


def _check14(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (type(item) is int and 0 <= item <= 4294967295):
            return False
    return True


def _check13(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('uid', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('gid', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('umask', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('additionalGids', _ABSENT)
    if item is not _ABSENT and not (_check14(item)):
        return False
    item = value.get('username', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    return True


def _check15(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('bounding', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('permitted', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('effective', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('inheritable', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('ambient', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    return True


def _check16(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'class' not in value:
        return False
    item = value.get('class', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('IOPRIO_CLASS_RT', 'IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE')):
        return False
    item = value.get('priority', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -2147483648 <= item <= 2147483647):
        return False
    return True


def _check18(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (type(item) is str and item in ('SCHED_FLAG_RESET_ON_FORK', 'SCHED_FLAG_RECLAIM', 'SCHED_FLAG_DL_OVERRUN', 'SCHED_FLAG_KEEP_POLICY', 'SCHED_FLAG_KEEP_PARAMS', 'SCHED_FLAG_UTIL_CLAMP_MIN', 'SCHED_FLAG_UTIL_CLAMP_MAX')):
            return False
    return True


def _check17(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'policy' not in value:
        return False
    item = value.get('policy', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('SCHED_OTHER', 'SCHED_FIFO', 'SCHED_RR', 'SCHED_BATCH', 'SCHED_ISO', 'SCHED_IDLE', 'SCHED_DEADLINE')):
        return False
    item = value.get('nice', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -2147483648 <= item <= 2147483647):
        return False
    item = value.get('priority', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -2147483648 <= item <= 2147483647):
        return False
    item = value.get('flags', _ABSENT)
    if item is not _ABSENT and not (_check18(item)):
        return False
    item = value.get('runtime', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('deadline', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('period', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    return True


def _check20(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'type' not in value:
        return False
    if 'soft' not in value:
        return False
    if 'hard' not in value:
        return False
    item = value.get('hard', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('soft', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('type', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('RLIMIT_AS', 'RLIMIT_CORE', 'RLIMIT_CPU', 'RLIMIT_DATA', 'RLIMIT_FSIZE', 'RLIMIT_LOCKS', 'RLIMIT_MEMLOCK', 'RLIMIT_MSGQUEUE', 'RLIMIT_NICE', 'RLIMIT_NOFILE', 'RLIMIT_NPROC', 'RLIMIT_RSS', 'RLIMIT_RTPRIO', 'RLIMIT_RTTIME', 'RLIMIT_SIGPENDING', 'RLIMIT_STACK')):
        return False
    return True


def _check19(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check20(item)):
            return False
    return True


def _check21(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('initial', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('final', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    return True


def _check11(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'cwd' not in value:
        return False
    item = value.get('args', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('consoleSize', _ABSENT)
    if item is not _ABSENT and not (_check12(item)):
        return False
    item = value.get('cwd', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('env', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('terminal', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    item = value.get('user', _ABSENT)
    if item is not _ABSENT and not (_check13(item)):
        return False
    item = value.get('capabilities', _ABSENT)
    if item is not _ABSENT and not (_check15(item)):
        return False
    item = value.get('apparmorProfile', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('oomScoreAdj', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -1000 <= item <= 1000):
        return False
    item = value.get('selinuxLabel', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('ioPriority', _ABSENT)
    if item is not _ABSENT and not (_check16(item)):
        return False
    item = value.get('noNewPrivileges', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    item = value.get('scheduler', _ABSENT)
    if item is not _ABSENT and not (_check17(item)):
        return False
    item = value.get('rlimits', _ABSENT)
    if item is not _ABSENT and not (_check19(item)):
        return False
    item = value.get('execCPUAffinity', _ABSENT)
    if item is not _ABSENT and not (_check21(item)):
        return False
    return True


def _check24(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'type' not in value:
        return False
    if 'path' not in value:
        return False
    item = value.get('type', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('c', 'b', 'u', 'p')):
        return False
    item = value.get('path', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('fileMode', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('major', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('minor', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('uid', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('gid', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    return True


def _check23(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check24(item)):
            return False
    return True


def _check26(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('name', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    return True


def _check25(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    for item in value.values():
        if not (_check26(item)):
            return False
    return True


def _check28(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'type' not in value:
        return False
    item = value.get('type', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('mount', 'pid', 'network', 'uts', 'ipc', 'user', 'cgroup', 'time')):
        return False
    item = value.get('path', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    return True


def _check27(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check28(item)):
            return False
    return True


def _check30(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (type(item) is str and item in ('SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW', 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV')):
            return False
    return True


def _check31(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (type(item) is str and item in ('SCMP_ARCH_X86', 'SCMP_ARCH_X86_64', 'SCMP_ARCH_X32', 'SCMP_ARCH_ARM', 'SCMP_ARCH_AARCH64', 'SCMP_ARCH_LOONGARCH64', 'SCMP_ARCH_M68K', 'SCMP_ARCH_MIPS', 'SCMP_ARCH_MIPS64', 'SCMP_ARCH_MIPS64N32', 'SCMP_ARCH_MIPSEL', 'SCMP_ARCH_MIPSEL64', 'SCMP_ARCH_MIPSEL64N32', 'SCMP_ARCH_PPC', 'SCMP_ARCH_PPC64', 'SCMP_ARCH_PPC64LE', 'SCMP_ARCH_S390', 'SCMP_ARCH_S390X', 'SCMP_ARCH_SH', 'SCMP_ARCH_SHEB', 'SCMP_ARCH_PARISC', 'SCMP_ARCH_PARISC64', 'SCMP_ARCH_RISCV64')):
            return False
    return True


def _check34(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    if len(value) < 1:
        return False
    for item in value:
        if not (type(item) is str):
            return False
    return True


def _check36(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'index' not in value:
        return False
    if 'value' not in value:
        return False
    if 'op' not in value:
        return False
    item = value.get('index', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('value', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('valueTwo', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('op', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('SCMP_CMP_NE', 'SCMP_CMP_LT', 'SCMP_CMP_LE', 'SCMP_CMP_EQ', 'SCMP_CMP_GE', 'SCMP_CMP_GT', 'SCMP_CMP_MASKED_EQ')):
        return False
    return True


def _check35(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check36(item)):
            return False
    return True


def _check33(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'names' not in value:
        return False
    if 'action' not in value:
        return False
    item = value.get('names', _ABSENT)
    if item is not _ABSENT and not (_check34(item)):
        return False
    item = value.get('action', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('SCMP_ACT_KILL', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_TRAP', 'SCMP_ACT_ERRNO', 'SCMP_ACT_TRACE', 'SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_NOTIFY')):
        return False
    item = value.get('errnoRet', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('args', _ABSENT)
    if item is not _ABSENT and not (_check35(item)):
        return False
    return True


def _check32(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check33(item)):
            return False
    return True


def _check29(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'defaultAction' not in value:
        return False
    item = value.get('defaultAction', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('SCMP_ACT_KILL', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_TRAP', 'SCMP_ACT_ERRNO', 'SCMP_ACT_TRACE', 'SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_NOTIFY')):
        return False
    item = value.get('defaultErrnoRet', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('flags', _ABSENT)
    if item is not _ABSENT and not (_check30(item)):
        return False
    item = value.get('listenerPath', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('listenerMetadata', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('architectures', _ABSENT)
    if item is not _ABSENT and not (_check31(item)):
        return False
    item = value.get('syscalls', _ABSENT)
    if item is not _ABSENT and not (_check32(item)):
        return False
    return True


def _check37(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('closID', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('schemata', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('l3CacheSchema', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('memBwSchema', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('enableMonitoring', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    return True


def _check39(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (type(item) is str and item in ('MPOL_F_NUMA_BALANCING', 'MPOL_F_RELATIVE_NODES', 'MPOL_F_STATIC_NODES')):
            return False
    return True


def _check38(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('mode', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('MPOL_DEFAULT', 'MPOL_BIND', 'MPOL_INTERLEAVE', 'MPOL_WEIGHTED_INTERLEAVE', 'MPOL_PREFERRED', 'MPOL_PREFERRED_MANY', 'MPOL_LOCAL')):
        return False
    item = value.get('nodes', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('flags', _ABSENT)
    if item is not _ABSENT and not (_check39(item)):
        return False
    return True


def _check40(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('domain', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('LINUX', 'LINUX32')):
        return False
    item = value.get('flags', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    return True


def _check42(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('secs', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('nanosecs', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    return True


def _check41(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('boottime', _ABSENT)
    if item is not _ABSENT and not (_check42(item)):
        return False
    item = value.get('monotonic', _ABSENT)
    if item is not _ABSENT and not (_check42(item)):
        return False
    return True


def _check45(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'allow' not in value:
        return False
    item = value.get('allow', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    item = value.get('type', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('major', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('minor', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('access', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    return True


def _check44(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check45(item)):
            return False
    return True


def _check46(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'limit' not in value:
        return False
    item = value.get('limit', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    return True


def _check49(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'major' not in value:
        return False
    if 'minor' not in value:
        return False
    item = value.get('major', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('minor', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('rate', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    return True


def _check48(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check49(item)):
            return False
    return True


def _check51(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'major' not in value:
        return False
    if 'minor' not in value:
        return False
    item = value.get('major', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('minor', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('weight', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 65535):
        return False
    item = value.get('leafWeight', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 65535):
        return False
    return True


def _check50(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check51(item)):
            return False
    return True


def _check47(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('weight', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 65535):
        return False
    item = value.get('leafWeight', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 65535):
        return False
    item = value.get('throttleReadBpsDevice', _ABSENT)
    if item is not _ABSENT and not (_check48(item)):
        return False
    item = value.get('throttleWriteBpsDevice', _ABSENT)
    if item is not _ABSENT and not (_check48(item)):
        return False
    item = value.get('throttleReadIOPSDevice', _ABSENT)
    if item is not _ABSENT and not (_check48(item)):
        return False
    item = value.get('throttleWriteIOPSDevice', _ABSENT)
    if item is not _ABSENT and not (_check48(item)):
        return False
    item = value.get('weightDevice', _ABSENT)
    if item is not _ABSENT and not (_check50(item)):
        return False
    return True


def _check52(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('cpus', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('mems', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('period', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('quota', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('burst', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('realtimePeriod', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('realtimeRuntime', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('shares', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('idle', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    return True


def _check54(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'pageSize' not in value:
        return False
    if 'limit' not in value:
        return False
    item = value.get('pageSize', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('limit', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    return True


def _check53(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check54(item)):
            return False
    return True


def _check55(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('kernel', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('kernelTCP', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('limit', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('reservation', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('swap', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -9223372036854775808 <= item <= 9223372036854775807):
        return False
    item = value.get('swappiness', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 18446744073709551615):
        return False
    item = value.get('disableOOMKiller', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    item = value.get('useHierarchy', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    item = value.get('checkBeforeUpdate', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    return True


def _check58(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    if 'name' not in value:
        return False
    if 'priority' not in value:
        return False
    item = value.get('name', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('priority', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    return True


def _check57(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if not (_check58(item)):
            return False
    return True


def _check56(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('classID', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('priorities', _ABSENT)
    if item is not _ABSENT and not (_check57(item)):
        return False
    return True


def _check60(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('hcaHandles', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    item = value.get('hcaObjects', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and 0 <= item <= 4294967295):
        return False
    return True


def _check59(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    for item in value.values():
        if not (_check60(item)):
            return False
    return True


def _check43(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('unified', _ABSENT)
    if item is not _ABSENT and not (_check5(item)):
        return False
    item = value.get('devices', _ABSENT)
    if item is not _ABSENT and not (_check44(item)):
        return False
    item = value.get('pids', _ABSENT)
    if item is not _ABSENT and not (_check46(item)):
        return False
    item = value.get('blockIO', _ABSENT)
    if item is not _ABSENT and not (_check47(item)):
        return False
    item = value.get('cpu', _ABSENT)
    if item is not _ABSENT and not (_check52(item)):
        return False
    item = value.get('hugepageLimits', _ABSENT)
    if item is not _ABSENT and not (_check53(item)):
        return False
    item = value.get('memory', _ABSENT)
    if item is not _ABSENT and not (_check55(item)):
        return False
    item = value.get('network', _ABSENT)
    if item is not _ABSENT and not (_check56(item)):
        return False
    item = value.get('rdma', _ABSENT)
    if item is not _ABSENT and not (_check59(item)):
        return False
    return True


def _check22(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    item = value.get('devices', _ABSENT)
    if item is not _ABSENT and not (_check23(item)):
        return False
    item = value.get('netDevices', _ABSENT)
    if item is not _ABSENT and not (_check25(item)):
        return False
    item = value.get('uidMappings', _ABSENT)
    if item is not _ABSENT and not (_check8(item)):
        return False
    item = value.get('gidMappings', _ABSENT)
    if item is not _ABSENT and not (_check8(item)):
        return False
    item = value.get('namespaces', _ABSENT)
    if item is not _ABSENT and not (_check27(item)):
        return False
    item = value.get('cgroupsPath', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('rootfsPropagation', _ABSENT)
    if item is not _ABSENT and not (type(item) is str and item in ('', 'private', 'shared', 'slave', 'unbindable', 'rprivate', 'rshared', 'rslave', 'runbindable')):
        return False
    item = value.get('seccomp', _ABSENT)
    if item is not _ABSENT and not (_check29(item)):
        return False
    item = value.get('sysctl', _ABSENT)
    if item is not _ABSENT and not (_check5(item)):
        return False
    item = value.get('maskedPaths', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('readonlyPaths', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('mountLabel', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('intelRdt', _ABSENT)
    if item is not _ABSENT and not (_check37(item)):
        return False
    item = value.get('memoryPolicy', _ABSENT)
    if item is not _ABSENT and not (_check38(item)):
        return False
    item = value.get('personality', _ABSENT)
    if item is not _ABSENT and not (_check40(item)):
        return False
    item = value.get('timeOffsets', _ABSENT)
    if item is not _ABSENT and not (_check41(item)):
        return False
    item = value.get('resources', _ABSENT)
    if item is not _ABSENT and not (_check43(item)):
        return False
    return True


def _check61(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict:
        return False
    return True


def _check0(value: Any) -> bool:
    if type(value) is not dict:
        return False
    if 'ociVersion' not in value:
        return False
    if 'root' not in value:
        return False
    item = value.get('ociVersion', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('hooks', _ABSENT)
    if item is not _ABSENT and not (_check1(item)):
        return False
    item = value.get('annotations', _ABSENT)
    if item is not _ABSENT and not (_check5(item)):
        return False
    item = value.get('hostname', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('domainname', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('mounts', _ABSENT)
    if item is not _ABSENT and not (_check6(item)):
        return False
    item = value.get('root', _ABSENT)
    if item is not _ABSENT and not (_check10(item)):
        return False
    item = value.get('process', _ABSENT)
    if item is not _ABSENT and not (_check11(item)):
        return False
    item = value.get('linux', _ABSENT)
    if item is not _ABSENT and not (_check22(item)):
        return False
    item = value.get('vm', _ABSENT)
    if item is not _ABSENT and not (_check61(item)):
        return False
    item = value.get('windows', _ABSENT)
    if item is not _ABSENT and not (_check61(item)):
        return False
    item = value.get('solaris', _ABSENT)
    if item is not _ABSENT and not (_check61(item)):
        return False
    item = value.get('freebsd', _ABSENT)
    if item is not _ABSENT and not (_check61(item)):
        return False
    item = value.get('zos', _ABSENT)
    if item is not _ABSENT and not (_check61(item)):
        return False
    return True


def is_valid(document: Any) -> bool:
    """Whether a value is a valid config.json."""
    return _check0(document)


def _check62(value: Any) -> bool:
    if type(value) is not dict:
        return False
    if 'cwd' not in value:
        return False
    item = value.get('args', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('consoleSize', _ABSENT)
    if item is not _ABSENT and not (_check12(item)):
        return False
    item = value.get('cwd', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('env', _ABSENT)
    if item is not _ABSENT and not (_check4(item)):
        return False
    item = value.get('terminal', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    item = value.get('user', _ABSENT)
    if item is not _ABSENT and not (_check13(item)):
        return False
    item = value.get('capabilities', _ABSENT)
    if item is not _ABSENT and not (_check15(item)):
        return False
    item = value.get('apparmorProfile', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('oomScoreAdj', _ABSENT)
    if item is not _ABSENT and not (type(item) is int and -1000 <= item <= 1000):
        return False
    item = value.get('selinuxLabel', _ABSENT)
    if item is not _ABSENT and not (type(item) is str):
        return False
    item = value.get('ioPriority', _ABSENT)
    if item is not _ABSENT and not (_check16(item)):
        return False
    item = value.get('noNewPrivileges', _ABSENT)
    if item is not _ABSENT and not (type(item) is bool):
        return False
    item = value.get('scheduler', _ABSENT)
    if item is not _ABSENT and not (_check17(item)):
        return False
    item = value.get('rlimits', _ABSENT)
    if item is not _ABSENT and not (_check19(item)):
        return False
    item = value.get('execCPUAffinity', _ABSENT)
    if item is not _ABSENT and not (_check21(item)):
        return False
    return True


def is_valid_process(document: Any) -> bool:
    """Whether a value is a valid process document."""
    return _check62(document)


def _check63(value: Any) -> bool:
    if type(value) is not dict:
        return False
    item = value.get('unified', _ABSENT)
    if item is not _ABSENT and not (_check5(item)):
        return False
    item = value.get('devices', _ABSENT)
    if item is not _ABSENT and not (_check44(item)):
        return False
    item = value.get('pids', _ABSENT)
    if item is not _ABSENT and not (_check46(item)):
        return False
    item = value.get('blockIO', _ABSENT)
    if item is not _ABSENT and not (_check47(item)):
        return False
    item = value.get('cpu', _ABSENT)
    if item is not _ABSENT and not (_check52(item)):
        return False
    item = value.get('hugepageLimits', _ABSENT)
    if item is not _ABSENT and not (_check53(item)):
        return False
    item = value.get('memory', _ABSENT)
    if item is not _ABSENT and not (_check55(item)):
        return False
    item = value.get('network', _ABSENT)
    if item is not _ABSENT and not (_check56(item)):
        return False
    item = value.get('rdma', _ABSENT)
    if item is not _ABSENT and not (_check59(item)):
        return False
    return True


def is_valid_resources(document: Any) -> bool:
    """Whether a value is a valid resources document."""
    return _check63(document)
