"""`exec`: run one more process in a running container, with the same steps and the same engine as create."""

from __future__ import annotations

import errno
import posix

from .. import kernel, log, spec
from ..container import cgroup
from ..container.exec_cgroup import exec_cgroup
from ..container.status import status_of
from ..container.store import Store
from ..engine import foreground, launch
from ..errors import Failure, UsageFailure
from ..plan import build, extensions, facts
from ..spec.linux import without_namespaces
from ..text import quoted
from .create import absolute, preserved, take_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..cli import Options
    from ..container.status import Status
    from ..container.store import Container
    from ..step import Slots

NOT_STARTED = 255
"""Exit status of an exec whose process could not be started."""


def exec_(options: Options) -> int:
    """`exec ID [CMD…]`: returns the process's exit status, 0 when detached, 255 when it could not be started."""
    signals = None
    try:
        container = Store(options.root).open(options.args[0], lock=False)
        now = status_of(container)
        check_status(container, now, options)
        config = own_namespaces(container)
        program = read_process(options, config)
        for warning in spec.validate_process(program):
            log.warning(warning)
        own_terminal = check_terminal(options, program)
        slots: Slots = {"target": now.pidfd}
        ours = -1
        if own_terminal:
            ours, slots["console"] = kernel.socketpair()
        if not options.detach:
            signals = foreground.Signals()
        launched = add_process(options, container, config, program, now, slots)
        terminal = take_terminal(ours, slots) if own_terminal else None
        write_results(options, launched)
    except Failure as failure:
        raise about_exec(failure) from None
    except OSError as error:
        raise Failure("exec failed", error, status=NOT_STARTED) from None
    container.close()
    if signals is None:
        launched.close()
        return 0
    status = foreground.wait(launched.pid, launched.pidfd, signals, terminal)
    signals.restore()
    return status


def about_exec(failure: Failure) -> Failure:
    """Return the failure with the exit status of exec; what stands below /process is not in config.json here."""
    failure.status = NOT_STARTED
    if failure.errno == errno.ESRCH:
        # Init is on its way out, or has gone since the look at its status.
        failure.what = f"container not running: {failure.what}"
    failure.what = f"exec failed: {failure.what}"
    if failure.pointer and failure.pointer.startswith("/process/"):
        failure.document, failure.pointer = "process", failure.pointer.removeprefix("/process")
    return failure


def check_status(container: Container, now: Status, options: Options) -> None:
    """Raise Failure unless a process can be added: the container is created or running (or paused, if ignored)."""
    if now.status == "paused" and not options.ignore_paused:
        raise Failure(f'cannot exec in a paused container (use --ignore-paused to override): "{container.id}"')
    if now.status not in ("created", "running", "paused"):
        raise Failure(f'cannot exec in a {now.status} container: "{container.id}": container not running')


def read_process(options: Options, config: dict[str, Any]) -> dict[str, Any]:
    """Return the process document: from --process, or the container's own with the command line's changes."""
    if options.process:
        return spec.load_process(options.process)
    if len(options.args) < 2:
        raise UsageFailure("exec args cannot be empty: give a command, or --process FILE")
    program: dict[str, Any] = dict(config.get("process") or {"cwd": "/", "user": {}})
    program.pop("execCPUAffinity", None)
    program["args"] = options.args[1:]
    program["terminal"] = bool(options.tty)
    if not options.tty:
        program.pop("consoleSize", None)
    if options.cwd:
        program["cwd"] = options.cwd
    if options.env:
        program["env"] = [*(program.get("env") or []), *options.env]
    if options.apparmor:
        program["apparmorProfile"] = options.apparmor
    if options.process_label:
        program["selinuxLabel"] = options.process_label
    if options.no_new_privs is not None:
        program["noNewPrivileges"] = options.no_new_privs
    program["user"] = read_user(options, program.get("user") or {})
    if options.cap:
        program["capabilities"] = with_capabilities(program.get("capabilities") or {}, options.cap)
    return program


