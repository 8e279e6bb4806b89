"""Bundles of the benchmark: the busybox bundle's config with one thing grown."""

import copy
import json
from pathlib import Path
from typing import Any

from runtimes import BUSYBOX, Runtime
from surroundings import REPO, TOKEN

Config = dict[str, Any]

BUNDLE = REPO / "bundles/busybox"
OCI_VERSION = "1.0.2"
"""The version that all runtimes of Debian know."""
RARE_CALLS = (
    *("acct", "kexec_load", "lookup_dcookie", "mbind", "move_pages", "personality", "pivot_root", "quotactl"),
    *("settimeofday", "swapoff", "swapon", "syslog", "umount2", "vhangup", "clock_adjtime", "adjtimex"),
    *("init_module", "delete_module", "iopl", "ioperm"),
)
"""System calls that the benchmark's program does not make: rules on them change nothing for it."""
ENV_LIMIT = 1 << 20
"""Bytes of environment: execve(2) takes a quarter of the stack's limit, which is 2 MiB by default."""


def base(runtime: Runtime, *args: str) -> Config:
    """Return the busybox bundle's config with a program, as far as this runtime can run it.

    crun 1.8.1 loads a device filter only where it may raise RLIMIT_MEMLOCK; without the rule it has less to do.
    """
    config: Config = json.loads((BUNDLE / "config.json").read_text())
    config["ociVersion"] = OCI_VERSION
    config["process"]["args"] = list(args)
    config["root"]["path"] = str(BUNDLE / "rootfs")
    if runtime.name.startswith("crun"):
        del config["linux"]["resources"]
    return config


def waiting(runtime: Runtime) -> Config:
    """Return a config whose program does nothing for long."""
    return base(runtime, "sleep", "1000")


def with_mounts(config: Config, count: int) -> Config:
    """Bind a directory on many places, read-only, in the container's own tmpfs."""
    config = copy.deepcopy(config)
    options = ["rbind", "ro", "nosuid", "nodev"]
    config["mounts"] += [
        {"destination": f"/tmp/m{number:04}", "type": "bind", "source": str(BUNDLE / "rootfs/etc"), "options": options}
        for number in range(count - len(config["mounts"]))
    ]
    return config


def with_seccomp(config: Config, rules: int) -> Config:
    """Add a profile with that many rules, each on one value of an argument of a call that is not made."""
    config = copy.deepcopy(config)
    if rules:
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [
                {
                    "names": [RARE_CALLS[number % len(RARE_CALLS)]],
                    "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 0, "value": 1000 + number, "op": "SCMP_CMP_EQ"}],
                }
                for number in range(rules)
            ],
        }
    return config


def with_size(config: Config, size: int) -> Config:
    """Fill the config up to a size in bytes: half by environment as far as execve(2) takes it, the rest annotations."""
    config = copy.deepcopy(config)
    left = size - len(json.dumps(config))
    environment = min(left // 2, ENV_LIMIT)
    config["process"]["env"] += [f"VARIABLE{number:05}=" + "v" * 1003 for number in range(environment // 1024)]
    left -= environment
    config["annotations"] = {f"org.example.annotation{number:05}": "v" * 988 for number in range(left // 1024)}
    return config


def with_hooks(config: Config, count: int) -> Config:
    """Add createRuntime hooks that end at once."""
    config = copy.deepcopy(config)
    if count:
        config["hooks"] = {"createRuntime": [{"path": BUSYBOX, "args": ["busybox", "true"]}] * count}
    return config


def save(runtime: Runtime, name: str, config: Config) -> Path:
    """Write a config as a bundle of this runtime; return the bundle's path."""
    path = runtime.bundles / name
    path.mkdir(exist_ok=True)
    config["linux"]["cgroupsPath"] = f"/{TOKEN}-{runtime.name}-{name}"
    (path / "config.json").write_text(json.dumps(config))
    return path
