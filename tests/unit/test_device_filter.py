"""The device filter's program decides as the rule list says: an interpreter of its BPF against a model of the rules."""

import random
from typing import Any

import pytest

from pyruntime.plan.device_filter import ALL, MKNOD, READ, RUNTIME_RULES, WRITE, assemble, device_program, normal

Rule = tuple[bool, str, int | None, int | None, int]
KINDS = {"b": 1, "c": 2}


def run(program: bytes, kind: str, major: int, minor: int, access: int) -> bool:
    """Interpret the program for one access; fails on an opcode or a jump it does not know."""
    context = {0: access << 16 | KINDS[kind], 4: major, 8: minor}
    registers = [0] * 10
    at = 0
    for _ in range(100000):
        code, both, low, high = program[at * 8], program[at * 8 + 1], program[at * 8 + 2], program[at * 8 + 3]
        number = int.from_bytes(program[at * 8 + 4 : at * 8 + 8], "little")
        target, source, offset = both & 15, both >> 4, low | high << 8
        assert offset < 0x8000, "a jump that goes back"
        at += 1
        if code == 0x61:
            registers[target] = context[offset]
        elif code == 0xBC:
            registers[target] = registers[source]
        elif code == 0xB4:
            registers[target] = number
        elif code == 0x54:
            registers[target] &= number
        elif code == 0x74:
            registers[target] >>= number
        elif code == 0x56:
            at += offset if registers[target] != number else 0
        elif code == 0x16:
            at += offset if registers[target] == number else 0
        elif code == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"opcode {code:#x}")
    raise AssertionError("the program does not end")


def reached(program: bytes) -> set[int]:
    """Return the instructions that some way through the program reaches; the kernel refuses it if there are others."""
    found: set[int] = set()
    left = [0]
    while left:
        at = left.pop()
        if at in found:
            continue
        found.add(at)
        code, offset = program[at * 8], int.from_bytes(program[at * 8 + 2 : at * 8 + 4], "little")
        if code in (0x56, 0x16):
            left.append(at + 1 + offset)
        if code != 0x95:
            left.append(at + 1)
    return found


def model(rules: list[Rule], kind: str, major: int, minor: int, access: int) -> bool:
    """Decide bit by bit: the last rule that names the bit and the device counts; none denies."""
    for bit in (MKNOD, READ, WRITE):
        if not access & bit:
            continue
        allowed = False
        for allow, of, rule_major, rule_minor, rule_access in rules:
            fits = of in ("a", kind) and rule_major in (None, major) and rule_minor in (None, minor)
            if fits and rule_access & bit:
                allowed = allow
        if not allowed:
            return False
    return True


def some_rules(numbers: random.Random) -> list[Rule]:
    return [
        (
            numbers.random() < 0.6,
            numbers.choice("bc"),
            numbers.choice([None, 1, 5]),
            numbers.choice([None, 3, 7]),
            numbers.choice([ALL, numbers.randint(1, 7)]),
        )
        if numbers.random() < 0.9
        else (numbers.random() < 0.5, "a", None, None, ALL)
        for _ in range(numbers.randint(0, 8))
    ]


@pytest.mark.parametrize("seed", range(400))
def test_any_rules(seed: int) -> None:
    rules = some_rules(random.Random(seed))
    program = assemble(rules)
    assert reached(program) == set(range(len(program) // 8)), rules
    for kind in "bc":
        for major in (1, 5, 9):
            for minor in (3, 7, 2**20 - 1):
                for access in range(1, 8):
                    expected = model(rules, kind, major, minor, access)
                    assert run(program, kind, major, minor, access) == expected, (rules, kind, major, minor, access)


def test_what_a_wider_rule_decides_is_left_out() -> None:
    """Docker's configs have a rule twice; a program with instructions that are never reached is refused."""
    rule: Rule = (True, "c", 10, 200, ALL)
    for wide in (rule, (True, "c", 10, None, ALL), (False, "c", None, None, ALL), (True, "c", None, 200, ALL)):
        program = assemble([rule, (False, "c", 10, 200, READ), rule, wide])
        assert reached(program) == set(range(len(program) // 8)), wide
        assert run(program, "c", 10, 200, READ) == wide[0]


def test_more_neighbours_than_one_jump_reaches() -> None:
    """A jump goes 32767 instructions far; these rules need more."""
    rules: list[Rule] = [(True, "c", 10, minor, READ) for minor in range(12000)]
    program = assemble(rules)
    assert len(program) // 8 > 0x7FFF
    for minor in (0, 1, 999, 1000, 11999):
        assert run(program, "c", 10, minor, READ)
        assert not run(program, "c", 10, minor, WRITE)
        assert not run(program, "b", 10, minor, READ)
    assert not run(program, "c", 10, 12000, READ)
    assert not run(program, "c", 9, 0, READ)


def test_without_rules_only_the_runtimes_own_are_allowed() -> None:
    program = device_program([])
    assert run(program, "c", 1, 3, READ | WRITE)
    assert run(program, "c", 136, 12, READ)
    assert run(program, "b", 8, 0, MKNOD), "a node may be made; opening it is another matter"
    for access in (READ, WRITE, READ | MKNOD):
        assert not run(program, "b", 8, 0, access)
        assert not run(program, "c", 10, 200, access)


def test_the_runtimes_devices_survive_a_denial_of_everything() -> None:
    program = device_program([{"allow": False, "access": "rwm"}])
    for kind, major, minor, access in RUNTIME_RULES:
        assert run(program, kind, 7 if major is None else major, 7 if minor is None else minor, access)


def test_allow_everything() -> None:
    assert run(device_program([{"allow": True, "access": "rwm"}]), "b", 259, 0, ALL)


@pytest.mark.parametrize(
    ("rule", "meaning"),
    [
        ({"allow": True}, (True, "a", None, None, ALL)),
        ({"allow": True, "type": "c", "major": -1, "minor": 3, "access": "r"}, (True, "c", None, 3, READ)),
        ({"allow": False, "type": "b", "major": 8, "access": "mw"}, (False, "b", 8, None, MKNOD | WRITE)),
        ({"allow": True, "type": "a", "major": 1, "access": "r"}, (True, "a", None, None, ALL)),
    ],
)
def test_rules_of_the_config(rule: dict[str, Any], meaning: Rule) -> None:
    assert normal(rule) == meaning


@pytest.mark.parametrize("kind", ["a", "c"])
def test_a_rule_without_access_allows_and_denies_nothing(kind: str) -> None:
    rule = {"type": kind, "major": 10, "minor": 229, "access": ""}
    for before in (True, False):
        whole = {"allow": before, "access": "rwm"}
        assert device_program([whole, {**rule, "allow": not before}]) == device_program([whole])
