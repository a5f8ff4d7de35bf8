"""Logins at a registry that answers as told: who is sent what, how long it is good for, and what a refusal says."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ci_env.errors import RegistryError
from ci_env.events import Event, Note
from ci_env.oci.platform import Platform
from ci_env.oci.pull import PulledImage, pull
from ci_env.oci.reference import parse
from ci_env.oci.registries import Registries
from tests.fault_registry import Behaviour, Clock, FaultRegistry, Request, Response, fault_registry, serving
from tests.layer_directory import LayerDirectory
from tests.oci_builder import f, image, sha256, tar

AMD64 = Platform("linux", "amd64")
ONE = image([tar([f("motd", "hello")])])
PASSWORD, REFRESH = "hunter2", "refresh-me"
ANN = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()


class Puller:
    """Pulls with the credentials in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "auth.json"
        self.clock = Clock()
        self.events: list[Event] = []
        self._registries = Registries(
            {"REGISTRY_AUTH_FILE": str(self.file)}, self.events.append, pause=lambda _: None, now=self.clock
        )
        self._pulls = 0
        self.has()

    def has(self, **entries: Mapping[str, str]) -> None:
        """Have these entries in the file; `here` stands for 127.0.0.1, whose port is filled in by pull."""
        self._entries = entries
        self.file.write_text("{}")
        self.file.chmod(0o600)

    def pull(self, registry: FaultRegistry, name: str = "team/app:1") -> PulledImage:
        """Pull to a new, empty place."""
        auths = {registry.host if host == "here" else host: entry for host, entry in self._entries.items()}
        self.file.write_text(json.dumps({"auths": auths}))
        self._pulls += 1
        place = LayerDirectory(self.path / f"layers-{self._pulls}")
        with self._registries.image(parse(f"{registry.host}/{name}")) as source:
            return pull(source, AMD64, place, self.events.append)

    def pull_from(self, behaviour: Behaviour, name: str = "team/app:1") -> FaultRegistry:
        with fault_registry(behaviour) as registry:
            self.pull(registry, name)
        return registry


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


def ann(password: str = PASSWORD) -> Mapping[str, str]:
    return {"auth": base64.b64encode(f"ann:{password}".encode()).decode()}


def ann_with_token() -> Mapping[str, str]:
    return {"auth": base64.b64encode(b"ann:").decode(), "identitytoken": REFRESH}


def authorizations(registry: FaultRegistry, part: str = "/") -> list[str | None]:
    return [request.headers.get("authorization") for request in registry.requests if part in request.path]


def wanting_password(challenge: str = 'Basic realm="x"') -> Behaviour:
    """Return a registry that lets ann in."""
    normal = serving(ONE)
    denied = Response(401, error("UNAUTHORIZED", "authentication required"), {"WWW-Authenticate": challenge})
    return lambda request: normal(request) if request.headers.get("authorization") == ANN else denied


def error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


TokenServer = Callable[[Request], Response]


def wanting_token(
    server: TokenServer,
    *,
    good: Callable[[str], bool] = lambda _: True,
    realm: str = "http://{host}/token",
    more: str = "",
) -> Behaviour:
    """Return a registry that wants a token that is `good`, and has `server` at /token."""
    normal = serving(ONE)

    def behave(request: Request) -> Response:
        if request.path.startswith("/token"):
            return server(request)
        authorization = request.headers.get("authorization", "")
        if authorization.startswith("Bearer ") and good(authorization.removeprefix("Bearer ")):
            return normal(request)
        name = request.path.split("/manifests/")[0].split("/blobs/")[0].removeprefix("/v2/")
        place = realm.format(host=request.headers["host"])
        challenge = f'Bearer realm="{place}",service="s",scope="repository:{name}:pull"{more}'
        return Response(401, headers={"WWW-Authenticate": challenge})

    return behave


def tokens(*, lifetime_s: int | None = None) -> TokenServer:
    """Return a server that gives t1, t2 and so on."""
    count = iter(range(1, 1000))
    lifetime = {} if lifetime_s is None else {"expires_in": lifetime_s}
    return lambda _: Response(body=json.dumps({"token": f"t{next(count)}", **lifetime}).encode())


