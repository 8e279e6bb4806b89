"""A namespace that is joined by a path may be the caller's own: then it is shared, and nothing in it may be changed.

The caller of these tests has uts, ipc and network namespaces of its own (support.session): they are "the host's" here.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import session
from support.apart import apart, call_in_python, refusal
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, namespace, new_id, says

from pyruntime import kernel

LINKS = {"network": "net", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup", "pid": "pid", "user": "user"}


@pytest.fixture(params=["proc", "link", "bound"])
def own(request: pytest.FixtureRequest, workdir: Path) -> Iterator[Callable[[str], str]]:
    """A function that returns a path of the caller's own namespace: below /proc, by a link, or bound to a file."""
    bound: list[Path] = []

    def path(link: str) -> str:
        place = workdir / f"ns-{link}"
        if request.param == "link":
            place.symlink_to(f"/proc/self/ns/{link}")
        elif request.param == "bound":
            place.touch()
            session.mount(f"/proc/self/ns/{link}", str(place), "", 0x1000)
            bound.append(place)
        else:
            return f"/proc/self/ns/{link}"
        return str(place)

    yield path
    for place in bound:
        session.umount(str(place), session.MNT_DETACH)


def asks(bundle: Bundle, key: str, value: Any) -> None:
    place = bundle.config if key in ("hostname", "domainname") else bundle.linux
    place[key] = value


SYSCTLS = [("net/ipv4/ip_default_ttl", "77"), ("kernel/msgmax", "7777"), ("user/max_inotify_watches", "77")]
KINDS = {"net": "network", "kernel": "ipc", "user": "user"}


@pytest.mark.parametrize("file, value", SYSCTLS)
def test_sysctl(runtime: Runtime, bundle: Bundle, own: Callable[[str], str], file: str, value: str) -> None:
    kind = KINDS[file.partition("/")[0]]
    bundle.namespaces(**{kind: own(LINKS[kind])})
    name = file.replace("/", ".")
    bundle.linux["sysctl"] = {name: value}
    setting = Path("/proc/sys", file)
    before = setting.read_text()
    try:
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        assert setting.read_text() == before
    finally:
        with suppress(PermissionError):  # user/* takes CAP_SYS_RESOURCE; who lacks it can't have changed it either
            setting.write_text(before)
    says(error, f'"{name}" needs a namespace of type {kind}, or it would change the host', f"/linux/sysctl/{name}")


@pytest.mark.parametrize("key", ["hostname", "domainname", "sysctl"])
def test_names(runtime: Runtime, bundle: Bundle, own: Callable[[str], str], key: str) -> None:
    bundle.namespaces(uts=own("uts"))
    del bundle.config["hostname"]
    asks(bundle, key, {"kernel.domainname": "of.the.container"} if key == "sysctl" else "of.the.container")
    domain = Path("/proc/sys/kernel/domainname")
    before = os.uname().nodename, domain.read_text()
    error = runtime.fails("create", "--bundle", bundle.save(), new_id())
    assert (os.uname().nodename, domain.read_text()) == before
    if key == "sysctl":
        says(error, '"kernel.domainname" needs a namespace of type uts', "/linux/sysctl/kernel.domainname")
    else:
        says(error, f'{key} "of.the.container" needs a uts namespace', f"config.json#/{key}")


ASKED: list[tuple[str, str, Any, str]] = [
    ("time", "timeOffsets", {"monotonic": {"secs": 7}}, "timeOffsets needs a new time namespace"),
    ("network", "netDevices", {"lo": {"name": "mine"}}, "netDevices needs a network namespace"),
    ("user", "uidMappings", [{"containerID": 0, "hostID": 5, "size": 9}], "uidMappings needs a user namespace"),
]


@pytest.mark.parametrize("kind, key, value, words", ASKED, ids=[each[1] for each in ASKED])
def test_what_else_needs_a_namespace(
    runtime: Runtime, bundle: Bundle, kind: str, key: str, value: Any, words: str
) -> None:
    bundle.namespaces(**{kind: f"/proc/self/ns/{LINKS.get(kind, kind)}"})
    asks(bundle, key, value)
    says(runtime.fails("create", "--bundle", bundle.save(), new_id()), words, f"/linux/{key}")


