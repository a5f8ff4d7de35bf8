"""Where credentials are looked for, in which order, and what credential helpers may do."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ci_env.errors import CiEnvError, ConfigError, HostError
from ci_env.events import Event, Note
from ci_env.oci.credential_helper import ask_helper
from ci_env.oci.credential_search import CredentialSearch
from tests.credential_helper import knowing, on_path, write_helper

HUB = "https://index.docker.io/v1/"


class Places:
    """All places of credentials, below one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.helpers = path / "bin"
        self.asked = path / "asked"
        self.events: list[Event] = []
        self.environment = {
            "HOME": str(path / "home"),
            "XDG_RUNTIME_DIR": str(path / "run"),
            "PATH": on_path(self.helpers),
        }
        self.docker = path / "home/.docker/config.json"
        self.podman = path / "run/containers/auth.json"
        self.named = path / "named.json"

    def write(self, file: Path, content: Mapping[str, object], *, mode: int = 0o600) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        file.chmod(mode)

    def login(self, file: Path, user: str, host: str = "r.example", *, mode: int = 0o600) -> None:
        self.write(file, {"auths": {host: auth(user)}}, mode=mode)

    def search(self) -> CredentialSearch:
        return CredentialSearch(self.environment, self.events.append)

    def user(self, registry: str = "r.example", repository: str = "team/app") -> str | None:
        found = self.search().find(registry, repository)
        return found.user if found else None


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def auth(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:pw".encode()).decode()}


def test_nowhere(places: Places) -> None:
    assert places.user() is None
    places.environment.clear()
    assert places.user() is None


def test_order(places: Places) -> None:
    places.login(places.docker, "docker")
    assert places.user() == "docker"
    places.login(places.podman, "podman")
    assert places.user() == "podman"
    places.login(places.named, "named")
    places.environment["REGISTRY_AUTH_FILE"] = str(places.named)
    assert places.user() == "named"
    places.environment |= {
        "CI_ENV_REGISTRY": "R.example",
        "CI_ENV_REGISTRY_USER": "env",
        "CI_ENV_REGISTRY_PASSWORD": "x",
    }
    assert places.user() == "env"


def test_a_file_without_the_registry_is_passed_over(places: Places) -> None:
    places.login(places.podman, "podman", host="other.example")
    places.login(places.docker, "docker")
    assert places.user() == "docker"


def test_docker_config(places: Places) -> None:
    places.login(places.docker, "home")
    places.login(places.path / "elsewhere/config.json", "elsewhere")
    places.environment["DOCKER_CONFIG"] = str(places.path / "elsewhere")
    assert places.user() == "elsewhere"


def test_the_environment_is_for_its_registry_only(places: Places) -> None:
    places.environment |= {
        "CI_ENV_REGISTRY": "r.example",
        "CI_ENV_REGISTRY_USER": "env",
        "CI_ENV_REGISTRY_PASSWORD": "x",
    }
    assert places.user("r.example") == "env"
    assert places.user("r.example:5000") is None
    assert places.user("docker.io") is None


@pytest.mark.parametrize("missing", ["CI_ENV_REGISTRY", "CI_ENV_REGISTRY_USER", "CI_ENV_REGISTRY_PASSWORD"])
def test_an_incomplete_environment(places: Places, missing: str) -> None:
    names = {"CI_ENV_REGISTRY": "r.example", "CI_ENV_REGISTRY_USER": "u", "CI_ENV_REGISTRY_PASSWORD": "secret"}
    places.environment |= {name: value for name, value in names.items() if name != missing}
    with pytest.raises(ConfigError, match=f"but {missing} is not set") as caught:
        places.user()
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("name", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_the_environment_names_docker_hub_in_any_way(places: Places, name: str) -> None:
    places.environment |= {"CI_ENV_REGISTRY": name, "CI_ENV_REGISTRY_USER": "env", "CI_ENV_REGISTRY_PASSWORD": "x"}
    assert places.user("docker.io") == "env"


def test_a_named_file_must_be_there(places: Places) -> None:
    places.environment["REGISTRY_AUTH_FILE"] = str(places.named)
    with pytest.raises(ConfigError, match=r"REGISTRY_AUTH_FILE names .*named\.json, which does not exist"):
        places.user()


def test_a_place_that_is_no_file(places: Places) -> None:
    places.docker.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"cannot read .*config\.json, which may hold a login: Is a directory"):
        places.user()


def test_a_damaged_file(places: Places) -> None:
    places.docker.parent.mkdir(parents=True)
    places.docker.write_bytes(b"\0")
    with pytest.raises(ConfigError, match=rf"^{places.docker} is not valid JSON"):
        places.user()


def test_a_file_that_everybody_can_read_is_told_of_once(places: Places) -> None:
    places.login(places.docker, "docker", mode=0o644)
    search = places.search()
    search.find("r.example", "a")
    search.find("r.example", "b")
    message = f"{places.docker} holds passwords, and everybody can read it; chmod 600 {places.docker}"
    assert places.events == [Note("warning", message)]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_a_group_is_not_everybody(places: Places, mode: int) -> None:
    places.login(places.docker, "docker", mode=mode)
    assert places.user() == "docker"
    assert places.events == []


def test_a_file_without_secrets_may_be_read(places: Places) -> None:
    places.write(places.docker, {"auths": {"r.example": {}}, "credHelpers": {"other": "x"}}, mode=0o644)
    assert places.user() is None
    assert places.events == []


class TestHelpers:
    def test_for_a_host(self, places: Places) -> None:
        write_helper(places.helpers, "one", knowing("r.example", "ann", "pw", asked=places.asked))
        places.write(places.docker, {"auths": {"r.example": auth("file")}, "credHelpers": {"r.example": "one"}})
        assert places.user("r.example") == "ann"
        assert places.user("other.example") is None
        assert places.asked.read_text() == "get r.example\n"

    def test_for_all_hosts(self, places: Places) -> None:
        write_helper(places.helpers, "all", knowing("r.example", "ann", "pw", asked=places.asked))
        places.write(places.docker, {"auths": {"r.example": {}}, "credsStore": "all"})
        assert places.user("r.example") == "ann"
        assert places.user("other.example") is None

    def test_an_entry_is_more_particular_than_the_store(self, places: Places) -> None:
        write_helper(places.helpers, "all", knowing("r.example", "ann", "pw", asked=places.asked))
        places.write(places.docker, {"auths": {"r.example/team": auth("team")}, "credsStore": "all"})
        assert places.user("r.example", "team/app") == "team"
        assert places.user("r.example", "app") == "ann"

    def test_a_helper_that_knows_nothing(self, places: Places) -> None:
        write_helper(places.helpers, "one", knowing("other", "ann", "pw", asked=places.asked))
        places.write(places.podman, {"credHelpers": {"r.example": "one"}})
        places.login(places.docker, "docker")
        assert places.user() == "docker"

    @pytest.mark.parametrize("server", [HUB, "docker.io"])
    @pytest.mark.parametrize("key", [HUB, "docker.io"])
    def test_docker_hub(self, places: Places, server: str, key: str) -> None:
        write_helper(places.helpers, "hub", knowing(server, "ann", "pw", asked=places.asked))
        places.write(places.docker, {"credHelpers": {key: "hub"}})
        assert places.user("docker.io", "library/debian") == "ann"

    def test_is_asked_once(self, places: Places) -> None:
        write_helper(places.helpers, "one", knowing("r.example", "ann", "pw", asked=places.asked))
        places.write(places.docker, {"credsStore": "one"})
        search = places.search()
        for repository in ("a", "b"):
            assert search.find("r.example", repository) is not None
            assert search.find("no.example", repository) is None
        assert places.asked.read_text() == "get r.example\nget no.example\n"

    def test_an_identity_token(self, places: Places) -> None:
        write_helper(places.helpers, "one", knowing("r.example", "<token>", "refresh", asked=places.asked))
        places.write(places.docker, {"credsStore": "one"})
        found = places.search().find("r.example", "a")
        assert found is not None
        assert (found.user, found.password, found.identity_token) == ("", "", "refresh")

    def test_is_not_installed(self, places: Places) -> None:
        places.write(places.docker, {"credsStore": "desktop"})
        with pytest.raises(HostError) as caught:
            places.user()
        assert caught.value.message == (
            f"docker-credential-desktop, which {places.docker} names for r.example, is not installed"
        )
        assert caught.value.hint == f"install docker-credential-desktop, or take 'desktop' out of {places.docker}"

    @pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "a\n", "a;b"])
    def test_names_that_are_none(self, name: str) -> None:
        with pytest.raises(ConfigError, match="no credential helper"):
            ask_helper(name, "r.example", {}, named_in="FILE")

    def test_gets_the_environment(self, places: Places) -> None:
        write_helper(places.helpers, "one", 'printf \'{"Username": "%s", "Secret": "x"}\' "$PROFILE"')
        places.write(places.docker, {"credsStore": "one"})
        places.environment["PROFILE"] = "prod"
        assert places.user() == "prod"

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            ("echo 'the keychain is locked'; exit 1", "failed with status 1: the keychain is locked"),
            ("printf 'a\\033[31mb'; exit 3", r"failed with status 3: a\\x1b\[31mb"),
            ("exit 4", "failed with status 4$"),
            ("kill -9 $$", "failed with status -9$"),
            ('echo \'{"Username": "u", "Secret": "hunter2"}\'; exit 1', "failed with status 1$"),
            ("exit 0", "gave no credentials in its answer"),
            ("echo []", "gave no credentials in its answer"),
            ("echo hunter2", "gave no credentials in its answer$"),
            ("echo '{\"Username\": 1}'", "not text"),
            ('echo \'{"Username": "a:b", "Secret": "hunter2"}\'', "not a user name"),
            ('printf %s \'{"Username": "a", "Secret": "hunter2\\n"}\'', "characters that cannot be sent"),
            ('echo \'{"Username": "a"}\'', "password is empty"),
        ],
    )
    def test_failures(self, places: Places, script: str, said: str) -> None:
        write_helper(places.helpers, "one", f"cat > /dev/null; {script}")
        with pytest.raises(ConfigError, match=f"^docker-credential-one for r.example.*{said}") as caught:
            ask_helper("one", "r.example", places.environment, named_in="FILE")
        assert "hunter2" not in caught.value.message

    @pytest.mark.parametrize("answer", ["{}", '{"Username": "", "Secret": ""}'])
    def test_empty_answers(self, places: Places, answer: str) -> None:
        write_helper(places.helpers, "one", f"echo '{answer}'")
        assert ask_helper("one", "r.example", places.environment, named_in="FILE") is None

    def test_takes_too_long(self, places: Places) -> None:
        pid = places.path / "pid"
        write_helper(places.helpers, "one", f"sleep 600 & echo $! > '{pid}'; wait")
        before = time.monotonic()
        with pytest.raises(HostError, match=r"did not answer within 0 seconds for r\.example") as caught:
            ask_helper("one", "r.example", places.environment, named_in="FILE", timeout_s=0.4)
        assert caught.value.hint == "try it: echo r.example | docker-credential-one get"
        assert time.monotonic() - before < 10
        assert is_gone(int(pid.read_text()))

    def test_may_leave_an_agent(self, places: Places) -> None:
        pid = places.path / "pid"
        answer = '{"Username": "a", "Secret": "b"}'
        write_helper(places.helpers, "one", f"sleep 60 > /dev/null 2>&1 & echo $! > '{pid}'; echo '{answer}'")
        assert ask_helper("one", "r.example", places.environment, named_in="FILE") is not None
        os.kill(int(pid.read_text()), signal.SIGKILL)

    def test_cannot_be_run(self, places: Places) -> None:
        write_helper(places.helpers, "one", "")
        (places.helpers / "docker-credential-one").write_text("#!/no/such/shell\n")
        with pytest.raises(CiEnvError, match=r"cannot run .*docker-credential-one"):
            ask_helper("one", "r.example", places.environment, named_in="FILE")


def is_gone(pid: int) -> bool:
    """Tell whether a process ends; one that has ended may wait for its parent for a while."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, signal.SIGCONT)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False
