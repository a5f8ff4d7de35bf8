"""`ci-env run` with an image that needs a login: where the login comes from, what is said without one, who gets it."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from dataclasses import dataclass

import pytest

from tests.base_image import base_image
from tests.installed import CiEnv
from tests.project import project
from tests.real_registry import PASSWORD, USER, real_registry

LOOKS = """
looks:
  steps:
    - name: everywhere
      run: |
        env
        grep -rs {password} /root /home /tmp /run /etc /proc/1/environ /proc/self/environ || echo nothing
"""


@dataclass(frozen=True)
class Private:
    host: str
    image: str


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Generator[Private]:
    with real_registry(tmp_path_factory.mktemp("private"), has_login=True) as registry:
        yield Private(registry.host, registry.push(base_image(), "team/debian:1"))


def test_login_from_the_environment_stays_outside(actor: CiEnv, private: Private) -> None:
    made = project(actor, LOOKS.format(password=PASSWORD[:-1] + "[2]"), image=private.image)
    login = {
        "CI_ENV_REGISTRY": private.host,
        "CI_ENV_REGISTRY_USER": USER,
        "CI_ENV_REGISTRY_PASSWORD": PASSWORD,
    }
    seen = made.run(env=login).lines("everywhere")
    assert seen[-1] == "nothing"
    assert not any("CI_ENV" in line or PASSWORD in line for line in seen)
    kept = [path for path in (actor.store / "runs").rglob("*") if path.is_file()]
    assert kept
    assert not any(PASSWORD.encode() in path.read_bytes() for path in kept)


def test_login_from_a_file_and_none(actor: CiEnv, private: Private) -> None:
    made = project(actor, "a: {steps: [{name: a, run: 'true'}]}", image=private.image)
    denied = made.call("run")
    assert denied.code == 4
    assert f"the registry {private.host} wants a login, and none was found for it" in denied.err
    assert f"docker login {private.host}" in denied.err

    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (actor.home / ".docker").mkdir()
    config = actor.home / ".docker" / "config.json"
    config.write_text(json.dumps({"auths": {private.host: {"auth": pair}}}))
    actor.own(actor.home / ".docker")
    told = made.run().of("Note")
    assert any("everybody can read it" in str(note["message"]) for note in told)
    made.pipeline("a: {steps: [{name: a, run: 'echo more'}]}", image=private.image)
    config.unlink()
    made.run()  # what is there needs no login
