"""What the container's process is given, seen from inside: config.md "Process" and "Linux Process"."""

import json
from pathlib import Path

import pytest
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import Container, Runtime, host_status, new_id, wait_for

CAPABILITY_BITS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_RAW": 13}


def mask(*names: str) -> str:
    """Return capabilities as /proc/<pid>/status writes them."""
    return f"{sum(1 << CAPABILITY_BITS[name] for name in names):016x}"


def status_of(text: str) -> dict[str, str]:
    """Read the text of a /proc/<pid>/status."""
    return {key: " ".join(value.split()) for key, _, value in (line.partition(":") for line in text.splitlines())}


def test_pid_1_and_nobody_else(inside: Inside) -> None:
    first, *others = inside("echo $$; ls -d /proc/[0-9]*").split()
    assert first == "1"
    assert {"/proc/1"} <= set(others) <= {"/proc/1", "/proc/2"}, (
        "the shell, and ls where the shell starts a process for it"
    )


def test_args_reach_the_program_as_they_are(runtime: Runtime, bundle: Bundle) -> None:
    words = ["", "a b", "$HOME", "*", "ä€", '"', "\\", "-x", "line\nbreak"]
    bundle.args("sh", "-c", 'printf "[%s]" "$@"', "name", *words)
    assert runtime.ok("run", "-b", bundle.save(), new_id()) == "".join(f"[{word}]" for word in words)


def test_program_is_found_in_the_path_of_the_container(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.rootfs / "special").mkdir()
    program = bundle.rootfs / "special" / "program"
    program.write_text("#!/bin/sh\necho found $0\n")
    program.chmod(0o755)
    bundle.process["env"] = ["PATH=/nowhere:/special"]
    bundle.args("program")
    assert runtime.ok("run", "-b", bundle.save(), new_id()) == "found /special/program\n"


@pytest.mark.parametrize(
    ("env", "cwd", "found"),
    [
        ([], "/", False),
        ([], "/bin", False),
        (["PATH="], "/bin", False),
        (["PATH=:"], "/bin", False),
        (["PATH=/nowhere:"], "/bin", False),
        (["PATH=:/bin"], "/", True),
        (["PATH=/nowhere"], "/", False),
        (["PATH=bin"], "/", True),
        (["PATH=."], "/bin", True),
        (["PATH=/nowhere", "PATH=/bin"], "/", True),
        (["PATH=/bin", "PATH=/nowhere"], "/", False),
        (["MYPATH=/bin"], "/", False),
    ],
    ids=str,
)
def test_path(runtime: Runtime, bundle: Bundle, env: list[str], cwd: str, found: bool) -> None:
    """No default, and the working directory by its name only; in exec as well."""
    bundle.args("/bin/sleep", "100")
    box = Container(runtime, bundle.save(), new_id())
    box.create()
    box.start()
    bundle.process.update(env=env, cwd=cwd)
    bundle.args("true")
    program = bundle.path / "process.json"
    program.write_text(json.dumps(bundle.process))
    run = runtime.run("run", "-b", bundle.save(), new_id())
    execute = box.exec("--process", program, "--")
    box.close()
    said = 'exec: "true": executable file not found in $PATH'
    if not any(entry.startswith("PATH=") and entry != "PATH=" for entry in env):
        said += " (process.env has none)"
    if found:
        assert (run.status, run.stderr, execute.status, execute.stderr) == (0, "", 0, "")
    else:
        assert run.status == 1 and said in run.stderr, run
        assert execute.status == 255 and said in execute.stderr, execute


def test_environment_is_the_given_one(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["env"] = ["PATH=/bin:/usr/bin", "HOME=/x", "EMPTY=", "A=b=c", "TWO WORDS=x y", "ä=ö"]
    bundle.args("cat", "/proc/self/environ")
    found = runtime.ok("run", "-b", bundle.save(), new_id()).split("\0")
    assert found == [*bundle.process["env"], ""]


def test_cwd(inside: Inside, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/usr/bin"
    assert inside("pwd; readlink /proc/self/cwd").split() == ["/usr/bin", "/usr/bin"]


def test_cwd_may_be_in_a_mount(inside: Inside, bundle: Bundle, workdir: Path) -> None:
    (workdir / "data" / "deep").mkdir(parents=True)
    (workdir / "data" / "deep" / "file").touch()
    bundle.mount("/mnt", "bind", str(workdir / "data"), "bind")
    bundle.process["cwd"] = "/mnt/deep"
    assert inside("pwd; ls").split() == ["/mnt/deep", "file"]


class TestUser:
    def test_user_and_group(self, inside: Inside, bundle: Bundle) -> None:
        bundle.process["user"] = {"uid": 1000, "gid": 1001}
        status = status_of(inside("cat /proc/self/status"))
        assert (status["Uid"], status["Gid"]) == ("1000 1000 1000 1000", "1001 1001 1001 1001")
        assert status["Groups"] == ""

    def test_additional_groups(self, inside: Inside, bundle: Bundle) -> None:
        bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5, 2000, 70000]}
        assert status_of(inside("cat /proc/self/status"))["Groups"] == "5 2000 70000"

    def test_a_group_that_is_named_twice_counts_once(self, inside: Inside, bundle: Bundle) -> None:
        bundle.process["user"] = {"uid": 0, "gid": 6, "additionalGids": [17, 9, 17, 6, 9]}
        assert inside("grep Groups /proc/self/status").split() == ["Groups:", "6", "9", "17"]

    def test_no_group_of_the_caller_stays(self, inside: Inside) -> None:
        assert status_of(inside("cat /proc/self/status"))["Groups"] in ("", "0")

    @pytest.mark.parametrize("umask, text", [(0o27, "0027"), (0, "0000"), (0o777, "0777")])
    def test_umask(self, inside: Inside, bundle: Bundle, umask: int, text: str) -> None:
        bundle.process["user"]["umask"] = umask
        assert inside("umask") == text

    def test_umask_defaults_to_022(self, inside: Inside) -> None:
        assert inside("umask") == "0022"


