"""The host's walk: run the host's steps, create init with clone3, take turns with it, clean up on failure."""

from __future__ import annotations

import errno
import gc
import posix

from .. import kernel, log, observer
from ..errors import Failure
from ..step import HOST, INIT, JOIN, resolve
from . import calls, channel, init
from .channel import wait_for_exec

__all__ = ["Launched", "launch", "wait_for_exec"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..step import Plan, Slots, Step

POLLIN = 1
SIGKILL = 9
WITH_ENVIRONMENT = ("exec_program", "find_program", "run_hook", "with_home")
"""Steps whose arguments include the environment of the program or of a hook."""


class Launched:
    """A process created by a plan. channel: the host's end of the socket to it; -1 once closed."""

    __slots__ = ("pid", "pidfd", "channel")

    def __init__(self, pid: int, pidfd: int, channel_fd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel_fd

    def replace(self, pid: int, pidfd: int) -> None:
        """Switch to the successor that the process has cloned; reap the process, which exits now."""
        posix.waitpid(self.pid, 0)
        posix.close(self.pidfd)
        self.pid, self.pidfd = pid, pidfd

    def kill(self) -> None:
        """Kill and reap the process; it is a child, so its pid can't have been reused."""
        if self.channel >= 0:
            posix.close(self.channel)
            self.channel = -1
        if self.pid <= 0:
            return
        try:
            kernel.pidfd_send_signal(self.pidfd, SIGKILL)
        except ProcessLookupError:
            pass
        try:
            posix.waitpid(self.pid, 0)
        except ChildProcessError:
            pass

    def close(self) -> None:
        """Close the descriptors of the process, which keeps running."""
        for fd in (self.channel, self.pidfd):
            if fd >= 0:
                posix.close(fd)
        self.channel = self.pidfd = -1


@observer.phase
def launch(plan: Plan, slots: Slots) -> Launched:
    """Run the plan; return the process it created once the last host step is done.

    slots: values that the caller already has (state_dir, console, …). Raises Failure, after killing init.
    """
    launched = Launched(-1, -1, -1)
    try:
        first = run_before_clone(plan, slots)
        clone(plan, first, slots, launched)
        walk(plan, first + 1, slots, launched)
    except BaseException:
        launched.kill()
        if launched.pidfd >= 0:
            posix.close(launched.pidfd)
        raise
    return launched


def run_before_clone(plan: Plan, slots: Slots) -> int:
    """Run the host's steps up to clone3; return the position of that step."""
    for position, step in enumerate(plan.steps):
        if step.call == "clone3":
            return position
        if step.side == HOST:
            apply(step, slots, position)
    raise Failure("internal error: the plan has no clone3 step")


def apply(step: Step, slots: Slots, position: int | None = None) -> None:
    """Run one step on the host; raise a Failure that names it. position: the step's in its plan, if it has one."""
    log_step(step)
    try:
        step.apply(calls, slots)
    except (OSError, Failure) as error:
        raise channel.failure_of(step, error, position) from error


def preload(plan: Plan) -> None:
    """Import what steps of init may need: init itself can't import any more (see init.seal)."""
    kernel.preload()
    for step in plan:
        if step.call == "run_hook":
            from . import hooks  # noqa: F401
        elif step.call == "copy_up":
            from ..kernel import copyup  # noqa: F401
        elif step.call == "mount_by_data":
            from ..kernel import old_mount  # noqa: F401


def clone(plan: Plan, position: int, slots: Slots, launched: Launched) -> None:
    """Create init; in init itself this never returns."""
    step = plan.steps[position]
    log_step(step)
    preload(plan)
    host_end, init_end = kernel.socketpair()
    launched.channel = host_end
    slots["channel"] = init_end
    flags, cgroup = (resolve(arg, calls, slots) for arg in step.args)
    # Live objects are shared with init copy-on-write; a garbage collection in either process would only copy them.
    gc.disable()
    gc.freeze()
    record = observer.begin(step)  # the one step that is not applied: two processes come back from it
    try:
        joins = [at for at, each in enumerate(plan.steps[:position]) if each.side == JOIN]
        if joins:
            clone_through(joins, flags, cgroup, plan, position, slots, launched)
        else:
            launched.pid, launched.pidfd = kernel.clone3(flags, cgroup)
            if launched.pid == 0:
                posix.close(host_end)
                init.run(plan, position + 1, slots, init_end)
    except OSError as error:
        raise channel.failure_of(step, error, position) from error
    finally:
        observer.end(record)
        posix.close(init_end)
    slots["init_pid"] = launched.pid
    slots["init_pidfd"] = launched.pidfd


def clone_through(
    joins: list[int], flags: int, cgroup: int, plan: Plan, position: int, slots: Slots, launched: Launched
) -> None:
    """Create init from an intermediate process that has joined other namespaces; init is still the host's child.

    joins: the positions of the steps that join them.
    """
    receive, send = kernel.socketpair()
    between = posix.fork()
    if between == 0:
        status = 1
        current = position
        try:
            for current in joins:
                plan.steps[current].apply(calls, slots)
            current = position
            pid, pidfd = kernel.clone3(flags, cgroup)
            if pid == 0:
                posix.close(launched.channel)
                posix.close(receive)
                posix.close(send)
                init.run(plan, position + 1, slots, slots["channel"])
            kernel.send_message(send, channel.CHILD + b"%d" % pid, [pidfd])
            status = 0
        except BaseException as error:
            channel.send_error(send, current, plan.steps[current], error)
        finally:
            posix._exit(status)
    posix.close(send)
    try:
        launched.pid, launched.pidfd = channel.receive_child(receive, plan, JOIN)
    except channel.PeerDied:
        step = plan.steps[position]
        what = f"{step.called()}: the process that joins the user namespace died"
        raise Failure(what, pointer=step.pointer) from None
    finally:
        posix.close(receive)
        posix.waitpid(between, 0)


def log_step(step: Step) -> None:
    """Log a step for --debug, without an environment, which may hold secrets."""
    if log.wants_debug():
        text = f"{step.call}(...)" if step.call in WITH_ENVIRONMENT else step.describe()
        log.debug(f"{step.side}: {text}")


def log_init_steps(plan: Plan, first: int) -> None:
    """Log for --debug what init does next; init can't log, because it keeps no file of the host open."""
    if not log.wants_debug():
        return
    for step in plan.steps[first:]:
        if step.side == HOST:
            return
        if step.side == INIT:
            log_step(step)


def walk(plan: Plan, first: int, slots: Slots, launched: Launched) -> None:
    """Run the host's steps after clone3, alternating with init."""
    steps = plan.steps
    log_init_steps(plan, first)
    last_host = max((i for i in range(first, len(steps)) if steps[i].side == HOST), default=first - 1)
    run_start = done = first
    for position in range(first, len(steps)):
        step = steps[position]
        changes = position > first and steps[position - 1].side != step.side
        if changes and step.side == INIT:
            log_init_steps(plan, position)
            try:
                channel.send_go(launched.channel, channel.shared_names(plan, run_start, position), slots)
            except channel.PeerDied:
                raise_report(plan, launched)
                raise init_died(steps[position], launched) from None
            run_start = position
            if position > last_host:
                take_over(plan, position, len(steps), slots, launched)
                return
            done = run_meanwhile(plan, position, slots, launched)
        if step.side != HOST:
            continue
        if changes:
            run_start, begun = position, run_start
            take_over(plan, begun, position, slots, launched)
            wait_for_init(plan, begun, position, slots, launched)
        if position >= done:
            apply_beside(plan, position, slots, launched)
    take_over(plan, run_start, len(steps), slots, launched)


def run_meanwhile(plan: Plan, first: int, slots: Slots, launched: Launched) -> int:
    """Run the `meanwhile` steps of the host that follow init's run of steps from first on; return where they end."""
    position = first
    while plan.steps[position].side != HOST:
        position += 1
    while position < len(plan) and plan.steps[position].meanwhile:
        apply_beside(plan, position, slots, launched)
        position += 1
    return position


def apply_beside(plan: Plan, position: int, slots: Slots, launched: Launched) -> None:
    """Run one step on the host while init runs. When it fails because init has died, report that death instead."""
    step = plan.steps[position]
    try:
        apply(step, slots, position)
    except channel.StepFailure as failure:
        if failure.errno not in (errno.ENOENT, errno.ESRCH) or not kernel.poll([(launched.pidfd, POLLIN)], 0):
            raise
        raise_report(plan, launched)
        text = f"init died ({death(launched)}) before {step.called()}"
        raise Failure(text, pointer=step.pointer or None) from None


def raise_report(plan: Plan, launched: Launched) -> None:
    """Raise the Failure that init reported before it ended; return if it reported none."""
    try:
        _, fds = channel.receive(launched.channel, plan, INIT)
    except channel.PeerDied:
        return
    channel.close_all(fds)


def take_over(plan: Plan, begun: int, end: int, slots: Slots, launched: Launched) -> None:
    """If init clones its successor in this run of steps, wait for the successor, which is init from now on."""
    for step in plan.steps[begun:end]:
        if step.call == "clone_into_pid_namespace":
            try:
                launched.replace(*channel.receive_child(launched.channel, plan, INIT))
            except channel.PeerDied:
                raise init_died(plan.steps[begun], launched) from None
            slots["init_pid"], slots["init_pidfd"] = launched.pid, launched.pidfd


def wait_for_init(plan: Plan, begun: int, end: int, slots: Slots, launched: Launched) -> None:
    """Wait for init's GO; when init died instead, raise a Failure that says how and during which steps."""
    try:
        channel.receive_go(launched.channel, slots, channel.shared_names(plan, begun, end), plan, INIT)
    except channel.PeerDied:
        raise init_died(plan.steps[begun], launched) from None


def init_died(step: Step, launched: Launched) -> Failure:
    """Return the failure of an init that died without a report, in this step or a later one."""
    text = f"init died ({death(launched)}) in the steps after {step.called()}"
    return Failure(text, pointer=step.pointer or None)


def death(launched: Launched) -> str:
    """Reap a dead init and return how it ended, as text."""
    try:
        _, status = posix.waitpid(launched.pid, 0)
    except ChildProcessError:
        return "status unknown"
    launched.pid = -1
    if posix.WIFSIGNALED(status):
        return f"killed by signal {posix.WTERMSIG(status)}"
    return f"exit status {posix.waitstatus_to_exitcode(status)}"
