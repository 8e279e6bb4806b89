"""Hostile names: raw bytes, control characters and 4 KB, wherever a caller or a container gives a name.

Each is taken as it is, byte for byte, or refused in one line; nothing is left, and the id can be used.
"""

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from pyroute2 import IPRoute, NetlinkError
from support import leaks, raw
from support.bundle import Bundle, dict_of
from support.fixtures import Make
from support.hostile import BREAKS, CONTROL, DIGITS, LONG, NAMES, RAW, bytes_of, names
from support.raw import Said
from support.runtime import ENVIRONMENT, Runtime, new_id, process_runs, wait_for

from pyruntime.options import COMMANDS, GLOBAL, MANY, NUMBER, VALUE

SIOCSIFNAME = 0x8923


def problem(said: Said, wanted: tuple[int, ...] = (0, 1)) -> str | None:
    """Return what is wrong with an answer: neither silence and success, nor one line and a known status."""
    if said.status not in wanted:
        return f"status {said.status}: {said.err!r}"
    if said.status == 0 and not said.err:
        return None
    try:
        assert said.line
    except AssertionError as error:
        return str(error)
    return None


class TestOptions:
    @pytest.mark.parametrize("command", sorted(COMMANDS))
    def test_every_value(self, container: Make, runtime: Runtime, bundle: Bundle, workdir: Path, command: str) -> None:
        box = container()
        bundle.args("true")
        bundle.save()
        footprint = leaks.Footprint(runtime.root)
        problems = []
        makes = command in ("create", "run", "restore")
        for option, (kind, _, _) in COMMANDS[command].options.items():
            for name in NAMES.values() if kind in (VALUE, MANY, NUMBER) else ():
                subject = new_id() if makes or command == "explain" else box.id
                given = ["--bundle", str(bundle.path)] if "bundle" in COMMANDS[command].options else []
                given += ["--stats"] if command == "events" else []
                rest = {"exec": [subject, "true"], "mounts": ["add", subject]}.get(command, [subject])
                rest = rest if COMMANDS[command].most else []
                said = raw.run(runtime, command, *given, f"--{option}", name, *rest, cwd=workdir)
                wanted = (0, 255 if command == "exec" and kind != NUMBER else 1)
                problems += [f"--{option} {name[:9]!r}: {found}" for found in [problem(said, wanted)] if found]
                if makes and said.status == 0:
                    raw.ok(runtime, "delete", "--force", subject)
        assert problems == []
        footprint.check()

    @pytest.mark.parametrize("option", sorted(name for name, (kind, _, _) in GLOBAL.items() if kind == VALUE))
    @names()
    def test_global_options(self, runtime: Runtime, workdir: Path, option: str, name: str) -> None:
        said = raw.run_command([runtime.binary, f"--{option}", name, "state", "nobody"], cwd=workdir)
        assert said.status == 1
        assert said.line

    @names()
    @pytest.mark.parametrize("command", sorted({*COMMANDS} - {"list", "spec", "features", "explain"}))
    def test_ids(self, runtime: Runtime, bundle: Bundle, command: str, name: str) -> None:
        given = ["--bundle", str(bundle.save())] if "bundle" in COMMANDS[command].options else []
        rest = ["add", name] if command == "mounts" else [name, *(["true"] if command == "exec" else [])]
        said = raw.run(runtime, command, *given, *rest)
        assert said.status == (255 if command == "exec" else 1)
        assert said.line
        assert runtime.ids() == []

    @names()
    def test_words_that_are_none(self, runtime: Runtime, name: str) -> None:
        for words in ([name], [f"--{name}"], [f"-{name}", "x"], ["state", f"--{name}=x", "x"], ["kill", "x", name]):
            said = raw.run(runtime, *words)
            assert said.status == 1
            assert said.line

    @names()
    def test_expressions(self, container: Make, name: str) -> None:
        box = container()
        for command in ("kill", "delete"):
            assert problem(raw.run(box.runtime, command, "--regex", name)) is None
            assert problem(raw.run(box.runtime, command, "--regex", f"({name}")) is None
        assert box.status == "running"


