"""The patterns of `inputs:` against a matcher that is too simple to be wrong."""

from __future__ import annotations

import warnings
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from ci_env.patterns import PatternError, chooser, compile_pattern, select
from ci_env.tree import Entry, encode_path, in_order, listing_digest

names = st.text(st.sampled_from("ab*?[]-!\\\udcff\n"), min_size=1, max_size=3)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
globs = st.lists(st.sampled_from(["a", "b", "*", "?", "a*", "*b", "**"]), min_size=1, max_size=4)
entries = st.sets(paths, max_size=8).map(lambda found: in_order(Entry(path, 0o100644, "0" * 40) for path in found))


def matches(parts: list[str], path: list[str]) -> bool:
    if not parts:
        return not path
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(path)
        return matches(parts[1:], path) or (bool(path) and matches(parts, path[1:]))
    return bool(path) and matches_name(parts[0], path[0]) and matches(parts[1:], path[1:])


def matches_name(glob: str, name: str) -> bool:
    if not glob:
        return not name
    if glob[0] == "*":
        return matches_name(glob[1:], name) or (bool(name) and matches_name(glob, name[1:]))
    return bool(name) and glob[0] in {"?", name[0]} and matches_name(glob[1:], name[1:])


@given(globs, st.lists(st.sampled_from(["a", "b", "ab", "ba", "\n"]), min_size=1, max_size=5))
def test_wildcards_agree_with_the_plain_definition(glob: list[str], path: list[str]) -> None:
    has_wildcard = any("*" in part or "?" in part for part in glob)
    expected = matches(glob, path) if has_wildcard else path[: len(glob)] == glob
    assert bool(compile_pattern("/".join(glob)).fullmatch("/".join(path))) == expected


@given(st.text(max_size=12) | st.text(st.sampled_from("ab*?[]-!\\/^&|~.#"), max_size=12))
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with suppress(PatternError):
            compile_pattern(pattern)


@given(paths)
def test_a_path_with_its_special_letters_escaped_matches_itself(path: str) -> None:
    literal = "".join(f"\\{letter}" if letter in "*?[]!\\" else letter for letter in path)
    assert compile_pattern(literal).fullmatch(path)
    assert compile_pattern(literal).fullmatch(path + "/below")
    assert not compile_pattern(literal).fullmatch(path + "x")


@given(entries, st.lists(st.sampled_from([".", "!a", "**/a", "!b*/", "**"]), min_size=1, max_size=4))
def test_select_keeps_order_and_invents_nothing(listing: tuple[Entry, ...], patterns: list[str]) -> None:
    try:
        chosen = select(listing, patterns)
    except PatternError:
        return
    assert [entry for entry in listing if entry in chosen] == list(chosen)


@given(entries, st.lists(st.sampled_from([".", "a", "!a", "**/a", "!b*/", "**"]), max_size=4))
def test_a_path_is_chosen_alone_as_among_others(listing: tuple[Entry, ...], patterns: list[str]) -> None:
    is_chosen = chooser(patterns)
    try:
        chosen = select(listing, patterns)
    except PatternError:
        return
    assert [entry for entry in listing if is_chosen(entry.path)] == list(chosen)


@given(entries, entries)
def test_listings_share_a_digest_only_when_equal(one: tuple[Entry, ...], other: tuple[Entry, ...]) -> None:
    assert (listing_digest(one) == listing_digest(other)) == (one == other)


@given(entries)
def test_a_listing_is_ordered_by_bytes(listing: tuple[Entry, ...]) -> None:
    encoded = [encode_path(entry.path) for entry in listing]
    assert encoded == sorted(encoded)
