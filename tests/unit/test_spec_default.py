"""What `pyruntime spec` writes, in full: every word of it is a property or a value."""

from pyruntime.spec import default


def test_as_root() -> None:
    caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    safe = ["nosuid", "noexec", "nodev"]
    size = "size=65536k"
    devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    group = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
    assert default.default_config() == {
        "ociVersion": "1.3.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyruntime",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", size],
            },
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": devpts},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*safe, "mode=1777", size]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, "ro"]},
            {**group, "options": [*safe, "relatime", "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": [
                *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
                *("/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list"),
                *("/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"),
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def test_without_privilege() -> None:
    config, usual = default.rootless_config(1000, 1001), default.default_config()
    kinds = ("pid", "ipc", "uts", "mount", "cgroup", "user")
    del usual["linux"]["resources"]
    usual["linux"] |= {
        "namespaces": [{"type": kind} for kind in kinds],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 1001, "size": 1}],
    }
    usual["mounts"][2]["options"].remove("gid=5")
    options = ["rbind", "nosuid", "noexec", "nodev", "ro"]
    usual["mounts"][5] = {"destination": "/sys", "type": "none", "source": "/sys", "options": options}
    assert config == usual
