"""Every row of the tables of mount options, as mount(8) and mount_setattr(2) have them (plan/mount_options)."""

from typing import Any

import pytest
from support import plans

from pyruntime.plan import mount_options, mounts

# mount_setattr(2), and config.md "Linux mount options": option -> attributes to set, attributes to clear.
ATTRIBUTES = {
    "ro": ("MOUNT_ATTR_RDONLY", ""),
    "rw": ("", "MOUNT_ATTR_RDONLY"),
    "nosuid": ("MOUNT_ATTR_NOSUID", ""),
    "suid": ("", "MOUNT_ATTR_NOSUID"),
    "nodev": ("MOUNT_ATTR_NODEV", ""),
    "dev": ("", "MOUNT_ATTR_NODEV"),
    "noexec": ("MOUNT_ATTR_NOEXEC", ""),
    "exec": ("", "MOUNT_ATTR_NOEXEC"),
    "nodiratime": ("MOUNT_ATTR_NODIRATIME", ""),
    "diratime": ("", "MOUNT_ATTR_NODIRATIME"),
    "nosymfollow": ("MOUNT_ATTR_NOSYMFOLLOW", ""),
    "symfollow": ("", "MOUNT_ATTR_NOSYMFOLLOW"),
    "relatime": ("", "MOUNT_ATTR__ATIME"),
    "norelatime": ("", ""),
    "noatime": ("MOUNT_ATTR_NOATIME", "MOUNT_ATTR__ATIME"),
    "atime": ("", "MOUNT_ATTR__ATIME"),
    "strictatime": ("MOUNT_ATTR_STRICTATIME", "MOUNT_ATTR__ATIME"),
    "nostrictatime": ("", "MOUNT_ATTR__ATIME"),
}
MODES = {
    "relatime": {"MOUNT_ATTR_RELATIME": True},
    "norelatime": {"MOUNT_ATTR_RELATIME": False},
    "noatime": {"MOUNT_ATTR_NOATIME": True},
    "atime": {"MOUNT_ATTR_NOATIME": False},
    "strictatime": {"MOUNT_ATTR_STRICTATIME": True},
    "nostrictatime": {"MOUNT_ATTR_STRICTATIME": False},
}


@pytest.mark.parametrize("option", ATTRIBUTES)
def test_attributes_of_a_mount(option: str) -> None:
    plain, recursive = mount_options.parse([option]), mount_options.parse([f"r{option}"])
    assert (plain.attributes.set, plain.attributes.clear) == ATTRIBUTES[option]
    assert (recursive.recursive_attributes.set, recursive.recursive_attributes.clear) == ATTRIBUTES[option]
    assert plain.attributes.modes == recursive.recursive_attributes.modes == MODES.get(option, {})
    assert not plain.recursive_attributes and not recursive.attributes
    assert not plain.data and not recursive.data
    assert {option, f"r{option}"} <= {*mount_options.OPTIONS}


# mount(8), "Filesystem-independent mount options": option -> the word for fsconfig(2), and the option that undoes it.
FLAGS = {
    "ro": ("ro", "rw"),
    "sync": ("sync", "async"),
    "dirsync": ("dirsync", None),
    "lazytime": ("lazytime", "nolazytime"),
    "rsync": ("sync", "rasync"),
    "rdirsync": ("dirsync", None),
}


@pytest.mark.parametrize("option", FLAGS)
def test_flags_of_a_file_system(option: str) -> None:
    flag, opposite = FLAGS[option]
    assert mount_options.parse([option]).flags == [flag]
    assert not mount_options.parse([option]).data
    if opposite:
        assert mount_options.parse([option, opposite]).flags == []
        assert mount_options.parse([opposite, option]).flags == [flag]
        assert not mount_options.parse([opposite]).data


# fs_parser.c has no such words: path_mount() drops MS_SILENT, and mandatory locks are gone since Linux 5.15.
@pytest.mark.parametrize(
    "option", ["mand", "nomand", "rmand", "rnomand", "silent", "loud", "iversion", "noiversion"]
)  # fmt: skip
def test_flags_without_effect(option: str) -> None:
    parsed = mount_options.parse([option])
    assert (parsed.flags, parsed.data) == ([], [])
    assert option in mount_options.OPTIONS


def test_pairs_of_flags_without_effect() -> None:
    assert {name: mount_options.SUPERBLOCK[name] for name in ("mand", "nomand", "silent", "loud")} == {
        "mand": ("mand", True), "nomand": ("mand", False), "silent": ("silent", True), "loud": ("silent", False),
    }  # fmt: skip
    assert mount_options.SUPERBLOCK["iversion"] == ("iversion", True)
    assert mount_options.SUPERBLOCK["noiversion"] == ("iversion", False)


# mount_namespaces(7), "Shared subtrees".
PROPAGATION = {
    "private": ("MS_PRIVATE", False), "rprivate": ("MS_PRIVATE", True),
    "shared": ("MS_SHARED", False), "rshared": ("MS_SHARED", True),
    "slave": ("MS_SLAVE", False), "rslave": ("MS_SLAVE", True),
    "unbindable": ("MS_UNBINDABLE", False), "runbindable": ("MS_UNBINDABLE", True),
}  # fmt: skip