class TestEnvironment:
    @names()
    def test_of_the_caller_reaches_a_hook(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        script = f"cat /proc/$$/environ > {workdir}/seen"
        dict_of(bundle.config, "hooks")["createRuntime"] = [{"path": "/bin/sh", "args": ["sh", "-c", script]}]
        environment = {**ENVIRONMENT, "NAME": name, f"V{RAW}": "x", "_PYRUNTIME_HOME": name}
        raw.ok(runtime, "create", "--bundle", bundle.save(), new_id(), env=environment)
        seen = (workdir / "seen").read_bytes().split(b"\0")
        assert b"NAME=" + bytes_of(name) in seen and b"V" + bytes_of(RAW) + b"=x" in seen

    @names()
    def test_of_exec(self, container: Make, name: str) -> None:
        box = container()
        seen = raw.ok(box.runtime, "exec", "--env", f"NAME={name}", box.id, "cat", "/proc/self/environ")
        assert b"NAME=" + bytes_of(name) in seen.split(b"\0")

    @names()
    @pytest.mark.parametrize("variable", ["LISTEN_FDS", "LISTEN_PID", "XDG_RUNTIME_DIR", "LANG", "TZ", "PYTHONHOME"])
    def test_what_the_runtime_looks_at(self, runtime: Runtime, bundle: Bundle, variable: str, name: str) -> None:
        bundle.args("true")
        environment = {**ENVIRONMENT, variable: name}
        tested = Runtime(runtime.root, options=["--log", "/dev/null"])
        said = raw.run(tested, "run", "--bundle", bundle.save(), new_id(), env=environment)
        assert (said.status, said.err) == (0, b"")

    @names()
    def test_a_service_manager_that_is_none(self, runtime: Runtime, bundle: Bundle, workdir: Path, name: str) -> None:
        bundle.args("true")
        tested = Runtime(runtime.root, options=["--log", f"{workdir}/log"])
        for address in (f"/{name}", f"@{name}", name):
            environment = {**ENVIRONMENT, "NOTIFY_SOCKET": address}
            footprint = leaks.Footprint(runtime.root)
            said = raw.run(tested, "run", "--bundle", bundle.save(), new_id(), env=environment)
            assert (said.status, said.err) == (0, b"")
            footprint.check()
        lines = (workdir / "log").read_text().splitlines()
        assert len(lines) == 3 and all("NOTIFY_SOCKET=" in line and "is ignored" in line for line in lines), lines

    @names()
    def test_of_a_bus(self, runtime: Runtime, bundle: Bundle, name: str) -> None:
        for address in (f"unix:path=/{name}", f"unix:abstract={name}", name):
            environment = {**ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": address}
            tested = Runtime(runtime.root, options=["--systemd-cgroup"])
            said = raw.run(tested, "create", "--bundle", bundle.save(), new_id(), env=environment)
            assert problem(said) is None
            assert runtime.ids() == [] or said.status == 0


class TestConfig:
    """JSON is UTF-8, so no raw bytes here."""

    NAMES = ("e\u0301\u2028", "a\nb", "a\x1bb", "a\x00b", "\x7f", LONG, DIGITS)

    @pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
    @pytest.mark.parametrize(
        "where",
        [
            *("hostname", "domainname", "cgroupsPath", "annotation", "annotation key", "env", "arg", "cwd"),
            *("destination", "source", "mount type", "option", "rootfs", "masked", "readonly", "device", "sysctl"),
            *("hook", "namespace", "apparmor", "selinux", "capability", "unified", "version", "rlimit"),
        ],
    )
    def test_every_string(self, runtime: Runtime, bundle: Bundle, where: str, name: str) -> None:
        bundle.args("true")
        config, process, linux = bundle.config, bundle.process, bundle.linux
        entry = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]}
        device = {"path": f"/dev/{name}", "type": "c", "major": 1, "minor": 3}
        set_it = {
            "hostname": lambda: config.update(hostname=name),
            "domainname": lambda: config.update(domainname=name),
            "cgroupsPath": lambda: linux.update(cgroupsPath=f"/{new_id()}/{name}"),
            "annotation": lambda: config.update(annotations={"a": name}),
            "annotation key": lambda: config.update(annotations={name: "a"}),
            "env": lambda: process.update(env=["PATH=/bin", f"{name}={name}"]),
            "arg": lambda: process.update(args=["true", name]),
            "cwd": lambda: process.update(cwd=f"/{name}"),
            "destination": lambda: bundle.mounts.append({**entry, "destination": f"/mnt/{name}"}),
            "source": lambda: bundle.mounts.append({**entry, "type": "bind", "source": f"/{name}"}),
            "mount type": lambda: bundle.mounts.append({**entry, "type": name}),
            "option": lambda: bundle.mounts.append({**entry, "options": [name]}),
            "rootfs": lambda: config["root"].update(path=f"rootfs/{name}"),
            "masked": lambda: linux.update(maskedPaths=[f"/proc/{name}"]),
            "readonly": lambda: linux.update(readonlyPaths=[f"/proc/{name}"]),
            "device": lambda: linux.update(devices=[device]),
            "sysctl": lambda: linux.update(sysctl={"net.ipv4.ip_forward": name}),
            "hook": lambda: config.update(hooks={"createRuntime": [{"path": f"/{name}", "args": [name]}]}),
            "namespace": lambda: bundle.namespaces(network=f"/{name}"),
            "apparmor": lambda: process.update(apparmorProfile=name),
            "selinux": lambda: process.update(selinuxLabel=name),
            "capability": lambda: bundle.capabilities(bounding=[name]),
            "unified": lambda: linux.update(resources={"unified": {name: name}}),
            "version": lambda: config.update(ociVersion=name),
            "rlimit": lambda: process.update(rlimits=[{"type": name, "hard": 1, "soft": 1}]),
        }[where]
        set_it()  # type: ignore[no-untyped-call]
        footprint = leaks.Footprint(runtime.root)
        name_of_it = new_id()
        found = problem(raw.run(runtime, "run", "--bundle", bundle.save(), name_of_it))
        assert found is None
        raw.ok(runtime, "delete", "--force", name_of_it)
        footprint.check()
        assert runtime.ids() == []

    def test_long_annotations_come_back(self, container: Make, bundle: Bundle) -> None:
        bundle.config["annotations"] = {"a\n\x1b": "\u2028\x00\U0001f600" * 1000}
        box = container()
        assert box.state()["annotations"] == bundle.config["annotations"]


