"""Session keyrings: the container has its own, exec joins it, and nobody else's keys are ever inside; keyrings(7)."""

import subprocess
from pathlib import Path

import pytest
from support.bundle import Bundle
from support.fixtures import Attack, Inside, Make
from support.runtime import ENVIRONMENT, SECONDS, Container, Runtime, new_id, wait_for

NO_SUCH_KEY = "search: Required key not available"
HOST_ID = 100_000


@pytest.fixture
def keyring(attack: Attack, bundle: Bundle) -> str:
    """The keyring program as a path of the host; the container has it as /keyring."""
    program = attack("keyring")
    inside = bundle.rootfs / "keyring"
    inside.write_bytes(program.read_bytes())
    inside.chmod(0o755)
    return str(program)


@pytest.fixture(params=["host's user namespace", "own user namespace"])
def users(request: pytest.FixtureRequest, bundle: Bundle) -> str:
    if request.param.startswith("own"):
        bundle.namespaces(user="")
        for key in ("uidMappings", "gidMappings"):
            bundle.linux[key] = [{"containerID": 0, "hostID": HOST_ID, "size": 2000}]
    return str(request.param)


def call_with_key(keyring: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of a caller who has the key `of-caller` in his session keyring."""
    return subprocess.run(
        [keyring, "with", "of-caller", "secret", *map(str, command)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=SECONDS,
    )


def test_the_caller_has_the_key(keyring: str) -> None:
    """What the tests below find nothing of is there."""
    assert call_with_key(keyring, keyring, "read", "of-caller").stdout == "secret\n"


@pytest.mark.usefixtures("users")
class TestCallersKeys:
    @pytest.mark.parametrize("uid", ["0", "1000"])
    @pytest.mark.parametrize("options", [[], ["--no-new-keyring"]], ids=["default", "no-new-keyring"])
    def test_exec(self, container: Make, keyring: str, options: list[str], uid: str) -> None:
        box = container(*options)
        command = box.runtime.command("exec", "--user", uid, box.id, "/keyring", "read", "of-caller")
        result = call_with_key(keyring, *command)
        assert (result.returncode, result.stdout, result.stderr.strip()) == (1, "", NO_SUCH_KEY)

    def test_run(self, runtime: Runtime, bundle: Bundle, keyring: str) -> None:
        bundle.args("/keyring", "read", "of-caller")
        result = call_with_key(keyring, *runtime.command("run", "--bundle", bundle.save(), new_id()))
        assert (result.returncode, result.stdout, result.stderr.strip()) == (1, "", NO_SUCH_KEY)

    def test_run_that_keeps_them(self, runtime: Runtime, bundle: Bundle, keyring: str) -> None:
        bundle.args("/keyring", "read", "of-caller")
        command = runtime.command("run", "--no-new-keyring", "--bundle", bundle.save(), new_id())
        assert call_with_key(keyring, *command).stdout == "secret\n"


@pytest.mark.usefixtures("users", "keyring")
class TestContainersKeys:
    @pytest.fixture
    def box(self, container: Make, bundle: Bundle) -> Container:
        bundle.sh("/keyring add own text && echo added; exec sleep 1000")
        made = container()
        wait_for(lambda: made.output == "added\n", "init has added its key")
        return made

    @pytest.mark.parametrize("uid", ["0", "1000"])
    def test_exec_reads_what_init_has_added(self, box: Container, uid: str) -> None:
        assert box.sh("/keyring read own", "--user", uid) == "text"

    def test_one_exec_reads_what_another_has_added(self, box: Container) -> None:
        box.sh("/keyring add second more")
        assert box.sh("/keyring read second") == "more"


class TestOthers:
    @pytest.mark.parametrize("user", [0, 1234])
    def test_a_keyring_made_before_the_containers(
        self, container: Make, bundle: Bundle, keyring: str, user: int
    ) -> None:
        """Who makes a keyring of the name that runtimes give a container's does not get the container into it."""
        box = container(create=False)
        program = bundle.path.parent / "keyring"  # in a directory that everybody may enter
        program.write_bytes(Path(keyring).read_bytes())
        program.chmod(0o755)
        command = [str(program), "plant", f"_ses.{box.id}", "bait", "trap"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, user=user) as planter:
            try:
                assert planter.stdout is not None and planter.stdout.readline() == b"planted\n"
                box.create()
                box.start()
                for _ in range(2):
                    result = box.exec("--", "/keyring", "read", "bait")
                    assert (result.status, result.stdout, result.stderr.strip()) == (1, "", NO_SUCH_KEY)
            finally:
                planter.kill()

    @pytest.mark.usefixtures("users", "keyring")
    def test_another_container_neither_sees_nor_links_it(self, container: Make, inside: Inside, bundle: Bundle) -> None:
        """Both have the same ids, as all containers of a daemon have."""
        bundle.linux.pop("maskedPaths")
        box = container()
        assert box.sh(f"grep -c _ses.{box.id} /proc/keys") == "1", "its own processes see it"
        assert inside(f"/keyring grab _ses.{box.id}") == "0"
