"""Compiling a seccomp profile: names to libseccomp's numbers, then to BPF."""

from __future__ import annotations

from ._seccomp import compile as compile_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# libseccomp's stable ABI (seccomp.h); the kernel's own headers have no names for the comparisons.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}


def seccomp_compile(profile: Any) -> bytes:
    """Return the BPF program of a plan.seccomp.Profile. Raises OSError with the libseccomp call that refused."""
    rules = [
        (number(action), name, [(index, OPERATORS[op], value, two) for index, op, value, two in conditions])
        for action, name, conditions in profile.rules
    ]
    return compile_rules(number(profile.default), profile.arches, rules)


def number(action: tuple[str, int]) -> int:
    name, value = action
    return ACTIONS[name] | (value & 0xFFFF)
