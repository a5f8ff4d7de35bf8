"""A tree of decisions and the program assembled from it decide alike."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_env_runners.bpf import NUMBER, Branch, Filter, Word, answer, argument, assemble
from tests.bpf_interpreter import run

WORDS = st.builds(
    Word, st.integers(0, 15).map(lambda i: 4 * i), st.sampled_from([0xFFFFFFFF, 0xFF, 0xF000, 0x80000000])
)
SMALL = st.integers(0, 3) | st.sampled_from([0x80000000, 0xFFFFFFFF, 0x1000])
LEAVES = st.integers(0, 200)
DATA = st.lists(SMALL, min_size=16, max_size=16).map(lambda words: struct.pack("=16I", *words))
TREES = st.recursive(
    LEAVES,
    lambda trees: st.builds(Branch, WORDS, st.sampled_from(["equal", "at_least"]), SMALL, trees, trees),
    max_leaves=60,
)


def decide(tree: Filter, data: bytes) -> int:
    while isinstance(tree, Branch):
        value = struct.unpack_from("=I", data, tree.word.offset)[0] & tree.word.mask
        holds = value == tree.value if tree.test == "equal" else value >= tree.value
        tree = tree.then if holds else tree.otherwise
    return tree


def search(first: int, last: int) -> Filter:
    """Return a balanced tree that answers each number from `first` to `last` with itself."""
    if first == last:
        return first
    middle = (first + last + 1) // 2
    return Branch(NUMBER, "at_least", middle, search(middle, last), search(first, middle - 1))


@given(TREES, DATA)
def test_program_decides_as_its_tree(tree: Filter, data: bytes) -> None:
    assert run(assemble(tree), data) == decide(tree, data)


@given(st.integers(0, 1299))
def test_branches_wider_than_a_jump(number: int) -> None:
    assert run(assemble(search(0, 1299)), struct.pack("=16I", number, *(0,) * 15)) == number


@pytest.mark.parametrize("distance", [254, 255, 256, 257])
@pytest.mark.parametrize("swapped", [False, True])
def test_jumps_of_just_this_length(distance: int, swapped: bool) -> None:
    near, far = chain(distance), chain(300)
    assert len(assemble(near)) == 8 * distance
    word = argument(5)
    tree = Branch(word, "equal", 6, far, near) if swapped else Branch(word, "equal", 6, near, far)
    for number in (0, 1, 125, 126, 127, 200):
        for last in (5, 6):
            data = struct.pack("=16I", number, *(last,) * 15)
            assert run(assemble(tree), data) == decide(tree, data)


def chain(length: int) -> Filter:
    """Return a tree whose program has `length` instructions; no two of these answer a number alike."""
    word = Word(0, 0xFFFF) if length % 2 else NUMBER  # a mask costs one instruction
    tree: Filter = 1000 * length
    for value in range((length - 2) // 2):
        tree = Branch(word, "equal", value, 1000 * length + value, tree)
    return tree


def test_a_program_longer_than_the_kernel_takes_is_refused() -> None:
    assert len(assemble(search(0, 2043))) <= 4096 * 8
    with pytest.raises(ValueError, match="4103 instructions; the kernel takes 4096"):
        assemble(search(0, 2047))


def test_one_load_serves_a_chain_of_tests() -> None:
    tree = Branch(NUMBER, "equal", 1, answer(1), Branch(NUMBER, "equal", 2, answer(2), answer(0)))
    codes = [instruction[0] for instruction in struct.iter_unpack("=HBBI", assemble(tree))]
    assert codes == [0x20, 0x15, 0x06, 0x15, 0x06, 0x06]
