"""The written form of dataclasses: strict about what it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from ci_env import codec
from ci_env.digest import Digest, Json
from ci_env.frozen import dataclass as later


@dataclass(frozen=True, slots=True)
class Leaf:
    id: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Tree:
    kind: Literal["a", 1]
    leaves: tuple[Leaf, ...]
    notes: Mapping[str, str]
    parent: str | None
    done: bool


LEAF = Leaf(Digest.of(b""), 3)
TREE = Tree("a", (LEAF,), {"k": "v"}, None, done=False)
WRITTEN: dict[str, Json] = {
    "kind": "a",
    "leaves": [{"id": str(LEAF.id), "size": 3}],
    "notes": {"k": "v"},
    "parent": None,
    "done": False,
}


def test_reads_what_it_wrote() -> None:
    assert json.loads(codec.dumps(TREE)) == WRITTEN
    assert codec.loads(Tree, codec.dumps(TREE)) == TREE


def test_fields_keep_their_order_and_names_that_are_not_utf8_survive() -> None:
    tree = Tree(1, (), {}, "caf\udce9", done=True)
    assert codec.dumps(tree) == b'{"kind":1,"leaves":[],"notes":{},"parent":"caf\\udce9","done":true}'
    assert codec.loads(Tree, codec.dumps(tree)) == tree


def test_a_digest_comes_back_as_one() -> None:
    assert type(codec.decode(Tree, WRITTEN).leaves[0].id) is Digest


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({"kind": "b"}, "Tree.kind"),
        ({"kind": True}, "Tree.kind"),
        ({"kind": 1.0}, "Tree.kind"),
        ({"kind": ["a"]}, "Tree.kind"),
        ({"leaves": {}}, "Tree.leaves"),
        ({"leaves": "ab"}, "Tree.leaves"),
        ({"leaves": [{"id": str(LEAF.id), "size": "3"}]}, r"Tree.leaves\[0\].size"),
        ({"leaves": [{"id": str(LEAF.id), "size": True}]}, r"Tree.leaves\[0\].size"),
        ({"leaves": [{"id": str(LEAF.id)}]}, r"Tree.leaves\[0\]"),
        ({"leaves": [{"id": str(LEAF.id), "size": 3, "more": 1}]}, r"Tree.leaves\[0\]"),
        ({"leaves": [{"id": "sha256:x", "size": 3}]}, "not a digest"),
        ({"leaves": [None]}, r"Tree.leaves\[0\]"),
        ({"notes": {"k": 1}}, "Tree.notes.k"),
        ({"notes": []}, "Tree.notes"),
        ({"parent": 1}, "Tree.parent"),
        ({"done": 0}, "Tree.done"),
        ({"done": None}, "Tree.done"),
        ({"more": 1}, "Tree: does not have exactly the keys"),
    ],
)
def test_anything_else_is_refused_with_its_place(changed: Mapping[str, Json], at: str) -> None:
    with pytest.raises(ValueError, match=at):
        codec.decode(Tree, {**WRITTEN, **changed})


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff", b'"Tree"', b"NaN", b"1e999"])
def test_bytes_that_are_no_tree_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        codec.loads(Tree, content)


def test_what_has_no_form_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="cannot encode float"):
        codec.encode({"a": (1.5,)})


@later(frozen=True, slots=True)
class Grown:
    old: int
    new: str | None = None


def test_a_field_that_has_its_default_is_left_out() -> None:
    assert codec.dumps(Grown(1)) == b'{"old":1}'
    assert codec.loads(Grown, b'{"old":1}') == Grown(1)


@pytest.mark.parametrize("grown", [Grown(1), Grown(2, "x")])
def test_a_field_with_a_default_comes_back(grown: Grown) -> None:
    assert codec.loads(Grown, codec.dumps(grown)) == grown


@pytest.mark.parametrize("content", [b'{"new":"x"}', b'{"old":1,"other":2}', b'{"old":1,"new":2}'])
def test_other_fields_are_as_strict_as_ever(content: bytes) -> None:
    with pytest.raises(ValueError, match="Grown"):
        codec.loads(Grown, content)
