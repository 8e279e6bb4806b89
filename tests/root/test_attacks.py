"""Attacks that happened to container runtimes; each test fails without the defence that its name's CVE asked for."""

import shutil
from pathlib import Path

import pytest
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import Runtime, new_id, wait_for
from support.terminal import console_socket


class TestLinksOfTheImage:
    def outside(self, workdir: Path) -> Path:
        path = workdir / "outside"
        path.mkdir()
        return path

    def replace(self, bundle: Bundle, name: str, target: str) -> None:
        place = bundle.rootfs / name
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)
        place.symlink_to(target)

    @pytest.mark.parametrize("name", ["proc", "sys"])
    def test_proc_and_sys(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        """CVE-2019-19921, CVE-2023-28642."""
        outside = self.outside(workdir)
        self.replace(bundle, name, str(outside))
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        assert f"/{name}" in error
        assert list(outside.iterdir()) == []

    def test_dev(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """CVE-2026-41579: nodes are made where the link leads."""
        outside = self.outside(workdir)
        self.replace(bundle, "dev", str(outside))
        bundle.config["mounts"] = [m for m in bundle.mounts if not m["destination"].startswith("/dev")]
        bundle.config["root"]["readonly"] = False
        runtime.run("create", "--bundle", bundle.save(), new_id())
        assert list(outside.iterdir()) == []

    def test_console(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """CVE-2025-52565: the terminal is mounted where /dev/console leads."""
        bundle.process["terminal"] = True
        bundle.config["mounts"] = [
            m for m in bundle.mounts if m["destination"] not in ("/dev", "/dev/shm", "/dev/mqueue")
        ]
        bundle.config["root"]["readonly"] = False
        self.replace(bundle, "dev/console", "/proc/sysrq-trigger")
        with console_socket(workdir) as console:
            error = runtime.fails("create", "--bundle", bundle.save(), "--console-socket", console.path, new_id())
        assert "/dev/console" in error

    def test_masked_path_behind_a_false_null(self, inside: Inside, bundle: Bundle) -> None:
        """CVE-2025-31133: masking by a container's /dev/null that is a link to another file."""
        dev = bundle.path / "dev"
        dev.mkdir()
        (dev / "null").symlink_to("/proc/sys/kernel/hostname")
        bundle.config["mounts"] = [m for m in bundle.mounts if not m["destination"].startswith("/dev")]
        bundle.mount("/dev", "bind", str(dev), "rbind")
        assert inside("cat /proc/keys; echo $?") == "0"


class TestProc:
    @pytest.mark.parametrize("where", ["/proc", "/proc/self/attr", "/proc/sys/net", "/proc/../proc/1"])
    def test_nothing_covers_proc(self, runtime: Runtime, bundle: Bundle, where: str) -> None:
        """CVE-2019-16884, CVE-2025-52881."""
        bundle.mount(where, "tmpfs", "tmpfs")
        assert "/proc" in runtime.fails("create", "--bundle", bundle.save(), new_id())

    def test_a_bind_on_proc_is_procfs(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        bundle.config["mounts"] = [m for m in bundle.mounts if m["destination"] != "/proc"]
        bundle.mount("/proc", "bind", str(workdir), "rbind")
        assert "procfs" in runtime.fails("create", "--bundle", bundle.save(), new_id())


class TestJoining:
    """CVE-2016-9962: a process of the container looks into the one that joins it."""

    # What is found counts only if the process was still the runtime's afterwards: its program may be looked at.
    LOOK = (
        "still() { read name 2>/dev/null < $p/comm && case $name in pyruntime*) true;; *) false;; esac; }; "
        "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; still || continue; echo met >> /tmp/met; "
        "(: < $p/mem) 2>/dev/null && still && echo $p mem >> /tmp/seen; "
        "for f in 3 4 5 6 7 8; do l=$(readlink $p/fd/$f) 2>/dev/null && still && echo $p $l >> /tmp/seen; done; "
        "done; done"
    )

    def test_nobody_reads_the_joining_process(self, container: Make, bundle: Bundle) -> None:
        bundle.sh(self.LOOK)
        box = container()
        for _ in range(200):
            box.exec("--", "true")
        wait_for(
            lambda: box.exec("--", "true").status == 0 and box.exec("--", "cat", "/tmp/met").stdout != "",
            "the joining process is met at least once",
        )
        assert box.exec("--", "sh", "-c", "cat /tmp/seen 2>/dev/null; true").stdout == ""

    def test_with_ptrace_there_is_nothing_of_the_host_to_reach(self, container: Make, bundle: Bundle) -> None:
        """CAP_SYS_PTRACE may look; what it finds once the process has joined are no files of the host."""
        caps = [*bundle.process["capabilities"]["bounding"], "CAP_SYS_PTRACE"]
        bundle.capabilities(bounding=caps, effective=caps, permitted=caps)
        show = "sleep 0.2; for p in /proc/[0-9]*; do ls -l $p/fd 2>/dev/null; done"
        box = container()
        text = box.exec("--", "sh", "-c", show).stdout
        assert "/proc" in text or "pipe" in text or "null" in text
        assert str(box.runtime.root) not in text
        assert "/sys/fs/cgroup" not in text


class TestCapabilities:
    def test_exec_adds_no_inheritable_capability(self, container: Make) -> None:
        """CVE-2022-29162."""
        box = container()
        for options in ([], ["--cap", "CAP_SYS_PTRACE"]):
            result = box.exec(*options, "--", "grep", "CapInh", "/proc/self/status")
            assert result.stdout.split()[1] == "0000000000000000"

    @pytest.mark.parametrize(
        "user", [":", "-1", "", "4294967296", "4294967295", "root", "1:", "1:x", " 1", "1:2:3", "0x0"]
    )
    def test_exec_user_is_strict(self, container: Make, user: str) -> None:
        """crun CVE-2026-30892: a user that is parsed wrongly runs as root."""
        box = container()
        result = box.exec("--user", user, "--", "id", "-u")
        assert result.status == 255
        assert len(result.stderr.splitlines()) == 1

    @pytest.mark.parametrize(("user", "shown"), [("1", "1 0"), ("1:2", "1 2"), ("0", "0 0")])
    def test_exec_user(self, container: Make, user: str, shown: str) -> None:
        box = container()
        assert box.exec("--user", user, "--", "sh", "-c", "echo $(id -u) $(id -g)").stdout.strip() == shown


class TestDevices:
    @pytest.mark.parametrize("rules", [None, [], [{"allow": False, "access": "rwm"}]])
    def test_a_made_up_device_can_not_be_opened(self, inside: Inside, bundle: Bundle, rules: object) -> None:
        bundle.linux["resources"] = {} if rules is None else {"devices": rules}
        text = inside(
            "mknod /dev/disk b 253 0 && dd if=/dev/disk of=/dev/null count=1 2>&1 | tail -1; cat /dev/null; echo $?"
        )
        assert "Operation not permitted" in text
        assert text.endswith("0")


class TestLongMessages:
    """CVE-2021-43784: a length that overflows between the runtime's processes."""

    def test_environment(self, inside: Inside, bundle: Bundle) -> None:
        bundle.process["env"] = ["PATH=/bin:/usr/bin", *(f"V{number}={'x' * 1000}" for number in range(1000))]
        assert inside("env | grep -c ^V") == "1000"

    def test_arguments(self, runtime: Runtime, bundle: Bundle) -> None:
        words = [str(number) * 100 for number in range(1000)]
        bundle.args("sh", "-c", 'echo $# "${#1}"; echo "$*" | wc -c', *words)
        shown = runtime.ok("run", "--bundle", bundle.save(), new_id()).split()
        assert shown == ["999", "100", str(len(" ".join(words[1:])) + 1)]

    def test_mounts(self, inside: Inside, bundle: Bundle) -> None:
        for number in range(300):
            bundle.mount(f"/mnt/{'d' * 200}{number}", "tmpfs", "s" * 100, "size=64k")
        assert inside("grep -c dddd /proc/mounts") == "300"

    def test_maps(self, inside: Inside, bundle: Bundle) -> None:
        """As many lines as the kernel takes."""
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": n, "hostID": n, "size": 1} for n in range(340)]
        assert inside("wc -l < /proc/self/uid_map; wc -l < /proc/self/gid_map").split() == ["340", "340"]

    def test_an_error(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.mount("/mnt", "bind", "/" + "x/" * 100_000, "bind")
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        assert "ENAMETOOLONG" in error and len(error) < 10_000

    def test_an_error_that_names_a_long_program(self, runtime: Runtime, bundle: Bundle) -> None:
        """What is too much is left out in the middle: callers look for the reason."""
        bundle.args("x" * 100_000)
        error = runtime.fails("create", "--bundle", bundle.save(), new_id())
        assert len(error) < 10_000
        assert error.endswith('xx": executable file not found in $PATH [config.json#/process/args/0]')


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "..", "", "a\nb", "ü", "a b", "x" * 300])
def test_ids_stay_in_the_root_directory(runtime: Runtime, bundle: Bundle, name: str) -> None:
    path = bundle.save()
    for command in (["create", "--bundle", path, name], ["state", name], ["delete", "--force", name], ["kill", name]):
        assert "container id" in runtime.fails(*command).lower()
    assert runtime.ids() == []


@pytest.mark.parametrize("below", ["..", "../..", "a/../../..", "/..", ""])
def test_exec_cgroup_stays_below_the_container(container: Make, below: str) -> None:
    box = container()
    result = box.exec("--cgroup", below, "--", "cat", "/proc/self/cgroup")
    assert result.status == 255
    assert f"--cgroup {below!r} is not a cgroup below the container's" in result.stderr
