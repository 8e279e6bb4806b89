"""A foreground run: its exit status, signals passed on, and bytes between the caller's and the program's terminal."""

import errno
import os
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.recording import Recorder
from support.terminal import Terminal as Screen

from pyruntime import kernel
from pyruntime.engine import foreground
from pyruntime.engine.foreground import Signals, Terminal


@pytest.fixture
def signals() -> Iterator[Signals]:
    made = Signals()
    yield made
    made.restore()


@pytest.fixture
def caller() -> Iterator[tuple[Screen, int]]:
    """A terminal of the caller's: the side of who sits before it, and the one to be stdio. The test puts it there
    itself, because pytest exchanges stdio once more before it runs a test."""
    master, slave = os.openpty()
    screen = Screen(master)
    screen.resize(40, 100)
    yield screen, slave
    os.close(master)
    os.close(slave)


class Program:
    """A process of the test: what it does, with a terminal when it is given one."""

    def __init__(self, work: Callable[[], int | None], tty: int | None = None) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            if tty is not None:
                os.setsid()
                for fd in (0, 1, 2):
                    os.dup2(tty, fd)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, range(1, 65))
            try:
                os._exit(work() or 0)
            finally:
                os._exit(99)
        self.pidfd = os.pidfd_open(self.pid)

    def wait(self, signals: Signals, terminal: Terminal | None = None, notify: Any = None) -> int:
        try:
            return foreground.wait(self.pid, self.pidfd, signals, terminal, notify)
        finally:
            os.close(self.pidfd)


def die_by(number: int) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)


@pytest.mark.parametrize(
    ("work", "status"), [(lambda: 0, 0), (lambda: 1, 1), (lambda: 255, 255), (die_by(9), 137), (die_by(15), 143)]
)
def test_the_exit_status(signals: Signals, work: Any, status: int) -> None:
    assert Program(work).wait(signals) == status


class TestSignals:
    def test_which(self) -> None:
        left = {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGKILL,
                signal.SIGSEGV, signal.SIGPIPE, 16, signal.SIGCHLD, signal.SIGSTOP, signal.SIGXCPU, signal.SIGXFSZ,
                signal.SIGVTALRM, signal.SIGPROF, signal.SIGSYS, 32, 33}  # fmt: skip
        left |= {19}
        assert set(foreground.FORWARDED) == set(range(1, 65)) - left - {24, 25, 26, 27}

    def test_they_are_blocked_until_restored(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, foreground.FORWARDED)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        made = Signals()
        assert {signal.SIGTERM, signal.SIGRTMIN} <= signal.pthread_sigmask(signal.SIG_BLOCK, [])
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGURG)
        assert sorted(made.read()) == sorted([signal.SIGUSR1, signal.SIGURG])
        assert made.read() == b""
        made.restore()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before

    def test_they_go_to_the_program(self, signals: Signals) -> None:
        """All that came, one after the other; the program ends of the last."""
        ready, told = os.pipe()
        held: list[int] = []

        def work() -> int:
            signal.signal(signal.SIGUSR1, lambda number, _: held.append(number))
            os.write(told, b"x")
            while not held:
                time.sleep(0.001)
            signal.pause()
            return 0

        program = Program(work)
        os.read(ready, 1)
        signal.raise_signal(signal.SIGUSR1)
        timer = threading.Timer(0.05, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM))
        timer.start()
        assert program.wait(signals) == 128 + signal.SIGTERM
        timer.join()
        os.close(ready)
        os.close(told)

    def test_a_program_that_has_ended_gets_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = Recorder(kernel, pidfd_send_signal=ProcessLookupError(3, "No such process"))
        monkeypatch.setattr(foreground, "kernel", recorder)
        foreground.forward(bytes([1, 2, 3]), 77, None)
        assert recorder.calls == [("pidfd_send_signal", 77, 1)], "the first says it"

    def test_a_change_of_size_is_for_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = Recorder(kernel, pidfd_send_signal=None)
        monkeypatch.setattr(foreground, "kernel", recorder)
        terminal: Any = Recorder(resize=None)
        foreground.forward(bytes([28, 15]), 77, terminal)
        assert (terminal.calls, recorder.calls) == ([("resize",)], [("pidfd_send_signal", 77, 15)])
        foreground.forward(bytes([28]), 77, None)
        assert recorder.calls[1:] == [("pidfd_send_signal", 77, 28)], "without a terminal it is a signal like others"


def test_a_program_that_says_that_it_is_ready(signals: Signals) -> None:
    """What listens is asked when there is something, with the pid of this process, until it has closed its end."""
    receive, send = os.pipe()
    seen: list[tuple[int, bytes]] = []
    notify = SimpleNamespace(fd=receive)

    def read(pid: int) -> None:
        seen.append((pid, os.read(receive, 99)))
        notify.fd = -1
        os.write(go_on, b"x")

    notify.read = read
    wait, go_on = os.pipe()

    def work() -> int:
        os.write(send, b"READY=1")
        os.read(wait, 1)
        return 3

    assert Program(work).wait(signals, None, notify) == 3
    assert seen == [(os.getpid(), b"READY=1")]
    for fd in (receive, send, wait, go_on):
        os.close(fd)


