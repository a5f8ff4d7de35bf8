"""Canonical JSON against another implementation of RFC 8785."""

from __future__ import annotations

import json
from contextlib import suppress

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ci_env.digest import Digest, Json, canonical_json, key
from tests.strategies import digests, integers, json_values

unicode_text = st.text(max_size=6)
names = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=6)
canonical: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | integers | unicode_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=16,
)


@given(canonical)
def test_agrees_with_the_reference(value: Json) -> None:
    encoded = canonical_json(value)
    assert encoded == rfc8785.dumps(value)  # pyright: ignore[reportArgumentType]  # its type knows no Mapping
    assert json.loads(encoded) == value


@given(json_values)
def test_any_value_has_a_form_or_is_refused(value: Json) -> None:
    with suppress(ValueError):
        assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(names, canonical, max_size=3), st.dictionaries(names, canonical, max_size=3))
def test_keys_are_equal_only_for_equal_preimages(one: dict[str, Json], other: dict[str, Json]) -> None:
    assert (key("x", one) == key("x", other)) == (canonical_json(one) == canonical_json(other))


@given(digests)
def test_a_digest_survives_its_text(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest
    assert f"{digest.algorithm}:{digest.hex}" == digest


@given(st.text(max_size=80) | st.text("sha256:0123456789abcdef/.\n", min_size=60, max_size=80))
def test_what_parses_is_safe_as_a_name(text: str) -> None:
    with suppress(ValueError):
        assert set(Digest.parse(text).hex) <= set("0123456789abcdef")
