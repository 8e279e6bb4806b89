"""Mount options: from the words of fstab and the spec to attributes, flags, propagation and data.

Source: runtime-spec config.md "Linux mount options"; mount(8), mount_setattr(2), fsconfig(2).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ATIME = "MOUNT_ATTR__ATIME"

ATTRIBUTES = {
    "ro": ("MOUNT_ATTR_RDONLY", True),
    "rw": ("MOUNT_ATTR_RDONLY", False),
    "nosuid": ("MOUNT_ATTR_NOSUID", True),
    "suid": ("MOUNT_ATTR_NOSUID", False),
    "nodev": ("MOUNT_ATTR_NODEV", True),
    "dev": ("MOUNT_ATTR_NODEV", False),
    "noexec": ("MOUNT_ATTR_NOEXEC", True),
    "exec": ("MOUNT_ATTR_NOEXEC", False),
    "nodiratime": ("MOUNT_ATTR_NODIRATIME", True),
    "diratime": ("MOUNT_ATTR_NODIRATIME", False),
    "nosymfollow": ("MOUNT_ATTR_NOSYMFOLLOW", True),
    "symfollow": ("MOUNT_ATTR_NOSYMFOLLOW", False),
}
"""Option -> attribute of the mount, and whether it is set or cleared. With a leading `r` it is recursive."""

ATIMES = {
    "relatime": "MOUNT_ATTR_RELATIME",
    "norelatime": "MOUNT_ATTR_STRICTATIME",
    "noatime": "MOUNT_ATTR_NOATIME",
    "atime": "MOUNT_ATTR_RELATIME",
    "strictatime": "MOUNT_ATTR_STRICTATIME",
    "nostrictatime": "MOUNT_ATTR_RELATIME",
}
"""Option -> access-time mode. They exclude each other, so each clears the whole field before it sets its own."""

SUPERBLOCK = {
    "ro": ("ro", True),
    "rw": ("ro", False),
    "sync": ("sync", True),
    "async": ("sync", False),
    "dirsync": ("dirsync", True),
    "mand": ("mand", True),
    "nomand": ("mand", False),
    "lazytime": ("lazytime", True),
    "nolazytime": ("lazytime", False),
    "silent": ("silent", True),
    "loud": ("silent", False),
}
"""Option -> flag of a new file system's superblock, and whether it is set."""
UNSETTABLE = ("mand", "silent")
"""The kernel's fsconfig knows these words but does nothing with them any more; they are dropped."""

PROPAGATION = {
    f"{prefix}{kind}": (f"MS_{kind.upper()}", bool(prefix))
    for kind in ("private", "shared", "slave", "unbindable")
    for prefix in ("", "r")
}
BINDS = {"bind": False, "rbind": True}
IGNORED = (
    "defaults",
    "iversion",
    "noiversion",
    "acl",
    "noacl",
    "_netdev",
    "nofail",
    "auto",
    "noauto",
    "user",
    "nouser",
)
"""Words of fstab(5) that ask the mount program, not the kernel, or that are the default."""
EXTENSIONS = ("tmpcopyup", "idmap", "ridmap", "remount")

OPTIONS = sorted(
    {
        *ATTRIBUTES,
        *ATIMES,
        *(f"r{name}" for name in (*ATTRIBUTES, *ATIMES)),
        *SUPERBLOCK,
        *PROPAGATION,
        *BINDS,
        "defaults",
        "iversion",
        "noiversion",
        "acl",
        "noacl",
        *EXTENSIONS,
    }
)
"""Every option that is known by name; others are data for the file system."""


class Attributes:
    """Attributes to set and to clear on a mount, in the order the options came."""

    __slots__ = ("chosen", "atime")

    def __init__(self) -> None:
        self.chosen: dict[str, bool] = {}
        self.atime: str | None = None

    @property
    def set(self) -> str:
        names = [name for name, on in self.chosen.items() if on]
        if self.atime and self.atime != "MOUNT_ATTR_RELATIME":
            names.append(self.atime)
        return "|".join(names)

    @property
    def clear(self) -> str:
        names = [name for name, on in self.chosen.items() if not on]
        if self.atime:
            names.append(ATIME)
        return "|".join(names)

    @property
    def others(self) -> str:
        """What is not chosen, while something is: attributes that a bind mount would take over from its source."""
        names = dict.fromkeys(name for name, _ in ATTRIBUTES.values() if name not in self.chosen)
        return "|".join(names) if self else ""

    def __bool__(self) -> bool:
        return bool(self.chosen or self.atime)

    def take(self, option: str) -> bool:
        """Note an option; False when it is none of these."""
        if option in ATTRIBUTES:
            name, on = ATTRIBUTES[option]
            self.chosen.pop(name, None)
            self.chosen[name] = on
        elif option in ATIMES:
            self.atime = ATIMES[option]
        else:
            return False
        return True


class MountOptions:
    """What the options of one mount mean.

    attributes: of this mount; recursive_attributes: of it and all below it. flags: superblock flags to set.
    propagation: (MS_* name, recursive) in order. data: (key, value or None) for the file system. bind, recursive:
    a bind mount, and whether it takes what is mounted below its source along.
    """

    __slots__ = (
        "attributes",
        "bind",
        "data",
        "flags",
        "idmap",
        "propagation",
        "recursive",
        "recursive_attributes",
        "remount",
        "ridmap",
        "tmpcopyup",
    )

    def __init__(self) -> None:
        self.attributes = Attributes()
        self.recursive_attributes = Attributes()
        self.flags: list[str] = []
        self.propagation: list[tuple[str, bool]] = []
        self.data: list[tuple[str, str | None]] = []
        self.bind = False
        self.recursive = False
        self.remount = False
        self.tmpcopyup = False
        self.idmap = False
        self.ridmap = False


def parse(options: Iterable[str]) -> MountOptions:
    """Return the meaning of the options; where two contradict each other the later one wins, as with mount(8)."""
    result = MountOptions()
    flags: dict[str, bool] = {}
    for option in options:
        known = result.attributes.take(option)
        if option in SUPERBLOCK:
            name, on = SUPERBLOCK[option]
            flags[name] = on
            known = True
        if known or option in IGNORED or not option:
            continue
        if option in BINDS:
            result.bind, result.recursive = True, BINDS[option]
        elif option in PROPAGATION:
            result.propagation.append(PROPAGATION[option])
        elif option in EXTENSIONS:
            setattr(result, option, True)
        elif option[0] == "r" and result.recursive_attributes.take(option[1:]):
            continue
        else:
            key, equals, value = option.partition("=")
            result.data.append((key, value if equals else None))
    result.flags = [name for name, on in flags.items() if on and name not in UNSETTABLE]
    return result
