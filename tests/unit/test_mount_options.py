"""Mount options: which join, which replace each other, and which of them are refused. docs/mount-options.md."""

from typing import TYPE_CHECKING, Any

import pytest
from support import plans

from pyruntime.errors import InvalidConfig
from pyruntime.plan import idmaps, mount_options, mounts, old_mount
from pyruntime.spec import checks
from pyruntime.spec.options import split, words
from pyruntime.step import Step

if TYPE_CHECKING:
    from pyruntime.spec._config import Config, Mount

BINDS = [
    (["bind"], False),
    (["rbind"], True),
    (["rbind", "bind"], True),
    (["bind", "rbind"], True),
    (["rbind", "rprivate", "ro", "bind"], True),
    (["bind,rbind,ro"], True),
]

ATIMES = [
    (["noatime", "relatime"], "MOUNT_ATTR_NOATIME"),
    (["relatime", "noatime"], "MOUNT_ATTR_NOATIME"),
    (["noatime", "strictatime"], "MOUNT_ATTR_STRICTATIME"),
    (["strictatime", "noatime"], "MOUNT_ATTR_STRICTATIME"),
    (["noatime", "atime"], "MOUNT_ATTR_RELATIME"),
    (["strictatime", "nostrictatime"], "MOUNT_ATTR_RELATIME"),
    (["noatime", "norelatime"], "MOUNT_ATTR_NOATIME"),
    (["noatime", "nostrictatime"], "MOUNT_ATTR_NOATIME"),
    (["relatime"], "MOUNT_ATTR_RELATIME"),
    (["norelatime"], None),
    (["nodiratime"], None),
    (["ro"], None),
]


@pytest.mark.parametrize("options, recursive", BINDS, ids=str)
def test_bind_and_rbind_join(options: list[str], recursive: bool) -> None:
    parsed = mount_options.parse(options)
    assert (parsed.bind, parsed.recursive) == (True, recursive)


@pytest.mark.parametrize("options, mode", ATIMES, ids=str)
def test_access_time_modes_join(options: list[str], mode: str | None) -> None:
    assert mount_options.parse(options).attributes.atime == mode


SPLIT = [
    ("ro", ["ro"]),
    ("size=1m,mode=700", ["size=1m", "mode=700"]),
    ("rbind,ro,nosuid", ["rbind", "ro", "nosuid"]),
    ("", [""]),
    ("a,,b,", ["a", "", "b", ""]),
    ('context="a:b:c:s0:c1,c2",ro', ['context="a:b:c:s0:c1,c2"', "ro"]),
    (r"lowerdir=/a\,b:/c,ro", [r"lowerdir=/a\,b:/c", "ro"]),
    ('a"b,c"', ['a"b', 'c"']),
    ('context="a,b', ['context="a,b']),
    ("idmap=uids=0-1-2#3-4-5;gids=0-1-2,ro", ["idmap=uids=0-1-2#3-4-5;gids=0-1-2", "ro"]),
]


@pytest.mark.parametrize("text, parts", SPLIT, ids=[text for text, _ in SPLIT])
def test_options_in_one_string(text: str, parts: list[str]) -> None:
    assert split(text) == parts
    assert list(words([text])) == parts


def test_a_label_loses_its_quotes_and_other_values_keep_them() -> None:
    assert mount_options.unquoted("context", '"a,b"') == "a,b"
    assert mount_options.unquoted("context", "a") == "a"
    assert mount_options.unquoted("lowerdir", '"a"') == '"a"'


def steps(mount: dict[str, Any], userns: bool = False, **linux: Any) -> list[Step]:
    """Return the steps of one mount on /mnt."""
    config = {"mounts": [{"destination": "/mnt", **mount}], "linux": linux}
    inputs = plans.inputs_for(config)
    if userns:
        inputs.host.namespaces.joined["user"] = "/proc/9/ns/user"
    parsed = mounts.parse(config, inputs.host, inputs.place)
    return [
        *mounts.host_mount_steps(parsed, config, inputs.host, inputs.wishes),
        *mounts.mount_steps(parsed, config, inputs.host, inputs.wishes),
        *mounts.late_steps(parsed),
    ]


def calls(found: list[Step], *names: str) -> list[str]:
    return [step.describe() for step in found if step.call in names]


