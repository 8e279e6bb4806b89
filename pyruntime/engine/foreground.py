"""A foreground run or exec: wait for the program, forward signals to it, and copy its terminal's bytes.

Signals to the runtime are meant for the container, window-size changes are forwarded, and the caller's terminal is
always restored. Source: ioctl_tty(2), termios(3), signal(7).
"""

from __future__ import annotations

import errno
import posix

from .. import kernel, observer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Notify(Protocol):
        """Receives the program's readiness message. fd: -1 when there is nothing more to wait for."""

        fd: int

        def read(self, main_pid: int) -> bool: ...


POLLIN = 1
GONE = 0x18
"""POLLERR | POLLHUP."""
FORWARDED = (1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22, 23, 28, 29, 30, *range(34, 65))
"""HUP INT QUIT USR1 USR2 ALRM TERM CONT TSTP TTIN TTOU URG WINCH IO PWR, and the real-time signals: what a user or a
supervisor may send to the runtime. SIGRTMIN+3 stops a container that runs systemd."""
SIGWINCH = 28
CHUNK = 65536


class Signals:
    """Delivers signals to this process as bytes on a descriptor, from construction to restore()."""

    def __init__(self) -> None:
        self.fd = kernel.signal_fd(FORWARDED)

    def read(self) -> bytes:
        """Return the numbers of the signals received, one byte each."""
        return kernel.read_signals(self.fd)

    def restore(self) -> None:
        kernel.unblock_signals(FORWARDED)
        posix.close(self.fd)


@observer.phase
def wait(pid: int, pidfd: int, signals: Signals, terminal: Terminal | None = None, notify: Notify | None = None) -> int:
    """Wait for the program and return its exit status, or 128 plus the signal that killed it.

    notify: receives the program's readiness message; the service manager then watches this process.
    """
    stdin_open = terminal is not None
    if terminal is not None:
        terminal.raw()
        terminal.resize()
    try:
        while True:
            watched = [(pidfd, POLLIN), (signals.fd, POLLIN)]
            if notify is not None and notify.fd >= 0:
                watched.append((notify.fd, POLLIN))
            if terminal is not None:
                watched.append((terminal.pty, POLLIN))
                if stdin_open:
                    watched.append((0, POLLIN))
            ready = dict(kernel.poll(watched, -1))
            if signals.fd in ready:
                forward(signals.read(), pidfd, terminal)
            if notify is not None and notify.fd in ready:
                notify.read(posix.getpid())
            if terminal is not None and terminal.pty in ready:
                terminal.output()
            if terminal is not None and 0 in ready:
                stdin_open = terminal.input()
            if pidfd in ready:
                break
    finally:
        if terminal is not None:
            terminal.drain()
            terminal.restore()
    code = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def forward(numbers: bytes, pidfd: int, terminal: Terminal | None) -> None:
    """Send the signals to the program; apply a change of window size to its terminal instead."""
    for number in numbers:
        if number == SIGWINCH and terminal is not None:
            terminal.resize()
            continue
        try:
            kernel.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return


def window_size() -> tuple[int, int] | None:
    """Return rows and columns of the caller's terminal, the first of its stdio that is one; None when none is."""
    for fd in (2, 1, 0):
        try:
            columns, rows = posix.get_terminal_size(fd)
        except OSError:
            continue
        return rows, columns
    return None


class Terminal:
    """The caller's terminal on one side, the container's pseudo-terminal on the other."""

    def __init__(self, pty: int) -> None:
        self.pty = pty
        self._saved: Any = None

    def raw(self) -> None:
        """Put the caller's terminal into raw mode; leave anything else as it is.

        Output processing stays on: it turns newlines into CR LF, which the container's terminal no longer does
        (plan/console.py). Nothing is flushed: input typed earlier is meant for the program.
        """
        import termios

        try:
            mode = termios.tcgetattr(0)
        except termios.error:
            return
        self._saved = [*mode[:6], list(mode[6])]
        breaks = termios.IGNBRK | termios.BRKINT | termios.PARMRK
        mode[0] &= ~(breaks | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
        mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSANOW, mode)

    def restore(self) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None

    def resize(self) -> None:
        """Set the size of the container's terminal to that of the caller's."""
        size = window_size()
        if size is not None:
            kernel.set_window_size(self.pty, *size)

    def output(self) -> bool:
        """Copy what the program wrote; return False at the end (EIO: no process has the terminal open)."""
        try:
            data = posix.read(self.pty, CHUNK)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):
                raise
            return False
        write_all(1, data)
        return bool(data)

    def input(self) -> bool:
        """Copy what the caller typed; return False at end of file."""
        data = posix.read(0, CHUNK)
        if not data:
            write_all(self.pty, b"\x04")
            return False
        write_all(self.pty, data)
        return True

    def drain(self) -> None:
        """Copy what is left in the terminal after the program has ended."""
        while True:
            ready = dict(kernel.poll([(self.pty, POLLIN)], 0))
            if not ready.get(self.pty, 0) & POLLIN or not self.output():
                return


def write_all(fd: int, data: bytes) -> None:
    """Write everything; stop silently when the reader is gone, as the output of any program would."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(fd, view) :]
        except BlockingIOError:
            kernel.poll([(fd, 4)], -1)
        except (BrokenPipeError, OSError) as error:
            if error.errno in (errno.EPIPE, errno.EIO):
                return
            raise
