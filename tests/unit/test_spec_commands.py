"""The commands `spec` and `features`, and the config to begin with."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from pyruntime import SPEC_VERSION, cli, spec
from pyruntime.commands import features
from pyruntime.errors import Failure
from pyruntime.options import Options
from pyruntime.plan import unsupported
from pyruntime.spec import _validator, checks, default

DATA = Path(__file__).parents[1] / "data" / "features"


def run(*args: str) -> None:
    options = Options()
    assert cli.dispatch(list(args), options) == 0


class TestSpec:
    def test_writes_a_valid_config(self, tmp_path: Path) -> None:
        run("spec", "--bundle", str(tmp_path))
        raw, config = spec.load_config(str(tmp_path))
        assert spec.validate(config) == []
        assert config == default.default_config()
        assert config["process"]["terminal"] is True and config["process"]["args"] == ["sh"]
        assert {"type": "cgroup"} in config["linux"]["namespaces"]
        assert raw.endswith(b"}\n") and len(raw.splitlines()) > 50

    def test_rootless(self, tmp_path: Path) -> None:
        run("spec", "-b", f"{tmp_path}/", "--rootless")
        _, config = spec.load_config(str(tmp_path))
        assert spec.validate(config) == []
        linux = config["linux"]
        assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        assert linux["gidMappings"] == [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
        kinds = [entry["type"] for entry in linux["namespaces"]]
        assert "user" in kinds and "network" not in kinds and "resources" not in linux
        assert not any("gid=5" in entry.get("options", ()) for entry in config["mounts"])

    def test_in_the_working_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        run("spec")
        assert (tmp_path / "config.json").is_file()

    def test_to_a_file(self, tmp_path: Path) -> None:
        """crun's option; a relative name is below the bundle."""
        run("spec", "-b", str(tmp_path), "-f", "other.json")
        run("spec", "--file", f"{tmp_path}/third.json")
        assert sorted(file.name for file in tmp_path.iterdir()) == ["other.json", "third.json"]

    def test_leaves_a_config_alone(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("mine")
        with pytest.raises(Failure) as caught:
            run("spec", "-b", str(tmp_path))
        assert str(caught.value) == f"File {tmp_path}/config.json exists. Remove it first"
        assert (tmp_path / "config.json").read_text() == "mine"

    def test_no_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(Failure) as caught:
            run("spec", "-b", f"{tmp_path}/no")
        assert str(caught.value) == f"write {tmp_path}/no/config.json: no such file or directory (ENOENT)"

    def test_two_configs_share_nothing(self) -> None:
        default.default_config()["process"]["args"].append("changed")
        assert default.default_config()["process"]["args"] == ["sh"]


class TestFeatures:
    @pytest.fixture
    def printed(self, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        run("features")
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    def test_is_valid_by_the_schema_of_the_spec(self, printed: dict[str, Any]) -> None:
        documents = {path.name: json.loads(path.read_text()) for path in DATA.glob("*.json")}
        registry: Registry[Any] = Registry().with_resources(
            (name, DRAFT4.create_resource(document)) for name, document in documents.items()
        )
        validator = Draft4Validator(documents["features-schema.json"], registry=registry)
        assert list(validator.iter_errors(printed)) == []
        assert list(validator.iter_errors({**printed, "hooks": [1]})) != []

    def test_what_is_claimed_is_recognised(self, printed: dict[str, Any]) -> None:
        """The words that `features` prints are valid in a config; the versions are accepted."""
        linux = printed["linux"]
        for version in (printed["ociVersionMin"], printed["ociVersionMax"]):
            checks.check_version({"ociVersion": version, "root": {"path": "rootfs"}})
        assert printed["ociVersionMax"] == SPEC_VERSION
        assert set(linux["namespaces"]) == _validator.NAMESPACE_TYPE
        assert set(linux["seccomp"]["actions"]) == _validator.SECCOMP_ACTION
        assert set(linux["seccomp"]["operators"]) == _validator.SYSCALL_ARG_OP
        assert set(linux["seccomp"]["archs"]) <= _validator.SECCOMP_ARCH
        assert "SCMP_ARCH_X86_64" in linux["seccomp"]["archs"]
        assert {"rro", "idmap", "bind", "tmpcopyup"} <= set(printed["mountOptions"])
        assert printed["mountOptions"] == sorted(printed["mountOptions"])

    def test_the_version_of_libseccomp(self, printed: dict[str, Any]) -> None:
        name = "io.github.seccomp.libseccomp.version"
        if printed["linux"]["seccomp"]["enabled"]:
            assert re.fullmatch(r"2\.\d+\.\d+", printed["annotations"].pop(name))
        assert printed["annotations"] == {}

    def test_what_is_refused_is_not_claimed(self, printed: dict[str, Any]) -> None:
        refused = {path[-1] for path, _ in unsupported.UNSUPPORTED}
        assert printed["linux"]["netDevices"]["enabled"] is ("netDevices" not in refused)
        assert printed["linux"]["intelRdt"]["enabled"] is ("intelRdt" not in refused)
        assert printed["linux"]["cgroup"]["v2"] is True and printed["linux"]["cgroup"]["v1"] is False

    def test_without_libseccomp(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "pyruntime.kernel.seccomp", None)
        assert features.document()["linux"]["seccomp"] == {"enabled": False}
