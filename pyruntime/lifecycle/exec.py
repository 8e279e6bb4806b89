"""Exec: run another process in a running container, with the same steps and the same engine as create."""

from __future__ import annotations

import errno

from .. import kernel, log, spec
from ..container import cgroup
from ..container.exec_cgroup import exec_cgroup
from ..container.status import status_of
from ..container.store import Store
from ..engine import foreground, launch
from ..errors import Failure, UsageFailure
from ..host import probe
from ..plan import build, extensions
from ..plan.wishes import Wishes
from ..spec.linux import without_namespaces
from . import protection
from .terminal import take_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..container.status import Status
    from ..container.store import Container
    from ..step import Slots

    Config = dict[str, Any]

NOT_STARTED = 255
"""Exit status of an exec whose process could not be started."""


class Execution:
    """The parameters of exec; None, False, 0 and () request nothing.

    process_file: a process document, used as it is. Without it the process runs args and is otherwise the container's
    own, with the changes given here: env and additional_gids are added, and so are capabilities, to the sets that take
    effect at once. cgroups: below the container's. foreground: wait for the process, and relay its terminal.
    """

    __slots__ = (
        "additional_gids", "apparmor", "args", "capabilities", "cgroups", "console_socket", "cwd", "env", "foreground",
        "gid", "ignore_paused", "no_new_privileges", "pid_file", "pidfd_socket", "preserve_fds", "process_file",
        "process_label", "terminal", "uid",
    )  # fmt: skip

    def __init__(
        self,
        args: list[str],
        *,
        process_file: str | None = None,
        terminal: bool = False,
        cwd: str | None = None,
        env: list[str] | None = None,
        uid: int | None = None,
        gid: int | None = None,
        additional_gids: list[int] | None = None,
        capabilities: list[str] | None = None,
        no_new_privileges: bool | None = None,
        apparmor: str | None = None,
        process_label: str | None = None,
        cgroups: list[str] | None = None,
        ignore_paused: bool = False,
        foreground: bool = False,
        console_socket: str | None = None,
        pidfd_socket: str | None = None,
        pid_file: str | None = None,
        preserve_fds: int = 0,
    ) -> None:
        self.args = args
        self.process_file = process_file
        self.terminal = terminal
        self.cwd = cwd
        self.env = env or []
        self.uid = uid
        self.gid = gid
        self.additional_gids = additional_gids or []
        self.capabilities = capabilities or []
        self.no_new_privileges = no_new_privileges
        self.apparmor = apparmor
        self.process_label = process_label
        self.cgroups = cgroups or []
        self.ignore_paused = ignore_paused
        self.foreground = foreground
        self.console_socket = console_socket
        self.pidfd_socket = pidfd_socket
        self.pid_file = pid_file
        self.preserve_fds = preserve_fds


def exec_(root: str, container_id: str, asked: Execution) -> int:
    """Run a process. Return its exit status if in the foreground, else 0 as soon as it runs.

    Raises Failure, with NOT_STARTED as its exit status, when the process could not be started.
    """
    protection.check("exec", NOT_STARTED)
    try:
        with Store(root).open(container_id, lock=False) as container:
            now = status_of(container)
            try:
                launched, signals, terminal = begin(asked, container, now)
            finally:
                now.close()
    except Failure as failure:
        raise about_exec(failure) from None
    except OSError as error:
        raise Failure("exec failed", error, status=NOT_STARTED) from None
    try:
        if signals is None:
            return 0
        status = foreground.wait(launched.pid, launched.pidfd, signals, terminal)
        signals.restore()
        return status
    finally:
        launched.close()


def begin(
    asked: Execution, container: Container, now: Status
) -> tuple[launch.Launched, foreground.Signals | None, foreground.Terminal | None]:
    """Start the process; return it, and in the foreground the caller's signals and the terminal to relay, if any."""
    check_status(container, now, asked)
    config = own_namespaces(container)
    program = read_process(asked, config)
    for warning in spec.validate_process(program):
        log.warning(warning)
    own_terminal = check_terminal(asked, program)
    slots: Slots = {"target": now.pidfd}
    ours = -1
    if own_terminal:
        ours, slots["console"] = kernel.socketpair()
    signals = foreground.Signals() if asked.foreground else None
    launched = add_process(asked, container, config, program, now, slots)
    terminal = take_terminal(ours, slots) if own_terminal else None
    write_results(asked, launched)
    return launched, signals, terminal


def about_exec(failure: Failure) -> Failure:
    """Return the failure with exec's exit status, and with pointers below /process relative to the process document."""
    failure.status = NOT_STARTED
    if failure.errno == errno.ESRCH:
        # Init is exiting, or has exited since its status was checked.
        failure.what = f"container not running: {failure.what}"
    failure.what = f"exec failed: {failure.what}"
    if failure.pointer and failure.pointer.startswith("/process/"):
        failure.document, failure.pointer = "process", failure.pointer.removeprefix("/process")
    return failure


def check_status(container: Container, now: Status, asked: Execution) -> None:
    """Raise Failure unless the container is created or running (or paused, if that is to be ignored)."""
    if now.status == "paused" and not asked.ignore_paused:
        raise Failure(f'cannot exec in a paused container (use --ignore-paused to override): "{container.id}"')
    if now.status not in ("created", "running", "paused"):
        raise Failure(f'cannot exec in a {now.status} container: "{container.id}": container not running')