class TestTerminal:
    @pytest.fixture
    def pty(self) -> Iterator[tuple[int, int]]:
        """The program's terminal: the side of the runtime, and the program's, which adds no carriage return."""
        master, slave = os.openpty()
        mode = termios.tcgetattr(slave)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        ends = [master, slave]
        yield master, slave
        for fd in ends:
            try:
                os.close(fd)
            except OSError:
                pass

    def test_bytes_go_both_ways(
        self, caller: tuple[Screen, int], stdio: Any, pty: tuple[int, int], signals: Signals
    ) -> None:
        """What is typed reaches the program, what it writes is shown, and all of it although it ends at once."""
        screen, tty = caller
        stdio(tty, tty, tty)

        def work() -> int:
            line = os.read(0, 99)
            os.write(1, b"got " + line)
            columns, rows = os.get_terminal_size(0)
            os.write(1, b"%d x %d\n" % (rows, columns) + b"x" * 3000 + b"end")
            return 5

        before = termios.tcgetattr(0)
        screen.type("hello\n")
        program = Program(work, pty[1])
        assert program.wait(signals, Terminal(pty[0])) == 5
        assert screen.read_until("end").endswith("got hello\r\n40 x 100\r\n" + "x" * 3000 + "end")
        assert termios.tcgetattr(0) == before

    def test_what_is_written_is_shown_at_once(
        self, caller: tuple[Screen, int], stdio: Any, pty: tuple[int, int], signals: Signals
    ) -> None:
        """The program waits for an answer to it."""
        screen, tty = caller
        stdio(tty, tty, tty)

        def work() -> int:
            os.write(1, b"name? ")
            return len(os.read(0, 99))

        program = Program(work, pty[1])

        def answer() -> None:
            try:
                screen.read_until("name? ")
                screen.type("abc\n")
            except AssertionError:
                os.kill(program.pid, signal.SIGKILL)

        thread = threading.Thread(target=answer)
        thread.start()
        assert program.wait(signals, Terminal(pty[0])) == 4
        thread.join()

    def test_what_is_left_when_the_program_has_ended(self, stdio: Any, pty: tuple[int, int], signals: Signals) -> None:
        """More than one read of a terminal returns."""
        shown, stdout = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        stdio(null, stdout, stdout)
        program = Program(lambda: os.write(1, b"x" * 10_000) and 0, pty[1])
        os.waitid(os.P_PIDFD, program.pidfd, os.WEXITED | os.WNOWAIT)
        assert program.wait(signals, Terminal(pty[0])) == 0
        assert os.read(shown, 65536) == b"x" * 10_000
        for fd in (null, shown, stdout):
            os.close(fd)

    def test_a_change_of_size_arrives(
        self, caller: tuple[Screen, int], stdio: Any, pty: tuple[int, int], signals: Signals
    ) -> None:
        screen, tty = caller
        stdio(tty, tty, tty)
        told, tell = os.pipe()

        def work() -> int:
            signal.signal(signal.SIGWINCH, lambda *_: None)
            os.write(tell, b"x")
            while os.get_terminal_size(0) != (50, 20):
                time.sleep(0.001)
            return 4

        def change() -> None:
            os.read(told, 1)
            screen.resize(20, 50)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGWINCH)

        thread = threading.Thread(target=change)
        program = Program(work, pty[1])
        thread.start()
        assert program.wait(signals, Terminal(pty[0])) == 4
        thread.join()
        os.close(told)
        os.close(tell)

    def test_an_end_of_input_is_passed_on_once(
        self, stdio: Any, pty: tuple[int, int], signals: Signals, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pipe that is closed reads as ^D for the program; the runtime does not look at it again."""
        (stdin, typed), (shown, stdout) = os.pipe(), os.pipe()
        os.write(typed, b"a\n")
        os.close(typed)
        stdio(stdin, stdout, stdout)
        inputs: list[bool] = []
        real = Terminal.input

        def counted(self: Terminal) -> bool:
            inputs.append(real(self))
            return inputs[-1]

        monkeypatch.setattr(Terminal, "input", counted)

        def work() -> int:
            text = b""
            while part := os.read(0, 99):
                text += part
            time.sleep(0.05)
            os.write(1, b"<%b>" % text)
            return 0

        assert Program(work, pty[1]).wait(signals, Terminal(pty[0])) == 0
        assert os.read(shown, 99) == b"<a\n>"
        assert inputs == [True, False]
        for fd in (stdin, shown, stdout):
            os.close(fd)

    def test_it_is_restored_after_a_failure(
        self, caller: Any, stdio: Any, pty: tuple[int, int], signals: Signals, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stdio(caller[1], caller[1], caller[1])
        before = termios.tcgetattr(0)
        modes: list[Any] = []

        def forward(*_: Any) -> None:
            modes.append(termios.tcgetattr(0))
            raise OSError(errno.EPERM, "not permitted")

        monkeypatch.setattr(foreground, "forward", forward)
        program = Program(lambda: signal.pause(), pty[1])
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(PermissionError):
            program.wait(signals, Terminal(pty[0]))
        assert modes[0][3] & (termios.ECHO | termios.ICANON) == 0
        assert termios.tcgetattr(0) == before
        os.kill(program.pid, signal.SIGKILL)
        os.waitpid(program.pid, 0)
