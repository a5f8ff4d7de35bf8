"""Where credentials for a registry are looked for, and in which order. Asks only when a registry wants a login."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.oci.credentials import AuthFile, Credentials, checked, normalised, parse_auth_file
from ci_env.oci.document import MAX_DOCUMENT_BYTES

REGISTRY, USER, PASSWORD = "CI_ENV_REGISTRY", "CI_ENV_REGISTRY_USER", "CI_ENV_REGISTRY_PASSWORD"
_DOCKER_HUB = "docker.io"
# docker asks helpers for Docker Hub by this address, podman by its name
_DOCKER_HUB_SERVERS = ("https://index.docker.io/v1/", _DOCKER_HUB)


class CredentialSearch:
    """Finds credentials: in the environment, then in the files of podman and docker. One for each run.

    Asks a helper once for each server, and warns once of each file that others can read.
    """

    def __init__(self, environment: Mapping[str, str], emit: Emit) -> None:
        self._environment = environment
        self._emit = emit
        self._answers: dict[tuple[str, str], Credentials | None] = {}
        self._warned: set[Path] = set()

    def find(self, registry: str, repository: str) -> Credentials | None:
        """Return the credentials for `registry/repository`; ConfigError or HostError if a place cannot be searched."""
        if found := self._from_environment(registry):
            return found
        for path in self._files():
            file = self._read(path)
            if file and (found := self._from_file(file, path, registry, repository)):
                return found
        return None

    def _from_environment(self, registry: str) -> Credentials | None:
        host, user, password = (self._environment.get(name, "") for name in (REGISTRY, USER, PASSWORD))
        if not (host or user or password):
            return None
        if not (host and user and password):
            names = ", ".join(name for name in (REGISTRY, USER, PASSWORD) if not self._environment.get(name))
            raise ConfigError(f"{REGISTRY}, {USER} and {PASSWORD} belong together, but {names} is not set")
        if normalised(host) != registry:
            return None
        return checked(user, password, is_identity_token=False, origin=f"the environment variable {PASSWORD}")

    def _files(self) -> Iterator[Path]:
        """Yield the files to read, best first (containers-auth.json(5), docker's `docker login`)."""
        environment = self._environment
        if named := environment.get("REGISTRY_AUTH_FILE"):
            if not os.path.exists(named):  # where Path would raise, reading it says why
                raise ConfigError(f"REGISTRY_AUTH_FILE names {named}, which does not exist")
            yield Path(named)
        runtime = environment.get("XDG_RUNTIME_DIR")
        yield Path(runtime, "containers/auth.json") if runtime else Path(f"/run/containers/{os.getuid()}/auth.json")
        if docker := environment.get("DOCKER_CONFIG"):
            yield Path(docker, "config.json")
        elif home := environment.get("HOME"):
            yield Path(home, ".docker/config.json")

    def _read(self, path: Path) -> AuthFile | None:
        """Return what the file says; None if there is none."""
        try:
            with path.open("rb") as file:
                content = file.read(MAX_DOCUMENT_BYTES + 1)
                mode = os.fstat(file.fileno()).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(f"cannot read {path}, which may hold a login: {error.strerror}") from error
        found = parse_auth_file(content, where=str(path))
        if found.credentials and mode & stat.S_IROTH and path not in self._warned:
            self._warned.add(path)
            self._emit(Note("warning", f"{path} holds passwords, and everybody can read it; chmod 600 {path}"))
        return found

    def _from_file(self, file: AuthFile, path: Path, registry: str, repository: str) -> Credentials | None:
        """Ask the host's own helper, then the file itself, then the helper for all hosts: the most particular first."""
        if (helper := file.helpers.get(registry)) and (found := self._ask(helper, registry, path)):
            return found
        if found := file.find(registry, repository):
            return found
        return self._ask(file.store, registry, path) if file.store else None

    def _ask(self, helper: str, registry: str, path: Path) -> Credentials | None:
        from ci_env.oci.credential_helper import ask_helper

        for server in _DOCKER_HUB_SERVERS if registry == _DOCKER_HUB else (registry,):
            if (helper, server) not in self._answers:
                self._answers[helper, server] = ask_helper(helper, server, self._environment, named_in=str(path))
            if found := self._answers[helper, server]:
                return found
        return None
