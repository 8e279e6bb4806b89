"""lifecycle.delete: what is killed is waited for."""

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyruntime import kernel
from pyruntime.container.store import Store
from pyruntime.lifecycle import delete

if TYPE_CHECKING:
    from pyruntime.container.record import Record

RECORD: "Record" = {
    "id": "c", "ociVersion": "1.2.0", "bundle": "/b", "rootfs": "/b/rootfs", "annotations": {}, "cgroup": "/no-such/c",
    "cgroup_mount": "/sys/fs/cgroup", "cgroup_made": [], "has_process": True, "later_hooks": [], "mounts": [],
}  # fmt: skip


def test_init_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it takes its time to go: what it holds open keeps mounts and cgroup in use."""
    with subprocess.Popen(["sleep", "100"]) as init:
        slow = threading.Timer(0.3, os.kill, (init.pid, signal.SIGKILL))
        monkeypatch.setattr(kernel, "pidfd_send_signal", lambda _fd, number: slow.start())
        with Store(f"{tmp_path}/root").create("c", RECORD, b"{}") as container:
            container.save_created(init.pid)
            try:
                delete.end_processes(container)
                state = Path(f"/proc/{init.pid}/stat").read_text().rpartition(")")[2].split()[0]
                assert state == "Z", "it was killed, and is still there"
            finally:
                slow.join()
