"""A terminal is made by the container's own devpts and by nothing else that stands at its place; CVE-2025-52565.

With another multiplexer the terminal could be the host's, or a file of somebody's that the runtime opens for writing.
"""

import os
import stat
from pathlib import Path

import pytest
from support.bundle import Bundle
from support.fixtures import Make
from support.runtime import Runtime, new_id
from support.terminal import console_socket

NO_DEVPTS = "/dev/pts of the container is not a devpts"


def make_ptmx(folder: Path, kind: str) -> Path:
    """Make a false multiplexer: something that opens for reading and writing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ptmx"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_text("untouched")
    elif kind == "real number":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(5, 2))
    else:
        path.symlink_to("/dev/null")
    return path


@pytest.mark.parametrize("kind", ["fifo", "file", "real number", "link"])
@pytest.mark.parametrize("place", ["image", "volume"])
def test_create(runtime: Runtime, bundle: Bundle, workdir: Path, kind: str, place: str) -> None:
    """The image has a directory there, or a volume stands there."""
    bundle.process["terminal"] = True
    if place == "image":
        folder = bundle.rootfs / "dev/pts"
        bundle.config["mounts"] = [m for m in bundle.mounts if not m["destination"].startswith("/dev")]
        bundle.config["root"]["readonly"] = False
    else:
        folder = workdir / "pts"
        bundle.config["mounts"] = [m for m in bundle.mounts if m["destination"] != "/dev/pts"]
        bundle.mount("/dev/pts", "bind", str(folder), "bind")
    ptmx = make_ptmx(folder, kind)
    with console_socket(workdir) as console:
        error = runtime.fails("create", "--bundle", bundle.save(), "--console-socket", console.path, new_id())
    assert NO_DEVPTS in error and "/process/terminal" in error
    assert kind != "file" or ptmx.read_text() == "untouched"


class TestExec:
    """The container's root, with the right to mount, has put something else there meanwhile."""

    @pytest.fixture(autouse=True)
    def _may_mount(self, bundle: Bundle) -> None:
        caps = [*bundle.process["capabilities"]["bounding"], "CAP_SYS_ADMIN", "CAP_MKNOD"]
        bundle.capabilities(bounding=caps, effective=caps, permitted=caps)

    def refused(self, container: Make, workdir: Path, before: str, reason: str) -> None:
        box = container()
        box.sh(before)
        with console_socket(workdir) as console:
            result = box.exec("--detach", "--tty", "--console-socket", console.path, "--", "sleep", "1000")
        assert result.status == 255 and reason in result.stderr, result

    def test_another_file_system(self, container: Make, workdir: Path) -> None:
        self.refused(container, workdir, "mount -t tmpfs none /dev/pts && mkfifo /dev/pts/ptmx", NO_DEVPTS)

    def test_a_file_on_the_multiplexer(self, container: Make, workdir: Path) -> None:
        self.refused(container, workdir, "mkfifo /tmp/ptmx && mount -o bind /tmp/ptmx /dev/pts/ptmx", "EXDEV")

    def test_a_link_to_another_directory(self, container: Make, workdir: Path) -> None:
        before = (
            "mkdir /tmp/pts && mkfifo /tmp/pts/ptmx && umount /dev/pts && rmdir /dev/pts && ln -s /tmp/pts /dev/pts"
        )
        self.refused(container, workdir, before, NO_DEVPTS)
