"""What is built: hardened, without a trace of where it was built, and the same twice but for the key of its hashes."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import sources

import pyruntime

REPO = Path(__file__).resolve().parents[2]
KEY = "00112233445566778899aabbccddeeff0123456789abcdef"
OTHER_KEY = KEY[::-1]
COMMAND = Path(sysconfig.get_path("scripts")) / "pyruntime"
EXTENSIONS = sorted((Path(pyruntime.__file__).resolve().parent / "kernel").glob("*.so"))
READELF = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

HAS_SNAPSHOT = (
    sys.version_info < (3, 14)
    and Path(sysconfig.get_config_var("LIBPL") or "", sysconfig.get_config_var("LIBRARY") or "").is_file()
)
"""docs/launcher.md: which Python's launcher is a snapshot, and so has the key in it."""


def build(folder: Path, key: str, **environment: str) -> dict[str, bytes]:
    """Build a copy of the sources there; return what is installed of it that is not Python: name -> content."""
    sources.copy(folder)
    given = sources.environment(PYRUNTIME_COMMIT="none", PYRUNTIME_HASH_KEY=key, **environment)
    command = [sys.executable, "setup.py", "--quiet", "build"]
    subprocess.run(command, cwd=folder, env=given, capture_output=True, check=True)
    made = [folder / "build/bin/pyruntime", *folder.glob("build/lib*/pyruntime/kernel/*.so")]
    assert len(made) == 3
    return {path.name: path.read_bytes() for path in made}


@pytest.mark.xfail(
    sys.version_info[:2] == (3, 13), reason="mimalloc's random state is in the snapshot (docs/launcher.md)"
)
def test_two_builds_with_one_key_are_the_same_and_with_another_key_are_not(tmp_path: Path) -> None:
    """The folder, the environment and the pids are others each time."""
    first = build(tmp_path / "one", KEY)
    second = build(tmp_path / "another/of/another/length", KEY, SOMETHING="else", PYTHONHASHSEED="7")
    third = build(tmp_path / "three", OTHER_KEY)
    for name, content in first.items():
        assert content == second[name], name
        assert str(tmp_path).encode() not in content
    if HAS_SNAPSHOT:
        assert bytes.fromhex(KEY) in first["pyruntime"] and bytes.fromhex(OTHER_KEY) in third["pyruntime"]
        assert bytes.fromhex(KEY) not in third["pyruntime"]
        del first["pyruntime"], third["pyruntime"]
    assert first == third


def test_a_key_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        build(tmp_path / "short", "0011")
    assert b"PYRUNTIME_HASH_KEY: 24 bytes in hexadecimal expected, not 2" in raised.value.stderr


def test_every_installation_draws_a_key() -> None:
    program = "from building.snapshot import hash_key as key; print(key().hex(), key().hex())"
    one, another = in_tree(program).split()
    assert len(bytes.fromhex(one)) == len(bytes.fromhex(another)) == 24
    assert one != another


def in_tree(program: str) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPO, env=sources.environment(), capture_output=True, text=True, check=True)
    return done.stdout


def test_a_static_library_that_lacks_parts_is_not_used(tmp_path: Path) -> None:
    """Debian's of Python 3.14 can't be linked: the launcher then uses the shared one."""
    (tmp_path / "libpython.a").write_bytes(b"!<arch>\n")
    program = f"""
import sysconfig
from building import launcher
variables = sysconfig.get_config_vars()
variables["LIBPL"], variables["LIBRARY"] = {str(tmp_path)!r}, "libpython.a"
print(launcher.static_library())
"""
    assert in_tree(program) == "None\n"


def test_words_of_spaces_are_no_libraries() -> None:
    """Debian's Makefile of Python 3.14 has such words."""
    program = r"from building import compiler; print(compiler.libraries('-lm  \\ \\   -ldl'))"
    assert in_tree(program) == "['-lm', '-ldl']\n"


def readelf(*arguments: str | Path) -> str:
    done = subprocess.run(["readelf", "-W", *arguments], env=READELF, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("path", [COMMAND, *EXTENSIONS], ids=lambda path: path.name.partition(".")[0])
def test_own_c_is_hardened(path: Path) -> None:
    assert "__stack_chk_fail" in readelf("--dyn-syms", path)  # -fstack-protector-strong
    assert "BIND_NOW" in readelf("-d", path)
    segments = {line.split()[0]: line for line in readelf("-l", path).splitlines() if line.strip()}
    assert "GNU_RELRO" in segments
    assert " RW " in segments["GNU_STACK"] and "RWE" not in segments["GNU_STACK"]


def test_the_extension_is_fortified_and_its_functions_begin_with_a_landing_pad() -> None:
    linux = next(path for path in EXTENSIONS if path.name.startswith("_linux"))
    symbols = readelf("--dyn-syms", linux)
    assert "__snprintf_chk" in symbols
    if os.uname().machine != "x86_64":
        return
    line = next(line for line in symbols.splitlines() if line.endswith(" PyInit__linux"))
    begin = int(line.split()[1], 16)
    code = b""
    for row in readelf("-l", linux).splitlines():
        if row.split()[:1] == ["LOAD"]:
            offset, address, _, size = (int(word, 16) for word in row.split()[1:5])
            if address <= begin < address + size:
                code = linux.read_bytes()[offset + begin - address :][:4]
    assert code == bytes.fromhex("f30f1efa")  # endbr64
