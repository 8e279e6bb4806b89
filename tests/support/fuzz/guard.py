"""What a config of the fuzz may ask for: the last word on each, whatever the mutations have made of it.

A container here never gets at the machine: files of the host can be mounted from the case's own folder only, the host
runs no program but those of a short list, a sysctl of no namespace gets the value that it has, a namespace to join is
that of a pod of the fuzz, and the program in the container only waits. It is one of two lines: the place (`place`) is a
mount namespace whose host is read-only, in pid, ipc, uts, network and cgroup namespaces of its own.
"""

import errno
import os
from pathlib import Path
from typing import Any

from support.fuzz.around import HOOK_ARGS, POINTS
from support.fuzz.process import ARGS

TYPES = (*("tmpfs", "ramfs", "proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2", "overlay", "bind", "none", ""),)
"""File systems that may be made; others that the kernel knows could be a disk's."""
SOURCES = ("/dev/null", "/dev/shm", "/proc", "/sys")
"""What may be mounted from outside of the case's folder: files that writing can't change, and the place's own."""
BASE_ARGS = (["/bin/sleep", "1000"],)
SYSCTLS = ("net/", "kernel/msg", "kernel/shm", "kernel/sem", "kernel/domainname", "kernel/hostname", "fs/mqueue/")
"""How those begin that belong to a namespace."""
LAYERS = ("lowerdir", "upperdir", "workdir", "datadir")


