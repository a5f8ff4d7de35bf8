"""Law of copying: over any tree, a copy of another tree shows both, the copy's files first; or says that it cannot."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_env.errors import ConfigError
from ci_env.oci.order import Order
from ci_env.oci.transfer import carry_out
from tests.layer_stack import Stack
from tests.oci_builder import Item, d, f, wh

Tree = Mapping[str, str]
"""path to content; a directory's is its mode, in front of a slash"""
Node = str | tuple[int, Mapping[str, "Node"]]
_NAMES = ("a", "b")
_trees = st.recursive(
    st.text("xyz", max_size=2),
    lambda below: st.tuples(st.sampled_from([0o700, 0o711, 0o755]), st.dictionaries(st.sampled_from(_NAMES), below)),
    max_leaves=6,
)
_roots = st.dictionaries(st.sampled_from(_NAMES), _trees)


def flat(tree: Mapping[str, Node], at: str = "") -> dict[str, str]:
    """Return the tree by paths."""
    found: dict[str, str] = {}
    for name, node in tree.items():
        path = f"{at}{name}"
        if isinstance(node, str):
            found[path] = node
        else:
            found |= {path: f"{node[0]:o}/", **flat(node[1], f"{path}/")}
    return found


def items(tree: Tree) -> list[Item]:
    return [d(path, mode=int(c[:-1], 8)) if c.endswith("/") else f(path, c) for path, c in sorted(tree.items())]


def stack(path: Path, tree: Tree, *, gone: Tree) -> Stack:
    """Return layers that show `tree`: the lowest has `gone` as well, which the next one removes."""
    tops = sorted({name.partition("/")[0] for name in gone})
    return Stack(path, items(gone), [wh(name) for name in tops], items(tree))


def shown(layers: Stack) -> dict[str, str]:
    view = layers.view()
    return {path: f"{node.mode:o}/" if node.kind == "d" else node.content for path, node in view.items() if path != "."}


def is_conflict(one: Tree, other: Tree) -> bool:
    return any(one[path].endswith("/") != other[path].endswith("/") for path in one.keys() & other.keys())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(source=_roots, target=_roots, gone=_roots)
def test_a_copy_over_a_tree(source: Mapping[str, Node], target: Mapping[str, Node], gone: Mapping[str, Node]) -> None:
    ours, theirs, removed = flat(source), flat(target), flat(gone)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        origin, below = stack(path / "o", ours, gone=removed), stack(path / "t", theirs, gone=removed)
        upper = path / "t" / "copied"
        upper.mkdir()
        order = Order(
            origin=tuple(map(str, origin.lowers)),
            sources=(".",),
            files=(),
            destination="/",
            chown=None,
            chmod=None,
            is_unpacking=False,
            epoch=0,
            upper=str(upper),
            lowers=tuple(map(str, below.lowers)),
            squash_ids=os.geteuid() != 0,
        )
        try:
            carry_out(order)
        except ConfigError:
            assert is_conflict(ours, theirs)
            return
        assert not is_conflict(ours, theirs)
        below.lowers.append(upper)
        assert shown(below) == {**theirs, **ours}
