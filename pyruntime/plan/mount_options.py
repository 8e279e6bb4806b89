"""Mount options: turns the words of fstab and the spec into attributes, flags, propagation and data.

Source: runtime-spec config.md "Linux mount options"; mount(8), mount_setattr(2), fsconfig(2); docs/mount-options.md.
"""

from __future__ import annotations

from ..spec.options import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ATIME = "MOUNT_ATTR__ATIME"
NODIRATIME = "MOUNT_ATTR_NODIRATIME"
RDONLY = "MOUNT_ATTR_RDONLY"

ATTRIBUTES = {
    "ro": (RDONLY, True),
    "rw": (RDONLY, False),
    "nosuid": ("MOUNT_ATTR_NOSUID", True),
    "suid": ("MOUNT_ATTR_NOSUID", False),
    "nodev": ("MOUNT_ATTR_NODEV", True),
    "dev": ("MOUNT_ATTR_NODEV", False),
    "noexec": ("MOUNT_ATTR_NOEXEC", True),
    "exec": ("MOUNT_ATTR_NOEXEC", False),
    "nodiratime": (NODIRATIME, True),
    "diratime": (NODIRATIME, False),
    "nosymfollow": ("MOUNT_ATTR_NOSYMFOLLOW", True),
    "symfollow": ("MOUNT_ATTR_NOSYMFOLLOW", False),
}
"""Option -> attribute of the mount, and whether to set or clear it. A leading `r` makes it recursive."""

ATIMES = {
    "relatime": ("MOUNT_ATTR_RELATIME", True),
    "norelatime": ("MOUNT_ATTR_RELATIME", False),
    "noatime": ("MOUNT_ATTR_NOATIME", True),
    "atime": ("MOUNT_ATTR_NOATIME", False),
    "strictatime": ("MOUNT_ATTR_STRICTATIME", True),
    "nostrictatime": ("MOUNT_ATTR_STRICTATIME", False),
}
"""Option -> access-time mode, and whether to set it or take it back. These are flags of mount(2), which add up."""
ATIME_ORDER = ("MOUNT_ATTR_STRICTATIME", "MOUNT_ATTR_NOATIME", "MOUNT_ATTR_RELATIME")
"""Of several modes the kernel uses the first of these, in whichever order they are set (path_mount, fs/namespace.c)."""

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
    "iversion": ("iversion", True),
    "noiversion": ("iversion", False),
}
"""Option -> flag of a new file system's superblock, and whether to set it."""
RECURSIVE_SUPERBLOCK = {f"r{name}": SUPERBLOCK[name] for name in ("sync", "async", "dirsync", "mand", "nomand")}
"""crun's words. A new file system has no mounts below it, so they mean the same as without the `r`."""
UNSETTABLE = ("mand", "silent", "iversion")
"""Options without effect: the kernel's fsconfig ignores these words, or does not have them."""

PROPAGATION = {
    f"{prefix}{kind}": (f"MS_{kind.upper()}", bool(prefix))
    for kind in ("private", "shared", "slave", "unbindable")
    for prefix in ("", "r")
}
BINDS = {"bind": False, "rbind": True}
IGNORED = ("defaults", "_netdev", "nofail", "auto", "noauto", "user", "nouser")
"""Words of fstab(5) that are for the mount program, not the kernel, or that are the default."""
LABELS = ("context", "fscontext", "defcontext", "rootcontext")
"""Options with an SELinux label, which is quoted where commas separate options (mount(8))."""
LINKS = {"copy-symlink": "copy_symlink", "src-nofollow": "src_nofollow", "dest-nofollow": "dest_nofollow"}
"""crun's options for a source or destination that is a symbolic link -> attribute of MountOptions."""
EXTENSIONS = {"tmpcopyup": "tmpcopyup", "idmap": "idmap", "ridmap": "ridmap", "remount": "remount", **LINKS}
"""Option -> attribute of MountOptions."""

OPTIONS = sorted(
    {
        *ATTRIBUTES,
        *ATIMES,
        *(f"r{name}" for name in (*ATTRIBUTES, *ATIMES)),
        *SUPERBLOCK,
        *RECURSIVE_SUPERBLOCK,
        *PROPAGATION,
        *BINDS,
        "defaults",
        *EXTENSIONS,
    }
)
"""All options that are known by name; others are data for the file system."""


