"""sd_notify(3) for the program: it sends READY=1 to a socket of the runtime, which notifies the service manager.

The manager's own socket never gets into the container: only the readiness comes out. The runtime forwards it together
with the pid that the manager is to watch from then on. All this happens only if NOTIFY_SOCKET is in the environment.
"""

from __future__ import annotations

import errno
import posix

from .. import kernel, log
from ..container.status import open_init
from ..errors import Failure, os_error_text
from ..plan.service_manager import INSIDE
from ..state_files import NOTIFY_DIRECTORY, NOTIFY_SOCKET
from ..text import encode, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ..container.store import Container

POLLIN = 1
LARGEST = 65536
BARRIER_SECONDS = 30.0
"""How long the manager may take to read the messages; an old one does not know BARRIER=1 (sd_notify(3))."""


def problem(address: str) -> str | None:
    """Return a warning if a service manager's socket can't be reached, else None."""
    try:
        connect(address).close()
    except OSError as error:
        return ignored(address, error)
    return None


def ignored(address: str, error: OSError) -> str:
    return f"NOTIFY_SOCKET={shown(address)} is ignored: {os_error_text(error)}"


def connect(address: str) -> _socket.socket:
    """Return a datagram socket to a path, or to a name after @ in the abstract space (unix(7)). Raises OSError."""
    import _socket

    if not address.startswith(("/", "@")):
        raise OSError(errno.EAFNOSUPPORT, "neither an absolute path nor a name after @")
    # As bytes: until the interpreter is completely set up it refuses a string with a NUL.
    name = encode(address)
    outside = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        outside.connect(b"\0" + name[1:] if name.startswith(b"@") else name)
    except BaseException:
        outside.close()
        raise
    return outside


def make_directory(container: Container) -> None:
    """Make the directory to mount, accessible to any user, since the program may run as any."""
    posix.mkdir(NOTIFY_DIRECTORY, 0o755, dir_fd=container.dirfd)
    posix.chmod(NOTIFY_DIRECTORY, 0o755, dir_fd=container.dirfd)


def listen(container: Container, address: str) -> Notify | None:
    """Before the program starts, connect to the manager and open the container's socket; None if create prepared none.

    A manager that is gone is only a warning. Raises Failure; then nothing has been started.
    """
    import _socket

    try:
        directory = posix.open(
            NOTIFY_DIRECTORY, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=container.dirfd
        )
    except FileNotFoundError:
        return None
    try:
        outside = connect(address)
    except OSError as error:
        posix.close(directory)
        log.warning(ignored(address, error))
        return None
    inside = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        try:
            posix.unlink(NOTIFY_SOCKET, dir_fd=directory)
        except FileNotFoundError:
            pass
        # By descriptor, because the path of the state directory may be too long for a socket's address.
        inside.bind(f"/proc/self/fd/{directory}/{NOTIFY_SOCKET}")
        posix.chmod(NOTIFY_SOCKET, 0o777, dir_fd=directory)
    except OSError as error:
        inside.close()
        outside.close()
        raise Failure(f"sd_notify: make {INSIDE}/{NOTIFY_SOCKET}", error) from None
    finally:
        posix.close(directory)
    return Notify(inside, outside)


class Notify:
    """Waits for READY=1 from a container's program, and forwards it once. fd: -1 when there is nothing to wait for."""

    def __init__(self, inside: _socket.socket, manager_socket: _socket.socket) -> None:
        self._inside = inside
        self._manager = manager_socket
        self.fd = inside.fileno()

    def read(self, main_pid: int) -> bool:
        """Read one message. If it reports that the program is ready, notify the manager and return True."""
        if b"READY=1" not in self._inside.recv(LARGEST).split(b"\n"):
            return False
        self._inside.close()
        self.fd = -1
        try:
            self._manager.send(b"READY=1\nMAINPID=%d" % main_pid)
        except OSError as error:
            log.warning(f"notify the service manager that the program is ready: {error.strerror}")
        return True

    def wait(self, container: Container) -> None:
        """Wait until the program is ready or has ended. From then on its pid is the manager's main process.

        The container must not be locked, so that other commands can work on it meanwhile.
        """
        pid, pidfd, _ = open_init(container.record)
        if pidfd < 0:
            return
        try:
            while True:
                ready = dict(kernel.poll([(self.fd, POLLIN), (pidfd, POLLIN)], -1))
                if self.fd in ready:
                    if self.read(pid):
                        self.barrier()
                        return
                elif pidfd in ready:
                    return
        finally:
            posix.close(pidfd)

    def barrier(self) -> None:
        """Before this process ends, wait until the manager has read the messages (sd_notify_barrier(3))."""
        read_end, write_end = posix.pipe2(posix.O_CLOEXEC)
        try:
            try:
                kernel.send_message(self._manager.fileno(), b"BARRIER=1", [write_end])
            except OSError:
                return
            finally:
                posix.close(write_end)
            if not kernel.poll([(read_end, POLLIN)], int(BARRIER_SECONDS * 1000)):
                log.warning("the service manager did not read in time that the program is ready")
        finally:
            posix.close(read_end)

    def close(self) -> None:
        self._inside.close()
        self._manager.close()