class TestReadOnlyInTheEnd:
    @pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
    @pytest.mark.parametrize("options", [["ro"], ["rro"], ["rw", "ro"], ["ro,nosuid"], ["rro", "rw"]], ids=str)
    def test_what_is_filled_first(self, kind: str, options: list[str]) -> None:
        found = steps({"type": kind, "source": kind, "options": options})
        assert found[-1].describe() == 'mount_setattr(<mount0>, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0)'
        assert found[-1].closes == ("mount0",)
        assert not [step for step in found[:-1] if "RDONLY" in step.describe() or '"ro"' in step.describe()]

    @pytest.mark.parametrize("options", [[], ["rw"], ["ro", "rw"], ["ro", "rrw"]], ids=str)
    def test_what_is_writable(self, options: list[str]) -> None:
        found = steps({"type": "tmpfs", "source": "tmpfs", "options": options})
        assert not [step for step in found if "RDONLY, 0, 0" in step.describe()]

    @pytest.mark.parametrize("kind", ["ext4", "overlay", "proc", "sysfs", "mqueue"])
    def test_others_are_from_the_start(self, kind: str) -> None:
        found = steps({"type": kind, "source": "x", "options": ["ro"]})
        assert 'fsconfig(<fs0>, FSCONFIG_SET_FLAG, "ro", NULL, 0)' in calls(found, "fsconfig")
        assert "MOUNT_ATTR_RDONLY" in calls(found, "fsmount")[0]
        assert found[-1].call != "mount_setattr"


class TestLongValues:
    def test_as_long_as_fsconfig_takes_them(self) -> None:
        found = steps({"type": "overlay", "source": "o", "options": [f"lowerdir={'x' * 255}"]})
        assert not calls(found, "mount_by_data")

    @pytest.mark.parametrize(
        "options", [[f"lowerdir={'x' * 256}"], ["lowerdir=" + "\u00e9" * 128]], ids=["ascii", "utf-8"]
    )
    def test_longer(self, options: list[str]) -> None:
        found = steps({"type": "overlay", "source": "o", "options": [*options, "nosuid", "ro", "index=off"]})
        (call,) = [step for step in found if step.call == "mount_by_data"]
        assert [repr(arg) for arg in call.args[:3]] == ["'o'", "'overlay'", "MS_RDONLY"]
        assert call.args[3] == f"{options[0]},index=off"
        assert not calls(found, "fsopen", "fsconfig", "fsmount")
        assert "MOUNT_ATTR_NOSUID" in calls(found, "mount_setattr")[0], "as every mount, before it is attached"

    def test_a_long_source(self) -> None:
        found = steps({"type": "nfs", "source": "s" * 300})
        assert calls(found, "mount_by_data")

    def test_more_than_a_page_of_layers(self) -> None:
        layers = [f"/layers/{number:03}/{'x' * 100}" for number in range(60)]
        found = steps({"type": "overlay", "source": "o", "options": ["lowerdir=" + ":".join(layers), "userxattr"]})
        assert not calls(found, "mount_by_data")
        values = [step.args[3] for step in found if step.call == "fsconfig" and step.args[2] == "lowerdir+"]
        assert values == layers

    @pytest.mark.parametrize(
        "value, layers",
        [
            ("/a:/b", [("lowerdir+", "/a"), ("lowerdir+", "/b")]),
            (r"/a\:b:/c\\d:/e\,f", [("lowerdir+", "/a:b"), ("lowerdir+", r"/c\d"), ("lowerdir+", "/e,f")]),
            ("/a::/b::/c", [("lowerdir+", "/a"), ("datadir+", "/b"), ("datadir+", "/c")]),
        ],
    )
    def test_layers(self, value: str, layers: list[tuple[str, str]]) -> None:
        data: list[tuple[str, str | None]] = [("lowerdir", value), ("x", "y" * 5000)]
        assert old_mount.split_layers("overlay", data)[:-1] == layers
        assert old_mount.split_layers("fuse.x", data) == data

    def test_too_long_for_every_way(self) -> None:
        with pytest.raises(InvalidConfig, match=r"the options of this mount are 5002 bytes, and mount\(2\) takes 4095"):
            steps({"type": "tmpfs", "source": "t", "options": [f"x={'y' * 5000}"]})


MAPS: dict[str, Any] = {
    "uidMappings": [{"containerID": 0, "hostID": 5000, "size": 100}],
    "gidMappings": [{"containerID": 0, "hostID": 6000, "size": 100}],
}
IDMAPS = [
    ("idmap=uids=0-1-10;gids=0-100-10", ["0 1 10\n", "0 100 10\n"]),
    ("ridmap=gids=0-100-10;uids=0-1-10", ["0 1 10\n", "0 100 10\n"]),
    ("idmap=uids=0-1-10#10-11-10;gids=0-100-10", ["0 1 10\n10 11 10\n", "0 100 10\n"]),
    ("idmap=uids=@1-3-10;gids=@0-0-5#@5-20-1", ["1 5003 10\n", "0 6000 5\n5 6020 1\n"]),
]
NO_IDMAPS = [
    ("idmap=x", "is not a mapping"),
    ("idmap=uids=0-1-10", "it needs both"),
    ("idmap=uids=;gids=", "is not a mapping"),
    ("idmap=uids=0-1;gids=0-1-1", "is not a mapping"),
    ("idmap=uids=0-1-x;gids=0-1-1", "is not a mapping"),
    ("idmap=uids=0--1-5;gids=0-1-1", "is not a mapping"),
    ("idmap=uids=0-1-1;uids=0-1-1", "is not a mapping"),
    ("idmap=uids=0-1-1;gids=0-1-1;x=1", "is not a mapping"),
    ("idmap=uids=0-1-0;gids=0-1-1", "size 0"),
    ("idmap=uids=0-1-5#4-9-5;gids=0-1-1", "overlaps"),
    ("idmap=uids=@99-99-5;gids=0-1-1", "relative to the container's user namespace"),
]