class TestBasic:
    def test_right(self, puller: Puller) -> None:
        puller.has(here=ann())
        registry = puller.pull_from(wanting_password())
        assert authorizations(registry) == [None, ANN, ANN, ANN]  # manifest twice, config, layer

    def test_wrong(self, puller: Puller) -> None:
        puller.has(here=ann("wrong-secret"))
        with fault_registry(wanting_password()) as registry, pytest.raises(RegistryError) as caught:
            puller.pull(registry)
        name, host = f"{registry.host}/team/app:1", registry.host
        assert caught.value.message == (
            f"{host} denies access to {name}, for user 'ann' (from {puller.file}): authentication required"
        )
        assert caught.value.hint == (
            f"the image does not exist, or it is not for this user; log in: docker login {host}, podman login {host}, "
            "or CI_ENV_REGISTRY, CI_ENV_REGISTRY_USER and CI_ENV_REGISTRY_PASSWORD"
        )
        assert len(registry.requests) == 2

    def test_wrong_is_not_sent_twice(self, puller: Puller) -> None:
        puller.has(here=ann("wrong"))
        with fault_registry(wanting_password()) as registry:
            for requests in (2, 3):
                with pytest.raises(RegistryError, match="denies access"):
                    puller.pull(registry)
                assert len(registry.requests) == requests

    def test_missing(self, puller: Puller) -> None:
        puller.has(other=ann())
        with fault_registry(wanting_password()) as registry, pytest.raises(RegistryError) as caught:
            puller.pull(registry)
        assert caught.value.message == f"the registry {registry.host} wants a login, and none was found for it"
        assert "docker login" in (caught.value.hint or "")
        assert authorizations(registry) == [None]

    def test_an_identity_token_is_no_password(self, puller: Puller) -> None:
        puller.has(here=ann_with_token())
        with pytest.raises(RegistryError, match="has an identity token"):
            puller.pull_from(wanting_password())

    def test_bearer_is_preferred(self, puller: Puller) -> None:
        puller.has(here=ann())
        registry = puller.pull_from(wanting_token(tokens(), more=', Basic realm="x"'))
        assert authorizations(registry, "/v2/") == [None, "Bearer t1", "Bearer t1", "Bearer t1"]

    def test_an_open_registry_gets_none(self, puller: Puller) -> None:
        puller.has(here=ann())
        registry = puller.pull_from(serving(ONE))
        assert authorizations(registry) == [None, None, None]

    def test_credentials_of_a_namespace(self, puller: Puller) -> None:
        puller.has(here=ann("wrong"))
        with fault_registry(wanting_password()) as registry:
            puller.has(**{"here": ann("wrong"), f"{registry.host}/team": ann()})
            puller.pull(registry)
            with pytest.raises(RegistryError, match="denies access"):
                puller.pull(registry, "others/app:1")

    def test_a_redirect_drops_them(self, puller: Puller) -> None:
        puller.has(here=ann())
        normal, blob = wanting_password(), sha256(ONE.layers[0])
        with fault_registry(lambda _: Response(body=ONE.layers[0])) as storage:
            moved = Response(307, headers={"Location": f"http://{storage.host}/blob"})
            registry = puller.pull_from(lambda r: moved if r.path.endswith(blob) else normal(r))
        assert authorizations(registry, blob) == [ANN]
        assert authorizations(storage) == [None]

    def test_a_challenge_of_another_host_gets_none(self, puller: Puller) -> None:
        puller.has(here=ann())
        with fault_registry(wanting_password()) as storage:
            puller.has(**{"here": ann(), storage.host: ann()})
            moved = Response(307, headers={"Location": f"http://{storage.host}/v2/blob"})
            with pytest.raises(RegistryError, match="denies access"):
                puller.pull_from(lambda _: moved)
        assert authorizations(storage) == [None]

    def test_a_server_that_repeats_the_password(self, puller: Puller) -> None:
        puller.has(here=ann())
        said = error("DENIED", f"no: {PASSWORD} {ANN}")
        challenge = {"WWW-Authenticate": "Basic"}
        with pytest.raises(RegistryError) as caught:
            puller.pull_from(lambda _: Response(401, said, challenge))
        assert caught.value.message.endswith(": no: *** Basic ***")