class TestProcesses:
    def test_a_name_that_forges_a_line(self, container: Make, bundle: Bundle) -> None:
        r"""Of /proc/PID/status, where the kernel leaves `\r` in a name: a signal for a container's process must not
        reach another one of the host.
        """
        victim = subprocess.Popen(["sleep", "100"])
        try:
            for mount in bundle.mounts:
                if mount["type"].startswith("cgroup"):
                    mount["options"] = [option for option in mount["options"] if option != "ro"]
            script = (
                "cd /sys/fs/cgroup && mkdir t && echo threaded > t/cgroup.type && echo $$ > t/cgroup.threads && "
                f"printf '\\rTgid:{victim.pid}' > /proc/self/comm && touch /tmp/ready; while :; do sleep 1; done"
            )
            bundle.sh(script)
            box = container()
            wait_for(lambda: box.exec("--cgroup", "/", "--", "test", "-e", "/tmp/ready").status == 0, "it has its name")
            assert f"\rTgid:{victim.pid}\n".encode() in Path(f"/proc/{box.pid}/status").read_bytes()
            pids = json.loads(raw.ok(box.runtime, "ps", "--format", "json", box.id))
            assert box.pid in pids and victim.pid not in pids
            box.runtime.ok("kill", "--all", box.id, "USR2")
            assert process_runs(victim.pid)
        finally:
            victim.kill()
            victim.wait()

    @names()
    def test_arguments_in_ps(self, container: Make, name: str) -> None:
        box = container()
        raw.ok(box.runtime, "exec", "--detach", box.id, "sh", "-c", "while :; do sleep 1; done", name)
        shown = raw.ok(box.runtime, "ps", box.id).decode()
        lines = shown.split("\n")[:-1]
        assert all(line.isprintable() for line in lines)
        assert len(lines) == len(json.loads(raw.ok(box.runtime, "ps", "--format", "json", box.id))) + 1
        assert "\\xff\\xc3b" in shown or name != RAW
        assert len(raw.ok(box.runtime, "ps", box.id, "-ef").decode().split("\n")) >= len(lines)


