"""The device filter: `linux.resources.devices` as a BPF program of type BPF_PROG_TYPE_CGROUP_DEVICE.

Rules keep their meaning from cgroup v1: they apply in order, and each changes only the access it names. Nothing is
allowed by default, even without rules. Source: runtime-spec config-linux.md "Allowed Device list"; the kernel's
cgroup-v1/devices.rst; bpf(2), bpf-helpers' struct bpf_cgroup_dev_ctx.
"""

from __future__ import annotations

from ..step import HOST, Flags, Slot, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Key = tuple[str, int | None, int | None]
    Rule = tuple[bool, str, int | None, int | None, int]

MKNOD, READ, WRITE = 1, 2, 4
"""BPF_DEVCG_ACC_*."""
ACCESS = {"m": MKNOD, "r": READ, "w": WRITE}
KIND = {"b": 1, "c": 2}
"""BPF_DEVCG_DEV_*."""
ALL = MKNOD | READ | WRITE
TESTED = (3, 5, 6)
"""The registers that hold the type, major and minor number of the device."""
MOST_TOGETHER = 1000
"""The maximum number of rules that one test jumps over: an offset has 16 bits."""

RUNTIME_RULES: tuple[tuple[str, int | None, int | None, int], ...] = (
    ("c", None, None, MKNOD),
    ("b", None, None, MKNOD),
    ("c", 1, 3, ALL),
    ("c", 1, 5, ALL),
    ("c", 1, 7, ALL),
    ("c", 1, 8, ALL),
    ("c", 1, 9, ALL),
    ("c", 5, 0, ALL),
    ("c", 5, 1, ALL),
    ("c", 5, 2, ALL),
    ("c", 136, None, ALL),
)
"""Allowed for every container, after its own rules: making nodes, the default devices, terminals. (Making a node is
harmless, because access is checked when it is opened.)"""


class Program(bytes):
    """BPF instructions with a short repr."""

    def __repr__(self) -> str:
        return f"{{{len(self) // 8} instructions}}"


def device_steps(config: dict[str, Any]) -> list[Step]:
    """Load the filter and attach it to the cgroup of slot "cgroup", before any of the container's programs runs.

    It need not restrict init while that still runs the runtime's own code, and the kernel takes a good part of init's
    time to verify the program.
    """
    rules = ((config.get("linux") or {}).get("resources") or {}).get("devices") or ()
    pointer = "/linux/resources/devices"
    return [
        Step(HOST, pointer, "bpf_prog_load", device_program(rules), into="device_filter", meanwhile=True),
        Step(
            HOST,
            pointer,
            "bpf_prog_attach",
            Slot("cgroup"),
            Slot("device_filter"),
            Flags("BPF_F_ALLOW_MULTI"),
            closes=("device_filter",),
            meanwhile=True,
        ),
    ]


def device_program(rules: Any) -> Program:
    """Return the filter for the config's rules and the runtime's own."""
    return assemble(with_runtime_rules(rules))


def with_runtime_rules(rules: Any) -> list[Rule]:
    """Return the config's rules, without those that name no access, followed by the runtime's own."""
    return [*(rule for rule in map(normal, rules) if rule[4]), *((True, *rule) for rule in RUNTIME_RULES)]


def allowed(rules: Any) -> dict[Key, int] | None:
    """Return what the filter allows as a list of devices (type, major, minor) and access, None for all devices.

    The list can't express a rule that denies part of a wider one, and then allows more than the filter.
    """
    everything = False
    found: dict[Key, int] = {}
    for allow, kind, major, minor, access in with_runtime_rules(rules):
        if kind == "a":
            everything = allow
            found.clear()
        elif allow:
            found[kind, major, minor] = found.get((kind, major, minor), 0) | access
        else:
            for key in [key for key in found if covers((kind, major, minor), key)]:
                found[key] &= ~access
    return None if everything else {key: access for key, access in found.items() if access}


def covers(wide: Key, narrow: Key) -> bool:
    """Return whether a rule for the first matches every device of the second."""
    return wide[0] == narrow[0] and all(
        ours in (None, theirs) for ours, theirs in zip(wide[1:], narrow[1:], strict=True)
    )


def normal(rule: dict[str, Any]) -> Rule:
    """Return a rule as (allow, type, major, minor, access); None means any number, the type `a` any device."""
    access = 0
    for letter in "rwm" if rule.get("access") is None else rule["access"]:
        access |= ACCESS.get(letter, 0)
    kind = rule.get("type") or "a"
    major, minor = rule.get("major"), rule.get("minor")
    if kind == "a":
        return bool(rule["allow"]), "a", None, None, ALL if access else 0
    return bool(rule["allow"]), kind, wildcard(major), wildcard(minor), access


