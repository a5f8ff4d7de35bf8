"""Laws of auth files: any bytes are understood or refused by name, and what was put in for an image comes out."""

from __future__ import annotations

import base64
import json

from hypothesis import example, given
from hypothesis import strategies as st

from ci_env.errors import ConfigError
from ci_env.oci.credentials import AuthFile, parse_auth_file

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "auths",
                    "auth",
                    "identitytoken",
                    "username",
                    "password",
                    "credHelpers",
                    "credsStore",
                    "docker.io",
                    "/",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def understood_or_refused(content: bytes) -> None:
    outcome: AuthFile | ConfigError
    try:
        outcome = parse_auth_file(content, where="FILE")
    except ConfigError as error:
        outcome = error
    if isinstance(outcome, ConfigError):
        assert outcome.message.startswith("FILE")
    else:
        assert all(credentials.basic().isascii() for credentials in outcome.credentials.values())


@given(st.binary(max_size=200))
@example(b'{"auths": {"\\ud800": {"auth": "YTpi"}}}')
@example(b'{"a":' * 100_000)
@example(b"\xef\xbb\xbf{}")
@example(b'{"a": ' + b"9" * 5000 + b"}")
def test_any_bytes(content: bytes) -> None:
    understood_or_refused(content)


@given(_json)
def test_any_json(data: object) -> None:
    understood_or_refused(json.dumps(data).encode())


_text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=10)


@given(_text.filter(lambda user: ":" not in user), _text)
def test_what_was_put_in_comes_out(user: str, password: str) -> None:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    file = parse_auth_file(json.dumps({"auths": {"r.example": {"auth": pair}}}).encode(), where="FILE")
    credentials = file.find("r.example", "any/name")
    assert credentials is not None
    assert (credentials.user, credentials.password) == (user, password)
    assert credentials.basic() == f"Basic {pair}"


@given(
    st.lists(st.sampled_from(["a", "b", "a/b", "a/b/c", "ab"]), unique=True),
    st.sampled_from(["a", "a/b", "a/b/c", "b"]),
)
def test_longest_prefix(namespaces: list[str], repository: str) -> None:
    auths = {f"r.example/{name}": {"username": name, "password": "x"} for name in namespaces}
    found = parse_auth_file(json.dumps({"auths": auths}).encode(), where="FILE").find("r.example", repository)
    fitting = [name for name in namespaces if f"{repository}/".startswith(f"{name}/")]
    assert (found.user if found else None) == max(fitting, key=len, default=None)