def read_user(options: Options, user: dict[str, Any]) -> dict[str, Any]:
    """Apply --user UID[:GID] and --additional-gids; only numbers, strictly (CVE-2026-30892).

    What is not named stays as config.json has it, groups too; runc does the same.
    """
    user = dict(user)
    if options.user is not None:
        uid, colon, gid = options.user.partition(":")
        user["uid"] = number(uid, "--user")
        if colon:
            user["gid"] = number(gid, "--user")
    if options.additional_gids:
        added = [number(gid, "--additional-gids") for gid in options.additional_gids]
        user["additionalGids"] = [*(user.get("additionalGids") or ()), *added]
    return user


def number(text: str, option: str) -> int:
    """Return a user or group id; raise UsageFailure for anything but a decimal number below 2^32-1."""
    wrong = UsageFailure(f"{option}: {quoted(text)} is not a numeric id between 0 and 4294967294")
    if len(text) > len("4294967294"):  # there may be more digits than Python takes for a number
        raise wrong
    if not (text.isascii() and text.isdecimal()) or int(text) >= 0xFFFFFFFF:
        raise wrong
    return int(text)


def with_capabilities(sets: dict[str, list[str]], added: list[str]) -> dict[str, list[str]]:
    """Add --cap to the sets that a new program has at once; never to the inheritable one (CVE-2022-29162).

    What config.json makes inheritable becomes ambient too, so that a user other than root keeps it over execve.
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
    """Return the container's config without the namespaces that create found to be the runtime's own.

    To join these is wrong: a setns(2) to the mount namespace that one is in leads back to the host's root.
    """
    config = container.config()
    extensions.apply(config)
    shared = container.record.get("shared_namespaces")
    return without_namespaces(config, frozenset(shared)) if shared else config


def check_terminal(options: Options, program: dict[str, Any]) -> bool:
    """Return whether this command carries the terminal itself; refuse what can't work."""
    terminal = bool(program.get("terminal"))
    if terminal and options.detach and not options.console_socket:
        raise UsageFailure("cannot allocate tty for a process that runs detached without a console socket")
    if options.console_socket and not terminal:
        raise UsageFailure("cannot use console socket: the process wants no terminal")
    return terminal and not options.console_socket


def add_process(
    options: Options, container: Container, config: dict[str, Any], program: dict[str, Any], now: Status, slots: Slots
) -> launch.Launched:
    """Run the plan of exec; return once the program runs."""
    found = facts.Facts()
    found.id, found.euid = container.id, posix.geteuid()
    found.bundle, found.rootfs = container.record["bundle"], container.record["rootfs"]
    found.init_pid = now.pid
    facts.read_namespaces(found, config)
    facts.probe_capabilities(found)
    slots["keyring_name"] = container.record.get("keyring")
    found.no_new_keyring = not slots["keyring_name"]
    found.console_socket = absolute(options.console_socket)
    found.preserve_fds = preserved(options)
    if "console" in slots:
        found.console_size = foreground.window_size()
    merged = {**config, "process": program}
    plan = build.build_exec(program, merged, found)
    for warning in plan.warnings:
        log.warning(warning)
    slots["cgroup"] = open_cgroup(now, container, options)
    group = cgroup.of(container.record)
    kills = group.oom_kills()
    try:
        launched = launch.launch(plan, slots)
        try:
            launch.wait_for_exec(launched.channel)
        except BaseException:
            launched.kill()
            raise
    except Failure as failure:
        from ..container import limits

        limits.explain(failure, group, kills)
        raise
    return launched


def open_cgroup(now: Status, container: Container, options: Options) -> int:
    """Return a descriptor of the cgroup that the new process is born in: init's own, or one below it (--cgroup)."""
    path = exec_cgroup(now.pid, container.record, options.cgroup)
    try:
        return kernel.open(path, kernel.flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"))
    except OSError as error:
        hint = "--cgroup names one that the container has made" if options.cgroup else None
        raise Failure("cgroup of the new process", error, hint=hint) from None


def write_results(options: Options, launched: launch.Launched) -> None:
    """Tell the caller who runs: pidfd socket, then the pid file, which callers read as the sign of success."""
    from ..engine import calls

    try:
        if options.pidfd_socket:
            calls.send_descriptor(options.pidfd_socket, launched.pidfd, "pidfd")
        if options.pid_file:
            calls.write_pid_file(options.pid_file, launched.pid)
    except OSError as error:
        launched.kill()
        raise Failure("exec: the process was started and ended again", error) from None
