"""Whether a document is valid by specs/config.schema.json: yes or no, fast, without an import.

Written by scripts/generate-validator; change the schema and run it again. What is wrong, and where, says schema.py.
"""
# fmt: off

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeGuard

    from ._config import Config, Process, Resources


def _strings(values: Any) -> bool:
    try:
        "".join(values)  # joins nothing but strings, and looks at all of them in C
    except TypeError:
        return False
    return True


def _texts(values: Any) -> bool:
    try:
        return "\0" not in "".join(values)
    except TypeError:
        return False


DEVICE_CGROUP_TYPE = frozenset(
    ("", "a", "b", "c")
)
DEVICE_TYPE = frozenset(
    ("c", "b", "u", "p")
)
LINUX_PERSONALITY_DOMAIN = frozenset(
    ("LINUX", "LINUX32")
)
LINUX_ROOTFS_PROPAGATION = frozenset(
    ("", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
)
MEMORY_POLICY_FLAG = frozenset(
    ("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES")
)
MEMORY_POLICY_MODE = frozenset(
    ("MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED",
     "MPOL_PREFERRED_MANY", "MPOL_LOCAL")
)
NAMES = frozenset(
    ("access", "action", "additionalGids", "allow", "ambient", "annotations", "apparmorProfile", "architectures",
     "args", "blockIO", "bounding", "burst", "capabilities", "cgroupsPath", "checkBeforeUpdate", "class",
     "classID", "closID", "commandLine", "consoleSize", "containerID", "cpu", "cpus", "createContainer",
     "createRuntime", "cwd", "deadline", "defaultAction", "defaultErrnoRet", "destination", "devices",
     "disableOOMKiller", "domain", "domainname", "effective", "enableMonitoring", "env", "errnoRet",
     "execCPUAffinity", "fileMode", "final", "flags", "freebsd", "gid", "gidMappings", "hard", "hcaHandles",
     "hcaObjects", "height", "hooks", "hostID", "hostname", "hugepageLimits", "idle", "index", "inheritable",
     "initial", "intelRdt", "ioPriority", "kernel", "kernelTCP", "l3CacheSchema", "leafWeight", "limit", "linux",
     "listenerMetadata", "listenerPath", "major", "maskedPaths", "memBwSchema", "memory", "memoryPolicy", "mems",
     "minor", "mode", "mountLabel", "mounts", "name", "names", "namespaces", "nanosecs", "netDevices", "network",
     "nice", "noNewPrivileges", "nodes", "ociVersion", "oomScoreAdj", "op", "options", "pageSize", "path",
     "period", "permitted", "personality", "pids", "policy", "poststart", "poststop", "prestart", "priorities",
     "priority", "process", "quota", "rate", "rdma", "readonly", "readonlyPaths", "realtimePeriod",
     "realtimeRuntime", "reservation", "resources", "rlimits", "root", "rootfsPropagation", "runtime",
     "scheduler", "schemata", "seccomp", "secs", "selinuxLabel", "shares", "size", "soft", "solaris", "source",
     "startContainer", "swap", "swappiness", "syscalls", "sysctl", "terminal", "throttleReadBpsDevice",
     "throttleReadIOPSDevice", "throttleWriteBpsDevice", "throttleWriteIOPSDevice", "timeOffsets", "timeout",
     "type", "uid", "uidMappings", "umask", "unified", "useHierarchy", "user", "username", "value", "valueTwo",
     "vm", "weight", "weightDevice", "width", "windows", "zos")
)
NAMESPACE_TYPE = frozenset(
    ("mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time")
)
PROCESS_IO_PRIORITY_CLASS = frozenset(
    ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
)
RLIMIT_TYPE = frozenset(
    ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK",
     "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO",
     "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK")
)
SCHEDULER_FLAG = frozenset(
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_POLICY",
     "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX")
)
SCHEDULER_POLICY = frozenset(
    ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE")
)
SECCOMP_ACTION = frozenset(
    ("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
     "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY")
)
SECCOMP_ARCH = frozenset(
    ("SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64",
     "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32",
     "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64",
     "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB",
     "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64")
)
SECCOMP_FLAG = frozenset(
    ("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
     "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
)
SYSCALL_ARG_OP = frozenset(
    ("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
     "SCMP_CMP_MASKED_EQ")
)


def _Device(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("type")) is str and v in DEVICE_TYPE
        and type(v := o.get("path")) is str and v != "" and "\0" not in v
        and ((v := o.get("major")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("minor")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("fileMode")) is None or (type(v) is int and 0 <= v <= 4294967295))
        and ((v := o.get("uid")) is None or (type(v) is int and 0 <= v <= 4294967294))
        and ((v := o.get("gid")) is None or (type(v) is int and 0 <= v <= 4294967294))
    )


