"""The busybox bundle and the demo: what a person sees first."""

import json
import os
import subprocess
from pathlib import Path

from support import paths
from support.runtime import ENVIRONMENT


def build(where: Path) -> None:
    subprocess.run([str(paths.BUSYBOX_BUNDLE / "build"), str(where)], check=True, env=ENVIRONMENT)


def tree(root: Path) -> list[tuple[str, int, int, int, float, str]]:
    """Return everything a tree's entries have but their content."""
    found = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        target = os.readlink(path) if path.is_symlink() else ""
        name = str(path.relative_to(root))
        found.append((name, status.st_mode, status.st_uid, status.st_gid, status.st_mtime, target))
    return found


def test_two_builds_are_equal(workdir: Path) -> None:
    for name in ("one", "two"):
        build(workdir / name)
    assert tree(workdir / "one" / "rootfs") == tree(workdir / "two" / "rootfs")
    assert (workdir / "one" / "config.json").read_bytes() == (paths.BUSYBOX_BUNDLE / "config.json").read_bytes()


def test_nothing_is_done_twice(workdir: Path) -> None:
    build(workdir / "one")
    before = (workdir / "one" / "rootfs").stat().st_ino
    build(workdir / "one")
    assert (workdir / "one" / "rootfs").stat().st_ino == before
    (workdir / "one" / "rootfs" / "etc" / "made-from").write_text("another busybox\n")
    build(workdir / "one")
    assert (workdir / "one" / "rootfs").stat().st_ino != before


def test_every_applet_is_there(workdir: Path) -> None:
    build(workdir / "one")
    root = workdir / "one" / "rootfs"
    listed = subprocess.run(["busybox", "--list-full"], check=True, capture_output=True, text=True).stdout.split()
    assert len(listed) > 100
    for applet in set(listed) - {"linuxrc"}:
        assert (root / applet).resolve() == (root / "bin" / "busybox").resolve(), applet


def test_config_uses_what_the_tree_has() -> None:
    config = json.loads((paths.BUSYBOX_BUNDLE / "config.json").read_text())
    root = paths.BUSYBOX_BUNDLE / "rootfs"
    below_a_mount = ("/dev/", "/sys/")
    for mount in config["mounts"]:
        assert mount["destination"].startswith(below_a_mount) or (root / mount["destination"].lstrip("/")).is_dir()


def test_demo() -> None:
    demo = subprocess.run(["bash", str(paths.REPO / "scripts" / "demo"), "--inside"], capture_output=True, text=True)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    commands = [line.split()[2] for line in demo.stdout.splitlines() if line.startswith("$ pyruntime")]
    order = ["--version", "explain", "create", "state", "start", "state", "exec", "kill", "state", "delete"]
    without_repeats = [word for at, word in enumerate(commands) if at == 0 or commands[at - 1] != word]
    assert without_repeats == order
    assert "NOT TRUE" not in demo.stdout
