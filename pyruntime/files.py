"""Reading files as bytes, without Python's buffers and text layer. Every function raises OSError."""

from __future__ import annotations

import posix

READ = posix.O_RDONLY | posix.O_CLOEXEC
CHUNK = 65536


def read_head(path: str, size: int = CHUNK, *, dir_fd: int | None = None, flags: int = READ) -> bytes:
    """Return up to `size` bytes from the beginning of a file, by one read(2): all of a small file of the kernel's."""
    fd = posix.open(path, flags, dir_fd=dir_fd)
    try:
        return posix.read(fd, size)
    finally:
        posix.close(fd)


def read_whole(path: str, *, dir_fd: int | None = None, flags: int = READ, chunk: int = CHUNK) -> bytes:
    """Return the whole content of a file."""
    fd = posix.open(path, flags, dir_fd=dir_fd)
    try:
        data = b""
        while part := posix.read(fd, chunk):
            data += part
        return data
    finally:
        posix.close(fd)
