"""Hooks of many kinds: what they are given, where they run, and what becomes of the container when one fails."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import leaks
from support.bundle import Bundle, Config, dict_of
from support.fixtures import Make, lifecycle
from support.runtime import ENVIRONMENT, Runtime, new_id, says

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
LONGEST = 9223372036854775807
"""The longest timeout that config.json can name."""


def add(bundle: Bundle, kind: str, entry: Config) -> Config:
    """Add a hook; a shell command where the entry has a text as its args."""
    if isinstance(entry.get("args"), str):
        entry = {"path": "/bin/sh", "env": ["PATH=/usr/bin:/bin"], **entry, "args": ["sh", "-c", entry["args"]]}
    dict_of(bundle.config, "hooks").setdefault(kind, []).append(entry)
    return entry


GIVEN: dict[str, tuple[Config, str]] = {
    "an empty entry": ({"env": [""]}, "\0"),
    "no name": ({"env": ["=x"]}, "=x\0"),
    "no names": ({"env": ["=x", "", "=y", "="]}, "=x\0\0=y\0=\0"),
    "no =": ({"env": ["A"]}, "A\0"),
    "an empty value": ({"env": ["A="]}, "A=\0"),
    "a value with =": ({"env": ["A=b=c=", "B= "]}, "A=b=c=\0B= \0"),
    "a name twice": ({"env": ["A=1", "B=2", "A=3"]}, "B=2\0A=3\0"),
    "not ASCII": ({"env": ["\u20ac=\u2028\u20ac", "C=\x1b"]}, "\u20ac=\u2028\u20ac\0C=\x1b\0"),
    "a long one": ({"env": ["A=" + "x" * 100_000]}, "A=" + "x" * 100_000 + "\0"),
    "nothing": ({"env": []}, ""),
    "more than 24 days": ({"env": ["A=1"], "timeout": 2147484}, "A=1\0"),
    "forever": ({"env": ["A=1"], "timeout": LONGEST}, "A=1\0"),
}


@pytest.mark.parametrize("variant", GIVEN)
def test_its_environment_is_what_the_config_says(container: Make, bundle: Bundle, shared: Path, variant: str) -> None:
    more, environ = GIVEN[variant]
    for kind in KINDS:
        add(bundle, kind, {"path": "/bin/cp", "args": ["cp", "/proc/self/environ", f"{shared}/{kind}"], **more})
    lifecycle(container)
    assert {kind: (shared / kind).read_text() for kind in KINDS} == dict.fromkeys(KINDS, environ)


def test_where_it_runs(runtime: Runtime, bundle: Bundle, shared: Path, workdir: Path) -> None:
    """The spec does not say; as runc and crun have it, whatever directory the commands are called in."""
    (bundle.rootfs / "place").mkdir()
    bundle.process["cwd"] = "/place"
    bundle.sh("exec sleep 100")
    for kind in KINDS:
        add(bundle, kind, {"args": f"pwd -P > {shared}/{kind}; ls >> {shared}/{kind}"})
    elsewhere, name = workdir / "elsewhere", new_id()
    elsewhere.mkdir()
    runtime.ok("create", "-b", bundle.save(), name, cwd=elsewhere)
    runtime.ok("start", name, cwd=elsewhere)
    runtime.ok("delete", "--force", name, cwd=elsewhere)
    found = {kind: (shared / kind).read_text().splitlines() for kind in KINDS}
    assert {kind: lines[0] for kind, lines in found.items()} == {
        **dict.fromkeys(KINDS, str(bundle.path)), "createContainer": str(bundle.rootfs), "startContainer": "/place",
    }  # fmt: skip
    assert "config.json" in found["poststop"] and "bin" in found["createContainer"]


def test_a_bundle_that_is_gone_keeps_no_hook_from_running(container: Make, bundle: Bundle, shared: Path) -> None:
    add(bundle, "poststop", {"args": f"pwd > {shared}/ran"})
    box = container()
    box.kill()
    box.wait_stopped()
    (bundle.path / "config.json").unlink()
    moved = bundle.path.rename(bundle.path.parent / "moved")
    result = box.runtime.run("delete", box.id)
    moved.rename(bundle.path)
    assert result.status == 0 and "and not in the bundle" in result.stderr
    assert (shared / "ran").read_text() == "/\n"
    assert box.runtime.ids() == []


POSTSTOP: dict[str, tuple[Config, str]] = {
    "fails": ({"args": "echo words of the hook; exit 7"}, "exit status 7, output: words of the hook"),
    "is killed": ({"args": "kill -9 $$"}, "killed by signal 9"),
    "is missing": ({"path": "/nosuch/hook"}, "ENOENT"),
    "is a directory": ({"path": "/usr"}, "EACCES"),
    "is no program": ({"path": "{shared}/text"}, "ENOEXEC"),
    "may not be executed": ({"path": "/etc/passwd"}, "EACCES"),
    "has no interpreter": ({"path": "{shared}/script"}, "ENOENT"),
    "has too long arguments": ({"path": "/bin/true", "args": ["x" * 200_000] * 2}, "E2BIG"),
    "takes too long": ({"args": "sleep 100", "timeout": 1}, "longer than its timeout of 1 s"),
    "prints raw bytes": (
        {"args": "printf '\\377\\303(\\033[1m\\n\\035'; exit 1"},
        "exit status 1, output: \\xff\\xc3(",
    ),
    "prints megabytes": ({"args": "head -c 3000000 /dev/zero; exit 1"}, "exit status 1"),
    "removes the bundle": ({"args": "rm -rf {bundle}; exit 3"}, "exit status 3"),
    "removes the state": ({"args": "rm -rf {state}; exit 4"}, "exit status 4"),
    "writes to the state": ({"args": "mkdir -p {state}/a/b; echo x > {state}/a/b/c; echo x > {state}/state.json"}, ""),
    "stops its own group": ({"args": "kill -STOP $$", "timeout": 1}, "longer than its timeout of 1 s"),
    "leaves a process": ({"args": "sleep 2 & exit 5"}, "exit status 5"),
    "has no arguments": ({"path": "/bin/true", "args": []}, ""),
    "has an empty argument": ({"path": "/bin/true", "args": [""]}, ""),
}


@pytest.mark.parametrize("variant", POSTSTOP)
def test_whatever_a_poststop_hook_is_the_container_is_deleted(
    container: Make, bundle: Bundle, shared: Path, variant: str
) -> None:
    (shared / "text").write_text("no program")
    (shared / "script").write_text("#!/nosuch/interpreter\n")
    for name in ("text", "script"):
        (shared / name).chmod(0o755)
    box = container(create=False)
    entry, words = POSTSTOP[variant]
    places = {"shared": shared, "bundle": bundle.path, "state": box.runtime.root / box.id}
    for key, path in places.items():
        entry = json.loads(json.dumps(entry).replace(f"{{{key}}}", str(path)))
    add(bundle, "poststop", entry)
    add(bundle, "poststop", {"args": f"echo ran > {shared}/second"})
    bundle.save()
    box.create()
    box.start()
    box.kill()
    box.wait_stopped()
    result = box.runtime.run("delete", box.id)
    assert (result.status, result.stdout) == (0, ""), result
    if words:
        first, *others = result.stderr.splitlines()
        assert first.startswith("pyruntime: warning: ")
        says(first, words, "/hooks/poststop/0")
        assert len(others) == (variant == "removes the bundle"), "the second runs elsewhere then"
    else:
        assert result.stderr == ""
    assert (shared / "second").read_text() == "ran\n"
    assert box.runtime.ids() == []


DAMAGED: list[Any] = [{"hooks": []}, {"hooks": {"poststop": {}}}, {"hooks": {"poststop": [{}]}}, {"hooks": 1}, {}, []]


@pytest.mark.parametrize("config", DAMAGED, ids=map(str, range(len(DAMAGED))))
def test_hooks_that_can_not_be_read(container: Make, bundle: Bundle, config: Any) -> None:
    add(bundle, "poststop", {"path": "/bin/true"})
    box = container()
    (box.runtime.root / box.id / "config.json").write_text(json.dumps(config))
    result = box.runtime.run("delete", "--force", box.id)
    assert result.status == 0 and "internal error" not in result.stderr
    assert box.runtime.ids() == []


FAILING: dict[str, tuple[Config, str]] = {
    "fails": ({"args": "exit 7"}, "exit status 7"),
    "is missing": ({"path": "/nosuch/hook"}, "ENOENT"),
    "takes too long": ({"args": "sleep 100", "timeout": 1}, "longer than its timeout"),
}


@pytest.mark.parametrize("variant", FAILING)
@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_start_whose_hook_fails_leaves_no_container(
    runtime: Runtime, bundle: Bundle, shared: Path, kind: str, variant: str
) -> None:
    """runtime.md "Lifecycle", 7 and 9: stop the container, and go on at 12 and 13, which destroy it."""
    entry, words = FAILING[variant]
    add(bundle, kind, entry)
    add(bundle, kind, {"args": f"echo ran > {shared}/later"})
    add(bundle, "poststop", {"args": f"cat > {shared}/poststop"})
    bundle.sh("exec sleep 100")
    footprint, name = leaks.Footprint(runtime.root), new_id()
    runtime.ok("create", "-b", bundle.save(), name)
    says(runtime.fails("start", name), words, f"/hooks/{kind}/0")
    assert "does not exist" in runtime.fails("state", name)
    assert json.loads((shared / "poststop").read_text())["status"] == "stopped"
    assert not (shared / "later").exists()
    footprint.check()
    assert runtime.ids() == []


def test_a_poststop_hook_after_a_failed_start_is_only_a_warning(runtime: Runtime, bundle: Bundle) -> None:
    add(bundle, "poststart", {"path": "/bin/false"})
    add(bundle, "poststop", {"path": "/nosuch"})
    bundle.sh("exec sleep 100")
    name = new_id()
    runtime.ok("create", "-b", bundle.save(), name)
    result = runtime.run("start", name)
    warning, error = result.stderr.splitlines()
    assert result.status == 1 and "/hooks/poststart/0" in error and "/hooks/poststop/0" in warning
    assert runtime.ids() == []


class TestStartContainer:
    """It runs as the program does: with its filter, its rights and, where it names none, its environment."""

    @pytest.fixture
    def report(self, bundle: Bundle, shared: Path) -> Path:
        add(
            bundle,
            "startContainer",
            {"args": f"cat /proc/self/status > {shared}/hook; ls /proc/self/fd > {shared}/fds"},
        )
        bundle.sh(f"cat /proc/self/status > {shared}/program")
        return shared

    @pytest.mark.parametrize("uid", [0, 1000])
    @pytest.mark.parametrize("no_new_privileges", [True, False])
    def test_rights(self, runtime: Runtime, bundle: Bundle, report: Path, no_new_privileges: bool, uid: int) -> None:
        report.chmod(0o777)
        bundle.process["user"] = {"uid": uid, "gid": uid}
        bundle.process["noNewPrivileges"] = no_new_privileges
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refuse("reboot")]}
        runtime.ok("run", "-b", bundle.save(), new_id())
        keys = ("Seccomp:", "Seccomp_filters:", "Cap", "NoNewPrivs:", "Uid:", "Gid:")
        hook, program = (
            [line for line in (report / name).read_text().splitlines() if line.startswith(keys)]
            for name in ("hook", "program")
        )
        assert hook == program and "Seccomp:\t2" in hook and "Seccomp_filters:\t1" in hook
        assert (report / "fds").read_text().split() == ["0", "1", "2", "3"], "3 is that of ls"

    def test_the_filter_decides_about_the_hook_alone(self, runtime: Runtime, bundle: Bundle, shared: Path) -> None:
        """What init does for it (memory files, clone, wait4, poll) need not be allowed."""
        needed = ["execve", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "mmap"]
        needed += ["mprotect", "readlink", "getrandom", "getuid", "setuid", "getgid", "setgid", "newfstatat", "munmap"]
        needed += ["exit_group", "exit", "write", "uname", "prctl", "stat", "lstat", "open", "openat", "close", "fstat"]
        allow = {"names": needed, "action": "SCMP_ACT_ALLOW"}
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 39, "syscalls": [allow]}
        add(bundle, "startContainer", {"path": "/bin/mkdir", "args": ["mkdir", "/tmp/x"], "timeout": 60})
        error = runtime.fails("run", "-b", bundle.save(), new_id())
        says(error, "can't create directory '/tmp/x': Directory not empty", "/hooks/startContainer/0")

    @pytest.mark.parametrize("home", [None, "/home/of"])
    def test_without_an_environment_it_has_the_programs(
        self, runtime: Runtime, bundle: Bundle, shared: Path, home: str | None
    ) -> None:
        entry = {"path": "/bin/cp", "args": ["cp", "/proc/self/environ", f"{shared}/hook"]}
        add(bundle, "startContainer", entry)
        bundle.process["env"] = ["A=1", "PATH=/bin", "A=2", *([f"HOME={home}"] if home else [])]
        bundle.args("cp", "/proc/self/environ", f"{shared}/program")
        runtime.ok("run", "-b", bundle.save(), new_id(), env={**ENVIRONMENT, "OF_THE_HOST": "yes"})
        found = (shared / "hook").read_text()
        assert found == (shared / "program").read_text()
        assert found.split("\0")[:-1] == ["PATH=/bin", "A=2", f"HOME={home or '/root'}"]


def refuse(*names: str) -> Config:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO"}