@pytest.mark.parametrize("option", PROPAGATION)
def test_propagation(option: str) -> None:
    parsed = mount_options.parse([option])
    assert (parsed.propagation, parsed.data) == ([PROPAGATION[option]], [])
    assert option in mount_options.OPTIONS


@pytest.mark.parametrize("option", ["defaults", "_netdev", "nofail", "auto", "noauto", "user", "nouser", ""])
def test_words_of_fstab_are_not_data(option: str) -> None:
    parsed = mount_options.parse([option])
    assert (parsed.data, parsed.flags, bool(parsed.attributes)) == ([], [], False)


@pytest.mark.parametrize("option", ["tmpcopyup", "idmap", "ridmap", "remount", "copy-symlink", "src-nofollow"])
def test_extensions(option: str) -> None:
    parsed, nothing = mount_options.parse([option]), mount_options.parse([])
    changed = [name for name in mount_options.MountOptions.__slots__ if getattr(parsed, name) is True]
    assert changed == [option.replace("-", "_")]
    assert not [name for name in mount_options.MountOptions.__slots__ if getattr(nothing, name) is True]
    assert option in mount_options.OPTIONS


def test_dest_nofollow() -> None:
    assert mount_options.parse(["dest-nofollow"]).dest_nofollow is True
    assert mount_options.LINKS == {
        "copy-symlink": "copy_symlink", "src-nofollow": "src_nofollow", "dest-nofollow": "dest_nofollow",
    }  # fmt: skip


@pytest.mark.parametrize("key", ["context", "fscontext", "defcontext", "rootcontext"])
def test_labels_lose_their_quotes(key: str) -> None:
    assert mount_options.unquoted(key, '"s0:c1,c2"') == "s0:c1,c2"
    assert mount_options.unquoted(key, '""') == ""
    assert mount_options.unquoted(key, '"') == '"'
    assert mount_options.unquoted(key, '"open') == '"open'
    assert mount_options.unquoted(key, 'close"') == 'close"'
    assert mount_options.unquoted(key, "s0") == "s0"


def test_a_devpts_drops_newinstance_and_others_keep_it() -> None:
    for kind, count in (("devpts", 0), ("tmpfs", 1)):
        config = {"mounts": [{"destination": "/x", "type": kind, "options": ["newinstance"]}]}
        inputs = plans.inputs_for(config)
        found = mounts.mount_steps(mounts.parse(config, inputs.host, inputs.place), config, inputs.host, inputs.wishes)
        assert len([step for step in found if step.call == "fsconfig" and "newinstance" in step.args]) == count


# What a bind mount with some attributes does not inherit from its source, and what it does: mount_setattr(2).
ALL_BUT_DIRATIME = "MOUNT_ATTR_RDONLY MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC MOUNT_ATTR_NOSYMFOLLOW"
OTHERS = [
    ([], ""),
    (["ro"], "MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC MOUNT_ATTR_NOSYMFOLLOW"),
    (["exec"], "MOUNT_ATTR_RDONLY MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOSYMFOLLOW"),
    (["noatime"], f"{ALL_BUT_DIRATIME} MOUNT_ATTR_NODIRATIME"),
    (["nodiratime"], f"{ALL_BUT_DIRATIME} MOUNT_ATTR__ATIME"),
    (["diratime"], ALL_BUT_DIRATIME),
    (["nodiratime", "noatime"], ALL_BUT_DIRATIME),
]


@pytest.mark.parametrize("options, others", OTHERS, ids=str)
def test_other_attributes_of_a_bind_mount(options: list[str], others: str) -> None:
    assert {*mount_options.parse(options).attributes.others.split("|")} == {*(others.split() or [""])}


# The sources, by index, that the host opens first: (user namespace, mount) -> whether it does.
BIND: dict[str, Any] = {"destination": "/x", "type": "none", "source": "/s", "options": ["rbind"]}
OPENED = [
    (True, BIND, "/s"),
    (True, {**BIND, "source": "s"}, "/bundle/s"),
    (True, {**BIND, "type": "bind", "options": None}, "/s"),
    (True, {**BIND, "source": ""}, None),
    (True, {**BIND, "source": None}, None),
    (True, {**BIND, "options": ["ro"]}, None),
    (False, BIND, None),
    (False, {**BIND, "uidMappings": [{}]}, "/s"),
    (False, {**BIND, "options": ["bind", "idmap=uids=0-1-1;gids=0-1-1"]}, "/s"),
    (False, {**BIND, "options": ["bind,ridmap"]}, "/s"),
    (False, {**BIND, "uidMappings": [{}], "options": ["ro"]}, None),
]


@pytest.mark.parametrize("userns, mount, source", OPENED, ids=str)
def test_sources_that_the_host_opens(userns: bool, mount: dict[str, Any], source: str | None) -> None:
    """Not the first mount's: nothing is mounted before it that could cover its source."""
    listed = plans.namespaces_of({"linux": {"namespaces": [{"type": "user"}] if userns else []}})
    config = {"mounts": [mount, mount, {"destination": "/t", "type": "tmpfs", "source": "t"}, mount]}
    expected = {1: source, 3: source} if source else {}
    assert mounts.sources_for_host(config, listed, "/bundle") == expected
    assert mounts.sources_for_host({"mounts": None}, listed, "/bundle") == {}
