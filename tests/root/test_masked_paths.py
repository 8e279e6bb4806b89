"""Masked paths: one file system for all of a container's directories, and hosts that lack something."""

from pathlib import Path

import pytest
from support.apart import apart
from support.bundle import Bundle
from support.fixtures import Inside
from support.runtime import Runtime, new_id

DIRECTORIES = [f"/opt/{number}" for number in range(8)]


@pytest.fixture
def directories(bundle: Bundle) -> list[str]:
    """Directories with a file each, which are masked, and nothing else is."""
    for path in DIRECTORIES:
        (bundle.rootfs / path[1:] / "below").mkdir(parents=True)
    bundle.linux["maskedPaths"] = DIRECTORIES
    return DIRECTORIES


@pytest.mark.parametrize("propagation", ["private", "shared"])
def test_one_file_system(inside: Inside, bundle: Bundle, directories: list[str], propagation: str) -> None:
    bundle.linux["rootfsPropagation"] = propagation
    lines = [line.split() for line in inside("ls -A /opt/*/; grep ' /opt/' /proc/self/mountinfo").splitlines()]
    mounts = {line[4]: line for line in lines if len(line) > 4}
    assert [line for line in lines if line == ["below"]] == []
    assert list(mounts) == directories
    assert len({line[2] for line in mounts.values()}) == 1, "device numbers"
    assert {line[5] for line in mounts.values()} == {"ro,nosuid,nodev,noexec,relatime"}
    assert {line[6] for line in mounts.values()} == {"-"}, "no cover is a peer of another one"


ALL = "for d in /*; do [ -L $d ] && cp -P $d ch || { [ -d $d ] && mkdir ch$d && mount -n --rbind $d ch$d; }; done"
"""Shell code that makes a root directory for chroot(1), in which everything of the host is."""


class TestHosts:
    """The runtime's own surroundings, changed in a mount namespace for one command."""

    def run(self, runtime: Runtime, bundle: Bundle, workdir: Path, *script: str) -> tuple[int, str]:
        bundle.sh("wc -c < /proc/keys; (echo x > /proc/keys) 2>&1; ls /sys/firmware; stat -c %F /dev/null")
        call = " ".join(runtime.command("run", "--bundle", bundle.save(), new_id()))
        return apart(workdir, "sh", "-ec", "; ".join([f"cd {workdir}", *script]) + f" {call}")

    def test_without_dev_null(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """A masked file is empty then, and can't be written; the container's own /dev/null is not asked."""
        status, said = self.run(runtime, bundle, workdir, "mount -n -t tmpfs x /dev", "")
        assert (status, said.splitlines()[0], said.splitlines()[-1]) == (0, "0", "character special file"), said
        assert "/proc/keys: Read-only file system" in said

    def test_in_a_chroot(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        """No mount can be made a slave there, because its root is none: what is needed is said."""
        status, said = self.run(runtime, bundle, workdir, "mkdir ch", ALL, "chroot ch")
        assert status == 1 and "EINVAL" in said and "before a chroot(1), do mount --bind DIR DIR" in said, said

    @pytest.mark.parametrize("options", [[], ["--no-pivot"]], ids=["pivot_root", "no-pivot"])
    def test_exec_below_a_chroot(self, runtime: Runtime, bundle: Bundle, workdir: Path, options: list[str]) -> None:
        """The root of the container's mount namespace is the container's, not the machine's."""
        bundle.sh("exec sleep 100")
        name, place = new_id(), f"[ -e {workdir} ] && echo outside || echo inside"
        calls = [
            runtime.command("create", *options, "--bundle", bundle.save(), name),
            runtime.command("start", name),
            [*runtime.command("exec", name, "sh", "-c"), f"'{place}'"],
            runtime.command("delete", "--force", name),
        ]
        (workdir / "life").write_text("\n".join(" ".join(map(str, call)) for call in calls))
        made = ["mkdir ch", "mount -n -t ramfs x ch", ALL]
        script = "; ".join([f"cd {workdir}", *made]) + f"; chroot ch sh -e {workdir}/life"
        status, said = apart(workdir, "sh", "-ec", script)
        if options:
            assert status != 0 and "--no-pivot can't be used below a chroot(2)" in said, said
        else:
            assert (status, said) == (0, "inside\n"), said

    def test_in_a_chroot_that_is_a_mount(self, runtime: Runtime, bundle: Bundle, workdir: Path) -> None:
        status, said = self.run(runtime, bundle, workdir, "mkdir ch", "mount -n -t ramfs x ch", ALL, "chroot ch")
        assert (status, said.splitlines()[0]) == (0, "0"), said