class TestIdmap:
    @pytest.mark.parametrize("option, maps", IDMAPS, ids=[option for option, _ in IDMAPS])
    def test_mappings(self, option: str, maps: list[str]) -> None:
        found = steps({"type": "bind", "source": "/x", "options": ["rbind", option]}, **MAPS)
        (made,) = [step for step in found if step.call == "idmap_userns"]
        assert [*made.args] == maps
        mapped = calls(found, "mount_setattr")[1]
        assert "MOUNT_ATTR_IDMAP" in mapped and ("AT_RECURSIVE" in mapped) == option.startswith("r")

    @pytest.mark.parametrize("option, said", NO_IDMAPS, ids=[option for option, _ in NO_IDMAPS])
    def test_refused(self, option: str, said: str) -> None:
        with pytest.raises(InvalidConfig) as caught:
            steps({"type": "bind", "source": "/x", "options": ["rbind", option]}, **MAPS)
        assert said in str(caught.value) and "#/mounts/0/options" in str(caught.value)

    def test_not_twice(self) -> None:
        options = mount_options.parse(["bind", "idmap=uids=0-1-1;gids=0-1-1"])
        with pytest.raises(InvalidConfig, match="mappings by uidMappings"):
            idmaps.own_maps(MAPS, options, {}, "/mounts/0")

    @pytest.mark.parametrize("option", ["idmap", "ridmap", "idmap=", "ro,idmap"])
    def test_without_mappings_it_needs_a_user_namespace(self, option: str) -> None:
        mount: Mount = {"destination": "/mnt", "type": "bind", "source": "/x", "options": ["bind", option]}
        config: Config = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "mounts": [mount]}
        with pytest.raises(InvalidConfig, match="needs a user namespace"):
            checks.check_mounts(config)
        mount["options"] = ["bind", f"{option.removesuffix('=')}=uids=0-1-1;gids=0-1-1"]
        checks.check_mounts(config)


REFUSED = [
    ("tmpfs", ["copy-symlink"], "copy-symlink is for bind mounts only"),
    ("tmpfs", ["src-nofollow"], "src-nofollow is for bind mounts only"),
    ("tmpfs", ["dest-nofollow"], "dest-nofollow is for bind mounts only"),
    ("none", ["bind", "copy-symlink", "src-nofollow"], "copy-symlink and src-nofollow exclude each other"),
    ("none", ["bind", "dest-nofollow", "copy-symlink"], "copy-symlink and dest-nofollow exclude each other"),
    ("none", ["bind", "tmpcopyup"], "tmpcopyup is for tmpfs only"),
    ("ramfs", ["tmpcopyup"], "tmpcopyup is for tmpfs only"),
]


@pytest.mark.parametrize("kind, options, said", REFUSED, ids=str)
def test_refused(kind: str, options: list[str], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        steps({"type": kind, "source": "/x", "options": options})


WITHOUT_EFFECT = [
    (["bind", "sync"], "sync"),
    (["bind", "rdirsync"], "dirsync"),
    (["bind", "lazytime", "ro"], "lazytime"),
    (["bind", "size=1m,mode=7"], "size, mode"),
    (["bind", "acl"], "acl"),
    (["bind", "ro", "async"], ""),
]


@pytest.mark.parametrize("options, said", WITHOUT_EFFECT, ids=str)
def test_without_effect_on_a_bind_mount(options: list[str], said: str) -> None:
    config = {"mounts": [{"destination": "/x", "source": "/y", "options": options}]}
    found = mounts.warnings(mounts.parse(config, plans.host_for(config), plans.place_for()))
    expected = [f"options without effect on a bind mount: {said} [config.json#/mounts/0/options]"] if said else []
    assert found == expected


def test_a_remount_with_data_changes_the_file_system() -> None:
    found = steps({"options": ["remount", "size=2m", "sync", "ro"]})
    assert calls(found, "fspick", "fsconfig") == [
        'fspick(<mount0>, "", FSPICK_EMPTY_PATH|FSPICK_CLOEXEC) = <fs0>',
        'fsconfig(<fs0>, FSCONFIG_SET_FLAG, "sync", NULL, 0)',
        'fsconfig(<fs0>, FSCONFIG_SET_STRING, "size", "2m", 0)',
        "fsconfig(<fs0>, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0)",
    ]
    assert not calls(steps({"options": ["remount", "ro"]}), "fspick")