class TestTokens:
    def test_password_goes_to_the_token_server_only(self, puller: Puller) -> None:
        puller.has(here=ann())
        registry = puller.pull_from(wanting_token(tokens()))
        assert authorizations(registry, "/token") == [ANN]
        assert authorizations(registry, "/v2/") == [None, "Bearer t1", "Bearer t1", "Bearer t1"]

    def test_nobody_asks_for_a_token_too(self, puller: Puller) -> None:
        registry = puller.pull_from(wanting_token(tokens()))
        assert authorizations(registry, "/token") == [None]

    @pytest.mark.parametrize("status", [401, 403, 400])
    def test_refused(self, puller: Puller, status: int) -> None:
        puller.has(here=ann())
        denial = Response(status, error("DENIED", f"bad password {PASSWORD}"))
        with fault_registry(wanting_token(lambda _: denial)) as registry, pytest.raises(RegistryError) as caught:
            puller.pull(registry)
        assert caught.value.message == (
            f"the token server http://{registry.host}/token denies a token for {registry.host}/team/app:1 "
            f"to user 'ann' (from {puller.file}): bad password ***"
        )
        assert f"docker login {registry.host}" in (caught.value.hint or "")

    def test_refused_to_nobody(self, puller: Puller) -> None:
        with pytest.raises(RegistryError, match=r"denies a token for .*, and no login was found for its registry$"):
            puller.pull_from(wanting_token(lambda _: Response(401)))

    def test_other_answers(self, puller: Puller) -> None:
        with pytest.raises(RegistryError, match=r"token server http://.*/token answered with status 418"):
            puller.pull_from(wanting_token(lambda _: Response(418)))

    def test_a_token_serves_until_it_ends(self, puller: Puller) -> None:
        server = tokens(lifetime_s=300)
        with fault_registry(wanting_token(server)) as registry:
            puller.pull(registry)
            puller.clock.time_s += 299
            puller.pull(registry)
            assert len(authorizations(registry, "/token")) == 1
            puller.clock.time_s += 2
            puller.pull(registry)
        assert len(authorizations(registry, "/token")) == 2
        assert authorizations(registry, "/v2/")[-4:] == [None, "Bearer t2", "Bearer t2", "Bearer t2"]

    @pytest.mark.parametrize(("after_s", "count"), [(59, 1), (61, 2)])
    def test_a_token_without_a_lifetime_serves_for_a_minute(self, puller: Puller, after_s: float, count: int) -> None:
        with fault_registry(wanting_token(tokens())) as registry:
            puller.pull(registry)
            puller.clock.time_s += after_s
            puller.pull(registry)
        assert len(authorizations(registry, "/token")) == count

    def test_a_token_is_for_its_repository(self, puller: Puller) -> None:
        with fault_registry(wanting_token(tokens())) as registry:
            puller.pull(registry, "team/app:1")
            puller.pull(registry, "team/other:1")
        asked = [parse_qs(urlsplit(path).query)["scope"] for path in registry.paths() if path.startswith("/token")]
        assert asked == [["repository:team/app:pull"], ["repository:team/other:pull"]]

    def test_a_token_refused_early_is_renewed_once(self, puller: Puller) -> None:
        with fault_registry(wanting_token(tokens(), good=lambda token: token == "t2")) as registry:
            with pytest.raises(RegistryError, match="denies access"):
                puller.pull(registry)
            assert authorizations(registry, "/v2/") == [None, "Bearer t1"]
            puller.pull(registry)
        assert authorizations(registry, "/token") == [None, None]


class TestScope:
    @pytest.mark.parametrize("status", [401, 403])
    def test_the_servers_scope_is_asked_for_once(self, puller: Puller, status: int) -> None:
        with fault_registry(lacking(status, until="t2")) as registry:
            puller.pull(registry)
        asked = [parse_qs(urlsplit(path).query)["scope"] for path in registry.paths() if path.startswith("/token")]
        assert asked == [["repository:team/app:pull"], ["repository:team/app:pull,push", "more"]]

    def test_not_twice(self, puller: Puller) -> None:
        with fault_registry(lacking(403, until="t3")) as registry, pytest.raises(RegistryError, match="denies access"):
            puller.pull(registry)
        assert authorizations(registry, "/v2/") == [None, "Bearer t1", "Bearer t2"]

    def test_another_403_is_final(self, puller: Puller) -> None:
        denied = Response(403, headers={"WWW-Authenticate": 'Bearer realm="http://x/",scope="x"'})
        with pytest.raises(RegistryError, match="denies access"):
            puller.pull_from(lambda _: denied)


def lacking(status: int, *, until: str) -> Behaviour:
    """Return a registry that says that a token allows too little, until it gets the token `until`."""
    normal = wanting_token(tokens())

    def behave(request: Request) -> Response:
        token = request.headers.get("authorization", "")
        if not token.startswith("Bearer ") or token == f"Bearer {until}":
            return normal(request)
        realm = f"http://{request.headers['host']}/token"
        scope = "repository:team/app:pull,push more"
        challenge = f'Bearer realm="{realm}",service="s",scope="{scope}",error="insufficient_scope"'
        return Response(status, headers={"WWW-Authenticate": challenge})

    return behave