def _DeviceCgroup(o: Any) -> bool:
    return (
        type(o) is dict
        and type(o.get("allow")) is bool
        and ((v := o.get("type")) is None or (type(v) is str and v in DEVICE_CGROUP_TYPE))
        and ((v := o.get("major")) is None or (type(v) is int and -1 <= v <= 4294967295))
        and ((v := o.get("minor")) is None or (type(v) is int and -1 <= v <= 4294967295))
        and ((v := o.get("access")) is None or (type(v) is str and not v.strip("rwm")))
    )


def _GID(o: Any) -> bool:
    return (
        type(o) is int
        and 0 <= o <= 4294967294
    )


def _Hook(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("path")) is str and v != "" and "\0" not in v
        and ((v := o.get("args")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("env")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("timeout")) is None or (type(v) is int and 1 <= v <= 9223372036854775807))
    )


def _Hooks(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("prestart")) is None or (type(v) is list and all(map(_Hook, v))))
        and ((v := o.get("createRuntime")) is None or (type(v) is list and all(map(_Hook, v))))
        and ((v := o.get("createContainer")) is None or (type(v) is list and all(map(_Hook, v))))
        and ((v := o.get("startContainer")) is None or (type(v) is list and all(map(_Hook, v))))
        and ((v := o.get("poststart")) is None or (type(v) is list and all(map(_Hook, v))))
        and ((v := o.get("poststop")) is None or (type(v) is list and all(map(_Hook, v))))
    )


def _HugepageLimit(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("pageSize")) is str
        and v[-2:] in ("KB", "MB", "GB")
        and "1" <= v[0] <= "9"
        and not v[:-2].strip("0123456789")
        and type(v := o.get("limit")) is int and 0 <= v <= 18446744073709551615
    )


def _IDMapping(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("containerID")) is int and 0 <= v <= 4294967295
        and type(v := o.get("hostID")) is int and 0 <= v <= 4294967295
        and type(v := o.get("size")) is int and 0 <= v <= 4294967295
    )


def _InterfacePriority(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("name")) is str and "\0" not in v
        and type(v := o.get("priority")) is int and 0 <= v <= 4294967295
    )


def _Linux(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("namespaces")) is None or (type(v) is list and all(map(_Namespace, v))))
        and ((v := o.get("uidMappings")) is None or (type(v) is list and all(map(_IDMapping, v))))
        and ((v := o.get("gidMappings")) is None or (type(v) is list and all(map(_IDMapping, v))))
        and ((v := o.get("timeOffsets")) is None or (type(v) is dict and all(map(_TimeOffset, v.values()))))
        and ((v := o.get("devices")) is None or (type(v) is list and all(map(_Device, v))))
        and ((v := o.get("netDevices")) is None or (type(v) is dict and all(map(_NetDevice, v.values()))))
        and ((v := o.get("cgroupsPath")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("resources")) is None or _Resources(v))
        and ((v := o.get("rootfsPropagation")) is None or (type(v) is str and v in LINUX_ROOTFS_PROPAGATION))
        and ((v := o.get("seccomp")) is None or _Seccomp(v))
        and ((v := o.get("sysctl")) is None or (type(v) is dict and _texts(v.values())))
        and ((v := o.get("maskedPaths")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("readonlyPaths")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("mountLabel")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("intelRdt")) is None or _Linux_intelRdt(v))
        and ((v := o.get("memoryPolicy")) is None or _Linux_memoryPolicy(v))
        and ((v := o.get("personality")) is None or _Linux_personality(v))
    )


