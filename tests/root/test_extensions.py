"""crun's annotations that engines and people use. Source: crun(1), "Extensions to OCI"."""

import array
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import session
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.runtime import Runtime, new_id, says

ROOT = Path(session.CGROUP_ROOT)


def annotate(bundle: Bundle, **values: str) -> None:
    dict_of(bundle.config, "annotations").update({f"run.oci.{name}": value for name, value in values.items()})


class TestDelegateCgroup:
    """Init is in a cgroup below the container's own, which has the limits; the namespace's root is the latter."""

    @pytest.mark.parametrize("name", ["payload", "a/b", "a-b.c:d"])
    def test_life(self, container: Make, bundle: Bundle, name: str) -> None:
        annotate(bundle, **{"delegate-cgroup": name})
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-delegates"
        box = container()
        own = ROOT / f"{session.TOKEN}-delegates"
        assert (own / name / "cgroup.procs").read_text().split()[0] == str(box.pid)
        assert (own / "cgroup.procs").read_text() == ""
        assert box.sh("grep -h ^0: /proc/1/cgroup /proc/self/cgroup") == f"0::/{name}\n0::/{name}"
        box.runtime.ok("pause", box.id)
        assert (own / "cgroup.freeze").read_text() == "1\n"
        box.runtime.ok("resume", box.id)
        assert str(box.pid) in box.runtime.ok("ps", box.id)
        box.delete("--force")
        assert not own.exists()

    def test_the_owner(self, container: Make, bundle: Bundle) -> None:
        annotate(bundle, **{"delegate-cgroup": "payload"})
        bundle.linux["cgroupsPath"] = f"/{session.TOKEN}-owned"
        bundle.process["user"] = {"uid": 1000, "gid": 1000}
        bundle.mounts[:] = [mount for mount in bundle.mounts if mount["destination"] != "/sys/fs/cgroup"]
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw")
        box = container()
        assert (ROOT / f"{session.TOKEN}-owned/payload").stat().st_uid == 1000
        assert box.sh("mkdir /sys/fs/cgroup/payload/mine && echo made") == "made"

    @pytest.mark.parametrize("name", ["..", "a/../..", "/a", "a//b", ".", "a/", "../x", "a\nb"])
    def test_out_of_the_containers_own(self, runtime: Runtime, bundle: Bundle, name: str) -> None:
        annotate(bundle, **{"delegate-cgroup": name})
        error = runtime.fails("create", "-b", bundle.save(), new_id())
        says(error, "is not a cgroup below the container's own [config.json#/annotations/run.oci.delegate-cgroup]")
        assert runtime.ids() == []

    def test_a_name_that_is_a_file(self, runtime: Runtime, bundle: Bundle) -> None:
        annotate(bundle, **{"delegate-cgroup": "cgroup.procs"})
        says(
            runtime.fails("create", "-b", bundle.save(), new_id()), "cgroup.procs", "run.oci.delegate-cgroup", "ENOTDIR"
        )
        assert runtime.ids() == []

    def test_none(self, container: Make, bundle: Bundle) -> None:
        annotate(bundle, **{"delegate-cgroup": "", "systemd.subgroup": "x"})
        assert container().sh("grep ^0: /proc/self/cgroup") == "0::/", "and the other one is for systemd's driver"


