"""`create`, `run` and what they share: from the command line to a container, and back when something fails."""

from __future__ import annotations

import posix

from .. import kernel, log, spec
from ..cli import working_directory
from ..container import cgroup
from ..container.store import Store, check_id
from ..engine import launch
from ..errors import Failure, InvalidConfig, os_error_text
from ..plan import build, extensions, facts
from ..text import show
from .delete import clean_up, destroy, mount_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cli import Options
    from ..container.store import Container
    from ..engine import foreground
    from ..step import Plan, Slots


LATER_HOOKS = ("poststart", "poststop")
"""The hooks that other commands than create run."""


class Request:
    """What create needs before it makes anything: the config, the facts, the plan and the warnings.

    tells_ready: whether the program gets a socket to say that it is ready (sd_notify(3)).
    """

    __slots__ = ("config", "facts", "id", "plan", "raw", "tells_ready", "warnings")

    def __init__(self, container_id: str, raw: bytes, config: dict[str, Any], found: facts.Facts) -> None:
        self.id = container_id
        self.raw = raw
        self.config = config
        self.facts = found
        self.warnings: list[str] = []
        self.tells_ready = False
        self.plan: Plan = build.build_create(config, found)


def prepare(options: Options, container_id: str) -> Request:
    """Read, validate and plan; nothing is made. Raises InvalidConfig and other Failures."""
    check_id(container_id)
    bundle = options.bundle or working_directory()
    raw, config = spec.load_config(bundle, getattr(options, "config", None))
    extensions.apply(config)
    namespaces = facts.HostNamespaces()
    warnings = spec.validate(config, namespaces.look)
    sockets = activated(options, warnings)
    tell_sockets(config, sockets)
    tells_ready = add_notify(options, config, container_id, warnings)
    found = facts.probe(
        config, bundle_path(bundle), container_id, systemd=options.systemd_cgroup, namespaces=namespaces
    )
    if options.command == "run" and not options.detach and not options.console_socket:
        from ..engine import foreground

        found.console_size = foreground.window_size()
    extensions.place(config, found)
    found.no_pivot = bool(options.no_pivot)
    found.no_new_keyring = bool(options.no_new_keyring)
    found.console_socket = absolute(options.console_socket)
    found.pidfd_socket = absolute(options.pidfd_socket)
    found.pid_file = absolute(options.pid_file)
    found.preserve_fds = preserved(options, sockets)
    request = Request(container_id, raw, config, found)
    request.warnings = warnings + request.plan.warnings
    request.tells_ready = tells_ready
    return request


def bundle_path(bundle: str) -> str:
    """Return the bundle's absolute path without symbolic links."""
    try:
        fd = kernel.open(bundle, kernel.flags("O_PATH|O_DIRECTORY|O_CLOEXEC"))
    except OSError as error:
        raise InvalidConfig(f"bundle {bundle}", error) from None
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


def absolute(path: str | None) -> str | None:
    if path and not path.startswith("/"):
        return f"{working_directory()}/{path}"
    return path or None


def activated(options: Options, warnings: list[str]) -> int:
    """Return how many sockets the caller passes from 3 on, by the protocol of sd_listen_fds(3).

    As crun does, LISTEN_FDS is taken without LISTEN_PID too, but only where the descriptors are open, and those of
    --preserve-fds behind them: it may have been left in the environment by anybody, and what was not meant for this
    process must not fail a container. Raises Failure where LISTEN_PID says that it was.
    """
    count, meant = posix.environ.get(b"LISTEN_FDS", b""), posix.environ.get(b"LISTEN_PID")
    own = b"%d" % posix.getpid()
    if not count or meant not in (None, b"", own):
        return 0
    if not (count.isdigit() and len(count) < 10):
        warnings.append(f"LISTEN_FDS={show(count)} is ignored: it is not a number of descriptors")
        return 0
    why = f"descriptor {3 + options.given_fds} is not open"
    if meant == own:
        if int(count) > options.given_fds:
            raise Failure(f"LISTEN_FDS={show(count)} with LISTEN_PID={show(own)}: {why}")
    elif int(count) + (options.preserve_fds or 0) > options.given_fds:
        warnings.append(f"LISTEN_FDS={show(count)} is ignored, without LISTEN_PID: {why}")
        return 0
    return int(count)