class TestCapabilities:
    def test_all_five_sets(self, inside: Inside, bundle: Bundle) -> None:
        bundle.process["user"] = {"uid": 1000, "gid": 1000}
        bundle.capabilities(
            bounding=["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"],
            permitted=["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            effective=["CAP_CHOWN"],
            inheritable=["CAP_KILL", "CAP_NET_RAW"],
            ambient=["CAP_NET_RAW"],
        )
        status = status_of(inside("cat /proc/self/status"))
        # What execve makes of them for a user who is not root, capabilities(7): permitted and effective become ambient.
        assert status["CapBnd"] == mask("CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE")
        assert status["CapInh"] == mask("CAP_KILL", "CAP_NET_RAW")
        assert status["CapAmb"] == status["CapPrm"] == status["CapEff"] == mask("CAP_NET_RAW")

    def test_root_gets_what_is_bounding(self, inside: Inside, bundle: Bundle) -> None:
        names = ["CAP_CHOWN", "CAP_KILL"]
        bundle.capabilities(bounding=names, permitted=names, effective=names)
        status = status_of(inside("cat /proc/self/status"))
        assert status["CapBnd"] == status["CapPrm"] == status["CapEff"] == mask(*names)
        assert status["CapInh"] == status["CapAmb"] == mask()

    def test_none_given_means_none(self, inside: Inside, bundle: Bundle) -> None:
        bundle.capabilities()
        status = status_of(inside("cat /proc/self/status"))
        assert {status[name] for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")} == {mask()}

    def test_effect(self, inside: Inside, bundle: Bundle) -> None:
        bundle.config["root"]["readonly"] = False
        bundle.capabilities(bounding=["CAP_KILL"], permitted=["CAP_KILL"], effective=["CAP_KILL"])
        assert inside("touch /tmp/f; chown 5 /tmp/f 2>/dev/null; echo $?") == "1"

    def test_a_capability_the_host_cannot_give_is_left_out(self, runtime: Runtime, bundle: Bundle) -> None:
        held = int(host_status(1)["CapBnd"], 16) & int(status_of(Path("/proc/self/status").read_text())["CapPrm"], 16)
        names = ["CAP_CHOWN", "CAP_SYS_RESOURCE"]
        bundle.capabilities(bounding=names, permitted=names, effective=names)
        bundle.args("cat", "/proc/self/status")
        result = runtime.run("run", "-b", bundle.save(), new_id())
        assert result.status == 0, result
        given = int(status_of(result.stdout)["CapEff"], 16)
        assert given == held & (1 << 0 | 1 << 24), "CAP_CHOWN, and CAP_SYS_RESOURCE where the host has it"


class TestLimits:
    def test_rlimits(self, inside: Inside, bundle: Bundle) -> None:
        bundle.process["rlimits"] = [
            {"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
            {"type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": (1 << 64) - 1},
            {"type": "RLIMIT_CPU", "soft": 100, "hard": 200},
        ]
        found = {line[:25].strip(): line[25:].split()[:2] for line in inside("cat /proc/self/limits").splitlines()}
        assert found["Max open files"] == ["512", "1024"]
        assert found["Max core file size"] == ["0", "4096"]
        assert found["Max file size"] == ["1048576", "unlimited"]
        assert found["Max cpu time"] == ["100", "200"]

    def test_oom_score_adj(self, inside: Inside, bundle: Bundle) -> None:
        bundle.process["oomScoreAdj"] = 321
        assert inside("cat /proc/self/oom_score_adj") == "321"

    def test_oom_score_adj_is_the_callers_when_none_is_given(self, inside: Inside) -> None:
        assert inside("cat /proc/self/oom_score_adj") == Path("/proc/self/oom_score_adj").read_text().strip()


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(inside: Inside, bundle: Bundle, wanted: bool) -> None:
    bundle.process["noNewPrivileges"] = wanted
    assert status_of(inside("cat /proc/self/status"))["NoNewPrivs"] == str(int(wanted))


class TestSeccomp:
    def test_mode(self, inside: Inside, bundle: Bundle) -> None:
        assert status_of(inside("cat /proc/self/status"))["Seccomp"] == "0"
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refuse("reboot")]}
        assert status_of(inside("cat /proc/self/status"))["Seccomp"] == "2"

    @pytest.mark.parametrize("errno, words", [(None, "Operation not permitted"), (38, "Function not implemented")])
    def test_refused_call(self, inside: Inside, bundle: Bundle, errno: int | None, words: str) -> None:
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refuse("mkdir", "mkdirat")]}
        if errno is not None:
            bundle.linux["seccomp"]["syscalls"][0]["errnoRet"] = errno
        assert words in inside("mkdir /tmp/x 2>&1; echo fine > /tmp/y; cat /tmp/y")

    def test_rule_with_an_argument(self, inside: Inside, bundle: Bundle) -> None:
        rule = refuse("kill")
        rule["args"] = [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        assert inside("kill -USR1 $$ 2>/dev/null; echo $?; kill -0 $$; echo $?").split() == ["1", "0"]

    def test_filter_of_what_a_program_needs(self, inside: Inside, bundle: Bundle) -> None:
        """Set-up after the filter is loaded would need calls that this list does not allow."""
        bundle.linux["seccomp"] = allow_only(*PROGRAM_CALLS)
        assert inside("echo fine") == "fine"

    def test_filter_without_no_new_privileges(self, inside: Inside, bundle: Bundle) -> None:
        """The kernel then wants CAP_SYS_ADMIN to load it, which the program does not get."""
        bundle.process["noNewPrivileges"] = False
        bundle.linux["seccomp"] = allow_only(*PROGRAM_CALLS, *CREDENTIAL_CALLS)
        assert (
            inside("mkdir /tmp/x 2>&1; echo fine")
            == "mkdir: can't create directory '/tmp/x': Operation not permitted\nfine"
        )

    def test_kill_process(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}],
        }
        bundle.args("mkdir", "/tmp/x")
        assert runtime.run("run", "-b", bundle.save(), new_id()).status == 159, "128 + SIGSYS"

    def test_unknown_calls_are_ignored(self, inside: Inside, bundle: Bundle) -> None:
        rules = [refuse("no_such_call"), refuse("mkdir", "mkdirat")]
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
        assert inside("mkdir /tmp/x 2>/dev/null; echo $?") == "1"