class Guard:
    """The guard of a place. folder: the case's own. pods: the processes whose namespaces may be joined."""

    def __init__(self, folder: str, pods: tuple[int, ...]) -> None:
        self.folder = folder
        self.bundle = f"{folder}/bundle"
        self.namespaces = ("/proc/self/ns/", *(f"/proc/{pid}/ns/" for pid in pods))
        self.types = known_types()

    def tame(self, config: Any) -> Any:
        """Make a config harmless, in place; return it. What has another type than it should is left to the runtime."""
        if not isinstance(config, dict):
            return config
        for top, check in (
            ("root", self._root),
            ("mounts", self._mounts),
            ("hooks", self._hooks),
            ("process", self._process),
            ("annotations", self._annotations),
            ("linux", self._linux),
        ):
            for key in [key for key in config if isinstance(key, str) and key.rstrip("\ue002") == top]:
                if isinstance(config[key], dict | list):
                    check(config[key])
        return config

    def is_own(self, path: str) -> bool:
        """Whether a path, as the runtime would take it, lies in the case's folder, by its letters and by its links."""
        if "\0" in path:
            return False
        full = os.path.normpath(os.path.join(self.bundle, path))
        if not (full.startswith(f"{self.folder}/") or full == self.folder):
            return False
        try:
            real = os.path.realpath(os.path.join(self.bundle, path).encode("utf-8", "surrogateescape")).decode(
                errors="replace"
            )
        except (OSError, ValueError):
            return True
        return real.startswith(f"{self.folder}/") or real == self.folder

    def is_nothing(self, path: str) -> bool:
        """Whether there is nothing at a path, which is then harmless; also when all that it leads over is there."""
        try:
            os.stat(os.path.realpath(os.path.join(self.bundle, path).encode("utf-8", "surrogateescape")))
        except OSError as error:
            return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
        except ValueError:
            return True
        return False

    def _root(self, root: Any) -> None:
        path = root.get("path") if isinstance(root, dict) else None
        if isinstance(path, str) and not (self._is_below_bundle(path) or self.is_nothing(path)):
            root["path"] = "rootfs"

    def _is_below_bundle(self, path: str) -> bool:
        try:
            full = os.path.realpath(os.path.join(self.bundle, path).encode("utf-8", "surrogateescape")).decode(
                errors="replace"
            )
        except (OSError, ValueError):
            return False
        return full == self.bundle or full.startswith(f"{self.bundle}/")

    def _mounts(self, mounts: Any) -> None:
        for mount in mounts if isinstance(mounts, list) else ():
            if isinstance(mount, dict):
                self._mount(mount)

    def _mount(self, mount: dict[str, Any]) -> None:
        kind, source, options = mount.get("type"), mount.get("source"), mount.get("options")
        if isinstance(kind, str) and kind not in TYPES and kind in self.types:
            mount["type"] = "tmpfs"
        if (
            isinstance(source, str)
            and source not in SOURCES
            and not self.is_own(source)
            and not self.is_nothing(source)
        ):
            mount["source"] = f"{self.folder}/data/dir"
        if isinstance(options, list):
            for index, option in enumerate(options):
                if isinstance(option, str) and any(word in option for word in LAYERS):
                    options[index] = self._layers(option)

    def _layers(self, option: str) -> str:
        """An option that names directories: each of them must be of the case."""
        named = [part.partition("=")[2] for part in option.split(",") if any(word in part for word in LAYERS)]
        folders = [folder for value in named for folder in value.split(":") if folder]
        if all(folder.startswith("/") and self.is_own(folder) for folder in folders):
            return option
        return f"lowerdir={self.folder}/data/dir"

    def _hooks(self, hooks: Any) -> None:
        for point, entries in hooks.items() if isinstance(hooks, dict) else ():
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict):
                    self._hook(str(point), entry)

    def _hook(self, point: str, entry: dict[str, Any]) -> None:
        path, args = entry.get("path"), entry.get("args")
        if not isinstance(path, str) or self.is_nothing(path):
            return
        slow = path == "/bin/sleep" and args == ["sleep", "1000"] and entry.get("timeout") == 1 and point in POINTS
        harmless = path in ("/bin/true", "/bin/false", "/bin/../bin/true", "/etc", "/etc/passwd")
        if not (harmless or slow or args in HOOK_ARGS.get(path, ())):
            entry["path"] = "/bin/true"

    def _process(self, process: Any) -> None:
        """The program may be one that only waits, or one that there is not."""
        args = process.get("args") if isinstance(process, dict) else None
        if not isinstance(args, list) or not args or args in ARGS or args in BASE_ARGS:
            return
        name = args[0]
        if isinstance(name, str) and os.path.basename(name.rstrip("/")) not in ("sleep", "true", "false"):
            process["args"] = ["/bin/sleep", "1000"]

    def _annotations(self, annotations: Any) -> None:
        for key, value in annotations.items() if isinstance(annotations, dict) else ():
            if isinstance(value, str) and "/" in value and not (self.is_own(value) or self.is_nothing(value)):
                annotations[key] = f"{self.folder}/out"

    def _linux(self, linux: Any) -> None:
        if not isinstance(linux, dict):
            return
        entries = linux.get("namespaces")
        for entry in entries if isinstance(entries, list) else ():
            path = entry.get("path") if isinstance(entry, dict) else None
            if isinstance(path, str) and path and not self._may_join(path):
                entry["path"] = "/nowhere"
        sysctls = linux.get("sysctl")
        if isinstance(sysctls, dict):
            linux["sysctl"] = {name: self._sysctl(name, value) for name, value in sysctls.items()}
        if isinstance(linux.get("cgroupsPath"), str) and not is_cgroup_of_its_own(linux["cgroupsPath"]):
            linux["cgroupsPath"] = "/fuzz/box"
        if os.path.exists("/sys/fs/resctrl/schemata"):
            linux.pop("intelRdt", None)

    def _may_join(self, path: str) -> bool:
        if path.startswith(self.namespaces):
            return ".." not in path
        return self.is_own(path) or self.is_nothing(path) or path == "/dev/null"

    def _sysctl(self, name: str, value: Any) -> Any:
        """A sysctl that may be the machine's gets the value that it has."""
        path = name.replace(".", "/")
        if path.startswith(SYSCTLS) and ".." not in name:
            return value
        for each in (name, path, name.translate({0x2E: "/", 0x2F: "."})):
            try:
                return Path("/proc/sys", os.path.normpath(each).lstrip("/")).read_text().strip()
            except (OSError, ValueError):
                continue
        return value


def is_cgroup_of_its_own(path: str) -> bool:
    """Whether it names a cgroup below the place's, and not the one in which the driver is."""
    first = os.path.normpath(f"/{path}").strip("/").partition("/")[0]
    return path == "" or first not in ("", ".", "..", "driver", "pods")


def known_types() -> frozenset[str]:
    """Return the file systems that this kernel knows by now."""
    return frozenset(line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines())
