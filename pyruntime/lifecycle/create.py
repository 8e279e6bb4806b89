"""Create: turn a bundle into a container, and undo everything when that fails."""

from __future__ import annotations

import posix

from .. import files, kernel, log, spec
from ..container import cgroup
from ..container.store import Store, check_id
from ..engine import launch
from ..errors import Failure, InvalidConfig, os_error_text
from ..host import probe
from ..plan import build, extensions, mounts
from ..plan.wishes import Wishes
from ..state_files import NOTIFY_DIRECTORY
from . import protection
from .delete import clean_up, mount_id
from .place import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..container.record import Record
    from ..container.store import Container
    from ..host.data import Host, Place
    from ..step import Plan, Slots


LATER_HOOKS = ("poststart", "poststop")
"""The hooks that are run by commands other than create."""


class Creation:
    """The parameters of create besides the container's id; None, False and 0 request nothing.

    bundle: the directory with config.json and the root file system. config_file: read instead of config.json.
    systemd_cgroup: whether systemd makes the cgroup. notify_socket: address of the service manager's socket to notify
    when the program is ready. foreground: give the caller's terminal to the container. warnings: lines to log with the
    others. The rest is as in plan.wishes.Wishes.
    """

    __slots__ = (
        "bundle", "config_file", "console_socket", "foreground", "listen_fds", "no_new_keyring", "no_pivot",
        "notify_socket", "pid_file", "pidfd_socket", "preserve_fds", "systemd_cgroup", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        bundle: str,
        *,
        config_file: str | None = None,
        systemd_cgroup: bool = False,
        console_socket: str | None = None,
        pidfd_socket: str | None = None,
        pid_file: str | None = None,
        preserve_fds: int = 0,
        listen_fds: int = 0,
        notify_socket: str | None = None,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        foreground: bool = False,
        warnings: Iterable[str] = (),
    ) -> None:
        self.bundle = bundle
        self.config_file = config_file
        self.systemd_cgroup = systemd_cgroup
        self.console_socket = console_socket
        self.pidfd_socket = pidfd_socket
        self.pid_file = pid_file
        self.preserve_fds = preserve_fds
        self.listen_fds = listen_fds
        self.notify_socket = notify_socket
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.foreground = foreground
        self.warnings = list(warnings)


class Request:
    """What create needs before it changes anything: the config, the inputs of the plan, the plan, and the warnings."""

    __slots__ = ("config", "host", "place", "plan", "raw", "warnings", "wishes")

    def __init__(
        self, raw: bytes, config: dict[str, Any], host: Host, place: Place, wishes: Wishes, warnings: list[str]
    ) -> None:
        self.raw = raw
        self.config = config
        self.host = host
        self.place = place
        self.wishes = wishes
        self.plan: Plan = build.build_create(config, host, place, wishes)
        self.warnings = warnings + self.plan.warnings


def prepare(root: str, container_id: str, asked: Creation) -> Request:
    """Read and validate the config and build the plan; change nothing. Raises InvalidConfig and other Failures."""
    check_id(container_id)
    raw, config = spec.load_config(asked.bundle, asked.config_file)
    extensions.apply(config)
    namespaces = probe.HostNamespaces()
    warnings = spec.validate(config, namespaces.look) + asked.warnings
    wishes = Wishes(
        container_id,
        bundle_path(asked.bundle),
        console_socket=asked.console_socket,
        pidfd_socket=asked.pidfd_socket,
        pid_file=asked.pid_file,
        preserve_fds=asked.preserve_fds,
        listen_fds=asked.listen_fds,
        notify_directory=notify_directory(root, container_id, asked.notify_socket, warnings),
        no_pivot=asked.no_pivot,
        no_new_keyring=asked.no_new_keyring,
    )
    rootfs = probe.find_rootfs(config, wishes.bundle)
    listed = probe.namespaces(config, namespaces)
    inner = probe.inner_sources(rootfs, mounts.sources_for_host(config, listed, wishes.bundle))
    host = probe.host(rootfs, listed, inner)
    where = place(config, container_id, host.euid, systemd=asked.systemd_cgroup)
    if asked.foreground and not asked.console_socket:
        from ..engine import foreground

        wishes.console_size = foreground.window_size()
    return Request(raw, config, host, where, wishes, warnings)


def notify_directory(root: str, container_id: str, address: str | None, warnings: list[str]) -> str | None:
    """Return the directory of the socket on which the program reports its readiness, None if no manager listens.

    A missing manager is only a warning: the variable may come from a service that ended long ago.
    """
    if address is None:
        return None
    from . import notify

    problem = notify.problem(address)
    if problem is not None:
        warnings.append(problem)
        return None
    return f"{root}/{container_id}/{NOTIFY_DIRECTORY}"