def tell_sockets(config: dict[str, Any], count: int) -> None:
    """Tell the program of the sockets it gets; it is the container's first process, as runc and crun have it."""
    program = config.get("process")
    if count and program:
        program["env"] = [*(program.get("env") or ()), f"LISTEN_FDS={count}", "LISTEN_PID=1"]


def add_notify(options: Options, config: dict[str, Any], container_id: str, warnings: list[str]) -> bool:
    """Let the program say that it is ready, when a service manager wants to know; return whether it can.

    A manager that is not there is a warning: the variable may come from a service that has ended long ago.
    """
    if not posix.environ.get(b"NOTIFY_SOCKET"):
        return False
    from . import notify

    problem = notify.problem(notify.manager())
    if problem is not None:
        warnings.append(problem)
        return False
    return notify.prepare(config, f"{options.root}/{container_id}")


def preserved(options: Options, sockets: int = 0) -> int:
    """Return how many descriptors from 3 on the program keeps: --preserve-fds many behind the sockets.

    Raises Failure when the caller did not give so many.
    """
    count: int = sockets + (options.preserve_fds or 0)
    if count > options.given_fds:
        raise Failure(f"--preserve-fds: descriptor {3 + options.given_fds} is not open")
    return count


def check_terminal(options: Options, config: dict[str, Any], *, foreground_run: bool) -> bool:
    """Return whether this command carries the terminal itself; refuse what can't work."""
    terminal = bool((config.get("process") or {}).get("terminal"))
    if not terminal and options.console_socket:
        raise Failure("cannot use console socket: process.terminal is false in config.json")
    if terminal and not options.console_socket and not foreground_run:
        raise InvalidConfig(
            "cannot allocate tty for a container that runs detached without a console socket",
            pointer="/process/terminal",
            hint="give --console-socket PATH",
        )
    return terminal and not options.console_socket


def make(options: Options, request: Request, slots: Slots) -> tuple[Container, launch.Launched]:
    """Create the container; on failure everything that was made is gone again."""
    if request.facts.rootless:
        raise Failure("containers can only be created by root", hint="pyruntime is not rootless yet")
    for warning in request.warnings:
        log.warning(warning)
    store = Store(options.root)
    # What fails may be that no descriptor is left; the clean-up needs one, and this is it.
    spare = kernel.open("/", kernel.flags("O_PATH|O_CLOEXEC"))
    try:
        container = store.create(request.id, record_of(request), request.raw)
    except BaseException:
        posix.close(spare)
        raise
    try:
        if request.tells_ready:
            from . import notify

            notify.make_directory(container)
        if not request.facts.cgroup_missing:
            # A cgroup that is made now has seen no kill yet; this one may have, before the container was in it.
            container.record["oom_kills"] = cgroup.of(container.record).oom_kills()
        slots["keyring_name"] = container.record["keyring"]
        slots["state_dir"] = container.dirfd
        slots["container"] = container
        launched = launch.launch(request.plan, slots)
        if "net_namespace" in slots:
            posix.close(slots.pop("net_namespace"))
    except BaseException as error:
        posix.close(spare)
        try:
            from ..container import limits

            limits.explain(error, cgroup.of(container.record), container.record.get("oom_kills", 0))
            if "cgroup" in slots and "cgroup_id" not in container.record:
                posix.close(slots["cgroup"])  # and with it the lock that would keep delete from removing the cgroup
            give_back_devices(slots, error)
            take_pid_file_back(request.facts.pid_file, slots.get("init_pid"))
        finally:
            clean_up(container, error)
        raise
    posix.close(spare)
    return container, launched


def take_pid_file_back(path: str | None, pid: int | None) -> None:
    """Remove the pid file of a create that failed after all; one that names another process is somebody else's."""
    if not path or pid is None:
        return
    try:
        fd = kernel.open(path, kernel.flags("O_RDONLY|O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK"))
        try:
            ours = posix.read(fd, 32) == b"%d" % pid
        finally:
            posix.close(fd)
        if ours:
            posix.unlink(path)
    except OSError:
        return


