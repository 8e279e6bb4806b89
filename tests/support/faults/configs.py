"""The configs whose steps are broken, each with the options of its create."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import paths, session
from support.bundle import Bundle, dict_of
from support.runtime import new_id

Config = Callable[[Bundle, Path], dict[str, Any]]
"""Edits a bundle, and returns what the job needs besides."""
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
DEVICE = "faulty"
"""The network device that a container gets."""
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def own_cgroup(bundle: Bundle) -> str:
    """Let the cgroup and two above it be the container's, so that nothing of them may stay; return its directory."""
    path = f"/{new_id('faults')}/above/box"
    bundle.linux["cgroupsPath"] = path
    bundle.args("sleep", "1000")
    return f"{session.CGROUP_ROOT}{path}"


def shared(bundle: Bundle, workdir: Path) -> None:
    """Give the container a folder of the host where a program that is added leaves a witness."""
    folder = workdir / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    bundle.mount("/shared", "bind", str(folder), "bind", "rw")


def pid_file(workdir: Path) -> list[str]:
    return ["--pid-file", str(workdir / "pid" / "pid")]


def plain(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    """Limits that are set before init and after it, by a rule of the device cgroup."""
    dict_of(bundle.linux, "resources")["unified"] = {"hugetlb.2MB.max": "4194304"}
    return {"create": pid_file(workdir)}


def docker(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    """What Docker asks for, seccomp included; its network namespace is the session's."""
    config = json.loads((paths.REPO / "tests/data/configs/docker-plain.json").read_text())
    config.get("hooks", {}).pop("prestart", None)
    for mount in config["mounts"]:
        if mount["source"].startswith("/var/lib/docker"):
            path = workdir / Path(mount["destination"]).name
            path.write_text("stand-in\n")
            mount["source"] = str(path)
    for namespace in config["linux"]["namespaces"]:
        if namespace.get("path", "").startswith("/var/run/docker/netns/"):
            namespace["path"] = "/proc/self/ns/net"
    config["linux"]["resources"].get("cpu", {}).pop("shares", None)
    bundle.config.clear()
    bundle.config.update(config)
    return {"create": ["--pidfd-socket", str(workdir / "console.sock")], "console": str(workdir / "console.sock")}


def terminal(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 20, "width": 60}
    console = str(workdir / "console.sock")
    return {"create": ["--console-socket", console], "console": console}


def userns(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    """A new user namespace, where devices are bound, the host's and one that it makes, and other binds."""
    (workdir / "data").mkdir()
    bundle.namespaces(user="")
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPS
    bundle.mount("/data", "bind", str(workdir / "data"), "rbind", "ro")
    bundle.mount("/again", "bind", str(bundle.rootfs / "data"), "bind", "idmap")
    bundle.mount("/copy", "tmpfs", "tmpfs", "tmpcopyup")
    bundle.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}]
    bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
    given_away(bundle)
    return {}


def given_away(bundle: Bundle) -> None:
    for path in [bundle.rootfs, *bundle.rootfs.rglob("*")]:
        os.chown(path, 100000, 100000, follow_symlinks=False)


def joined_pid(bundle: Bundle, workdir: Path, pid: int) -> dict[str, Any]:
    """The pid namespace of another container, and a procfs of it."""
    bundle.namespaces(pid=f"/proc/{pid}/ns/pid")
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}],
    }
    return {"create": pid_file(workdir)}


def joined_userns(bundle: Bundle, workdir: Path, pid: int) -> dict[str, Any]:
    bundle.namespaces(user=f"/proc/{pid}/ns/user")
    given_away(bundle)
    return {"create": pid_file(workdir)}


def hooks(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    """Hooks of all kinds, and a time namespace."""
    entry = {"path": "/bin/true", "args": ["true"], "timeout": 5}
    bundle.config["hooks"] = {kind: [entry] for kind in HOOKS}
    bundle.namespaces(time="")
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 5}}
    return {}


def net_device(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    """A network device of the host's, which is virtual: it goes with its namespace unless it is given back first."""
    bundle.linux["netDevices"] = {DEVICE: {"name": "inside"}}
    return {"device": DEVICE}


def no_pivot(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    return {"create": ["--no-pivot", *pid_file(workdir)]}


def no_mount_namespace(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    """What is mounted is mounted in the host's own namespace, and must go."""
    bundle.namespaces(mount=None)
    for key in ("maskedPaths", "readonlyPaths", "rootfsPropagation"):
        bundle.linux.pop(key, None)
    return {"create": pid_file(workdir)}


def idmapped(bundle: Bundle, workdir: Path) -> dict[str, Any]:
    (workdir / "data").mkdir()
    bundle.mount("/mnt", "none", str(workdir / "data"), "bind", "idmap")
    entry = {"containerID": 0, "hostID": 1000, "size": 100}
    bundle.mounts[-1].update(uidMappings=[entry], gidMappings=[entry])
    return {}
