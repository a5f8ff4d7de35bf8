"""Laws of image names: the canonical form is a fixed point, and nothing but ValueError is raised."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ci_env.oci.reference import parse

_word = st.from_regex(r"[a-z0-9]{1,5}([._-][a-z0-9]{1,3})?", fullmatch=True)


def _name(host: str, parts: list[str], tag: str, digest: str) -> str:
    return host + "/".join(parts) + tag + digest


_names = st.builds(
    _name,
    st.sampled_from(["", "localhost/", "localhost:5000/", "r.example/", "[::1]:1/", "docker.io/"]),
    st.lists(_word, min_size=1, max_size=3),
    st.sampled_from(["", ":1", ":v1.2_3-rc"]),
    st.sampled_from(["", "@sha256:" + "0" * 64, "@sha512:" + "f" * 128]),
)


@given(_names)
def test_canonical_form_is_a_fixed_point(text: str) -> None:
    reference = parse(text)
    assert parse(str(reference)) == reference
    assert str(parse(str(reference))) == str(reference)


@given(st.text(max_size=40) | st.text("a:/@[].-_0", max_size=20))
@example("[")
@example("[:0/x")
@example("a:99999999999999999999/x")
@example("a:٣/x")
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        reference = parse(text)
    except ValueError:
        return
    assert parse(str(reference)) == reference
