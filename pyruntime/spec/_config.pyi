"""The types of a config that is valid by specs/config.schema.json, as it is once read: without a null.

Written by scripts/generate-validator; change the schema and run it again. For type checkers alone: import from here
below `if TYPE_CHECKING`.
"""

from typing import Any, Literal, Required, TypedDict


class ProcessConsoleSize(TypedDict, total=False):
    height: Required[int]
    width: Required[int]

class ProcessUser(TypedDict, total=False):
    uid: int
    gid: int
    umask: int
    additionalGids: list[int]
    username: str

class ProcessCapabilities(TypedDict, total=False):
    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]

RlimitType = Literal[
    "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK"
]

class Rlimit(TypedDict, total=False):
    type: Required[RlimitType]
    soft: Required[int]
    hard: Required[int]

SchedulerPolicy = Literal[
    "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"
]

SchedulerFlag = Literal[
    "SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"
]

class Scheduler(TypedDict, total=False):
    policy: Required[SchedulerPolicy]
    nice: int
    priority: int
    flags: list[SchedulerFlag]
    runtime: int
    deadline: int
    period: int

ProcessIoPriorityClass = Literal[
    "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"
]

ProcessIoPriority = TypedDict("ProcessIoPriority", {
    "class": Required[ProcessIoPriorityClass],
    "priority": Required[int],
}, total=False)

class ProcessExecCPUAffinity(TypedDict, total=False):
    initial: str
    final: str

class Process(TypedDict, total=False):
    terminal: bool
    consoleSize: ProcessConsoleSize
    user: ProcessUser
    args: list[str]
    commandLine: str
    env: list[str]
    cwd: Required[str]
    capabilities: ProcessCapabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    apparmorProfile: str
    oomScoreAdj: int
    scheduler: Scheduler
    selinuxLabel: str
    ioPriority: ProcessIoPriority
    execCPUAffinity: ProcessExecCPUAffinity

class Root(TypedDict, total=False):
    path: Required[str]
    readonly: bool

class IDMapping(TypedDict, total=False):
    containerID: Required[int]
    hostID: Required[int]
    size: Required[int]

class Mount(TypedDict, total=False):
    destination: Required[str]
    type: str
    source: str
    options: list[str]
    uidMappings: list[IDMapping]
    gidMappings: list[IDMapping]

class Hook(TypedDict, total=False):
    path: Required[str]
    args: list[str]
    env: list[str]
    timeout: int

class Hooks(TypedDict, total=False):
    prestart: list[Hook]
    createRuntime: list[Hook]
    createContainer: list[Hook]
    startContainer: list[Hook]
    poststart: list[Hook]
    poststop: list[Hook]

NamespaceType = Literal[
    "mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"
]

class Namespace(TypedDict, total=False):
    type: Required[NamespaceType]
    path: str

class TimeOffset(TypedDict, total=False):
    secs: int
    nanosecs: int

DeviceType = Literal[
    "c", "b", "u", "p"
]

class Device(TypedDict, total=False):
    type: Required[DeviceType]
    path: Required[str]
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int

class NetDevice(TypedDict, total=False):
    name: str

DeviceCgroupType = Literal[
    "", "a", "b", "c"
]

class DeviceCgroup(TypedDict, total=False):
    allow: Required[bool]
    type: DeviceCgroupType
    major: int
    minor: int
    access: str

class ResourcesMemory(TypedDict, total=False):
    limit: int
    reservation: int
    swap: int
    kernel: int
    kernelTCP: int
    swappiness: int
    disableOOMKiller: bool
    useHierarchy: bool
    checkBeforeUpdate: bool

class ResourcesCpu(TypedDict, total=False):
    shares: int
    quota: int
    burst: int
    period: int
    realtimeRuntime: int
    realtimePeriod: int
    cpus: str
    mems: str
    idle: int

class ResourcesPids(TypedDict, total=False):
    limit: int

class WeightDevice(TypedDict, total=False):
    major: Required[int]
    minor: Required[int]
    weight: int
    leafWeight: int

