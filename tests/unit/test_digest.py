"""Digests and canonical JSON."""

from __future__ import annotations

import pytest

from ci_env.digest import Digest, Json, canonical_json, key

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_the_ecosystems() -> None:
    digest = Digest.of(b"")
    assert digest == EMPTY
    assert (digest.algorithm, digest.hex) == ("sha256", EMPTY[7:])
    assert Digest.parse(EMPTY) == digest
    assert Digest.parse("sha512:" + "a" * 128).algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "SHA256:" + "a" * 64,
        "sha512:" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
        " sha256:" + "a" * 64,
        "sha256:../" + "a" * 61,
        "sha256:" + "٣" * 64,
    ],
)
def test_nothing_else_is_a_digest(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a digest|unsupported digest algorithm"):
        Digest.parse(text)


def test_another_algorithm_is_named() -> None:
    with pytest.raises(ValueError, match="unsupported digest algorithm 'md5'"):
        Digest.parse("md5:" + "a" * 32)


def test_canonical_json_has_one_form() -> None:
    value: Json = {"b": [True, None, -1], "a": '\x00\x1f"\\/\u007f\u2028é€😀', "": {}}
    assert canonical_json(value) == (
        b'{"":{},"a":"\\u0000\\u001f\\"\\\\/\x7f' + "\u2028é€😀".encode() + b'","b":[true,null,-1]}'
    )


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), [0.5], {"a": {"b": 1.5}}, {"😀": 1}, "\udcff", {"\udcff": 1}, {1: 2}],
)
def test_what_has_no_canonical_form_is_refused(value: Json) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_json(value)


def test_a_key_depends_on_kind_and_preimage() -> None:
    keys = {key("step", {"a": "b"}), key("job", {"a": "b"}), key("step", {"a": "c"}), key("step", {})}
    assert len(keys) == 4
    assert key("step", {"a": 1, "b": 2}) == key("step", {"b": 2, "a": 1})
