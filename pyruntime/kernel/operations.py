"""Operations that take more than one system call; `kernel` provides these functions as its own.

They are in a separate module because `start`, `state`, `kill` and `delete` need none of them.
"""

# ruff: noqa: F401 - what is imported here is provided by `kernel`

from __future__ import annotations

from .binds import clone_unless_link, make_same_symlink, open_link_mountpoint, read_link, set_bind_attributes
from .cgroups import (
    check_cgroup_free,
    chown_cgroup,
    enable_controllers,
    make_cgroup,
    make_parent_cgroup,
    move_below,
    settle_cgroup_type,
    write_at,
    write_first_at,
)
from .paths import (
    check_proc,
    make_console,
    make_device,
    make_device_place,
    make_mountpoint,
    make_real_directory,
    make_symlink,
    mkdir_in_root,
    mount_id,
    open_below_root,
    open_device,
    open_in_root,
    open_own_dev,
)
from .prctl import preload, set_dumpable, set_keepcaps, set_no_new_privs, set_pdeathsig
from .procfs import (
    check_procfs,
    fsopen_proc,
    host_pid,
    open_namespace,
    open_proc_pid,
    open_procfs,
    write_file,
    write_proc_pid,
    write_procfs,
)
from .rootfs import (
    close_covers,
    copy_mode,
    detach_host_procfs,
    enter_namespace_root,
    make_parent_private,
    mask,
    open_covers,
    set_mode_of,
)
from .terminal import open_ptmx, open_pty_peer, pty_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .network import NetDevice
    from .seccomp import Profile


def find(name: str) -> Any:
    """Return the function of that name; raise AttributeError, as `kernel` would, when there is none."""
    found = globals().get(name)
    if callable(found) and name != "find":
        return found
    raise AttributeError(f"module 'pyruntime.kernel' has no attribute {name!r}")


def seccomp_compile(profile: Profile) -> bytes:
    """Compile a profile (plan.seccomp.Profile) to a BPF program with libseccomp, which is loaded only when needed."""
    from .seccomp import seccomp_compile as compile_profile

    return compile_profile(profile)


def idmap_userns(uid_map: str, gid_map: str) -> int:
    """Return a descriptor of a new user namespace with these maps, for an idmapped mount."""
    from .idmap import idmap_userns as make

    return make(uid_map, gid_map)


def make_device_node(path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int) -> int:
    """Return a detached mount of a new device node with this mode and owner; see device_nodes."""
    from .device_nodes import make_device_node as make

    return make(path, kind, major, minor, mode, uid, gid)


def copy_up(root: int, path: str, mount_fd: int) -> None:
    """Copy the content of path below root into a mount that is about to cover it (`tmpcopyup`)."""
    from .copyup import copy_up as copy

    copy(root, path, mount_fd)


def mount_by_data(source: str, kind: str, flags: int, data: str) -> int:
    """Return a detached mount of a new file system, made by mount(2)."""
    from .old_mount import mount_by_data as mount

    return mount(source, kind, flags, data)


def find_device_filter(cgroup: int) -> int:
    """Return a descriptor of the device filter that the runtime has attached to a cgroup, -1 when there is none."""
    from .device_filter import find_device_filter as find

    return find(cgroup)


def replace_device_filter(cgroup: int, old: int, new: int) -> None:
    """Replace one device filter with another atomically; -1 stands for none."""
    from .device_filter import replace_device_filter as replace

    replace(cgroup, old, new)


def move_net_device(name: str, wanted: str, namespace: int) -> NetDevice:
    """Move a network device into another network namespace; network.give_back undoes it with the returned device."""
    from .network import move_net_device as move

    return move(name, wanted, namespace)


def sched_setaffinity(pid: int, cpus: list[int]) -> None:
    """Bind a process to CPUs; sched_setaffinity(2)."""
    from posix import sched_setaffinity as set_affinity

    set_affinity(pid, cpus)