class ThrottleDevice(TypedDict, total=False):
    major: Required[int]
    minor: Required[int]
    rate: Required[int]

class ResourcesBlockIO(TypedDict, total=False):
    weight: int
    leafWeight: int
    weightDevice: list[WeightDevice]
    throttleReadBpsDevice: list[ThrottleDevice]
    throttleWriteBpsDevice: list[ThrottleDevice]
    throttleReadIOPSDevice: list[ThrottleDevice]
    throttleWriteIOPSDevice: list[ThrottleDevice]

class HugepageLimit(TypedDict, total=False):
    pageSize: Required[str]
    limit: Required[int]

class InterfacePriority(TypedDict, total=False):
    name: Required[str]
    priority: Required[int]

class ResourcesNetwork(TypedDict, total=False):
    classID: int
    priorities: list[InterfacePriority]

class Rdma(TypedDict, total=False):
    hcaHandles: int
    hcaObjects: int

class Resources(TypedDict, total=False):
    devices: list[DeviceCgroup]
    memory: ResourcesMemory
    cpu: ResourcesCpu
    pids: ResourcesPids
    blockIO: ResourcesBlockIO
    hugepageLimits: list[HugepageLimit]
    network: ResourcesNetwork
    rdma: dict[str, Rdma]
    unified: dict[str, str]

LinuxRootfsPropagation = Literal[
    "", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"
]

SeccompAction = Literal[
    "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY"
]

SeccompArch = Literal[
    "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB",
    "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64"
]

SeccompFlag = Literal[
    "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
]

SyscallArgOp = Literal[
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ"
]

class SyscallArg(TypedDict, total=False):
    index: Required[int]
    value: Required[int]
    valueTwo: int
    op: Required[SyscallArgOp]

class Syscall(TypedDict, total=False):
    names: Required[list[str]]
    action: Required[SeccompAction]
    errnoRet: int
    args: list[SyscallArg]

class Seccomp(TypedDict, total=False):
    defaultAction: Required[SeccompAction]
    defaultErrnoRet: int
    architectures: list[SeccompArch]
    flags: list[SeccompFlag]
    listenerPath: str
    listenerMetadata: str
    syscalls: list[Syscall]

class LinuxIntelRdt(TypedDict, total=False):
    closID: str
    schemata: list[str]
    l3CacheSchema: str
    memBwSchema: str
    enableMonitoring: bool

MemoryPolicyMode = Literal[
    "MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY", "MPOL_LOCAL"
]

MemoryPolicyFlag = Literal[
    "MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"
]

class LinuxMemoryPolicy(TypedDict, total=False):
    mode: Required[MemoryPolicyMode]
    nodes: str
    flags: list[MemoryPolicyFlag]

LinuxPersonalityDomain = Literal[
    "LINUX", "LINUX32"
]

class LinuxPersonality(TypedDict, total=False):
    domain: Required[LinuxPersonalityDomain]
    flags: list[str]

class Linux(TypedDict, total=False):
    namespaces: list[Namespace]
    uidMappings: list[IDMapping]
    gidMappings: list[IDMapping]
    timeOffsets: dict[str, TimeOffset]
    devices: list[Device]
    netDevices: dict[str, NetDevice]
    cgroupsPath: str
    resources: Resources
    rootfsPropagation: LinuxRootfsPropagation
    seccomp: Seccomp
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str
    intelRdt: LinuxIntelRdt
    memoryPolicy: LinuxMemoryPolicy
    personality: LinuxPersonality

class Config(TypedDict, total=False):
    ociVersion: Required[str]
    process: Process
    root: Required[Root]
    hostname: str
    domainname: str
    mounts: list[Mount]
    hooks: Hooks
    annotations: dict[str, str]
    linux: Linux
    freebsd: dict[str, Any]
    solaris: dict[str, Any]
    vm: dict[str, Any]
    windows: dict[str, Any]
    zos: dict[str, Any]