class Receiver:
    """Listens on a socket; takes one message with one descriptor of each that connects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(10)

    def close(self) -> None:
        self._socket.close()

    def take(self) -> tuple[bytes, int]:
        """Return the text of a message and the descriptor."""
        with self._socket.accept()[0] as connection:
            text, control, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
        return text, array.array("i", control[0][2][:4])[0]

    def container_id(self) -> str:
        """Take the message of a seccomp listener; return whose it is. Who is asked no more answers ENOSYS."""
        text, fd = self.take()
        os.close(fd)
        return str(json.loads(text)["state"]["id"])


class TestReceivers:
    @pytest.fixture
    def agent(self, workdir: Path) -> Iterator[Receiver]:
        found = Receiver(workdir / "agent")
        yield found
        found.close()

    def profile(self, bundle: Bundle) -> None:
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        }

    def test_of_seccomp(self, container: Make, bundle: Bundle, agent: Receiver) -> None:
        """Of init, and of what `exec` adds."""
        self.profile(bundle)
        annotate(bundle, **{"seccomp.receiver": str(agent.path)})
        box = container()
        assert agent.container_id() == box.id
        assert box.sh("echo ran") == "ran"
        assert agent.container_id() == box.id
        box.delete("--force")

    def test_the_specs_property_wins(self, container: Make, bundle: Bundle, agent: Receiver) -> None:
        self.profile(bundle)
        bundle.linux["seccomp"]["listenerPath"] = str(agent.path)
        annotate(bundle, **{"seccomp.receiver": "/nowhere"})
        box = container()
        assert agent.container_id() == box.id
        box.delete("--force")

    @pytest.mark.parametrize("name", ["seccomp.receiver", "pidfd_receiver"])
    def test_a_relative_path(self, runtime: Runtime, bundle: Bundle, name: str) -> None:
        if name == "seccomp.receiver":
            self.profile(bundle)
        annotate(bundle, **{name: "agent"})
        says(runtime.fails("create", "-b", bundle.save(), new_id()), "absolute path", f"/annotations/run.oci.{name}")

    def test_of_the_pidfd(self, container: Make, bundle: Bundle, agent: Receiver) -> None:
        annotate(bundle, pidfd_receiver=str(agent.path))
        box = container()
        _, fd = agent.take()
        assert f"Pid:\t{box.pid}\n" in Path(f"/proc/self/fdinfo/{fd}").read_text()
        os.close(fd)

    def test_nobody_there(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        annotate(bundle, pidfd_receiver=f"{workdir}/nobody")
        error = runtime.fails("create", "-b", bundle.save(), new_id())
        says(error, f"{workdir}/nobody", "(ENOENT)", "[config.json#/annotations/run.oci.pidfd_receiver]")
        assert runtime.ids() == []


class TestOutputOfHooks:
    HOST = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")

    def hooks(self, bundle: Bundle, script: str) -> None:
        hooks = dict_of(bundle.config, "hooks")
        for point in (*self.HOST, "startContainer"):
            hooks[point] = [{"path": "/bin/sh", "args": ["sh", "-c", script.replace("POINT", point)]}]

    @pytest.mark.parametrize("names", [["stdout"], ["stderr"], ["stdout", "stderr"]], ids="-".join)
    def test_files(self, container: Make, bundle: Bundle, workdir: Path, names: list[str]) -> None:
        """Appended to by each hook that is the host's; the container's own gets no file of the host."""
        files = {name: workdir / f"hooks.{name}" for name in names}
        annotate(bundle, **{f"hooks.{name}": str(file) for name, file in files.items()})
        self.hooks(bundle, "echo POINT; echo POINT >&2")
        next(iter(files.values())).write_text("before\n")
        box = container()
        assert not [fd for fd in Path(f"/proc/{box.pid}/fd").iterdir() if "hooks." in os.readlink(fd)]
        box.delete("--force")
        for number, file in enumerate(files.values()):
            assert file.read_text().split() == ([] if number else ["before"]) + list(self.HOST)
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in list(files.values())[1:])

    def test_one_file_for_both(self, container: Make, bundle: Bundle, workdir: Path) -> None:
        file = workdir / "both"
        annotate(bundle, **{"hooks.stdout": str(file), "hooks.stderr": str(file)})
        self.hooks(bundle, "echo POINT; echo error >&2")
        container().delete("--force")
        assert file.read_text().split() == [word for point in self.HOST for word in (point, "error")]

    def test_what_is_not_in_a_file_is_in_the_error(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        annotate(bundle, **{"hooks.stdout": f"{workdir}/out"})
        dict_of(bundle.config, "hooks")["createRuntime"] = [
            {"path": "/bin/sh", "args": ["sh", "-c", "echo said; echo complained >&2; exit 3"]}
        ]
        error = runtime.fails("create", "-b", bundle.save(), new_id())
        says(error, "exit status 3, output: complained", "/hooks/createRuntime/0")
        assert (workdir / "out").read_text() == "said\n"

    @pytest.mark.parametrize("name", ["stdout", "stderr"])
    def test_a_file_that_can_not_be_had(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        """create fails; a delete has a warning, and its hooks run."""
        self.hooks(bundle, f"echo POINT >> {workdir}/ran")
        (workdir / "link").symlink_to(workdir / "elsewhere")
        for path, words in (
            (f"{workdir}/none/out", "(ENOENT)"), (f"{workdir}/link", "(ELOOP)"), ("out", "not an absolute path"),
        ):  # fmt: skip
            annotate(bundle, **{f"hooks.{name}": path})
            done = runtime.run("create", "-b", bundle.save(), new_id())
            assert done.status == 1
            says(done.stderr.splitlines()[-1], words, f"[config.json#/annotations/run.oci.hooks.{name}]")
        assert not (workdir / "elsewhere").exists()
        assert runtime.ids() == []

    def test_a_file_that_is_gone_at_the_end(self, container: Make, bundle: Bundle, workdir: Path) -> None:
        (workdir / "logs").mkdir()
        annotate(bundle, **{"hooks.stdout": f"{workdir}/logs/out"})
        self.hooks(bundle, f"echo POINT >> {workdir}/ran")
        del dict_of(bundle.config, "hooks")["startContainer"]
        box = container()
        (workdir / "logs/out").unlink()
        (workdir / "logs").rmdir()
        done = box.runtime.run("delete", "--force", box.id)
        assert done.status == 0 and "logs/out" in done.stderr and "warning" in done.stderr
        assert (workdir / "ran").read_text().split()[-1] == "poststop"


class TestUnknownCalls:
    def test_one(self, runtime: Runtime, bundle: Bundle) -> None:
        """A call that libseccomp does not know is passed over without the annotation, and with it an error."""
        rule = {"names": ["getpid", "no_such_call"], "action": "SCMP_ACT_ERRNO"}
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        bundle.args("true")
        for value in (None, "0"):
            if value is not None:
                annotate(bundle, seccomp_fail_unknown_syscall=value)
            runtime.ok("run", "-b", bundle.save(), new_id())
        annotate(bundle, seccomp_fail_unknown_syscall="1")
        error = runtime.fails("run", "-b", bundle.save(), new_id())
        says(error, "no_such_call", "[config.json#/linux/seccomp]", "run.oci.seccomp_fail_unknown_syscall")
        rule["names"] = ["getpid"]
        runtime.ok("run", "-b", bundle.save(), new_id())


def test_features_name_them(runtime: Runtime) -> None:
    found = json.loads(runtime.ok("features"))["potentiallyUnsafeConfigAnnotations"]
    assert {
        "org.systemd.property.",
        "run.oci.delegate-cgroup",
        "run.oci.systemd.subgroup",
        "run.oci.seccomp.receiver",
        "run.oci.pidfd_receiver",
        "run.oci.seccomp_fail_unknown_syscall",
        "run.oci.hooks.stdout",
        "run.oci.hooks.stderr",
    } <= set(found)
