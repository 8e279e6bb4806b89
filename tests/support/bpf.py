"""Runs a compiled seccomp filter for a call that nobody makes: of any architecture, also another machine's."""

import struct

ALLOW, KILL_PROCESS, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0, 0x00050000


def verdict(program: bytes, arch: int, number: int, *args: int) -> int:
    """Return what the filter says of a call; linux/filter.h, and no more of it than libseccomp makes use of."""
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *args, *[0] * (6 - len(args)))
    steps = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x05:  # BPF_JMP | BPF_JA
            at += value
        elif code in JUMPS:
            at += if_true if JUMPS[code](accumulator, value) else if_false
        elif code == 0x54:  # BPF_ALU | BPF_AND
            accumulator &= value
        elif code == 0x06:  # BPF_RET
            return int(value)
        else:
            raise AssertionError(f"instruction {code:#x} at {at - 1}")


JUMPS = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__, 0x45: int.__and__}
