"""The written form of listings: read back equal, or refused."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from ci_env.digest import Digest
from ci_env.plan.explain import changed_files
from ci_env.tree import Entry, Mode, decode_path, dump_listing, in_order, listing_digest, load_listing

paths = st.binary(min_size=1, max_size=6).filter(lambda path: b"\0" not in path).map(decode_path)
blobs = st.text("0123456789abcdef", min_size=1, max_size=4)
modes: st.SearchStrategy[Mode] = st.sampled_from([0o100644, 0o100755, 0o120000, 0o160000])
listings = st.dictionaries(paths, st.tuples(modes, blobs), max_size=6).map(
    lambda files: in_order(Entry(path, mode, blob) for path, (mode, blob) in files.items())
)


@given(listings)
def test_reads_what_it_wrote(listing: tuple[Entry, ...]) -> None:
    assert load_listing(dump_listing(listing)) == listing
    assert Digest.of(dump_listing(listing)) == listing_digest(listing)


@given(listings, st.data())
def test_what_it_reads_is_what_it_would_write(listing: tuple[Entry, ...], data: st.DataObject) -> None:
    written = bytearray(dump_listing(listing))
    place = data.draw(st.integers(0, len(written)))
    written[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with suppress(ValueError):
        assert dump_listing(load_listing(bytes(written))) == bytes(written)


@given(listings, listings)
def test_changes_lead_from_one_listing_to_the_other(old: tuple[Entry, ...], new: tuple[Entry, ...]) -> None:
    how = {change.path: change.how for change in changed_files(old, new)}
    was, now = ({entry.path: entry for entry in listing} for listing in (old, new))
    assert how.keys() == {path for path in was | now if was.get(path) != now.get(path)}
    assert {path for path in how if how[path] == "added"} == now.keys() - was.keys()
    assert {path for path in how if how[path] == "removed"} == was.keys() - now.keys()
    assert all(was[path].blob == now[path].blob for path in how if how[path] == "mode")
