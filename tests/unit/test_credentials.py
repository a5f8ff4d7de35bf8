"""What auth files mean: which entry counts for which image, and what is refused without showing a secret."""

from __future__ import annotations

import base64
import json

import pytest

from ci_env.errors import ConfigError
from ci_env.oci.credentials import Credentials, checked, parse_auth_file

HUB = "https://index.docker.io/v1/"


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def found(auths: dict[str, object], registry: str, repository: str = "team/app") -> str | None:
    """Return the user of the entry that counts."""
    file = parse_auth_file(json.dumps({"auths": auths}).encode(), where="config.json")
    credentials = file.find(registry, repository)
    return credentials.user if credentials else None


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("r.example", "r.example"),
        ("R.Example", "r.example"),
        ("r.example:5000", "r.example:5000"),
        ("https://r.example", "r.example"),
        ("https://r.example/v1/", "r.example"),
        ("http://r.example/v2/", "r.example"),
        ("r.example/v2/", "r.example"),
        ("https://r.example/any/path", "r.example"),
        ("[::1]:5000", "[::1]:5000"),
        (HUB, "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_keys(key: str, registry: str) -> None:
    assert found({key: auth("ann", "x")}, registry) == "ann"


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("r.example", "r.example:5000"),
        ("r.example:5000", "r.example"),
        ("example", "r.example"),
        ("r.example/team/ap", "r.example"),
        ("r.example/team/app/more", "r.example"),
        ("r.example.evil", "r.example"),
        (f"{HUB}access-token", "docker.io"),
        (f"{HUB}refresh-token", "docker.io"),
    ],
)
def test_keys_for_others(key: str, registry: str) -> None:
    assert found({key: auth("ann", "x")}, registry) is None


def test_the_longest_prefix_counts() -> None:
    auths: dict[str, object] = {
        "r.example": auth("host", "x"),
        "r.example/team": auth("team", "x"),
        "r.example/team/app": auth("app", "x"),
    }
    assert found(auths, "r.example", "team/app") == "app"
    assert found(auths, "r.example", "team/application") == "team"
    assert found(auths, "r.example", "teams/app") == "host"


def test_a_name_wins_over_an_address() -> None:
    for auths in (
        {HUB: auth("old", "x"), "docker.io": auth("new", "x")},
        {"docker.io": auth("new", "x"), HUB: auth("old", "x")},
    ):
        assert found(dict(auths), "docker.io") == "new"


@pytest.mark.parametrize("entry", [{}, None, {"auth": ""}, {"auth": None}, {"email": "a@b"}])
def test_empty_entries(entry: object) -> None:
    assert found({"r.example": entry}, "r.example") is None


@pytest.mark.parametrize("content", [b"", b" \n", b"{}", b'{"auths": null, "credHelpers": null, "credsStore": ""}'])
def test_files_that_say_nothing(content: bytes) -> None:
    file = parse_auth_file(content, where="config.json")
    assert (file.credentials, file.helpers, file.store) == ({}, {}, None)


def test_what_an_entry_holds() -> None:
    content = {
        "auths": {
            "a": auth("ann", "pass:word\0\0"),
            "b": {"username": "bob", "password": "secret"},
            "c": {**auth("00000000-0000", ""), "identitytoken": "refresh"},
        },
        "credHelpers": {"https://index.docker.io/v1/": "hub", "gcr.io": "gcloud"},
        "credsStore": "desktop",
    }
    file = parse_auth_file(json.dumps(content).encode(), where="f")
    assert file.find("a", "x") == Credentials("ann", "pass:word", "", "f")
    assert file.find("b", "x") == Credentials("bob", "secret", "", "f")
    assert file.find("c", "x") == Credentials("00000000-0000", "", "refresh", "f")
    assert file.helpers == {"docker.io": "hub", "gcr.io": "gcloud"}
    assert file.store == "desktop"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"auths": []}',
        b'{"auths": {"r": 1}}',
        b'{"auths": {"r": {"auth": 1}}}',
        b'{"auths": {"r": {"auth": "c2VjcmV0"}}}',
        b'{"auths": {"r": {"auth": "c2VjcmV0!"}}}',
        b'{"auths": {"r": {"auth": "//8="}}}',
        b'{"auths": {"r": {"username": "u", "password": "secret\\n"}}}',
        b'{"auths": {"r": {"username": "u", "password": "secret\\ud800"}}}',
        b'{"auths": {"r": {"username": "a:b", "password": "secret"}}}',
        b'{"auths": {"r": {"username": "u"}}}',
        b'{"auths": {"r": {"identitytoken": ["secret"]}}}',
        b'{"auths": {}, "auths": {}}',
        b'{"credHelpers": {"r": "../../bin/sh"}}',
        b'{"credHelpers": {"r": "a/b"}}',
        b'{"credsStore": "a b"}',
        b'{"credsStore": ["a"]}',
        b"[" * 100_000,
        b'{"auths": {}}' + b" " * 2**22,
    ],
)
def test_files_that_are_wrong(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^/home/x/config\.json") as caught:
        parse_auth_file(content, where="/home/x/config.json")
    assert "secret" not in caught.value.message
    assert "c2VjcmV0" not in caught.value.message


def test_secrets_are_not_shown() -> None:
    for is_token in (False, True):
        credentials = checked("ann", "hunter2", is_identity_token=is_token, origin="config.json")
        header = credentials.basic()
        assert "hunter2" not in repr(credentials) + str(credentials)
        said = credentials.masked(f"bad password hunter2 in {header}")
        assert said == "bad password *** in Basic ***"
    assert str(checked("ann", "x", is_identity_token=False, origin="F")) == "user 'ann' (from F)"
    assert str(checked("", "x", is_identity_token=True, origin="F")) == "the holder of an identity token (from F)"
