"""The device filter of a cgroup, replaced atomically: there is never a moment without one. bpf(2), BPF_F_REPLACE."""

from __future__ import annotations

import posix

from . import _linux

NAME = "pyruntime_dev"
"""The name that bpf_prog_load gives to its programs. Others on the same cgroup, such as systemd's, are left alone."""


def find_device_filter(cgroup: int) -> int:
    """Return a descriptor of the device filter that the runtime has attached to a cgroup, -1 when there is none."""
    for number in _linux.bpf_prog_query(cgroup):
        try:
            program = _linux.bpf_prog_get_fd_by_id(number)
        except FileNotFoundError:
            continue
        if _linux.bpf_prog_name(program) == NAME:
            return program
        posix.close(program)
    return -1


def replace_device_filter(cgroup: int, old: int, new: int) -> None:
    """Replace one device filter with another atomically; -1 stands for none."""
    if new < 0:
        if old >= 0:
            _linux.bpf_prog_detach(cgroup, old)
        return
    _linux.bpf_prog_attach(cgroup, new, _linux.constants["BPF_F_ALLOW_MULTI"], old)
