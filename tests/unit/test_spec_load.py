"""Reading the bundle: what is missing is named in one line."""

import os
from pathlib import Path

import pytest

from pyruntime import spec
from pyruntime.errors import InvalidConfig

GOOD = b'{"ociVersion": "1.0.0", "root": {"path": "rootfs"}}'


def refused(*args: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        spec.load_config(*args)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(GOOD)
    raw, config = spec.load_config(f"{tmp_path}/")
    assert raw == GOOD and config["root"] == {"path": "rootfs"}


def test_another_file(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_bytes(GOOD)
    assert spec.load_config(str(tmp_path), str(tmp_path / "other.json"))[0] == GOOD


def test_no_bundle(tmp_path: Path) -> None:
    assert refused(f"{tmp_path}/no") == f"bundle {tmp_path}/no: no such file or directory (ENOENT)"


def test_a_bundle_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(f"{tmp_path}/file") == f"bundle {tmp_path}/file: not a directory"


def test_no_config(tmp_path: Path) -> None:
    assert refused(str(tmp_path)) == f"open {tmp_path}/config.json: no such file or directory (ENOENT)"


def test_a_config_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    assert refused(str(tmp_path)) == f"read {tmp_path}/config.json: is a directory (EISDIR)"


def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(GOOD)
    (tmp_path / "config.json").chmod(0)
    if os.geteuid() == 0:
        child = os.fork()
        if child == 0:
            tmp_path.parent.chmod(0o755)
            os.seteuid(65534)
            try:
                spec.load_config(f"/proc/{os.getpid()}/cwd", str(tmp_path / "config.json"))
            except InvalidConfig as error:
                os._exit("permission denied (EACCES)" not in str(error))
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:
        assert refused(str(tmp_path)) == f"open {tmp_path}/config.json: permission denied (EACCES)"


@pytest.mark.parametrize(
    "text, found", [("null", "null"), ("[1]", "the list [1]"), ('"x"', 'the string "x"'), ("true", "true")]
)
def test_not_an_object(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert refused(str(tmp_path)) == f"{tmp_path}/config.json: expected an object, found {found}"


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "LARGEST", 1 << 20)
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate((1 << 20) + 1)
    assert refused(str(tmp_path)) == f"{tmp_path}/config.json is larger than 1 MiB"


def test_a_process_document(tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_text('{"cwd": "/", "args": ["true"]}')
    assert spec.load_process(str(path)) == {"cwd": "/", "args": ["true"]}
    path.write_text("{")
    with pytest.raises(InvalidConfig, match=r"process\.json is not valid JSON: line 1, column 2"):
        spec.load_process(str(path))


def test_a_process_document_from_a_pipe() -> None:
    """As `exec --process <(…)` gives it; longer than a pipe holds at once."""
    reader, writer = os.pipe()
    text = b'{"cwd": "/", "args": ["' + b"x" * 200000 + b'"]}'
    child = os.fork()
    if child == 0:
        os.close(reader)
        while text:
            text = text[os.write(writer, text) :]
        os._exit(0)
    os.close(writer)
    try:
        assert len(spec.load_process(f"/dev/fd/{reader}")["args"][0]) == 200000
    finally:
        os.close(reader)
        os.waitpid(child, 0)


def test_no_descriptor_is_left_open_by_a_failure(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    refused(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