def bundle_path(bundle: str) -> str:
    """Return the absolute path of the bundle, without symbolic links."""
    try:
        fd = kernel.open(bundle, kernel.flags("O_PATH|O_DIRECTORY|O_CLOEXEC"))
    except OSError as error:
        raise InvalidConfig(f"bundle {bundle}", error) from None
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


def check_terminal(asked: Creation, config: dict[str, Any]) -> bool:
    """Return whether this process relays the terminal itself; raise Failure for combinations that can't work."""
    terminal = bool((config.get("process") or {}).get("terminal"))
    if not terminal and asked.console_socket:
        raise Failure("cannot use console socket: process.terminal is false in config.json")
    if terminal and not asked.console_socket and not asked.foreground:
        raise InvalidConfig(
            "cannot allocate tty for a container that runs detached without a console socket",
            pointer="/process/terminal",
            hint="give --console-socket PATH",
        )
    return terminal and not asked.console_socket


def make(root: str, request: Request, slots: Slots) -> tuple[Container, launch.Launched]:
    """Create the container; on failure remove everything that was made."""
    if request.host.rootless:
        raise Failure("containers can only be created by root", hint="pyruntime is not rootless yet")
    for warning in request.warnings:
        log.warning(warning)
    store = Store(root)
    # The failure may be that no descriptor is left; this one is kept for the clean-up.
    spare = kernel.open("/", kernel.flags("O_PATH|O_CLOEXEC"))
    try:
        container = store.create(request.wishes.id, record_of(request), request.raw)
    except BaseException:
        posix.close(spare)
        raise
    try:
        if request.wishes.notify_directory and request.config.get("process"):
            from . import notify

            notify.make_directory(container)
        if not request.place.missing:
            # A new cgroup has no kills yet; an existing one may have some from before the container was in it.
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
            take_pid_file_back(request.wishes.pid_file, slots.get("init_pid"))
        finally:
            clean_up(container, error)
        raise
    posix.close(spare)
    return container, launched


def take_pid_file_back(path: str | None, pid: int | None) -> None:
    """Remove the pid file of a create that failed in the end; leave one that names another process."""
    if not path or pid is None:
        return
    try:
        if files.read_head(path, 32, flags=files.READ | posix.O_NOFOLLOW | posix.O_NONBLOCK) == b"%d" % pid:
            posix.unlink(path)
    except OSError:
        return


def give_back_devices(slots: Slots, error: BaseException) -> None:
    """Move the container's network devices back to the host: virtual ones would be destroyed with the container."""
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


def record_of(request: Request) -> Record:
    """Return the `creating` record: what delete needs, written before the first process exists."""
    host, place, wishes = request.host, request.place, request.wishes
    has_mount_namespace = "mount" in host.namespaces.new or "mount" in host.namespaces.joined
    # Recorded before the unit exists, so that delete knows what to look for whenever create is killed.
    unit: Record = {"systemd_unit": place.unit, "systemd_user": host.rootless} if place.unit else {}
    return {
        "id": wishes.id,
        "ociVersion": request.config["ociVersion"],
        "bundle": wishes.bundle,
        "rootfs": host.rootfs,
        "annotations": request.config.get("annotations") or {},
        "cgroup": place.path,
        "cgroup_mount": place.mount or "",
        "cgroup_made": place.missing,
        **unit,
        "keyring": "" if wishes.no_new_keyring else f"_ses.{wishes.id}.{posix.urandom(16).hex()}",
        # Never for `/`: a mount on top of it can't be distinguished from it later.
        "mounts": [] if has_mount_namespace or host.rootfs == "/" else [[host.rootfs, mount_id(host.rootfs)]],
        "own_pid_namespace": "pid" in host.namespaces.new,
        # Listed in the config but the same as the runtime's own: exec must not join them either.
        "shared_namespaces": sorted(host.namespaces.shared),
        # So that start and delete need not read a config, however large, when there is nothing to do.
        "has_process": bool(request.config.get("process")),
        "later_hooks": [kind for kind in LATER_HOOKS if (request.config.get("hooks") or {}).get(kind)],
    }


def create(root: str, container_id: str, asked: Creation) -> None:
    """Set up a container, whose program waits for `start`. Raises Failure; then nothing is left behind."""
    protection.check("create")
    request = prepare(root, container_id, asked)
    check_terminal(asked, request.config)
    container, launched = make(root, request, {})
    launched.close()
    container.close()