def _Linux_intelRdt(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("closID")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("schemata")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("l3CacheSchema")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("memBwSchema")) is None or (type(v) is str and v[:3] == "MB:" and "\n" not in v and "\0" not in v))
        and ((v := o.get("enableMonitoring")) is None or type(v) is bool)
    )


def _Linux_memoryPolicy(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("mode")) is str and v in MEMORY_POLICY_MODE
        and ((v := o.get("nodes")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("flags")) is None or (type(v) is list and all(map(_MemoryPolicyFlag, v))))
    )


def _Linux_personality(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("domain")) is str and v in LINUX_PERSONALITY_DOMAIN
        and ((v := o.get("flags")) is None or (type(v) is list and _texts(v)))
    )


def _MemoryPolicyFlag(o: Any) -> bool:
    return (
        type(o) is str
        and o in MEMORY_POLICY_FLAG
    )


def _Mount(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("destination")) is str and v != "" and "\0" not in v
        and ((v := o.get("type")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("source")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("options")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("uidMappings")) is None or (type(v) is list and all(map(_IDMapping, v))))
        and ((v := o.get("gidMappings")) is None or (type(v) is list and all(map(_IDMapping, v))))
    )


def _Namespace(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("type")) is str and v in NAMESPACE_TYPE
        and ((v := o.get("path")) is None or (type(v) is str and "\0" not in v))
    )


def _NetDevice(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("name")) is None or (type(v) is str and "\0" not in v))
    )


def _Process(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("terminal")) is None or type(v) is bool)
        and ((v := o.get("consoleSize")) is None or _Process_consoleSize(v))
        and ((v := o.get("user")) is None or _Process_user(v))
        and ((v := o.get("args")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("commandLine")) is None or type(v) is str)
        and ((v := o.get("env")) is None or (type(v) is list and _texts(v)))
        and type(v := o.get("cwd")) is str and "\0" not in v
        and ((v := o.get("capabilities")) is None or _Process_capabilities(v))
        and ((v := o.get("rlimits")) is None or (type(v) is list and all(map(_Rlimit, v))))
        and ((v := o.get("noNewPrivileges")) is None or type(v) is bool)
        and ((v := o.get("apparmorProfile")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("oomScoreAdj")) is None or (type(v) is int and -1000 <= v <= 1000))
        and ((v := o.get("scheduler")) is None or _Scheduler(v))
        and ((v := o.get("selinuxLabel")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("ioPriority")) is None or _Process_ioPriority(v))
        and ((v := o.get("execCPUAffinity")) is None or _Process_execCPUAffinity(v))
    )


def _Process_capabilities(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("bounding")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("effective")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("inheritable")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("permitted")) is None or (type(v) is list and _texts(v)))
        and ((v := o.get("ambient")) is None or (type(v) is list and _texts(v)))
    )


def _Process_consoleSize(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("height")) is int and 0 <= v <= 18446744073709551615
        and type(v := o.get("width")) is int and 0 <= v <= 18446744073709551615
    )


def _Process_execCPUAffinity(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("initial")) is None or (type(v) is str and not v.strip("0123456789, -")))
        and ((v := o.get("final")) is None or (type(v) is str and not v.strip("0123456789, -")))
    )


def _Process_ioPriority(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("class")) is str and v in PROCESS_IO_PRIORITY_CLASS
        and type(v := o.get("priority")) is int and 0 <= v <= 7
    )


def _Process_user(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("uid")) is None or (type(v) is int and 0 <= v <= 4294967294))
        and ((v := o.get("gid")) is None or (type(v) is int and 0 <= v <= 4294967294))
        and ((v := o.get("umask")) is None or (type(v) is int and 0 <= v <= 4294967295))
        and ((v := o.get("additionalGids")) is None or (type(v) is list and all(map(_GID, v))))
        and ((v := o.get("username")) is None or type(v) is str)
    )


