"""Runs the emulator once, and yields what the guest tells, line by line."""

import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import paths
from support.machine import image

EMULATOR = "qemu-system-x86_64"
BOOT_SECONDS = 180
"""How long the machine may take until its first word."""
SILENT_SECONDS = 300
"""How long one test may take."""
CONSOLE_END = 4000
INIT = {
    "plain": "init=/sbin/machine-init",
    "systemd": "init=/lib/systemd/systemd systemd.unit=machine-tests.service systemd.show_status=0",
}


class MachineFailed(Exception):
    """The machine did not start, fell silent, or ended before it was done."""


def unmet_need() -> str | None:
    """Return why the machine cannot run here, None if it can."""
    if paths.system_command(EMULATOR) is None:
        return f"{EMULATOR} is missing: run scripts/setup"
    if image.kernel() is None:
        return "no Debian kernel with its initrd in /boot: run scripts/setup"
    return None


def boot(kind: str, tests: list[str]) -> Iterator[dict[str, Any]]:
    """Start the machine of a kind (plain, systemd) for the tests; yield each message of the guest until its last.

    Raises MachineFailed with the console's end.
    """
    with tempfile.TemporaryDirectory(prefix="machine") as name:
        folder = Path(name)
        command = _command(kind, folder, image.root_disk(), image.project_disk(folder, tests))
        console = folder / "console"
        with socket.socket(socket.AF_UNIX) as listening, console.open("wb") as output:
            listening.bind(str(folder / "report"))
            listening.listen(1)
            emulator = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=_end_with_parent
            )
            try:
                connection, _ = listening.accept()
                with connection:
                    yield from _messages(connection, emulator)
            except MachineFailed as failure:
                raise MachineFailed(f"{failure}; its console ends with:\n{_end_of(console)}") from None
            finally:
                emulator.kill()
                emulator.wait()


def _end_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _command(kind: str, folder: Path, root: Path, project: Path) -> list[str]:
    chosen = image.kernel()
    assert chosen is not None
    emulator = paths.system_command(EMULATOR)
    assert emulator is not None
    kernel, initrd = chosen
    accelerator = os.environ.get("PYRUNTIME_MACHINE_ACCEL", "tcg,thread=multi")
    parameters = (
        f"console=ttyS0 root=/dev/vda rw quiet panic=-1 fsck.mode=skip noresume hugepages=16 systemd.getty_auto=0 "
        f"apparmor=1 security=apparmor machine.project={paths.REPO} {INIT[kind]}"
    )
    disks = [f"file={path},format=raw,if=virtio,snapshot=on" for path in (root, project, image.scratch_disk(folder))]
    return [
        emulator, "-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", "2560M",
        "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nic", "none",
        "-kernel", str(kernel), "-initrd", str(initrd), "-append", parameters,
        *(word for disk in disks for word in ("-drive", disk)),
        "-device", "virtio-rng-pci", "-device", "virtio-serial",
        "-chardev", f"socket,id=report,path={folder}/report",
        "-device", "virtserialport,chardev=report,name=report",
    ]  # fmt: skip


def _messages(connection: socket.socket, emulator: "subprocess.Popen[bytes]") -> Iterator[dict[str, Any]]:
    pending = b""
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        ready = select.select([connection], [], [], max(0.0, deadline - time.monotonic()))[0]
        if not ready:
            raise MachineFailed("the machine is silent")
        data = connection.recv(65536)
        if not data:
            raise MachineFailed(f"the machine ended (emulator: {emulator.wait(10)})")
        pending += data
        while b"\n" in pending:
            line, _, pending = pending.partition(b"\n")
            message = json.loads(line)
            yield message
            if "end" in message:
                return
            deadline = time.monotonic() + SILENT_SECONDS


def _end_of(console: Path) -> str:
    return console.read_bytes()[-CONSOLE_END:].decode(errors="replace").replace("\r", "")
