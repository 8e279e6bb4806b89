"""The caller's terminal and the program's: modes, sizes, and single reads and writes; the whole is a foreground run."""

import errno
import os
import select
import termios
import threading
from typing import Any

import pytest
from support.recording import Recorder
from support.terminal import Terminal as Screen

from pyruntime import kernel
from pyruntime.engine import foreground
from pyruntime.engine.foreground import Terminal


class TestTerminal:
    def test_raw(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every flag of input and line editing is cleared, those of output stay, and nothing typed is flushed."""
        characters = [b"x"] * 32
        mode: list[Any] = [0x1FFFF, 0x2FFFF, 0x4FFFF & ~termios.CSIZE, 0x8FFFF, 13, 13, characters]
        wanted: list[tuple[int, int, Any]] = []
        monkeypatch.setattr(termios, "tcgetattr", lambda fd: [*mode[:6], list(characters)])
        monkeypatch.setattr(termios, "tcsetattr", lambda *args: wanted.append(args))
        terminal = Terminal(-1)
        terminal.raw()
        terminal.restore()
        terminal.restore()
        off = (termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
               | termios.ICRNL | termios.IXON)  # fmt: skip
        local = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN
        (fd, when, raw), (same, after, restored) = wanted
        assert (fd, when, same, after) == (0, termios.TCSANOW, 0, termios.TCSADRAIN)
        assert raw[:6] == [0x1FFFF & ~off, 0x2FFFF, (0x4FFFF & ~termios.PARENB) | termios.CS8, 0x8FFFF & ~local, 13, 13]
        assert [(i, each) for i, each in enumerate(raw[6]) if each != b"x"] == [(termios.VTIME, 0), (termios.VMIN, 1)]
        assert restored == mode

    def test_what_is_no_terminal_stays_as_it_is(self, stdio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        null = os.open("/dev/null", os.O_RDWR)
        stdio(null, null, null)
        os.close(null)
        monkeypatch.setattr(termios, "tcsetattr", lambda *_: pytest.fail("it was changed"))
        recorder = Recorder(kernel, set_window_size=None)
        monkeypatch.setattr(foreground, "kernel", recorder)
        terminal = Terminal(-1)
        terminal.raw()
        terminal.resize()
        terminal.restore()
        assert foreground.window_size() is None and recorder.calls == []

    @pytest.mark.parametrize("which", [0, 1, 2])
    def test_the_size_is_that_of_the_one_that_is_a_terminal(self, stdio: Any, which: int) -> None:
        null, (master, slave) = os.open("/dev/null", os.O_RDWR), os.openpty()
        Screen(master).resize(33, 77)
        stdio(*[slave if fd == which else null for fd in (0, 1, 2)])
        size = foreground.window_size()
        for fd in (null, master, slave):
            os.close(fd)
        assert size == (33, 77)

    def test_the_error_stream_counts_first(self, stdio: Any) -> None:
        (one, first), (other, second) = os.openpty(), os.openpty()
        Screen(one).resize(1, 2)
        Screen(other).resize(3, 4)
        stdio(first, first, second)
        assert foreground.window_size() == (3, 4)
        for fd in (one, first, other, second):
            os.close(fd)

    def test_output(self, stdio: Any) -> None:
        (shown, stdout), (master, slave) = os.pipe(), os.openpty()
        stdio(stdout, stdout, stdout)
        terminal = Terminal(master)
        os.write(slave, b"text")
        assert terminal.output() is True and os.read(shown, 9) == b"text"
        os.set_blocking(master, False)
        assert terminal.output() is False, "there is nothing now"
        os.close(slave)
        assert terminal.output() is False, "nobody has it open any more"
        os.close(master)
        with pytest.raises(OSError, match="Bad file"):
            terminal.output()
        for fd in (shown, stdout):
            os.close(fd)

    def test_drain_takes_all_that_is_there(self, stdio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(foreground, "CHUNK", 4)
        (shown, stdout), (master, slave) = os.pipe(), os.openpty()
        stdio(stdout, stdout, stdout)
        os.write(slave, b"0123456789")
        Terminal(master).drain()
        assert os.read(shown, 99) == b"0123456789"
        Terminal(master).drain()
        os.write(slave, b"rest")
        os.close(slave)
        Terminal(master).drain()
        assert os.read(shown, 99) == b"rest"
        for fd in (shown, stdout, master):
            os.close(fd)


class TestWriteAll:
    def test_a_reader_that_is_slow(self) -> None:
        """More than a pipe takes, and the end does not block."""
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        data = os.urandom(300_000)
        found: list[bytes] = []

        def read() -> None:
            while sum(len(part) for part in found) < len(data):
                select.select([read_end], [], [])
                found.append(os.read(read_end, 65536))

        thread = threading.Thread(target=read)
        thread.start()
        foreground.write_all(write_end, data)
        thread.join()
        assert b"".join(found) == data
        os.close(read_end)
        os.close(write_end)

    def test_it_waits_for_a_reader_by_poll(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written = [BlockingIOError(errno.EAGAIN, "again"), 3]
        recorder = Recorder(kernel, poll=None)
        monkeypatch.setattr(foreground, "kernel", recorder)
        monkeypatch.setattr(foreground, "posix", Recorder(write=written))
        foreground.write_all(8, b"abc")
        assert (written, recorder.calls) == ([], [("poll", [(8, select.POLLOUT)], -1)])

    @pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
    def test_a_reader_that_is_gone(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        posix = Recorder(write=OSError(number, os.strerror(number)))
        monkeypatch.setattr(foreground, "posix", posix)
        foreground.write_all(8, b"abc")
        assert len(posix.calls) == 1

    def test_another_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(foreground, "posix", Recorder(write=OSError(errno.ENOSPC, "No space")))
        with pytest.raises(OSError, match="No space"):
            foreground.write_all(8, b"abc")