def _Rdma(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("hcaHandles")) is None or (type(v) is int and 0 <= v <= 4294967295))
        and ((v := o.get("hcaObjects")) is None or (type(v) is int and 0 <= v <= 4294967295))
    )


def _Resources(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("devices")) is None or (type(v) is list and all(map(_DeviceCgroup, v))))
        and ((v := o.get("memory")) is None or _Resources_memory(v))
        and ((v := o.get("cpu")) is None or _Resources_cpu(v))
        and ((v := o.get("pids")) is None or _Resources_pids(v))
        and ((v := o.get("blockIO")) is None or _Resources_blockIO(v))
        and ((v := o.get("hugepageLimits")) is None or (type(v) is list and all(map(_HugepageLimit, v))))
        and ((v := o.get("network")) is None or _Resources_network(v))
        and ((v := o.get("rdma")) is None or (type(v) is dict and all(map(_Rdma, v.values()))))
        and ((v := o.get("unified")) is None or (type(v) is dict and _texts(v.values())))
    )


def _Resources_blockIO(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("weight")) is None or (type(v) is int and 0 <= v <= 65535))
        and ((v := o.get("leafWeight")) is None or (type(v) is int and 0 <= v <= 65535))
        and ((v := o.get("weightDevice")) is None or (type(v) is list and all(map(_WeightDevice, v))))
        and ((v := o.get("throttleReadBpsDevice")) is None or (type(v) is list and all(map(_ThrottleDevice, v))))
        and ((v := o.get("throttleWriteBpsDevice")) is None or (type(v) is list and all(map(_ThrottleDevice, v))))
        and ((v := o.get("throttleReadIOPSDevice")) is None or (type(v) is list and all(map(_ThrottleDevice, v))))
        and ((v := o.get("throttleWriteIOPSDevice")) is None or (type(v) is list and all(map(_ThrottleDevice, v))))
    )