PROGRAM_CALLS = [
    "access", "arch_prctl", "brk", "clone", "close", "dup2", "dup3", "execve", "exit", "exit_group", "fcntl", "fstat",
    "futex", "getcwd", "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom", "getuid", "ioctl", "lseek",
    "lstat", "mmap", "mprotect", "munmap", "newfstatat", "open", "openat", "poll", "prctl", "prlimit64", "read",
    "readlink", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_yield", "set_robust_list",
    "set_tid_address", "stat", "statx", "uname", "vfork", "wait4", "write", "writev",
]  # fmt: skip


CREDENTIAL_CALLS = [
    "capget", "capset", "chdir", "close_range", "epoll_ctl", "epoll_pwait", "fchdir", "fstatfs", "getppid", "setgid",
    "setgroups", "setresgid", "setresuid", "setuid", "sigaltstack", "statfs", "tgkill", "umask",
]  # fmt: skip


def allow_only(*names: str) -> dict[str, object]:
    """Return a seccomp profile that lets every call fail but these."""
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": list(names), "action": "SCMP_ACT_ALLOW"}]}


def refuse(*names: str) -> dict[str, object]:
    """Return a seccomp rule that lets calls fail."""
    return {"names": list(names), "action": "SCMP_ACT_ERRNO"}


def test_signals_are_reset(container: Make, bundle: Bundle) -> None:
    """Nothing that the runtime ignores or blocks for itself is passed on to the program."""
    bundle.args("sleep", "100")
    box = container()
    wait_for(lambda: Path(f"/proc/{box.pid}/comm").read_text() == "sleep\n", "the program runs")
    status = host_status(box.pid)
    assert int(status["SigBlk"], 16) == 0
    assert int(status["SigIgn"], 16) == 0


def test_no_descriptor_of_the_runtime_is_passed_on(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("ls", "/proc/self/fd")
    assert runtime.ok("run", "-b", bundle.save(), new_id()).split() == ["0", "1", "2", "3"], "3 is ls's own"