def give_back_devices(slots: Slots, error: BaseException) -> None:
    """Move the network devices that the container has got back to the host: with it, virtual ones would be gone."""
    moved = [slots[name] for name in slots if name.startswith("net_device")]
    if not moved:
        return
    from ..kernel import network

    for device in reversed(moved):
        try:
            network.give_back(device, slots["net_namespace" if "net_namespace" in slots else "ns_network"])
        except OSError as second:
            if isinstance(error, Failure):
                error.what += f" (and network device {device.name} is lost: {os_error_text(second)})"


def record_of(request: Request) -> dict[str, Any]:
    """The `creating` record: what delete needs, written before the first process exists."""
    found = request.facts
    has_mount_namespace = "mount" in found.new_namespaces or "mount" in found.joined_namespaces
    # Before the unit exists: whenever create is killed, delete knows what to look for.
    unit = {"systemd_unit": found.systemd_unit, "systemd_user": found.rootless} if found.systemd_unit else {}
    return {
        "id": request.id,
        "ociVersion": request.config["ociVersion"],
        "bundle": found.bundle,
        "rootfs": found.rootfs,
        "annotations": request.config.get("annotations") or {},
        "cgroup": found.cgroup_path,
        "cgroup_mount": found.cgroup_mount,
        "cgroup_made": found.cgroup_missing,
        **unit,
        "keyring": "" if found.no_new_keyring else f"_ses.{request.id}.{posix.urandom(16).hex()}",
        # Never the root of all: what is mounted over it can't be told from it again.
        "mounts": [] if has_mount_namespace or found.rootfs == "/" else [[found.rootfs, mount_id(found.rootfs)]],
        "own_pid_namespace": "pid" in found.new_namespaces,
        # Listed in the config and yet the runtime's own: exec must not join them either.
        "shared_namespaces": sorted(found.shared_namespaces),
        # So that start and delete need not read a config of any size for the answer no.
        "has_process": bool(request.config.get("process")),
        "later_hooks": [kind for kind in LATER_HOOKS if (request.config.get("hooks") or {}).get(kind)],
    }


def create(options: Options) -> int:
    """`create ID`: set the container up; its program waits for `start`."""
    request = prepare(options, options.args[0])
    check_terminal(options, request.config, foreground_run=False)
    container, launched = make(options, request, {})
    launched.close()
    container.close()
    return 0


def run(options: Options) -> int:
    """`run ID`: create, start, and unless detached wait and delete; returns the program's exit status."""
    from ..engine import foreground
    from . import start as start_command

    detach = bool(options.detach)
    request = prepare(options, options.args[0])
    own_terminal = check_terminal(options, request.config, foreground_run=not detach)
    if not request.config.get("process"):
        raise InvalidConfig("there is no process to run", pointer="/process")
    slots: Slots = {}
    ours = -1
    if own_terminal:
        ours, slots["console"] = kernel.socketpair()
    signals = None if detach else foreground.Signals()
    container, launched = make(options, request, slots)
    try:
        terminal = take_terminal(ours, slots) if own_terminal else None
        notify = start_command.listen(container)
        start_command.start_created(container, launched.pid, launched.pidfd)
        if signals is None:
            launched.close()
            start_command.wait_ready(container, notify)
            container.close()
            return 0
        container.unlock()
        status = foreground.wait(launched.pid, launched.pidfd, signals, terminal, notify)
        signals.restore()
    except BaseException as error:
        launched.kill()
        clean_up(container, error)
        raise
    if not options.keep:
        container.lock()
        if not container.gone():
            destroy(container)
    return status


def take_terminal(ours: int, slots: Slots) -> foreground.Terminal:
    """Receive the terminal that the new process made."""
    from ..engine import foreground

    posix.close(slots["console"])
    _, fds = kernel.recv_message(ours, 4096, 1)
    posix.close(ours)
    return foreground.Terminal(fds[0])
