"""Bad input gives one clear line and exit status 1, and leaves nothing behind."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import leaks
from support.bundle import Bundle
from support.runtime import Runtime, new_id, says

Refused = Callable[..., str]


@pytest.fixture
def refused(runtime: Runtime, bundle: Bundle) -> Iterator[Refused]:
    """A function that creates a container, expects the one line, and checks that nothing is left."""

    def refuse(save: bool = True, command: str = "create") -> str:
        if save:
            bundle.save()
        footprint = leaks.Footprint(runtime.root)
        error = runtime.fails(command, "--bundle", bundle.path, new_id())
        footprint.check()
        assert runtime.ids() == []
        return error

    yield refuse


def test_no_bundle(runtime: Runtime, workdir: Path) -> None:
    error = runtime.fails("create", "--bundle", workdir / "nowhere", new_id())
    says(error, str(workdir / "nowhere"))
    says(error, "no such file or directory")
    assert runtime.ids() == []


def test_no_config(refused: Refused) -> None:
    says(refused(save=False), "config.json")


def test_broken_json(refused: Refused, bundle: Bundle) -> None:
    (bundle.path / "config.json").write_text('{\n "ociVersion": "1.0.2",\n "process": }\n')
    error = refused(save=False)
    says(error, "config.json")
    says(error, "line 3", "column 13")


@pytest.mark.parametrize("text", ["", "null", "[]", '"text"', "\x00", '{"ociVersion": "1.0.2"} x'])
def test_not_a_config(refused: Refused, bundle: Bundle, text: str) -> None:
    (bundle.path / "config.json").write_text(text)
    says(refused(save=False), "config.json")


WRONG_TYPES: list[tuple[str, object]] = [
    ("/ociVersion", 1),
    ("/process", []),
    ("/process/args", "sh"),
    ("/process/args/0", 5),
    ("/process/cwd", None),
    ("/process/user/uid", "root"),
    ("/process/user/uid", -1),
    ("/process/env/0", {}),
    ("/process/terminal", "yes"),
    ("/root/path", 7),
    ("/hostname", 7),
    ("/mounts/0/destination", 7),
    ("/mounts/0/options", "ro"),
    ("/linux/namespaces", {}),
    ("/linux/namespaces/0/type", 1),
    ("/linux/maskedPaths", "x"),
]


@pytest.mark.parametrize("pointer, value", WRONG_TYPES, ids=[f"{p}={v!r}".replace("/", ".") for p, v in WRONG_TYPES])
def test_wrong_type(refused: Refused, bundle: Bundle, pointer: str, value: object) -> None:
    bundle.process.setdefault("env", ["A=B"])
    put(bundle.config, pointer, value)
    says(refused(), pointer)


REQUIRED = ["/ociVersion", "/root", "/root/path", "/process/cwd", "/process/args", "/mounts/0/destination"]


@pytest.mark.parametrize("pointer", REQUIRED, ids=lambda p: str(p).replace("/", "."))
def test_missing_property(refused: Refused, bundle: Bundle, pointer: str) -> None:
    drop(bundle.config, pointer)
    error = refused()
    says(error, pointer.rpartition("/")[2])  # the line names the missing property


@pytest.mark.parametrize("version", ["2.0.0", "0.9.0", "1", "", "one", "1.99.0"])
def test_unknown_version(refused: Refused, bundle: Bundle, version: str) -> None:
    bundle.config["ociVersion"] = version
    error = refused()
    says(error, version, "1.3.0")  # the value and the supported range


def test_missing_rootfs(refused: Refused, bundle: Bundle) -> None:
    bundle.config["root"]["path"] = "nowhere"
    error = refused()
    says(error, str(bundle.path / "nowhere"))
    says(error, "no such file or directory")


def test_rootfs_is_a_file(refused: Refused, bundle: Bundle) -> None:
    (bundle.path / "file").touch()
    bundle.config["root"]["path"] = "file"
    says(refused(), str(bundle.path / "file"))


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize(
    "program, words",
    [
        ("nosuch", ["executable file not found in $PATH"]),
        ("/bin/nosuch", ["no such file or directory"]),
        ("/etc/passwd", ["permission denied"]),
        ("/etc", ["is a directory", "permission denied"]),
        ("/etc/passwd/x", ["not a directory"]),
    ],
    ids=["not-in-path", "missing", "not-executable", "directory", "below-a-file"],
)
def test_program(refused: Refused, bundle: Bundle, command: str, program: str, words: list[str]) -> None:
    bundle.args(program)
    error = refused(command=command)
    says(error, program)
    assert any(each in error for each in words), f"engines look for {words}: {error}"


@pytest.mark.parametrize(
    "content, words",
    [
        ("#!/no/such/sh\n", ["no such file or directory", "ENOENT", "#!"]),
        ("hello\n", ["ENOEXEC", "neither"]),
        ("", ["ENOEXEC"]),
        ("#!/etc\n", ["permission denied", "EACCES", "#!"]),
    ],
    ids=["interpreter-missing", "text", "empty", "interpreter-a-directory"],
)
def test_program_that_execve_refuses(refused: Refused, bundle: Bundle, content: str, words: list[str]) -> None:
    """The file is there and may be executed; the line says what is wrong with it."""
    program = bundle.rootfs / "program"
    program.write_text(content)
    program.chmod(0o755)
    bundle.args("/program")
    says(refused(command="run"), 'execve("/program")', *words)


def test_empty_args(refused: Refused, bundle: Bundle) -> None:
    bundle.args()
    says(refused(), "args")


class TestMounts:
    def test_unknown_file_system(self, refused: Refused, bundle: Bundle) -> None:
        bundle.mount("/mnt", "nosuchfs", "none")
        at = len(bundle.mounts) - 1
        error = refused()
        says(error, f"/mounts/{at}", "nosuchfs", "ENODEV")

    def test_missing_source(self, refused: Refused, bundle: Bundle, workdir: Path) -> None:
        bundle.mount("/mnt", "bind", str(workdir / "nowhere"), "bind")
        at = len(bundle.mounts) - 1
        error = refused()
        says(error, f"/mounts/{at}", str(workdir / "nowhere"), "ENOENT")

    def test_bad_data(self, refused: Refused, bundle: Bundle) -> None:
        bundle.mount("/mnt", "tmpfs", "none", "nosuchoption=1")
        at = len(bundle.mounts) - 1
        error = refused()
        says(error, f"/mounts/{at}", "EINVAL", "nosuchoption")

    def test_file_over_directory(self, refused: Refused, bundle: Bundle, workdir: Path) -> None:
        (workdir / "file").touch()
        bundle.mount("/etc", "bind", str(workdir / "file"), "bind")
        at = len(bundle.mounts) - 1
        error = refused()
        says(error, f"/mounts/{at}", "/etc")

    @pytest.mark.parametrize("where", ["/", "/etc/.."])
    @pytest.mark.parametrize("kind", ["tmpfs", "proc", "bind"])
    def test_over_the_root(self, refused: Refused, bundle: Bundle, workdir: Path, kind: str, where: str) -> None:
        """Nobody would ever see it: the processes' root is the one below."""
        bundle.mount(where, kind, str(workdir) if kind == "bind" else kind, *(["bind"] if kind == "bind" else []))
        at = len(bundle.mounts) - 1
        says(refused(), f"/mounts/{at}/destination", "root itself")

    def test_the_call_that_failed_is_told_as_it_was_made(self, refused: Refused, bundle: Bundle) -> None:
        bundle.mount("/etc/passwd/below", "tmpfs", "none")
        error = refused()
        says(error, "openat2(", '"/etc/passwd/below", O_DIRECTORY|O_PATH, RESOLVE_IN_ROOT', "ENOTDIR")
        assert "= <" not in error, "a call that failed has no result"

    @pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths"])
    def test_covering_the_root(self, refused: Refused, bundle: Bundle, key: str) -> None:
        bundle.linux[key] = ["/proc/keys", "/etc/.."]
        says(refused(), f"/linux/{key}/1", "root.readonly")

    @pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths"])
    @pytest.mark.parametrize("target", ["/", "../../..", "/etc/.."])
    def test_covering_the_root_by_a_link(self, refused: Refused, bundle: Bundle, key: str, target: str) -> None:
        """What a name of the image leads to is known when it is opened; a cover on the root itself nobody would see."""
        (bundle.rootfs / "link").symlink_to(target)
        bundle.linux[key] = ["/proc/keys", "/link"]
        says(refused(), f"/linux/{key}/1", '"/link" is the root itself')

    def test_data_of_a_bind_mount_is_only_a_warning(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        bundle.mount("/mnt", "bind", str(workdir), "bind", "size=1")
        at = len(bundle.mounts) - 1
        bundle.args("true")
        log = workdir / "log"
        runtime.ok("--log", log, "run", "-b", bundle.save(), new_id())
        assert f"/mounts/{at}/options" in log.read_text() and "size" in log.read_text()


class TestProcess:
    def test_run_without_a_process(self, refused: Refused, bundle: Bundle) -> None:
        del bundle.config["process"]
        says(refused(command="run"), "/process")

    def test_unknown_rlimit(self, refused: Refused, bundle: Bundle) -> None:
        bundle.process["rlimits"] = [{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]
        says(refused(), "RLIMIT_NOSUCH")

    def test_rlimit_twice(self, refused: Refused, bundle: Bundle) -> None:
        bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10}] * 2
        says(refused(), "RLIMIT_NOFILE")

    def test_relative_cwd(self, refused: Refused, bundle: Bundle) -> None:
        bundle.process["cwd"] = "tmp"
        says(refused(), "cwd")

    def test_unknown_capability_is_only_a_warning(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.process["capabilities"]["bounding"].append("CAP_NO_SUCH")
        bundle.sh("echo fine")
        result = runtime.run("run", "-b", bundle.save(), new_id())
        assert result.status == 0 and result.stdout == "fine\n"


class TestLinux:
    def test_unknown_namespace(self, refused: Refused, bundle: Bundle) -> None:
        bundle.linux["namespaces"].append({"type": "nosuch"})
        says(refused(), "nosuch")

    def test_namespace_twice(self, refused: Refused, bundle: Bundle) -> None:
        bundle.linux["namespaces"].append({"type": "uts"})
        says(refused(), "uts")

    def test_namespace_path_missing(self, refused: Refused, bundle: Bundle, workdir: Path) -> None:
        bundle.namespaces(network=str(workdir / "nowhere"))
        says(refused(), str(workdir / "nowhere"))

    def test_namespace_path_of_another_type(self, refused: Refused, bundle: Bundle) -> None:
        bundle.namespaces(network="/proc/self/ns/uts")
        refused()

    def test_hostname_without_its_namespace(self, refused: Refused, bundle: Bundle) -> None:
        bundle.namespaces(uts=None)
        name = os.uname().nodename
        says(refused(), "hostname")
        assert os.uname().nodename == name

    def test_unknown_sysctl(self, refused: Refused, bundle: Bundle) -> None:
        bundle.linux["sysctl"] = {"net.ipv4.no_such": "1"}
        error = refused()
        says(error, "no_such")

    @pytest.mark.parametrize("name", ["kernel.panic", "vm.swappiness", "fs.file-max", "kernel.no_such"])
    def test_sysctl_of_the_host(self, refused: Refused, bundle: Bundle, name: str) -> None:
        # Asked for is the value that the host has: a runtime that does not refuse then does no harm.
        file = Path("/proc/sys", name.replace(".", "/"))
        bundle.linux["sysctl"] = {name: file.read_text().strip() if file.exists() else "0"}
        says(refused(), name)

    def test_sysctl_without_its_namespace(self, refused: Refused, bundle: Bundle) -> None:
        bundle.namespaces(network=None)
        bundle.linux["sysctl"] = {"net.ipv4.ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()}
        says(refused(), "net.ipv4.ip_forward")

    def test_unknown_seccomp_action(self, refused: Refused, bundle: Bundle) -> None:
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_NO_SUCH"}
        says(refused(), "SCMP_ACT_NO_SUCH")

    def test_unknown_file_of_unified_resources(self, refused: Refused, bundle: Bundle) -> None:
        bundle.linux.setdefault("resources", {})["unified"] = {"nosuch.limit": "1"}
        says(refused(), "nosuch")

    def test_mappings_without_user_namespace(self, refused: Refused, bundle: Bundle) -> None:
        bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 10}]
        refused()


