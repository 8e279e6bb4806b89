"""The machine's disks: Debian's packages of this host as a root file system, and the project as it stands here.

The first is made again only when a package or this code has changed; the second for each boot.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from support import paths
from support.machine import packages

HERE = Path(__file__).parent
CACHE = paths.REPO / "build" / "machine"
PACKAGES = (
    "python3", "python3-venv", "libseccomp2", "libcap2", "docker.io", "containerd", "runc", "crun", "systemd", "dbus",
    "busybox-static", "apparmor", "util-linux", "mount", "iproute2", "procps", "kmod", "e2fsprogs",
)  # fmt: skip
MODULES = (
    "kernel/block", "kernel/lib", "kernel/crypto", "kernel/net", "kernel/fs/overlayfs", "kernel/fs/ext4",
    "kernel/fs/jbd2", "kernel/drivers/block", "kernel/drivers/char/virtio_console.ko", "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/dummy.ko", "kernel/drivers/infiniband/core", "kernel/drivers/infiniband/sw",
    "kernel/drivers/virtio",
)  # fmt: skip
FOLDERS = (
    "proc", "sys", "dev", "run", "tmp", "root", "mnt", "var/tmp", "var/lib", "var/log", "etc/systemd/system",
    "etc/apparmor.d/tunables/xdg-user-dirs.d",
)  # fmt: skip
GUEST_FILES = {
    "init": ("sbin/machine-init", 0o755),
    "run-tests": ("sbin/machine-run-tests", 0o755),
    "machine-tests.service": ("etc/systemd/system/machine-tests.service", 0o644),
}
ROOT_SIZE = "900M"
PROJECT_SIZE = "300M"
TESTS = "machine-tests.txt"
"""The file at the project disk's top that tells the guest what to run."""
PROJECT_LEAVES_OUT = (
    ".git", "build", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv/other", ".venv/bin/ruff", ".venv/bin/mypy*",
    "*/site-packages/mypy", "*/site-packages/mypyc", "*__mypyc*.so", "*/site-packages/pip", "*/site-packages/pyroute2",
    "*/site-packages/ast_serialize", "*/site-packages/librt", "*/site-packages/setuptools",
)  # fmt: skip


def kernel() -> tuple[Path, Path] | None:
    """Return Debian's newest kernel for this processor and its initial RAM file system; None when there is none."""
    for image in sorted(Path("/boot").glob("vmlinuz-*-amd64"), reverse=True):
        initrd = image.with_name(image.name.replace("vmlinuz-", "initrd.img-"))
        if initrd.exists() and "cloud" not in image.name:
            return image, initrd
    return None


def root_disk() -> Path:
    """Return the root file system's image, made now unless it is there already."""
    versions = packages.closure(PACKAGES)
    chosen = kernel()
    assert chosen is not None, "no kernel in /boot: run scripts/setup"
    release = chosen[0].name.removeprefix("vmlinuz-")
    made_from = [json.dumps(sorted(versions.items())), release, Path(__file__).read_text()]
    made_from += [(HERE / name).read_text() for name in GUEST_FILES]
    image = CACHE / f"root-{hashlib.sha256(''.join(made_from).encode()).hexdigest()[:16]}.ext4"
    if not image.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob("root-*"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            tree = Path(folder) / "tree"
            _fill_root(tree, sorted(versions), release)
            _make_ext4(Path(folder) / "image", tree, ROOT_SIZE)
            (Path(folder) / "image").rename(image)
    return image


def _fill_root(tree: Path, names: list[str], release: str) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for name in FOLDERS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    modules = Path("/lib/modules") / release
    kept = [*modules.glob("modules.*"), *(path for name in MODULES for path in modules.glob(f"{name}*"))]
    _copy([*packages.files(names), *map(str, kept)], tree)
    for name in ("passwd", "group", "nsswitch.conf"):
        shutil.copy(f"/etc/{name}", tree / "etc" / name)
    for name, (target, mode) in GUEST_FILES.items():
        shutil.copy(HERE / name, tree / target)
        (tree / target).chmod(mode)
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tree / "etc/hostname").write_text("machine\n")
    (tree / "etc/fstab").write_text("")
    # Nobody logs in, and the console is for the tests' progress.
    for unit in ("serial-getty@ttyS0.service", "getty@tty1.service", "docker.service", "docker.socket"):
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")
    subprocess.run(["ldconfig", "-r", tree], check=True)


def _copy(files: list[str], tree: Path) -> None:
    """Copy files and folders of this host with owners, modes and times to the same places below tree."""
    listing = "".join(f"{path[1:]}\0" for path in files).encode()
    with subprocess.Popen(
        ["tar", "-C", "/", "-c", "--null", "-T", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdin and reader.stdout
        with subprocess.Popen(
            ["tar", "-C", str(tree), "-x", "--keep-directory-symlink"], stdin=reader.stdout
        ) as writer:
            reader.stdin.write(listing)
            reader.stdin.close()
            reader.stdout.close()
            reader.wait()
    assert reader.returncode == 0 and writer.returncode == 0, "the machine's files could not be copied"


def _make_ext4(image: Path, tree: Path, size: str) -> None:
    options = ["-q", "-O", "^has_journal", "-m", "0", "-d", str(tree)]
    subprocess.run(["/sbin/mkfs.ext4", *options, str(image), size], check=True, stdout=subprocess.DEVNULL)


def project_disk(folder: Path, tests: list[str]) -> Path:
    """Make the image of the disk with the project and the ids of the tests to run, in a folder; return its path."""
    tree = folder / "project"
    tree.mkdir()
    left_out = [f"--exclude={pattern if '*' in pattern else './' + pattern}" for pattern in PROJECT_LEAVES_OUT]
    with subprocess.Popen(["tar", "-C", str(paths.REPO), *left_out, "-c", "."], stdout=subprocess.PIPE) as reader:
        subprocess.run(["tar", "-C", str(tree), "-x"], stdin=reader.stdout, check=True)
    assert reader.returncode == 0, "the project could not be copied"
    (tree / TESTS).write_text("".join(f"{each}\n" for each in tests))
    image = folder / "project.ext4"
    _make_ext4(image, tree, PROJECT_SIZE)
    shutil.rmtree(tree)
    return image


def scratch_disk(folder: Path) -> Path:
    """Make an empty disk for tests that limit input and output; return its path."""
    image = folder / "scratch.raw"
    with image.open("wb") as file:
        os.truncate(file.fileno(), 64 << 20)
    return image
