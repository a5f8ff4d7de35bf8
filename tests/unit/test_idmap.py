"""Which ids a run's user namespace has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_env.errors import HostError
from ci_env_runners.idmap import IdMap, decide, free_block
from ci_env_runners.subordinate import Range

ranges = st.lists(st.builds(Range, st.just("someone"), st.integers(0, 2**31), st.integers(1, 2**27)), max_size=6)


def test_subordinate_ids_and_ones_own() -> None:
    found = decide(1000, [Range("ana", 100000, 65536)], [Range("ana", 200000, 65536)])
    assert found == IdMap("subordinate", 100000, 65537)


def test_as_many_as_there_are_of_both_kinds() -> None:
    assert decide(1000, [Range("ana", 100000, 65536)], [Range("ana", 200000, 10)]).ids == 11


def test_without_ids_of_one_kind_there_is_ones_own_only() -> None:
    some = [Range("ana", 100000, 65536)]
    own = IdMap("single", 1000, 1)
    assert (decide(1000, some, []), decide(1000, [], some), decide(1000, [], [])) == (own, own, own)


@given(ranges)
def test_a_free_block_is_nobodys(taken: list[Range]) -> None:
    first = free_block(taken)
    assert all(first + 65536 <= other.start or other.start + other.count <= first for other in taken)
    assert 65536 < first < 2**31 - 65536


def test_runs_do_not_share_a_block() -> None:
    assert len({free_block([]) for _ in range(8)}) > 1


def test_where_all_ids_are_given_away_it_is_said() -> None:
    with pytest.raises(HostError, match="all user and group ids are given away"):
        free_block([Range("lxd", 100000, 2**31)])