def test_without_root(runtime: Runtime, bundle: Bundle) -> None:
    """explain needs no privilege; create says at once that it needs some, and makes nothing."""
    bundle.path.chmod(0o755)
    bundle.save()
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *runtime.command()]
    explain = subprocess.run([*command, "explain", "-b", bundle.path], capture_output=True, text=True, check=False)
    assert (explain.returncode, explain.stderr) == (0, "")
    create = subprocess.run([*command, "create", "-b", bundle.path, new_id()], capture_output=True, text=True)
    assert create.returncode == 1 and create.stdout == ""
    assert create.stderr == "pyruntime: containers can only be created by root; pyruntime is not rootless yet\n"
    assert not runtime.root.exists()


@pytest.mark.parametrize(
    "args",
    [["nosuchcommand"], ["create", "--nosuchoption", "x"], ["state"], ["state", "a", "b"], ["--nosuch"]],
    ids=" ".join,
)
def test_wrong_command_line(runtime: Runtime, args: list[str]) -> None:
    result = runtime.run(*args)
    assert result.status == 1
    assert result.stderr and "Traceback" not in result.stderr
    assert runtime.ids() == []


def put(config: Any, pointer: str, value: object) -> None:
    """Set the value that a JSON pointer names."""
    folder, key = _reach(config, pointer)
    folder[key] = value


def drop(config: Any, pointer: str) -> None:
    """Remove the value that a JSON pointer names."""
    folder, key = _reach(config, pointer)
    del folder[key]


def _reach(config: Any, pointer: str) -> tuple[Any, Any]:
    *way, last = [int(key) if key.isdigit() else key for key in pointer.split("/")[1:]]
    for key in way:
        config = config[key]
    return config, last


@pytest.mark.parametrize("shift", ["", "a"])
def test_a_message_that_is_cut_within_a_character(runtime: Runtime, bundle: Bundle, shift: str) -> None:
    """Init tells it without looking up a codec: inside the container that would be an import."""
    bundle.process["cwd"] = f"/{shift}" + "ü" * 400
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), "ENAMETOOLONG", "/process/cwd", "ü")