class TestIdentityTokens:
    def test_are_posted(self, puller: Puller) -> None:
        puller.has(here=ann_with_token())
        registry = puller.pull_from(wanting_token(lambda _: Response(body=b'{"access_token": "t1"}')))
        (posted,) = [request for request in registry.requests if request.path.startswith("/token")]
        assert (posted.method, posted.path) == ("POST", "/token")
        assert "authorization" not in posted.headers
        assert posted.headers["content-type"] == "application/x-www-form-urlencoded"
        assert parse_qs(posted.body.decode()) == {
            "grant_type": ["refresh_token"],
            "client_id": ["ci-env"],
            "refresh_token": [REFRESH],
            "service": ["s"],
            "scope": ["repository:team/app:pull"],
        }

    @pytest.mark.parametrize("status", [404, 405])
    def test_servers_without_oauth2_get_them_as_a_password(self, puller: Puller, status: int) -> None:
        puller.has(here=ann_with_token())
        give = tokens()
        registry = puller.pull_from(wanting_token(lambda r: Response(status) if r.method == "POST" else give(r)))
        asked = [request for request in registry.requests if request.path.startswith("/token")]
        assert [request.method for request in asked] == ["POST", "GET"]
        expected = "Basic " + base64.b64encode(f"ann:{REFRESH}".encode()).decode()
        assert asked[1].headers["authorization"] == expected

    def test_refused(self, puller: Puller) -> None:
        puller.has(here=ann_with_token())
        with pytest.raises(RegistryError, match="denies a token") as caught:
            puller.pull_from(wanting_token(lambda _: Response(401, error("X", f"bad {REFRESH}"))))
        assert caught.value.message.endswith(": bad ***")

    def test_do_not_follow_a_redirect(self, puller: Puller) -> None:
        puller.has(here=ann_with_token())
        with fault_registry(lambda _: Response(body=b'{"token": "t1"}')) as thief:
            moved = Response(307, headers={"Location": f"http://{thief.host}/token"})
            with pytest.raises(RegistryError, match="answered with status 307"):
                puller.pull_from(wanting_token(lambda _: moved))
        assert thief.requests == []


class TestTokenServers:
    def test_a_redirect_is_checked_like_a_realm(self, puller: Puller) -> None:
        puller.has(here=ann())
        with fault_registry(lambda _: Response(body=b'{"token": "t1"}')) as internal:
            moved = Response(302, headers={"Location": f"http://{internal.host}/token"})
            with pytest.raises(RegistryError, match="for a token: refused"):
                puller.pull_from(wanting_token(lambda _: moved))
        assert internal.requests == []

    def test_a_redirect_on_the_same_server(self, puller: Puller) -> None:
        puller.has(here=ann())
        give, moved = tokens(), Response(302, headers={"Location": "/token2"})
        registry = puller.pull_from(wanting_token(lambda r: give(r) if r.path == "/token2" else moved))
        assert authorizations(registry, "/token") == [ANN, ANN]

    def test_another_server_without_encryption_gets_no_password(self, puller: Puller) -> None:
        puller.has(here=ann())
        with fault_registry(tokens()) as other:
            with pytest.raises(RegistryError, match="for a token: refused"):
                puller.pull_from(wanting_token(tokens(), realm=f"http://{other.host}/token"))
            assert other.requests == []


class TestWarnings:
    def warned(self, puller: Puller, *headers: str) -> list[str]:
        normal = serving(ONE)
        with fault_registry(lambda r: replace(normal(r), headers={"Warning": ", ".join(headers)})) as registry:
            puller.pull(registry)
            puller.pull(registry, "team/other:1")
        notes = [event.message for event in puller.events if isinstance(event, Note)]
        return [note.replace(registry.host, "HOST") for note in notes]

    def test_are_shown_once(self, puller: Puller) -> None:
        expected = ["HOST says: This repository ends soon, really", "HOST says: b"]
        assert self.warned(puller, '299 - "This repository ends soon, really"', '299 - "b"') == expected

    def test_lose_control_characters(self, puller: Puller) -> None:
        assert self.warned(puller, '299 - "a\x1b[31m\x9b2J\\"b\\""') == ['HOST says: a[31m2J"b"']

    @pytest.mark.parametrize("header", ['199 - "x"', '299 proxy "x"', "299 - x", '299 - ""', '299 - "x', ""])
    def test_others_are_not_for_people(self, puller: Puller, header: str) -> None:
        assert self.warned(puller, header) == []

    def test_are_not_without_end(self, puller: Puller) -> None:
        shown = self.warned(puller, *(f'299 - "{i}{"x" * 1000}"' for i in range(20)))
        assert len(shown) == 10
        assert max(map(len, shown)) < 600

    def test_of_another_host_are_not_shown(self, puller: Puller) -> None:
        normal = serving(ONE)
        warning = {"Warning": '299 - "x"'}
        with fault_registry(lambda r: replace(normal(r), headers=warning)) as storage:
            puller.pull_from(lambda r: Response(307, headers={"Location": f"http://{storage.host}{r.path}"}))
        assert not any(isinstance(event, Note) for event in puller.events)
