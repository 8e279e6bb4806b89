"""Terminals: the receiving end of a console socket, and the controlling end of a pseudo-terminal."""

import array
import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.runtime import ENVIRONMENT, SECONDS


class Terminal:
    """The controlling end of a pseudo-terminal: what is typed and what is shown."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def read_until(self, text: str, seconds: float = SECONDS) -> str:
        """Read until a text is shown; return all that was shown so far, line ends as written."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0 and self._read(left), f"waited in vain for {text!r}; shown: {self.shown!r}"
        return self.shown

    def read_to_end(self, seconds: float = SECONDS) -> str:
        """Read until the other end is closed."""
        deadline = time.monotonic() + seconds
        while self._read(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"no end; shown: {self.shown!r}"
        return self.shown

    def _read(self, seconds: float) -> bool:
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the other end open
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def size(self) -> tuple[int, int]:
        """Return (rows, columns)."""
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(self.fd, termios.TIOCGWINSZ, bytes(8)))
        return rows, columns

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class ConsoleSocket:
    """Listens as an engine does: takes one connection, one message, one descriptor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(1)
        self._received: list[Terminal] = []
        self.name = ""

    def receive(self, seconds: float = SECONDS) -> Terminal:
        """Return the terminal that the runtime sends; `name` is the message's text."""
        self._socket.settimeout(seconds)
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(seconds)
            data, ancillary, flags, _ = connection.recvmsg(4096, socket.CMSG_SPACE(8 * 4))
            fds = array.array("i")
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
            self.name = data.decode()
            assert not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC)
            assert len(fds) == 1, f"one descriptor expected, {len(fds)} received"
            assert connection.recv(1) == b"", "one message expected"
        os.set_inheritable(fds[0], False)
        terminal = Terminal(fds[0])
        self._received.append(terminal)
        return terminal

    def close(self) -> None:
        """Stop listening and close the terminals that were received."""
        self._socket.close()
        for terminal in self._received:
            terminal.close()


@contextlib.contextmanager
def console_socket(folder: Path) -> Iterator[ConsoleSocket]:
    """Listen on a console socket in a folder."""
    listening = ConsoleSocket(folder / "console.sock")
    try:
        yield listening
    finally:
        listening.close()


class OnTerminal:
    """A command that runs on a pseudo-terminal, as for a person: `terminal` is the person's side."""

    def __init__(self, command: Sequence[str], rows: int, columns: int, environment: dict[str, str]) -> None:
        controlling, line = pty.openpty()
        self.terminal = Terminal(controlling)
        self.terminal.resize(rows, columns)
        self.process = subprocess.Popen(
            command, stdin=line, stdout=line, stderr=line, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self._line = line
        self.settings = termios.tcgetattr(line)

    def settings_now(self) -> list[object]:
        """Return the terminal's settings as they are now."""
        return termios.tcgetattr(self._line)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the kernel tells the command with SIGWINCH."""
        self.terminal.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def wait(self, seconds: float = SECONDS) -> int:
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._line)
        self.terminal.close()


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], rows: int = 24, columns: int = 80, environment: dict[str, str] = ENVIRONMENT
) -> Iterator[OnTerminal]:
    """Run a command on a pseudo-terminal."""
    running = OnTerminal(command, rows, columns, environment)
    try:
        yield running
    finally:
        running.close()
