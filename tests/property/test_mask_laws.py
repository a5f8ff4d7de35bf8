"""Masks: nothing of a secret gets through, however the content is cut; and nothing else is touched."""

from __future__ import annotations

import base64
import json
import urllib.parse

from hypothesis import assume, given
from hypothesis import strategies as st

from ci_env.mask import MIN_BYTES, Mask, forms

SECRETS = st.lists(
    st.binary(min_size=1, max_size=30)
    | st.text(min_size=1, max_size=30).map(str.encode)
    | st.sampled_from([b"aaaa", b"aaaaaab", b"****", b"***x***", b"first line\nsecond line\n", b"a+b/c?d=e&f"]),
    min_size=1,
    max_size=3,
)
TEXTS = st.binary(max_size=20) | st.sampled_from([b"a" * 9, b"*", b"***", b"\n"])


@st.composite
def contents(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Return secrets, and content with some of their forms in it, whole ones and parts."""
    secrets = draw(SECRETS)
    known = [form for secret in secrets for form in forms(secret)]
    one = st.sampled_from(known) if known else st.just(b"")
    parts = st.tuples(one, st.integers(0, 40)).map(lambda pair: pair[0][: pair[1]])
    return secrets, b"".join(draw(st.lists(TEXTS | one | parts, max_size=8)))


def cut(content: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(content)) for place in places})
    return [content[start:end] for start, end in zip([0, *ends], [*ends, len(content)], strict=True)]


def streamed(mask: Mask, pieces: list[bytes], *, keeps_length: bool = False) -> bytes:
    stream = mask.stream(keeps_length=keeps_length)
    return b"".join([*map(stream.feed, pieces), stream.close()])


@given(contents(), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_no_form_gets_through(made: tuple[list[bytes], bytes], places: list[int], keeps_length: bool) -> None:
    secrets, content = made
    masked = streamed(Mask(secrets), cut(content, places), keeps_length=keeps_length)
    assert [form for secret in secrets for form in forms(secret) if form in masked] == []


@given(contents(), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_pieces_make_no_difference(made: tuple[list[bytes], bytes], places: list[int], keeps_length: bool) -> None:
    secrets, content = made
    mask = Mask(secrets)
    whole = mask.apply(content, keeps_length=keeps_length)
    assert streamed(mask, cut(content, places), keeps_length=keeps_length) == whole
    assert streamed(mask, [bytes([byte]) for byte in content], keeps_length=keeps_length) == whole


@given(contents(), st.lists(st.integers(0, 200), max_size=8))
def test_each_byte_stays_or_becomes_a_letter(made: tuple[list[bytes], bytes], places: list[int]) -> None:
    secrets, content = made
    mask = Mask(secrets)
    masked = streamed(mask, cut(content, places), keeps_length=True)
    assert len(masked) == len(content)
    assert all(new in (old, mask.letter[0]) for old, new in zip(content, masked, strict=True))


@given(contents(), st.lists(st.integers(0, 200), max_size=8))
def test_what_holds_no_secret_is_unchanged(made: tuple[list[bytes], bytes], places: list[int]) -> None:
    secrets, content = made
    assume(not any(form in content for secret in secrets for form in forms(secret)))
    assert streamed(Mask(secrets), cut(content, places)) == content


@given(contents(), st.lists(st.integers(0, 200), max_size=8))
def test_little_is_held_back(made: tuple[list[bytes], bytes], places: list[int]) -> None:
    secrets, content = made
    longest = max((len(form) for secret in secrets for form in forms(secret)), default=1)
    stream = Mask(secrets).stream(keeps_length=True)
    fed = told = 0
    for piece in cut(content, places):
        fed += len(piece)
        told += len(stream.feed(piece))
        assert fed - told < longest


@given(st.binary(min_size=MIN_BYTES, max_size=60), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_found_wherever_the_secret_is_in_what_was_encoded(secret: bytes, before: bytes, after: bytes) -> None:
    assume(len(secret.strip()) == len(secret) and len(secret) > MIN_BYTES)
    for encoded in (base64.b64encode(before + secret + after), base64.urlsafe_b64encode(before + secret + after)):
        assert any(form in encoded for form in forms(secret) if form not in (secret, secret.hex().encode()))


@given(st.text(min_size=MIN_BYTES, max_size=30).filter(lambda text: len(text.strip().encode()) == len(text.encode())))
def test_what_libraries_write_is_a_form(secret: str) -> None:
    written = {
        secret,
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.encode().hex(),
        secret.encode().hex().upper(),
        base64.b64encode(secret.encode()).decode(),
        base64.encodebytes(secret.encode()).decode().split("\n")[0],
    }
    assert [text for text in written if Mask([secret.encode()]).apply_to_text(text) not in ("***", "###", "???")] == []
