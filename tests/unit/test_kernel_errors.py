"""Errors of the kernel layer: the call as strace would print it, with flags by name."""

from collections.abc import Callable
from typing import Any

import pytest

from pyruntime import kernel

flags = kernel.flags
CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (kernel.open, ("/no/such", flags("O_WRONLY|O_CREAT")), 'open("/no/such", O_WRONLY|O_CREAT)'),
    (kernel.open, ("/no/such", 0), 'open("/no/such", O_RDONLY)'),
    (kernel.open, ("/no/such", 1 << 30), 'open("/no/such", 0x40000000)'),
    (
        kernel.openat2,
        (-1, "no", flags("O_PATH|O_NOFOLLOW"), 0, flags("RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS")),
        'openat2(-1, "no", O_NOFOLLOW|O_PATH, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS)',
    ),
    (kernel.openat2, (-1, "no", 0, 0, 0), 'openat2(-1, "no", O_RDONLY, 0)'),
    (kernel.umount2, ("/no/such", flags("MNT_DETACH")), 'umount2("/no/such", MNT_DETACH)'),
    (
        kernel.open_tree,
        (-1, "no", flags("OPEN_TREE_CLONE|AT_RECURSIVE")),
        'open_tree(-1, "no", OPEN_TREE_CLONE|AT_RECURSIVE)',
    ),
    (
        kernel.mount_setattr,
        (-1, "no", flags("AT_RECURSIVE"), flags("MOUNT_ATTR_RDONLY|MOUNT_ATTR_NODEV"), 0, flags("MS_SLAVE")),
        'mount_setattr(-1, "no", AT_RECURSIVE, MOUNT_ATTR_RDONLY|MOUNT_ATTR_NODEV, 0, MS_SLAVE)',
    ),
    (kernel.fsmount, (-1, 0, flags("MOUNT_ATTR_NOEXEC")), "fsmount(-1, 0, MOUNT_ATTR_NOEXEC)"),
    (kernel.setns, (-1, flags("CLONE_NEWPID")), "setns(-1, CLONE_NEWPID)"),
    (kernel.execveat, (-1, "no", ["a"], [], flags("AT_EMPTY_PATH")), 'execveat(-1, "no", AT_EMPTY_PATH)'),
]


@pytest.mark.parametrize(("call", "args", "text"), CALLS, ids=[text for _, _, text in CALLS])
def test_the_call_is_told(call: Callable[..., Any], args: tuple[Any, ...], text: str) -> None:
    with pytest.raises(OSError) as raised:
        call(*args)
    assert raised.value.call == text  # type: ignore[attr-defined]
