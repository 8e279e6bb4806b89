"""The order of set-up, in one place: builds the plans of create and exec from (config, host, place, wishes).

Read it from top to bottom: the steps run in this order.
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
"""The umask while init makes directories and devices, regardless of the caller's."""
DEFAULT_UMASK = Octal(0o022)
"""The umask of a container's program, regardless of the caller's; the same as with runc and crun."""
ARGS0 = "/process/args/0"
EARLY_HOOKS = ("prestart", "createRuntime", "createContainer")
"""The hooks that run before `start`, in order."""


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
        # Host: everything that can fail early, and every descriptor that init inherits.
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
        # Init: wait until `start` is called.
        Step(INIT, "", "await_start", Slot("start_listener"), Slot("channel"), into="starter"),
        *start_hook_steps(program or {}, config, wishes),
        *(execute_steps(program, config, wishes, set_limits, report="starter") if program else ()),
    ]
    if config is not given:
        service_manager.take_pointers(plan.steps, given)
    return plan


def in_new_namespaces(config: dict[str, Any], host: Host) -> list[Step]:
    """Return init's first steps, which may enter its new namespaces, and the steps that need it to be there."""
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

    The caller fills the slots "cgroup" (init's cgroup, opened) and "target" (a pidfd of init).
    """
    plan = Plan()
    plan.steps = [
        *guard_host(),
        *seccomp.compile_steps(config),
        *console.connect_steps(program, wishes),
        # The new process inherits the runtime's affinity, before the container's cgroup takes effect.
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
        # If config.json has no umask, use the caller's, which guard_steps saved; as with runc and crun.
        *become_user(program, config, host, plan, Slot("umask"), outside=True),
        *come_inside(program, config, host),
        # From here on the process belongs to the container: it survives the runtime.
        Step(INIT, "", "set_pdeathsig", 0),
        *execute_steps(program, config, wishes, not limits_are_forbidden(config), report="channel", init_pid=init_pid),
    ]
    return plan


def come_inside(program: dict[str, Any] | None, config: dict[str, Any], host: Host) -> list[Step]:
    """Enter the container's pid namespace from outside: last of all, and with only the program's capabilities.

    Paths below /proc/self, which can't be found from outside, are looked up again.
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
    """Host, once init is in the cgroup: limits that would have kept it out."""
    return [] if place.unit else resources.late_resource_steps(config, host, place)


def cgroup_before_init(config: dict[str, Any], host: Host, place: Place) -> list[Step]:
    """With the cgroupfs driver: make the cgroup with its limits, so that clone3 can start init inside."""
    return [*cgroup.cgroup_steps(place), *resources.resource_steps(config, host, place)]


def cgroup_around_init(config: dict[str, Any], host: Host, place: Place, wishes: Wishes) -> list[Step]:
    """With the systemd driver: a scope is created with a process in it, so init already exists and waits."""
    from . import systemd

    return systemd.scope_steps(config, host, place, wishes)


def guard_host() -> list[Step]:
    """Host: keep all processes created from here on from being traced from a user namespace, even when just created
    (CVE-2016-9962)."""
    return [Step(HOST, "", "set_dumpable", 0)]


def guard_steps() -> list[Step]:
    """Init: die with the parent, and detach from the caller's terminal."""
    return [
        Step(INIT, "", "set_pdeathsig", Flags("SIGKILL")),
        Step(INIT, "", "setsid"),
        Step(INIT, "", "umask", Octal(WORK_UMASK), into="umask"),
    ]


def file_system_steps(config: dict[str, Any], parsed: mounts.Parsed, host: Host, wishes: Wishes) -> list[Step]:
    """Set up the root file system and its mounts, and switch into it; run the hooks where the spec places them."""
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
        # The host's /dev/null can be cloned only while it is still in this mount namespace.
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
    """Run the hooks before `start`, after loading the device filter: some run in the container, others change it."""
    return [
        *(device_filter.device_steps(config) if has_early_hooks(config) else ()),
        *(step for point in EARLY_HOOKS for step in hooks.hook_steps(config, wishes, point)),
        *hooks.close_stream_steps(config, EARLY_HOOKS),
    ]


def has_start_hooks(config: dict[str, Any]) -> bool:
    return bool((config.get("hooks") or {}).get(hooks.INSIDE))


def start_hook_steps(program: dict[str, Any], config: dict[str, Any], wishes: Wishes) -> list[Step]:
    """Init: run the startContainer hooks, which are programs of the image, so with the container's limits."""
    if not has_start_hooks(config):
        return []
    return [
        *process.rlimit_steps(program, INIT),
        *(seccomp.before_hooks_steps(config, wishes) if program else ()),
        *hooks.hook_steps(config, wishes, hooks.INSIDE),
    ]


def limits_are_forbidden(config: dict[str, Any]) -> bool:
    """Return whether a filter loaded before the last clone may prevent the new process from setting its limits."""
    return seccomp.loads_early(config) and not seccomp.surely_permits(config, "prlimit64")


def kernel_settings(config: dict[str, Any]) -> list[Step]:
    """Set the host name, domain name and sysctls of the container's namespaces."""
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
    """Switch from init's rights to the program's: limits, directory, groups, user, capabilities.

    outside: the process is not in the container's pid namespace yet; a child of it will be (come_inside).
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
        # A change of user clears the parent-death signal, and may set dumpable (prctl(2), fs.suid_dumpable).
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
    """Release init: save the complete record first, and write the pid file last, because callers wait for it."""
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
    # The host waits here until init no longer dies with it; only then may it exit.
    steps.append(Step(HOST, "", "close", Slot("cgroup")))
    if wishes.pid_file:
        steps.append(Step(HOST, "", "write_pid_file", wishes.pid_file, Slot("init_pid")))
    return steps


def execute_steps(
    program: dict[str, Any], config: dict[str, Any], wishes: Wishes, set_limits: bool, *, report: str, init_pid: int = 0
) -> list[Step]:
    """Close what the program must not inherit, and execute it; the seccomp filter is loaded right before execve.

    set_limits: the program's limits are not set yet; set them right before the filter.

    All descriptors that the caller left open are close-on-exec from the command's start (cli.py), so no hook inherits
    them. The program gets those that it should have (--preserve-fds, LISTEN_FDS), and no others that are open by now.
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
