"""Where the cases run: namespaces of all kinds around the driver, in which the machine's files are read-only.

The driver becomes process 1 of a pid namespace, so that what a case leaves becomes its child, beside other namespaces.
Each case gets a folder on a tmpfs of its own, with a bundle on overlays, and with things to mount.
"""

import ctypes
import json
import os
import re
import shutil
import socket
import stat
import struct
from pathlib import Path
from typing import Any

from support import paths, session

CLONE_NEWPID, CLONE_NEWCGROUP = 0x20000000, 0x02000000
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
MS_RDONLY = 1
OWNER = 100000
"""The host's id of root in the user namespaces."""
LINKS = {
    "link-dir": "home",
    "link-file": "file",
    "dangling": "nowhere/at/all",
    "loop": "loop",
    "absolute": "/etc",
    "up": "../../..",
}
"""Links of the image."""


def enter(name: str) -> None:
    """Move this process into its place; returns in a child, which is process 1 there. name: of the cgroup."""
    cgroup = session.CGROUP_ROOT / name
    cgroup.mkdir()
    outside = os.open(session.CGROUP_ROOT / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    (cgroup / "cgroup.procs").write_text("0")
    session.unshare(CLONE_NEWPID | CLONE_NEWCGROUP)
    session.unshare(session.CLONE_NEWNS | session.CLONE_NEWUTS | session.CLONE_NEWIPC | session.CLONE_NEWNET)
    parent_end, child_end = os.pipe()
    child = os.fork()
    if child:
        os.close(child_end)
        # What is the place's root shares out controllers, and so may have no process.
        os.write(outside, b"0")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(status if status >= 0 else 1)
    os.close(parent_end)
    os.close(outside)
    session._prctl(session.PR_SET_PDEATHSIG, 9)


def furnish(work: Path) -> None:
    """Make the mounts of the place: the machine read-only, and what may be written. work: the place's own folder."""
    session._loopback_up()
    session.mount("none", "/", "", session.MS_REC | session.MS_PRIVATE)
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    arguments = (AT_FDCWD, b"/", AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes)))
    session._check(session._libc.syscall(MOUNT_SETATTR, *arguments), "mount_setattr(/, AT_RECURSIVE)")
    session.umount(str(session.CGROUP_ROOT), session.MNT_DETACH)
    session.mount("cgroup2", str(session.CGROUP_ROOT), "cgroup2", session.MS_NOSUID | session.MS_NODEV)
    session.mount("proc", "/proc", "proc", session.MS_NOSUID | session.MS_NODEV | session.MS_NOEXEC)
    checkout = os.open(paths.REPO, os.O_PATH | os.O_CLOEXEC)
    for folder in ("/run", "/dev/shm", "/tmp"):
        session.mount("tmpfs", folder, "tmpfs", session.MS_NOSUID, "mode=0755")
    if not paths.REPO.exists():
        paths.REPO.mkdir(parents=True)
        session.mount(f"/proc/self/fd/{checkout}", str(paths.REPO), "", session.MS_BIND | session.MS_REC)
    os.close(checkout)
    work.mkdir(parents=True, exist_ok=True)
    session.mount("tmpfs", str(work), "tmpfs", 0, "mode=0755")
    session.mount("none", "/", "", session.MS_REC | session.MS_SHARED)
    for name in ("driver", "pods"):
        (session.CGROUP_ROOT / name).mkdir()
    (session.CGROUP_ROOT / "driver" / "cgroup.procs").write_text("0")


class Place:
    """The place's folder, with what all cases share, and with the folder of the case that runs now."""

    def __init__(self, work: Path) -> None:
        self.case = work / "case"
        self.root = work / "root"
        self.images = {"rootfs": work / "image", "given": work / "given-image"}
        self.case.mkdir()
        for name, image in self.images.items():
            shutil.copytree(paths.BUSYBOX_BUNDLE / "rootfs", image, symlinks=True)
            for link, target in LINKS.items():
                (image / link).symlink_to(target)
            (image / "file").write_text("file\n")
            (image / "home/x").mkdir()
            if name == "given":
                for path in [image, *image.rglob("*")]:
                    os.chown(path, OWNER, OWNER, follow_symlinks=False)

    def open(self, text: str) -> None:
        """Make the folder of a case. text: its config, for what of it is needed at all."""
        session.mount("tmpfs", str(self.case), "tmpfs", 0, "mode=0755")
        for name in ("bundle", "pid", "data", "layers"):
            (self.case / name).mkdir()
        bundle = self.case / "bundle"
        (bundle / "empty").mkdir()
        (bundle / "link").symlink_to("rootfs")
        (bundle / "loop").symlink_to("loop")
        for name, image in self.images.items():
            if name == "rootfs" or name in text:
                overlay(bundle / name, image, self.case / "layers" / name)
        make_data(self.case / "data", text)

    def close(self) -> None:
        """Take the folder of the case away, with all that is mounted in it."""
        session.umount(str(self.case), session.MNT_DETACH)


def overlay(target: Path, lower: Path, layers: Path) -> None:
    for folder in (target, layers, layers / "upper", layers / "work"):
        folder.mkdir()
    shutil.copystat(lower, layers / "upper")
    owner = lower.stat()
    os.chown(layers / "upper", owner.st_uid, owner.st_gid)
    options = f"lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work"
    session.mount("overlay", str(target), "overlay", 0, options)


def make_data(data: Path, text: str) -> None:
    """Make the things that a case may mount."""
    for name in ("dir", "dir/below", "other", "upper", "work", "mounted", "readonly", "shared"):
        (data / name).mkdir()
    for name in ("file", "secret", "dir/inside", "dir/x", "dir/below/deep"):
        (data / name).write_text(f"{name}\n")
    (data / "secret").chmod(0o600)
    for name, target in (("link-dir", "dir"), ("link-file", "file"), ("dangling", "nowhere"), ("loop", "loop")):
        (data / name).symlink_to(target)
    if "data/fifo" in text:
        os.mkfifo(data / "fifo")
    if "data/null" in text:
        os.mknod(data / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    if "data/socket" in text:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(data / "socket"))
    if "data/mounted" in text or re.search("data/+dir", text):
        session.mount("tmpfs", str(data / "mounted"), "tmpfs", 0, "mode=0755")
        session.mount("tmpfs", str(data / "dir/below"), "tmpfs", session.MS_NODEV, "mode=0755")
        (data / "dir/below/mounted").write_text("below\n")
    if "data/readonly" in text:
        flags = MS_RDONLY | session.MS_NOSUID | session.MS_NODEV | session.MS_NOEXEC
        session.mount("tmpfs", str(data / "readonly"), "tmpfs", flags)


def pod_config(*, user: bool) -> dict[str, Any]:
    """Return the config of a container whose namespaces cases join, with a user namespace or without."""
    config: dict[str, Any] = json.loads((paths.BUSYBOX_BUNDLE / "config.json").read_text())
    config["process"]["args"] = ["sleep", "100000"]
    kinds = ("mount", "pid", "network", "uts", "ipc", "cgroup", "time", *(("user",) if user else ()))
    config["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
    config["linux"]["cgroupsPath"] = f"/pods/{'user' if user else 'plain'}"
    config["root"]["path"] = "given-image" if user else "image"
    if user:
        maps = [{"containerID": 0, "hostID": OWNER, "size": 65536}]
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = maps
    return config