def wildcard(number: int | None) -> int | None:
    return None if number is None or number < 0 else number


def assemble(rules: list[Rule]) -> Program:
    """Return a BPF program that decides on an access.

    R4 holds the access bits that are still undecided. Rules are tested from the last to the first: one that matches
    decides the bits it names. A denied bit ends the program with 0; once all bits are decided, the access is allowed.
    """
    code = [
        instruction(LOAD, 2, 1, 0),  # access_type: device type in the low half, access in the high half
        instruction(MOVE, 3, 2),
        instruction(AND_NUMBER, 3, 0, 0, 0xFFFF),
        instruction(MOVE, 4, 2),
        instruction(SHIFT_RIGHT, 4, 0, 0, 16),
        instruction(LOAD, 5, 1, 4),  # major
        instruction(LOAD, 6, 1, 8),  # minor
    ]
    # A rule for all devices decides everything: earlier rules do not matter.
    start = max((i for i, rule in enumerate(rules) if rule[1] == "a"), default=-1)
    final = rules[start][0] if start >= 0 else False
    code += matched(rules[start + 1 :][::-1], 0)
    code += [instruction(MOVE_NUMBER, 0, 0, 0, int(final)), instruction(EXIT)]
    return Program(b"".join(code))


def matched(rules: list[Rule], level: int) -> list[bytes]:
    """Return the instructions of rules, in the order in which they are tested.

    Adjacent rules with the same type (level 0), major (1) or minor number (2) share one test, which jumps past all of
    them: the kernel verifies every path through the program, and so there are fewer.
    """
    code: list[bytes] = []
    position = 0
    while position < len(rules):
        wanted, end = rules[position][1 + level], position + 1
        while end < len(rules) and rules[end][1 + level] == wanted and end - position < MOST_TOGETHER:
            end += 1
        inner = matched(rules[position:end], level + 1) if level < 2 else decided(rules[position:end])
        if wanted is not None:
            number = KIND[wanted] if isinstance(wanted, str) else int(wanted)
            code.append(instruction(JUMP_NOT_EQUAL, TESTED[level], 0, len(inner), number))
        code += inner
        if wanted is None and ends(rules[position:end], level):
            break  # The kernel refuses a program with instructions that are never reached.
        position = end
    return code


def ends(rules: list[Rule], level: int) -> bool:
    """Return whether one of the rules decides every access to a device that passed the tests up to this level."""
    return any(rule[2 + level : 4] == (None,) * (2 - level) and rule[4] == ALL for rule in rules)


def decided(rules: list[Rule]) -> list[bytes]:
    """Return the instructions of rules that match. Some bits are undecided, or an earlier rule would have exited."""
    code: list[bytes] = []
    for allow, _, _, _, access in rules:
        if access == ALL:
            return [*code, instruction(MOVE_NUMBER, 0, 0, 0, int(allow)), instruction(EXIT)]
        if allow:
            code += [
                instruction(AND_NUMBER, 4, 0, 0, ALL & ~access),
                instruction(JUMP_NOT_EQUAL, 4, 0, 2, 0),
                instruction(MOVE_NUMBER, 0, 0, 0, 1),
                instruction(EXIT),
            ]
        else:
            code += [
                instruction(MOVE, 7, 4),
                instruction(AND_NUMBER, 7, 0, 0, access),
                instruction(JUMP_EQUAL, 7, 0, 2, 0),
                instruction(MOVE_NUMBER, 0, 0, 0, 0),
                instruction(EXIT),
            ]
    return code


# Opcodes of bpf(2), 32-bit where values are compared, so that no number is sign-extended.
LOAD = 0x61  # BPF_LDX | BPF_MEM | BPF_W
MOVE = 0xBC  # BPF_ALU | BPF_MOV | BPF_X
MOVE_NUMBER = 0xB4  # BPF_ALU | BPF_MOV | BPF_K
AND_NUMBER = 0x54  # BPF_ALU | BPF_AND | BPF_K
SHIFT_RIGHT = 0x74  # BPF_ALU | BPF_RSH | BPF_K
JUMP_NOT_EQUAL = 0x56  # BPF_JMP32 | BPF_JNE | BPF_K
JUMP_EQUAL = 0x16  # BPF_JMP32 | BPF_JEQ | BPF_K
EXIT = 0x95  # BPF_JMP | BPF_EXIT


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    """Return one struct bpf_insn: code, registers, offset (16 bits), immediate (32 bits), little-endian."""
    registers = source << 4 | target
    return (
        bytes((code, registers)) + (offset & 0xFFFF).to_bytes(2, "little") + (number & 0xFFFFFFFF).to_bytes(4, "little")
    )
