"""What the caller of create or exec asks for besides the config."""

from __future__ import annotations


class Wishes:
    """The options of a command that affect the plan; paths are absolute.

    id, bundle: the container's. console_socket: receives the terminal. console_size: rows and columns of the caller's
    terminal, if the command itself relays the container's. pidfd_socket: receives a pidfd of init. pid_file: gets its
    pid. preserve_fds: how many descriptors from 3 on the program keeps. listen_fds: how many of these, the first ones,
    are announced to it (sd_listen_fds(3)). notify_directory: a directory of the host with the socket on which the
    program reports that it is ready (sd_notify(3)), None if nobody listens.
    """

    __slots__ = (
        "bundle", "console_size", "console_socket", "id", "listen_fds", "no_new_keyring", "no_pivot",
        "notify_directory", "pid_file", "pidfd_socket", "preserve_fds",
    )  # fmt: skip

    def __init__(
        self,
        container_id: str,
        bundle: str,
        *,
        console_socket: str | None = None,
        console_size: tuple[int, int] | None = None,
        pidfd_socket: str | None = None,
        pid_file: str | None = None,
        preserve_fds: int = 0,
        listen_fds: int = 0,
        notify_directory: str | None = None,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> None:
        self.id = container_id
        self.bundle = bundle
        self.console_socket = console_socket
        self.console_size = console_size
        self.pidfd_socket = pidfd_socket
        self.pid_file = pid_file
        self.preserve_fds = preserve_fds
        self.listen_fds = listen_fds
        self.notify_directory = notify_directory
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