def read_process(asked: Execution, config: Config) -> dict[str, Any]:
    """Return the process document: the file's, or the container's own with the requested changes."""
    if asked.process_file:
        return spec.load_process(asked.process_file)
    if not asked.args:
        raise UsageFailure("exec args cannot be empty: give a command, or --process FILE")
    program: dict[str, Any] = dict(config.get("process") or {"cwd": "/", "user": {}})
    program.pop("execCPUAffinity", None)
    program["args"] = asked.args
    program["terminal"] = asked.terminal
    if not asked.terminal:
        program.pop("consoleSize", None)
    if asked.cwd:
        program["cwd"] = asked.cwd
    if asked.env:
        program["env"] = [*(program.get("env") or []), *asked.env]
    if asked.apparmor:
        program["apparmorProfile"] = asked.apparmor
    if asked.process_label:
        program["selinuxLabel"] = asked.process_label
    if asked.no_new_privileges is not None:
        program["noNewPrivileges"] = asked.no_new_privileges
    program["user"] = with_ids(asked, program.get("user") or {})
    if asked.capabilities:
        program["capabilities"] = with_capabilities(program.get("capabilities") or {}, asked.capabilities)
    return program


def with_ids(asked: Execution, user: dict[str, Any]) -> dict[str, Any]:
    """Return the user with the requested ids. Everything else, including groups, stays as in config.json, as with
    runc."""
    user = dict(user)
    if asked.uid is not None:
        user["uid"] = asked.uid
    if asked.gid is not None:
        user["gid"] = asked.gid
    if asked.additional_gids:
        user["additionalGids"] = [*(user.get("additionalGids") or ()), *asked.additional_gids]
    return user


def with_capabilities(sets: dict[str, list[str]], added: list[str]) -> dict[str, list[str]]:
    """Add --cap to the sets that take effect at once, but never to the inheritable one (CVE-2022-29162).

    Those that config.json makes inheritable become ambient too, so that a user other than root keeps them over execve.
    """
    names = [name if name.startswith("CAP_") else f"CAP_{name}" for name in (cap.upper() for cap in added)]
    result = dict(sets)
    for kind in ("bounding", "effective", "permitted"):
        have = list(result.get(kind) or ())
        result[kind] = have + [name for name in names if name not in have]
    inheritable = [name for name in names if name in (result.get("inheritable") or ())]
    if inheritable:
        have = list(result.get("ambient") or ())
        result["ambient"] = have + [name for name in inheritable if name not in have]
    return result


def own_namespaces(container: Container) -> dict[str, Any]:
    """Return the container's config, without the namespaces that create found to be the runtime's own.

    These must not be joined: setns(2) to the process's own mount namespace leads back to the host's root.
    """
    config = container.config()
    extensions.apply(config)
    shared = container.record.get("shared_namespaces")
    return without_namespaces(config, frozenset(shared)) if shared else config


def check_terminal(asked: Execution, program: dict[str, Any]) -> bool:
    """Return whether this command relays the terminal itself; raise UsageFailure for combinations that can't work."""
    terminal = bool(program.get("terminal"))
    if terminal and not asked.foreground and not asked.console_socket:
        raise UsageFailure("cannot allocate tty for a process that runs detached without a console socket")
    if asked.console_socket and not terminal:
        raise UsageFailure("cannot use console socket: the process wants no terminal")
    return terminal and not asked.console_socket


def add_process(
    asked: Execution, container: Container, config: Config, program: dict[str, Any], now: Status, slots: Slots
) -> launch.Launched:
    """Run the plan of exec, and return when the program runs."""
    slots["keyring_name"] = container.record.get("keyring")
    wishes = Wishes(
        container.id,
        container.record["bundle"],
        console_socket=asked.console_socket,
        console_size=foreground.window_size() if "console" in slots else None,
        preserve_fds=asked.preserve_fds,
        no_new_keyring=not slots["keyring_name"],
    )
    host = probe.host(container.record["rootfs"], probe.namespaces(config))
    plan = build.build_exec(program, {**config, "process": program}, host, wishes, now.pid)
    for warning in plan.warnings:
        log.warning(warning)
    slots["cgroup"] = open_cgroup(now, container, asked)
    group = cgroup.of(container.record)
    kills = group.oom_kills()
    try:
        launched = launch.launch(plan, slots)
        try:
            launch.wait_for_exec(launched.channel, plan)
        except BaseException:
            launched.kill()
            raise
    except Failure as failure:
        from ..container import limits

        limits.explain(failure, group, kills)
        raise
    return launched


def open_cgroup(now: Status, container: Container, asked: Execution) -> int:
    """Return a descriptor of the cgroup in which the process starts: init's own, or the one that --cgroup names."""
    path = exec_cgroup(now.pid, container.record, asked.cgroups)
    try:
        return kernel.open(path, kernel.flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"))
    except OSError as error:
        hint = "--cgroup names one that the container has made" if asked.cgroups else None
        raise Failure("cgroup of the new process", error, hint=hint) from None


def write_results(asked: Execution, launched: launch.Launched) -> None:
    """Report the process to the caller: first the pidfd socket, then the pid file, which callers take as success."""
    from ..engine import calls

    try:
        if asked.pidfd_socket:
            calls.send_descriptor(asked.pidfd_socket, launched.pidfd, "pidfd")
        if asked.pid_file:
            calls.write_pid_file(asked.pid_file, launched.pid)
    except OSError as error:
        launched.kill()
        raise Failure("exec: the process was started and then killed", error) from None
