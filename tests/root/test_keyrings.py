"""Session keyrings: the container has its own, exec joins it, and nobody else's keys are ever inside; keyrings(7)."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import attacks
from support.bundle import Bundle
from support.fixtures import Inside, Make
from support.runtime import ENVIRONMENT, SECONDS, Container, Runtime, new_id, wait_for

NO_SUCH_KEY = "search: Required key not available"
HOST_ID, FULL_IDS = 100_000, {"run": 300_000, "exec": 310_000}


@pytest.fixture
def keyring(bundle: Bundle, workdir: Path) -> str:
    """The keyring program, which every user of the host may run; the container has it as /keyring."""
    attacks.place("keyring", bundle.rootfs / "keyring")
    return str(attacks.place("keyring", workdir / "keyring"))


@pytest.fixture(params=["host-userns", "own-userns"])
def users(request: pytest.FixtureRequest, bundle: Bundle) -> str:
    if request.param.startswith("own"):
        map_users(bundle, HOST_ID)
    return str(request.param)


def map_users(bundle: Bundle, first: int) -> None:
    bundle.namespaces(user="")
    for key in ("uidMappings", "gidMappings"):
        bundle.linux[key] = [{"containerID": 0, "hostID": first, "size": 2000}]


@contextlib.contextmanager
def planter(keyring: str, user: int, *words: str) -> Iterator[str]:
    """Let a user of the host do something with keys and wait; the value is the line that he prints."""
    with subprocess.Popen([keyring, *words], stdout=subprocess.PIPE, text=True, user=user) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


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


@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_user_who_may_have_no_more_keys(
    runtime: Runtime, container: Make, bundle: Bundle, keyring: str, command: str
) -> None:
    """The container's root is an ordinary user with a small quota; without a keyring of its own it gets no other's."""
    map_users(bundle, FULL_IDS[command])
    with planter(keyring, FULL_IDS[command], "fill") as said:
        assert said == "Disk quota exceeded"
        if command == "run":
            bundle.args("/keyring", "read", "of-caller")
            line = runtime.command("run", "--bundle", bundle.save(), new_id())
        else:
            line = runtime.command("exec", container().id, "/keyring", "read", "of-caller")
        result = call_with_key(keyring, *line)
    assert (result.returncode, result.stdout, result.stderr.strip()) == (1, "", NO_SUCH_KEY)


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
        bundle.sh("/keyring read bait; exec sleep 1000")
        box = container(create=False)
        with planter(keyring, user, "plant", f"_ses.{box.id}", "bait", "trap") as said:
            assert said == "planted"
            box.create()
            box.start()
            wait_for(lambda: box.errors.strip() == NO_SUCH_KEY and box.output == "", "init has looked in vain")
            for _ in range(2):
                result = box.exec("--", "/keyring", "read", "bait")
                assert (result.status, result.stdout, result.stderr.strip()) == (1, "", NO_SUCH_KEY)

    @pytest.mark.usefixtures("users", "keyring")
    def test_another_container_neither_sees_nor_links_it(self, container: Make, inside: Inside, bundle: Bundle) -> None:
        """Both have the same ids, as all containers of a daemon have."""
        bundle.linux.pop("maskedPaths")
        box = container()
        assert box.sh(f"grep -c _ses.{box.id} /proc/keys") == "1", "its own processes see it"
        assert inside(f"/keyring grab _ses.{box.id}") == "0"
