"""Replaces the launcher's data with a snapshot, at build time; pyruntime/launcher/snapshot.c explains snapshots."""

from __future__ import annotations

import array
import bisect
import os
import struct
import subprocess
from pathlib import Path

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
DYNAMIC_ENTRY = struct.Struct("<QQ")
PT_LOAD, PT_DYNAMIC, PF_W, DT_INIT_ARRAYSZ = 1, 2, 2, 27
SHT_NULL, SHT_PROGBITS, SHT_STRTAB, SHT_NOBITS, SHF_ALLOC = 0, 1, 3, 8, 2
"""Source: elf(5)."""


class Refused(Exception):
    """The snapshot can't be used; the program stays as it is."""


KEY_SIZE = 24
"""Size in bytes of the interpreter's hash key (_Py_HashSecret_t of pyhash.h)."""
ENVIRONMENT = {"_PYRUNTIME_MAKE_SNAPSHOT": "1"}


def hash_key() -> bytes:
    """Return the key for hashing text in a snapshot: new for each build, so that nobody can predict collisions.

    PYRUNTIME_HASH_KEY sets it, in hexadecimal, to compare builds. Raises SystemExit when its length is wrong.
    """
    if given := os.environ.get("PYRUNTIME_HASH_KEY"):
        key = bytes.fromhex(given)
        if len(key) != KEY_SIZE:
            raise SystemExit(f"PYRUNTIME_HASH_KEY: {KEY_SIZE} bytes in hexadecimal expected, not {len(key)}")
        return key
    return os.urandom(KEY_SIZE)


def take(launcher: Path, key: bytes) -> None:
    """Run the launcher until it has loaded everything, and write its memory at that point into its file.

    key: the KEY_SIZE bytes with which the program will hash text. Raises Refused, CalledProcessError when the launcher
    fails, and OSError when it can't be run here.
    """
    done = subprocess.run([launcher], env=ENVIRONMENT, input=key, stdout=subprocess.PIPE, check=True)
    maps, _, data = done.stdout.partition(b"\0")
    program = launcher.read_bytes()
    begin = end_of_data(program) - len(data)
    if strange := foreign_addresses(data, os.fsdecode(maps), begin):
        raise Refused("the snapshot contains addresses outside the program: " + ", ".join(strange[:10]))
    new = launcher.with_suffix(".new")
    new.write_bytes(merge(program, data))
    new.chmod(0o755)
    os.replace(new, launcher)


def segment(program: bytes | bytearray, wanted: int, flag: int = 0) -> int:
    """Return the offset of the program header for the segment of this type and with this flag in an ELF file."""
    header = HEADER.unpack_from(program)
    first, size, count = header[5], header[9], header[10]
    for place in range(first, first + size * count, size):
        kind, flags, *_ = PROGRAM_HEADER.unpack_from(program, place)
        if kind == wanted and flags & flag == flag:
            return int(place)
    raise Refused(f"the program has no segment of type {wanted}")


def end_of_data(program: bytes) -> int:
    """Return the address at which a program's variables end."""
    _, _, _, address, _, _, in_memory, _ = PROGRAM_HEADER.unpack_from(program, segment(program, PT_LOAD, PF_W))
    return int(address + in_memory)


def merge(program: bytes, data: bytes) -> bytes:
    """Return the program with its variables replaced: the last bytes of its writable segment, including those that were
    not in the file (.bss). Trailing zeros are not in the new file either. Constructors no longer run, because they have
    already run.
    """
    place = segment(program, PT_LOAD, PF_W)
    kind, flags, offset, address, physical, in_file, in_memory, align = PROGRAM_HEADER.unpack_from(program, place)
    variables = bytearray(program[offset : offset + in_file].ljust(in_memory, b"\0"))
    variables[in_memory - len(data) :] = data
    variables = variables.rstrip(b"\0").ljust(in_file, b"\0")
    result = bytearray(program[:offset]) + variables
    PROGRAM_HEADER.pack_into(result, place, kind, flags, offset, address, physical, len(variables), in_memory, align)
    leave_out_constructors(result)
    add_sections(result, program, address - offset)
    return bytes(result)


def add_sections(result: bytearray, program: bytes, shift: int) -> None:
    """Append the section table of the new program, which no start reads, but strip(1) and similar tools need.

    Sections in memory stay as they were. The part of .bss that is now in the file becomes a new section, .snapshot.
    Debugging symbols, which came after the data, are left out. shift: the difference between the data's addresses and
    their offsets in the file, which ends with the data.
    """
    header = list(HEADER.unpack_from(program))
    first, size, count, names_at = header[6], header[11], header[12], header[13]
    table = [list(SECTION_HEADER.unpack_from(program, first + size * number)) for number in range(count)]
    names = program[table[names_at][4] : table[names_at][4] + table[names_at][5]]
    kept = [section for section in table if section[1] == SHT_NULL or section[2] & SHF_ALLOC]
    if kept != table[: len(kept)] or kept[-1][1] != SHT_NOBITS:
        raise Refused("the program's sections are not in the expected order")
    bss = kept.pop()
    name, _, flags, address, _, in_memory, link, info, align, entry = bss
    offset = address - shift
    in_file = max(0, min(len(result) - offset, in_memory))
    names += b".snapshot\0"
    kept.append([len(names) - 10, SHT_PROGBITS, flags, address, offset, in_file, link, info, align, entry])
    # The rest begins where the file ends, without alignment.
    kept.append(
        [name, SHT_NOBITS, flags, address + in_file, offset + in_file, in_memory - in_file, link, info, 1, entry]
    )
    kept.append([table[names_at][0], SHT_STRTAB, 0, 0, len(result), len(names), 0, 0, 1, 0])
    result += names
    result += bytes(-len(result) % 8)
    header[6], header[12], header[13] = len(result), len(kept), len(kept) - 1
    for section in kept:
        result += SECTION_HEADER.pack(*section)
    HEADER.pack_into(result, 0, *header)


def leave_out_constructors(program: bytearray) -> None:
    """Keep the dynamic linker from running the program's constructors; those of shared libraries still run."""
    _, _, offset, _, _, size, _, _ = PROGRAM_HEADER.unpack_from(program, segment(program, PT_DYNAMIC))
    for place in range(offset, offset + size, DYNAMIC_ENTRY.size):
        tag, _ = DYNAMIC_ENTRY.unpack_from(program, place)
        if tag == DT_INIT_ARRAYSZ:
            DYNAMIC_ENTRY.pack_into(program, place, tag, 0)


def foreign_addresses(data: bytes, maps: str, begin: int) -> list[str]:
    """Return the words of data that are addresses in mappings above the program's variables: in the stack, heap and
    shared libraries, which are elsewhere in the next process.

    maps: in the format of proc_pid_maps(5). begin: the address of data.
    """
    end = begin + len(data)
    mappings = []
    for line in maps.splitlines():
        area, _, _, _, _, *name = line.split(maxsplit=5)
        low, high = (int(text, 16) for text in area.split("-"))
        if low >= end and high < 1 << 63:
            mappings.append((low, high, name[0] if name else "anonymous memory"))
    mappings.sort()
    lows = [low for low, _, _ in mappings]
    words = array.array("Q", data[: len(data) // 8 * 8])
    found = []
    for number, word in enumerate(words):
        if word < end or word >= 1 << 63:
            continue
        at = bisect.bisect_right(lows, word) - 1
        if at >= 0 and word < mappings[at][1]:
            found.append(f"{begin + number * 8:#x} -> {word:#x} ({mappings[at][2]})")
    return found
