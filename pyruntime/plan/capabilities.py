"""The five capability sets of the program.

Source: runtime-spec config.md "Linux Process" (capabilities); capabilities(7); CVE-2022-29162.
"""

from __future__ import annotations

from ..step import INIT, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..host.data import Host

NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
"""All capabilities in the kernel's order: a name's index is its number. A test compares it with the headers."""
NUMBER = {f"CAP_{name}": number for number, name in enumerate(NAMES)}
SYS_ADMIN = NUMBER["CAP_SYS_ADMIN"]
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Mask(int):
    """A set of capabilities as a bit mask. Its repr lists their names, or the missing ones when that is shorter."""

    def __repr__(self) -> str:
        have = [name for number, name in enumerate(NAMES) if self >> number & 1]
        missing = [name for name in NAMES if name not in have]
        if len(have) <= len(missing):
            return "|".join(have) or "0"
        return f"ALL&~({'|'.join(missing)})" if missing else "ALL"


NO_SETS = (Mask(0), Mask(0), Mask(0))
"""Effective, permitted and inheritable sets of a process that will never execute a program."""


class Sets:
    """The sets as masks, and the highest capability that this kernel knows."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "last", "permitted")

    def __init__(self) -> None:
        self.bounding = self.effective = self.permitted = self.inheritable = self.ambient = 0
        self.last = 0


def read(program: dict[str, Any], host: Host, warnings: list[str]) -> Sets:
    """Return the sets of a process document.

    Capabilities that the kernel does not know or that the caller can't grant are left out with a warning (config.md
    since 1.1); so are ambient ones that are not also permitted and inheritable.
    """
    sets = Sets()
    sets.last = host.last_cap
    wanted = program.get("capabilities") or {}
    missing: dict[str, None] = {}
    for kind in SETS:
        mask = 0
        for name in wanted.get(kind) or ():
            number = NUMBER.get(name.upper(), 64)
            if number <= host.last_cap and host.bounding_caps >> number & 1:
                mask |= 1 << number
            else:
                missing[name] = None
        setattr(sets, kind, mask)
    if missing:
        warnings.append(f"capabilities can't be granted and are left out: {', '.join(missing)}")
    impossible = sets.ambient & ~(sets.permitted & sets.inheritable)
    if impossible:
        names = [name for name, number in NUMBER.items() if impossible >> number & 1]
        warnings.append(f"ambient capabilities must be permitted and inheritable, left out: {', '.join(names)}")
        sets.ambient &= ~impossible
    sets.effective &= sets.permitted
    return sets


def before_setuid(sets: Sets) -> list[Step]:
    """Shrink the bounding set while this is allowed, and keep capabilities across the change of user."""
    return [
        Step(INIT, "/process/capabilities/bounding", "drop_bounding", Mask(sets.bounding), sets.last),
        Step(INIT, "/process/capabilities", "set_keepcaps", 1),
    ]


def after_setuid(sets: Sets, *, keep_sys_admin: bool) -> list[Step]:
    """Set the other four sets.

    keep_sys_admin: without no_new_privs a seccomp filter can only be loaded with CAP_SYS_ADMIN, and it is loaded last,
    right before execve. Until then the capability stays in the effective and permitted sets. The program never has it:
    execve computes both from the inheritable, bounding and ambient sets (capabilities(7)), which do not contain it.
    """
    extra = 1 << SYS_ADMIN if keep_sys_admin else 0
    pointer = "/process/capabilities"
    steps = [
        Step(INIT, pointer, "set_keepcaps", 0),
        Step(
            INIT, pointer, "capset", Mask(sets.effective | extra), Mask(sets.permitted | extra), Mask(sets.inheritable)
        ),
        Step(INIT, f"{pointer}/ambient", "cap_ambient_clear_all"),
    ]
    steps += [
        Step(INIT, f"{pointer}/ambient", "cap_ambient_raise", number)
        for number in range(sets.last + 1)
        if sets.ambient >> number & 1
    ]
    return steps


def masks(sets: Sets) -> tuple[Mask, Mask, Mask]:
    """Return the arguments of capset(2) for a program: effective, permitted, inheritable."""
    return Mask(sets.effective), Mask(sets.permitted), Mask(sets.inheritable)