def _Resources_cpu(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("shares")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and ((v := o.get("quota")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("burst")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and ((v := o.get("period")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and ((v := o.get("realtimeRuntime")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("realtimePeriod")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and ((v := o.get("cpus")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("mems")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("idle")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
    )


def _Resources_memory(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("limit")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("reservation")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("swap")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("kernel")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("kernelTCP")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("swappiness")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and ((v := o.get("disableOOMKiller")) is None or type(v) is bool)
        and ((v := o.get("useHierarchy")) is None or type(v) is bool)
        and ((v := o.get("checkBeforeUpdate")) is None or type(v) is bool)
    )


def _Resources_network(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("classID")) is None or (type(v) is int and 0 <= v <= 4294967295))
        and ((v := o.get("priorities")) is None or (type(v) is list and all(map(_InterfacePriority, v))))
    )


def _Resources_pids(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("limit")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
    )


def _Rlimit(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("type")) is str and v in RLIMIT_TYPE
        and type(v := o.get("soft")) is int and 0 <= v <= 18446744073709551615
        and type(v := o.get("hard")) is int and 0 <= v <= 18446744073709551615
    )


def _Root(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("path")) is str and v != "" and "\0" not in v
        and ((v := o.get("readonly")) is None or type(v) is bool)
    )


def _Scheduler(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("policy")) is str and v in SCHEDULER_POLICY
        and ((v := o.get("nice")) is None or (type(v) is int and -2147483648 <= v <= 2147483647))
        and ((v := o.get("priority")) is None or (type(v) is int and -2147483648 <= v <= 2147483647))
        and ((v := o.get("flags")) is None or (type(v) is list and all(map(_SchedulerFlag, v))))
        and ((v := o.get("runtime")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and ((v := o.get("deadline")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and ((v := o.get("period")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
    )


def _SchedulerFlag(o: Any) -> bool:
    return (
        type(o) is str
        and o in SCHEDULER_FLAG
    )


def _Seccomp(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("defaultAction")) is str and v in SECCOMP_ACTION
        and ((v := o.get("defaultErrnoRet")) is None or (type(v) is int and 0 <= v <= 65535))
        and ((v := o.get("architectures")) is None or (type(v) is list and all(map(_SeccompArch, v))))
        and ((v := o.get("flags")) is None or (type(v) is list and all(map(_SeccompFlag, v))))
        and ((v := o.get("listenerPath")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("listenerMetadata")) is None or type(v) is str)
        and ((v := o.get("syscalls")) is None or (type(v) is list and all(map(_Syscall, v))))
    )


def _SeccompArch(o: Any) -> bool:
    return (
        type(o) is str
        and o in SECCOMP_ARCH
    )


def _SeccompFlag(o: Any) -> bool:
    return (
        type(o) is str
        and o in SECCOMP_FLAG
    )


def _Syscall(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("names")) is list and len(v) >= 1 and _texts(v)
        and type(v := o.get("action")) is str and v in SECCOMP_ACTION
        and ((v := o.get("errnoRet")) is None or (type(v) is int and 0 <= v <= 65535))
        and ((v := o.get("args")) is None or (type(v) is list and all(map(_SyscallArg, v))))
    )


def _SyscallArg(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("index")) is int and 0 <= v <= 5
        and type(v := o.get("value")) is int and 0 <= v <= 18446744073709551615
        and ((v := o.get("valueTwo")) is None or (type(v) is int and 0 <= v <= 18446744073709551615))
        and type(v := o.get("op")) is str and v in SYSCALL_ARG_OP
    )


def _ThrottleDevice(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("major")) is int and -9223372036854775808 <= v <= 9223372036854775807
        and type(v := o.get("minor")) is int and -9223372036854775808 <= v <= 9223372036854775807
        and type(v := o.get("rate")) is int and 0 <= v <= 18446744073709551615
    )


def _TimeOffset(o: Any) -> bool:
    return (
        type(o) is dict
        and ((v := o.get("secs")) is None or (type(v) is int and -9223372036854775808 <= v <= 9223372036854775807))
        and ((v := o.get("nanosecs")) is None or (type(v) is int and 0 <= v <= 999999999))
    )


def _WeightDevice(o: Any) -> bool:
    return (
        type(o) is dict
        and type(v := o.get("major")) is int and -9223372036854775808 <= v <= 9223372036854775807
        and type(v := o.get("minor")) is int and -9223372036854775808 <= v <= 9223372036854775807
        and ((v := o.get("weight")) is None or (type(v) is int and 0 <= v <= 65535))
        and ((v := o.get("leafWeight")) is None or (type(v) is int and 0 <= v <= 65535))
    )


def is_valid(o: Any) -> TypeGuard[Config]:
    return (
        type(o) is dict
        and type(o.get("ociVersion")) is str
        and ((v := o.get("process")) is None or _Process(v))
        and _Root(o.get("root"))
        and ((v := o.get("hostname")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("domainname")) is None or (type(v) is str and "\0" not in v))
        and ((v := o.get("mounts")) is None or (type(v) is list and all(map(_Mount, v))))
        and ((v := o.get("hooks")) is None or _Hooks(v))
        and ((v := o.get("annotations")) is None or (type(v) is dict and _strings(v.values())))
        and ((v := o.get("linux")) is None or _Linux(v))
        and ((v := o.get("freebsd")) is None or type(v) is dict)
        and ((v := o.get("solaris")) is None or type(v) is dict)
        and ((v := o.get("vm")) is None or type(v) is dict)
        and ((v := o.get("windows")) is None or type(v) is dict)
        and ((v := o.get("zos")) is None or type(v) is dict)
    )


def is_valid_process(o: Any) -> TypeGuard[Process]:
    return _Process(o)


def is_valid_resources(o: Any) -> TypeGuard[Resources]:
    return _Resources(o)
