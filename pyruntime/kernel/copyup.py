"""`tmpcopyup`: copies what the image has at a tmpfs's destination into the tmpfs. Common, but not in the spec."""

from __future__ import annotations

import posix

from . import _linux
from .paths import IN_ROOT

C = _linux.constants
OPEN = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW
CHUNK = 1 << 20


def copy_up(root: int, path: str, mount_fd: int) -> None:
    """Copy the directory's content into the detached mount; do nothing when there is no such directory."""
    try:
        source = _linux.openat2(root, path, C["O_RDONLY"] | C["O_DIRECTORY"], 0, IN_ROOT)
    except (FileNotFoundError, NotADirectoryError):
        return
    target = posix.open(".", OPEN | posix.O_DIRECTORY, dir_fd=mount_fd)
    try:
        copy_directory(source, target)
    finally:
        posix.close(source)
        posix.close(target)


def copy_directory(source: int, target: int) -> None:
    """Copy everything in one open directory to another, with owners and modes, and links as links."""
    for name in posix.listdir(source):
        status = posix.stat(name, dir_fd=source, follow_symlinks=False)
        kind = status.st_mode & C["S_IFMT"]
        if kind == C["S_IFLNK"]:
            posix.symlink(posix.readlink(name, dir_fd=source), name, dir_fd=target)
        elif kind == C["S_IFDIR"]:
            posix.mkdir(name, 0o700, dir_fd=target)
            below = posix.open(name, OPEN | posix.O_DIRECTORY, dir_fd=source)
            made = posix.open(name, OPEN | posix.O_DIRECTORY, dir_fd=target)
            try:
                copy_directory(below, made)
            finally:
                posix.close(below)
                posix.close(made)
        elif kind == C["S_IFREG"]:
            copy_file(source, target, name)
        else:
            _linux.mknodat(target, name, kind | 0o600, posix.major(status.st_rdev), posix.minor(status.st_rdev))
        posix.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if kind != C["S_IFLNK"]:
            posix.chmod(name, status.st_mode & 0o7777, dir_fd=target)


def copy_file(source: int, target: int, name: str) -> None:
    """Copy a regular file's content."""
    reading = posix.open(name, OPEN, dir_fd=source)
    try:
        writing = posix.open(
            name, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600, dir_fd=target
        )
        try:
            while posix.sendfile(writing, reading, None, CHUNK):
                pass
        finally:
            posix.close(writing)
    finally:
        posix.close(reading)