class TestNetwork:
    @pytest.mark.parametrize("name", [b"o\xff\xc3", b"o\x1b[1m", b"o\xe2\x80\xa8x", b"o" * 15])
    def test_a_device_beside_the_one_that_is_moved(self, runtime: Runtime, bundle: Bundle, name: bytes) -> None:
        with IPRoute() as ip:
            ip.link("add", ifname="outer", kind="veth", peer="mine")
        try:
            with socket.socket() as control:
                fcntl.ioctl(control, SIOCSIFNAME, struct.pack("16s24s", b"outer", name))
            bundle.linux["netDevices"] = {"mine": {"name": "eth7"}}
            bundle.sh("ls /sys/class/net")
            assert raw.ok(runtime, "run", "--bundle", bundle.save(), new_id()) == b"eth7\nlo\n"
            bundle.linux["netDevices"] = {"nobody": {"name": "eth7"}}
            error = raw.run(runtime, "run", "--bundle", bundle.save(), new_id()).error
            assert 'network device "nobody" of the host: no such device (ENODEV)' in error
        finally:
            delete_device(name)


def delete_device(name: bytes) -> None:
    """Take a device away, and its pair with it; it may be about to go by itself, with a container's namespace."""
    try:
        index = socket.if_nametoindex(os.fsdecode(name))
    except OSError:
        return
    with IPRoute() as ip, contextlib.suppress(NetlinkError):
        ip.link("del", index=index)


class TestLog:
    @pytest.mark.parametrize("form", ["text", "json"])
    @names()
    def test_one_line_for_a_message(self, runtime: Runtime, workdir: Path, form: str, name: str) -> None:
        log = workdir / "log"
        tested = Runtime(runtime.root, options=["--log", str(log), "--log-format", form, "--debug"])
        said = raw.run(tested, "create", "--bundle", f"/{name}", new_id())
        assert said.status == 1
        lines = log.read_bytes().decode().split("\n")[:-1]
        assert len(lines) == 1 and lines[0].isprintable()
        if form == "json":
            assert json.loads(lines[0])["msg"] in said.err.decode()
        assert "a\\xff\\xc3b" in lines[0].replace("\\\\", "\\") or name != RAW

    def test_debug_lines(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        bundle.config["annotations"] = {CONTROL: BREAKS}
        bundle.process["env"] = [f"A={BREAKS}"]
        bundle.args("/bin/true", BREAKS, CONTROL)
        log = workdir / "log"
        tested = Runtime(runtime.root, options=["--log", str(log), "--log-format", "json", "--log-level", "debug"])
        assert raw.run(tested, "run", "--bundle", bundle.save(), new_id()).status == 0
        lines = log.read_bytes().decode().split("\n")[:-1]
        assert len(lines) > 50
        assert all(json.loads(line)["level"] == "debug" for line in lines)

    @names()
    def test_the_file_itself(self, runtime: Runtime, workdir: Path, name: str) -> None:
        path = os.path.join(workdir, name)
        said = raw.run_command([runtime.binary, "--log", path, "--root", str(runtime.root), "state", "nobody"])
        assert said.status == 1 and said.line
        if name in (LONG, DIGITS):
            assert "ENAMETOOLONG" in said.line
        else:
            assert b"does not exist" in Path(path).read_bytes()
