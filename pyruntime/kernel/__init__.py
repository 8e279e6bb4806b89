"""The kernel layer: one thin wrapper per system call that Python lacks, and safe work below a root directory.

Functions have the names of the system calls. Descriptors are close-on-exec. A call that fails raises OSError (or its
subclass for the errno) with the attribute `call`, the call and its main arguments as text.
"""

from __future__ import annotations

import errno as _errno
from posix import close, dup2, fchown, getpid, read, setsid, umask, write

from ._linux import (
    accept,
    bpf_prog_attach,
    bpf_prog_detach,
    bpf_prog_get_fd_by_id,
    bpf_prog_load,
    bpf_prog_name,
    bpf_prog_query,
    cap_ambient_clear_all,
    cap_ambient_raise,
    capabilities,
    capget,
    capset,
    chdir,
    chroot,
    clone3,
    close_range,
    constants,
    drop_bounding,
    exec_program,
    execveat,
    exit_on_signals,
    fchdir,
    fchownat,
    flock,
    fsconfig,
    fsmount,
    fsopen,
    fspick,
    fstatfs_type,
    getcwd_raw,
    ioprio_set,
    keyctl_join_session_keyring,
    link_up,
    login_tty,
    mkdir,
    mkdirat,
    mknodat,
    mount,
    mount_setattr,
    move_mount,
    open,
    open_tree,
    openat2,
    personality,
    pidfd_getfd,
    pidfd_open,
    pidfd_send_signal,
    pivot_root,
    poll,
    prctl,
    prlimit,
    pty_number,
    pty_peer,
    read_signals,
    recv_message,
    reset_signals,
    sched_setattr,
    seccomp_load,
    send_message,
    set_mempolicy,
    set_window_size,
    setdomainname,
    setgroups,
    sethostname,
    setns,
    setresgid,
    setresuid,
    shared_memory,
    signal_fd,
    signal_number,
    socketpair,
    statx_mount,
    symlinkat,
    umount2,
    unblock_signals,
    unix_connect,
    unix_listen,
    unlock_pty,
    unshare,
)
from .attributes import (
    preload,
    set_child_subreaper,
    set_dumpable,
    set_keepcaps,
    set_name,
    set_no_new_privs,
    set_pdeathsig,
)
from .cgroups import (
    check_cgroup_free,
    chown_cgroup,
    enable_controllers,
    make_cgroup,
    settle_cgroup_type,
    write_first_at,
)
from .files import (
    check_procfs,
    host_pid,
    open_proc_pid,
    open_procfs,
    write_at,
    write_file,
    write_proc_pid,
    write_procfs,
)
from .paths import (
    make_console,
    make_device,
    make_mountpoint,
    make_real_directory,
    make_symlink,
    mkdir_in_root,
    open_device,
    open_in_root,
)
from .rootfs import detach_host_procfs, make_parent_private, mask, set_mode_of
from .terminal import open_ptmx, open_pty_peer, pty_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "accept",
    "bpf_prog_attach",
    "bpf_prog_detach",
    "bpf_prog_get_fd_by_id",
    "bpf_prog_load",
    "bpf_prog_name",
    "bpf_prog_query",
    "cap_ambient_clear_all",
    "cap_ambient_raise",
    "capabilities",
    "capget",
    "capset",
    "chdir",
    "check_cgroup_free",
    "check_procfs",
    "chown_cgroup",
    "chroot",
    "clone3",
    "close",
    "close_range",
    "constants",
    "copy_up",
    "detach_host_procfs",
    "drop_bounding",
    "dup2",
    "enable_controllers",
    "errno_name",
    "exec_program",
    "execveat",
    "exit_on_signals",
    "fchdir",
    "fchown",
    "fchownat",
    "find_device_filter",
    "flags",
    "flock",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "fstatfs_type",
    "getcwd_raw",
    "getpid",
    "host_pid",
    "idmap_userns",
    "ioprio_set",
    "keyctl_join_session_keyring",
    "link_up",
    "login_tty",
    "make_cgroup",
    "make_console",
    "make_device",
    "make_mountpoint",
    "make_parent_private",
    "make_real_directory",
    "make_symlink",
    "mask",
    "mkdir",
    "mkdir_in_root",
    "mkdirat",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_net_device",
    "open",
    "open_device",
    "open_in_root",
    "open_proc_pid",
    "open_procfs",
    "open_ptmx",
    "open_pty_peer",
    "open_tree",
    "openat2",
    "personality",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pivot_root",
    "poll",
    "preload",
    "prctl",
    "prlimit",
    "pty_name",
    "pty_number",
    "pty_peer",
    "read",
    "read_signals",
    "recv_message",
    "replace_device_filter",
    "reset_signals",
    "sched_setaffinity",
    "sched_setattr",
    "seccomp_compile",
    "seccomp_load",
    "send_message",
    "set_child_subreaper",
    "set_dumpable",
    "set_keepcaps",
    "set_mempolicy",
    "set_mode_of",
    "set_name",
    "set_no_new_privs",
    "set_pdeathsig",
    "set_window_size",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setns",
    "setresgid",
    "setresuid",
    "setsid",
    "settle_cgroup_type",
    "shared_memory",
    "signal_fd",
    "signal_number",
    "socketpair",
    "statx_mount",
    "symlinkat",
    "umask",
    "umount2",
    "unblock_signals",
    "unix_connect",
    "unix_listen",
    "unlock_pty",
    "unshare",
    "write",
    "write_at",
    "write_file",
    "write_first_at",
    "write_proc_pid",
    "write_procfs",
]

_flags: dict[str, int] = {"": 0}


def flags(names: str) -> int:
    """Return the value of constants joined by `|`, from the system's headers; raise KeyError for an unknown name."""
    value = _flags.get(names)
    if value is None:
        value = 0
        for name in names.split("|"):
            value |= constants[name]
        _flags[names] = value
    return value


def errno_name(number: int | None) -> str:
    """Return "ENOENT" for 2."""
    return _errno.errorcode.get(number or 0, str(number))


def seccomp_compile(profile: Any) -> bytes:
    """Compile a profile (plan.seccomp.Profile) to a BPF program with libseccomp; loaded only when it is needed."""
    from .seccomp import seccomp_compile as compile_profile

    return compile_profile(profile)


def idmap_userns(uid_map: str, gid_map: str) -> int:
    """Return a descriptor of a new user namespace with these maps, for an idmapped mount."""
    from .idmap import idmap_userns as make

    return make(uid_map, gid_map)


def copy_up(root: int, path: str, mount_fd: int) -> None:
    """Copy what is at path below root into a mount that is about to cover it (`tmpcopyup`)."""
    from .copyup import copy_up as copy

    copy(root, path, mount_fd)


def find_device_filter(cgroup: int) -> int:
    """Return a descriptor of the device filter that the runtime has attached to a cgroup, -1 when there is none."""
    from .device_filter import find_device_filter as find

    return find(cgroup)


def replace_device_filter(cgroup: int, old: int, new: int) -> None:
    """Put one device filter in another's place at once; -1 stands for none."""
    from .device_filter import replace_device_filter as replace

    replace(cgroup, old, new)


def move_net_device(name: str, wanted: str, namespace: int) -> Any:
    """Move a network device into another network namespace; what is returned can be given back."""
    from .network import move_net_device as move

    return move(name, wanted, namespace)


def sched_setaffinity(pid: int, cpus: list[int]) -> None:
    """Bind a process to CPUs; sched_setaffinity(2)."""
    from posix import sched_setaffinity as set_affinity

    set_affinity(pid, cpus)
