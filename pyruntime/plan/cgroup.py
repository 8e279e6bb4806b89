"""The container's cgroup: made and opened before init exists, so that clone3 can start init inside it.

Source: runtime-spec config-linux.md "Control groups"; cgroups(7); clone(2) CLONE_INTO_CGROUP.
"""

from __future__ import annotations

from ..errors import InvalidConfig
from ..step import HOST, Flags, Octal, Slot, Step
from .facts import Facts

POINTER = "/linux/cgroupsPath"
IN_USE = "another container or process uses it; delete that one or choose another cgroupsPath"


def cgroup_steps(facts: Facts) -> list[Step]:
    """Make the missing directories, refuse a cgroup in use (a container never shares one), and open it."""
    if facts.cgroup_mount is None:
        raise InvalidConfig(
            "cgroup version 2 is not mounted on /sys/fs/cgroup",
            pointer=POINTER,
            hint="pyruntime needs cgroup2: mount -t cgroup2 none /sys/fs/cgroup",
        )
    *above, own = facts.cgroup_missing or [""]
    steps = [
        Step(HOST, POINTER, "mkdir", facts.cgroup_mount + path, Octal(0o755), ignore=("EEXIST",)) for path in above
    ]
    if own:
        steps.append(Step(HOST, POINTER, "make_cgroup", facts.cgroup_dir, hint=IN_USE))
    steps.append(Step(HOST, POINTER, "open", facts.cgroup_dir, Flags("O_RDONLY|O_DIRECTORY|O_CLOEXEC"), into="cgroup"))
    # The lock keeps a create beside this one out until there is a process inside, which the check then sees.
    steps.append(Step(HOST, POINTER, "flock", Slot("cgroup"), Flags("LOCK_EX|LOCK_NB"), hint=IN_USE))
    if not own:
        steps.append(Step(HOST, POINTER, "check_cgroup_free", Slot("cgroup"), facts.cgroup_path, hint=IN_USE))
    # Only from here on is it the container's, and clean-up may kill what is in it.
    steps.append(Step(HOST, POINTER, "save_cgroup", Slot("container"), Slot("cgroup")))
    return steps