class Attributes:
    """Attributes to set and to clear on a mount. Of contradicting ones the last one counts."""

    __slots__ = ("chosen", "modes")

    def __init__(self) -> None:
        self.chosen: dict[str, bool] = {}
        self.modes: dict[str, bool] = {}

    @property
    def atime(self) -> str | None:
        """The access-time mode; None without an option for it, or when a mount can't have it.

        The latter is `norelatime` alone: since Linux 2.6.30 only `strictatime` achieves it.
        """
        for name in ATIME_ORDER:
            if self.modes.get(name):
                return name
        taken_back = "MOUNT_ATTR_NOATIME" in self.modes or "MOUNT_ATTR_STRICTATIME" in self.modes
        return "MOUNT_ATTR_RELATIME" if taken_back else None

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
        """The attributes that a bind mount with chosen attributes would inherit from its source, because they are not
        chosen.

        Those for access times are one group: they are inherited unless one of them is chosen.
        """
        names = dict.fromkeys(name for name, _ in ATTRIBUTES.values() if name not in self.chosen)
        if self.chosen.get(NODIRATIME) and not self.atime:
            names[ATIME] = None
        elif not self.atime:
            names.pop(NODIRATIME, None)
        return "|".join(names) if self else ""

    def __bool__(self) -> bool:
        return bool(self.chosen or self.atime)

    def take(self, option: str) -> bool:
        """Record an option; return False if it is not one of these."""
        if option in ATTRIBUTES:
            name, on = ATTRIBUTES[option]
            self.chosen.pop(name, None)
            self.chosen[name] = on
        elif option in ATIMES:
            name, on = ATIMES[option]
            self.modes[name] = on
        else:
            return False
        return True


class MountOptions:
    """The meaning of the options of one mount.

    attributes: of this mount; recursive_attributes: of it and all below it. flags: superblock flags to set.
    propagation: (MS_* name, recursive) in order. data: (key, value or None) for the file system. bind, recursive: a
    bind mount, and whether it includes the mounts below its source. maps: the text of the mappings in crun's
    `idmap=uids=…;gids=…`. late_read_only: the mount becomes read-only at the end. imposed_read_only: although the
    options do not ask for it.
    """

    __slots__ = (
        "attributes",
        "bind",
        "copy_symlink",
        "data",
        "dest_nofollow",
        "flags",
        "idmap",
        "imposed_read_only",
        "late_read_only",
        "maps",
        "propagation",
        "recursive",
        "recursive_attributes",
        "remount",
        "ridmap",
        "src_nofollow",
        "tmpcopyup",
    )

    def __init__(self) -> None:
        self.attributes = Attributes()
        self.recursive_attributes = Attributes()
        self.flags: list[str] = []
        self.propagation: list[tuple[str, bool]] = []
        self.data: list[tuple[str, str | None]] = []
        self.maps = ""
        self.bind = self.recursive = self.remount = self.tmpcopyup = self.idmap = self.ridmap = False
        self.copy_symlink = self.src_nofollow = self.dest_nofollow = False
        self.late_read_only = self.imposed_read_only = False

    def impose_read_only(self) -> None:
        """Make the mount read-only regardless of its options, and again at the end, after any remount."""
        asked = self.recursive_attributes.chosen.pop(RDONLY, self.attributes.chosen.get(RDONLY, False))
        self.attributes.take("ro")
        self.late_read_only, self.imposed_read_only = True, not asked

    def put_off_read_only(self) -> None:
        """Keep the mount writable at first; set late_read_only if the options ask for a read-only one."""
        for attributes in (self.attributes, self.recursive_attributes):
            self.late_read_only = attributes.chosen.pop(RDONLY, self.late_read_only)
        if self.late_read_only:
            self.flags = [flag for flag in self.flags if flag != "ro"]


def parse(options: Iterable[str]) -> MountOptions:
    """Return the meaning of the options.

    Of opposite words, the last one counts; others add up, in any order. Attributes are set first, then the recursive
    ones, then the propagation, word by word.
    """
    result = MountOptions()
    flags: dict[str, bool] = {}
    for option in words(options):
        known = result.attributes.take(option)
        superblock = SUPERBLOCK.get(option) or RECURSIVE_SUPERBLOCK.get(option)
        if superblock:
            flags[superblock[0]] = superblock[1]
            known = True
        if known or option in IGNORED or not option:
            continue
        if option in BINDS:
            # Two flags of mount(2), MS_BIND and MS_REC, which add up: "rbind" stays recursive after a later "bind".
            result.bind, result.recursive = True, result.recursive or BINDS[option]
        elif option in PROPAGATION:
            result.propagation.append(PROPAGATION[option])
        elif option in EXTENSIONS:
            setattr(result, EXTENSIONS[option], True)
        elif option[0] == "r" and result.recursive_attributes.take(option[1:]):
            continue
        else:
            key, equals, value = option.partition("=")
            if key in ("idmap", "ridmap"):
                setattr(result, key, True)
                result.maps = value
            else:
                result.data.append((key, value if equals else None))
    result.flags = [name for name, on in flags.items() if on and name not in UNSETTABLE]
    return result


def unquoted(key: str, value: str) -> str:
    """Return a value for fsconfig(2): a label without the quotes that protected its commas."""
    quoted = key in LABELS and len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if quoted else value
