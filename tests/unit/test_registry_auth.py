"""Challenges of registries, where a token may be asked for, and what a proxy or a redirect may not see."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from ci_env.errors import RegistryError
from ci_env.oci.auth import Challenge, TokenRequest, parse_challenges, parse_token, redact, token_request
from ci_env.oci.transport import is_loopback


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ('Bearer realm="https://a/b",service=c', (Challenge("bearer", {"realm": "https://a/b", "service": "c"}),)),
        ('BEARER Realm = "x" , scope="a,b c"', (Challenge("bearer", {"realm": "x", "scope": "a,b c"}),)),
        ('Bearer realm="a \\"q\\" b"', (Challenge("bearer", {"realm": 'a "q" b'}),)),
        (
            'Basic realm="x, y", Bearer realm="z"',
            (Challenge("basic", {"realm": "x, y"}), Challenge("bearer", {"realm": "z"})),
        ),
        ("Negotiate, Basic realm=x", (Challenge("negotiate", {}), Challenge("basic", {"realm": "x"}))),
        ('Bearer realm="unterminated', (Challenge("bearer", {}), Challenge("realm", {}))),
        ('"', ()),
    ],
)
def test_challenges(header: str, expected: tuple[Challenge, ...]) -> None:
    assert parse_challenges(header) == expected


def asked(challenges: tuple[Challenge, ...], *, registry: str, repository: str) -> TokenRequest:
    request = token_request(challenges, registry=registry, repository=repository)
    assert request is not None
    return request


def bearer(**parameters: str) -> tuple[Challenge, ...]:
    return (Challenge("bearer", parameters),)


@pytest.mark.parametrize(
    ("challenges", "scope"),
    [
        (bearer(realm="https://auth.example/token", service="s"), ["repository:a/b:pull"]),
        (bearer(realm="https://auth.example/token", service="s", scope="x y"), ["x", "y"]),
    ],
)
def test_token_url(challenges: tuple[Challenge, ...], scope: list[str]) -> None:
    parts = urlsplit(asked(challenges, registry="https://r.example/v2/a/b", repository="a/b").url())
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "auth.example", "/token")
    assert parse_qs(parts.query) == {"service": ["s"], "scope": scope}


def test_realm_with_a_query() -> None:
    request = asked(bearer(realm="https://a.example/t?x=1"), registry="https://r.example/v2/a", repository="a")
    url = request.url()
    assert parse_qs(urlsplit(url).query) == {"x": ["1"], "scope": ["repository:a:pull"]}


@pytest.mark.parametrize(
    ("realm", "registry", "allowed"),
    [
        ("https://auth.example/t", "https://r.example/v2/a", True),
        ("http://auth.example/t", "https://r.example/v2/a", False),
        ("http://127.0.0.1:5000/t", "http://127.0.0.1:5000/v2/a", True),
        ("http://127.0.0.1:5001/t", "http://127.0.0.1:5000/v2/a", False),
        ("https://127.0.0.1/t", "https://r.example/v2/a", False),
        ("https://localhost/t", "https://r.example/v2/a", False),
        ("https://[::1]/t", "https://r.example/v2/a", False),
        ("https://169.254.169.254/t", "https://r.example/v2/a", False),
        ("https://192.168.1.1:5000/t", "https://192.168.1.1:5000/v2/a", True),
        ("https://0.0.0.0/t", "https://r.example/v2/a", False),
        ("https://user:pw@auth.example/t", "https://r.example/v2/a", False),
        ("http://auth.example/t", "http://127.0.0.1:5000/v2/a", False),
        ("https://auth.example/t", "http://127.0.0.1:5000/v2/a", True),
        ("https://r.example:443/t", "https://r.example/v2/a", True),
        ("https://2130706433/t", "https://r.example/v2/a", False),
        ("https://127.1/t", "https://r.example/v2/a", False),
        ("https://0x7f.0.0.1/t", "https://r.example/v2/a", False),
        ("https://127.0.0.1./t", "https://r.example/v2/a", False),
        ("https://localhost./t", "https://r.example/v2/a", False),
        ("https://[::ffff:10.0.0.1]/t", "https://r.example/v2/a", False),
        ("https://1password.example/t", "https://r.example/v2/a", True),
        ("https://a.example:99999/t", "https://r.example/v2/a", False),
        ("https://[bad/t", "https://r.example/v2/a", False),
        ("file:///etc/passwd", "http://127.0.0.1:5000/v2/a", False),
        ("token", "https://r.example/v2/a", False),
    ],
)
def test_realms(realm: str, registry: str, allowed: bool) -> None:
    if allowed:
        assert asked(bearer(realm=realm), registry=registry, repository="a").realm == realm
    else:
        with pytest.raises(RegistryError, match="refused") as caught:
            token_request(bearer(realm=realm), registry=registry, repository="a")
        assert "pw" not in caught.value.message


@pytest.mark.parametrize(
    ("answer", "text", "lifetime_s"),
    [
        ('{"token": "a.b-c_d~e+f/g="}', "a.b-c_d~e+f/g=", 60),
        ('{"access_token": "x", "expires_in": 300}', "x", 300),
        ('{"token": "x", "expires_in": null}', "x", 60),
        ('{"token": "x", "expires_in": "300"}', "x", 60),
        ('{"token": "x", "expires_in": true}', "x", 60),
        ('{"token": "x", "expires_in": -5}', "x", 0),
        ('{"token": "x", "expires_in": 1e400}', "x", 86400),
    ],
)
def test_tokens(answer: str, text: str, lifetime_s: float) -> None:
    token = parse_token(answer.encode(), "https://a/t")
    assert (token.text, token.lifetime_s) == (text, lifetime_s)
    assert text not in repr(token).replace("Token", "").replace("text", "")


def test_redact() -> None:
    assert redact("https://user:pw@host:1/p/q?signature=s#f") == "https://host:1/p/q"
    assert redact("https://host/\x1b[31m\x9b") == "https://host/\\x1b[31m\\x9b"
    assert redact("https://[host") == "an invalid address"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("127.0.0.1.example", False),
        ("127.example", False),
        ("localhost.example", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