def test_idmap_by_the_hosts_user_namespace(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    bundle.namespaces(user="/proc/self/ns/user")
    bundle.mount("/mnt", "bind", str(workdir), "bind", "idmap")
    at = len(bundle.mounts) - 1
    error = runtime.fails("create", "--bundle", bundle.save(), new_id())
    says(error, '"idmap" without uidMappings and gidMappings needs a user namespace', f"/mounts/{at}/options/1")


class TestProcess1:
    """The machine's first process has the host's namespaces, also where the runtime itself has others.

    Process 1 is one of the session here, in a pid namespace for the test; what it has are the session's namespaces.
    """

    def beside(self, workdir: Path, kind: str, *command: str) -> tuple[int, str]:
        """Run a command with a namespace of its own, in which process 1 is not."""
        return apart(workdir, "unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh",
                     "unshare", f"--{LINKS[kind]}", *command)  # fmt: skip

    @pytest.mark.parametrize("kind", ["network", "ipc", "uts"])
    def test_sysctl(self, runtime: Runtime, bundle: Bundle, workdir: Path, kind: str) -> None:
        file, value = {
            "network": ("net/ipv4/ip_default_ttl", "77"),
            "ipc": ("kernel/msgmax", "7777"),
            "uts": ("kernel/domainname", "of.the.container"),
        }[kind]
        name, setting = file.replace("/", "."), Path("/proc/sys", file)
        before = setting.read_text()
        bundle.namespaces(**{kind: f"/proc/1/ns/{LINKS[kind]}"})
        bundle.config.pop("hostname")
        bundle.linux["sysctl"] = {name: value}
        try:
            status, said = self.beside(workdir, kind, *runtime.command("create", "--bundle", bundle.save(), new_id()))
            assert setting.read_text() == before
        finally:
            setting.write_text(before)
        assert status == 1, said
        says(said, f'"{name}" needs a namespace of type {kind}, or it would change the host', f"/linux/sysctl/{name}")

    def test_it_is_joined_where_nothing_is_asked_of_it(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        bundle.namespaces(uts="/proc/1/ns/uts")
        bundle.config.pop("hostname")
        bundle.sh("readlink /proc/self/ns/uts")
        found = self.beside(workdir, "uts", *runtime.command("run", "--bundle", bundle.save(), new_id()))
        assert found == (0, f"{namespace('self', 'uts')}\n")

    def test_its_cgroup_namespace(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        bundle.namespaces(cgroup="/proc/1/ns/cgroup")
        (mount,) = (mount for mount in bundle.mounts if mount["type"] == "cgroup")
        mount["options"] = ["rw"]
        bundle.sh("mkdir /sys/fs/cgroup/new 2>&1; rmdir /sys/fs/cgroup/new 2>/dev/null; true")
        status, said = self.beside(workdir, "cgroup", *runtime.command("run", "--bundle", bundle.save(), new_id()))
        assert status == 0 and "Read-only file system" in said, said

    def test_its_mount_namespace(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """Only planned: carried out, everything in that namespace would get the container's root."""
        bundle.namespaces(mount="/proc/1/ns/mnt")
        for key in ("maskedPaths", "readonlyPaths"):
            del bundle.linux[key]
        script = ["unshare", "--mount", *runtime.command("explain", "--bundle", bundle.save())]
        status, said = self.beside(workdir, "uts", *script)
        assert status == 1, said
        says(said, "the mount namespace of process 1 can't be joined", "/linux/namespaces/1/path")

    def test_it_is_seen_when_it_is_opened(self, workdir: Path) -> None:
        program = call_in_python("open_namespace", "'/proc/1/ns/uts', 'uts'")
        status, said = self.beside(workdir, "uts", sys.executable, "-I", "-c", program)
        assert status == 0 and said.startswith("/proc/1/ns/uts has become the host's own uts namespace"), said


@pytest.mark.parametrize("kind", LINKS)
def test_a_shared_namespace_works(container: Make, bundle: Bundle, own: Callable[[str], str], kind: str) -> None:
    link = LINKS[kind]
    bundle.namespaces(**{kind: own(link)})
    if kind == "uts":
        del bundle.config["hostname"]
    box = container()
    assert namespace(box.pid, link) == namespace("self", link)
    assert box.sh(f"readlink /proc/self/ns/{link}") == namespace("self", link)


def test_the_cgroups_of_the_host_are_read_only(runtime: Runtime, bundle: Bundle) -> None:
    """In the host's cgroup namespace a mount of cgroups shows those of all."""
    bundle.namespaces(cgroup="/proc/self/ns/cgroup")
    (mount,) = (mount for mount in bundle.mounts if mount["type"] == "cgroup")
    mount["options"] = ["rw"]
    bundle.sh("mkdir /sys/fs/cgroup/new 2>&1; rmdir /sys/fs/cgroup/new 2>/dev/null; true")
    done = runtime.run("run", "-b", bundle.save(), new_id())
    assert "Read-only file system" in done.stdout
    assert "warning: the host's cgroups are mounted read-only" in done.stderr


def test_masks_in_the_hosts_mount_namespace(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    bundle.namespaces(mount="/proc/self/ns/mnt")
    status, said = apart(workdir, *runtime.command("create", "--bundle", bundle.save(), new_id()))
    assert status == 1, said
    says(said, "maskedPaths needs a mount namespace", "/linux/maskedPaths")


def test_exec_where_the_mount_namespace_is_shared(runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
    """A setns to the mount namespace that one is in already leads back to the host's root."""
    bundle.namespaces(mount="/proc/self/ns/mnt")
    for key in ("maskedPaths", "readonlyPaths"):
        del bundle.linux[key]
    bundle.config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    bundle.config["root"]["readonly"] = False
    bundle.args("sleep", "1000")
    name, call = new_id(), " ".join(runtime.command())
    script = (
        f"set -e; {call} create --bundle {bundle.save()} {name} >/dev/null; {call} start {name}; "
        f"{call} exec {name} cat /etc/made-from > /dev/null && echo inside; {call} delete --force {name}; "
        "ls -d /proc/self/ns"
    )
    assert apart(workdir, "sh", "-c", script) == (0, "inside\n/proc/self/ns\n")


class TestOpening:
    """What is joined is what was compared."""

    def test_the_hosts(self) -> None:
        assert "has become the host's own net namespace" in refusal(kernel.open_namespace, "/proc/self/ns/net", "net")

    def test_anothers(self, container: Make) -> None:
        box = container()
        fd = kernel.open_namespace(f"/proc/{box.pid}/ns/net", "net")
        assert f"net:[{os.fstat(fd).st_ino}]" == namespace(box.pid, "net")
        os.close(fd)


def test_explain_needs_no_privilege(runtime: Runtime, bundle: Bundle) -> None:
    """What can't be looked at is taken for another's; create looks again."""
    bundle.namespaces(network="/proc/1/ns/net")
    bundle.path.chmod(0o755)
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*user, *runtime.command("explain", "-b", bundle.save())], capture_output=True, text=True)
    assert done.returncode == 0, done
    assert 'open_namespace("/proc/1/ns/net", "net") = <ns_network>' in done.stdout
