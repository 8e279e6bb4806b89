"""A program that writes out its variables is made to begin with them (building/snapshot.py)."""

import importlib.util
import struct
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parents[2]
KEY = b"a key of two dozen bytes"

PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char data_start[], _end[];
int number = 1;
const char *name = "a name";
void *place;
char room[1 << 20];
int constructed;

__attribute__((constructor)) static void construct(void)
{
	constructed++;
}

int main(int argc, char **argv)
{
	if (getenv("_PYRUNTIME_MAKE_SNAPSHOT") == NULL) {
		printf("%d %s %s %d %d %s\n", number, name, room + 5000, room[sizeof room - 1], constructed, argv[argc - 1]);
		return 0;
	}
	number += 41;
	name = room + 5000;
	if (read(0, room + 5000, 24) != 24)
		return 1;
	PLACE;
	int maps = open("/proc/self/maps", O_RDONLY);
	char text[65536];
	ssize_t size = 0, count;
	while ((count = read(maps, text + size, sizeof text - size)) > 0)
		size += count;
	size_t length = _end - data_start;
	char *copy = malloc(length);
	memcpy(copy, data_start, length);

	return write(1, text, size) != size || write(1, "", 1) != 1 || write(1, copy, length) != (ssize_t)length;
}
"""


@pytest.fixture(scope="module")
def snapshot() -> ModuleType:
    spec = importlib.util.spec_from_file_location("snapshot", REPO / "building/snapshot.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(folder: Path, place: str = "") -> Path:
    program = folder / "program"
    source = PROGRAM.replace("PLACE", place)
    command = ["cc", "-O1", "-w", "-no-pie", "-o", str(program), "-x", "c", "-"]
    subprocess.run(command, input=source, text=True, check=True)
    return program


def said(program: Path) -> str:
    return subprocess.run([program, "word"], capture_output=True, text=True, check=True).stdout


def test_the_program_begins_with_the_variables_it_had(snapshot: ModuleType, tmp_path: Path) -> None:
    program = build(tmp_path)
    assert said(program) == "1 a name  0 1 word\n"
    snapshot.take(program, KEY)
    assert said(program) == f"42 {KEY.decode()} {KEY.decode()} 0 1 word\n"
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


def test_what_is_still_zero_takes_no_space(snapshot: ModuleType, tmp_path: Path) -> None:
    program = build(tmp_path)
    snapshot.take(program, KEY)
    assert program.stat().st_size < 100_000


def test_a_stripped_program_still_begins_with_them(snapshot: ModuleType, tmp_path: Path) -> None:
    program = build(tmp_path)
    snapshot.take(program, KEY)
    before = segments(program)
    subprocess.run(["strip", program], check=True)
    assert segments(program) == before
    assert said(program) == f"42 {KEY.decode()} {KEY.decode()} 0 1 word\n"


def segments(program: Path) -> list[bytes]:
    """Return what a start maps of the program: its segments behind the header, which strip(1) may write anew."""
    data = program.read_bytes()
    first, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    found = []
    for place in range(first, first + size * count, size):
        kind, _, offset, _, _, in_file, *_ = struct.unpack_from("<IIQQQQQQ", data, place)
        if kind == 1:
            found.append(data[max(offset, 64) : offset + in_file])
    return found


@pytest.mark.parametrize(
    ("place", "where"), [("place = &argc", "[stack]"), ("place = malloc(8)", "[heap]"), ("place = environ", "[stack]")]
)
def test_an_address_of_another_process_is_refused(snapshot: ModuleType, tmp_path: Path, place: str, where: str) -> None:
    program = build(tmp_path, f"extern char **environ; {place}")
    before = program.read_bytes()
    with pytest.raises(snapshot.Refused) as caught:
        snapshot.take(program, KEY)
    assert where in str(caught.value)
    assert program.read_bytes() == before


def test_a_program_that_fails_stays_as_it_is(snapshot: ModuleType, tmp_path: Path) -> None:
    program = build(tmp_path, "return 3")
    before = program.read_bytes()
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        snapshot.take(program, KEY)
    assert program.read_bytes() == before


def test_only_addresses_behind_the_variables_are_foreign(snapshot: ModuleType) -> None:
    maps = (
        "00400000-00410000 rw-p 00000000 00:01 1 /bin/program\n"
        "00800000-00900000 rw-p 00000000 00:00 0 [heap]\n"
        "7f0000000000-7f0000001000 r-xp 00000000 00:01 2 /lib/libc with space.so\n"
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n"
    )
    words = [0x400010, 0x7FFFFF, 0x800000, 0x8FFFFF, 0x900000, 0x7F0000000FFF, 0x7F0000001000, 0xFFFFFFFFFF600000]
    found = snapshot.foreign_addresses(struct.pack("<8Q", *words), maps, 0x400000)
    assert found == [
        "0x400010 -> 0x800000 ([heap])",
        "0x400018 -> 0x8fffff ([heap])",
        "0x400028 -> 0x7f0000000fff (/lib/libc with space.so)",
    ]
