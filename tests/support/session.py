"""The surroundings of a test session that starts containers.

`enter()` splits pytest in two. The parent stays behind as the reaper: a child subreaper that waits for the session and
adopts every process that a test leaves without a parent. The child, where the tests run, gets

- a mount namespace of its own, whose mounts are shared as systemd's hosts have them: plain cgroup2 at /sys/fs/cgroup,
  also where the machine has v1 there; an empty /run and /dev/shm, so that default state directories are its own; a /dev
  with nodes of its own, which a fault of the runtime may change; a tmpfs for temporary files (TMPDIR),
- UTS, IPC and network namespaces of its own: a fault of the runtime cannot rename the machine or change its network.

What is left in these places at the end was left by a test. "The host" of the tests is these surroundings.
"""

import ctypes
import fcntl
import os
import re
import secrets
import signal
import socket
import stat
import struct
import sys
import tempfile
from pathlib import Path

TOKEN = "pyrt" + secrets.token_hex(3)
"""Part of every container id and cgroup name of this session: what carries it was made by this session."""
TOKEN_PATTERN = re.compile("pyrt[0-9a-f]{6}")

CGROUP_ROOT = Path("/sys/fs/cgroup")

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 2, 4, 8, 0x1000, 0x4000, 1 << 18, 1 << 20
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

temporary: Path | None = None
"""The session's directory for temporary files, a tmpfs; None before `enter`."""
reaper: int | None = None
"""The pid of the reaper, None before `enter`."""


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """Call mount(2)."""
    arguments = (source.encode(), target.encode(), fstype.encode(), ctypes.c_ulong(flags), data.encode())
    _check(_libc.mount(*arguments), f"mount({source}, {target}, {fstype})")


def umount(target: str, flags: int = 0) -> None:
    """Call umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"umount2({target})")


def unshare(flags: int) -> None:
    """Call unshare(2), which os has from Python 3.12 on."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option}, {value})")


def enter() -> None:
    """Split off the reaper and move this process into the session's surroundings; a second call does nothing."""
    global reaper, temporary
    if reaper is not None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    session = os.fork()
    if session:
        _reap(session)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    reaper = parent
    # A shell ignores it for what it starts in the background, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
    _loopback_up()
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    _own_cgroup2()
    _own_dev()
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    if not Path("/run/systemd/private").exists():  # systemd's own: tests of its cgroup driver talk to it
        mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    temporary = Path(tempfile.mkdtemp(prefix="pyrt-"))
    mount("tmpfs", str(temporary), "tmpfs", 0, "mode=0755")
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    # With private mounts nothing that the runtime forgets to cut off would ever be seen to travel.
    mount("none", "/", "", MS_REC | MS_SHARED)


def leave() -> None:
    """Take the temporary directory away; the other mounts end with the process."""
    if temporary is not None:
        umount(str(temporary), MNT_DETACH)
        temporary.rmdir()


def _loopback_up() -> None:
    request = struct.pack("16sh14x", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def _own_cgroup2() -> None:
    if _is_cgroup2(CGROUP_ROOT):
        return
    below = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(below):
        if point == str(CGROUP_ROOT) or point.startswith(f"{CGROUP_ROOT}/"):
            umount(point, MNT_DETACH)
    mount("cgroup2", str(CGROUP_ROOT), "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _own_dev() -> None:
    """Cover /dev by a tmpfs with the same nodes and links, made anew; what is mounted below it comes along."""
    below = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [point for point in below if point.startswith("/dev/") and point.count("/") == 2 and point != "/dev/shm"]
    new = Path(tempfile.mkdtemp(prefix="pyrt-dev-"))
    mount("tmpfs", str(new), "tmpfs", MS_NOSUID, "mode=0755")
    _copy_nodes(Path("/dev"), new, {Path(point) for point in below})
    (new / "shm").mkdir(exist_ok=True)
    for point in below:
        target = new / Path(point).name
        if Path(point).is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mount(point, str(target), "", MS_BIND | MS_REC)
    mount(str(new), "/dev", "", MS_BIND | MS_REC)
    umount(str(new), MNT_DETACH)
    new.rmdir()


def _copy_nodes(source: Path, target: Path, left_out: set[Path]) -> None:
    for entry in source.iterdir():
        status, new = entry.lstat(), target / entry.name
        if entry in left_out or stat.S_ISSOCK(status.st_mode) or stat.S_ISFIFO(status.st_mode):
            continue
        if entry.is_symlink():
            new.symlink_to(entry.readlink())
        elif entry.is_dir():
            new.mkdir()
            _copy_nodes(entry, new, left_out)
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            os.mknod(new, status.st_mode, status.st_rdev)
        else:
            continue
        os.chown(new, status.st_uid, status.st_gid, follow_symlinks=False)
        if not new.is_symlink():
            new.chmod(stat.S_IMODE(status.st_mode))


def _is_cgroup2(path: Path) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    types = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[4] == str(path)]
    return bool(types) and types[-1] == "cgroup2"


def _reap(session: int) -> None:
    """Wait for the session, reaping every orphan that comes by; end what is left over; exit as the session did."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the session as well
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(session, received))
    status: int | None = None
    while status is None:
        pid, found = os.wait()
        if pid == session:
            status = found
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)  # a child that is not yet reaped: the pid cannot be another's
        os.waitpid(-1, 0)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def children(pid: int) -> list[int]:
    """Return the pids of the children of a process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "stat").read_text(errors="replace")  # a name may be any bytes
            except OSError:
                continue
            if int(line.rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
    return found
