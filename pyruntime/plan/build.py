"""The order of set-up, in one place: from (config, host, place, wishes) to the plan of create, and of exec.

Read it from top to bottom: this list is what happens.
"""

from __future__ import annotations

from .. import observer
from ..state_files import START_SOCKET
from ..step import HOST, INIT, Flags, Octal, Plan, Slot, Step
from . import (
    capabilities,
    cgroup,
    console,
    device_filter,
    extensions,
    hooks,
    labels,
    masked_paths,
    mounts,
    namespaces,
    process,
    resources,
    rootfs,
    seccomp,
    service_manager,
    sysctl,
    unsupported,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host, Place
    from .wishes import Wishes

WORK_UMASK = 0o022
"""While init makes directories and devices, whatever the caller's umask is."""
DEFAULT_UMASK = Octal(0o022)
"""Of a container's program, whoever starts it; what runc and crun give it."""
ARGS0 = "/process/args/0"
EARLY_HOOKS = ("prestart", "createRuntime", "createContainer")
"""Those before `start`, in the order in which they run."""


@observer.phase
def build_create(config: dict[str, Any], host: Host, place: Place, wishes: Wishes) -> Plan:
    """Return the plan that creates the container and, once `start` asks for it, becomes its program."""
    unsupported.check(config)
    given, config = config, service_manager.extended(config, wishes)
    parsed = mounts.parse(config, host, place)
    plan = Plan(warnings=mounts.warnings(parsed))
    program = config.get("process")
    outside = namespaces.joins_pid(host)
    set_limits = not has_start_hooks(config) and not (outside and limits_are_forbidden(config))
    plan.steps = [
        *guard_host(),
        # Host: what can fail early, and every descriptor that init is to inherit.
        *(cgroup_before_init(config, host, place) if not place.unit else ()),
        *namespaces.open_steps(config, host),
        *seccomp.compile_steps(config),
        *console.connect_steps(program, wishes),
        *hooks.stream_steps(config, EARLY_HOOKS),
        *mounts.host_mount_steps(parsed, config, host, wishes),
        *rootfs.host_device_steps(config, host),
        Step(HOST, "", "unix_listen", Slot("state_dir"), START_SOCKET, into="start_listener"),
        *namespaces.before_clone(config, host),
        namespaces.clone_step(config, host, place),
        Step(HOST, "", "close", Slot("start_listener")),
        *(cgroup_around_init(config, host, place, wishes) if place.unit else ()),
        *(() if outside else late_resources(config, host, place)),
        *in_new_namespaces(config, host),
        *process.drop_keyring_steps(host, wishes),
        *namespaces.root_identity(config, host),
        *namespaces.enter_steps(config, host),
        *cgroup.delegate_steps(config, host, place),
        *process.keyring_steps(host, wishes),
        *file_system_steps(config, parsed, host, wishes),
        *kernel_settings(config),
        *namespaces.pid_steps(config, host),
        *(become_user(program, config, host, plan, DEFAULT_UMASK, outside=outside) if program else ()),
        *labels.close_procfs_steps(config),
        *(come_inside(program, config, host) if outside else ()),
        *(late_resources(config, host, place) if outside else ()),
        *release_steps(config, wishes),
        # Init: `start` has been called.
        Step(INIT, "", "await_start", Slot("start_listener"), Slot("channel"), into="starter"),
        *start_hook_steps(program or {}, config, wishes),
        *(execute_steps(program, config, wishes, set_limits, report="starter") if program else ()),
    ]
    if config is not given:
        service_manager.take_pointers(plan.steps, given)
    return plan


def in_new_namespaces(config: dict[str, Any], host: Host) -> list[Step]:
    """What needs init to be in its new namespaces, and init's own first steps, which may be what brings it there."""
    outside = [
        *namespaces.after_clone(config, host),
        *namespaces.net_device_steps(config, host),
        *process.host_steps(config.get("process") or {}, host),
    ]
    entering = namespaces.entering_steps(config, host)
    if entering:
        return [*guard_steps(), *entering, *outside]
    pid = () if namespaces.joins_pid(host) else seccomp.pid_steps(config)
    return [*outside, *guard_steps(), *pid]


@observer.phase
def build_exec(program: dict[str, Any], config: dict[str, Any], host: Host, wishes: Wishes, init_pid: int) -> Plan:
    """Return the plan that adds a process to a running container.

    The caller fills the slots "cgroup" (init's own cgroup, opened) and "target" (a pidfd of init).
    """
    plan = Plan()
    plan.steps = [
        *guard_host(),
        *seccomp.compile_steps(config),
        *console.connect_steps(program, wishes),
        # The runtime's own affinity is what the new process starts with, before the container's cgroup has a say.
        *process.affinity_steps(program, "initial", HOST),
        namespaces.exec_clone_step(),
        *process.host_steps(program, host),
        *guard_steps(),
        *labels.procfs_steps({"process": program}),
        *process.affinity_steps(program, "final", INIT),
        *process.drop_keyring_steps(host, wishes, joins=True),
        *namespaces.exec_join_steps(config, host, init_pid),
        *process.exec_keyring_steps(host, wishes),
        *console.terminal_steps(program, wishes, root=False, outside=True),
        # Where config.json has no umask, the caller's counts, which guard_steps kept; as with runc and crun.
        *become_user(program, config, host, plan, Slot("umask"), outside=True),
        *come_inside(program, config, host),
        # From here on the process is the container's: it goes on when the runtime ends.
        Step(INIT, "", "set_pdeathsig", 0),
        *execute_steps(program, config, wishes, not limits_are_forbidden(config), report="channel", init_pid=init_pid),
    ]
    return plan


def come_inside(program: dict[str, Any] | None, config: dict[str, Any], host: Host) -> list[Step]:
    """From outside into the container's pid namespace: with no more than the program has, and last of all.

    What is not found outside, because it is below /proc/self, is looked for again.
    """
    if not program:
        nothing = Step(INIT, "", "capset", *capabilities.NO_SETS)
        return [nothing, *namespaces.last_clone_steps()]
    sets = capabilities.read(program, host, [])
    cwd, arguments = program.get("cwd") or "/", program.get("args") or []
    steps = [
        *seccomp.early_steps(config, *capabilities.masks(sets)),
        *namespaces.last_clone_steps(),
        *console.login_steps(program),
        *process.late_steps(program, forbidden=limits_are_forbidden(config)),
        Step(INIT, "/process/cwd", "enter_directory_late", cwd, Slot("in_cwd")),
    ]
    if arguments:
        env, program_slot = process.environment(program), Slot("program")
        steps.append(Step(INIT, ARGS0, "find_program", arguments[0], env, program_slot, into="program"))
    return steps


def late_resources(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """Host, once init is there: limits that would have kept it out."""
    return [] if place.unit else resources.late_resource_steps(config, host, place)


def cgroup_before_init(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """With the cgroupfs driver: the cgroup with its limits, for clone3 to start init inside."""
    return [*cgroup.cgroup_steps(place), *resources.resource_steps(config, host, place)]


def cgroup_around_init(config: dict[str, Any], host: Host, place: Place, wishes: Wishes) -> list[Step]:
    """With the systemd driver: a scope begins with a process in it, so init exists and waits while it is made."""
    from . import systemd

    return systemd.scope_steps(config, host, place, wishes)


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


def file_system_steps(config: dict[str, Any], parsed: mounts.Parsed, host: Host, wishes: Wishes) -> list[Step]:
    """The root file system, what is mounted in it, and the switch into it; hooks where the spec has them."""
    program = config.get("process")
    cwd = (program or {}).get("cwd")
    return [
        *labels.procfs_steps(config),
        *masked_paths.prepare_steps(config),
        *rootfs.bind_root(config, host),
        *mounts.mount_steps(parsed, config, host, wishes),
        *rootfs.device_steps(config, host, mounts.new_devs(parsed)),
        *console.terminal_steps(program, wishes, root=True, outside=namespaces.joins_pid(host)),
        *early_hook_steps(config, wishes),
        # While the host's /dev/null is still in this mount namespace: only then can it be cloned.
        *masked_paths.readonly_steps(config),
        *masked_paths.masked_steps(config),
        *rootfs.enter_root(host, wishes),
        *(
            [Step(INIT, "/process/cwd", "mkdir_in_root", Slot("root"), cwd, Octal(0o755), into="cwd", closes=("cwd",))]
            if cwd and cwd != "/"
            else ()
        ),
        Step(INIT, "", "close", Slot("root")),
        *mounts.late_steps(parsed),
        *rootfs.root_attributes(config, host),
    ]


def has_early_hooks(config: dict[str, Any]) -> bool:
    return any((config.get("hooks") or {}).get(point) for point in EARLY_HOOKS)


def early_hook_steps(config: dict[str, Any], wishes: Wishes) -> list[Step]:
    """The hooks before `start`; one may run in the container, and others change its device filter: it comes first."""
    return [
        *(device_filter.device_steps(config) if has_early_hooks(config) else ()),
        *(step for point in EARLY_HOOKS for step in hooks.hook_steps(config, wishes, point)),
        *hooks.close_stream_steps(config, EARLY_HOOKS),
    ]


def has_start_hooks(config: dict[str, Any]) -> bool:
    return bool((config.get("hooks") or {}).get(hooks.INSIDE))


def start_hook_steps(program: dict[str, Any], config: dict[str, Any], wishes: Wishes) -> list[Step]:
    """Init: the startContainer hooks, which are programs of the image: they have the container's limits."""
    if not has_start_hooks(config):
        return []
    return [
        *process.rlimit_steps(program, INIT),
        *(seccomp.before_hooks_steps(config, wishes) if program else ()),
        *hooks.hook_steps(config, wishes, hooks.INSIDE),
    ]


def limits_are_forbidden(config: dict[str, Any]) -> bool:
    """Whether a process outside loads a filter, before its last clone, that may keep it from setting its limits."""
    return seccomp.loads_early(config) and not seccomp.surely_permits(config, "prlimit64")


def kernel_settings(config: dict[str, Any]) -> list[Step]:
    """Host name, domain name and sysctls of the container's namespaces."""
    steps = []
    if config.get("hostname"):
        steps.append(Step(INIT, "/hostname", "sethostname", config["hostname"]))
    if config.get("domainname"):
        steps.append(Step(INIT, "/domainname", "setdomainname", config["domainname"]))
    return steps + sysctl.sysctl_steps(config)


def become_user(
    program: dict[str, Any],
    config: dict[str, Any],
    host: Host,
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
    sets = capabilities.read(program, host, plan.warnings)
    cwd = program.get("cwd") or "/"
    steps = [
        *process.init_steps(program, config, host, outside=outside),
        *console.stdio_steps(program),
        *labels.label_steps(program),
        Step(INIT, "/process/cwd", "enter_directory", cwd, True, into="in_cwd"),
        *process.no_new_privs_steps(program),
        *capabilities.before_setuid(sets),
        *process.user_steps(program, host),
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


def release_steps(config: dict[str, Any], wishes: Wishes) -> list[Step]:
    """Hand over: the record is complete before init is let go, and the pid file comes last, because it is a signal."""
    steps = [
        *(device_filter.device_steps(config) if not has_early_hooks(config) else ()),
        Step(HOST, "", "save_record", Slot("container"), Slot("init_pid")),
        Step(INIT, "", "set_pdeathsig", 0),
    ]
    annotated = extensions.path_of(config, extensions.PIDFD_RECEIVER)
    receivers = [(wishes.pidfd_socket, ""), (annotated, extensions.pointer_of(extensions.PIDFD_RECEIVER))]
    for path, pointer in receivers:
        if path:
            steps.append(Step(HOST, pointer, "send_descriptor", path, Slot("init_pidfd"), "pidfd"))
    # The host waits here until init no longer dies with it; only then may it end.
    steps.append(Step(HOST, "", "close", Slot("cgroup")))
    if wishes.pid_file:
        steps.append(Step(HOST, "", "write_pid_file", wishes.pid_file, Slot("init_pid")))
    return steps


def execute_steps(
    program: dict[str, Any], config: dict[str, Any], wishes: Wishes, set_limits: bool, *, report: str, init_pid: int = 0
) -> list[Step]:
    """Close what the program must not get, and become it; the seccomp filter is the last thing before execve.

    set_limits: the program's limits are not there yet; they are set right before the filter.

    Whatever the caller left open is close-on-exec from the command's start on (cli.py), so that no hook gets it; the
    program gets those that it is to have (--preserve-fds, LISTEN_FDS), and nothing else that may be open by now.
    """
    if not program.get("args"):
        return []
    first = 3 + wishes.preserve_fds
    loaded = report == "starter" and seccomp.loads_before_hooks(config)
    return [
        *(() if loaded else seccomp.state_steps(config, wishes, init_pid)),
        *([Step(INIT, "", "pass_on", 3, wishes.preserve_fds)] if wishes.preserve_fds else ()),
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
