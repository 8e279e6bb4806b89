"""Calls newer than a seccomp profile fail with ENOSYS, by architecture; what the profile says of others stays."""

import json
import platform
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import bpf, paths

from pyruntime.kernel import seccomp
from pyruntime.plan.seccomp import Profile

DOCKER = json.loads((paths.REPO / "tests/data/configs/docker-plain.json").read_text())["linux"]["seccomp"]
X86_64, I386, ARM, AARCH64, S390X, RISCV64, PPC64LE = (
    *(0xC000003E, 0x40000003, 0x40000028, 0xC00000B7, 0x80000016, 0xC00000F3, 0xC0000015),
)
"""As the kernel names them; linux/audit.h."""
X32 = 0x40000000
ENOSYS, EPERM, ALLOW = bpf.ERRNO | 38, bpf.ERRNO | 1, bpf.ALLOW

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")


def profile(*names: str, default: str = "SCMP_ACT_ERRNO", arches: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    rules = [{"names": list(names), "action": "SCMP_ACT_ALLOW"}]
    listed = [f"SCMP_ARCH_{arch}" for arch in arches]
    return {"defaultAction": default, "architectures": listed, "syscalls": rules, **more}


def compiled(seccomp_: dict[str, Any]) -> bytes:
    return seccomp.compile_profile(Profile(seccomp_))


NEWEST = "clone3"  # 435, on every architecture of these
OLD = ("read", "write", NEWEST)
ALL = ("X86_64", "X86", "X32", "ARM", "AARCH64", "RISCV64", "PPC64LE")

CASES = [
    # The number of the newest that is named decides, not that of the last.
    (profile(NEWEST, "read"), X86_64, 435, ALLOW),
    (profile(NEWEST, "read"), X86_64, 436, ENOSYS),
    (profile(NEWEST, "read"), X86_64, 434, EPERM),
    (profile("read"), X86_64, 1, ENOSYS),
    (profile(*OLD), X86_64, 999, ENOSYS),
    # A call that libseccomp does not know has no number.
    (profile(*OLD, "no_such_call"), X86_64, 436, ENOSYS),
    # Named counts, whatever for: under the default action too.
    (profile("read", syscalls=[{"names": [NEWEST], "action": "SCMP_ACT_ERRNO"}]), X86_64, 435, EPERM),
    (profile("read", syscalls=[{"names": [NEWEST], "action": "SCMP_ACT_ERRNO"}]), X86_64, 436, ENOSYS),
    # Nothing named: nothing is known of the profile's age.
    (profile("no_such_call"), X86_64, 0, EPERM),
    (profile("no_such_call"), X86_64, 999, EPERM),
    (profile(syscalls=[]), X86_64, 999, EPERM),
    # Default actions that refuse.
    (profile(*OLD, default="SCMP_ACT_ERRNO", defaultErrnoRet=13), X86_64, 999, ENOSYS),
    (profile(*OLD, default="SCMP_ACT_ERRNO", defaultErrnoRet=13), X86_64, 2, bpf.ERRNO | 13),
    (profile(*OLD, default="SCMP_ACT_KILL"), X86_64, 999, ENOSYS),
    (profile(*OLD, default="SCMP_ACT_KILL_PROCESS"), X86_64, 999, ENOSYS),
    (profile(*OLD, default="SCMP_ACT_KILL_PROCESS"), X86_64, 2, bpf.KILL_PROCESS),
    (profile(*OLD, default="SCMP_ACT_TRAP"), X86_64, 999, ENOSYS),
    # Default actions that don't.
    (profile(*OLD, default="SCMP_ACT_ALLOW"), X86_64, 999, ALLOW),
    (profile(*OLD, default="SCMP_ACT_LOG"), X86_64, 999, 0x7FFC0000),
    (profile(*OLD, default="SCMP_ACT_TRACE"), X86_64, 999, 0x7FF00001),
    # x32: the kernel's name for it is x86-64, and it refuses all of it unless the profile lists it.
    (profile(*OLD), X86_64, X32 | 999, bpf.KILL),
    (profile(*OLD, arches=("X86_64", "X32")), X86_64, X32 | 999, ENOSYS),
    (profile(*OLD, arches=("X86_64", "X32")), X86_64, X32 | 435, ALLOW),
    (profile(*OLD, arches=("X86_64", "X32")), X86_64, X32 | 2, EPERM),
    (profile(*OLD, arches=("X86_64", "X32")), X86_64, 436, ENOSYS),
    (profile(*OLD, arches=("X32",)), X86_64, 435, ALLOW),
    (profile(*OLD, arches=("X32",)), X86_64, X32 | 436, ENOSYS),
    # Each architecture has its own numbers; one that is not listed gets what libseccomp gives it.
    (profile(*OLD, arches=ALL), I386, 435, ALLOW),
    (profile(*OLD, arches=ALL), I386, 436, ENOSYS),
    (profile("llistxattr", arches=ALL), I386, 233, ALLOW),
    (profile("llistxattr", arches=ALL), I386, 234, ENOSYS),
    (profile("llistxattr", arches=ALL), X86_64, 195, ALLOW),
    (profile("llistxattr", arches=ALL), X86_64, 196, ENOSYS),
    (profile(*OLD), I386, 999, bpf.KILL),
    (profile(*OLD, arches=ALL), AARCH64, 436, ENOSYS),
    (profile(*OLD, arches=ALL), RISCV64, 436, ENOSYS),
    (profile(*OLD, arches=ALL), PPC64LE, 436, ENOSYS),
    (profile(*OLD, arches=ALL), ARM, 436, ENOSYS),
    # Arm's own calls have numbers far above, and are as old as the architecture.
    (profile(*OLD, "set_tls", arches=ALL), ARM, 436, ENOSYS),
    (profile(*OLD, "set_tls", arches=ALL), ARM, 0xF0005, ALLOW),
    (profile(*OLD, arches=ALL), ARM, 0xF0002, EPERM),
    # Docker's.
    (DOCKER, X86_64, 0, ALLOW),
    (DOCKER, X86_64, 999, ENOSYS),
    (DOCKER, X86_64, 1000, ENOSYS),
    (DOCKER, X86_64, 246, EPERM),  # kexec_load
    (DOCKER, I386, 999, ENOSYS),
    (DOCKER, X86_64, X32 | 999, ENOSYS),
]


@pytest.mark.parametrize(("seccomp_", "arch", "number", "answer"), CASES)
def test_answer(seccomp_: dict[str, Any], arch: int, number: int, answer: int) -> None:
    assert hex(bpf.verdict(compiled(seccomp_), arch, number)) == hex(answer)


@pytest.mark.parametrize("seccomp_", [profile(*OLD, arches=ALL), DOCKER], ids=["short", "docker"])
def test_calls_that_are_not_newer_are_decided_as_without_it(
    seccomp_: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compiled(seccomp_)
    monkeypatch.setattr(Profile, "named", lambda _self: None)
    plain = compiled(seccomp_)
    assert program.endswith(plain) and program != plain
    for arch in (X86_64, I386, AARCH64):
        for number in (*range(436), *(range(X32, X32 + 436) if arch == X86_64 else ())):
            assert bpf.verdict(program, arch, number) == bpf.verdict(plain, arch, number), (hex(arch), number)


PROLOGUE = r"""
#include "enosys.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct newest known[8];
	struct sock_filter program[ENOSYS_ROOM(8)];
	size_t count = 0;
	for (int i = 1; i + 1 < argc; i += 2, count++)
		known[count] = (struct newest){(uint32_t)strtoul(argv[i], NULL, 16), atoi(argv[i + 1])};
	return fwrite(program, sizeof *program, enosys_prologue(known, count, program), stdout) == 0;
}
"""


def test_s390_where_an_unknown_number_arrives_as_0(tmp_path: Path) -> None:
    """libseccomp makes no filter for two byte orders, so the prologue alone is run."""
    sources = str(paths.REPO / "pyruntime/kernel/src")
    program = f"{tmp_path}/prologue"
    command = ["gcc", "-Wall", "-I", sources, "-o", program, "-x", "c", "-", f"{sources}/enosys.c"]
    subprocess.run(command, input=PROLOGUE, text=True, check=True)
    known = [hex(S390X), "435", hex(X86_64), "450", hex(AARCH64), "-1"]
    prologue = subprocess.run([program, *known], check=True, capture_output=True).stdout
    filter_ = prologue + struct.pack("=HBBI", 0x06, 0, 0, ALLOW)
    answers = [bpf.verdict(filter_, S390X, number) for number in (0, 1, 435, 436)]
    assert answers == [ENOSYS, ALLOW, ALLOW, ENOSYS]
    assert [bpf.verdict(filter_, X86_64, number) for number in (0, 450, 451)] == [ALLOW, ALLOW, ENOSYS]
    assert bpf.verdict(filter_, AARCH64, 999) == ALLOW, "nothing is named for it"


def test_a_machine_of_another_architecture_is_refused_as_before() -> None:
    assert bpf.verdict(compiled(profile(*OLD)), AARCH64, 999) == bpf.KILL


def test_what_a_process_has_still_to_do_is_decided_with_it() -> None:
    """A profile without a call that it needs is loaded late, also where the call is above all that it names."""
    from pyruntime import kernel

    entries = [entry for entry in DOCKER["syscalls"] if not entry.get("args")]
    names = [name for entry in entries for name in entry["names"]]
    assert kernel.seccomp_permits_exec(compiled(profile(*names, "clone")))
    old = [name for name in (*names, "clone") if name not in ("close_range", "clone3", "openat2", "faccessat2")]
    assert not kernel.seccomp_permits_exec(compiled(profile(*old)))


def test_explain_says_so() -> None:
    assert "ENOSYS for calls that are newer" in repr(Profile(profile(*OLD)))
    assert "ENOSYS" not in repr(Profile(profile(*OLD, default="SCMP_ACT_ALLOW")))
