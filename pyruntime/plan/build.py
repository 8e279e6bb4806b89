"""The order of set-up, in one place: from (config, facts) to the plan of create, and of exec.

Read it from top to bottom: this list is what happens.
"""

from __future__ import annotations

from ..step import HOST, INIT, Flags, Octal, Plan, Slot, Step
from . import (
    capabilities,
    cgroup,
    console,
    device_filter,
    extensions,
    hooks,
    labels,
    mounts,
    namespaces,
    paths,
    process,
    resources,
    rootfs,
    seccomp,
    sysctl,
    unsupported,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .facts import Facts

WORK_UMASK = 0o022
"""While init makes directories and devices, whatever the caller's umask is."""
DEFAULT_UMASK = Octal(0o022)
"""Of a container's program, whoever starts it; what runc and crun give it."""
ARGS0 = "/process/args/0"
EARLY_HOOKS = ("prestart", "createRuntime", "createContainer")
"""Those before `start`, in the order in which they run."""


def build_create(config: dict[str, Any], facts: Facts) -> Plan:
    """Return the plan that creates the container and, once `start` asks for it, becomes its program."""
    unsupported.check(config)
    parsed = mounts.parse(config, facts)
    plan = Plan(warnings=mounts.warnings(parsed))
    program = config.get("process")
    outside = namespaces.joins_pid(facts)
    set_limits = not has_start_hooks(config) and not (outside and limits_are_forbidden(config))
    plan.steps = [
        *guard_host(),
        # Host: what can fail early, and every descriptor that init is to inherit.
        *(cgroup_before_init(config, facts) if not facts.systemd_unit else ()),
        *namespaces.open_steps(config, facts),
        *seccomp.compile_steps(config, facts),
        *console.connect_steps(program, facts),
        *hooks.stream_steps(config, EARLY_HOOKS),
        *mounts.host_mount_steps(parsed, config, facts),
        *rootfs.host_device_steps(config, facts),
        Step(HOST, "", "unix_listen", Slot("state_dir"), "start.sock", into="start_listener"),
        *namespaces.before_clone(config, facts),
        namespaces.clone_step(config, facts),
        Step(HOST, "", "close", Slot("start_listener")),
        *(cgroup_around_init(config, facts) if facts.systemd_unit else ()),
        *(() if outside else late_resources(config, facts)),
        *in_new_namespaces(config, facts),
        *process.drop_keyring_steps(facts),
        *namespaces.root_identity(config, facts),
        *namespaces.enter_steps(config, facts),
        *cgroup.delegate_steps(config, facts),
        *process.keyring_steps(facts),
        *file_system_steps(config, parsed, facts),
        *kernel_settings(config, facts),
        *namespaces.pid_steps(config, facts),
        *(become_user(program, config, facts, plan, DEFAULT_UMASK, outside=outside) if program else ()),
        *labels.close_procfs_steps(config),
        *(come_inside(program, config, facts) if outside else ()),
        *(late_resources(config, facts) if outside else ()),
        *release_steps(config, facts),
        # Init: `start` has been called.
        Step(INIT, "", "await_start", Slot("start_listener"), Slot("channel"), into="starter"),
        *start_hook_steps(program or {}, config, facts),
        *(execute_steps(program, config, facts, set_limits, report="starter") if program else ()),
    ]
    return plan


def in_new_namespaces(config: dict[str, Any], facts: Facts) -> list[Step]:
    """What needs init to be in its new namespaces, and init's own first steps, which may be what brings it there."""
    host = [
        *namespaces.after_clone(config, facts),
        *namespaces.net_device_steps(config, facts),
        *process.host_steps(config.get("process") or {}, facts),
    ]
    entering = namespaces.entering_steps(config, facts)
    if entering:
        return [*guard_steps(), *entering, *host]
    pid = () if namespaces.joins_pid(facts) else seccomp.pid_steps(config)
    return [*host, *guard_steps(), *pid]


def build_exec(program: dict[str, Any], config: dict[str, Any], facts: Facts) -> Plan:
    """Return the plan that adds a process to a running container.

    The caller fills the slots "cgroup" (init's own cgroup, opened) and "target" (a pidfd of init).
    """
    plan = Plan()
    plan.steps = [
        *guard_host(),
        *seccomp.compile_steps(config, facts),
        *console.connect_steps(program, facts),
        # The runtime's own affinity is what the new process starts with, before the container's cgroup has a say.
        *process.affinity_steps(program, "initial", HOST),
        namespaces.exec_clone_step(),
        *process.host_steps(program, facts),
        *guard_steps(),
        *labels.procfs_steps({"process": program}),
        *process.affinity_steps(program, "final", INIT),
        *process.drop_keyring_steps(facts, joins=True),
        *namespaces.exec_join_steps(config, facts),
        *process.exec_keyring_steps(facts),
        *console.terminal_steps(program, facts, root=False, outside=True),
        # Where config.json has no umask, the caller's counts, which guard_steps kept; as with runc and crun.
        *become_user(program, config, facts, plan, Slot("umask"), outside=True),
        *come_inside(program, config, facts),
        # From here on the process is the container's: it goes on when the runtime ends.
        Step(INIT, "", "set_pdeathsig", 0),
        *execute_steps(program, config, facts, not limits_are_forbidden(config), report="channel"),
    ]
    return plan


def come_inside(program: dict[str, Any] | None, config: dict[str, Any], facts: Facts) -> list[Step]:
    """From outside into the container's pid namespace: with no more than the program has, and last of all.

    What is not found outside, because it is below /proc/self, is looked for again.
    """
    if not program:
        nothing = Step(INIT, "", "capset", *capabilities.NO_SETS)
        return [nothing, *namespaces.last_clone_steps(facts)]
    sets = capabilities.read(program, facts, [])
    cwd, arguments = program.get("cwd") or "/", program.get("args") or []
    steps = [
        *seccomp.early_steps(config, *capabilities.masks(sets)),
        *namespaces.last_clone_steps(facts),
        *console.login_steps(program),
        *process.late_steps(program, forbidden=limits_are_forbidden(config)),
        Step(INIT, "/process/cwd", "enter_directory_late", cwd, Slot("in_cwd")),
    ]
    if arguments:
        env, program_slot = process.environment(program), Slot("program")
        steps.append(Step(INIT, ARGS0, "find_program", arguments[0], env, program_slot, into="program"))
    return steps


def late_resources(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Host, once init is there: limits that would have kept it out."""
    return [] if facts.systemd_unit else resources.late_resource_steps(config, facts)


def cgroup_before_init(config: dict[str, Any], facts: Facts) -> list[Step]:
    """With the cgroupfs driver: the cgroup with its limits, for clone3 to start init inside."""
    return [*cgroup.cgroup_steps(facts), *resources.resource_steps(config, facts)]


def cgroup_around_init(config: dict[str, Any], facts: Facts) -> list[Step]:
    """With the systemd driver: a scope begins with a process in it, so init exists and waits while it is made."""
    from . import systemd

    return systemd.scope_steps(config, facts)


def guard_host() -> list[Step]:
    """Host: no process that is made from here on can be traced from a user namespace, not even in its first moment
    (CVE-2016-9962)."""
    return [Step(HOST, "", "set_dumpable", 0)]


def guard_steps() -> list[Step]:
    """Init does not outlive its parent, and has no terminal of the caller's."""
    return [
        Step(INIT, "", "set_pdeathsig", Flags("SIGKILL")),
        Step(INIT, "", "setsid"),
        Step(INIT, "", "umask", Octal(WORK_UMASK), into="umask"),
    ]


def file_system_steps(config: dict[str, Any], parsed: mounts.Parsed, facts: Facts) -> list[Step]:
    """The root file system, what is mounted in it, and the switch into it; hooks where the spec has them."""
    program = config.get("process")
    cwd = (program or {}).get("cwd")
    return [
        *labels.procfs_steps(config),
        *paths.prepare_steps(config, facts),
        *rootfs.bind_root(config, facts),
        *mounts.mount_steps(parsed, config, facts),
        *rootfs.device_steps(config, facts, mounts.new_devs(parsed)),
        *console.terminal_steps(program, facts, root=True, outside=namespaces.joins_pid(facts)),
        *early_hook_steps(config, facts),
        # While the host's /dev/null is still in this mount namespace: only then can it be cloned.
        *paths.readonly_steps(config, facts),
        *paths.masked_steps(config, facts),
        *rootfs.enter_root(facts),
        *(
            [Step(INIT, "/process/cwd", "mkdir_in_root", Slot("root"), cwd, Octal(0o755), into="cwd", closes=("cwd",))]
            if cwd and cwd != "/"
            else ()
        ),
        Step(INIT, "", "close", Slot("root")),
        *mounts.late_steps(parsed),
        *rootfs.root_attributes(config, facts),
    ]


def has_early_hooks(config: dict[str, Any]) -> bool:
    return any((config.get("hooks") or {}).get(point) for point in EARLY_HOOKS)


def early_hook_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """The hooks before `start`; one may run in the container, and others change its device filter: it comes first."""
    return [
        *(device_filter.device_steps(config, facts) if has_early_hooks(config) else ()),
        *(step for point in EARLY_HOOKS for step in hooks.hook_steps(config, facts, point)),
        *hooks.close_stream_steps(config, EARLY_HOOKS),
    ]


def has_start_hooks(config: dict[str, Any]) -> bool:
    return bool((config.get("hooks") or {}).get(hooks.INSIDE))


def start_hook_steps(program: dict[str, Any], config: dict[str, Any], facts: Facts) -> list[Step]:
    """Init: the startContainer hooks, which are programs of the image: they have the container's limits."""
    if not has_start_hooks(config):
        return []
    return [
        *process.rlimit_steps(program, INIT),
        *(seccomp.before_hooks_steps(config, facts) if program else ()),
        *hooks.hook_steps(config, facts, hooks.INSIDE),
    ]


def limits_are_forbidden(config: dict[str, Any]) -> bool:
    """Whether a process outside loads a filter, before its last clone, that may keep it from setting its limits."""
    return seccomp.loads_early(config) and not seccomp.surely_permits(config, "prlimit64")


def kernel_settings(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Host name, domain name and sysctls of the container's namespaces."""
    steps = []
    if config.get("hostname"):
        steps.append(Step(INIT, "/hostname", "sethostname", config["hostname"]))
    if config.get("domainname"):
        steps.append(Step(INIT, "/domainname", "setdomainname", config["domainname"]))
    return steps + sysctl.sysctl_steps(config, facts)


def become_user(
    program: dict[str, Any],
    config: dict[str, Any],
    facts: Facts,
    plan: Plan,
    default_umask: Octal | Slot,
    *,
    outside: bool,
) -> list[Step]:
    """From init's rights to the program's: limits, directory, groups, user, capabilities.

    outside: the process is not in the container's pid namespace yet, and has a child that will be (come_inside).
    """
    user = program.get("user") or {}
    env = process.environment(program)
    sets = capabilities.read(program, facts, plan.warnings)
    cwd = program.get("cwd") or "/"
    steps = [
        *process.init_steps(program, config, facts, outside=outside),
        *console.stdio_steps(program),
        *labels.label_steps(program),
        Step(INIT, "/process/cwd", "enter_directory", cwd, True, into="in_cwd"),
        *process.no_new_privs_steps(program),
        *capabilities.before_setuid(sets),
        *process.user_steps(program, facts),
        # A change of user clears the signal for a dead parent, and may set dumpable (prctl(2), fs.suid_dumpable).
        Step(INIT, "", "set_pdeathsig", Flags("SIGKILL")),
        Step(INIT, "", "set_dumpable", 0),
        *capabilities.after_setuid(sets, keep_sys_admin=seccomp.needs_privilege(config, program)),
        Step(INIT, "/process/cwd", "enter_directory_late", cwd, Slot("in_cwd"), outside, into="in_cwd"),
    ]
    if not any(entry.startswith("HOME=") for entry in env):
        steps.append(Step(INIT, "/process/env", "with_home", env, user.get("uid", 0), into="env"))
    arguments = program.get("args") or []
    if arguments and outside:
        steps.append(Step(INIT, ARGS0, "find_program_early", arguments[0], env, Slot("in_cwd"), into="program"))
    elif arguments:
        steps.append(Step(INIT, ARGS0, "find_program", arguments[0], env, into="program"))
    return [*steps, *process.umask_steps(program, default_umask)]


def release_steps(config: dict[str, Any], facts: Facts) -> list[Step]:
    """Hand over: the record is complete before init is let go, and the pid file comes last, because it is a signal."""
    steps = [
        *(device_filter.device_steps(config, facts) if not has_early_hooks(config) else ()),
        Step(HOST, "", "save_record", Slot("container"), Slot("init_pid")),
        Step(INIT, "", "set_pdeathsig", 0),
    ]
    receivers = [(facts.pidfd_socket, ""), (facts.pidfd_receiver, extensions.pointer_of(extensions.PIDFD_RECEIVER))]
    for path, pointer in receivers:
        if path:
            steps.append(Step(HOST, pointer, "send_descriptor", path, Slot("init_pidfd"), "pidfd"))
    # The host waits here until init no longer dies with it; only then may it end.
    steps.append(Step(HOST, "", "close", Slot("cgroup")))
    if facts.pid_file:
        steps.append(Step(HOST, "", "write_pid_file", facts.pid_file, Slot("init_pid")))
    return steps


def execute_steps(
    program: dict[str, Any], config: dict[str, Any], facts: Facts, set_limits: bool, *, report: str
) -> list[Step]:
    """Close what the program must not get, and become it; the seccomp filter is the last thing before execve.

    set_limits: the program's limits are not there yet; they are set right before the filter.

    Whatever the caller left open is close-on-exec from the command's start on (cli.py), so that no hook gets it; the
    program gets those that it is to have (--preserve-fds, LISTEN_FDS), and nothing else that may be open by now.
    """
    if not program.get("args"):
        return []
    first = 3 + facts.preserve_fds
    loaded = report == "starter" and seccomp.loads_before_hooks(config)
    return [
        *(() if loaded else seccomp.state_steps(config, facts)),
        *([Step(INIT, "", "pass_on", 3, facts.preserve_fds)] if facts.preserve_fds else ()),
        Step(INIT, "", "close_range", first, Flags("UINT_MAX"), Flags("CLOSE_RANGE_CLOEXEC")),
        Step(
            INIT,
            "/process/args",
            "exec_program",
            Slot("program"),
            program["args"],
            process.environment_argument(program),
            *(seccomp.NOTHING_TO_LOAD if loaded else seccomp.load_arguments(config)),
            Slot(report),
            process.limits(program) if set_limits else [],
        ),
    ]
